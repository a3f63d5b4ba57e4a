"""What an application holds: streams, bindings, and the handles of channels and the user."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import copy_context
from itertools import repeat
from typing import Any, Self, TypeVar, Unpack, overload

from pusher_proto import ChannelEvent, Event, TypedEvent, UserEvent
from pusher_proto.client import (
    END,
    PENDING,
    BindingBase,
    Buffering,
    ChannelBase,
    Decoding,
    End,
    Goal,
    Invalid,
    NotAClass,
    Overflow,
    Selector,
    SourceBase,
    StreamBase,
    StreamOptions,
    UserBase,
)

from ._waiting import NO_CALLS, Waiting

__all__ = ["Binding", "Channel", "Source", "Stream", "User"]

T = TypeVar("T")
E = TypeVar("E", bound=Event)

_MANY = 1000
"""How many events wait for a handler when a missing `run` is reported."""

_log = logging.getLogger("pusher_proto.client")


class Stream(StreamBase[T]):
    """The events that one consumer iterates over with `for`; `with` closes it at the end of the block."""

    _client: Waiting[Any, Any, Any]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if self._ready and self._client._io.error is None:
            # What `_next` does for nearly all events, without the lock: a deque needs none.
            self._ready -= 1
            try:
                first: Any = self._sink.queue.popleft()
                if self._decode is None:
                    return first  # type: ignore[no-any-return]  # a `cast` is a call, and that for each event
                typed = self._typed(first)
                if typed is not PENDING:
                    return typed
            except IndexError:  # the stream was closed, or another thread took it
                self._ready = 0
        event: T | End = self._client._wait(Goal(self._next, self.signal))
        if event is END:
            raise StopIteration
        return event

    def next(self, timeout: float | None = None) -> T:
        """Return the next event. Raises `PusherTimeout` after `timeout` seconds, and `ClientClosed` at the end."""
        return self._client._wait(self._goal(), timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Binding(BindingBase):
    """A handler and its events. Made by `bind`; `cancel()` ends it."""

    _client: Waiting[Any, Any, Any]

    def __init__(self, *args: Any, once: bool = False) -> None:
        self._context = copy_context()
        super().__init__(*args, once=once)

    def came(self, count: int) -> None:
        client = self._client
        if client._calls is NO_CALLS:
            client._calls = deque()
        client._calls.extend(repeat(self, count))
        client._lifecycle.notify()
        if len(self.queue) >= _MANY and not (client._running or client._warned_of_run):
            client._warned_of_run = True
            _log.warning("events wait for handlers, but client.run() is not being called")

    def cancel(self) -> None:
        with self._client._guard:
            super().cancel()
            if not self._client._running:  # `run` skips the calls of a cancelled binding itself
                left = deque(each for each in self._client._calls if each is not self)
                self._client._calls = left or NO_CALLS

    def _run(self, event: Event) -> None:
        try:
            self._context.run(self.fn, event)
        except Exception:
            if self._client._setup.on_handler_error == "raise":
                raise
            self.failed(event)


class Source(SourceBase[Binding]):
    """Where events come from: a channel, or the client with all its channels."""

    _binding_class = Binding

    @overload
    def events(self, selector: type[E], **more: Unpack[Buffering]) -> Stream[E]: ...
    @overload
    def events(
        self, selector: Selector = None, *, type: type[T], **more: Unpack[Decoding]
    ) -> Stream[TypedEvent[T]]: ...
    @overload
    def events(
        self, selector: Selector = None, *, decoder: Callable[[str], T], **more: Unpack[Decoding]
    ) -> Stream[TypedEvent[T]]: ...
    @overload
    def events(
        self, selector: Selector = None, *, types: Mapping[str, type[T]], **more: Unpack[Decoding]
    ) -> Stream[TypedEvent[T]]: ...
    @overload
    def events(
        self, selector: Selector = None, *, types: Mapping[str, Any], **more: Unpack[Decoding]
    ) -> Stream[TypedEvent[Any]]: ...
    @overload
    def events(self, selector: None = None, **more: Unpack[Buffering]) -> Stream[Event]: ...
    @overload
    def events(self, selector: Selector = None, **more: Unpack[Buffering]) -> Stream[Any]: ...
    def events(
        self,
        selector: Selector = None,
        *,
        buffer: int = 1000,
        overflow: Overflow = "wait",
        type: Any = None,  # noqa: A002 - what decoders call it
        types: Mapping[str, Any] | None = None,
        decoder: Callable[[str], Any] | None = None,
        invalid: Invalid = "raise",
    ) -> Stream[Any]:
        """Return a stream of the events that `selector` means, of this channel or, on the client, of all.

        It is opened at this call. `overflow` says what happens when it is not read fast enough: "wait" keeps everything
        and stops reading from the network when `Options.receive_buffer` is full; with the others at most `buffer`
        events wait, and "drop_oldest" and "drop_newest" count what they drop, while "raise" raises
        `StreamOverflow`. `type` decodes the data to anything msgspec knows, `types` by the event's name, `decoder`
        by a function of the text; what does not fit raises `DataError`, or is skipped and counted with
        `invalid="skip"`. Events of a class that is selected are given as they are.
        """
        options = StreamOptions(buffer, overflow, type, types, decoder, invalid)
        return Stream(self._host, self._scope, selector, options)

    @overload
    def wait_for(
        self,
        selector: type[E],
        predicate: Callable[[E], bool] | None = None,
        timeout: float | None = None,
        *,
        fresh: bool = False,
    ) -> E: ...
    @overload
    def wait_for(
        self,
        selector: NotAClass,
        predicate: Callable[[Any], bool] | None = None,
        timeout: float | None = None,
        *,
        fresh: bool = False,
    ) -> Any: ...
    def wait_for(
        self,
        selector: Selector,
        predicate: Callable[[Any], bool] | None = None,
        timeout: float | None = None,
        *,
        fresh: bool = False,
    ) -> Any:
        """Wait for one event that `selector` means and `predicate` accepts, and return it.

        Looks first at the events since the last wait of this task or thread for the same selector, of the last ten
        seconds, then at the events that no consumer has taken yet. With `fresh` only events from now on count.

        Raises `PusherTimeout` after `timeout` seconds, and at once when the event can no longer arrive:
        `AuthorizationError` or `SubscriptionError` for a channel that is refused, `NotSubscribed` for one that is not
        wanted, `ConnectionFailed` and `ClientClosed`.
        """
        client: Waiting[Any, Any, Any] = self._host.client
        with self._begin_wait(selector, predicate, client._who(), fresh) as goal:
            return client._wait(goal, timeout)


class Channel(ChannelBase[Binding], Source):
    """The handle of one channel. `for event in channel` gives its messages."""

    def __iter__(self) -> Stream[ChannelEvent]:
        return self.events(ChannelEvent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def wait_subscribed(self, timeout: float | None = None) -> Self:
        """Wait until the server has confirmed the subscription, and return this channel.

        Raises `AuthorizationError` or `SubscriptionError` when it is refused, `NotSubscribed` when it is not wanted,
        `ConnectionFailed`, `ClientClosed`, and `PusherTimeout` after `timeout` seconds.
        """
        client: Waiting[Any, Any, Any] = self._host.client
        client._wait(client._goals.subscribed(self._scope), timeout)
        return self


class User(UserBase[Binding], Source):
    """The user who signs in: its state, and the messages for this user. `for` gives the messages."""

    def __iter__(self) -> Stream[UserEvent]:
        return self.events(UserEvent)
