"""Each example program does what its first lines say."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from example_programs.applications import Quiet, serving
from example_programs.processes import running, url_of
from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto.testing import Server, ServerOptions


@pytest.fixture
def server() -> Iterator[ServerInThread]:
    with serve_in_thread() as running_server:
        yield running_server


def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    return answer_to(urllib.request.Request(url, body, dict(headers)))


def get(url: str) -> tuple[int, Any]:
    status, body = answer_to(urllib.request.Request(url))
    return status, json.loads(body)


def answer_to(request: urllib.request.Request) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def until_subscribed(server: ServerInThread, channel: str, count: int = 1) -> None:
    server.wait_until(lambda machine: len(machine.subscriptions(channel)) == count, 30)


def drop_until_back(server: ServerInThread, *channels: str) -> None:
    """Break all connections, and wait until the channels are subscribed on new ones."""
    before = {channel: server.subscriptions(channel) for channel in channels}
    server.drop()
    for channel, old in before.items():
        server.wait_until(lambda machine: machine.subscriptions(channel) - old, 30)  # noqa: B023 - called at once


# The chat reader


def say(server: ServerInThread, room: str, who: str, text: str) -> None:
    data = {"id": "1", "content": text, "sender": {"id": 5, "username": who}, "chatroom_id": room}
    server.publish(f"chatrooms.{room}.v2", "App\\Events\\ChatMessageEvent", data)


def test_the_chat_reader_joins_and_leaves_rooms_while_it_runs(server: ServerInThread) -> None:
    with running("chat_reader.py", "--url", url_of(server), "4", "5") as program:
        until_subscribed(server, "chatrooms.4.v2")
        until_subscribed(server, "chatrooms.5.v2")
        say(server, "4", "ann", "hello")
        assert program.wait_for_line("hello") == "[4] ann: hello"
        program.type("+6")
        program.type("-5")
        until_subscribed(server, "chatrooms.6.v2")
        until_subscribed(server, "chatrooms.5.v2", 0)
        say(server, "5", "bob", "nobody hears this")
        say(server, "6", "eve", "I am new")
        assert program.wait_for_line("new") == "[6] eve: I am new"
        program.type("what?")
        program.wait_for_line("type +ROOM or -ROOM")
        drop_until_back(server, "chatrooms.6.v2")
        program.wait_for_line("were missed")
        say(server, "6", "eve", "still here")
        program.wait_for_line("[6] eve: still here")
        program.end(signal.SIGINT)
    assert not any("nobody hears" in line for line in program.lines)


def test_the_chat_reader_ends_with_the_reason_when_the_key_is_wrong(
    server: ServerInThread,
) -> None:
    url = url_of(server).replace("demo", "stale")
    with running("chat_reader.py", "--url", url, "4") as program:
        assert program.end() == 1
    assert "4001" in program.lines[-1]


# The WebSockets of another library


def test_the_websockets_of_another_library_carry_the_messages(server: ServerInThread) -> None:
    pytest.importorskip("websockets", reason="it is in the extra `test`")
    with running("websockets_library.py", "--url", url_of(server), "prices") as program:
        program.wait_for_line("listening to prices")
        server.publish("prices", "price", {"of": "tea"})
        program.wait_for_line('prices price {"of": "tea"}')
        drop_until_back(server, "prices")
        server.publish("prices", "price", {"of": "oil"})
        program.wait_for_line('prices price {"of": "oil"}')
        program.end(signal.SIGINT)
    url = url_of(server).replace("demo", "stale")
    with running("websockets_library.py", "--url", url, "prices") as program:
        assert program.end() == 1
    assert "4001" in program.lines[-1]


# The ticker


def test_the_ticker_puts_typed_prices_through_its_queue(server: ServerInThread) -> None:
    with running("ticker.py", "--url", url_of(server), "--count", "3") as program:
        until_subscribed(server, "prices")
        for price in ("10.10", "9.90"):
            server.publish("prices", "price", {"of": "tea", "price": price})
        server.publish("prices", "price", {"of": "tea"})  # has no price: it is skipped
        program.wait_for_line("tea 9.90 (best 10.10)")
        drop_until_back(server, "prices")
        program.wait_for_line("a gap of")
        server.publish("prices", "price", {"of": "tea", "price": "12"})
        assert program.end() == 0
    assert [line for line in program.lines if line.startswith("tea")] == [
        "tea 10.10 (best 10.10)",
        "tea 9.90 (best 10.10)",
        "tea 12 (best 12)",
    ]


def test_the_ticker_of_two_servers_survives_the_loss_of_either(server: ServerInThread) -> None:
    program_of = ("ticker_two_servers.py", "--url", url_of(server))
    with ExitStack() as second:
        other = second.enter_context(serve_in_thread())
        port = other.port
        with running(*program_of, "--url", url_of(other), "--count", "30") as program:
            until_subscribed(server, "prices")
            until_subscribed(other, "prices")
            servers = [server, other]
            for number in range(30):
                if number == 5:
                    second.close()
                    servers = [server]
                if number == 15:
                    other = second.enter_context(serve_in_thread(port=port))
                    until_subscribed(other, "prices")
                    servers = [server, other]
                if number == 20:
                    server.drop()
                for each in servers:
                    each.publish("prices", "price", {"id": number})
                program.wait_for_line(f"{number}: ")
            assert program.end() == 0
    prices = [line for line in program.lines if ": {" in line]
    assert prices == [f"{number}: {{'id': {number}}}" for number in range(30)]
    assert any(line.startswith("a server is away") for line in program.lines)


# The worker beside Laravel


class Application(Quiet):
    """Two routes of a Laravel application: tokens for devices, and authorizations from the server's own endpoint."""

    auth_url: str
    given = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/broadcasting/auth":
            passed = ("Authorization", "Content-Type", "Accept")
            headers = {name: self.headers[name] for name in passed}
            self.answer(*post(self.auth_url, body, headers))
        elif self.path == "/sanctum/token" and b"password=right" in body:
            type(self).given += 1
            self.answer(200, f"{self.given}|token".encode())
        else:
            self.answer(422, b"{}")


@contextmanager
def application(server: ServerInThread) -> Iterator[str]:
    """Run the application, and give its address."""
    handler = type("Handler", (Application,), {"auth_url": server.auth_url})
    with serving(handler) as address:
        yield address


def test_the_worker_beside_laravel_renews_its_token_and_continues() -> None:
    valid = {"Bearer 1|token"}

    def user(headers: Mapping[str, str]) -> Mapping[str, object] | None:
        assert headers["accept"] == "application/json"
        return {"id": "worker"} if headers.get("authorization") in valid else None

    machine = Server(options=ServerOptions(auth_user=user))
    with serve_in_thread(machine) as server, application(server) as app:
        arguments = ["--url", url_of(server), "--app", app, "--email", "worker@app.example"]
        with running(
            "laravel_worker.py", *arguments, "--user", "7", "--count", "2", WORKER_PASSWORD="right"
        ) as program:
            until_subscribed(server, "private-orders")
            until_subscribed(server, "private-App.Models.User.7")
            server.publish("private-orders", "App\\Events\\OrderShipped", {"order": 1})
            program.wait_for_line('{"order": 1}')
            valid.clear()  # the token expires, while the connection stays
            valid.add("Bearer 2|token")
            drop_until_back(server, "private-orders", "private-App.Models.User.7")
            event = "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated"
            server.publish("private-App.Models.User.7", event, {"id": "x", "type": "Paid"})
            program.wait_for_line("notification Paid")
            server.publish("private-orders", "App\\Events\\OrderShipped", {"order": 2})
            assert program.end() == 0
    assert '{"order": 2}' in program.lines


def test_the_worker_beside_laravel_ends_in_order_on_sigterm() -> None:
    with serve_in_thread() as server, application(server) as app:
        arguments = ["--url", url_of(server), "--app", app, "--email", "worker@app.example"]
        with running("laravel_worker.py", *arguments, WORKER_PASSWORD="right") as program:
            until_subscribed(server, "private-orders")
            assert program.end(signal.SIGTERM) == 0
        server.wait_until(lambda machine: not machine.connections, 30)


# The example who_is_online


def test_who_is_online_reports_users_that_come_and_go() -> None:
    users: dict[str, dict[str, object]] = {
        f"Bearer {name}": {"id": name, "user_info": {"name": name.title()}}
        for name in ("ann", "bob")
    }
    with serve_in_thread(Server(options=ServerOptions(auth_user=users))) as server:
        arguments = ["--url", url_of(server), "--auth-url", server.auth_url, "presence-room"]
        with running("who_is_online.py", "--token", "ann", *arguments) as ann:
            ann.wait_for_line("1 online: Ann")
            with running("who_is_online.py", "--token", "bob", *arguments) as bob:
                bob.wait_for_line("2 online: Ann, Bob")
                ann.wait_for_line("2 online: Bob joined")
                bob.end(signal.SIGINT)
            ann.wait_for_line("1 online: Bob left")


def test_who_is_online_ends_with_the_reason_when_it_is_refused() -> None:
    with serve_in_thread(Server(options=ServerOptions(auth_token="right"))) as server:
        arguments = ["--url", url_of(server), "--auth-url", server.auth_url, "presence-room"]
        with running("who_is_online.py", "--token", "wrong", *arguments) as program:
            assert program.end() == 1
    assert "403" in program.lines[-1]


# The encrypted channel


def test_the_encrypted_example_reads_on_after_the_key_was_changed(server: ServerInThread) -> None:
    channel = "private-encrypted-notes"
    arguments = ["--url", url_of(server), "--auth-url", server.auth_url, "--count", "2", channel]
    with running("encrypted.py", *arguments) as program:
        until_subscribed(server, channel)
        server.publish(channel, "note", {"n": 1})
        program.wait_for_line('note {"n": 1}')
        server.rotate_key(bytes(reversed(range(32))))
        server.publish(channel, "note", {"n": 2})
        assert program.end() == 0
    assert program.lines == ['note {"n": 1}', 'note {"n": 2}']


# FastAPI


def get_until(url: str, wanted: tuple[int, Any]) -> None:
    """Ask until this is the answer: what was published takes another way than the question."""
    deadline = time.monotonic() + 30
    while (answer := get(url)) != wanted:
        assert time.monotonic() < deadline, answer


def test_the_fastapi_application_listens_while_it_serves(server: ServerInThread) -> None:
    with running("fastapi_app.py", "--url", url_of(server), "--port", "0") as program:
        line = program.wait_for_line("Uvicorn running on ")
        address = line.partition("running on ")[2].split()[0]
        until_subscribed(server, "prices")
        server.publish("prices", "price", {"of": "tea", "cents": 250})
        get_until(f"{address}/prices", (200, {"tea": {"of": "tea", "cents": 250}}))
        assert get(f"{address}/health") == (200, {"pusher": "connected"})
        server.refuse(status=503)
        server.drop()
        get_until(f"{address}/health", (503, {"pusher": "connecting"}))
        assert program.end(signal.SIGINT) in (0, -signal.SIGINT, 130)


# The script with a timeout


def test_the_script_prints_the_event_that_it_waited_for(server: ServerInThread) -> None:
    arguments = ["--url", url_of(server), "--secret", "demo-secret", "private-builds", "finished"]
    with running("wait_for_event.py", *arguments) as program:
        program.wait_for_line("ready")
        server.publish("private-builds", "finished", {"ok": True})
        assert program.end() == 0
    assert program.lines[-1] == '{"ok": true}'


def test_the_script_ends_when_nothing_arrives_or_nothing_can_arrive(server: ServerInThread) -> None:
    quiet = ["--timeout", "0.2", "builds", "finished"]
    with running("wait_for_event.py", "--url", url_of(server), *quiet) as program:
        assert program.end() == 1
    wrong = url_of(server).replace("demo", "stale")
    with running("wait_for_event.py", "--url", wrong, "builds", "finished") as program:
        assert program.end() == 2
    assert "4001" in program.lines[-1]


# The device


def test_the_device_does_each_command_once_and_answers() -> None:
    with serve_in_thread(Server(options=ServerOptions(auth_token="t17"))) as server:
        arguments = ["--auth-url", server.auth_url, "--token", "t17", "--device", "17"]
        with running("remote_device.py", "--url", url_of(server), *arguments) as program:
            answered(server, 1)  # client-ready
            for command in (
                {"id": "a", "do": "say", "with": "hello"},
                {"id": "a", "do": "say", "with": "hello"},
                {"id": "b", "do": "rm -rf"},
            ):
                server.publish("private-device.17", "command", command)
            answered(server, 4)
            server.drop()
            answered(server, 5)
            assert program.end(signal.SIGTERM) == 0
            sent = [each for each in server.received if each.event.startswith("client-")]
    assert [message.event for message in sent] == [
        "client-ready",
        *["client-result"] * 3,
        "client-ready",
    ]
    assert [message.data for message in sent[1:4]] == [
        {"id": "a", "result": 5},
        {"id": "a", "result": 5},
        {"id": "b", "error": "no such command: rm -rf"},
    ]
    assert program.lines.count("saying hello") == 1


def answered(server: ServerInThread, count: int) -> None:
    """Wait until the device sent so many client events."""
    server.wait_until(
        lambda machine: sum(m.event.startswith("client-") for m in machine.received) == count,
        30,
    )
