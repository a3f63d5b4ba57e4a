"""One channel: its wish, its subscription and what is known of it."""

from __future__ import annotations

from msgspec import Struct

from .._wire.secretbox import Key
from ..auth import Auth, AuthResponse
from ..errors import PusherError
from ..members import Member, Members
from ..names import ChannelKind, is_cache, kind_of
from ..states import CHANNEL, ChannelInput, ChannelState, advance
from .roster import Roster

__all__ = ["Channel", "ChannelSnapshot"]

_NOBODY = Members()
_RECEIVING = (ChannelState.SUBSCRIBING, ChannelState.SUBSCRIBED, ChannelState.TIMED_OUT)


class ChannelSnapshot(Struct, frozen=True):
    """What is known of a channel at one moment."""

    name: str
    kind: ChannelKind
    state: ChannelState
    last_error: PusherError | None = None
    """Why it was refused last; None again once it is subscribed."""
    subscription_count: int | None = None
    """As the server told last, or None."""
    members: Members = _NOBODY
    """Who is on a presence channel; nobody while it is not subscribed."""
    me: Member | None = None
    server_count: int | None = None
    """The number of members as the server gave it with the roster; `members.count` is what is there."""


class Channel:
    """The subscription of one channel, across connections. It is told what happens and sends nothing itself."""

    __slots__ = (
        "_awaits_cached",
        "_plain",
        "auth",
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
        "sealed",
        "state",
        "subscription_count",
        "triggered_at",
        "unopened",
    )

    def __init__(self, name: str, max_members: int) -> None:
        self.name = name
        self.kind = kind_of(name)
        self.auth: Auth | None = None
        self.state = ChannelState.UNSUBSCRIBED
        self.receives = False
        """Whether messages count: derived from the state, kept because every message asks."""
        self.passes = False
        """Whether they are handed on as they are, which most are."""
        self.request: int | None = None
        """The number of the authorization that was asked for."""
        self.failures = 0
        """AuthRequests in a row that failed for the moment."""
        self.last_error: PusherError | None = None
        self.lost_at: float | None = None
        """When it was subscribed last, on a connection that is gone."""
        self.subscription_count: int | None = None
        self.roster = Roster(name, max_members) if self.kind is ChannelKind.PRESENCE else None
        self._plain = self.kind is not ChannelKind.ENCRYPTED and not is_cache(name)
        self.sealed = self.kind is ChannelKind.ENCRYPTED
        self.key: Key | None = None
        self.key_asked_at = float("-inf")
        """When a key was asked for in place of one that failed."""
        self.unopened = 0
        """Messages that could not be decrypted, since it was wanted."""
        self.triggered_at = float("-inf")
        """When the last client event was sent."""
        self.held_authorization: AuthResponse | None = None
        """A presence authorization that waits for the sign-in, because it does not say who the member is."""
        self._awaits_cached = False

    def handle(self, given: ChannelInput) -> bool:
        """Move by the table; return whether the state changed."""
        before = self.state
        self.state = advance(CHANNEL, before, given)
        if self.state is before:
            return False
        self.receives = self.state in _RECEIVING
        self.passes = self.receives and self._plain
        self._awaits_cached = self.state is ChannelState.SUBSCRIBED and is_cache(self.name)
        return True

    def renounce(self) -> None:
        """Forget what counts only while it is wanted: it was left, and may be wanted again before it is out."""
        self.auth = self.key = self.lost_at = self.held_authorization = None
        self.key_asked_at = float("-inf")
        self.unopened = 0
        if self.roster is not None:
            self.roster.forget()

    def is_cached(self, event: str) -> bool:
        """Return whether this message is the last event that a cache channel begins with. Call it for each message.

        A success on a cache channel is followed by its last event or by a cache_miss (protocol: cache channels). On
        Reverb that event can be a client event, or a member_removed.
        """
        if not self._awaits_cached or event == "pusher_internal:member_added":
            return False
        self._awaits_cached = False
        return True

    def cache_missed(self) -> None:
        """There is no last event: the next is a new one."""
        self._awaits_cached = False

    def snapshot(self) -> ChannelSnapshot:
        """Return what is known now."""
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
        )
