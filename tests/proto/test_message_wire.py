"""Row 1.13: the wire of a connection that carries messages, and what its errors mean, on an I/O written by hand."""

from __future__ import annotations

import ssl
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from proto.scripted import greeting, message
from proto.test_driver import Hand, options
from pusher_proto import (
    ConnectionEnded,
    ConnectionEstablished,
    ConnectionLost,
    ConnectionUnsafe,
    OpenMessages,
)
from pusher_proto.driving import (
    MessageWire,
    Wire,
    checked_connection,
    checked_message,
    connection_errors,
)


def connecting(**more: Any) -> tuple[Hand, MessageWire]:
    hand = Hand(options(**more), messages=True)
    hand.command(hand.driver.session.connect)
    [wire] = hand.wires
    assert isinstance(wire, MessageWire)
    return hand, wire


def connected(**more: Any) -> tuple[Hand, MessageWire]:
    hand, wire = connecting(**more)
    wire.opened()
    wire.received(greeting().decode())
    assert hand.driver.session.socket_id == "1.1"
    return hand, wire


def test_the_wire_says_what_to_open() -> None:
    _, wire = connecting(tls=True)
    assert (wire.host, wire.port, wire.effect.tls) == ("ws.test", 443, True)
    assert wire.effect.target.startswith("/app/key?")
    assert not wire.has_to_write  # TLS is the application's


def test_each_piece_to_write_is_one_message() -> None:
    hand, wire = connected()
    for name in ("a", "b"):
        hand.driver.session.subscribe(name, now=hand.now)
    hand.driver.settle()
    pieces = []
    while data := wire.to_write():
        assert wire.to_write() is data
        pieces.append(data)
        wire.written(len(data))
    assert pieces == [
        b'{"event":"pusher:subscribe","data":{"channel":"a"}}',
        b'{"event":"pusher:subscribe","data":{"channel":"b"}}',
    ]
    assert hand.driver.session.stats.bytes_sent == sum(map(len, pieces))


def test_closing_follows_the_sent_messages_and_has_a_code() -> None:
    hand, wire = connected()
    hand.command(hand.driver.session.subscribe, "a")
    hand.command(hand.driver.session.close)
    assert not wire.over
    wire.written(len(wire.to_write()))
    assert wire.over
    assert wire.goodbye == (1000, "")
    assert hand.driver.session.closed


def test_a_violation_is_the_reason_of_the_close() -> None:
    _, wire = connected(max_message_size=200)
    wire.received(message("e", "x" * 200, "room").decode())
    assert wire.over
    assert wire.goodbye == (1009, "message of more than 200 bytes")


def test_nothing_is_taken_after_the_end() -> None:
    hand, wire = connected()
    wire.failed("gone")
    before = hand.driver.session.stats
    wire.received("x")
    wire.eof()
    assert hand.driver.session.stats == before
    assert [type(each) for each in hand.events].count(ConnectionLost) == 1


def test_the_servers_close_code_says_more_than_an_error_of_writing() -> None:
    for last, code in ((ConnectionEnded(4200, "restart"), 4200), (OSError("reset"), 1006)):
        hand, wire = connected()
        wire.write_failed(OSError("broken pipe"))
        wire.failed(last)
        [loss] = [each for each in hand.events if isinstance(each, ConnectionLost)]
        assert loss.code == code
        assert hand.errors == []


def test_other_streams_of_such_a_session_carry_bytes() -> None:
    hand, _ = connected()
    owner: Any = None  # it is not asked
    hand.driver.session._transports.open(options().address(), owner)
    hand.driver.settle()
    assert type(hand.wires[-1]) is Wire


def test_an_io_that_cannot_dial_fails_the_attempt() -> None:
    hand = Hand(options(), messages=True)
    hand.cannot = OSError("too many files")
    hand.command(hand.driver.session.connect)
    assert ConnectionLost in map(type, hand.events)
    assert ConnectionEstablished not in map(type, hand.events)
    assert hand.errors == []


def test_the_effect_is_public() -> None:
    assert OpenMessages(1, "h", 80, False, "/").close_timeout == 2.0


def test_the_steps_of_connecting_are_reported_without_those_of_a_stream() -> None:
    steps: list[str] = []
    hand = Hand(
        options(proxy="http://proxy.test:1", tls=True),
        messages=True,
        on_progress=lambda it: steps.append(f"{it.step.name} {it.state.value}"),
    )
    hand.command(hand.driver.session.connect)
    hand.wires[0].opened()
    hand.driver.tell(hand.driver.session.receive_message, 1, greeting().decode())
    assert steps == [
        *("LOOKUP began", "LOOKUP skipped", "TCP began", "TCP ended", "TLS skipped"),
        *("UPGRADE began", "UPGRADE ended", "GREETING began", "GREETING ended"),
    ]


# Connections of the application.


class Good:
    def send(self, text: str) -> None: ...
    def receive(self) -> None: ...
    def close(self, code: int, reason: str) -> None: ...


def test_what_is_not_a_connection_is_named() -> None:
    checked_connection(Good())
    with pytest.raises(TypeError, match="not SimpleNamespace, which has no receive and no close"):
        checked_connection(SimpleNamespace(send=len, close=3))
    with pytest.raises(TypeError, match="not NoneType"):
        checked_connection(None)


def test_what_is_not_a_message_is_named() -> None:
    assert checked_message(Good(), "x") == "x"
    assert checked_message(Good(), b"x") == b"x"
    assert checked_message(Good(), None) is None
    with pytest.raises(TypeError, match=r"receive\(\) returns text, or None at the end, not int"):
        checked_message(Good(), 3)


def test_an_end_without_an_exception_may_leave_a_code_at_the_connection() -> None:
    there = SimpleNamespace(close_code=4200, close_reason="restart")
    with pytest.raises(ConnectionEnded) as caught:
        checked_message(there, None)
    assert (caught.value.code, caught.value.reason) == (4200, "restart")
    assert checked_message(SimpleNamespace(close_code=None, close_reason=None), None) is None


class WithAttributes(Exception):
    def __init__(self, **attributes: Any) -> None:
        super().__init__("of a library")
        vars(self).update(attributes)


def of_websockets(code: int | None) -> Exception:
    """Return an exception like those of websockets, whose own `code` is deprecated."""
    frame = None if code is None else SimpleNamespace(code=code, reason="why")
    return WithAttributes(rcvd=frame, code=1006)


class OfAiohttp(WithAttributes):
    @property
    def code(self) -> int:
        warnings.warn("use status", DeprecationWarning, stacklevel=2)
        return 1


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (of_websockets(4200), 4200, "why"),
        (OfAiohttp(status=403, message="no"), 403, "no"),
        # httpx-ws, trio-websocket, websocket-client, and others
        (WithAttributes(status=403, message="no"), 403, "no"),
        (WithAttributes(code=4001, reason="why"), 4001, "why"),
        (WithAttributes(reason=SimpleNamespace(code=4001, reason="why")), 4001, "why"),
        (WithAttributes(response=SimpleNamespace(status_code=503, reason_phrase="b")), 503, "b"),
        (WithAttributes(status_code=404), 404, ""),
        (ConnectionEnded(4100, "full"), 4100, "full"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_codes_are_found_in_exceptions_of_libraries(
    error: Exception, code: int, reason: str
) -> None:
    with pytest.raises(ConnectionEnded) as caught, connection_errors():
        raise error
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert error in (caught.value, caught.value.__cause__)


class OfWebsockets:
    """Like the headers of websockets, where `items` raises if any header occurs twice."""

    def items(self) -> None:
        raise LookupError("Set-Cookie occurs twice")

    def raw_items(self) -> list[tuple[str, str]]:
        return [("Set-Cookie", "1"), ("Set-Cookie", "2"), ("Retry-After", "7")]


@pytest.mark.parametrize(
    "more",
    [
        {"response": SimpleNamespace(status_code=503, headers=OfWebsockets())},
        {"response": SimpleNamespace(status_code=503, headers={"Retry-After": "7"})},  # httpx-ws
        {"status": 503, "headers": {"X": "1", "Retry-After": "7"}},  # aiohttp
        {"status_code": 503, "headers": ((b"x", b"1"), (b"retry-after", b"7"))},  # trio-websocket
        {"status_code": 503, "resp_headers": {"retry-after": "7"}},  # websocket-client
    ],
)
def test_retry_after_is_found_in_exceptions_of_libraries(more: dict[str, Any]) -> None:
    hand, wire = connecting()
    with pytest.raises(ConnectionEnded) as caught, connection_errors():
        raise WithAttributes(**more)
    assert caught.value.retry_after == 7.0
    wire.failed(caught.value)
    [loss] = [each for each in hand.events if isinstance(each, ConnectionLost)]
    assert (loss.code, loss.retry_in) == (503, 7.0)


@pytest.mark.parametrize(
    "headers",
    [
        *(None, 7, "Retry-After: 7", ["Retry-After"], [("Retry-After",)], {"Retry-After": 7}, {}),
        *({"Retry-After": value} for value in ("", "-1", "1.5", "soon", "9" * 400)),
        SimpleNamespace(items=lambda: 1 / 0),
    ],
)
def test_headers_without_a_usable_retry_after_say_nothing(headers: object) -> None:
    with pytest.raises(ConnectionEnded) as caught, connection_errors():
        raise WithAttributes(status=503, message="Busy", headers=headers)
    assert (caught.value.code, caught.value.retry_after) == (503, None)


@pytest.mark.parametrize(
    "error",
    [
        of_websockets(None),
        OSError(111, "refused"),
        WithAttributes(code=True),
        WithAttributes(code=7),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exceptions_without_a_code_stay_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, connection_errors(Good()):
        raise error
    assert caught.value is error


def test_a_certificate_that_was_not_accepted_is_found_below_other_exceptions() -> None:
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_code, refused.verify_message = 18, "self-signed certificate"
    for raised in (refused, WithAttributes()):
        if raised is not refused:
            raised.__cause__ = refused
        with pytest.raises(ConnectionUnsafe, match="self-signed") as caught, connection_errors():
            raise raised
        assert caught.value.verify_code == 18
        assert caught.value.__cause__ is raised
    unsafe = ConnectionUnsafe("not good")
    with pytest.raises(ConnectionUnsafe) as caught, connection_errors():
        raise unsafe
    assert caught.value is unsafe
