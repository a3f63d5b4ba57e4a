"""The state of one channel: its subscription, members and subscription count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from .._wire.secretbox import Key
from ..auth import Auth, AuthResponse
from ..errors import NotSubscribed, PusherError, excerpt
from ..events import ChannelEvent, DecryptionFailed
from ..members import Member, Members
from ..names import ChannelKind, is_cache, kind_of
from ..options import DecryptedText, with_names
from ..states import CHANNEL, ChannelInput, ChannelState, advance
from .early import EarlyMessages
from .roster import Roster

__all__ = ["Channel", "ChannelSnapshot", "MessageHolder", "check_subscribed"]

_NOBODY = Members()
_RECEIVING = frozenset((ChannelState.SUBSCRIBING, ChannelState.SUBSCRIBED, ChannelState.TIMED_OUT))


_NEVER = float("-inf")


class ChannelSnapshot(Struct, frozen=True):
    """The state of a channel at one moment."""

    name: str
    """The name of the channel."""
    kind: ChannelKind
    """Its kind, which the prefix of the name decides."""
    state: ChannelState
    """The state of its subscription."""
    last_error: PusherError | None = None
    """Why the last subscribe failed; None when it succeeded."""
    subscription_count: int | None = None
    """The last count that the server sent, or None."""
    members: Members = _NOBODY
    """The members of a presence channel; empty while it is not subscribed."""
    me: Member | None = None
    """This client's own member of a presence channel; None while it is not subscribed."""
    server_count: int | None = None
    """The number of members that the server sent with the roster; `members.count` is the current number."""
    retry_at: float | None = None
    """When the client subscribes to the channel again after a failure; None when that is not planned."""


def check_subscribed(channel: ChannelSnapshot) -> None:
    """Raise `NotSubscribed` unless the channel is subscribed."""
    if channel.state is not ChannelState.SUBSCRIBED:
        raise NotSubscribed(
            f"{excerpt(channel.name, 64)!r} is not subscribed ({channel.state.meaning}): call wait_subscribed() "
            "first"
        )


class MessageHolder(Protocol):
    """Fetches the missed events of one channel, and holds its live events until then."""

    def take(self, event: ChannelEvent | DecryptionFailed, now: float) -> None:
        """Deliver a message that was received, or hold it."""

    def confirmed(self, now: float) -> None:
        """Start to fetch: the server has confirmed the subscription."""

    def lost(self, since: float | None) -> None:
        """Hold the messages received from now on: messages since the time `since` are missing."""


class Channel:
    """The subscription of one channel, across connections. Sends nothing; no other class writes its fields."""

    __slots__ = (
        "_awaits_cached",
        "_caches",
        "_catching_up",
        "_plain",
        "auth",
        "auth_for",
        "decrypted_text",
        "encrypted",
        "failures",
        "held_authorization",
        "key",
        "key_asked_at",
        "kind",
        "last_error",
        "lost_at",
        "name",
        "passes",
        "receives",
        "request",
        "roster",
        "state",
        "subscribed_at",
        "subscription_count",
        "unopened",
    )

    def __init__(
        self,
        name: str,
        max_members: int,
        *,
        encrypted_caches: bool = True,
        was_left: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind = kind_of(name)
        self.auth: Auth | None = None
        self.auth_for: str | None = None
        """The socket id that `auth` is for, if it is an `AuthResponse` that was passed on a connection."""
        self.decrypted_text: Callable[[bytes, str, str], str] | None = None
        """Converts decrypted bytes to text; it replaces `Options.decrypted_text`."""
        self.state = ChannelState.UNSUBSCRIBED if was_left else ChannelState.IDLE
        self.receives = False
        """Whether messages are delivered: derived from the state, and stored as every message checks it."""
        self.passes = False
        """Whether messages are delivered unchanged: not decrypted, not marked as cached, not held."""
        self.request: int | None = None
        """The number of the pending authorization request."""
        self.failures = 0
        """Failures in a row that were followed by another attempt."""
        self.last_error: PusherError | None = None
        self.lost_at: float | None = None
        """When the connection on which it was subscribed last was lost."""
        self.subscribed_at: float | None = None
        """When the server last confirmed the subscription."""
        self.subscription_count: int | None = None
        self.roster = Roster(name, max_members) if kind is ChannelKind.PRESENCE else None
        self.key: Key | None = None
        self.key_asked_at = _NEVER
        """When a new key was last requested because the current one failed."""
        self.unopened = 0
        """Messages that could not be decrypted since `subscribe()`."""
        self.held_authorization: AuthResponse | None = None
        """A presence authorization without `channel_data`, kept until the sign-in has succeeded or failed."""
        self.encrypted = encrypted = kind is ChannelKind.ENCRYPTED
        """Whether messages of the channel are encrypted."""
        caches = is_cache(name)
        self._plain = not encrypted and not caches
        self._caches = caches and (encrypted_caches or not encrypted)
        self._awaits_cached = False
        self._catching_up: MessageHolder | None = None

    @property
    def good(self) -> bool:
        """Whether the subscription succeeded since `subscribe()`: then no failure is final."""
        return self.subscribed_at is not None

    def handle(self, given: ChannelInput) -> bool:
        """Advance the state by the table; return whether it changed."""
        before, catching_up = self.state, self._catching_up
        self.state = advance(CHANNEL, before, given)
        if self.state is before:
            return False
        self.receives = self.state in _RECEIVING
        self.passes = self.receives and self._passes_received
        if catching_up is not None and before is ChannelState.SUBSCRIBED:
            catching_up.lost(self.lost_at)  # which `lose` or `renew` has set
        self._awaits_cached = self._caches and self.state is ChannelState.SUBSCRIBED
        return True

    def want(
        self,
        auth: Auth | None,
        decrypted_text: DecryptedText | None = None,
        socket_id: str | None = None,
    ) -> None:
        """Handle `subscribe()` on this connection. Arguments that are None keep their values of an earlier call."""
        if auth is not None and auth is not self.auth:
            self.auth = auth
            self.auth_for = socket_id if isinstance(auth, AuthResponse) else None
        if decrypted_text is not None:
            self.decrypted_text = with_names(decrypted_text)
        self.handle(ChannelInput.WANT)

    def leave(self) -> ChannelState:
        """Handle `unsubscribe()`; return the state before it."""
        before = self.state
        self.handle(ChannelInput.LEAVE)
        return before

    def reset(self) -> None:
        """Forget the data of the subscription after `leave`. The channel may be subscribed again at once."""
        self.auth = self.decrypted_text = self.key = self.lost_at = self.held_authorization = None
        self.key_asked_at = _NEVER
        self.unopened = self.failures = 0
        self.subscribed_at = None
        if self.roster is not None:
            self.roster.forget()

    def requested(self, request: int | None) -> None:
        """Set the number of the pending authorization request, or None."""
        self.request = request

    def withdraw(self) -> None:
        """Forget the pending request for an authorization, and the authorization that is kept."""
        self.request = self.held_authorization = None

    def hold(self, authorization: AuthResponse) -> None:
        """Keep an authorization until the sign-in has succeeded or failed."""
        self.held_authorization = authorization

    def take_held(self) -> AuthResponse | None:
        """Return and forget the authorization that was kept for the sign-in."""
        held, self.held_authorization = self.held_authorization, None
        return held

    def use_key(self, key: Key | None) -> None:
        """Decrypt with `key` from now on; None forgets the key."""
        self.key = key

    def key_asked(self, now: float) -> None:
        """Record that a new key was requested because the current one failed."""
        self.key_asked_at = now

    def not_opened(self) -> int:
        """Count a message that could not be decrypted; return how many there are."""
        self.unopened += 1
        return self.unopened

    def lose(self, received_at: float) -> None:
        """Handle the loss of the connection, which received its last byte at `received_at`."""
        if self.lost_at is not None:
            # An unsubscribe was sent, to renew the subscription or before a reconnect, on a connection that was dead.
            self.lost_at = min(self.lost_at, received_at)
        elif self.state is ChannelState.SUBSCRIBED:
            self.lost_at = self.missing_since(received_at)
        self.handle(ChannelInput.LOSE)
        self.request = None
        if self.roster is not None:
            self.roster.clear()

    def succeed(self, now: float) -> float | None:
        """Handle a success; return for how many seconds the subscription was lost, None for the first one."""
        offline_for = None if self.lost_at is None else now - self.lost_at
        self.last_error = self.lost_at = None
        self.subscribed_at = now
        self.failures = 0
        if self._catching_up is not None:
            self._catching_up.confirmed(now)
        return offline_for

    def catch_up(self, catching_up: MessageHolder | None) -> None:
        """Pass the messages of the channel to `catching_up` from now on, or to the application if it is None."""
        self._catching_up = catching_up
        self.passes = self.receives and self._passes_received

    def deliver(
        self,
        event: ChannelEvent | DecryptionFailed,
        early: EarlyMessages,
        now: float,
    ) -> None:
        """Emit a message, or pass it to the object that holds it: until the gap is reported or closed."""
        if self._catching_up is not None:
            self._catching_up.take(event, now)
        elif self._is_early:
            early.hold(event)
        else:
            early.emit(event)

    @property
    def _is_early(self) -> bool:
        """Whether a message that is received now follows the gap that `Subscribed` will report."""
        return self._will_report and (self.roster is None or self.roster.expects)

    @property
    def _will_report(self) -> bool:
        """Whether `Subscribed` will report a gap, if the server confirms in time."""
        return self.state is ChannelState.SUBSCRIBING and self.lost_at is not None

    @property
    def _passes_received(self) -> bool:
        """Whether messages that are received go to the application as they are."""
        return self._plain and self._catching_up is None and not self._will_report

    def renew(self, lost_at: float | None) -> None:
        """End the subscription, to subscribe again on the same connection. It counts as lost since `lost_at`."""
        self.lost_at = None if lost_at is None else self.missing_since(lost_at)
        self.handle(ChannelInput.RENEW)
        if self.roster is not None:
            self.roster.clear()

    def unsubscribe_sent(self, now: float) -> None:
        """Record that an unsubscribe was sent before a reconnect: the subscription counts as lost from now on."""
        if self.state is ChannelState.SUBSCRIBED:
            self.lost_at = self.missing_since(now)

    def missing_since(self, at: float) -> float:
        """Return when the messages begin to be missing of a subscription that ends at `at`.

        Messages that are held until a new key arrives are missing, too.
        """
        return at if self.request is None else min(at, self.key_asked_at)

    def fail(self, error: PusherError) -> None:
        """Handle a refusal, or a failed authorization."""
        self.last_error = error
        self.handle(ChannelInput.REFUSE)

    def expire(self, error: PusherError) -> None:
        """Handle a subscribe that was not answered in time."""
        self.last_error = error
        self.handle(ChannelInput.EXPIRE)

    def failed_again(self) -> int:
        """Count a failure after which the client tries again; return the number of such failures in a row."""
        self.failures += 1
        return self.failures

    def counted(self, count: int) -> None:
        """Store the subscription count that the server sent."""
        self.subscription_count = count

    def is_cached(self, event: str) -> bool:
        """Return whether this message is the cached last event of a cache channel. Call it once for each message.

        The first message after a success on a cache channel is its last event, or a cache_miss (protocol: cache
        channels). On Reverb that event can be a client event or a member_removed.
        """
        if not self._awaits_cached or event == "pusher_internal:member_added":
            return False
        self._awaits_cached = False
        return True

    def answered_again(self, now: float) -> None:
        """Handle the confirmation of a repeated subscribe: events may be missing since the first one.

        On a cache channel the cached event follows again.
        """
        self._awaits_cached = self._caches
        if self._catching_up is not None:
            self._catching_up.lost(self.subscribed_at)
            self._catching_up.confirmed(now)

    def cache_missed(self) -> None:
        """Handle that the server has no cached event: the next message is a new one."""
        self._awaits_cached = False

    def snapshot(self, retry_at: float | None = None) -> ChannelSnapshot:
        """Return the current state. `retry_at` is the time of the next attempt after a failure."""
        roster = self.roster
        return ChannelSnapshot(
            self.name,
            self.kind,
            self.state,
            self.last_error,
            self.subscription_count,
            roster.members if roster is not None else _NOBODY,
            roster.me if roster is not None else None,
            roster.server_count if roster is not None else None,
            retry_at,
        )
