"""The examples that catch up: an order book, a chat log, and a worker beside Laravel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from example_programs.applications import Quiet, serving
from example_programs.processes import running, url_of
from example_programs.test_examples import Application, drop_until_back, until_subscribed
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto.testing import Server, ServerOptions


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with serve_in_thread() as running_server:
        yield running_server


@contextmanager
def api(answer: Callable[[int], Any]) -> Iterator[str]:
    """Run an API whose answer depends on the number in `?after=`, and give its address."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            after = parse_qs(urlsplit(self.path).query).get("after", ["0"])[0]
            self.answer_json(answer(int(after)))

    with serving(Handler) as address:
        yield address


def test_the_chat_log_has_each_message_once_and_in_order(server: ServerInThread) -> None:
    stored: list[dict[str, Any]] = []

    def say(text: str, *, published: bool = True) -> None:
        stored.append({"id": len(stored) + 1, "who": "ann", "text": text})
        if published:
            server.publish("chat", "message", stored[-1])

    say("early", published=False)
    with api(lambda after: stored[after:]) as url:
        arguments = ["--url", url_of(server), "--api", f"{url}/messages", "--count", "5"]
        with running("chat_log.py", *arguments) as program:
            program.wait_for_line("1 ann: early (caught up)")
            say("live")
            program.wait_for_line("2 ann: live")
            say("missed", published=False)
            say("missed too", published=False)
            drop_until_back(server, "chat")
            say("live again")
            assert program.end() == 0
    texts = [line.removesuffix(" (caught up)") for line in program.lines]
    assert [line for line in texts if "ann" in line] == [
        "1 ann: early",
        "2 ann: live",
        "3 ann: missed",
        "4 ann: missed too",
        "5 ann: live again",
    ]


def test_the_order_book_takes_a_snapshot_at_first_and_after_a_gap(server: ServerInThread) -> None:
    book = {"seq": 6, "prices": {"10.5": "2"}}
    with api(lambda _: book) as url:
        arguments = ["--url", url_of(server), "--api", f"{url}/book", "--count", "11"]
        with running("order_book.py", *arguments) as program:
            program.wait_for_line("6: 1 prices, best 10.5")
            change = {"seq": 7, "price": "11", "amount": "1"}
            server.publish("book", "change", {**change, "seq": 6})  # the snapshot knows it
            server.publish("book", "change", change)
            program.wait_for_line("7: 2 prices, best 11")
            book.update(seq=10, prices={"9": "1"})
            drop_until_back(server, "book")
            program.wait_for_line("10: 1 prices, best 9")
            server.publish("book", "change", {"seq": 11, "price": "9", "amount": "0"})
            assert program.end() == 0
    assert program.lines[-1] == "11: 0 prices, best None"


def test_the_worker_handles_orders_that_were_placed_while_it_was_away(tmp_path: Path) -> None:
    orders: list[dict[str, Any]] = [{"id": 1}]
    token = "Bearer 7|token"

    def user(headers: Mapping[str, str]) -> Mapping[str, object] | None:
        return {"id": "worker"} if headers.get("authorization") == token else None

    machine = Server(options=ServerOptions(auth_user=user))
    with serve_in_thread(machine) as server, laravel(server, orders) as app:
        arguments = ["--url", url_of(server), "--app", app, "--token", "7|token"]
        arguments += ["--file", str(tmp_path / "last")]
        with running("laravel_catch_up.py", *arguments, "--count", "2") as program:
            program.wait_for_line('{"id": 1}')
            orders.append({"id": 2})
            until_subscribed(server, "private-orders")
            server.publish("private-orders", "App\\Events\\OrderPlaced", {"order": {"id": 2}})
            assert program.end() == 0
        orders.append({"id": 3})  # while it does not run
        with running("laravel_catch_up.py", *arguments, "--count", "1") as program:
            assert program.end() == 0
        assert [line for line in program.lines if line.startswith("{")] == ['{"id": 3}']


@contextmanager
def laravel(server: ServerInThread, orders: list[dict[str, Any]]) -> Iterator[str]:
    """Run an application with the routes of the worker."""

    class Handler(Application):
        auth_url = server.auth_url

        def do_GET(self) -> None:
            after = int(parse_qs(urlsplit(self.path).query)["after"][0])
            self.answer_json([each for each in orders if each["id"] > after])

    with serving(Handler) as address:
        yield address
