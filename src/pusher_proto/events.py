"""What the application receives: frozen, complete when built, named in the past tense.

Each event has a name for selectors (`WIRE_NAMES` tells which), so that `bind("pusher:member_added", ...)` and
`bind(MemberAdded, ...)` mean the same.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct

from ._wire.envelope import NotSent, Shallow, loads_shallow, text_of, value_of
from .errors import DataError, PusherError, excerpt
from .members import Member

__all__ = [
    "CacheMiss",
    "ChannelEvent",
    "Closed",
    "ConnectionEstablished",
    "ConnectionLost",
    "ConnectionState",
    "DecryptionFailed",
    "Event",
    "EventsDropped",
    "MemberAdded",
    "MemberRemoved",
    "MemberUpdated",
    "ProtocolViolation",
    "RetryScheduled",
    "ServerError",
    "SignInFailed",
    "SignedIn",
    "StateChanged",
    "Subscribed",
    "SubscriptionCount",
    "SubscriptionFailed",
    "TypedEvent",
    "Unsubscribed",
    "UserEvent",
    "WatchlistOffline",
    "WatchlistOnline",
]

T = TypeVar("T")

_set = msgspec.structs.force_setattr

USER_SCOPE = "#server-to-user"
"""The scope of messages for the user, whoever that is."""


class ConnectionState(StrEnum):
    """The state of the connection as an application sees it (the names of the reference client)."""

    INITIALIZED = "initialized"
    CONNECTING = "connecting"
    """On the way, or waiting to try again."""
    CONNECTED = "connected"
    UNAVAILABLE = "unavailable"
    """Still trying, for longer than `Options.unavailable_after`."""
    FAILED = "failed"
    """The server refused for good; `connect()` tries once more."""
    DISCONNECTED = "disconnected"
    """By `disconnect()` or `close()`."""


class Event(Struct, frozen=True):
    """The root of all events."""


class StateChanged(Event, frozen=True):
    """The connection's state changed; the session was in `current` before anybody was told."""

    previous: ConnectionState
    current: ConnectionState
    reason: str = ""


class ConnectionEstablished(Event, frozen=True):
    """Connected, with a new socket id."""

    socket_id: str
    offline_for: float | None = None
    """Seconds since the connection before this one was lost: events of that time were missed. None at first."""


class ConnectionLost(Event, frozen=True):
    """The connection ended, or an attempt to get one did."""

    code: int | None
    """The WebSocket close code, the HTTP status of a refused upgrade, or the code of the error before a bare
    end; 1006 for an end without any of these; None where nothing was connected."""
    reason: str
    will_retry: bool


class RetryScheduled(Event, frozen=True):
    """The next attempt follows after `delay` seconds; `attempt` is its number since the last stable connection."""

    attempt: int
    delay: float


class ServerError(Event, frozen=True):
    """A `pusher:error` of the server. By itself it ends nothing."""

    code: int | None
    message: str
    channel: str | None = None
    """The channel that it is about, as far as that can be told."""


class Subscribed(Event, frozen=True):
    """The server confirmed a subscription."""

    channel: str
    offline_for: float | None = None
    """Seconds since this channel was subscribed before: what was published meanwhile was missed. None at first."""


class SubscriptionFailed(Event, frozen=True):
    """A channel was refused, or not answered in time. Others are not affected."""

    channel: str
    error: PusherError
    """`AuthorizationError` when no authorization was got, else `SubscriptionError`."""
    retry_in: float | None = None
    """Seconds until the channel is tried anew, when what failed may mend itself; None: at the next connection."""


class Unsubscribed(Event, frozen=True):
    """The channel was left, by `unsubscribe`."""

    channel: str


class SubscriptionCount(Event, frozen=True):
    """How many connections are subscribed to the channel, as the server told."""

    channel: str
    count: int


class CacheMiss(Event, frozen=True):
    """A cache channel has no event to begin with."""

    channel: str


class MemberAdded(Event, frozen=True):
    """A member joined."""

    channel: str
    member: Member


class MemberUpdated(Event, frozen=True):
    """A member who was there already was announced again, with other info."""

    channel: str
    member: Member
    previous: Member


class MemberRemoved(Event, frozen=True):
    """A member left; `member` has the info last known."""

    channel: str
    member: Member


class ChannelEvent(
    Event,
    frozen=True,
    eq=False,
    gc=False,
    forbid_unknown_fields=True,
    rename={"name": "event", "wire_data": "data"},
):
    """A message on a channel.

    It is what nearly every message is decoded to, in one step: hence the names of the wire, and that a key which is not
    here, or data nested deeply, does not fit.
    """

    channel: str
    name: str
    if TYPE_CHECKING:
        wire_data: Any = None
    else:
        wire_data: Shallow = None
    """The data as decoded with the envelope: nearly always a string, which mostly holds JSON."""
    user_id: str | None = None
    """Who sent a client event on a presence channel, as the server asserts."""
    if TYPE_CHECKING:
        extra: dict[str, Any] | None = None
        """Further keys of the message, of servers that have more than protocol 7."""
        cached: bool = False
        """Whether a cache channel gave its last event to begin with."""
        _data: Any = UNSET
    else:
        extra: NotSent = None
        cached: NotSent = False
        _data: NotSent = UNSET

    @property
    def raw_data(self) -> str:
        """The data as text: what came, when a string came; other values as JSON."""
        data = self.wire_data
        return data if type(data) is str else text_of(data)

    @property
    def data(self) -> Any:
        """The data, decoded once, on first use. Text that is not JSON stays text."""
        data = self._data
        if data is UNSET:
            data = self.wire_data
            if type(data) is str:
                try:  # `value_of` without the call
                    data = loads_shallow(data)
                except (ValueError, RecursionError):
                    data = value_of(data)
            _set(self, "_data", data)
        return data

    def decode(self, type: type[T]) -> T:  # noqa: A002 - the word of msgspec, and of `events(type=...)`
        """Return the data as `type`: anything msgspec knows. Raises `DataError` when it does not fit."""
        return decode_as(self, msgspec.json.Decoder(type))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChannelEvent):
            return NotImplemented
        return self._key() == other._key()

    def __ne__(self, other: object) -> bool:  # or it would be the one of Struct, which looks at all
        return not self == other

    def __hash__(self) -> int:
        return hash((self.channel, self.name))

    def _key(self) -> tuple[Any, ...]:
        fields = self.channel, self.name, self.wire_data, self.user_id, self.extra, self.cached
        return scope_of(self), *fields

    def __repr__(self) -> str:
        user = f", user_id={self.user_id!r}" if self.user_id is not None else ""
        return (
            f"{type(self).__name__}(channel={self.channel!r}, name={self.name!r}, "
            f"data={excerpt(self.raw_data, 64)!r}{user})"
        )


class UserEvent(ChannelEvent, frozen=True, eq=False, gc=False):
    """A message for the signed-in user alone."""


def scope_of(event: Event) -> str | None:
    """Return whose event it is: a channel's name, `USER_SCOPE`, or None for the client's own."""
    return USER_SCOPE if isinstance(event, UserEvent) else getattr(event, "channel", None)


class TypedEvent(ChannelEvent, Generic[T], frozen=True, eq=False, gc=False):
    """A message whose data was decoded to a type: what `events(type=...)` gives."""

    @property
    def data(self) -> T:
        """The data, as the type that was asked for."""
        value: T = self._data
        return value


class DecryptionFailed(Event, frozen=True):
    """A message of an encrypted channel could not be opened and was dropped."""

    channel: str
    name: str
    error: PusherError


class SignedIn(Event, frozen=True):
    """The server accepted the user."""

    user_id: str
    user_data: Any = None


class SignInFailed(Event, frozen=True):
    """Signing in failed."""

    error: PusherError
    retry_in: float | None = None
    """Seconds until the next try on this connection; None: at the next connection, or when `signin` is called again."""


class WatchlistOnline(Event, frozen=True):
    """Users of the watchlist came online."""

    user_ids: tuple[str, ...]


class WatchlistOffline(Event, frozen=True):
    """Users of the watchlist went offline."""

    user_ids: tuple[str, ...]


class EventsDropped(Event, frozen=True):
    """A stream or binding dropped `count` events in one episode, because it was not read fast enough."""

    channel: str | None
    count: int


class ProtocolViolation(Event, frozen=True):
    """The server sent what the protocol does not allow. The connection is kept."""

    reason: str
    excerpt: str = ""
    """The start of the message, at most 128 characters."""


class Closed(Event, frozen=True):
    """The session was closed; nothing follows."""


WIRE_NAMES: dict[str, type[Event]] = {
    "pusher:connection_established": ConnectionEstablished,
    "pusher:error": ServerError,
    "pusher:subscription_succeeded": Subscribed,
    "pusher:subscription_error": SubscriptionFailed,
    "pusher:subscription_count": SubscriptionCount,
    "pusher:cache_miss": CacheMiss,
    "pusher:member_added": MemberAdded,
    "pusher:member_updated": MemberUpdated,
    "pusher:member_removed": MemberRemoved,
    "pusher:signin_success": SignedIn,
    "pusher:signin_error": SignInFailed,
    "state_change": StateChanged,
    "online": WatchlistOnline,
    "offline": WatchlistOffline,
}
"""The names under which other clients hand out these events."""


def decode_as(event: ChannelEvent, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the data of `event` by `decoder`. Raises `DataError` naming channel, event and path."""
    try:
        return decoder.decode(event.raw_data or "null")
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"the data of {excerpt(event.name, 64)!r} on {excerpt(event.channel, 64)!r} does not fit: "
            f"{excerpt(str(error))}"
        ) from error
