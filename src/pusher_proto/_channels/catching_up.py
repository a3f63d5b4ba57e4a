"""Missed events of channels: fetched by a function of the application, and delivered before the live ones.

Fetching begins when the server has confirmed a subscription, so that each event is fetched or received, or both. Until
it has succeeded, received messages are held. A pause of reading is a gap as well, for
some servers drop messages then: the pong to a ping after the pause shows that their buffers are empty.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from .._auth.calls import Call, Calls, Purpose
from .._base.backoff import Rng, delay_before
from .._base.logs import logger
from .._base.timers import Timer, Timers
from .._connection.connector import Connector
from ..effects import CallApplication, Effect
from ..errors import describe, excerpt
from ..events import ChannelEvent, DecryptionFailed, Event, size_of
from ..gaps import CatchUp, CaughtUp, Gap, GapNotClosed
from ..options import Options
from ..states import CATCH_UP, CatchUpInput, CatchUpState, ChannelState, advance
from .channel import Channel

__all__ = ["CatchUps"]

S, G = CatchUpState, CatchUpInput

Ended = Callable[[int, object, float], None]
"""Takes the number of a call, what its function returned or raised, and the time."""

IsNew = Callable[[CatchUp, ChannelEvent, int], bool]
"""`CatchUp.is_new`, or what replaces it."""

_HOLE: Final = None
"""Marks a place among held messages where others may be missing."""

_log = logger("session")


class Queue(Protocol):
    """The queue of events for the application."""

    held: int
    """The bytes of messages that wait before the queue."""

    def append(self, event: Event, /) -> None:
        """Queue a message that was received."""

    def emit(self, event: Event) -> None:
        """Queue another event."""

    def release(self, size: int) -> None:
        """Report that held messages of `size` bytes were queued or dropped."""


class CatchingUp:
    """One channel that catches up."""

    __slots__ = (
        "_all", "_attempt", "_call", "_channel", "_error", "_held", "_name", "_size", "memory",
        "state",
    )  # fmt: skip

    def __init__(self, catch_ups: CatchUps, channel: Channel, memory: CatchUp) -> None:
        self._all = catch_ups
        self._channel = channel
        self._name = channel.name
        self.memory = memory
        self.state = S.UNCONFIRMED
        self._held: list[ChannelEvent | DecryptionFailed | None] = []
        self._size = 0
        self._call: Call | None = None
        self._attempt = 0
        self._error: BaseException | None = None

    # Inputs

    def take(self, event: ChannelEvent | DecryptionFailed, now: float) -> None:
        """Deliver a message that was received, or hold it."""
        limit = self._all.options.catch_up_buffer
        if self.state is not S.LIVE and len(self._held) >= limit:
            self._give_up(
                f"more than {limit} live events came while it was open (catch_up_buffer)", now
            )
        if self.state is S.LIVE:
            self._deliver(event, self._all.window)
            return
        self._limit_time(now)
        self._held.append(event)
        size = size_of(event)
        self._size += size
        self._all.events.held += size

    def confirmed(self, now: float) -> None:
        """Begin to fetch: the server confirmed the subscription, or that its buffers are empty after a pause."""
        self.memory.begin_gap(None)
        self._note_time(now)
        self._limit_time(now)
        if self._all.settling:  # the confirmation may be older than messages that were dropped
            self._move(G.PAUSE)
            return
        self._attempt, self._error = 0, None
        self._move(G.CONFIRM)
        self._fetch(now)

    def lost(self, since: float | None) -> None:
        """Hold the messages received from now on: the subscription ended, and later events are missing."""
        self._interrupt(G.LOSE, since)

    def paused(self, seconds: float, now: float) -> None:
        """Hold the messages received from now on: reading was paused, and the server may have dropped messages."""
        if self.state is not S.UNCONFIRMED:
            self._interrupt(G.PAUSE, now - seconds)
            self._limit_time(now)

    def settled(self, now: float) -> None:
        """Begin to fetch, after a pause of reading: the server drops no more messages."""
        if self.state is S.LIVE and self.memory.open:
            self._interrupt(G.PAUSE, None)
        if self.state is S.PAUSED:
            # Messages may have been dropped behind the last one that was in the server's buffers.
            self._mark_hole()
            self.confirmed(now)

    def retry_due(self, now: float) -> None:
        """Fetch again: the delay after an attempt that failed is over."""
        self._move(G.RETRY)
        self._fetch(now)

    def time_over(self, now: float) -> None:
        """Give up the gap: catch_up_timeout is over."""
        within = f"within {self._all.options.catch_up_timeout:g} s (catch_up_timeout)"
        match self.state:
            case S.UNCONFIRMED:
                why = f"the server did not confirm the subscription {within}"
            case S.PAUSED:
                why = f"the server did not answer the ping after a pause of reading {within}"
            case S.FETCHING if self._error is None:
                why = f"the catch_up function did not return {within}"
            case _:
                tries = "once" if self._attempt == 1 else f"{self._attempt} times"
                why = f"the catch_up function failed {tries} {within}: {describe(self._error)}"
        self._give_up(why, now)

    def replaced(self, now: float) -> None:
        """Give up the gap, if there is one: another `CatchUp` takes over."""
        if self.memory.open:
            self._give_up("another catch_up function was given", now)

    def left(self, heard_at: float) -> None:
        """Forget the held messages: the channel was left, on a connection that received its last byte at `heard_at`."""
        channel = self._channel
        # Messages that wait for a new key are missing as well.
        self.lost(heard_at if channel.request is None else min(heard_at, channel.key_asked_at))
        self._all.timers.stop(Timer.CATCH_UP, self._name)
        self._free()
        self._channel.catch_up(None)

    # Parts

    def _move(self, given: CatchUpInput) -> None:
        self.state = advance(CATCH_UP, self.state, given)

    def _interrupt(self, given: CatchUpInput, since: float | None) -> None:
        if self.state is S.LIVE:
            self.memory.begin_gap(since)
        self._stop()
        self._move(given)
        self._mark_hole()

    def _mark_hole(self) -> None:
        if self._held and self._held[-1] is not _HOLE:
            self._held.append(_HOLE)

    def _limit_time(self, now: float) -> None:
        """Begin the time in which the gap has to be closed, if it has not begun."""
        if not self._all.timers.is_set(Timer.CATCH_UP, self._name):
            at = now + self._all.options.catch_up_timeout
            self._all.timers.set(Timer.CATCH_UP, at, self._name)

    def _note_time(self, now: float) -> None:
        clock = self._all.wall_clock
        if clock is not None:
            self.memory.note_time(clock() - now)

    def _gap(self, now: float) -> Gap:
        memory = self.memory
        since, utc = memory.missing_since, memory.missing_since_utc
        return Gap(
            self._name,
            memory.last is None,
            memory.last,
            None if since is None else now - since,
            None if utc is None else datetime.fromtimestamp(utc, UTC),
            max(self._attempt, 1),
        )

    def _fetch(self, now: float) -> None:
        self._attempt += 1
        function = self.memory.call(self._gap(now))
        self._call = self._all.fetch(self._name, function, self._fetched, now)

    def _fetched(self, _number: int, result: object, now: float) -> None:
        """Take the events that were fetched, or the exception that the function raised."""
        self._call = None
        if isinstance(result, list):
            self._close_gap(result, now)
            return
        if not isinstance(result, BaseException):  # a driver that does not call the function
            result = TypeError(f"the events of a gap are a list, not {type(result).__name__}")
        self._error = result
        self._move(G.FAIL)
        delay = delay_before(self._attempt, self._all.rng)
        self._all.timers.set(Timer.FETCH, now + delay, self._name)
        _log.warning(
            "fetching the missed events of %s failed: %s; next try in %.1f s",
            excerpt(self._name, 64),
            describe(result),
            delay,
            exc_info=result if self._attempt == 1 else None,
        )

    def _stop(self) -> None:
        """Give up the call, or the delay before it."""
        self._all.timers.stop(Timer.FETCH, self._name)
        if self._call is not None:
            self._all.calls.abandon(self._call)
            self._call = None

    def _close_gap(self, found: list[ChannelEvent], now: float) -> None:
        """Deliver the fetched events, then the held ones."""
        every, gap = self._all, self._gap(now)
        every.timers.stop(Timer.CATCH_UP, self._name)
        self._move(G.SUCCEED)
        self.memory.end_gap()
        count = 0
        # So many that a held event which was fetched too is found, wherever it is among the fetched ones.
        window = every.window + len(found) + len(self._held)
        for event in found:
            if self._is_new(event, window):
                every.events.emit(event)
                count += 1
        every.gaps_closed += 1
        every.events.emit(CaughtUp(self._name, gap, count, len(found) - count))
        self._error = None  # its traceback keeps the variables of the application
        for held in self._free():
            if held is not _HOLE:
                self._deliver(held, window)

    def _give_up(self, reason: str, now: float) -> None:
        """Report that the gap is not closed, and deliver the held messages."""
        self._all.timers.stop(Timer.CATCH_UP, self._name)
        self._stop()
        self._report(reason, now)
        paused = self.state is S.PAUSED
        self._move(G.GIVE_UP)
        held = self._free()
        if self.state is not S.LIVE and held and held[-1] is _HOLE:
            held.pop()  # the gap behind it is still open
        for event in held:
            if event is _HOLE:
                self._report(reason, now)
            else:
                self._deliver(event, self._all.window)
        self._error = None
        if self.state is S.LIVE and not paused:  # else the server may still drop messages
            self.memory.end_gap()

    def _report(self, reason: str, now: float) -> None:
        name = excerpt(self._name, 64)
        _log.error("events of %s may be missing: %s", name, reason)
        self._all.gaps_not_closed += 1
        self._all.events.emit(GapNotClosed(self._name, self._gap(now), reason, self._error))

    def _free(self) -> list[ChannelEvent | DecryptionFailed | None]:
        """Return the held messages, and hold none."""
        held, self._held = self._held, []
        size, self._size = self._size, 0
        if size:
            self._all.events.release(size)
        return held

    def _deliver(self, event: ChannelEvent | DecryptionFailed, window: int) -> None:
        if not isinstance(event, ChannelEvent) or self._is_new(event, window):
            self._all.events.append(event)

    def _is_new(self, event: ChannelEvent, window: int) -> bool:
        """Return whether an event was not delivered before, and note that it is now; `window` keys are kept."""
        try:
            new = self._all.is_new(self.memory, event, window)
        except Exception:
            _log.exception("%s was delivered without a key: getting it raised", excerpt(event, 64))
            return True
        self._all.duplicates += not new
        return new


class CatchUps:
    """The channels of a session that catch up."""

    __slots__ = (
        "_calls", "_channels", "_new_number", "_pong", "_put", "duplicates", "events",
        "gaps_closed", "gaps_not_closed", "is_new", "options", "rng", "settling", "timers",
        "wall_clock", "window",
    )  # fmt: skip

    def __init__(
        self,
        options: Options,
        timers: Timers,
        rng: Rng,
        events: Queue,
        put: Callable[[Effect], None],
        new_number: Callable[[], int],
    ) -> None:
        self.options = options
        # Otherwise a held event that was fetched too might not be found.
        self.window = max(options.catch_up_window, options.catch_up_buffer)
        self.timers = timers
        self.rng = rng
        self.events = events
        self._put = put
        self._new_number = new_number
        self.wall_clock: Callable[[], float] | None = None
        """Returns seconds since the epoch, for `Gap.since`."""
        self.is_new: IsNew = CatchUp.is_new
        """Asks the `key` of a channel. A recording notes the result, and a replay has it from there."""
        self.gaps_closed = self.gaps_not_closed = self.duplicates = 0
        self._calls: Calls | None = None
        """The pending calls, once there was one: most clients have none, and memory is short."""
        self._channels: dict[str, CatchingUp] = {}
        self.settling: bool = False
        """Whether reading was paused, and the server may still drop messages."""
        self._pong: int | None = None
        """The number of the ping whose pong shows that it does not, once the ping was sent."""

    # Commands

    def begin(self, channel: Channel, memory: CatchUp, now: float) -> None:
        """Let a channel that was just subscribed catch up, at once if it is confirmed."""
        before = self._channels.get(channel.name)
        if before is not None:
            if before.memory is memory:
                return
            before.replaced(now)
        one = self._channels[channel.name] = CatchingUp(self, channel, memory)
        channel.catch_up(one)
        if channel.state is ChannelState.SUBSCRIBED:
            one.confirmed(now)

    def end(self, name: str, heard_at: float, now: float) -> None:
        """Note that a channel is left, on a connection that received its last byte at `heard_at`."""
        one = self._channels.pop(name, None)
        if one is not None:
            one.left(heard_at)
            self.calls.go_on(now)

    def close(self) -> None:
        """Give up all calls."""
        if self._calls is not None:
            self._calls.abandon_all()

    # Calls and deadlines

    @property
    def calls(self) -> Calls:
        """The pending calls."""
        if self._calls is None:
            self._calls = Calls(
                "that fetch missed events",
                self.options.max_authorizing,
                self.options.catch_up_timeout,
                self.timers,
                Timer.FETCH_CALL,
                self._put,
            )
        return self._calls

    def fetch(self, channel: str, function: Callable[[], object], ended: Ended, now: float) -> Call:
        """Call a function that fetches events, when there is room."""
        effect = CallApplication(self._new_number(), function)
        return self.calls.ask(effect, Purpose((channel,), _nothing, ended), now)

    def call_ended(self, number: int, result: object, now: float) -> None:
        """Take what a function returned, or the exception that it raised."""
        if self._calls is not None:
            self._calls.answered(number, result, now)
            self._calls.go_on(now)

    def call_due(self, number: int, now: float) -> None:
        """Free the slot of a call that does not return."""
        self.calls.due(number, now)
        self.calls.go_on(now)

    def hanging(self, now: float) -> list[float]:
        """Return the ages of the calls that have not returned in time, the oldest first."""
        return [] if self._calls is None else self._calls.hanging(now)

    def hanging_text(self, now: float) -> str:
        """Return what to say of these calls; an empty text for none."""
        return "" if self._calls is None else self._calls.hanging_text(now)

    def retry_due(self, name: str, now: float) -> None:
        """Fetch the missed events of a channel again."""
        self._channels[name].retry_due(now)

    def time_over(self, name: str, now: float) -> None:
        """Give up the gap of a channel."""
        self._channels[name].time_over(now)
        self.calls.go_on(now)

    # Pauses of reading

    def reading_paused(self, seconds: float, now: float) -> None:
        """Take a pause of reading that is over as a gap in all channels that are subscribed."""
        if self._channels:
            self.settling, self._pong = True, None
            self.timers.set(Timer.PAUSED, now)
        for one in self._channels.values():
            one.paused(seconds, now)

    def pause_over(self, connector: Connector, now: float) -> None:
        """Send the ping whose pong shows that the server's buffers are empty."""
        connector.ping(now)
        self._pong = connector.ledger.pings

    def ponged(self, pongs: int, now: float) -> None:
        """Take a pong: all messages that the server had in its buffers were received before it."""
        if self.settling and self._pong is not None and self._pong <= pongs:
            self.settling = False
            for one in self._channels.values():
                one.settled(now)

    def connection_lost(self) -> None:
        """Note that no pong will come."""
        self.settling = False
        self.timers.stop(Timer.PAUSED)


def _nothing(_now: float) -> None:
    """Note nothing when a call begins."""
