"""Decides which sinks get an event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..events import ChannelEvent, Event, scope_of
from .sinks import Sink

__all__ = ["Route", "Router"]

# Names come from the server, so the number of cached routes and the length of their names are limited.
_CACHED_ROUTES = 32768
_CACHED_NAME = 256


class Route(NamedTuple):
    """The sinks that may want an event."""

    sinks: tuple[Sink, ...]
    plain: bool
    """Whether there are sinks, and none needs more than `put` for the event."""


class Router:
    """Finds the sinks for an event. A message costs one look-up in a cache, which is cleared when sinks change."""

    __slots__ = ("_by_class", "_sinks", "alone", "known")

    def __init__(self) -> None:
        self._sinks: dict[str | None, dict[Sink, None]] = {}
        """The sinks of each scope, in the order of adding."""
        self.known: dict[tuple[str, str], Route] = {}
        """The cached routes, by channel and name of the message."""
        self.alone: dict[tuple[str, str], Sink] = {}
        """Routes with exactly one sink whose `put` is a plain append: the fast path of delivery."""
        self._by_class: dict[type[Event], Route] = {}
        """The cached routes of other events to the client's own sinks, by class."""

    def __iter__(self) -> Iterator[Sink]:
        # Iterate over copies: `stats` may be read in any thread.
        for sinks in tuple(self._sinks.values()):
            yield from tuple(sinks)

    def add(self, sink: Sink) -> None:
        """Deliver events to `sink` from now on."""
        self._sinks.setdefault(sink.channel, {})[sink] = None
        self._forget_routes()

    def remove(self, sink: Sink) -> None:
        """Stop delivering events to `sink`."""
        sinks = self._sinks.get(sink.channel, {})
        if sink in sinks:
            del sinks[sink]
            if not sinks:
                del self._sinks[sink.channel]
            self._forget_routes()

    def of(self, scope: str | None) -> tuple[Sink, ...]:
        """Return the sinks of exactly this scope."""
        return tuple(self._sinks.get(scope, ()))

    def has(self, scope: str | None) -> bool:
        """Return whether this scope has a stream, a wait or a handler."""
        return scope in self._sinks and any(sink.claims for sink in self._sinks[scope])

    def selectors_of(self, scope: str | None) -> str:
        """Return the selectors of this scope's sinks, for log messages."""
        selectors = dict.fromkeys(
            each for sink in self._sinks.get(scope, ()) if sink.claims for each in sink.choice.shown
        )
        return ", ".join(selectors) or "nothing"

    def route(self, event: Event) -> Route:
        """Return the sinks that may want `event`: the channel's own before the client's, each in order of adding."""
        if not isinstance(event, ChannelEvent):
            scope = scope_of(event)
            if scope is not None and scope in self._sinks:
                return self._find(event)
            route = self._by_class.get(type(event))
            if route is None:
                route = self._by_class[type(event)] = self._find(event)
            return route
        key = (scope_of(event) or "", event.name)
        found = self.known.get(key)
        if found is None:
            found = self._find(event)
            if len(self.known) >= _CACHED_ROUTES:
                self._forget_routes()
            if len(event.name) <= _CACHED_NAME:
                self.known[key] = found
                if len(found.sinks) == 1 and found.sinks[0].quick:
                    self.alone[key] = found.sinks[0]
        return found

    def _forget_routes(self) -> None:
        """Clear the cache."""
        self.known.clear()
        self.alone.clear()
        self._by_class.clear()

    def _find(self, event: Event) -> Route:
        """Return the route of an event without the cache."""
        scope = scope_of(event)
        sinks = tuple(
            sink
            for sink in (
                *self._sinks.get(scope, ()),
                *(self._sinks.get(None, ()) if scope is not None else ()),
            )
            if sink.may_want(event)
        )
        return Route(sinks, bool(sinks) and not any(sink.special for sink in sinks))
