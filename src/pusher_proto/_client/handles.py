"""The handle of a channel: what can be asked of a channel or a client without waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from .._channels.channel import ChannelSnapshot
from .._channels.user import UserSnapshot
from ..errors import PusherError
from ..events import USER_SCOPE
from ..members import Member, Members
from ..names import ChannelKind, kind_of
from ..states import ChannelState, UserState
from .consumers import PENDING, BindingBase, Pending
from .streams import Selector

if TYPE_CHECKING:
    from ..client import ClientBase

__all__ = ["ChannelBase", "SourceBase", "UserBase", "Watchlist"]

Handler = TypeVar("Handler", bound=Callable[..., object])


class SourceBase:
    """Where events come from: a channel, or the client with all its channels."""

    _client: ClientBase[Any, Any]
    _scope: str | None
    """The channel's name; None for the client."""

    @overload
    def bind(self, selector: Selector, fn: Callable[..., object]) -> BindingBase: ...
    @overload
    def bind(self, selector: Selector = None, fn: None = None) -> Callable[[Handler], Handler]: ...
    def bind(self, selector: Selector = None, fn: Any = None) -> Any:
        """Call `fn(event)` for each event that `selector` means, of this channel or, on the client, of all.

        Without `fn`: a decorator. With it: returns a `Binding`, whose `cancel()` ends it. Events come to one handler
        in order and one at a time; an exception is logged and the next event still comes.
        """
        return self._client._bind(self._scope, selector, fn)


class ChannelBase(SourceBase):
    """The handle of one channel: the same object for the same name, across unsubscribing and reconnecting."""

    def __init__(self, client: ClientBase[Any, Any], name: str) -> None:
        self._client = client
        self._name = name
        self._scope = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r} {self.state.name}>"

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._name

    @property
    def kind(self) -> ChannelKind:
        """What the name makes of it."""
        return kind_of(self._name)

    @property
    def state(self) -> ChannelState:
        """Where the subscription is."""
        return self._snapshot.state

    @property
    def last_error(self) -> PusherError | None:
        """Why the channel was refused last; None once it is subscribed."""
        return self._snapshot.last_error

    @property
    def subscription_count(self) -> int | None:
        """How many connections are subscribed, as the server told last; None when it never did."""
        return self._snapshot.subscription_count

    @property
    def members(self) -> Members:
        """Who is on this presence channel, by id; nobody while it is not subscribed. It never changes in your hands."""
        return self._snapshot.members

    @property
    def me(self) -> Member | None:
        """This client's own member of the presence channel, or None while it is not subscribed."""
        return self._snapshot.me

    @property
    def server_count(self) -> int | None:
        """The number of members that the server gave with the roster, where it gave one."""
        return self._snapshot.server_count

    def trigger(self, event: str, data: Any) -> None:
        """Send a client event to the other subscribers.

        `event` starts with `client-`, `data` is anything that JSON can hold. Raises `InvalidName`, `NotSubscribed`,
        `UnsupportedFeature` for a channel that is neither private nor presence, `OutboxFull` when the network does not
        take what was sent before, `LocalProtocolError` for data that is too large, and `ClientClosed`.
        """
        client = self._client
        with client._guard:
            client._check_open()
            client._session.trigger(self._name, event, data, now=client._now())
            client._changed()

    def refresh_members(self) -> None:
        """Leave this presence channel and join it again, which gives a new list of members.

        For clusters whose nodes can lose joins and leaves; `client.stats.roster_drifts` is a hint. The differences are
        emitted as `MemberAdded`, `MemberUpdated` and `MemberRemoved`. Others see a leave and a join, and events between
        the two are missed, as `Subscribed.offline_for` says. Raises `UnsupportedFeature` for another kind of channel,
        `NotSubscribed`, and `ClientClosed`.
        """
        client = self._client
        with client._guard:
            client._check_open()
            client._session.refresh_members(self._name, now=client._now())
            client._changed()

    def unsubscribe(self) -> None:
        """Leave the channel. Its streams and handlers are silent until it is subscribed again."""
        self._client.unsubscribe(self._name)

    def _leave(self) -> None:
        """Unsubscribe on the way out of a block, where a client that is closed already is no error."""
        with self._client._guard:
            if not self._client._session.closed:
                self._client.unsubscribe(self._name)

    @property
    def _snapshot(self) -> ChannelSnapshot:
        with self._client._guard:
            return self._client._session.channel(self._name)

    def _check_subscribed(self) -> Self | Pending:
        client = self._client
        if client._session.channel(self._name).state is ChannelState.SUBSCRIBED:
            return self
        client._check_channel(self._name)
        return PENDING


class UserBase(SourceBase):
    """The user who signs in: what is known of it, and the messages for it alone."""

    def __init__(self, client: ClientBase[Any, Any]) -> None:
        self._client = client
        self._scope = USER_SCOPE

    @property
    def id(self) -> str | None:
        """The id of the user who is signed in, or None."""
        return self._snapshot.id

    @property
    def data(self) -> Any:
        """The data of the user as it was signed, or None."""
        return self._snapshot.data

    @property
    def state(self) -> UserState:
        """Where the sign-in is."""
        return self._snapshot.state

    @property
    def last_error(self) -> PusherError | None:
        """Why the last sign-in failed; None once one succeeded."""
        return self._snapshot.last_error

    @property
    def _snapshot(self) -> UserSnapshot:
        with self._client._guard:
            return self._client._session.user


class Watchlist:
    """The users whom the signed-in user watches (`client.bind(WatchlistOnline, ...)` tells of changes)."""

    def __init__(self, client: ClientBase[Any, Any]) -> None:
        self._client = client

    @property
    def online(self) -> frozenset[str]:
        """The ids of those who are online now, as far as the server told."""
        with self._client._guard:
            return self._client._session.user.online
