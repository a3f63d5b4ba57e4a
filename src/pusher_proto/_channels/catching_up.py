"""Catches up: fetches missed events of channels by a function of the application, and delivers them before live ones.

It starts to fetch when the server has confirmed the subscription, so that each event is fetched, received, or both.
Received messages are held until the function has returned. A pause of reading is a gap, too, because some servers drop
messages then; the pong to a ping after the pause shows that the server's buffers are empty.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from .._auth.calls import Call, Calls, Purpose
from .._base.backoff import Rng, delay_before
from .._base.logs import log_seldom, logger
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
"""Called with the number of a call, the result or exception of its function, and the time."""

IsNew = Callable[[CatchUp, ChannelEvent, int], bool]
"""The type of `CatchUp.is_new`, and of the functions of a recording and a replay that replace it."""

_COUNTED = (S.FETCHING, S.RETRYING)
"""The states whose held messages count in the receive buffer.

In the others an answer of the server ends the hold. It could not be received if held messages paused reading.
"""

_HOLE: Final = None
"""Marks a place among the held messages where others may be missing."""

_log = logger("session")


class Queue(Protocol):
    """The queue of events for the application."""

    held: int
    """The bytes of held messages that count in the receive buffer."""

    def append(self, event: Event, /) -> None:
        """Queue a received message."""

    def emit(self, event: Event) -> None:
        """Queue another event."""

    def count_held(self, change: int) -> None:
        """Report that the bytes of held messages that are counted have changed."""


class CatchingUp:
    """Catches up on one channel."""

    __slots__ = (
        "_all", "_attempt", "_call", "_channel", "_counted", "_error", "_held", "_name", "_size",
        "memory", "state",
    )  # fmt: skip

    def __init__(self, catch_ups: CatchUps, channel: Channel, memory: CatchUp) -> None:
        self._all = catch_ups
        self._channel = channel
        self._name = channel.name
        self.memory = memory
        """The functions of the application, and the record of the delivered events."""
        self.state = S.UNCONFIRMED
        self._held: list[ChannelEvent | DecryptionFailed | None] = []
        """The held messages, and a `_HOLE` at each place where others may be missing."""
        self._size = 0
        """Their bytes."""
        self._counted = 0
        """How many of these bytes count in the receive buffer: all or none."""
        self._call: Call | None = None
        """The pending call of the function, in FETCHING."""
        self._attempt = 0
        """The number of the current or last attempt to fetch."""
        self._error: BaseException | None = None
        """Why the last attempt failed."""

    # Inputs.

    def take(self, event: ChannelEvent | DecryptionFailed, now: float) -> None:
        """Deliver a message that was received, or hold it."""
        limit = self._all.options.catch_up_buffer
        if self.state is not S.LIVE and len(self._held) >= limit:
            self._give_up(
                f"more than {limit} live events were received in the meantime (catch_up_buffer)",
                now,
            )
        if self.state is S.LIVE:
            self._deliver(event, self._all.window)
            return
        self._limit_time(now)
        self._held.append(event)
        size = size_of(event)
        self._size += size
        if self.state in _COUNTED:
            self._counted += size
            self._all.events.held += size

    def confirmed(self, now: float) -> None:
        """Start to fetch: the server confirmed the subscription, or answered the ping after a pause."""
        self.memory.begin_gap(None)
        self._note_time(now)
        self._limit_time(now)
        if self._all.settling:  # the confirmation may be older than messages that were dropped
            self._move(G.PAUSE)
            return
        self._attempt, self._error = 0, None
        self._move(G.CONFIRM)
        self._count()
        self._fetch(now)

    def lost(self, since: float | None) -> None:
        """Hold the messages received from now on: the subscription was lost, and events since then are missing."""
        self._interrupt(G.LOSE, since)

    def paused(self, seconds: float, now: float) -> None:
        """Hold the messages received from now on: reading was paused, and the server may have dropped messages."""
        if self.state is not S.UNCONFIRMED:
            self._interrupt(G.PAUSE, now - seconds)
            self._limit_time(now)

    def settled(self, now: float) -> None:
        """Start to fetch after a pause of reading: the server no longer drops messages."""
        if self.state is S.LIVE and self.memory.open:
            self._interrupt(G.PAUSE, None)
        if self.state is S.PAUSED:
            # Messages may have been dropped after the last one in the server's buffers.
            self._mark_hole()
            self.confirmed(now)

    def retry_due(self, now: float) -> None:
        """Fetch again: the delay after a failed attempt is over."""
        self._move(G.RETRY)
        self._fetch(now)

    def time_over(self, now: float) -> None:
        """Give up the gap: `catch_up_timeout` has passed."""
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
        """Give up the gap, if there is one: another `CatchUp` replaces this one."""
        if self.memory.open:
            self._give_up("another catch_up function replaced this one", now)

    def left(self, received_at: float) -> None:
        """Forget the held messages: the channel was unsubscribed. The last byte was received at `received_at`."""
        self.lost(self._channel.missing_since(received_at))
        self._all.timers.stop(Timer.CATCH_UP, self._name)
        self._free()
        self._channel.catch_up(None)

    # Steps.

    def _move(self, given: CatchUpInput) -> None:
        self.state = advance(CATCH_UP, self.state, given)

    def _interrupt(self, given: CatchUpInput, since: float | None) -> None:
        """Stop fetching, and begin a gap if there is none."""
        if self.state is S.LIVE:
            self.memory.begin_gap(since)
        self._stop()
        self._move(given)
        self._mark_hole()
        self._count()

    def _mark_hole(self) -> None:
        """Record that messages after the held ones may be missing."""
        if self._held and self._held[-1] is not _HOLE:
            self._held.append(_HOLE)

    def _limit_time(self, now: float) -> None:
        """Set the timer for the whole gap, unless it is set."""
        if not self._all.timers.is_set(Timer.CATCH_UP, self._name):
            at = now + self._all.options.catch_up_timeout
            self._all.timers.set(Timer.CATCH_UP, at, self._name)

    def _note_time(self, now: float) -> None:
        """Store the difference between wall clock and `now`, for `Gap.since`. A clock that fails is not asked again."""
        clock = self._all.wall_clock
        if clock is None:
            return
        try:
            time = clock()
            datetime.fromtimestamp(time, UTC)  # raises for anything but a time
        except Exception:
            self._all.wall_clock = None
            text = "wall_clock=%s returns no seconds since the epoch: Gap.since is None from now on"
            _log.exception(text, excerpt(clock))
        else:
            self.memory.note_time(time - now)

    def _gap(self, now: float) -> Gap:
        """Return the gap for the application."""
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
        """Call the application's function."""
        self._attempt += 1
        function = self.memory.call(self._gap(now))
        self._call = self._all.fetch(self._name, function, self._fetched, now)

    def _fetched(self, _number: int, result: object, now: float) -> None:
        """Process the result of the function, or the exception that it raised."""
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
        """Cancel the call, or the delay before it."""
        self._all.timers.stop(Timer.FETCH, self._name)
        if self._call is not None:
            self._all.calls.cancel(self._call)
            self._call = None

    def _close_gap(self, found: list[ChannelEvent], now: float) -> None:
        """Deliver the fetched events, then the held ones."""
        every, gap = self._all, self._gap(now)
        every.timers.stop(Timer.CATCH_UP, self._name)
        self._move(G.SUCCEED)
        self.memory.end_gap()
        count = 0
        # Keep enough keys to find each held event among all fetched ones.
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
        """Emit `GapNotClosed`, and deliver the held messages."""
        self._all.timers.stop(Timer.CATCH_UP, self._name)
        self._stop()
        self._report(reason, now)
        paused = self.state is S.PAUSED
        self._move(G.GIVE_UP)
        held = self._free()
        if self.state is not S.LIVE and held and held[-1] is _HOLE:
            held.pop()  # the gap after the held messages is still open
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
        """Remove and return the held messages."""
        held, self._held = self._held, []
        self._size = 0
        self._count()
        return held

    def _count(self) -> None:
        """Count the held messages in the receive buffer, or no longer; that pauses or resumes reading."""
        before, self._counted = self._counted, self._size if self.state in _COUNTED else 0
        if self._counted != before:
            self._all.events.count_held(self._counted - before)

    def _deliver(self, event: ChannelEvent | DecryptionFailed, window: int) -> None:
        if not isinstance(event, ChannelEvent) or self._is_new(event, window):
            self._all.events.append(event)

    def _is_new(self, event: ChannelEvent, window: int) -> bool:
        """Return whether an event was not delivered before, and record it as delivered. `window` keys are kept."""
        try:
            new = self._all.is_new(self.memory, event, window)
        except Exception as error:
            self._all.bad_keys += 1
            text = "%s was delivered, but may be a duplicate: its key cannot be used: %s"
            shown = excerpt(event, 64), describe(error)
            log_seldom(_log, logging.ERROR, self._all.bad_keys, text, *shown, error=error)
            return True
        self._all.duplicates += not new
        return new


class CatchUps:
    """All channels of a session that catch up."""

    __slots__ = (
        "_calls", "_channels", "_new_number", "_pong", "_put", "bad_keys", "duplicates", "events",
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
        # Keep enough keys to find a held event that was fetched, too.
        self.window = max(options.catch_up_window, options.catch_up_buffer)
        self.timers = timers
        self.rng = rng
        self.events = events
        self._put = put
        self._new_number = new_number
        self.wall_clock: Callable[[], float] | None = None
        """Returns seconds since the epoch, for `Gap.since`."""
        self.is_new: IsNew = CatchUp.is_new
        """Called for each event. A recording replaces it to store the results, and a replay to use them."""
        self.gaps_closed = self.gaps_not_closed = self.duplicates = 0
        """The counts of `Stats`."""
        self.bad_keys = 0
        """How many events had a key that could not be used."""
        self._calls: Calls | None = None
        """The pending calls; None until the first one, to save memory in clients without any."""
        self._channels: dict[str, CatchingUp] = {}
        self.settling: bool = False
        """Whether reading was paused, and the server may still drop messages."""
        self._pong: int | None = None
        """The number of the ping after the pause; None until it is sent."""

    # Commands.

    def begin(self, channel: Channel, memory: CatchUp, now: float) -> None:
        """Start to catch up on a channel, at once if it is subscribed."""
        before = self._channels.get(channel.name)
        if before is not None:
            if before.memory is memory:
                return
            before.replaced(now)
        one = self._channels[channel.name] = CatchingUp(self, channel, memory)
        channel.catch_up(one)
        if channel.state is ChannelState.SUBSCRIBED:
            one.confirmed(now)

    def end(self, name: str, received_at: float, now: float) -> None:
        """Stop for a channel that was unsubscribed. The last byte was received at `received_at`."""
        one = self._channels.pop(name, None)
        if one is not None:
            one.left(received_at)
            self.calls.start_waiting(now)

    def close(self) -> None:
        """Cancel all calls."""
        if self._calls is not None:
            self._calls.cancel_all()

    # Calls and deadlines.

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
        """Call a function that fetches events, now or when a slot is free."""
        effect = CallApplication(self._new_number(), function)
        return self.calls.submit(effect, Purpose((channel,), _ignore, ended), now)

    def call_ended(self, number: int, result: object, now: float) -> None:
        """Process the result of a function, or the exception that it raised."""
        if self._calls is not None:
            self._calls.answered(number, result, now)
            self._calls.start_waiting(now)

    def call_due(self, number: int, now: float) -> None:
        """Free the slot of a call that did not return in time."""
        self.calls.due(number, now)
        self.calls.start_waiting(now)

    def hanging(self, now: float) -> list[float]:
        """Return the ages in seconds of the calls that did not return in time, the oldest first."""
        return [] if self._calls is None else self._calls.hanging(now)

    def hanging_text(self, now: float) -> str:
        """Return a message about calls that did not return in time, or ""."""
        return "" if self._calls is None else self._calls.hanging_text(now)

    def retry_due(self, name: str, now: float) -> None:
        """Fetch the missed events of a channel again."""
        self._channels[name].retry_due(now)

    def time_over(self, name: str, now: float) -> None:
        """Give up the gap of a channel."""
        self._channels[name].time_over(now)
        self.calls.start_waiting(now)

    # Pauses of reading.

    def reading_paused(self, seconds: float, now: float) -> None:
        """Begin a gap in all channels after a pause of reading of this many seconds."""
        if self._channels:
            self.settling, self._pong = True, None
            self.timers.set(Timer.PAUSED, now)
        for one in self._channels.values():
            one.paused(seconds, now)

    def pause_over(self, connector: Connector, now: float) -> None:
        """Send the ping after the pause. Its pong shows that the server's buffers are empty."""
        connector.ping(now)
        self._pong = connector.ledger.pings

    def ponged(self, pongs: int, now: float) -> None:
        """Process a pong: the messages in the server's buffers were received before it."""
        if self.settling and self._pong is not None and self._pong <= pongs:
            self.settling = False
            for one in self._channels.values():
                one.settled(now)

    def connection_lost(self) -> None:
        """Reset at the end of the connection."""
        self.settling = False
        self.timers.stop(Timer.PAUSED)


def _ignore(_now: float) -> None:
    """Do nothing when a call starts."""
