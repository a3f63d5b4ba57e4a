"""The base classes of both clients: everything that does not wait.

A driver derives from these classes and adds `_changed`, `_now`, and the calls that wait for a `Goal`. All methods run
inside `_guard`, which is a lock in the blocking client and does nothing in the async one.
"""

from __future__ import annotations

import warnings
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Generic, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from msgspec.structs import replace

from ._base.checks import IN_BLOCKING
from ._client.bindings import SLOW, BindingBase
from ._client.breaking import is_cut_short, raise_breakage
from ._client.calls import HandlerCalls
from ._client.checks import Checks
from ._client.delivery import Delivery
from ._client.driver_calls import DriverCalls
from ._client.goals import Goal, Goals
from ._client.handles import Arguments, ChannelBase, NotAClass, SourceBase, UserBase, Watchlist
from ._client.host import Host
from ._client.merging import MergedBase
from ._client.opening import Opening
from ._client.pending import END, PENDING, End, Nothing, Pending
from ._client.registry import Bindings
from ._client.selectors import Choice, Selector
from ._client.setup import HandlerErrors, Setup
from ._client.signal import Signal
from ._client.sinks import Overflow
from ._client.streams import (
    AT_ONCE,
    TURN,
    Buffering,
    Decoding,
    Invalid,
    StreamBase,
    StreamOptions,
    Wait,
)
from .auth import Auth, check_plain_functions
from .driving import IO, Driver, DriverOptions
from .errors import LocalProtocolError, UnsupportedFeature, excerpt
from .events import USER_SCOPE, ConnectionState, Event
from .gaps import CatchUp, EventKey, Fetch
from .names import check_channel, kind_of
from .options import DecryptedText, Options
from .session import Session
from .states import is_wanted
from .stats import Stats

__all__ = [
    "AT_ONCE",
    "END",
    "PENDING",
    "SLOW",
    "TURN",
    "BindingBase",
    "Buffering",
    "ChannelBase",
    "Choice",
    "ClientBase",
    "Decoding",
    "End",
    "EventKey",
    "Goal",
    "Goals",
    "HandlerCalls",
    "HandlerErrors",
    "Host",
    "Invalid",
    "MergedBase",
    "NotAClass",
    "Nothing",
    "Opening",
    "Overflow",
    "Pending",
    "Selector",
    "Setup",
    "Signal",
    "SourceBase",
    "StreamBase",
    "StreamOptions",
    "UserBase",
    "Wait",
    "Weakly",
    "is_cut_short",
    "raise_breakage",
]

BindingT_co = TypeVar("BindingT_co", bound=BindingBase, covariant=True)
ChannelT = TypeVar("ChannelT", bound=ChannelBase[Any])
P = ParamSpec("P")
UserT = TypeVar("UserT", bound=UserBase[Any])


class Weakly(Generic[P]):
    """Calls a bound method without keeping its object alive. Does nothing once the object was garbage-collected.

    The driver's I/O must not keep the client alive: a client that is no longer referenced is closed.
    """

    __slots__ = ("_function", "_object")

    def __init__(self, method: Callable[P, object]) -> None:
        bound: Any = method
        self._function: Callable[..., object] = bound.__func__
        self._object = weakref.ref(bound.__self__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        there = self._object()
        if there is not None:
            self._function(there, *args, **kwargs)


class ClientBase(SourceBase[BindingT_co], Generic[BindingT_co, ChannelT, UserT]):
    """One client of one app, returned by `open_pusher` of `pusher_anyio` or `pusher_sync`."""

    _channel_class: type[ChannelT]
    _user_class: type[UserT]
    _awaits = True
    """Whether functions of the application may be coroutine functions."""
    _guard: AbstractContextManager[object]
    """Set by a driver before it calls `__init__`."""
    _scope = None

    def __init__(
        self,
        options: Options,
        session: Session,
        authorizer: Callable[..., object] | None,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        self._options = options
        self._session = session
        self._authorizer = authorizer
        driver = DriverCalls(
            self._now, self._changed, self._check_usable, self._check_here, self._wake
        )
        self._delivery = Delivery(session, options, driver, on_event, self._scope_changed)
        self._lifecycle = self._delivery.lifecycle
        self._checks = Checks(session, self._delivery, driver)
        self._host = Host(
            self, session, self._delivery, self._checks, Bindings(), driver, self._guard
        )
        self._handles: WeakValueDictionary[str, ChannelT] = WeakValueDictionary()
        """Handles of other channels, as long as the program holds them."""
        self._kept: dict[str, ChannelT] = {}
        """The handles of channels that are subscribed or have a stream or a handler."""
        self._user = self._user_class(self._host)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._options.host or '...'!r} {self.state.name}>"

    # Methods of the driver.

    @abstractmethod
    def _now(self) -> float:
        """Return monotonic seconds."""

    @abstractmethod
    def _changed(self) -> None:
        """Carry out the session's effects, deliver its events and set its timer."""

    def _wake(self) -> None:
        """Schedule a call of `_changed`. May be called in any thread, and while any other code runs.

        A driver may leave this out: then events that an abandoned stream delays are delivered at the next command,
        input or deadline.
        """

    def _check_usable(self) -> None:
        """Raise the error that ended the driver, if there was one."""

    def _check_here(self) -> None:
        """Raise if the client cannot be used in this thread or on this event loop."""

    # Methods for the driver.

    def _driver_on(self, io: IO, setup: Setup, broke: Callable[[BaseException], None]) -> Driver:
        """Return a driver that runs the session on `io`. It does not keep the client alive. `broke` gets bugs."""
        return Driver(
            self._session,
            io,
            deliver=Weakly(self._deliver),
            broke=broke,
            options=DriverOptions(
                ssl_context=setup.ssl_context,
                tls=setup.tls,
                authorizer=setup.authorizer,
                on_progress=setup.on_progress,
            ),
        )

    @property
    def _goals(self) -> Goals:
        """The goals of the client's waiting methods."""
        return Goals(self._host)

    def _warn_not_closed(self, where: str, block: str) -> None:
        """Emit a ResourceWarning: the client is garbage-collected while it is open."""
        warnings.warn(
            f"a client{where and ' opened at '}{where} was not closed: call close(), or use `{block}`",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )

    def _deliver(self) -> None:
        """Move events from the session to streams and handlers, and wake them."""
        self._delivery.deliver()

    # Commands.

    def connect(self) -> None:
        """Connect now: after `disconnect`, after a final failure, or during the delay before the next attempt."""
        self._command(self._session.connect)

    def disconnect(self) -> None:
        """Close the connection. `connect` resumes subscriptions and the sign-in."""
        self._command(self._session.disconnect)

    def reconnect(self, *, options: Options | None = None) -> None:
        """Close the connection and open another at once, with new `options` if they are given.

        The new server, proxy, `auth` and settings of the upgrade are used; limits and times stay unchanged. Channels,
        streams, handlers and the sign-in are kept.

        With `Options.several_nodes` unsubscribe from all channels first, and wait up to a second for the server.
        """
        with self._guard:
            self._checks.open()
            if options is not None:
                self._check_auth(options.auth)
                self._options = options
                self._session.use(options)
            self._command(self._session.reconnect)

    def signin(self) -> None:
        """Sign the user in, on this connection and on all later ones. `wait_signed_in` waits for it.

        Raises `UnsupportedFeature` without a source of authorizations.
        """
        if self._authorizer is None and self._options.auth is None:
            raise UnsupportedFeature(
                "signing in needs an authorization: set Options.auth or open_pusher(authorizer=...)"
            )
        self._command(self._session.signin)

    def signout(self) -> None:
        """Sign the user out. A connection on which the sign-in was sent is replaced by a new one."""
        self._command(self._session.signout)

    def ping(self) -> None:
        """Send a ping now, for example when the network has changed. Without a pong the client reconnects."""
        self._command(self._session.ping)

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel, now or as soon as the server has answered the subscribe."""
        with self._guard:
            self._checks.open()
            self._session.unsubscribe(channel, now=self._now())
            self._delivery.forget(channel)
            self._scope_changed(channel)
            self._changed()

    def subscribe(
        self,
        channel: str,
        *,
        auth: Auth | None = None,
        decrypted_text: DecryptedText | None = None,
        catch_up: Fetch | None = None,
        key: EventKey | None = None,
    ) -> ChannelT:
        """Subscribe to a channel, on this connection and on all later ones; return its handle at once.

        `auth` overrides `Options.auth` for this channel: an `OwnKey`, an `AuthEndpoint`, a function that returns an
        `AuthResponse`, or an `AuthResponse`, which is for the current connection only: at the next one the channel
        fails until `subscribe` is called with another. `decrypted_text` overrides `Options.decrypted_text`. `catch_up`
        is a function that fetches events that may have been missed: it is called with a `Gap` after each success, and
        consumers get the events that it returns before the live ones. `key` identifies events, so that none is
        delivered twice: the name of a field of the data, or a function of the event. All arguments are kept for the
        life of the handle.

        Raises `InvalidName`, `UnsupportedFeature` for a channel that needs an authorization without a source of
        authorizations, TypeError or ValueError for an invalid `catch_up` or `key`, and `ClientClosed`.
        """
        with self._guard:
            self._checks.open()
            handle = self._subscribe(channel, auth, decrypted_text, catch_up, key)
            self._changed()
            return handle

    def subscribe_many(self, channels: Iterable[str]) -> dict[str, ChannelT]:
        """Subscribe to channels; return their handles by name. Raises as `subscribe` does, before any changes."""
        with self._guard:
            self._checks.open()
            names = list(dict.fromkeys(channels))
            for name in names:
                self._check_can_subscribe(name)
            total, most = len({*self._session.channels(), *names}), self._options.max_channels
            if total > most:
                raise LocalProtocolError(
                    f"there would be {total} channels, and {most} are allowed (Options.max_channels)"
                )
            try:
                return {name: self._subscribe(name) for name in names}
            finally:
                self._changed()

    def unsubscribe_all(self) -> None:
        """Unsubscribe from all channels."""
        with self._guard:
            for name in self.channels:
                self.unsubscribe(name)

    def send_event(self, event: str, data: Any, channel: str | None = None) -> None:
        """Send any message, for extensions of a server: `{"event": ..., "data": ..., "channel": ...}`.

        Raises `InvalidName`, `NotConnected`, `OutboxFull`, `RateLimited`, `LocalProtocolError` for data that is too
        large and for messages that only the client may send, and `ClientClosed`.
        """
        self._host.command(self._session.send_event, event, data, channel)

    def _subscribe(
        self,
        channel: str,
        auth: Auth | None = None,
        decrypted_text: DecryptedText | None = None,
        catch_up: Fetch | None = None,
        key: EventKey | None = None,
    ) -> ChannelT:
        """Subscribe as `subscribe` does, without carrying out effects: call `_changed` after it."""
        check_channel(channel, strict=self._options.strict_names)
        handle = self._known_handle(channel) or self._channel_class(self._host, channel)
        kept = handle._subscribed_with  # noqa: SLF001 - a handle is a part of its client
        auth, decrypted_text = auth or kept.auth, decrypted_text or kept.decrypted_text
        if auth is not None:
            self._check_auth(auth)
        self._check_authorized(channel, auth)
        made = self._catch_up_of(catch_up, key, kept.catch_up)
        memory = kept.catch_up or made
        self._session.subscribe(
            channel, auth=auth, decrypted_text=decrypted_text, catch_up=memory, now=self._now()
        )
        if memory is not None and made is not None:
            memory.use(made.fetch, made.key)
        if auth is not None or decrypted_text is not None or memory is not None:
            handle._subscribed_with = Arguments(auth, decrypted_text, memory)  # noqa: SLF001 - see above
        self._delivery.backlog.begin(channel)
        self._kept[channel] = handle
        return handle

    def _check_auth(self, auth: Auth | None) -> None:
        """Raise TypeError for a source of authorizations that this client cannot call."""
        if not self._awaits:
            check_plain_functions(auth)

    def _catch_up_of(
        self, fetch: Fetch | None, key: EventKey | None, kept: CatchUp | None
    ) -> CatchUp | None:
        """Return a `CatchUp` for the arguments of `subscribe` and the kept ones; None if both arguments are None.

        Raises TypeError or ValueError.
        """
        if fetch is None and key is None:
            return None
        if kept is not None:
            fetch, key = fetch or kept.fetch, key or kept.key
        if fetch is None:
            raise ValueError(
                "key needs catch_up: it identifies events that were both fetched and received"
            )
        made = CatchUp(fetch, key)
        if made.is_async and not self._awaits:
            raise TypeError(f"catch_up is a plain function {IN_BLOCKING}")
        return made

    def _command(self, command: Callable[..., None]) -> None:
        self._host.command(command)

    def _check_can_subscribe(self, channel: str) -> None:
        check_channel(channel, strict=self._options.strict_names)
        handle = self._known_handle(channel)
        kept = None if handle is None else handle._subscribed_with.auth  # noqa: SLF001 - see above
        self._check_authorized(channel, kept)

    def _check_authorized(self, channel: str, auth: Auth | None) -> None:
        known = auth or self._authorizer or self._options.auth
        if known is None and kind_of(channel).needs_authorization:
            raise UnsupportedFeature(
                f"{excerpt(channel, 64)!r} needs an authorization: set Options.auth to OwnKey or AuthEndpoint, "
                "open_pusher(authorizer=...) or subscribe(auth=...)"
            )

    # Queries.

    @property
    def closed(self) -> bool:
        """Whether the client is closed. Commands of a closed client raise `ClientClosed`."""
        with self._guard:
            return self._session.closed

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        with self._guard:
            return self._session.state

    @property
    def socket_id(self) -> str | None:
        """The socket id of the current connection, or None. (Laravel: send it as X-Socket-ID for `toOthers()`.)"""
        with self._guard:
            return self._session.socket_id

    @property
    def last_error(self) -> BaseException | None:
        """Why there is no connection: an error of the system, `ConnectionEnded` or `ConnectionFailed`.

        None before the first failure, and while the client is connected.
        """
        with self._guard:
            return self._session.last_error

    @property
    def retry_at(self) -> float | None:
        """When the next attempt to connect starts, on the client's clock; None when none is planned.

        The clock is `time.monotonic` in `pusher_sync`, and `anyio.current_time` in `pusher_anyio`.
        """
        with self._guard:
            return self._session.retry_at

    @property
    def user(self) -> UserT:
        """The handle of the user: the state of the sign-in, and the messages for this user."""
        return self._user

    @property
    def watchlist(self) -> Watchlist:
        """The watchlist of the signed-in user."""
        return Watchlist(self._host)

    @property
    def stats(self) -> Stats:
        """Counts since the client was opened."""
        with self._guard:
            return replace(self._session.stats, dropped=self._delivery.dropped)

    @property
    def options(self) -> Options:
        """The current options."""
        return self._options

    def channel(self, name: str) -> ChannelT:
        """Return the handle of a channel without subscribing to it."""
        with self._guard:
            return self._handle(name)

    @property
    def channels(self) -> dict[str, ChannelT]:
        """The handles of all subscribed and pending channels, by name, in the order of `subscribe`."""
        with self._guard:
            wanted = [n for n in self._session.channels() if self._is_wanted(n)]
            return {name: self._handle(name) for name in wanted}

    def _is_wanted(self, name: str) -> bool:
        return is_wanted(self._session.channel(name).state)

    def _known_handle(self, name: str) -> ChannelT | None:
        handle = self._kept.get(name)
        return self._handles.get(name) if handle is None else handle

    def _handle(self, name: str) -> ChannelT:
        handle = self._known_handle(name)
        if handle is None:
            if not isinstance(name, str):
                raise TypeError(f"a channel name is a str, not {type(name).__name__}")
            handle = self._handles[name] = self._channel_class(self._host, name)
        return handle

    def _scope_changed(self, scope: str) -> None:
        """Keep the handle of a channel alive while it is subscribed or has a stream or a handler."""
        if scope == USER_SCOPE:
            return
        if self._delivery.router.has(scope) or self._is_wanted(scope):
            self._kept.setdefault(scope, self._handle(scope))
        else:
            handle = self._kept.pop(scope, None)
            if handle is not None:
                self._handles[scope] = handle
