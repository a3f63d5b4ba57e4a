"""The vocabulary of both clients: everything that needs no waiting, written once.

A driver derives from these classes and adds `_wait`, `_changed`, `_now`, and the few calls that wait. All that
is here runs under `_guard`: nothing on one event loop, a lock between threads.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, Literal, TypeVar
from weakref import WeakValueDictionary

from msgspec.structs import replace

from ._auth.endpoint_format import each_of
from ._base.timers import Deadlines
from ._client.checks import Waits
from ._client.consumers import (
    AT_ONCE,
    END,
    PENDING,
    SLOW,
    BindingBase,
    End,
    Invalid,
    Nothing,
    Pending,
    StreamBase,
)
from ._client.handles import ChannelBase, SourceBase, UserBase, Watchlist
from ._client.streams import Overflow, Selector, Signal, Sink
from .auth import Auth
from .driving.addresses import STAGGER, in_turns
from .driving.reading import READ_SIZE, RECORD_SIZE
from .effects import Authorize, AuthorizeMany, CallApplication
from .errors import UnsupportedFeature, excerpt
from .events import USER_SCOPE, ConnectionState, Event
from .names import check_channel, kind_of
from .options import Options
from .recording import recording_session
from .session import Session
from .states import ChannelState
from .stats import Stats

__all__ = [
    "AT_ONCE",
    "END",
    "PENDING",
    "READ_SIZE",
    "RECORD_SIZE",
    "SLOW",
    "STAGGER",
    "BindingBase",
    "ChannelBase",
    "ClientBase",
    "Deadlines",
    "End",
    "HandlerErrors",
    "Invalid",
    "Nothing",
    "Overflow",
    "Pending",
    "Selector",
    "Signal",
    "SourceBase",
    "StreamBase",
    "UserBase",
    "in_turns",
    "session_for",
]

HandlerErrors = Literal["log", "raise"]
Handler = TypeVar("Handler", bound=Callable[..., object])
ChannelT = TypeVar("ChannelT", bound=ChannelBase)
UserT = TypeVar("UserT", bound=UserBase)


def session_for(
    options: Options, authorizer: object, write: Callable[[str], object] | None
) -> Session:
    """Return the session of a client: recorded, where `write` takes the lines."""
    many = hasattr(authorizer, "authorize_many")
    if write is not None:
        return recording_session(options, write, authorize_many=many)
    return Session(options, authorize_many=many)


class ClientBase(Waits, SourceBase, Generic[ChannelT, UserT]):
    """One client of one app. Made by `open_pusher` of `pusher_anyio` or `pusher_sync`."""

    _channel_class: type[ChannelT]
    _user_class: type[UserT]
    _binding_class: type[BindingBase] = BindingBase
    _guard: AbstractContextManager[object]
    _scope = None

    def __init__(
        self,
        options: Options,
        session: Session,
        authorizer: Callable[..., object] | None,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        super().__init__(options, session, on_event)
        self._client = self
        self._options = options
        self._authorizer = authorizer
        self._handles: WeakValueDictionary[str, ChannelT] = WeakValueDictionary()
        self._kept: dict[str, ChannelT] = {}
        self._user = self._user_class(self)

    # What a driver adds

    @abstractmethod
    def _now(self) -> float:
        """Return monotonic seconds."""

    # Commands

    def connect(self) -> None:
        """Connect now: after `disconnect`, after a refusal, or in place of waiting to retry."""
        self._command(self._session.connect)

    def disconnect(self) -> None:
        """End the connection and keep all wishes; `connect` may follow."""
        self._command(self._session.disconnect)

    def reconnect(self) -> None:
        """End the connection and open another at once.

        With `Options.several_nodes` the channels are left first, for which the server has a second to answer.
        """
        self._command(self._session.reconnect)

    def signin(self) -> None:
        """Sign the user in, now and again on each connection. `wait_signed_in` waits for it.

        Raises `UnsupportedFeature` when no way to get an authorization is known.
        """
        if self._authorizer is None and self._options.auth is None:
            raise UnsupportedFeature(
                "signing in needs an authorization: set Options.auth, or give open_pusher(authorizer=...)"
            )
        self._command(self._session.signin)

    def ping(self) -> None:
        """Ask the server for a sign of life now, when the network may have changed."""
        self._command(self._session.ping)

    def unsubscribe(self, channel: str) -> None:
        """Leave a channel, now or as soon as the server has answered the subscribe."""
        with self._guard:
            self._check_open()
            self._session.unsubscribe(channel, now=self._now())
            self._backlog.end(channel)
            if not self._router.has(channel):
                self._kept.pop(channel, None)
            self._changed()

    def subscribe(self, channel: str, *, auth: Auth | None = None) -> ChannelT:
        """Want a channel, across all connections until `unsubscribe`, and return its handle at once.

        `auth` overrides `Options.auth` for this channel: an `OwnKey`, an `AuthEndpoint`, a function that returns a
        `AuthResponse`, or a ready `AuthResponse`. Raises `InvalidName`, `UnsupportedFeature` for a channel
        that needs an authorization when no way to get one is known, and `ClientClosed`.
        """
        with self._guard:
            self._check_open()
            check_channel(channel, strict=self._options.strict_names)
            known = auth or self._authorizer or self._options.auth
            if known is None and kind_of(channel).needs_authorization:
                raise UnsupportedFeature(
                    f"{excerpt(channel, 64)!r} needs an authorization: set Options.auth to OwnKey or AuthEndpoint, or "
                    "give open_pusher(authorizer=...) or subscribe(auth=...)"
                )
            self._session.subscribe(channel, auth=auth, now=self._now())
            self._backlog.begin(channel)
            handle = self._kept[channel] = self._handle(channel)
            self._changed()
            return handle

    def _command(self, command: Callable[..., None]) -> None:
        with self._guard:
            self._check_open()
            command(now=self._now())
            self._changed()

    # Looks

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        with self._guard:
            return self._session.state

    @property
    def socket_id(self) -> str | None:
        """The id of the connection of the moment, or None. (Laravel: send it as X-Socket-ID for `toOthers()`.)"""
        with self._guard:
            return self._session.socket_id

    @property
    def last_error(self) -> BaseException | None:
        """Why there is no connection: what the system raised, `ConnectionEnded` or `ConnectionFailed`.

        None at first, and while the client is connected.
        """
        with self._guard:
            return self._session.last_error

    @property
    def retry_at(self) -> float | None:
        """When the next attempt to connect begins, by the client's clock; None when none is planned.

        The clock is `time.monotonic` in `pusher_sync`, and `anyio.current_time` in `pusher_anyio`.
        """
        with self._guard:
            return self._session.retry_at

    @property
    def user(self) -> UserT:
        """The user who signs in, and the messages for it alone."""
        return self._user

    @property
    def watchlist(self) -> Watchlist:
        """Whom the signed-in user watches."""
        return Watchlist(self)

    @property
    def stats(self) -> Stats:
        """Counts since the client was opened."""
        with self._guard:
            dropped = self._dropped_before + sum(sink.dropped for sink in self._router)
            return replace(self._session.stats, dropped=dropped)

    @property
    def options(self) -> Options:
        """What the client was opened with."""
        return self._options

    def channel(self, name: str) -> ChannelT:
        """Return the handle of a channel without subscribing to it."""
        with self._guard:
            return self._handle(name)

    @property
    def channels(self) -> dict[str, ChannelT]:
        """The channels that are wanted, by name, in the order of wanting."""
        with self._guard:
            wanted = [n for n in self._session.channels() if self._is_wanted(n)]
            return {name: self._handle(name) for name in wanted}

    def _is_wanted(self, name: str) -> bool:
        return self._session.channel(name).state not in (
            ChannelState.UNSUBSCRIBED,
            ChannelState.UNSUBSCRIBING,
        )

    def _handle(self, name: str) -> ChannelT:
        handle = self._handles.get(name)
        if handle is None:
            if not isinstance(name, str):
                raise TypeError(f"a channel name is a str, not {type(name).__name__}")
            handle = self._handles[name] = self._channel_class(self, name)
        return handle

    # Sinks

    def _bind(
        self, channel: str | None, selector: Selector, fn: Callable[..., object] | None
    ) -> Any:
        if fn is None:

            def decorate(handler: Handler) -> Handler:
                self._bind(channel, selector, handler)
                return handler

            return decorate
        if not callable(fn):
            raise TypeError(f"a handler is a function of the event, not {fn!r}")
        with self._guard:
            binding = self._binding_class(self, channel, selector, fn)
            self._add(binding)
            return binding

    def _add(self, sink: Sink) -> None:
        self._check_open()
        if sink.channel is not None and sink.channel != USER_SCOPE:
            self._kept.setdefault(sink.channel, self._handle(sink.channel))
        super()._add(sink)

    def _forget(self, sink: Sink) -> None:
        super()._forget(sink)
        name = sink.channel
        if name is not None and not self._router.has(name) and not self._is_wanted(name):
            self._kept.pop(name, None)

    # The application's authorizer

    def _question(
        self, effect: Authorize | AuthorizeMany | CallApplication
    ) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Return the function of the application to call, and its arguments.

        Raises `UnsupportedFeature` when there is no function.
        """
        if isinstance(effect, CallApplication):
            return effect.function, ()
        asked: Any = self._authorizer
        if isinstance(effect, AuthorizeMany):
            return asked.authorize_many, (list(effect.details),)
        asked = effect.authorizer or asked
        if asked is None:
            raise UnsupportedFeature("no authorizer was given to open_pusher")
        return asked, (effect.details,)

    def _answered(
        self, effect: Authorize | AuthorizeMany | CallApplication, result: object
    ) -> None:
        """Give the session what the function of the application returned, or the exception that it raised."""
        if isinstance(effect, CallApplication):
            with self._guard:
                self._session.call_ended(effect.request, result, now=self._now())
                self._changed()
            return
        if isinstance(effect, Authorize):
            answers = {effect.request: result}
        else:
            if not isinstance(result, BaseException):
                try:
                    result = each_of(result, effect.details)
                except ValueError as error:
                    result = error
            each = result if isinstance(result, list) else [result] * len(effect.requests)
            answers = dict(zip(effect.requests, each, strict=True))
        with self._guard:
            for request, answer in answers.items():
                if isinstance(answer, BaseException):
                    self._session.authorization_failed(request, answer, now=self._now())
                else:
                    self._session.authorized(request, answer, now=self._now())
            self._changed()
