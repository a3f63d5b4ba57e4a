"""Limits, seen at the session: exactly at each all is well, one past it comes the documented outcome.

And what a hostile server sends past them costs no memory worth mentioning: it is not kept.
"""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from proto.scripted import Script, connected, forgetful, message, upgrade_for, upgrading
from proto.test_encryption import NEW, OLD, box, key_of
from proto.websocket_peer import BINARY, CONTINUATION, PING, PONG, TEXT, answer, frame, split
from pusher_proto import (
    AuthEndpoint,
    AuthResponse,
    ChannelEvent,
    CloseTransport,
    ConnectionState,
    DecryptionFailed,
    LocalProtocolError,
    MemberAdded,
    OutboxFull,
    ProtocolViolation,
    Subscribed,
    SubscriptionFailed,
)
from pusher_proto._wire.envelope import MAX_DEPTH
from pusher_proto.events import size_of

SUCCEEDED = "pusher_internal:subscription_succeeded"
CONNECTED = ConnectionState.CONNECTED
ENDPOINT = AuthEndpoint("http://auth.test/")

MEGABYTE = 1_000_000
CHUNK = 65536


def whole(data: bytes) -> list[bytes]:
    return [data]


def in_small_pieces(data: bytes) -> list[bytes]:
    return split(data, range(0, len(data), 777))


in_any_pieces = pytest.mark.parametrize("pieces", [whole, in_small_pieces])
Pieces = Callable[[bytes], list[bytes]]


def on(*channels: str, **options: Any) -> Script:
    """Return a connected script with these channels confirmed, looks taken."""
    script = connected(**options)
    for channel in channels:
        script.subscribe(channel).send(SUCCEEDED, "{}", channel)
    return forgetful(script)


def receive(script: Script, data: list[bytes]) -> Script:
    for piece in data:
        script.receive(piece)
    return script


def assert_ended(script: Script, code: int, reason: str) -> None:
    """The connection was ended by a close frame with this code, and another one follows."""
    sent = [act for act in script.acts() if isinstance(act, tuple) and act[0] == "close"]
    assert sent == [("close", code, reason)]
    assert script.lost() == (code, reason, True)
    assert_returns(script)


def assert_returns(script: Script) -> None:
    script.retry().greet()
    assert script.session.state is CONNECTED


# Messages.


def text_of_size(size: int) -> bytes:
    """Return a message on "room" of exactly `size` bytes."""
    return message("ev", "x" * (size - len(message("ev", "", "room"))), "room")


def fragments(data: bytes, count: int, *, opcode: int = TEXT, finished: bool = True) -> bytes:
    """Return a message in this number of frames, of which the first has it all."""
    first = frame(data, opcode, fin=finished and count == 1)
    rest = frame(b"", CONTINUATION, fin=False) * (count - 1 - finished)
    last = frame(b"", CONTINUATION) if finished and count > 1 else b""
    return first + rest + last


@in_any_pieces
def test_a_message_may_have_exactly_max_message_size_bytes(pieces: Pieces) -> None:
    text = text_of_size(10_000)
    script = on("room", max_message_size=10_000)
    receive(script, pieces(frame(text)))
    cut = frame(text[:4000], fin=False) + frame(text[4000:], CONTINUATION)
    receive(script, pieces(cut))
    assert [type(event) for event in script.take()] == [ChannelEvent, ChannelEvent]
    assert script.acts() == []


@in_any_pieces
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("frames", [1, 2])
def test_a_message_of_one_byte_more_ends_the_connection_with_1009(
    frames: int, opcode: int, pieces: Pieces
) -> None:
    text = text_of_size(10_001)
    data = frame(text, opcode)
    if frames == 2:
        data = frame(text[:4000], opcode, fin=False) + frame(text[4000:], CONTINUATION)
    script = receive(on("room", max_message_size=10_000), pieces(data))
    assert_ended(script, 1009, "message of more than 10000 bytes")


@in_any_pieces
def test_a_message_may_have_exactly_max_fragments_frames(pieces: Pieces) -> None:
    script = on("room", max_fragments=100)
    receive(script, pieces(fragments(text_of_size(500), 100) * 2))
    assert [type(event) for event in script.take()] == [ChannelEvent, ChannelEvent]
    assert script.acts() == []


@in_any_pieces
def test_a_message_of_one_frame_more_ends_the_connection_with_1009(pieces: Pieces) -> None:
    data = fragments(text_of_size(500), 101)
    script = receive(on("room", max_fragments=100), pieces(data))
    assert_ended(script, 1009, "message of more than 100 frames")


@in_any_pieces
def test_control_frame_rate_pings_and_pongs_in_a_second_are_taken(pieces: Pieces) -> None:
    script = on("room", control_frame_rate=100)
    for _ in range(3):
        script.now += 1
        receive(script, pieces(frame(b"p", PING) * 50 + frame(b"", PONG) * 50))
    assert script.session.state is CONNECTED


@in_any_pieces
def test_one_ping_more_ends_the_connection_with_1008(pieces: Pieces) -> None:
    script = on("room", control_frame_rate=100)
    script.now += 1
    receive(script, pieces(frame(b"p", PING) * 101))
    assert_ended(script, 1008, "more than 100 pings and pongs in a second")


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_json_is_decoded_to_exactly_its_limit_of_levels() -> None:
    script = on("room")
    text = '{"event":"ev","channel":"room","data":%s}'
    script.text((text % nested(MAX_DEPTH - 1)).encode())
    script.text((text % nested(MAX_DEPTH)).encode())
    delivered, refused = script.take()
    assert isinstance(delivered, ChannelEvent)
    assert isinstance(refused, ProtocolViolation)
    assert refused.reason == f"not a message: nested more than {MAX_DEPTH} levels deep"


def test_data_is_decoded_to_the_same_limit_and_stays_text_past_it() -> None:
    script = on("room")
    for levels in (MAX_DEPTH, MAX_DEPTH + 1):
        script.send("ev", nested(levels), "room")
    decoded, text = script.take(ChannelEvent)
    assert isinstance(decoded, ChannelEvent)
    assert isinstance(text, ChannelEvent)
    assert isinstance(decoded.data, list)
    assert text.data == nested(MAX_DEPTH + 1)


# HTTP.


def padded(head: bytes, size: int) -> bytes:
    """Return this head, made `size` bytes long by a header."""
    start = head.removesuffix(b"\r\n") + b"Padding: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


@in_any_pieces
@pytest.mark.parametrize("limit", [16 * 1024, 1000])
def test_the_head_that_accepts_the_upgrade_may_have_exactly_max_head_bytes(
    limit: int, pieces: Pieces
) -> None:
    script = upgrading(max_head=limit)
    accepted = padded(upgrade_for(script.streams[1].sent), limit)
    receive(script, pieces(accepted)).greet()
    assert script.session.state is CONNECTED


@in_any_pieces
@pytest.mark.parametrize("limit", [16 * 1024, 1000])
def test_a_head_of_one_byte_more_ends_the_attempt(limit: int, pieces: Pieces) -> None:
    script = upgrading(max_head=limit)
    accepted = padded(upgrade_for(script.streams[1].sent), limit + 1)
    receive(script, pieces(accepted))
    assert script.acts() == [CloseTransport(1, abort=True)]
    assert script.lost() == (None, f"the answer's head exceeds {limit} bytes", True)
    assert_returns(script)


def asking(**options: Any) -> Script:
    """Return a script whose request has gone to the auth endpoint, on transport 2."""
    script = connected(auth=ENDPOINT, auth_attempts=1, **options)
    return forgetful(script.subscribe("private-room").open())


def authorized(size: int | None = None, body_size: int = 0) -> bytes:
    """Return an endpoint's answer with an authorization, with a head and a body of these sizes."""
    body = json.dumps({"auth": "key:signature"}).encode().ljust(body_size)
    head = answer("200 OK", [("Content-Length", str(len(body)))])
    return (padded(head, size) if size else head) + body


def signatures(script: Script) -> list[str]:
    """Return the signatures of the subscribes that were sent."""
    return [
        act["data"]["auth"]
        for act in script.acts()
        if isinstance(act, dict) and act["event"] == "pusher:subscribe"
    ]


@in_any_pieces
@pytest.mark.parametrize(
    "good",
    [authorized(16 * 1024), authorized(body_size=64 * 1024), authorized(16 * 1024, 64 * 1024)],
)
def test_an_endpoint_may_answer_with_exactly_max_head_and_max_auth_body_bytes(
    good: bytes, pieces: Pieces
) -> None:
    script = receive(asking(), pieces(good))
    assert signatures(script) == ["key:signature"]


@in_any_pieces
@pytest.mark.parametrize(
    ("long", "reason"),
    [
        (authorized(16 * 1024 + 1), "the head of the answer is larger than 16384 bytes"),
        (authorized(body_size=64 * 1024 + 1), "the answer is larger than 65536 bytes"),
    ],
)
def test_an_answer_of_one_byte_more_refuses_the_channel_for_the_moment(
    long: bytes, reason: str, pieces: Pieces
) -> None:
    script = receive(asking(), pieces(long))
    assert script.acts() == [CloseTransport(2, abort=True)]
    (failed,) = script.take()
    assert isinstance(failed, SubscriptionFailed)
    assert str(failed.error) == f"the auth endpoint: {reason}"
    assert failed.retry_in is not None
    script.wait(failed.retry_in).open()
    assert signatures(receive(script, [authorized()])) == ["key:signature"]


# Counts.


def test_exactly_max_channels_may_be_wanted() -> None:
    script = on(max_channels=3)
    script.subscribe("a", "b", "c").subscribe("a")
    with pytest.raises(
        LocalProtocolError, match=r"there are 3 channels already \(Options.max_channels\)"
    ):
        script.subscribe("d")
    assert script.session.channels() == ("a", "b", "c")


def presence(script: Script, *ids: str) -> Script:
    script.subscribe("presence-room", auth=AuthResponse("key:x", channel_data='{"user_id":"0"}'))
    members = {"ids": ids, "hash": dict.fromkeys(ids), "count": len(ids)}
    return script.send(SUCCEEDED, json.dumps({"presence": members}), "presence-room")


def joins(script: Script, user_id: str) -> Script:
    data = json.dumps({"user_id": user_id})
    return script.send("pusher_internal:member_added", data, "presence-room")


def test_a_channel_has_exactly_max_members() -> None:
    script = presence(on(max_members=3), "0", "1", "2")
    assert [type(event) for event in script.take()] == [Subscribed]
    (refused,) = joins(script, "3").take()
    assert isinstance(refused, ProtocolViolation)
    assert refused.reason == "more than 3 members (Options.max_members)"
    assert [type(event) for event in joins(script, "2").take()] == []
    assert list(script.session.channel("presence-room").members) == ["0", "1", "2"]


def test_a_member_may_be_added_up_to_max_members() -> None:
    script = presence(on(max_members=3), "0", "1")
    script.take()
    assert [type(event) for event in joins(script, "2").take()] == [MemberAdded]
    assert [type(event) for event in joins(script, "3").take()] == [ProtocolViolation]


def test_a_roster_past_max_members_is_not_taken() -> None:
    script = presence(on(max_members=3), "0", "1", "2", "3")
    refused, subscribed = script.take()
    assert isinstance(refused, ProtocolViolation)
    assert refused.reason == "more than 3 members (Options.max_members)"
    assert isinstance(subscribed, Subscribed)
    assert len(script.session.channel("presence-room").members) == 0


def test_exactly_max_held_messages_wait_for_a_new_key() -> None:
    script = on(auth=None, encrypted_backlog_limit=3)
    room = "private-encrypted-room"
    script.subscribe(room)
    script.do(script.session.authorized, 1, AuthResponse("key:x", shared_secret=key_of(OLD)))
    script.send(SUCCEEDED, "{}", room)
    forgetful(script)
    for number in range(4):
        script.send("ev", json.dumps(box(str(number), NEW)), room)
    (failed,) = script.take()
    assert isinstance(failed, DecryptionFailed)
    assert (
        str(failed.error)
        == "more than 3 messages wait for a new key (Options.encrypted_backlog_limit)"
    )
    (asked,) = script.asked[1:]
    script.do(
        script.session.authorized, asked.request, AuthResponse("key:x", shared_secret=key_of(NEW))
    )
    assert [event.data for event in script.take() if isinstance(event, ChannelEvent)] == [0, 1, 2]


def test_the_outbox_takes_exactly_outbox_limit_bytes() -> None:
    script = on("private-room", outbox_limit=10_000)
    script.writes = False
    size = len(b'{"event":"client-ev","channel":"private-room","data":""}')

    def trigger(length: int) -> None:
        data = "x" * (length - size)
        script.do(script.session.trigger, "private-room", "client-ev", data)

    trigger(5000)
    waiting = 5000 + 8  # with the header of a masked frame
    with pytest.raises(OutboxFull):
        trigger(10_000 - waiting + 1)
    trigger(10_000 - waiting)
    with pytest.raises(OutboxFull):
        trigger(size)
    assert len(script.frames()) == 2


def test_reading_stops_when_exactly_receive_buffer_bytes_wait() -> None:
    script = on("room", receive_buffer=5 * size_of(ChannelEvent("room", "n", "0")))
    script.pulls = False
    wanted = []
    for number in range(5):
        script.send("n", str(number), "room")
        wanted.append(script.session.wants_data(1))
    assert wanted == [True, True, True, True, False]


# Memory.


class Peak:
    """The peak of the additional memory, in bytes."""

    value = 0


@contextmanager
def measured() -> Iterator[Peak]:
    peak = Peak()
    gc.collect()
    tracemalloc.start()
    try:
        yield peak
        peak.value = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def flood(script: Script, start: bytes, unit: bytes, total: int, transport: int) -> Peak:
    """Let the server send `start`, then `unit` again and again; nothing keeps it."""
    chunk = unit * (CHUNK // len(unit))
    with measured() as peak:
        for data in (start, *(chunk for _ in range(total // len(chunk)))):
            script.do(script.session.receive_data, transport, data)
    print(f"at most {peak.value / MEGABYTE:.2f} MB")  # noqa: T201 - for a person who looks: pytest -s
    return peak


@pytest.mark.parametrize(
    ("start", "unit", "code", "reason"),
    [
        (
            frame(b"", length=100 * MEGABYTE),
            b"x",
            1009,
            "message of more than 1048576 bytes",
        ),
        (
            frame(b"", BINARY, length=100 * MEGABYTE),
            b"x",
            1009,
            "message of more than 1048576 bytes",
        ),
        (frame(b"", length=2**62), b"x", 1009, "message of more than 1048576 bytes"),
        (
            frame(b"x", fin=False),
            frame(b"x" * 1000, CONTINUATION, fin=False),
            1009,
            "message of more than 1048576 bytes",
        ),
        (
            frame(b"x", fin=False),
            frame(b"", CONTINUATION, fin=False),
            1009,
            "message of more than 65536 frames",
        ),
        (b"", frame(b"p" * 125, PING), 1008, "more than 10000 pings and pongs in a second"),
        (b"", frame(b"", PONG), 1008, "more than 10000 pings and pongs in a second"),
    ],
    ids=[
        "event of 100 MB",
        "binary message of 100 MB",
        "message of 4 EB",
        "endless fragments",
        "endless empty fragments",
        "endless pings",
        "endless pongs",
    ],
)
def test_what_a_server_sends_past_a_limit_is_not_kept(
    start: bytes, unit: bytes, code: int, reason: str
) -> None:
    script = on("room")
    script.answers = False  # the driver has not closed yet, and still reads
    peak = flood(script, start, unit, 100 * MEGABYTE, transport=1)
    assert peak.value < 5 * MEGABYTE
    assert_ended(script, code, reason)


def test_a_raised_limit_lets_a_large_message_through() -> None:
    script = on("room", max_message_size=10 * MEGABYTE)
    data = frame(text_of_size(10 * MEGABYTE))
    receive(script, [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)])
    (event,) = script.take()
    assert isinstance(event, ChannelEvent)
    assert len(str(event.raw_data)) > 9.9 * MEGABYTE


def test_two_hundred_megabytes_of_headers_are_not_kept() -> None:
    script = upgrading()
    script.answers = False
    start = b"HTTP/1.1 101 Switching Protocols\r\nX: "
    peak = flood(script, start, b"x", 200 * MEGABYTE, transport=1)
    assert peak.value < 5 * MEGABYTE
    assert script.lost() == (None, "the answer's head exceeds 16384 bytes", True)
    assert_returns(script)


@pytest.mark.parametrize(
    "start",
    [
        answer("503 Busy", [("Content-Length", str(200 * MEGABYTE))]),
        answer("503 Busy", [("Transfer-Encoding", "chunked")], b"bebc200\r\n"),
    ],
)
def test_two_hundred_megabytes_instead_of_the_upgrade_are_not_kept(start: bytes) -> None:
    script = upgrading()
    script.answers = False
    peak = flood(script, start, b"x", 200 * MEGABYTE, transport=1)
    assert peak.value < 5 * MEGABYTE
    assert script.lost() == (503, "the upgrade was answered with HTTP 503 Busy", True)
    assert_returns(script)


@pytest.mark.parametrize(
    ("start", "unit"),
    [
        (answer("200 OK", [("Content-Length", str(200 * MEGABYTE))]), b"x"),
        (answer("200 OK", [("Transfer-Encoding", "chunked")]), b"3e8\r\n" + b"x" * 1000 + b"\r\n"),
        (answer("200 OK", [("Content-Encoding", "gzip")]), b"\x1f\x8b\x08\x00"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"", answer("100 Continue", [])),
        (answer("200 OK", [("Transfer-Encoding", "chunked")], b"0\r\n"), b"X: x\r\n"),
    ],
    ids=["with a length", "in chunks", "until the end", "headers", "announcements", "trailers"],
)
def test_two_hundred_megabytes_of_an_auth_answer_are_not_kept(start: bytes, unit: bytes) -> None:
    script = asking()
    script.answers = False
    peak = flood(script, start, unit, 200 * MEGABYTE, transport=2)
    assert peak.value < 5 * MEGABYTE
    (failed,) = script.take()
    assert isinstance(failed, SubscriptionFailed)
    assert CloseTransport(2, abort=True) in script.acts()
    assert script.session.state is CONNECTED


def test_a_megabyte_of_small_objects_is_freed_after_delivery() -> None:
    data = "[" + "{}," * (MEGABYTE // 3) + "{}]"
    script = on("room")
    text = frame(message("ev", data, "room"))
    with measured() as peak:
        script.receive(text)
        (event,) = script.take()
        assert isinstance(event, ChannelEvent)
        assert len(event.data) == MEGABYTE // 3 + 1
        del event
        gc.collect()
        left = tracemalloc.get_traced_memory()[0]
    assert peak.value < 30 * MEGABYTE
    assert left < MEGABYTE
