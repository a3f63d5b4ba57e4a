"""Selectors: the events that an application wants. They are checked when they are passed in."""

from __future__ import annotations

from collections.abc import Callable
from re import Pattern
from typing import Any

from .._base.checks import check_plain
from .._base.logs import name_of
from ..errors import excerpt
from ..events import (
    USER_SCOPE,
    WIRE_NAMES,
    ChannelEvent,
    ConnectionState,
    Event,
    Message,
    ProtocolMessage,
    TypedEvent,
    UserEvent,
    scope_of,
)
from ..gaps import GapNotClosed

__all__ = ["Choice", "Selector"]

_One = str | type[Event] | Pattern[str] | Callable[[Any], bool]
Selector = _One | tuple[_One, ...] | None
"""An event's name, an event class, a compiled regular expression for names of messages, a predicate, a tuple of these,
or None for all events."""

_INTERNAL = {
    "subscription_succeeded": "pusher:subscription_succeeded",
    "subscription_error": "pusher:subscription_error",
    "subscription_count": "pusher:subscription_count",
    "member_added": "pusher:member_added",
    "member_removed": "pusher:member_removed",
    "watchlist_events": "online",
}
"""The names for applications of messages that servers send as `pusher_internal:`."""

_STATES = {*ConnectionState}


class Choice:
    """The meaning of a selector in one scope: a channel's name, `USER_SCOPE`, or None for the client.

    With `typed`, for consumers that decode data, None selects all messages, and predicates are called with messages
    only. With `gaps`, for streams, a selector of messages also selects `GapNotClosed`. Raises TypeError for an invalid
    selector, and ValueError for a name or class that can never match in this scope.
    """

    __slots__ = (
        "_all",
        "_asked",
        "_gaps",
        "messages",
        "names",
        "patterns",
        "predicates",
        "scope",
        "typed",
        "types",
    )

    def __init__(
        self, selector: Selector, scope: str | None, *, typed: bool = False, gaps: bool = False
    ) -> None:
        several = selector if isinstance(selector, tuple) else (selector,)
        self.scope: str | None = scope
        self.typed: bool = typed
        self._asked: tuple[_One | None, ...] = several
        self._all = selector is None and not typed
        names: set[str] = set()
        types: set[type[Event]] = set()
        patterns: list[Pattern[str]] = []
        predicates: list[Callable[[Any], bool]] = []
        for one in several:
            if one is None and len(several) == 1:
                types.update((ChannelEvent,) if typed else ())
            elif isinstance(one, str):
                _check_name(one, scope)
                if one in WIRE_NAMES:
                    types.add(WIRE_NAMES[one])
                if not one.startswith("pusher:"):
                    names.add(one)
            elif isinstance(one, type):
                _check_class(one, scope)
                types.add(one)
            elif isinstance(one, Pattern):
                patterns.append(one)
            elif callable(one):
                check_plain(one, "a predicate")
                predicates.append(one)
            else:
                raise TypeError(
                    "a selector is an event's name, an event class, a compiled regular expression, a predicate, or a "
                    f"tuple of these, not {one!r}"
                )
        self.names: frozenset[str] = frozenset(names)
        self.types: tuple[type[Event], ...] = tuple(types)
        self.messages: type[Message] | None = None
        """Which messages it selects as they were received."""
        for cls in (Message, ProtocolMessage):
            if cls in types:
                self.messages = cls
                break
        self.patterns: tuple[Pattern[str], ...] = tuple(patterns)
        self.predicates: tuple[Callable[[Any], bool], ...] = tuple(predicates)
        selects_messages = bool(names or patterns or predicates) or ChannelEvent in types
        self._gaps = gaps and selects_messages

    @property
    def key(self) -> tuple[object, ...]:
        """A key that is equal for selectors with the same meaning in the same scope."""
        return self.scope, self.names, frozenset(self.types), self.patterns, self.predicates

    @property
    def shown(self) -> tuple[str, ...]:
        """The parts of the selector, for log messages."""
        return tuple(map(_shown, self._asked))

    def may_choose(self, event: Event) -> bool:
        """Return whether the selector can select this event. Does not call predicates."""
        if self.scope is not None and scope_of(event) != self.scope:
            return False
        if isinstance(event, Message):  # only a selector of its class: they repeat all other events
            return self.messages is not None and isinstance(event, self.messages)
        if self._all or self._names(event):
            return True
        return bool(self.predicates) and (not self.typed or isinstance(event, ChannelEvent))

    def chooses(self, event: Event) -> bool:
        """Return whether the selector selects this event. Raises exceptions of predicates."""
        if isinstance(event, Message):
            return self.may_choose(event)
        return self.may_choose(event) and (
            self._all
            or self._names(event)
            or any(predicate(event) for predicate in self.predicates)
        )

    def asks_for(self, event: Event) -> bool:
        """Return whether the event is selected by its name or class, or by None, without calling predicates."""
        return self._all or self._names(event)

    def _names(self, event: Event) -> bool:
        if isinstance(event, self.types) or (self._gaps and type(event) is GapNotClosed):
            return True
        return isinstance(event, ChannelEvent) and (
            event.name in self.names or any(each.search(event.name) for each in self.patterns)
        )


def _shown(selector: _One | None) -> str:
    """Return one part of a selector for log messages."""
    if selector is None:
        return "everything"
    if isinstance(selector, str):
        return repr(excerpt(selector, 64))
    if isinstance(selector, Pattern):
        return f"/{excerpt(selector.pattern, 64)}/"
    return name_of(selector)


def _check_name(name: str, scope: str | None) -> None:
    """Raise ValueError for a name that no event in this scope can have."""
    shown = excerpt(name, 64)
    if name.startswith("pusher_internal:"):
        instead = _INTERNAL.get(name.removeprefix("pusher_internal:"))
        advice = f"use {instead!r}" if instead else "there is no event for it"
        raise ValueError(f"{shown!r} is a message between server and client: {advice}")
    if name.startswith("pusher:"):
        if name not in WIRE_NAMES:
            known = ", ".join(sorted(each for each in WIRE_NAMES if each.startswith("pusher:")))
            raise ValueError(
                f"no event has the name {shown!r}; the events of the protocol are {known}; select ProtocolMessage "
                "to get the messages of the protocol as they were received"
            )
        _check_class(WIRE_NAMES[name], scope)
    if scope is None and name in _STATES:
        raise ValueError(
            f"{shown!r} is a state of the connection, not an event: use bind(StateChanged, ...) and check "
            "event.current; for a message of that name, bind it on its channel"
        )


def _check_class(cls: type, scope: str | None) -> None:
    """Raise TypeError if it is not an event class, and ValueError for a class without events in this scope."""
    name = cls.__name__
    if not issubclass(cls, Event):
        raise TypeError(f"{name} is not an event class of pusher_proto")
    if issubclass(cls, TypedEvent):
        raise ValueError(f"{name} is the class of events(type=...): select ChannelEvent or a name")
    if scope is None or cls is Event:
        return
    if scope == USER_SCOPE:
        if not issubclass(UserEvent, cls):
            raise ValueError(f"{name} is not a message for the user: use it on the client")
    elif "channel" not in cls.__struct_fields__:
        raise ValueError(f"{name} is not about a channel: use it on the client")
    elif issubclass(cls, UserEvent):
        raise ValueError(f"{name} is a message for the user: use it on client.user")
