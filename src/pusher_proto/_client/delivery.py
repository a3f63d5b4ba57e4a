"""From the session to the sinks: the part of a client that moves events.

Events are moved until a sink that may not drop is full. Then they stay in the session's own queue; when that is full
too, the session wants no more data, and the driver stops reading. So a consumer with the policy `wait` that does not
read holds up all others, once they have read what they have; one that drops holds up nobody. At the end of the
session, or when it has failed, nothing is held up any more: what is left is moved, so that everybody comes to the end.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from .._base.logs import logger
from ..errors import ConnectionFailed, excerpt
from ..events import USER_SCOPE, ChannelEvent, ConnectionState, Event, EventsDropped, UserEvent
from ..options import Options
from ..session import Session
from .backlog import Backlog
from .streams import Router, Signal, Sink

__all__ = ["Delivery"]

_log = logger("client")


class Delivery(ABC):
    """The sinks of a client, and what is on the way to them. Everything here is called under the client's guard."""

    def __init__(
        self,
        options: Options,
        session: Session,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        self._session = session
        self._on_event = on_event
        self._router = Router()
        self._backlog = Backlog(options.backlog_limit)
        self._backlog.begin(USER_SCOPE)
        self._lifecycle = Signal()
        self._seen_changes = 0
        self._failed: ConnectionFailed | None = None
        self._waits: dict[Sink, None] = {}
        # Dictionaries and lists, as they are nearly always empty: an empty set takes 200 bytes and an empty deque 700.
        self._stalled: dict[Sink, None] = {}
        self._abandoned: list[Sink] = []
        self._untold: list[tuple[Sink, EventsDropped]] = []
        self._dropped_before = 0
        self._delivering = False

    @abstractmethod
    def _changed(self) -> None:
        """Something was said to the session: see to its effects, events and deadline."""

    def _wake(self) -> None:  # noqa: B027 - a driver may do without
        """See to it that `_changed` is called soon. It is called anywhere: by any thread, in the midst of anything.

        Without it what an abandoned stream held up goes on with the next command, step or deadline.
        """

    # Sinks come and go

    def _add(self, sink: Sink) -> None:
        """Let `sink` have events from now on, and before them the messages that nobody claimed."""
        swept = self._sweep()
        self._router.add(sink)
        if sink.once:
            self._waits[sink] = None
        before, self._delivering = self._delivering, True
        try:
            self._backlog.serve(sink)
        finally:
            self._delivering = before
        if sink.once and sink.queue:
            self._router.remove(sink)
        elif sink.full:
            self._stall(sink)
        if swept or sink.picky:  # a predicate may have given commands
            self._changed()

    def _remove(self, sink: Sink) -> None:
        """Let `sink` have no more events, free what it holds, and wake who waits for it."""
        if not sink.closed:
            stalled = bool(self._stalled)
            self._forget(sink)
            if (stalled and not self._stalled) or self._untold:
                self._changed()

    def _abandon(self, sink: Sink) -> None:
        """Nobody can read from `sink` any more. Called by any thread, in the midst of anything."""
        sink.close()
        self._abandoned.append(sink)
        self._wake()

    def _sweep(self) -> bool:
        """Remove the sinks that were abandoned; return whether there were any."""
        any_there = bool(self._abandoned)
        while self._abandoned:
            self._forget(self._abandoned.pop())
        return any_there

    def _forget(self, sink: Sink) -> None:
        self._router.remove(sink)
        self._waits.pop(sink, None)
        self._stalled.pop(sink, None)
        self._dropped_before += sink.dropped
        self._tell_dropped(sink)
        if sink.place is not None and sink.queue:
            event = sink.queue[0]
            assert isinstance(event, ChannelEvent)  # only messages have a place
            self._backlog.give_back(_scope(event), event, sink.place)
        sink.close()
        sink.signal.notify()

    # Events move

    @property
    def _is_over(self) -> bool:
        """Whether nothing more will come of the session as it is."""
        return self._session.closed or self._session.failure is not None

    @property
    def _terminal_error(self) -> ConnectionFailed | None:
        """Why nothing more will come. It stays when the client is closed after it: not everybody has looked yet."""
        return self._failed if self._session.closed else self._session.failure

    def _deliver(self) -> None:
        """Move events into sinks until any that may not drop is full; wake who waits for what changed."""
        if self._delivering:
            return  # a predicate gave a command: who asked it goes on
        if self._abandoned:
            self._sweep()
        session = self._session
        if not self._stalled or self._is_over:
            self._delivering = True
            try:
                self._move()
            finally:
                self._delivering = False
        changes = session.events.changes
        if changes != self._seen_changes:
            self._seen_changes = changes
            if session.state is not ConnectionState.DISCONNECTED:
                self._failed = session.failure
            self._lifecycle.notify()
            for sink in tuple(self._router if self._is_over else self._waits):
                sink.signal.notify()  # what is waited for may not come any more

    def _move(self) -> None:
        session, router, stalled = self._session, self._router, self._stalled
        events, on_event = session.events, self._on_event
        find = router.known.get
        while self._untold:
            self._announce(*self._untold.pop(0))
            if stalled and not self._is_over:
                return
        in_runs = on_event is None
        taken = 0
        try:
            while events:
                if in_runs:  # nearly all
                    count = self._move_run(events, events.alike - taken)
                    taken += count
                    in_runs = count > 1
                    if count:
                        if stalled and not self._is_over:
                            return
                        continue
                event = events.popleft()
                taken += 1
                if on_event is not None:  # it may give commands
                    session.took(taken)
                    taken = 0
                    self._tell_hook(on_event, event)
                sinks = None
                if type(event) is ChannelEvent:
                    sinks = find((event.channel, event.name))
                fresh = sinks is None
                if sinks is None:
                    sinks = router.route(event)
                claims, only = 0, None
                for sink in sinks:
                    if sink.special:
                        if sink.picky:  # the predicate may give commands
                            session.took(taken)
                            taken = 0
                        if not sink.wants(event) or sink.closed:
                            continue
                        if sink.once:
                            router.remove(sink)
                            only = sink
                    sink.put(event)
                    claims += 1
                    if len(sink.queue) >= sink.limit:
                        self._stall(sink)
                if (not claims or only is not None) and isinstance(event, ChannelEvent):
                    if not claims:
                        self._unheard(event, fresh)
                    elif only is not None and claims == 1:
                        only.place = self._backlog.next_place()
                if stalled and not self._is_over:
                    return
        finally:
            session.took(taken)

    def _move_run(self, events: deque[Event], alike: int) -> int:
        """Move the messages at the head that go to one sink alone; return how many.

        With one look-up for those of which it is known that they are `alike`, and one for each other.
        """
        first = events[0]
        if type(first) is not ChannelEvent:
            return 0
        find = self._router.alone.get
        sink = find((first.channel, first.name))
        if sink is None:
            return 0
        queue, count = sink.queue, 0
        room = sink.limit - len(queue)
        if room > 0 and (alike > 1 or len(events) == 1):
            count = min(alike, room) or 1  # which is like itself
        else:
            for event in events:
                if type(event) is not ChannelEvent or find((event.channel, event.name)) is not sink:
                    break
                count += 1
                if count == room:
                    break
        if count == len(events):
            queue.extend(events)
            events.clear()
        else:
            for _ in range(count):
                queue.append(events.popleft())
        sink.came(count)
        if len(queue) >= sink.limit:
            self._stall(sink)
        return count

    def _stall(self, sink: Sink) -> None:
        """Move nothing more until enough was taken from `sink`."""
        self._stalled[sink] = None
        sink.look_at = sink.half

    def _unheard(self, event: ChannelEvent, fresh: bool) -> None:
        """Nobody asked for a message: say so aloud once, until something else is bound."""
        scope = _scope(event)
        level = logging.INFO if fresh else logging.DEBUG
        if _log.isEnabledFor(level):
            _log.log(
                level,
                "%s on %s has no taker; bound there: %s; on the client: %s",
                excerpt(event.name, 64),
                excerpt(event.channel, 64),
                self._router.asked_for(scope),
                self._router.asked_for(None),
            )
        if self._backlog.keep(scope, event) and not self._router.has(scope):
            self._backlog.warn(scope)

    def _took(self, sink: Sink) -> None:
        """A consumer took an event: go on with what was held up, and say what was dropped meanwhile.

        To be called when no more events are left than `look_at`; it is harmless at other times.
        """
        if len(sink.queue) <= sink.look_at:
            sink.look_at = -1
            stalled = sink in self._stalled
            self._stalled.pop(sink, None)
            self._tell_dropped(sink)
            if (stalled and not self._stalled) or self._untold:
                self._changed()

    def _tell_dropped(self, sink: Sink) -> None:
        """An episode of dropping is over: let the others know."""
        if sink.episode:
            self._untold.append((sink, EventsDropped(sink.channel, sink.episode)))
            sink.episode = 0

    def _tell_hook(self, on_event: Callable[[Event], object], event: Event) -> None:
        try:
            on_event(event)
        except Exception:
            _log.exception("on_event raised for %s", type(event).__name__)

    def _announce(self, about: Sink, dropped: EventsDropped) -> None:
        if self._on_event is not None:
            self._tell_hook(self._on_event, dropped)
        for sink in self._router.route(dropped):
            if sink is not about and sink.wants(dropped):
                sink.put(dropped)
                if sink.once:
                    self._router.remove(sink)
                elif sink.full:
                    self._stall(sink)


def _scope(event: ChannelEvent) -> str:
    return USER_SCOPE if isinstance(event, UserEvent) else event.channel
