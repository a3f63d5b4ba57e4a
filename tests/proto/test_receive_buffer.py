"""The bound on received messages that wait for the application."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proto.scripted import forgetful, message, upgrade_for, upgrading
from proto.test_deflate import RSV1, Deflater
from proto.websocket_peer import frame
from pusher_proto import ChannelEvent, Event, StateChanged
from pusher_proto._connection.connector import Connector
from pusher_proto._session.event_queue import EventQueue
from pusher_proto._session.receive_buffer import ReceiveBuffer
from pusher_proto.events import SMALL, ConnectionState, Message, ReadingPaused, size_of

CHANGED = StateChanged(ConnectionState.CONNECTING, ConnectionState.CONNECTED)


@pytest.mark.parametrize(
    ("event", "size"),
    [
        (ChannelEvent("room", "n", "0"), 41),
        (ChannelEvent("room", "n", "ü"), 42),
        (ChannelEvent("room", "n", {"a": 1}), 47),
        (Message("n", raw="x" * 100), 135),
        (CHANGED, SMALL),
    ],
)
def test_an_event_counts_for_its_text(event: Event, size: int) -> None:
    assert size_of(event) == size


@given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=20))
def test_a_message_counts_for_at_most_its_bytes_on_the_wire(
    channel: str, name: str, data: str
) -> None:
    wire = json.dumps(
        {"event": name, "channel": channel, "data": data}, separators=(",", ":"), ensure_ascii=True
    )
    ascii_only = (channel + name).isascii()
    assert size_of(ChannelEvent(channel, name, data)) <= len(wire) or not ascii_only


class FakeConnector(Connector):
    """A connector of which only the pause of reading counts."""

    def __init__(self) -> None:
        self.paused_at: float | None = None

    def pause_reading(self, now: float) -> None:
        self.paused_at = now

    def resume_reading(self, now: float) -> float:
        seconds, self.paused_at = now - (now if self.paused_at is None else self.paused_at), None
        return seconds


@given(st.lists(st.tuples(st.sampled_from(["read", "pull", "hold"]), st.integers(0, 12))))
@example([("read", 10), ("pull", 9), ("hold", 9), ("hold", 0)])
def test_reading_is_paused_at_the_limit_and_not_at_half_of_it(steps: list[tuple[str, int]]) -> None:
    limit, now, held = 400, 0.0, 0
    connector = FakeConnector()
    queue = EventQueue(limit, lambda: buffer.recount(now))
    buffer = ReceiveBuffer(queue, connector, limit, lambda *_: None)
    event = ChannelEvent("room", "n", "0")
    for step, many in steps:
        now += 1
        match step:
            case "read":
                queue.extend([event] * many)
                queue.bytes += many * 45
                queue.check()
            case "pull":
                for _ in range(min(many, len(queue))):
                    size = size_of(queue.popleft())
                    if buffer.full:
                        buffer.took(size, now)
            case _:
                held = many * 50
                buffer.hold(held, now)
        waiting = queue.waiting() + held
        paused = connector.paused_at is not None
        assert paused == buffer.full
        assert paused or queue.waiting() < limit
        assert not paused or waiting > limit // 2
    reports = [each for each in queue if isinstance(each, ReadingPaused)]
    assert all(report.seconds > 1 for report in reports)


def test_counting_many_fetched_events_takes_few_steps_for_each() -> None:
    """Events that a catch-up fetched are queued while reading is paused."""
    counts: list[int] = []

    def recount() -> None:
        counts.append(len(queue))
        buffer.recount(0.0)

    queue = EventQueue(400, recount)
    buffer = ReceiveBuffer(queue, FakeConnector(), 400, lambda *_: None)
    for _ in range(10_000):
        queue.emit(ChannelEvent("room", "n", "0"))
    assert buffer.full
    assert sum(counts) < 3 * len(queue)


def test_compressed_messages_count_with_the_size_that_they_have_inflated() -> None:
    script = upgrading(compression=True, receive_buffer=50_000)
    accepted = upgrade_for(script.streams[1].sent)[:-2]
    script.receive(accepted + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n").greet()
    script.subscribe("room").send("pusher_internal:subscription_succeeded", "{}", "room")
    forgetful(script).pulls = False
    deflater = Deflater()
    for number in range(5):
        assert script.session.wants_data(1), number
        script.receive(frame(deflater.body(message("n", "x" * 10_000, "room")), rsv=RSV1))
    assert not script.session.wants_data(1)
