"""The events that an application receives. They are immutable.

Several events have a name for selectors (see `WIRE_NAMES`): `bind("pusher:member_added", ...)` is the same as
`bind(MemberAdded, ...)`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct

from ._wire.envelope import NotSent, Shallow, loads_shallow, text_of, value_of
from .errors import DataError, PusherError, SubscriptionError, excerpt
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
    "Message",
    "ProtocolMessage",
    "ProtocolViolation",
    "ReadingPaused",
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
"""The scope of messages for the signed-in user."""

SMALL = 64
"""The bytes that an event other than a message counts for in `Options.receive_buffer`."""

_ENVELOPE = len('{"event":"","channel":"","data":""}')


class ConnectionState(StrEnum):
    """The state of the connection for the application. The values are those of pusher-js."""

    INITIALIZED = "initialized"
    """`connect` has not been called."""
    CONNECTING = "connecting"
    """An attempt is in progress, or the next one is scheduled."""
    CONNECTED = "connected"
    """The server has sent its greeting; events are received."""
    UNAVAILABLE = "unavailable"
    """Trying to connect for longer than `Options.unavailable_after`."""
    FAILED = "failed"
    """A failure was final. `connect()` starts again."""
    DISCONNECTED = "disconnected"
    """After `disconnect()` or `close()`."""


class Event(Struct, frozen=True):
    """The base class of all events."""


class StateChanged(Event, frozen=True):
    """The state of the connection changed. The new state is set before this event is emitted."""

    previous: ConnectionState
    """The state before."""
    current: ConnectionState
    """The state now."""
    reason: str = ""
    """Why it changed, or ""."""


class ConnectionEstablished(Event, frozen=True):
    """The client is connected, with a new socket id."""

    socket_id: str
    """The id that the server gave to the connection."""
    offline_for: float | None = None
    """Seconds since the last connection was lost: events since then were missed. None for the first connection."""


class ConnectionLost(Event, frozen=True, eq=False):
    """The connection ended, or an attempt to connect failed.

    Two are equal if code, reason and `will_retry` are equal.
    """

    code: int | None
    """The WebSocket close code, the HTTP status of a refused upgrade, or the code of an error before an end without a
    close frame; 1006 for an end without any of these; None when there was no connection."""
    reason: str
    """The reason, as the server or the operating system gave it."""
    will_retry: bool
    """Whether the client tries again."""
    retry_in: float | None = None
    """Seconds until the next attempt, or None when none follows."""
    error: BaseException | None = None
    """The error of the system, with its traceback; a `ConnectionEnded` when the server ended the connection."""
    hint: str = ""
    """Advice for the user, or an empty string."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConnectionLost):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[int | None, str, bool]:
        return self.code, self.reason, self.will_retry


class RetryScheduled(Event, frozen=True):
    """The next attempt to connect is scheduled."""

    attempt: int
    """The number of the next attempt since the last stable connection, from 1."""
    delay: float
    """Seconds until it starts."""


class ServerError(Event, frozen=True):
    """The server sent a `pusher:error`. It does not end the connection by itself."""

    code: int | None
    """The error code, or None."""
    message: str
    """The server's text, cut to 128 characters."""
    channel: str | None = None
    """The channel that the error is about, if that is known."""


class Subscribed(Event, frozen=True):
    """The server confirmed a subscription."""

    channel: str
    """The name of the channel."""
    offline_for: float | None = None
    """Seconds since the subscription was lost: events since then were missed. None for the first subscription.

    Messages that the server sends before it confirms are emitted after this event, as the gap is before them.
    """


class SubscriptionFailed(Event, frozen=True):
    """A subscription failed: it was refused, or not answered in time. Other channels are not affected."""

    channel: str
    """The name of the channel."""
    error: SubscriptionError
    """`AuthorizationError` when the authorization failed, else `SubscriptionError`."""
    retry_in: float | None = None
    """Seconds until the next attempt; None: at the next connection."""


class Unsubscribed(Event, frozen=True):
    """The channel was unsubscribed by `unsubscribe`."""

    channel: str
    """The name of the channel."""


class SubscriptionCount(Event, frozen=True):
    """The server reported the number of connections that are subscribed to the channel."""

    channel: str
    """The name of the channel."""
    count: int
    """The number of subscribed connections of all clients."""


class CacheMiss(Event, frozen=True):
    """The cache channel has no cached event."""

    channel: str
    """The name of the channel."""


class MemberAdded(Event, frozen=True):
    """A member joined."""

    channel: str
    """The name of the channel."""
    member: Member
    """The new member."""


class MemberUpdated(Event, frozen=True):
    """The info of a member changed."""

    channel: str
    """The name of the channel."""
    member: Member
    """The member after the change."""
    previous: Member
    """The member before the change."""


class MemberRemoved(Event, frozen=True):
    """A member left."""

    channel: str
    """The name of the channel."""
    member: Member
    """The member that left, with its last known info."""


class ChannelEvent(
    Event,
    frozen=True,
    eq=False,
    gc=False,
    forbid_unknown_fields=True,
    rename={"name": "event", "wire_data": "data"},
):
    """A message on a channel.

    msgspec decodes nearly every message to it in one step. So the fields have the names of the wire, and a message with
    further keys or deeply nested data does not match.
    """

    channel: str
    """The name of the channel."""
    name: str
    """The name of the event."""
    if TYPE_CHECKING:
        wire_data: Any = None
        """The data in the message: nearly always a string, which usually contains JSON."""
    else:
        wire_data: Shallow = None
    user_id: str | None = None
    """The user id of the sender of a client event on a presence channel, or None. Pusher and Soketi set it, and Reverb
    when it accepts client events from members only; on other servers the sender itself sets it."""
    if TYPE_CHECKING:
        extra: dict[str, Any] | None = None
        """Further keys of the message, from servers that extend protocol 7."""
        cached: bool = False
        """Whether this is the cached event that a cache channel sends first; on Reverb it can be a client event."""
        _data: Any = UNSET
        caught_up: bool = False
        """Whether the application fetched this event (`subscribe(catch_up=...)`)."""
    else:
        extra: NotSent = None
        cached: NotSent = False
        _data: NotSent = UNSET
        caught_up: NotSent = False

    @property
    def raw_data(self) -> str:
        """The data as text: the received string, or another value encoded as JSON."""
        data = self.wire_data
        return data if type(data) is str else text_of(data)

    @property
    def data(self) -> Any:
        """The data, decoded on first use. Text that is not JSON is returned unchanged."""
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
        """Return the data decoded as `type`, which msgspec has to support. Raises `DataError` if it does not match."""
        return decode_as(self, msgspec.json.Decoder(type))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChannelEvent):
            return NotImplemented
        return self._key() == other._key()

    def __ne__(self, other: object) -> bool:  # Struct's own compares all fields
        return not self == other

    def __hash__(self) -> int:
        return hash((self.channel, self.name))

    def _key(self) -> tuple[Any, ...]:
        fields = self.channel, self.name, self.wire_data, self.user_id, self.extra
        return scope_of(self), *fields, self.cached, self.caught_up

    def __repr__(self) -> str:
        user = f", user_id={self.user_id!r}" if self.user_id is not None else ""
        return (
            f"{type(self).__name__}(channel={self.channel!r}, name={self.name!r}, "
            f"data={excerpt(self.raw_data, 64)!r}{user})"
        )


class UserEvent(ChannelEvent, frozen=True, eq=False, gc=False):
    """A message for the signed-in user."""


def scope_of(event: Event) -> str | None:
    """Return the scope of `event`: the name of a channel, `USER_SCOPE`, or None for the client's own events."""
    return USER_SCOPE if isinstance(event, UserEvent) else getattr(event, "channel", None)


def size_of(event: Event) -> int:
    """Return how many bytes `event` counts for in `Options.receive_buffer`: at most its size on the wire."""
    if isinstance(event, ChannelEvent):
        return _ENVELOPE + len(event.channel) + len(event.name) + _bytes_of(event.raw_data)
    if isinstance(event, Message):
        return _ENVELOPE + _bytes_of(event.raw)
    return SMALL


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class TypedEvent(ChannelEvent, Generic[T], frozen=True, eq=False, gc=False):
    """A message whose data was decoded to a type, as `events(type=...)` yields it."""

    @property
    def data(self) -> T:
        """The data, as an instance of the requested type."""
        value: T = self._data
        return value


class Message(Event, frozen=True):
    """A message of the server as it was received, of any kind. It is emitted before the event for the same message.

    Only this class selects it: `client.events(Message)`, `client.bind(Message, fn)`. Without such a consumer it is not
    emitted.
    """

    event: str
    """The name of the event."""
    channel: str | None = None
    """The name of the channel; None for messages about the connection."""
    data: Any = None
    """The data in the message: usually text that contains JSON."""
    user_id: str | None = None
    """The user id of the sender of a client event, if the server sends it."""
    extra: dict[str, Any] | None = None
    """Further keys of the message."""
    raw: str = ""
    """The whole text."""


class ProtocolMessage(Message, frozen=True):
    """A message as it was received that is not an event on a channel: its name begins with `pusher:` or
    `pusher_internal:`, or it names no channel.

    `Message` selects these messages too. A consumer of this class alone adds 0.05 µs to each event on a channel.
    """


class DecryptionFailed(Event, frozen=True):
    """A message of an encrypted channel could not be decrypted and was dropped."""

    channel: str
    """The name of the channel."""
    name: str
    """The name of the event."""
    error: PusherError
    """Why its data could not be decrypted."""


class SignedIn(Event, frozen=True):
    """The server accepted the user."""

    user_id: str
    """The id of the user."""
    user_data: Any = None
    """The user's data, decoded."""


class SignInFailed(Event, frozen=True):
    """Signing in failed."""

    error: PusherError
    """Why it failed. Its `__cause__` is the `AuthorizationError` when the authorization failed."""
    retry_in: float | None = None
    """Seconds until the next attempt on this connection; None: at the next connection or the next `signin`."""


class WatchlistOnline(Event, frozen=True):
    """Users of the watchlist came online."""

    user_ids: tuple[str, ...]
    """The ids of these users."""


class WatchlistOffline(Event, frozen=True):
    """Users of the watchlist went offline."""

    user_ids: tuple[str, ...]
    """The ids of these users."""


class EventsDropped(Event, frozen=True):
    """A stream or binding dropped `count` events in one episode, because it was not read fast enough."""

    channel: str | None
    """The channel of the stream; None for a stream of all channels."""
    count: int
    """How many events were dropped."""


class ReadingPaused(Event, frozen=True):
    """Reading was paused for more than a second, because `Options.receive_buffer` was full, and was resumed.

    It is emitted between the events before and after the pause. Soketi and Sockudo silently drop messages that a client
    does not read for seconds: treat this event like a lost connection, for all channels. Reverb sends them later.
    """

    seconds: float
    """The duration of the pause."""


class ProtocolViolation(Event, frozen=True):
    """The server sent a message that the protocol does not allow. The connection is kept."""

    reason: str
    """A description of the error in the message."""
    excerpt: str = ""
    """The start of the message, at most 128 characters."""


class Closed(Event, frozen=True):
    """The session was closed. It is the last event."""


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
    "connecting_in": RetryScheduled,
    "online": WatchlistOnline,
    "offline": WatchlistOffline,
}
"""The names of these events in other clients. Selectors accept them."""


def decode_as(event: ChannelEvent, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the data of `event`, decoded by `decoder`. Raises `DataError` with channel, event and path."""
    try:
        return decoder.decode(event.raw_data or "null")
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"the data of {excerpt(event.name, 64)!r} on {excerpt(event.channel, 64)!r} does not match the type: "
            f"{excerpt(str(error))}"
        ) from error
