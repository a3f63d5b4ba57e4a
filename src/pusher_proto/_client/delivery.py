"""From the session to the sinks: the part of a client that moves events.

All events are moved at once: a consumer that is not read holds up no other. What the consumers with the policy "wait"
hold is counted now and then, each event once, and reported to the session, which pauses reading when it is too much.
While reading is paused each of these consumers says when half of what it held was taken (`Sink.look_at`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from .._base.logs import logger
from ..errors import ConnectionFailed, excerpt
from ..events import (
    USER_SCOPE,
    ChannelEvent,
    ConnectionState,
    Event,
    EventsDropped,
    Message,
    SignInFailed,
    SubscriptionFailed,
    scope_of,
    size_of,
)
from ..options import Options
from ..session import Session
from .backlog import Backlog
from .router import Router
from .signal import Signal
from .sinks import Sink
from .waits import Trace, Traces

__all__ = ["HELD_UP_FOR", "Delivery", "DriverCalls"]

HELD_UP_FOR = 10.0
"""Seconds of a pause of reading after which the consumers that cause it are named in the log."""

_FAILURES = (SubscriptionFailed, SignInFailed)

_log = logger("client")


class DriverCalls(NamedTuple):
    """What the client asks of its driver."""

    now: Callable[[], float]
    """Return monotonic seconds."""
    changed: Callable[[], None]
    """Carry out the session's effects, deliver its events and set its deadline."""
    usable: Callable[[], None]
    """Raise the error that ended the driver, if there was one."""
    wake: Callable[[], None]
    """Arrange for a call of `changed` soon. May be called in any thread, at any point of the program."""


class Delivery:
    """The sinks of a client, and the events on their way to them. Everything here is called under the client's guard.

    `scope_changed` is called with a channel whose first sink came or whose last one went.
    """

    __slots__ = (
        "_abandoned", "_charged", "_delivering", "_driver", "_dropped", "_dropped_before",
        "_failed", "_look_at", "_on_event", "_paused_at", "_scope_changed", "_seen_changes",
        "backlog", "lifecycle", "router", "session", "traces", "turns", "waits",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        options: Options,
        driver: DriverCalls,
        on_event: Callable[[Event], object] | None,
        scope_changed: Callable[[str], object],
    ) -> None:
        self.session: Session = session
        self.router: Router = Router()
        self.backlog: Backlog = Backlog(options.backlog_limit)
        self.backlog.begin(USER_SCOPE)
        self.traces: Traces = Traces(options.backlog_limit)
        self.lifecycle: Signal = Signal()
        """Notified when what a wait for a state looks at may have changed."""
        self.turns: Signal = Signal()
        """Notified whenever something may have changed that no event reports."""
        self.waits: dict[Sink, None] = {}
        self._driver = driver
        self._on_event = on_event
        self._scope_changed = scope_changed
        self._look_at = options.receive_buffer
        """The total of received bytes at which the waiting events are counted again."""
        self._charged = 0
        """About how many bytes wait, while reading is paused."""
        self._paused_at: float | None = None
        self._abandoned: list[Sink] = []
        self._dropped: list[tuple[Sink, EventsDropped]] = []
        self._dropped_before = 0
        self._failed: ConnectionFailed | None = None
        self._seen_changes = 0
        self._delivering = False

    def wake_all(self) -> None:
        """Wake all waits: the driver has ended, and each raises why."""
        self.lifecycle.notify()
        for sink in tuple(self.router):
            sink.signal.notify()

    # Sinks come and go

    def add(self, sink: Sink) -> None:
        """Give events to `sink` from now on, and first the kept ones that it wants."""
        swept = self.sweep()
        self._route_to(sink)
        before, self._delivering = self._delivering, True
        try:
            if sink.once:
                self._serve_once(sink, self.backlog.find(sink))
            else:
                self.backlog.serve(sink)
        finally:
            self._delivering = before
        if swept or sink.picky:  # a predicate may have given commands
            self._driver.changed()

    def begin_wait(self, sink: Sink, who: object, *, fresh: bool) -> None:
        """Give `sink` the first event that it wants: since the last wait of `who`, from the backlog, or from now on.

        With `fresh` only from now on.
        """
        self.sweep()
        trace = self.traces.begin(sink.choice)
        if trace is not None:
            self._route_to(trace)
        found = None
        if not fresh:
            before, self._delivering = self._delivering, True
            try:
                known = self.traces.find(sink, who, self._driver.now())
                kept = self.backlog.find(sink)
            finally:
                self._delivering = before
            found = min((each for each in (known, kept) if each is not None), default=None)
        self._route_to(sink)
        self.waits[sink] = None
        self._serve_once(sink, found)
        if sink.picky:  # a predicate may have given commands
            self._driver.changed()

    def end_wait(self, sink: Sink, who: object) -> None:
        """Stop a wait; a later one of `who` continues behind the event that this one took."""
        # Without the events that were delivered and not taken yet.
        seen = self.backlog.last if sink.seen is None else sink.seen - bool(sink.queue)
        now = self._driver.now()
        self.traces.end(sink.choice, who, seen, now)
        self.remove(sink)
        ends_at = self.traces.ends_at()
        if ends_at is not None:
            self.session.call_again(ends_at)

    def remove(self, sink: Sink) -> None:
        """Stop delivering events to `sink`, free its events, and wake its consumer."""
        if not sink.closed:
            full = self.session.buffer.full
            self._forget(sink)
            if full or self._dropped:
                self._driver.changed()

    def abandon(self, sink: Sink) -> None:
        """Close a sink whose consumer was garbage-collected. May be called in any thread, at any point."""
        sink.close()
        self._abandoned.append(sink)
        self._driver.wake()

    def sweep(self) -> bool:
        """Remove the sinks that were abandoned; return whether there were any."""
        any_there = bool(self._abandoned)
        while self._abandoned:
            self._forget(self._abandoned.pop())
        return any_there

    def took(self, sink: Sink) -> None:
        """Continue reading if enough was taken, and report what `sink` dropped.

        Call it when at most `look_at` events are left in it; at other times it does nothing.
        """
        if len(sink.queue) <= sink.look_at:
            sink.look_at = -1
            self._report_dropped(sink)
            full = self.session.buffer.full
            if full and sink.counted:
                self._took_from(sink, len(sink.queue))
            if self._dropped or (full and not self.session.buffer.full):
                self._driver.changed()

    def forget(self, channel: str) -> None:
        """Forget the events that are kept of a channel, because it was left."""
        self.backlog.end(channel)
        self.traces.forget(channel)

    @property
    def dropped(self) -> int:
        """How many events consumers lost because they did not read fast enough."""
        return self._dropped_before + sum(sink.dropped for sink in self.router)

    def _route_to(self, sink: Sink) -> None:
        self.router.add(sink)
        if Message in sink.choice.types:
            self._report_messages()
        if sink.channel is not None:
            self._scope_changed(sink.channel)

    def _unroute(self, sink: Sink) -> None:
        self.router.remove(sink)
        if Message in sink.choice.types:
            self._report_messages()
        if sink.channel is not None:
            self._scope_changed(sink.channel)

    def _report_messages(self) -> None:
        """Have the session emit `Message` events as long as a sink wants them."""
        self.session.report_messages(any(Message in sink.choice.types for sink in self.router))

    def _forget(self, sink: Sink) -> None:
        self._unroute(sink)
        self.waits.pop(sink, None)
        self._dropped_before += sink.dropped
        self._report_dropped(sink)
        if sink.place is not None and sink.queue:
            self.backlog.give_back(sink.queue[0], sink.place)
        sink.close()
        sink.signal.notify()
        if self.session.buffer.full:
            self._took_from(sink, 0)

    def _serve_once(self, sink: Sink, found: tuple[int, Event] | None) -> None:
        if found is None:
            return
        place, event = found
        sink.seen = place
        if self.backlog.take(event, place):
            sink.place = place
        sink.put(event)
        self._unroute(sink)
        sink.served()

    # Events move

    @property
    def is_over(self) -> bool:
        """Whether the session in its current state will emit nothing further."""
        return self.session.closed or self.session.failure is not None

    @property
    def terminal_error(self) -> ConnectionFailed | None:
        """Why nothing more will come. It stays when the client is closed after it: not every consumer has looked."""
        return self._failed if self.session.closed else self.session.failure

    def deliver(self) -> None:
        """Move all events into sinks, and wake the consumers."""
        if self._delivering:
            return  # a predicate gave a command: the call that asked it continues
        if self._abandoned:
            self.sweep()
        session = self.session
        if self.traces.known:
            self._end_traces()
        self._delivering = True
        try:
            if session.events or self._dropped:
                self._move()
            if session.events.bytes >= self._look_at:
                self._count()
                self._move()  # a `ReadingPaused`
        finally:
            self._delivering = False
        if session.buffer.full or self._paused_at is not None:
            self._look_at_pause()
        if self.turns.waiters:
            self.turns.notify()
        changes = session.events.changes
        if changes != self._seen_changes:
            self._seen_changes = changes
            if session.state is not ConnectionState.DISCONNECTED:
                self._failed = session.failure
            self.lifecycle.notify()
            for sink in tuple(self.router if self.is_over else self.waits):
                sink.signal.notify()  # the awaited event may no longer arrive

    def _move(self) -> None:
        session = self.session
        events, on_event = session.events, self._on_event
        find = self.router.known.get
        while self._dropped:
            self._announce(*self._dropped.pop(0))
        in_runs = on_event is None
        taken = 0
        try:
            while events:
                if in_runs:  # nearly all
                    count = self._move_run(events, events.alike - taken)
                    taken += count
                    in_runs = count > 1
                    if count:
                        continue
                event = events.popleft()
                taken += 1
                route = find((event.channel, event.name)) if type(event) is ChannelEvent else None
                if route is not None and route.plain and on_event is None:
                    for sink in route.sinks:
                        sink.put(event)
                else:
                    # Before functions of the application, which may give commands. Where the size is known, what
                    # remains is not counted for each event of a pause.
                    known = session.buffer.full and taken == 1
                    session.took(taken, size_of(event) if known else None)
                    taken = 0
                    if on_event is not None:
                        self._call_hook(on_event, event)
                    self._offer(event)
        finally:
            if taken:
                session.took(taken)

    def _move_run(self, events: deque[Event], alike: int) -> int:
        """Move the messages at the head that go to one sink alone; return how many.

        With one look-up for a run of events known to be `alike` (see `fast_lane.Run`), and one for each other event.
        """
        first = events[0]
        if type(first) is not ChannelEvent:
            return 0
        find = self.router.alone.get
        sink = find((first.channel, first.name))
        if sink is None:
            return 0
        queue, count = sink.queue, 0
        if alike > 1 or len(events) == 1:
            count = max(alike, 1)
        else:
            for event in events:
                if type(event) is not ChannelEvent or find((event.channel, event.name)) is not sink:
                    break
                count += 1
        if count == len(events):
            queue.extend(events)
            events.clear()
        else:
            for _ in range(count):
                queue.append(events.popleft())
        sink.came(count)
        return count

    def _offer(self, event: Event, about: Sink | None = None) -> None:
        """Give an event to the sinks that want it, but not to the one that it is `about`; keep one that none wants."""
        fresh = isinstance(event, ChannelEvent) and (
            (scope_of(event) or "", event.name) not in self.router.known
        )
        place = self.backlog.next_place()
        claims = 0
        served: list[Sink] = []
        for sink in self.router.route(event).sinks:
            if sink is about or (sink.picky and not sink.wants(event)) or sink.closed:
                continue
            if isinstance(sink, Trace):
                sink.note(place, event, self._driver.now())
                continue
            sink.put(event)
            claims += 1
            if sink.once:
                sink.seen = place
                served.append(sink)
                self._unroute(sink)
                sink.served()
        if not claims:
            self._unheard(event, place, fresh=fresh)
        elif claims == len(served) == 1:
            served[0].place = place
        if isinstance(event, _FAILURES):  # streams look whether it is final
            scope = USER_SCOPE if isinstance(event, SignInFailed) else event.channel
            for sink in self.router.of(scope):
                sink.signal.notify()

    def _unheard(self, event: Event, place: int, *, fresh: bool) -> None:
        """Keep an event that no sink wanted. Log a message at INFO once, until sinks change."""
        if isinstance(event, EventsDropped | Message):
            return
        scope = scope_of(event)
        level = logging.INFO if fresh else logging.DEBUG
        if isinstance(event, ChannelEvent) and _log.isEnabledFor(level):
            _log.log(
                level,
                "%s on %s has no listener; bound there: %s; on the client: %s",
                excerpt(event.name, 64),
                excerpt(event.channel, 64),
                self.router.asked_for(scope),
                self.router.asked_for(None),
            )
        if scope is not None and self.backlog.keep(event, place) and not self.router.has(scope):
            self.backlog.warn(scope)

    def _end_traces(self) -> None:
        for trace in self.traces.over(self._driver.now()):
            self._forget(trace)
        ends_at = self.traces.ends_at()
        if ends_at is not None:
            self.session.call_again(ends_at)

    # Consumers that are too slow

    def _count(self) -> None:
        """Count the bytes that consumers hold, each event once, and report them if reading pauses or may continue."""
        buffer, charged = self.session.buffer, 0
        seen: set[int] = set()
        sinks = [sink for sink in self.router if sink.waits]
        for sink in sinks:
            held = sink.queue.copy()  # the application may take from it in another thread
            sink.counted, sink.charged = len(held), 0
            for event in held:
                if id(event) not in seen:
                    seen.add(id(event))
                    sink.charged += size_of(event)
            charged += sink.charged
        self._look_at = self.session.events.bytes + buffer.room(charged)
        if buffer.full or buffer.is_high(charged):
            self.session.hold(charged, now=self._driver.now())
        self._charged = charged
        if buffer.full:
            for sink in sinks:
                sink.look_at = sink.counted // 2 if sink.counted else -1

    def _took_from(self, sink: Sink, left: int) -> None:
        """Report that `left` of the counted events of `sink` are left, while reading is paused."""
        charged = sink.charged * left // max(sink.counted, 1)
        self._charged -= sink.charged - charged
        sink.counted, sink.charged = left, charged
        sink.look_at = left // 2 if left else -1
        if self._charged <= self.session.buffer.low:
            self._count()

    def _look_at_pause(self) -> None:
        """Log once a pause, after `HELD_UP_FOR` seconds, which consumers hold the most."""
        if not self.session.buffer.full or self.is_over:
            self._paused_at = None
            return
        now = self._driver.now()
        if self._paused_at is None:
            self._paused_at = now
        if now < self._paused_at + HELD_UP_FOR < float("inf"):
            self.session.call_again(self._paused_at + HELD_UP_FOR)
        elif now >= self._paused_at + HELD_UP_FOR:
            self._paused_at = float("inf")
            held = {
                sink: sum(map(size_of, sink.queue.copy())) for sink in self.router if sink.waits
            }
            most = max(held.values(), default=0)
            names = ", ".join(sink.name for sink, size in held.items() if size and 2 * size >= most)
            _log.warning(
                "%s is not read, and no message was read from the server for %g s: read it, close it, or give it "
                'overflow="drop_oldest" (Options.receive_buffer is full)',
                names,
                HELD_UP_FOR,
            )

    def _report_dropped(self, sink: Sink) -> None:
        """Emit `EventsDropped` at the end of an episode of dropping."""
        if sink.episode:
            self._dropped.append((sink, EventsDropped(sink.channel, sink.episode)))
            sink.episode = 0

    def _announce(self, about: Sink, dropped: EventsDropped) -> None:
        if self._on_event is not None:
            self._call_hook(self._on_event, dropped)
        self._offer(dropped, about)

    def _call_hook(self, on_event: Callable[[Event], object], event: Event) -> None:
        try:
            on_event(event)
        except Exception:
            _log.exception("on_event raised for %s", type(event).__name__)
