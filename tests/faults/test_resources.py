"""Input that would use up memory or time is refused, limited or held back, and the client continues."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import Counter
from itertools import count, islice

import pytest

from faults.conversation import (
    CHANNELS,
    PATIENT_DELAY,
    SUCCEEDED,
    assert_kept,
    assert_returns,
    confirm,
    listening,
    lost,
    messages,
)
from proto import fake_client
from proto.scripted import forgetful, message, upgrade_for, upgrading
from proto.test_deflate import RSV1, Deflater, bomb
from proto.test_leaks import forget, quiet, repeat
from proto.test_limits import CHUNK, MEGABYTE, flood, measured, text_of_size
from proto.websocket_peer import CONTINUATION, frame
from pusher_proto import ChannelEvent, ConnectionState, EventsDropped
from pusher_proto.client import Overflow
from pusher_proto.events import size_of
from simulation import World

__all__ = ["quiet"]


@pytest.mark.parametrize("megabytes", [10, 100])
def test_R1_an_event_of_a_hundred_megabytes_arrives(megabytes: int) -> None:
    """The connection is closed with 1009 as soon as the length is known, nothing of the event is kept, and the next
    attempt follows after a second or two."""
    script = listening()
    script.receive(frame(b"", length=megabytes * MEGABYTE))
    assert ("close", 1009, "message of more than 1048576 bytes") in script.acts()
    assert lost(script, PATIENT_DELAY).code == 1009
    assert_returns(script)


def test_R2_an_event_of_a_hundred_megabytes_does_not_end() -> None:
    """The rest of it is not kept. With a larger `max_message_size` an event of 10 MB is delivered."""
    script = listening()
    script.answers = False  # the driver has not closed yet, and still reads
    size = 100 * MEGABYTE
    assert flood(script, frame(b"", length=size), b"x", size, 1).value < 5 * MEGABYTE
    script = listening("room", max_message_size=10 * MEGABYTE)
    data = frame(text_of_size(10 * MEGABYTE))
    for at in range(0, len(data), CHUNK):
        script.receive(data[at : at + CHUNK])
    ((_, text),) = messages(script)
    assert len(text) > 9.9 * MEGABYTE


def test_R3b_ten_million_empty_frames_arrive() -> None:
    """The connection is closed with 1009 after `max_fragments` (65 536) frames of one message, and the rest is not
    parsed.
    """
    script = listening(max_fragments=5000)
    script.answers = False
    empty = frame(b"", CONTINUATION, fin=False)
    peak = flood(script, frame(b"x", fin=False), empty, 10_000_000 * len(empty), 1)
    assert peak.value < 5 * MEGABYTE
    assert ("close", 1009, "message of more than 5000 frames") in script.acts()
    assert lost(script, PATIENT_DELAY).code == 1009
    assert_returns(script)


SIZE = size_of(ChannelEvent("room", "ev", "100"))

Flooded = tuple[fake_client.FakeClient, fake_client.FakeStream[ChannelEvent], Counter[str]]


def flooded(overflow: Overflow) -> Flooded:
    """Let the server send 100 events a second for 12 s, and a consumer take ten a second; return also what was seen."""
    world = World()
    options = world.options(receive_buffer=100 * SIZE, activity_timeout=1)
    client, (channel,) = fake_client.subscribed(world, "room", options=options)
    stream, numbers, seen = (
        channel.events("ev", buffer=50, overflow=overflow),
        count(),
        Counter[str](),
    )
    for _ in range(120):
        for _ in range(10):
            world.act(world.server.publish, "room", "ev", next(numbers))
        world.run(0.1)
        assert next(stream).data is not None
        seen["paused"] += not client.reads
        seen["most"] = max(seen["most"], len(stream._sink.queue) + len(client.session.events))
        seen["pings"] += sum(event == "pusher:ping" for event, _ in world.heard())
    assert client.session.stats.connections == 1
    return client, stream, seen


@pytest.mark.parametrize("compression", [True, False])
def test_R4_a_bomb_arrives_that_inflates_to_a_hundred_megabytes(compression: bool) -> None:
    """Compression is not offered by default, and then a compressed message closes the connection with 1002. With
    `compression=True` it is inflated to `max_message_size` and no further: the connection is closed with 1009."""
    script = upgrading(compression=compression).subscribe(*CHANNELS)
    accepted = upgrade_for(script.streams[1].sent)
    if compression:
        accepted = accepted[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    confirm(script.receive(accepted).greet(), *CHANNELS)
    if compression:
        script.receive(frame(Deflater().body(message("ev", "1", "room")), rsv=RSV1))
        assert messages(script) == [("room", 1)]
    forgetful(script)
    body = bomb(100 * MEGABYTE)
    assert len(body) < 105_000
    with measured() as peak:
        script.receive(frame(body, rsv=RSV1))
    assert peak.value < 5 * MEGABYTE
    code = 1009 if compression else 1002
    assert [act[1] for act in script.acts() if isinstance(act, tuple)] == [code]
    assert lost(script, PATIENT_DELAY).code == code
    assert_returns(script)


def test_R5_a_consumer_is_slower_than_the_server() -> None:
    """By default (`overflow="wait"`) messages wait in the client, up to `receive_buffer`; then reading pauses and pings
    are still sent. Nothing is lost as long as the server keeps unread messages.
    """
    client, stream, seen = flooded("wait")
    assert seen["paused"] > 80
    assert seen["most"] <= 110
    assert seen["pings"] >= 8
    rest = [event.data for event in islice(stream, 1200 - 120)]
    assert rest == list(range(120, 1200))
    assert client.reads
    assert client.session.stats.connections == 1


def test_R5_a_consumer_that_drops_is_slower_than_the_server() -> None:
    """With `overflow="drop_oldest"` nothing waits, the newest events are kept, and the number of dropped ones is
    reported.
    """
    client, stream, seen = flooded("drop_oldest")
    assert seen["paused"] == 0
    assert seen["most"] <= 51
    reported = client.events(EventsDropped)
    kept = [event.data for event in stream.ready()]
    assert kept == list(range(1151, 1200))
    (dropped,) = reported.ready()
    assert dropped == EventsDropped("room", stream.dropped)
    assert stream.dropped == 1200 - 120 - 49


@pytest.mark.parametrize("overflow", ["wait", "drop_oldest", "drop_newest"])
def test_R6_a_consumer_never_reads(overflow: Overflow) -> None:
    """Pings keep the connection, whether reading pauses or events are dropped, until the server closes it; closing
    the client works as usual.
    """
    world = World()
    options = world.options(receive_buffer=100 * SIZE, activity_timeout=10)
    client, (channel,) = fake_client.subscribed(world, "room", options=options)
    stream = channel.events("ev", buffer=50, overflow=overflow)
    for number in range(300):
        world.act(world.server.publish, "room", "ev", number)
    for _ in range(60):
        world.run(60)
        assert ("pusher:ping", None) in world.heard()
    assert client.session.stats.connections == 1
    assert client.reads is (overflow != "wait")
    client.close()
    assert client.session.closed
    left = len(stream.ready())
    assert 95 <= left <= 105 if overflow == "wait" else left == 50


def test_R7_thousands_of_connections_and_channels_are_opened_and_closed() -> None:
    """No memory is kept."""
    script = listening(retry_base=0.01, retry_cap=0.01)
    numbers = count()

    def come_and_go() -> None:
        channel = f"private-{next(numbers)}"
        confirm(script.subscribe(channel), channel).send("ev", "{}", channel)
        script.do(script.session.unsubscribe, channel)
        script.eof("reset").retry().greet()
        confirm(script, "room", "private-room")
        forget(script)

    before = repeat(come_and_go, 200, sys.getallocatedblocks)
    assert repeat(come_and_go, 400, sys.getallocatedblocks) - before < 200
    assert script.session.stats.connections > 600
    assert script.session.state is ConnectionState.CONNECTED


def test_R8_a_megabyte_of_small_objects_arrives() -> None:
    """Decoded, it takes less than 30 times its size, and all of it is freed with the event."""
    script = listening()
    size = MEGABYTE // 4  # more of them would only take longer
    text = frame(message("ev", "[" + "{}," * (size // 3) + "{}]", "room"))
    with measured() as peak:
        script.receive(text)
        ((_, value),) = messages(script)
        assert len(value) == size // 3 + 1
        del value
        gc.collect()
        left = tracemalloc.get_traced_memory()[0]
    assert peak.value < 30 * size
    assert left < size
    assert_kept(script)


def test_R9_a_server_asks_for_answers_and_reads_none() -> None:
    """Past `outbox_limit` its pings stay unanswered, and a late confirmation of an unsubscribed channel is undone
    once: the outgoing queue does not grow.
    """
    script = listening("room", "left", subscribe_timeout=1, outbox_limit=10_000)
    script.subscribe("given-up").wait(1)
    script.do(script.session.unsubscribe, "given-up")
    script.writes = False
    stream = script.streams[1]
    before = len(stream.sent)
    for _ in range(2000):
        script.ping(b"x" * 125).send("pusher:ping").send(SUCCEEDED, "{}", "given-up")
    assert 10_000 < len(stream.sent) - before < 10_500
    assert forgetful(script).session.state is ConnectionState.CONNECTED
