"""A chat log without gaps: each message once and in order, also after an hour without network.

    python examples/chat_log.py --url ws://127.0.0.1:6001/app/KEY --api http://127.0.0.1:8000/messages

Messages are the event `message` on the channel `chat`, with an id that grows: `{"id": 7, "who": "ann", "text": "hi"}`.
The API stores each message before it is published, and returns the messages after an id: `GET /messages?after=6`.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from typing import Any

from pusher_sync import ChannelEvent, Gap, GapNotClosed, Options, open_pusher


def main(url: str, api: str, count: int | None) -> None:
    def missed(gap: Gap) -> list[tuple[str, Any]]:
        """Return the messages after the last one; at first all."""
        after = 0 if gap.last is None else gap.last.data["id"]
        with urllib.request.urlopen(f"{api}?after={after}", timeout=5) as answer:
            return [("message", message) for message in json.load(answer)]

    done = 0
    with open_pusher(Options.from_url(url)) as client:
        channel = client.subscribe("chat", catch_up=missed, key="id")
        for event in channel.events():
            match event:
                case GapNotClosed():
                    print(f"(messages may be missing: {event.reason})", flush=True)
                case ChannelEvent(name="message"):
                    message = event.data
                    late = " (caught up)" if event.caught_up else ""
                    print(f"{message['id']} {message['who']}: {message['text']}{late}", flush=True)
                    done += 1
                    if done == count:
                        return


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", required=True, help="ws://host:port/app/KEY")
    parser.add_argument("--api", required=True, help="URL of the messages")
    parser.add_argument("--count", type=int, help="end after this number of messages")
    given = parser.parse_args()
    try:
        main(given.url, given.api, given.count)
    except KeyboardInterrupt:
        pass
