"""Bytes of any shape: limits, splits, nonsense."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Literal
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pusher_proto.server import _websocket
from pusher_proto.server._http import HttpRequest
from pusher_proto.server._timers import Timers
from pusher_proto.testing import Server, ServerClose, ServerLimits, ServerOptions, ServerSend

from .client import World, form, parse_response, request
from .frames import UPGRADE, close, event, frame

SMALL = ServerLimits(head=400, body=200, message=150, held_answers=5, unsent=10_000)
CHUNKED = (
    b"POST /pusher/auth HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"10\r\nsocket_id=1.1&ch\r\n16;x=y\r\nannel_name=private-xyz\r\n0\r\nA: b\r\n\r\n"
)


def status_of(data: bytes, limits: ServerLimits = SMALL) -> tuple[int, str | None]:
    world = World(Server(options=ServerOptions(limits=limits)))
    wire = world.wire()
    wire.send(data)
    return parse_response(bytes(wire.raw))[0], wire.closed


# ---- HTTP


def test_a_chunked_body_is_read() -> None:
    assert status_of(CHUNKED) == (200, None)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01", 400),
        (b"\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: " + b"t" * 400, 431),
        (b"GET / HTTP/1.1\r\nHost: " + b"t" * 400 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 201\r\n\r\n", 413),
        (b"HEAD / HTTP/1.1\r\nHost: t\r\nContent-Length: 201\r\n\r\n", 413),
        (CHUNKED.replace(b"10\r\n", b"1z\r\n"), 400),
        (CHUNKED.replace(b";x=y", b";x=" + b"y" * 200), 413),
    ],
)
def test_requests_that_are_none_or_too_large_are_answered_and_end(data: bytes, status: int) -> None:
    assert status_of(data) == (status, "end")


def test_a_body_may_be_as_large_as_the_limit() -> None:
    assert status_of(request("POST", "/x", b"x" * 200)) == (404, None)


def test_connections_are_kept_unless_asked_otherwise() -> None:
    world = World()
    wire = world.wire()
    wire.send(request("GET", "/") * 3)
    assert (wire.raw.count(b"200 OK"), wire.closed) == (3, None)
    wire.send(request("GET", "/", headers={"Connection": "close"}) + request("GET", "/"))
    assert (wire.raw.count(b"200 OK"), wire.closed) == (4, "end")
    old = world.wire()
    old.send(b"GET / HTTP/1.0\r\n\r\n")
    assert old.closed == "end"


def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    world = World()
    wire = world.wire()
    head, _, body = form("/pusher/auth", {"Expect": "100-continue"}, socket_id="1.1").partition(
        b"\r\n\r\n"
    )
    wire.send(head + b"\r\n\r\n")
    assert wire.raw == b"HTTP/1.1 100 \r\n\r\n"
    wire.send(body)
    assert b"HTTP/1.1 400 " in wire.raw


def test_a_request_for_an_upgrade_that_is_not_get_is_just_a_request() -> None:
    assert status_of(UPGRADE.replace(b"GET", b"POST", 1))[0] == 426
    assert status_of(UPGRADE.replace(b"websocket", b"h2c", 1))[0] == 426
    assert status_of(b"CONNECT t:1 HTTP/1.1\r\nHost: t\r\n\r\n")[0] == 404


# ---- WebSocket


def spoken(*frames: bytes, limits: ServerLimits = SMALL) -> tuple[bytes, str | None, World]:
    world = World(Server(options=ServerOptions(limits=limits)))
    wire = world.wire()
    wire.send(UPGRADE)
    wire.raw.clear()
    wire.send(b"".join(frames))
    return bytes(wire.raw), wire.closed, world


PONG = frame(b'{"event":"pusher:pong","data":"{}"}', masked=False)
MALFORMED = frame(
    b'{"event":"pusher:error","data":{"code":4200,"message":"Invalid message format"}}',
    masked=False,
)
PING_TEXT = b'{"event":"pusher:ping"}'


def test_a_message_may_arrive_in_pieces_with_pings_in_between() -> None:
    raw, _, _ = spoken(
        frame(PING_TEXT[:5], final=False),
        frame(b"hi", opcode=9),
        frame(PING_TEXT[5:9], opcode=0, final=False),
        frame(b"", opcode=10),
        frame(PING_TEXT[9:], opcode=0),
        event("pusher:ping"),
    )
    assert raw == frame(b"hi", opcode=10, masked=False) + PONG + PONG


def test_a_frame_waits_until_all_of_its_head_is_there() -> None:
    whole = frame(PING_TEXT + b" " * 120)
    for end in (1, 2, 3, 7, len(whole) - 1):
        raw, _, world = spoken(whole[:end])
        assert raw == b""
        world.wires[1].send(whole[end:])
        assert world.wires[1].raw == PONG


def frames_read(data: bytes) -> list[_websocket.Message]:
    """Return the messages in the bytes of a client, up to one that ends the connection."""
    lines = UPGRADE.lower().split(b"\r\n")[1:-2]
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    accepted = _websocket.WebSocket.accept(HttpRequest("GET", "/", "", headers, b"", True), 200_000)
    assert isinstance(accepted, tuple)
    websocket, _ = accepted
    websocket.receive_data(data)
    found: list[_websocket.Message] = []
    while (message := websocket.next_message()) is not None:
        found.append(message)
        if isinstance(message, _websocket.PeerClosed | _websocket.Broken):
            break
    return found


def masked_frame(payload: bytes, mask: bytes, opcode: int, final: bool) -> bytes:
    """Return one frame with a mask, which `frame` leaves at zero."""
    data = frame(bytes(len(payload)), opcode=opcode, final=final)
    sent = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return data[: len(data) - len(payload) - 4] + mask + sent


PAYLOADS = st.one_of(
    st.text().map(str.encode),
    st.binary(),
    st.sampled_from([b"x" * size for size in (125, 126, 65535, 65536)]),
)


@given(
    st.lists(
        st.builds(
            masked_frame,
            PAYLOADS,
            st.binary(min_size=4, max_size=4),
            st.sampled_from((1, 1, 1, 0, 2, 8, 9)),
            st.booleans(),
        ),
        max_size=4,
    )
)
def test_whole_texts_are_read_as_wsproto_reads_them(frames: list[bytes]) -> None:
    data = b"".join(frames)
    with patch.object(_websocket, "whole_text", lambda _: None):
        expected = frames_read(data)
    assert frames_read(data) == expected


def test_a_masked_text_is_read_without_wsproto() -> None:
    text = masked_frame("häppi".encode(), b"\x01\x80\xff\x33", 1, True)
    assert frames_read(text) == ["häppi"]
    assert _websocket.whole_text(text) == "häppi"
    longer = bytes((0x81, 0xFE, 0, 5)) + bytes(4) + b"hello"  # more bits of length than it needs
    assert _websocket.whole_text(longer) is None
    assert isinstance(frames_read(longer)[0], _websocket.Broken)


UPGRADE_HEADERS: dict[bytes, list[bytes]] = {
    b"host": [b"t", b"t", b"xn--a", b"\xff"],
    b"connection": [b"Upgrade", b"Upgrade", b"keep-alive, Upgrade", b"close"],
    b"upgrade": [b"websocket", b"WebSocket", b"h2c"],
    b"sec-websocket-version": [b"13", b"13", b"12"],
    b"sec-websocket-key": [b"dGhlIHNhbXBsZSBub25jZQ==", b"x"],
    b"sec-websocket-extensions": [b"permessage-deflate", b"\xff"],
    b"sec-websocket-protocol": [b"a, b", b"\xff"],
}


@given(
    st.lists(
        st.sampled_from([(name, value) for name, many in UPGRADE_HEADERS.items() for value in many])
    ),
    st.sets(st.sampled_from(list(UPGRADE_HEADERS)[:5]), min_size=3),
)
def test_upgrades_are_answered_as_wsproto_answers_them(
    others: list[tuple[bytes, bytes]], valid: set[bytes]
) -> None:
    headers = [(name, UPGRADE_HEADERS[name][0]) for name in sorted(valid)] + others
    asked = HttpRequest("GET", "/", "", headers, b"", True)

    def answer() -> object:
        accepted = _websocket.WebSocket.accept(asked, 1000)
        return accepted[1] if isinstance(accepted, tuple) else accepted

    with patch.object(_websocket, "plain_key", lambda _: None):
        expected = answer()
    assert answer() == expected


def test_a_plain_upgrade_is_answered_without_wsproto() -> None:
    headers = [(name, UPGRADE_HEADERS[name][0]) for name in list(UPGRADE_HEADERS)[:5]]
    assert _websocket.plain_key(headers) == b"dGhlIHNhbXBsZSBub25jZQ=="
    assert _websocket.plain_key([*headers, (b"cookie", b"a"), (b"cookie", b"b")]) is None


def test_binary_messages_are_an_error_and_the_connection_stays() -> None:
    raw, closed, _ = spoken(
        frame(b"\xff", opcode=2),
        frame(b"\xff", opcode=2, final=False),
        frame(b"\xff", opcode=0),
    )
    assert (raw, closed) == (MALFORMED * 2, None)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(b"x", masked=False)], 1002),
        ([frame(b"x", opcode=3)], 1002),
        ([frame(b"x", reserved=4)], 1002),
        ([frame(b"x", opcode=0)], 1002),
        ([frame(b"x", final=False), frame(b"x")], 1002),
        ([frame(b"x", opcode=9, final=False)], 1002),
        ([frame(b"x" * 126, opcode=9)], 1002),
        ([frame(b"x" * 70_000, opcode=11)], 1002),
        ([b"\x81\xfe\x00\x01\0\0\0\0x"], 1002),
        ([frame(b"\xff")], 1007),
        ([close(999)], 1002),
        ([frame(b"x", opcode=8)], 1002),
        ([frame(b"x" * 151)], 1009),
        ([frame(b"x" * 70_000)], 1009),
        ([frame(b"x" * 100, final=False), frame(b"x" * 51, opcode=0)], 1009),
        ([frame(b"", final=False)] + [frame(b"", opcode=0, final=False)] * 100, 1009),
    ],
)
def test_frames_that_break_the_rules_close_with_a_code(frames: list[bytes], code: int) -> None:
    raw, closed, world = spoken(*frames, event("pusher:ping"))
    assert raw[0] == 0x88
    assert int.from_bytes(raw[2:4], "big") == code
    assert (closed, world.server.connections) == (None, {})
    world.pass_time(5)
    assert world.wires[1].closed == "abort"


@pytest.mark.parametrize("code", [None, 1000, 1001, 3000, 4999])
def test_a_close_is_answered_in_kind(code: int | None) -> None:
    raw, closed, world = spoken(close(code), event("pusher:ping"))
    expected = b"\x88\x00" if code is None else b"\x88\x02" + code.to_bytes(2, "big")
    assert (raw, closed, world.server.connections) == (expected, "end", {})


# ---- properties

PIECES = st.one_of(
    st.sampled_from(
        [
            request("GET", "/"),
            request("HEAD", "/"),
            form("/pusher/auth", socket_id="1.1", channel_name="private-x"),
            form("/pusher/auth", {"Expect": "100-continue"}, socket_id="1.1"),
            request("POST", "/pusher/auth", b"x" * 201),
            CHUNKED,
            CHUNKED.replace(b";x=y", b";x=" + b"y" * 150),
            CHUNKED.replace(b"0\r\nA", b"0;\r\nA"),
            request("GET", "/", headers={"X-Long": "y" * 500}),
            UPGRADE,
            UPGRADE,
            UPGRADE.replace(b"demo", b"none"),
            event("pusher:ping"),
            event("pusher:subscribe", {"channel": "room"}),
            event("pusher:subscribe", {"channel": "private-x", "auth": "demo:0"}),
            event("client-x", {}, "room"),
            frame(PING_TEXT[:7], final=False),
            frame(PING_TEXT[7:], opcode=0),
            frame(b"\xff", opcode=2),
            frame(b"\xc3"),
            frame(b"hello", opcode=9),
            frame(b"x" * 126, opcode=9),
            frame(b"x" * 151),
            frame(b"\xff" * 151),
            close(),
            close(None),
        ]
    ),
    st.binary(max_size=30),
)
STREAMS = st.lists(PIECES, max_size=8).map(b"".join)


Dialect = Literal["pusher", "reverb", "sockudo"]
DIALECTS: st.SearchStrategy[Dialect] = st.sampled_from(["pusher", "reverb", "sockudo"])


def outcome(
    chunks: list[bytes], *, mute: bool = False, delay: float = 0.0, dialect: Dialect = "pusher"
) -> tuple[list[Any], bytes, list[Any]]:
    """Return what a server makes of bytes: closes and deadlines, output, messages received."""
    server = Server(options=ServerOptions(dialect=dialect, limits=SMALL))
    if mute:
        server.mute(now=0.0)
    server.delay(delay, now=0.0)
    output = bytearray()
    others: list[Any] = []

    def drain() -> None:
        while (effect := server.next_effect()) is not None:
            if isinstance(effect, ServerSend):
                assert ("abort", True) not in others and ("abort", False) not in others
                output.extend(effect.data)
            else:
                assert isinstance(effect, ServerClose)
                others.append(("abort", effect.abort))

    server.connection_opened(1, now=0.0)
    for chunk in chunks:
        server.receive_data(1, chunk, now=0.0)
        drain()
    others.append(server.next_deadline())
    now = 0.0
    while (due := server.next_deadline()) is not None:
        assert due > now
        now = due
        server.handle_timeout(now=now)
        drain()
    others += [server.stats, list(server.auth_requests)]
    return others, bytes(output), list(server.received)


@given(
    STREAMS,
    st.lists(st.integers(0, 2000), max_size=10),
    st.booleans(),
    st.sampled_from([0, 1]),
    DIALECTS,
)
@settings(max_examples=300, deadline=None)
def test_how_bytes_are_split_changes_nothing(
    stream: bytes, cuts: list[int], mute: bool, delay: int, dialect: Dialect
) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    parts = [stream[start:end] for start, end in pairwise(edges)]
    whole = outcome([stream], mute=mute, delay=delay, dialect=dialect)
    assert outcome(parts, mute=mute, delay=delay, dialect=dialect) == whole


@given(STREAMS)
@settings(max_examples=150, deadline=None)
def test_one_byte_at_a_time_is_as_good_as_all_at_once(stream: bytes) -> None:
    assert outcome([bytes([byte]) for byte in stream]) == outcome([stream])


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_never_raise(noise: bytes, upgraded: bool) -> None:
    outcome([UPGRADE, noise] if upgraded else [noise])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "pusher:subscribe",
        "pusher:unsubscribe",
        "pusher:signin",
        "pusher:ping",
        "pusher:pong",
        "client-x",
        "other",
    ]
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "channel": st.sampled_from(["room", "private-x", "presence-x", "cache-x"]) | JSON,
        "auth": st.text(max_size=5) | JSON,
        "channel_data": st.text(max_size=5) | JSON,
        "user_data": JSON,
    },
)


@given(
    st.lists(st.tuples(NAMES, FIELDS | JSON, st.none() | st.text(max_size=5)), max_size=6), DIALECTS
)
@settings(max_examples=300, deadline=None)
def test_whatever_events_say_never_raises(
    messages: list[tuple[str, Any, str | None]], dialect: Dialect
) -> None:
    outcome([UPGRADE, *(event(*message) for message in messages)], dialect=dialect)


MEMBERS = st.fixed_dictionaries({}, optional={"user_id": JSON, "user_info": JSON, "more": JSON})


@given(
    st.lists(st.tuples(MEMBERS | JSON, JSON | st.text(max_size=5)), min_size=1, max_size=4),
    DIALECTS,
)
@settings(max_examples=300, deadline=None)
def test_whatever_members_and_users_are_signed_never_raises(
    members: list[tuple[Any, Any]], dialect: Dialect
) -> None:
    world = World(Server(options=ServerOptions(dialect=dialect)))
    for member, data in members:
        client = world.client()
        client.subscribe("presence-room", member)
        client.sign_in(member if isinstance(member, dict) else {"id": member})
        client.say("client-x", data, "presence-room")
        client.say("client-x", json.dumps(data), "presence-room")
    world.server.members("presence-room")
    for wire in list(world.wires.values()):
        wire.hang_up()
    world.pass_time(1000)
    assert world.server.channels() == []


# ---- deadlines


def test_deadlines_are_replaced_cancelled_and_fired_in_order() -> None:
    timers = Timers()
    fired: list[Any] = []

    def note(name: str) -> Any:
        return lambda now: fired.append((name, now))

    for number in range(200):
        timers.set("often", 100.0 + number, note("often"))
    assert len(timers._heap) < 100
    timers.set("late", 2.0, note("late"))
    timers.set("early", 1.0, note("early"))
    timers.set("never", 1.5, note("never"))
    timers.cancel("never")
    timers.cancel("unknown")
    assert ("late" in timers, "never" in timers, timers.next_due()) == (True, False, 1.0)
    timers.fire(2.0)
    assert fired == [("early", 2.0), ("late", 2.0)]
    assert timers.next_due() == 299.0
