"""Wait for one event for a limited time, in scripts, jobs and tests of a backend.

    python examples/wait_for_event.py --cluster eu --key KEY --timeout 30 builds finished

Prints its data as JSON and ends with status 0; with 1 when it was not received in time, with 2 when it cannot be
received (a wrong key, a refused channel). Prints `ready` when it listens: then a script can cause the event.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from pusher_sync import Options, OwnKey, PusherError, PusherTimeout, open_pusher


def main(options: Options, name: str, event: str, timeout: float) -> int:
    with open_pusher(options) as client:
        channel = client.subscribe(name)
        try:
            channel.wait_subscribed(timeout=timeout)
            print("ready", file=sys.stderr, flush=True)
            found = channel.wait_for(event, timeout=timeout)
        except PusherTimeout as error:
            print(error, file=sys.stderr)  # names the event and the state of the connection
            return 1
        except PusherError as error:
            print(error, file=sys.stderr)
            return 2
    print(json.dumps(found.data))
    return 0


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--cluster", help="with --key")
    where.add_argument("--url", help="wss://host/app/KEY")
    parser.add_argument("--key", default="")
    parser.add_argument("--secret", help="secret of the app, for private channels")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("channel", metavar="CHANNEL")
    parser.add_argument("event", metavar="EVENT")
    given = parser.parse_args()
    url, cluster = given.url, given.cluster
    app = Options.from_url(url) if url else Options.from_cluster(cluster, key=given.key)
    auth = OwnKey(app.key, given.secret) if given.secret else None
    options = dataclasses.replace(app, auth=auth)
    sys.exit(main(options, given.channel, given.event, given.timeout))
