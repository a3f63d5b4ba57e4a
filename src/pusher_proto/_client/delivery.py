"""Moves events from the session to the sinks of a client.

It moves all events at once, so a consumer that is not read does not delay others. From time to time it counts the
events in sinks with the policy "wait", each event once, and reports their size to the session, which pauses reading
when it is too large. While reading is paused, such a sink reports when half of its events were taken (`Sink.look_at`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from .._base.logs import logger
from ..errors import ConnectionFailed, excerpt
from ..events import (
    USER_SCOPE,
    ChannelEvent,
    ConnectionState,
    Event,
    EventsDropped,
    Message,
    ProtocolMessage,
    SignInFailed,
    SubscriptionFailed,
    scope_of,
    size_of,
)
from ..options import Options
from ..session import Session
from .backlog import Backlog
from .driver_calls import DriverCalls
from .router import Router
from .signal import Signal
from .sinks import Sink
from .waits import Trace, Traces

__all__ = ["HELD_UP_FOR", "Delivery"]

HELD_UP_FOR = 10.0
"""After a pause of reading of this many seconds, a warning names the consumers that cause it."""

_FAILURES = (SubscriptionFailed, SignInFailed)

_log = logger("client")


class Delivery:
    """The sinks of a client, and the delivery of events to them. Enter the client's guard before each call.

    `scope_changed` is called with the name of a channel when a sink of it is added or removed.
    """

    __slots__ = (
        "_abandoned", "_charged", "_delivering", "_driver", "_dropped", "_dropped_before",
        "_failed", "_on_event", "_paused_at", "_recount_at", "_scope_changed", "_seen_changes",
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
        """Notified when the condition of a wait for a state may have changed."""
        self.turns: Signal = Signal()
        """Notified whenever anything may have changed, including changes without an event."""
        self.waits: dict[Sink, None] = {}
        self._driver = driver
        self._on_event = on_event
        self._scope_changed = scope_changed
        self._recount_at = options.receive_buffer
        """The total of received bytes at which the buffered events are counted again."""
        self._charged = 0
        """About how many bytes are buffered, while reading is paused."""
        self._paused_at: float | None = None
        self._abandoned: list[Sink] = []
        """The sinks whose consumers were garbage-collected, until `sweep`."""
        self._dropped: list[tuple[Sink, EventsDropped]] = []
        """The `EventsDropped` to deliver, each with the sink that it is about."""
        self._dropped_before = 0
        """How many events were dropped by sinks that were removed."""
        self._failed: ConnectionFailed | None = None
        """The final failure before the client was closed."""
        self._seen_changes = 0
        """The value of `EventQueue.changes` at the last delivery."""
        self._delivering = False
        """Whether events are being delivered: commands of predicates do not deliver inside that."""

    def wake_all(self) -> None:
        """Wake all waits: the driver has ended, and each wait raises the reason."""
        self.lifecycle.notify()
        for sink in tuple(self.router):
            sink.signal.notify()

    # Adding and removing sinks.

    def add(self, sink: Sink) -> None:
        """Deliver the kept events that `sink` wants, and then all later ones."""
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
        """Deliver the first event that `sink` wants: since the last wait of `who`, from the backlog, or a later one.

        With `fresh` deliver a later one only.
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
        """End a wait. The next one of `who` continues after the event that this one took."""
        # Do not count an event that was delivered but not taken.
        seen = self.backlog.last if sink.seen is None else sink.seen - bool(sink.queue)
        now = self._driver.now()
        self.traces.end(sink.choice, who, seen, now)
        self.remove(sink)
        ends_at = self.traces.ends_at()
        if ends_at is not None:
            self.session.call_again(ends_at)

    def remove(self, sink: Sink) -> None:
        """Remove a sink, drop its events, and wake its consumer."""
        if not sink.closed:
            full = self.session.buffer.full
            self._forget(sink)
            if full or self._dropped:
                self._driver.changed()

    def abandon(self, sink: Sink) -> None:
        """Close a sink whose consumer was garbage-collected. May be called in any thread, and without the guard."""
        sink.close()
        self._abandoned.append(sink)
        self._driver.wake()

    def sweep(self) -> bool:
        """Remove the abandoned sinks; return whether there were any."""
        found = bool(self._abandoned)
        while self._abandoned:
            self._forget(self._abandoned.pop())
        return found

    def took(self, sink: Sink) -> None:
        """Resume reading if enough events were taken, and report the events that `sink` dropped.

        Call it when at most `look_at` events are left in the sink; at other times it does nothing.
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
        """Drop the kept events of a channel that was unsubscribed."""
        self.backlog.end(channel)
        self.traces.forget(channel)

    @property
    def dropped(self) -> int:
        """How many events were dropped because consumers did not read fast enough."""
        return self._dropped_before + sum(sink.dropped for sink in self.router)

    def _route_to(self, sink: Sink) -> None:
        """Add a sink to the router."""
        self.router.add(sink)
        if sink.choice.messages is not None:
            self._report_messages()
        if sink.channel is not None:
            self._scope_changed(sink.channel)

    def _unroute(self, sink: Sink) -> None:
        """Remove a sink from the router."""
        self.router.remove(sink)
        if sink.choice.messages is not None:
            self._report_messages()
        if sink.channel is not None:
            self._scope_changed(sink.channel)

    def _report_messages(self) -> None:
        """Set which `Message` events the session emits: only the classes that a sink selects."""
        wanted = {sink.choice.messages for sink in self.router}
        some = ProtocolMessage if ProtocolMessage in wanted else None
        self.session.report_messages(Message if Message in wanted else some)

    def _forget(self, sink: Sink) -> None:
        """Remove a sink, and give an event that it did not take back to the backlog."""
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
        """Deliver a kept event to a sink with `once`."""
        if found is None:
            return
        place, event = found
        sink.seen = place
        if self.backlog.take(event, place):
            sink.place = place
        sink.put(event)
        self._unroute(sink)
        sink.served()

    # Moving events.

    @property
    def is_over(self) -> bool:
        """Whether the session will emit no further events in its current state."""
        return self.session.closed or self.session.failure is not None

    @property
    def terminal_error(self) -> ConnectionFailed | None:
        """The final failure, or None. It is kept when the client is closed later, for consumers that did not see it."""
        return self._failed if self.session.closed else self.session.failure

    def deliver(self) -> None:
        """Move all events to sinks, and wake the consumers."""
        if self._delivering:
            return  # a predicate gave a command: the call of `deliver` that runs it continues
        if self._abandoned:
            self.sweep()
        session = self.session
        if self.traces.known:
            self._end_traces()
        self._delivering = True
        try:
            if session.events or self._dropped:
                self._move()
            if session.events.bytes >= self._recount_at:
                self._count()
                self._move()  # a `ReadingPaused`
        finally:
            self._delivering = False
        if session.buffer.full or self._paused_at is not None:
            self._check_pause()
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
        """Move the events of the session's queue to sinks."""
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
                    # Report the taken events before functions of the application run, which may give commands. Give
                    # the size where it is known: then the session does not count the rest of the queue again.
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
        """Move the first messages of the queue if only one sink gets them all; return how many were moved.

        The first `alike` events need one look-up together (see `fast_lane.Run`), all others one each.
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
        """Deliver an event to the sinks that want it, except the one that it is `about`; or keep it."""
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
            self._keep(event, place, fresh=fresh)
        elif claims == len(served) == 1:
            served[0].place = place
        if isinstance(event, _FAILURES):  # streams check whether it is final
            scope = USER_SCOPE if isinstance(event, SignInFailed) else event.channel
            for sink in self.router.of(scope):
                sink.signal.notify()

    def _keep(self, event: Event, place: int, *, fresh: bool) -> None:
        """Keep an event that no sink wanted. Logs a message, at INFO if `fresh`: the first one since sinks changed."""
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
                self.router.selectors_of(scope),
                self.router.selectors_of(None),
            )
        if scope is not None and self.backlog.keep(event, place) and not self.router.has(scope):
            self.backlog.warn(scope)

    def _end_traces(self) -> None:
        """Remove traces that no wait needs any longer."""
        for trace in self.traces.over(self._driver.now()):
            self._forget(trace)
        ends_at = self.traces.ends_at()
        if ends_at is not None:
            self.session.call_again(ends_at)

    # Slow consumers.

    def _count(self) -> None:
        """Count the buffered bytes, each event once, and report them if reading has to pause or may resume."""
        buffer, charged = self.session.buffer, 0
        seen: set[int] = set()
        sinks = [sink for sink in self.router if sink.waits]
        for sink in sinks:
            held = sink.queue.copy()  # another thread may take events from it
            sink.counted, sink.charged = len(held), 0
            for event in held:
                if id(event) not in seen:
                    seen.add(id(event))
                    sink.charged += size_of(event)
            charged += sink.charged
        self._recount_at = self.session.events.bytes + buffer.room(charged)
        if buffer.full or buffer.is_high(charged):
            self.session.hold(charged, now=self._driver.now())
        self._charged = charged
        if buffer.full:
            for sink in sinks:
                sink.look_at = sink.counted // 2 if sink.counted else -1

    def _took_from(self, sink: Sink, left: int) -> None:
        """Handle that `left` of the counted events of `sink` are left, while reading is paused."""
        charged = sink.charged * left // max(sink.counted, 1)
        self._charged -= sink.charged - charged
        sink.counted, sink.charged = left, charged
        sink.look_at = left // 2 if left else -1
        if self._charged <= self.session.buffer.low:
            self._count()

    def _check_pause(self) -> None:
        """Log a warning about the consumers that hold the most, once for each pause, after `HELD_UP_FOR` seconds."""
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
                "%s is not read, so no message was read from the server for %g s: read it, close it, or set "
                'overflow="drop_oldest" (Options.receive_buffer is full)',
                names,
                HELD_UP_FOR,
            )

    def _report_dropped(self, sink: Sink) -> None:
        """Queue `EventsDropped` at the end of an episode of dropping."""
        if sink.episode:
            self._dropped.append((sink, EventsDropped(sink.channel, sink.episode)))
            sink.episode = 0

    def _announce(self, about: Sink, dropped: EventsDropped) -> None:
        """Deliver `EventsDropped`."""
        if self._on_event is not None:
            self._call_hook(self._on_event, dropped)
        self._offer(dropped, about)

    def _call_hook(self, on_event: Callable[[Event], object], event: Event) -> None:
        """Call the application's `on_event`, and log an exception."""
        try:
            on_event(event)
        except Exception:
            _log.exception("on_event raised for %s", type(event).__name__)
