"""The interface of Laravel Echo for a client (asyncio, trio or blocking): translates the names of events and channels.

Laravel publishes the event class `App\\Events\\OrderShipped` under that name, and a private channel `orders.1` as
`private-orders.1`. `Echo(client)` converts these names. Everything else is the client's: handlers get the client's
events, and `EchoChannel.channel` is the client's handle.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Generic, Self, TypeVar, overload
from urllib.parse import unquote

from ._base.checks import check_handler, check_secret
from ._client.handles import ChannelBase
from .auth import Auth, AuthEndpoint
from .client import BindingBase, ClientBase
from .events import (
    ChannelEvent,
    ConnectionState,
    Event,
    MemberAdded,
    MemberRemoved,
    Subscribed,
    SubscriptionFailed,
)
from .states import is_wanted

__all__ = [
    "NOTIFICATION",
    "Echo",
    "EchoChannel",
    "EchoPresence",
    "bearer_auth",
    "event_name",
    "session_auth",
    "short_name",
]

ChannelT = TypeVar("ChannelT", bound=ChannelBase[Any])
Handler = Callable[..., Any]
HandlerT = TypeVar("HandlerT", bound=Handler)

NAMESPACE = "App.Events"
_ALL = "*"
"""The key of the handlers of `listen_to_all`."""
NOTIFICATION = "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated"
"""The event of each broadcast notification; its data has `id`, `type` and the fields of the notification."""

_KINDS = ("", "private-", "private-encrypted-", "presence-")

_HINTS = {
    401: "Laravel recognizes no user: the token or the session is wrong or has expired, or the route uses "
    "another guard (for Sanctum: Broadcast::routes(['middleware' => ['auth:sanctum']]))",
    403: "the callback for this channel in routes/channels.php did not return true, or no pattern there matches "
    "(patterns have no prefix private- or presence-); with sessions, 403 can also mean: not logged in",
    404: "no such route: see `php artisan route:list --path=broadcasting`; it is /broadcasting/auth, or "
    "/api/broadcasting/auth if Broadcast::routes() has the prefix api",
    419: "Laravel requires a CSRF token: use a route with auth:sanctum and a bearer token, or pass current cookies "
    "with XSRF-TOKEN to session_auth",
}


def event_name(event: str, namespace: str | None = NAMESPACE) -> str:
    """Return the name on the wire for the name of an event in Echo.

    `OrderShipped` is in the namespace, and dots are replaced by backslashes. After a leading dot or backslash the rest
    is used unchanged (the name that `broadcastAs` returns). Without a namespace only the dots are replaced.
    """
    if event.startswith((".", "\\")):
        return event[1:]
    return (f"{namespace}.{event}" if namespace else event).replace(".", "\\")


def short_name(name: str, namespace: str | None = NAMESPACE) -> str:
    """Return the name for `listen` of an event with this name on the wire: the inverse of `event_name`."""
    prefix = namespace.replace(".", "\\") + "\\" if namespace else ""
    rest = name.removeprefix(prefix)
    return f".{name}" if rest == name or rest.startswith("\\") or "." in rest else rest


class EchoChannel(Generic[ChannelT]):
    """One channel with Laravel's names for its events, returned by `Echo`.

    A handler is a function as for the client's `bind`: plain, or in the async client a coroutine function. Methods with
    a handler return this object, so that calls can be chained; `stop_listening` and the like unbind handlers.
    """

    def __init__(self, channel: ChannelT, namespace: str | None) -> None:
        self.channel = channel
        """The client's handle of the channel: waits, members, state."""
        self._namespace = namespace
        self._bindings: list[tuple[object, Handler, BindingBase]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.channel.name!r} {self.channel.state.name}>"

    def named(self, event: str) -> str:
        """Return the name of an event on the wire, for example for `channel.events(orders.named(...))`."""
        return event_name(event, self._namespace)

    @overload
    def listen(self, event: str, fn: Handler) -> Self: ...
    @overload
    def listen(self, event: str, fn: None = None) -> Callable[[HandlerT], HandlerT]: ...
    def listen(self, event: str, fn: Any = None) -> Any:
        """Call `fn(event)` for an event: "OrderShipped", or ".order.shipped" for the exact name "order.shipped".

        Without `fn`: a decorator.
        """
        return self._bind(self.named(event), fn)

    def listen_to_all(self, fn: Handler) -> Self:
        """Call `fn(name, event)` for each message, with the name for `listen`."""
        namespace = self._namespace
        return self._add(_ALL, fn, lambda event: fn(short_name(event.name, namespace), event))

    def notification(self, fn: Handler) -> Self:
        """Call `fn(event)` for each notification, on the channel of a user (`App.Models.User.{id}`)."""
        return self._add(NOTIFICATION, fn)

    @overload
    def listen_for_whisper(self, event: str, fn: Handler) -> Self: ...
    @overload
    def listen_for_whisper(self, event: str, fn: None = None) -> Callable[[HandlerT], HandlerT]: ...
    def listen_for_whisper(self, event: str, fn: Any = None) -> Any:
        """Call `fn(event)` for each whisper of other clients. Without `fn`: a decorator."""
        return self._bind(f"client-{event}", fn)

    @overload
    def on(self, event: str, fn: Handler) -> Self: ...
    @overload
    def on(self, event: str, fn: None = None) -> Callable[[HandlerT], HandlerT]: ...
    def on(self, event: str, fn: Any = None) -> Any:
        """Call `fn(event)` for an event with this exact name on the wire. Without `fn`: a decorator."""
        return self._bind(event, fn)

    def whisper(self, event: str, data: Mapping[str, Any] | list[Any] | None = None) -> Self:
        """Send a client event `client-{event}` to the other subscribers. It does not pass through Laravel.

        Raises as `channel.trigger` does, and TypeError for data that is not an object or a list, which Reverb refuses.
        """
        if not isinstance(data, Mapping | list | None):
            raise TypeError(
                f"the data of a whisper is a mapping or a list, not {type(data).__name__}: Reverb accepts nothing else"
            )
        self.channel.trigger(f"client-{event}", {} if data is None else data)
        return self

    def subscribed(self, fn: Handler) -> Self:
        """Call `fn(event)` each time the server confirms the subscription, including after reconnects."""
        return self._add(Subscribed, fn)

    def error(self, fn: Handler) -> Self:
        """Call `fn(event)` each time the subscription fails; `event.error` is the reason."""
        return self._add(SubscriptionFailed, fn)

    def stop_listening(self, event: str | None = None, fn: Handler | None = None) -> Self:
        """Unbind handlers of this object: those for an event, named as in `listen`, or all; with `fn` only that one."""
        return self._cancel(None if event is None else self.named(event), fn)

    def stop_listening_to_all(self, fn: Handler | None = None) -> Self:
        """Unbind the handlers of `listen_to_all`; with `fn` only that one."""
        return self._cancel(_ALL, fn)

    def stop_listening_for_whisper(self, event: str, fn: Handler | None = None) -> Self:
        """Unbind the handlers for a whisper; with `fn` only that one."""
        return self._cancel(f"client-{event}", fn)

    def stop_listening_for_notification(self, fn: Handler | None = None) -> Self:
        """Unbind the handlers for notifications; with `fn` only that one."""
        return self._cancel(NOTIFICATION, fn)

    def subscribe(self) -> Self:
        """Subscribe to the channel again after `unsubscribe`."""
        self.channel.subscribe()
        return self

    def unsubscribe(self) -> Self:
        """Unsubscribe from the channel, and keep the handlers."""
        self.channel.unsubscribe()
        return self

    def _bind(self, selector: str, fn: Handler | None) -> Any:
        if fn is None:

            def decorate(handler: HandlerT) -> HandlerT:
                self._add(selector, handler)
                return handler

            return decorate
        return self._add(selector, fn)

    def _add(self, selector: str | type[Event], fn: Handler, called: Handler | None = None) -> Self:
        """Bind `fn`, or the function `called` that calls it, under the name of `fn`."""
        own: Any = ChannelEvent if selector == _ALL else selector
        check_handler(fn)
        binding: BindingBase = self.channel.bind(own, fn if called is None else wraps(fn)(called))
        self._bindings = [each for each in self._bindings if not each[2].closed]
        self._bindings.append((selector, fn, binding))
        return self

    def _cancel(self, selector: str | None, fn: Handler | None) -> Self:
        for own, handler, binding in self._bindings:
            if (selector is None or own == selector) and (fn is None or handler == fn):
                binding.cancel()
        return self


class EchoPresence(EchoChannel[ChannelT]):
    """A presence channel: `Echo.join`."""

    def here(self, fn: Handler) -> Self:
        """Call `fn(members)` with all members, each time the server confirms the subscription."""
        return self._add(Subscribed, fn, lambda _event: fn(self.channel.members))

    def joining(self, fn: Handler) -> Self:
        """Call `fn(member)` for each member that joins."""
        return self._add(MemberAdded, fn, lambda event: fn(event.member))

    def leaving(self, fn: Handler) -> Self:
        """Call `fn(member)` for each member that leaves."""
        return self._add(MemberRemoved, fn, lambda event: fn(event.member))


class Echo(Generic[ChannelT]):
    """Laravel's names for the channels of a client. It uses the client's connection.

    `namespace` is the namespace of the application's events, with dots instead of backslashes, or None.
    """

    def __init__(
        self, client: ClientBase[Any, ChannelT, Any], *, namespace: str | None = NAMESPACE
    ) -> None:
        self.client = client
        self._namespace = namespace
        self._channels: dict[str, EchoChannel[ChannelT]] = {}

    def channel(self, name: str, *, auth: Auth | None = None) -> EchoChannel[ChannelT]:
        """Subscribe to a public channel, or to any channel by its name on the wire. Raises as `subscribe` does."""
        known = self._channels.get(name)
        if known is None or not is_wanted(known.channel.state):
            channel = self.client.subscribe(name, auth=auth)
            if known is None:
                kind = EchoPresence if name.startswith("presence-") else EchoChannel
                known = self._channels[name] = kind(channel, self._namespace)
        return known

    def private(self, name: str, *, auth: Auth | None = None) -> EchoChannel[ChannelT]:
        """Subscribe to the private channel with this name in Laravel."""
        return self.channel(f"private-{name}", auth=auth)

    def encrypted_private(self, name: str, *, auth: Auth | None = None) -> EchoChannel[ChannelT]:
        """Subscribe to the encrypted private channel with this name in Laravel."""
        return self.channel(f"private-encrypted-{name}", auth=auth)

    def join(self, name: str, *, auth: Auth | None = None) -> EchoPresence[ChannelT]:
        """Subscribe to the presence channel with this name in Laravel."""
        joined = self.channel(f"presence-{name}", auth=auth)
        assert isinstance(joined, EchoPresence)  # because of the prefix
        return joined

    def leave(self, name: str) -> None:
        """Unsubscribe from the channels with this name in Laravel: public, private, encrypted and presence."""
        for kind in _KINDS:
            self.leave_channel(kind + name)

    def leave_channel(self, name: str) -> None:
        """Unsubscribe from the channel with this name on the wire, and unbind the handlers of its `EchoChannel`."""
        channel = self._channels.pop(name, None)
        if channel is not None:
            channel.stop_listening()
            self.client.unsubscribe(name)

    def leave_all(self) -> None:
        """Unsubscribe from all channels of this object."""
        for name in list(self._channels):
            self.leave_channel(name)

    def listen(self, channel: str, event: str, fn: Handler) -> EchoChannel[ChannelT]:
        """Subscribe to a public channel, and call `fn(event)` for an event of it."""
        return self.channel(channel).listen(event, fn)

    @property
    def socket_id(self) -> str | None:
        """The socket id of the current connection, or None."""
        return self.client.socket_id

    @property
    def connection_status(self) -> str:
        """The state as in Echo: "connected", "connecting", "reconnecting", "disconnected" or "failed"."""
        state = self.client.state
        if state in (ConnectionState.CONNECTING, ConnectionState.UNAVAILABLE):
            return "reconnecting" if self.client.stats.connections else "connecting"
        if state is ConnectionState.INITIALIZED:
            return "disconnected"
        return str(state)

    def headers(self) -> dict[str, str]:
        """Return headers for requests to Laravel, so that `toOthers()` excludes this client; {} while offline."""
        socket_id = self.client.socket_id
        return {} if socket_id is None else {"X-Socket-ID": socket_id}


Token = str | Callable[[], str | Awaitable[str]]
Cookies = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]


def bearer_auth(
    app_url: str, token: Token, *, path: str = "/broadcasting/auth", **more: Any
) -> AuthEndpoint:
    """Return the auth endpoint of a Laravel application that authenticates by a bearer token (Sanctum, Passport).

    `token` is a str, or a function that is called for each request, so that the token can change; in the async client
    it may be a coroutine function. `app_url` is the URL of the application, such as "https://example.com"; `path` is
    often "/api/broadcasting/auth". `more` are arguments of `AuthEndpoint`, for example `refresh` to renew a refused
    token.
    """

    def headers(token: str) -> dict[str, str]:
        check_secret(token, "the bearer token")
        return {"Authorization": f"Bearer {token}"}

    return _endpoint(app_url, path, headers, [token], more)


def session_auth(
    app_url: str,
    cookies: Cookies,
    *,
    path: str = "/broadcasting/auth",
    csrf_token: Token | None = None,
    **more: Any,
) -> AuthEndpoint:
    """Return the auth endpoint of a Laravel application that authenticates by the cookies of a logged-in user.

    `cookies` is a mapping, or a function that is called for each request, which in the async client may be a coroutine
    function. The cookie XSRF-TOKEN is sent as X-XSRF-TOKEN, and `csrf_token`, from a page, as X-CSRF-TOKEN. The Origin
    is that of the application, as Sanctum requires.
    """

    def headers(jar: Mapping[str, str], csrf: str | None) -> dict[str, str]:
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
        if "XSRF-TOKEN" in jar:
            sent["X-XSRF-TOKEN"] = unquote(jar["XSRF-TOKEN"])
        if csrf is not None:
            check_secret(csrf, "the CSRF token")
            sent["X-CSRF-TOKEN"] = csrf
        return sent | {"Origin": app_url.rstrip("/"), "X-Requested-With": "XMLHttpRequest"}

    return _endpoint(app_url, path, headers, [cookies, csrf_token], more)


def _endpoint(
    app_url: str,
    path: str,
    headers: Callable[..., dict[str, str]],
    sources: list[Any],
    more: dict[str, Any],
) -> AuthEndpoint:
    url = app_url.rstrip("/")

    def all_headers(*values: Any) -> dict[str, str]:
        *own, further = values
        return {"Accept": "application/json", **headers(*own), **further}

    given = _from_current(all_headers, [*sources, more.pop("headers", {})])
    more.setdefault("user_url", f"{url}{path.removesuffix('/auth')}/user-auth")
    return AuthEndpoint(f"{url}{path}", headers=given, hints=_HINTS, **more)


def _from_current(make: Callable[..., dict[str, str]], sources: list[Any]) -> Any:
    """Return `make(*sources)`, or a function that calls `make` with the results of sources that are functions.

    It is a coroutine function if one of the sources is.
    """
    if not any(callable(source) for source in sources):
        return make(*sources)

    def current() -> list[Any]:
        return [source() if callable(source) else source for source in sources]

    async def awaited(values: list[Any]) -> dict[str, str]:
        return make(*[await value if inspect.isawaitable(value) else value for value in values])

    async def later() -> dict[str, str]:
        return await awaited(current())

    def now() -> object:
        values = current()
        return awaited(values) if any(map(inspect.isawaitable, values)) else make(*values)

    return later if any(map(inspect.iscoroutinefunction, sources)) else now
