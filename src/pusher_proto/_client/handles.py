"""Handles of channels and of the user: the part without waiting."""

from __future__ import annotations

from collections.abc import Callable
from re import Pattern
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar, overload

import msgspec

from .._base.checks import IN_BLOCKING, check_handler, check_plain
from .._channels.channel import ChannelSnapshot
from .._channels.user import UserSnapshot
from ..auth import Auth
from ..errors import DataError, PusherError, excerpt
from ..events import USER_SCOPE, Event
from ..gaps import CatchUp, EventKey, Fetch
from ..members import Member, Members
from ..names import ChannelKind, kind_of
from ..options import DecryptedText
from ..outbox import Keep, Outbox
from ..states import ChannelState, UserState
from .bindings import BindingBase
from .host import Host
from .selectors import Choice, Selector
from .streams import Wait

__all__ = ["Arguments", "ChannelBase", "NotAClass", "SourceBase", "UserBase", "Watchlist"]

T = TypeVar("T")
E = TypeVar("E", bound=Event)
Handler = TypeVar("Handler", bound=Callable[..., object])
BindingT_co = TypeVar("BindingT_co", bound=BindingBase, covariant=True)

NotAClass = (
    str
    | Pattern[str]
    | Callable[[Any], bool]
    | tuple[str | type[Event] | Pattern[str] | Callable[[Any], bool], ...]
    | None
)
"""A selector that is not a single class."""


class Arguments(NamedTuple):
    """The arguments of `subscribe` that are kept for the life of a handle."""

    auth: Auth | None = None
    decrypted_text: DecryptedText | None = None
    catch_up: CatchUp | None = None


NO_ARGUMENTS = Arguments()


class _Client(Protocol):
    """The commands of a client that its handles call."""

    def subscribe(
        self,
        channel: str,
        *,
        auth: Auth | None,
        decrypted_text: DecryptedText | None,
        catch_up: Fetch | None,
        key: EventKey | None,
    ) -> object: ...

    def unsubscribe(self, channel: str) -> None: ...


class SourceBase(Generic[BindingT_co]):
    """A source of events: a channel, or the client with all its channels."""

    _host: Host
    _scope: str | None
    """The channel's name; None for the client."""
    _binding_class: type[BindingT_co]

    @overload
    def bind(
        self, selector: type[E], fn: Callable[[E], object], *, once: bool = False
    ) -> BindingT_co: ...
    @overload
    def bind(
        self, selector: NotAClass, fn: Callable[..., object], *, once: bool = False
    ) -> BindingT_co: ...
    @overload
    def bind(
        self, selector: Selector = None, fn: None = None, *, once: bool = False
    ) -> Callable[[Handler], Handler]: ...
    def bind(self, selector: Selector = None, fn: Any = None, *, once: bool = False) -> Any:
        """Call `fn(event)` for each event of this channel that `selector` selects; on the client, of all channels.

        Returns a `Binding`, whose `cancel()` unbinds the handler; without `fn`, a decorator. A handler gets events in
        order and one at a time; an exception is logged, and the handler is called for the next event. With `once` it
        is called for the first event only.
        """
        if fn is None:

            def decorate(handler: Handler) -> Handler:
                self._bind(selector, handler, once)
                return handler

            return decorate
        return self._bind(selector, fn, once)

    def unbind(self, selector: Selector = None, fn: Callable[..., object] | None = None) -> None:
        """Unbind the handlers of this source that have this selector and this function; None means any."""
        choice = None if selector is None else Choice(selector, self._scope)
        with self._host.guard:
            self._host.driver.here()
            for binding in self._host.bindings.find(self._scope, choice, fn):
                binding.cancel()

    def _bind(self, selector: Selector, fn: Any, once: bool) -> BindingT_co:
        """Bind a handler. Raises TypeError if `fn` is not a function, or async in blocking code."""
        check_handler(fn)
        if not self._binding_class.awaits:
            check_plain(fn, "a handler", IN_BLOCKING)
        host = self._host
        choice = Choice(selector, self._scope)
        with host.guard:
            host.checks.open()
            binding = self._binding_class(host, choice, fn, once=once)
            host.bindings.add(binding)
            host.delivery.add(binding)
            return binding

    def _begin_wait(
        self, selector: Selector, predicate: Callable[[Any], bool] | None, who: object, fresh: bool
    ) -> Wait:
        return Wait(self._host, Choice(selector, self._scope), predicate, who=who, fresh=fresh)


class ChannelBase(SourceBase[BindingT_co]):
    """The handle of one channel: the same object for the same name, even after `unsubscribe` and reconnects."""

    _scope: str
    _outbox: Outbox | None = None
    """Set by `outbox` only, to save memory: there may be thousands of handles."""

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._scope = name
        self._subscribed_with = NO_ARGUMENTS
        """The arguments of `subscribe`, which the client keeps for the life of the handle."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._scope!r} {self.state.name}>"

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._scope

    @property
    def kind(self) -> ChannelKind:
        """The kind of the channel, from the prefix of its name."""
        return kind_of(self._scope)

    @property
    def state(self) -> ChannelState:
        """The state of the subscription."""
        return self._snapshot.state

    @property
    def last_error(self) -> PusherError | None:
        """Why the last subscribe failed; None when it succeeded."""
        return self._snapshot.last_error

    @property
    def subscription_count(self) -> int | None:
        """The last number of subscribed connections that the server reported, or None."""
        return self._snapshot.subscription_count

    @property
    def members(self) -> Members:
        """A snapshot of the members of this presence channel, by id; empty while it is not subscribed."""
        return self._snapshot.members

    @property
    def me(self) -> Member | None:
        """This client's own member of the presence channel, or None while it is not subscribed."""
        return self._snapshot.me

    @property
    def server_count(self) -> int | None:
        """The number of members that the server sent with the roster, or None."""
        return self._snapshot.server_count

    def trigger(self, event: str, data: Any, *, queue: bool | None = None) -> None:
        """Send a client event to the other subscribers.

        `event` starts with `client-`; `data` is any value that JSON can represent. With `queue=True` the event waits
        while the channel is not subscribed, and while `Options.client_event_rate` does not allow it. `outbox` changes
        the settings of the queue; after it was called, `queue=True` is the default.

        Raises `InvalidName`, `NotSubscribed` (with `queue` only if `subscribe` was not called), `UnsupportedFeature`
        for a channel that is neither private nor presence, `RateLimited`, `OutboxFull` when too much waits,
        `LocalProtocolError` for data that is too large, and `ClientClosed`. Then the event is neither sent nor queued.
        """
        waits = self._outbox is not None if queue is None else queue
        settings = (self._outbox or Outbox()) if waits else None
        self._host.command(self._host.session.trigger, self._scope, event, data, settings)

    def outbox(self, *, max_age: float | None = 60.0, keep: Keep = "all", limit: int = 100) -> Self:
        """Queue client events while the channel is not subscribed; return the handle.

        They are sent in order as soon as the channel is subscribed. An event older than `max_age` seconds is dropped
        and counted in `stats.client_events_dropped`; None means no limit. `keep="latest"` keeps only the latest event
        of each name: for positions and other values that replace each other. When `limit` events wait, `trigger` raises
        `OutboxFull`. `client.flush` waits until all events are sent. Events that wait when the channel is unsubscribed
        or the client is closed are dropped.

        The settings are kept for the life of the handle, and apply to later calls of `trigger`. Raises TypeError or
        ValueError for invalid settings.
        """
        settings = Outbox(max_age=max_age, keep=keep, limit=limit)
        with self._host.guard:
            self._host.driver.here()
            self._outbox = settings
        return self

    @property
    def waiting_events(self) -> int:
        """The number of client events that wait for the subscription or for `Options.client_event_rate`."""
        with self._host.guard:
            return self._host.session.client_events.waiting_on(self._scope)

    def refresh_members(self) -> None:
        """Unsubscribe from this presence channel and subscribe to it again, to get a new list of members.

        For clusters whose nodes can lose joins and leaves; an increase of `client.stats.roster_drifts` is a sign of
        that. The differences are emitted as `MemberAdded`, `MemberUpdated` and `MemberRemoved`. Other members see a
        leave and a join. Events between the two are missed; `Subscribed.offline_for` is the duration of this gap.
        Raises `UnsupportedFeature` for another kind of channel, `NotSubscribed`, and `ClientClosed`.
        """
        self._host.command(self._host.session.refresh_members, self._scope)

    def subscribe(
        self,
        *,
        auth: Auth | None = None,
        decrypted_text: DecryptedText | None = None,
        catch_up: Fetch | None = None,
        key: EventKey | None = None,
    ) -> Self:
        """Subscribe to the channel, as `client.subscribe` does, for example after `unsubscribe`; return the handle.

        Arguments of earlier calls are kept. With `catch_up` the events since `unsubscribe` are fetched.
        """
        self._commands.subscribe(
            self._scope, auth=auth, decrypted_text=decrypted_text, catch_up=catch_up, key=key
        )
        return self

    def resubscribe(self) -> Self:
        """Unsubscribe, if the channel is subscribed, and subscribe again; return the handle.

        Events between the two are missed, unless `catch_up` fetches them.
        """
        with self._host.guard:
            self._host.checks.open()
            self._host.command(self._host.session.unsubscribe, self._scope)
            return self.subscribe()

    def members_as(self, type: type[T]) -> dict[str, T]:  # noqa: A002 - the word of msgspec, as in `events`
        """Return the info of all members, converted to `type`, by the member's id. msgspec has to support the type.

        Raises `DataError`, which names the member whose info does not match the type.
        """
        return {user_id: self._info(member, type) for user_id, member in self.members.items()}

    def unsubscribe(self) -> None:
        """Unsubscribe from the channel. Its streams and handlers get no events until it is subscribed again."""
        self._commands.unsubscribe(self._scope)

    def _leave(self) -> None:
        """Unsubscribe at the end of a block, unless the client is closed."""
        with self._host.guard:
            if not self._host.session.closed:
                self._commands.unsubscribe(self._scope)

    def _info(self, member: Member, type: type[T]) -> T:  # noqa: A002 - as above
        try:
            return msgspec.convert(member.info, type, strict=False)
        except msgspec.ValidationError as error:
            raise DataError(
                f"the info of the member {excerpt(member.id, 64)!r} of {excerpt(self._scope, 64)!r} does not fit: "
                f"{excerpt(str(error))}"
            ) from error

    @property
    def _commands(self) -> _Client:
        commands: _Client = self._host.client
        return commands

    @property
    def _snapshot(self) -> ChannelSnapshot:
        with self._host.guard:
            return self._host.session.channel(self._scope)


class UserBase(SourceBase[BindingT_co]):
    """The handle of the user: the state of the sign-in, and the messages for this user."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._scope = USER_SCOPE

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r} {self.state.name}>"

    @property
    def id(self) -> str | None:
        """The id of the signed-in user, or None."""
        return self._snapshot.id

    @property
    def data(self) -> Any:
        """The data of the signed-in user, or None."""
        return self._snapshot.data

    @property
    def state(self) -> UserState:
        """The state of the sign-in."""
        return self._snapshot.state

    @property
    def last_error(self) -> PusherError | None:
        """Why the last sign-in failed; None when it succeeded."""
        return self._snapshot.last_error

    @property
    def _snapshot(self) -> UserSnapshot:
        with self._host.guard:
            return self._host.session.user


class Watchlist:
    """The watchlist of the signed-in user. Bind `WatchlistOnline` and `WatchlistOffline` to get changes."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def online(self) -> frozenset[str]:
        """The ids of the users on the watchlist that are online, as far as the server reported."""
        with self._host.guard:
            return self._host.session.user.online
