"""A worker for a Laravel application that handles each order once, also orders placed while it was away.

    python examples/laravel_catch_up.py --url ws://127.0.0.1:8080/app/KEY --app https://app.example --token 7|...

Orders are broadcast on the private channel `orders` as the event OrderPlaced, with `{"order": {"id": 7, ...}}` as its
data. `GET /api/orders?after=6` returns the orders after an id; the token is sent with all requests. The id of the last
order is kept in a file, so a worker that is started again continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from pathlib import Path
from typing import Any

from pusher_sync import AuthEndpoint, ChannelEvent, Gap, GapNotClosed, Options, open_pusher

ORDER_PLACED = "App\\Events\\OrderPlaced"


def main(url: str, app: str, token: str, file: Path, count: int | None) -> None:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    last = int(file.read_text()) if file.exists() else 0

    def missed(gap: Gap) -> list[tuple[str, Any]]:
        """Return the orders after the last one of this run, or of the run before."""
        after = last if gap.last is None else gap.last.data["order"]["id"]
        request = urllib.request.Request(f"{app}/api/orders?after={after}", headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return [(ORDER_PLACED, {"order": order}) for order in json.load(answer)]

    done = 0
    auth = AuthEndpoint(f"{app}/broadcasting/auth", headers=headers)
    with open_pusher(Options.from_url(url, auth=auth)) as client:
        orders = client.subscribe(
            "private-orders", catch_up=missed, key=lambda event: event.data["order"]["id"]
        )

        @orders.bind(ORDER_PLACED)
        def placed(event: ChannelEvent) -> None:
            nonlocal done
            order = event.data["order"]
            print(json.dumps(order), flush=True)  # handle it first, then store its id
            file.write_text(str(order["id"]))
            done += 1
            if done == count:
                client.close()

        @orders.bind(GapNotClosed)
        def gap_not_closed(event: GapNotClosed) -> None:
            print(f"orders may be missing: {event.reason}", flush=True)
            client.close()  # the supervisor starts the worker again, which then fetches the orders again

        client.run()


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", required=True, help="ws://host:port/app/KEY of Reverb")
    parser.add_argument("--app", required=True, help="URL of the Laravel application")
    parser.add_argument("--token", required=True, help="a token of Sanctum")
    parser.add_argument("--file", type=Path, default=Path("last-order"))
    parser.add_argument("--count", type=int, help="end after this number of orders")
    given = parser.parse_args()
    try:
        main(given.url, given.app, given.token, given.file, given.count)
    except KeyboardInterrupt:
        pass
