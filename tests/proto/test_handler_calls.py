"""The order in which one thread calls all handlers."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.fake_client import FakeBinding, FakeChannel, FakeClient, FakeSource, subscribed
from pusher_proto.client import HandlerCalls, Nothing
from simulation import World


class Queued(FakeBinding):
    """A binding whose handler is called when a test takes the call."""

    def came(self, count: int) -> None:
        self.calls.add(self, count)

    def cancel(self) -> None:
        super().cancel()
        self.calls.cancel(self)

    @property
    def calls(self) -> HandlerCalls:
        return self._client.queued_calls  # type: ignore[attr-defined,no-any-return]  # added below


@pytest.fixture(autouse=True)
def _queued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSource, "_binding_class", Queued)


def room(**options: Any) -> tuple[World, FakeClient, FakeChannel, HandlerCalls]:
    world = World()
    client, [channel] = subscribed(world, "room", options=world.options(**options))
    calls = HandlerCalls(client._host)
    client.queued_calls = calls  # type: ignore[attr-defined]  # for the bindings
    return world, client, channel, calls


def publish(world: World, *values: Any) -> None:
    for value in values:
        world.publish("room", "n", value)
    world.run(1)


def taken(client: FakeClient, calls: HandlerCalls, *, at_hand: bool = False) -> list[Any]:
    """Take all calls that are due, and return the name of the handler and the data of each."""
    found: list[Any] = []
    while True:
        call = calls.at_hand() if at_hand else None
        with client._guard:
            call = call or calls.take()
        if call is None:
            return found
        binding, event = call
        found.append((binding.handler, event.data))  # type: ignore[attr-defined]  # a ChannelEvent


def one(_: object) -> None: ...


def two(_: object) -> None: ...


@pytest.mark.parametrize("at_hand", [False, True])
def test_handlers_are_called_in_the_order_of_arrival(at_hand: bool) -> None:
    world, client, channel, calls = room()
    channel.bind("n", one)
    channel.bind("n", two)
    publish(world, 1, 2)
    assert len(calls) == 4
    assert taken(client, calls, at_hand=at_hand) == [("one", 1), ("two", 1), ("one", 2), ("two", 2)]
    assert calls.at_hand() is None


@given(st.lists(st.sampled_from(["publish", "take", "at hand", "cancel", "bind"]), max_size=30))
def test_each_call_is_made_once_and_in_order_however_it_is_taken(steps: list[str]) -> None:
    world, client, channel, calls = room()
    stays = channel.bind("n", one)
    other = channel.bind("n", two)
    seen: list[int] = []
    count = 0
    calls.running = True
    for step in [*steps, *["take"] * 90]:
        call = None
        match step:
            case "publish":
                publish(world, count)
                count += 1
            case "take":
                with client._guard:
                    call = calls.take()
            case "at hand":
                call = calls.at_hand()
            case "cancel":
                other.cancel()
            case "bind":
                other = channel.bind("n", two)
        if call is not None and call[0] is stays:
            seen.append(call[1].data)  # type: ignore[attr-defined]  # a ChannelEvent
    assert seen == list(range(count))
    assert len(calls) == 0


@pytest.mark.parametrize("running", [False, True])
def test_a_handler_that_is_cancelled_is_not_called(running: bool) -> None:
    world, client, channel, calls = room()
    calls.running = running
    channel.bind("n", one)
    gone = channel.bind("n", two)
    publish(world, 1, 2)
    gone.cancel()
    assert len(calls) == (4 if running else 2)
    assert calls.at_hand() is not None
    assert taken(client, calls, at_hand=True) == [("one", 2)]
    channel.unbind()
    assert len(calls) == 0


def test_a_wait_for_the_next_call() -> None:
    world, client, channel, calls = room()
    channel.bind("n", one)
    goal = calls.goal()
    with client._guard:
        assert goal.check() is Nothing.PENDING
    woken: list[bool] = []
    goal.signal.add(lambda: woken.append(True))
    publish(world, 1)
    assert woken == [True]
    with client._guard:
        call = goal.check()
    assert isinstance(call, tuple)
    assert call[1].data == 1  # type: ignore[attr-defined]  # a ChannelEvent
    client.close()
    with client._guard:
        assert goal.check() is None


@pytest.mark.parametrize("at_hand", [False, True])
def test_reading_continues_when_the_calls_were_taken(at_hand: bool) -> None:
    world, client, channel, calls = room(receive_buffer=2000)
    channel.bind("n", one)
    publish(world, *("x" * 500 for _ in range(8)))
    assert not client.reads
    found = 0
    for _ in range(8):
        found += len(taken(client, calls, at_hand=at_hand))
        world.run(2)
    assert found == 8
    assert client.reads


def test_events_that_wait_for_handlers_that_are_not_called_are_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, client, channel, calls = room()
    channel.bind("n", one)

    def said() -> int:
        return sum("client.run() is not running" in each.message for each in caplog.records)

    with caplog.at_level(logging.WARNING):
        publish(world, *range(999))
        assert said() == 0
        publish(world, 999, 1000)
        assert said() == 1
        taken(client, calls)
        calls.running = True
        publish(world, *range(1000))
        assert said() == 1
