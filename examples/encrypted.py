"""Read an encrypted channel, whose messages the server carries but cannot read.

    python examples/encrypted.py --url wss://ws-eu.pusher.com/app/KEY --auth-url https://app.example/pusher/auth \\
        private-encrypted-notes

The key of the channel is part of the authorization, from your own endpoint. After a change of the key there, the first
message that cannot be decrypted makes the client request the new key. Messages wait until then and keep their order.
"""

from __future__ import annotations

import argparse
import json
import sys

from pusher_sync import (
    AuthEndpoint,
    ChannelEvent,
    DecryptionFailed,
    Options,
    SubscriptionError,
    open_pusher,
)


def main(options: Options, name: str, count: int | None) -> None:
    with open_pusher(options) as client:
        notes = client.subscribe(name)
        events = notes.events((ChannelEvent, DecryptionFailed))
        notes.wait_subscribed(timeout=30)
        done = 0
        for event in events:
            if isinstance(event, DecryptionFailed):
                print(f"not readable: {event.error}", file=sys.stderr)
                continue
            print(event.name, json.dumps(event.data), flush=True)
            done += 1
            if done == count:
                return


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", required=True, help="wss://host/app/KEY")
    parser.add_argument("--auth-url", required=True, help="the endpoint that signs for you")
    parser.add_argument("--count", type=int, help="end after this number of events")
    parser.add_argument(
        "channel", metavar="CHANNEL", help="its name begins with private-encrypted-"
    )
    given = parser.parse_args()
    options = Options.from_url(given.url, auth=AuthEndpoint(given.auth_url))
    try:
        main(options, given.channel, given.count)
    except SubscriptionError as error:  # an AuthorizationError is one
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        pass
