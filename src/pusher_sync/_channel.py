"""The objects that an application holds: streams, bindings, and the handles of channels and of the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    Goals,
    Invalid,
    NotAClass,
    Overflow,
    Selector,
    SourceBase,
    StreamBase,
    StreamOptions,
    UserBase,
)

from ._waiting import Waiting

__all__ = ["Binding", "Channel", "Source", "Stream", "User"]

T = TypeVar("T")
E = TypeVar("E", bound=Event)


class Stream(StreamBase[T]):
    """The events that one consumer iterates over with `for`; `with` closes it at the end of the block."""

    _client: Waiting

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if self._ready and self._client._io.error is None:
            # The common case of `_next`, inlined and without the lock: a deque needs none.
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

    _client: Waiting

    def came(self, count: int) -> None:
        self._client._calls.add(self, count)

    def cancel(self) -> None:
        with self._client._guard:
            super().cancel()
            self._client._calls.cancel(self)

    def _run(self, event: Event) -> None:
        try:
            result = self.context.run(self.fn, event)
            if result is not None:
                self.refuse_coroutine(result)
        except Exception:
            if self._client._setup.on_handler_error == "raise":
                raise
            self.failed(event)


class Source(SourceBase[Binding]):
    """A source of events: a channel, the user, or the client with all its channels."""

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
        """Return a stream of the events that match `selector`, of this channel or, on the client, of all channels.

        It is open from this call on. `overflow` says what happens when it is not read fast enough: "wait" keeps all
        events, and the client stops reading from the network when `Options.receive_buffer` is full. With the others at
        most `buffer` events wait: "drop_oldest" and "drop_newest" count the dropped events, "raise" raises
        `StreamOverflow`. `type` decodes the data to any type that msgspec knows, `types` by the event's name, `decoder`
        by a function of the text. Data that does not fit raises `DataError`; with `invalid="skip"` it is skipped and
        counted. Events of a selected class are given unchanged.
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
        """Wait for one event that matches `selector` and that `predicate` accepts, and return it.

        Looks first at the events since the last wait of this task or thread for the same selector, of the last ten
        seconds, then at the events that no consumer has taken yet. With `fresh` only events from now on count.

        Raises `PusherTimeout` after `timeout` seconds, and at once when the event can no longer arrive:
        `AuthorizationError` or `SubscriptionError` for a channel that is refused, `NotSubscribed` for one that is not
        subscribed to, `ConnectionFailed` and `ClientClosed`.
        """
        client: Waiting = self._host.client
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

        Raises `AuthorizationError` or `SubscriptionError` when it is refused, `NotSubscribed` when the program does not
        subscribe to it, `ConnectionFailed`, `ClientClosed`, and `PusherTimeout` after `timeout` seconds.
        """
        client: Waiting = self._host.client
        client._wait(Goals(self._host).subscribed(self._scope), timeout)
        return self


class User(UserBase[Binding], Source):
    """The user who signs in: its state, and the messages for this user. `for` gives the messages."""

    def __iter__(self) -> Stream[UserEvent]:
        return self.events(UserEvent)
