"""An order book that is never silently wrong: a snapshot, then numbered changes, and another snapshot after each gap.

    python examples/order_book.py --url ws://127.0.0.1:6001/app/KEY --api http://127.0.0.1:8000/book

Every change is published on the channel `book` as the event `change` with a number: `{"seq": 7, "price": "10.5",
"amount": "3"}`; an amount of 0 removes the price. The API answers with the whole book and the number of its last
change: `{"seq": 6, "prices": {"10.5": "2"}}`. The client requests the book whenever changes may have been missed, and
delivers it before the next changes.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from decimal import Decimal

import anyio
import anyio.to_thread

from pusher_anyio import Event, Gap, GapNotClosed, Options, open_pusher


class Book:
    """The amounts by price, and the number of the last change."""

    def __init__(self) -> None:
        self.seq = 0
        self.prices: dict[Decimal, Decimal] = {}

    def take(self, event: Event) -> str:
        """Apply a snapshot or a change; return a line to print."""
        match event:
            case GapNotClosed():
                self.prices.clear()  # better no book than a wrong one
                return f"no book: {event.reason}"
            case _:
                data = getattr(event, "data", None)
        if not isinstance(data, dict):
            return ""
        if "prices" in data:
            self.seq = data["seq"]
            self.prices = {Decimal(p): Decimal(a) for p, a in data["prices"].items()}
        elif data["seq"] <= self.seq:
            return ""  # the snapshot includes this change
        else:
            self.seq = data["seq"]
            price, amount = Decimal(data["price"]), Decimal(data["amount"])
            self.prices.pop(price, None)
            if amount:
                self.prices[price] = amount
        best = max(self.prices, default=None)
        return f"{self.seq}: {len(self.prices)} prices, best {best}"


async def main(url: str, api: str, count: int | None) -> None:
    def ask() -> str:
        with urllib.request.urlopen(api, timeout=5) as answer:
            return str(answer.read().decode())

    async def snapshot(_: Gap) -> list[tuple[str, object]]:
        return [("snapshot", json.loads(await anyio.to_thread.run_sync(ask)))]

    book = Book()
    async with open_pusher(Options.from_url(url)) as client:
        channel = client.subscribe("book", catch_up=snapshot)
        async for event in channel.events(("snapshot", "change")):
            line = book.take(event)
            if line:
                print(line, flush=True)
            if count is not None and book.seq >= count:
                return


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", required=True, help="ws://host:port/app/KEY")
    parser.add_argument("--api", required=True, help="URL of the book")
    parser.add_argument("--count", type=int, help="end after the change with this number")
    given = parser.parse_args()
    try:
        anyio.run(main, given.url, given.api, given.count)
    except KeyboardInterrupt:
        pass
