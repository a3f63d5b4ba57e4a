"""The channels of a session: processes commands about them, and the server's messages and answers.

The session calls it. The connector's ledger decides which request an error is about; `Subscribing` sends subscribes.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from .._base.timers import Timer, Timers
from .._connection.connector import Connector
from .._connection.ledger import RequestKind, Verdict
from .._protocol.control import ErrorReceived, read_error
from .._protocol.failures import Cause, cause_of_refusal
from .._wire.envelope import encode, text_of
from .._wire.secretbox import check_available
from ..auth import Auth, AuthRequest, AuthResponse
from ..errors import (
    AuthorizationError,
    LocalProtocolError,
    UnsupportedFeature,
    excerpt,
)
from ..events import (
    CacheMiss,
    ChannelEvent,
    Event,
    ProtocolViolation,
    ServerError,
    Subscribed,
    Unsubscribed,
)
from ..names import ChannelKind, check_channel, is_cache, kind_of
from ..options import DecryptedText, Options
from ..states import ChannelInput, ChannelState
from .channel import Channel, ChannelSnapshot, check_subscribed
from .client_events import ClientEvents
from .error_attribution import (
    may_refuse_subscribe,
    named_channel,
    names_sign_in,
    read_refusal,
    refusal_of,
    says_not_subscribed,
)
from .notices import Notices
from .roster import BadPresence
from .subscribing import Subscribing
from .user import User

__all__ = ["Subscriptions"]

C, G = ChannelState, ChannelInput

_LEFT = 256
"""How many unsubscribed channels keep the state UNSUBSCRIBED; the others are IDLE, as if never subscribed."""
_LEAVE_TIMEOUT = 1.0
"""How many seconds a reconnect waits for the pong after unsubscribing from all channels."""

_UNANSWERED = (C.SUBSCRIBING, C.TIMED_OUT, C.UNSUBSCRIBING)


class Subscriptions:
    """All channels of a session, in the order in which the application subscribed to them."""

    def __init__(
        self,
        options: Options,
        timers: Timers,
        connector: Connector,
        user: User,
        subscribing: Subscribing,
        client_events: ClientEvents,
    ) -> None:
        self._options = options
        self._timers = timers
        self._emit = connector.emit
        self._client_events = client_events
        self._connector = connector
        self._user = user
        self._subscribing = subscribing
        self._renewals = subscribing.renewals
        self._leave_ping: int | None = None
        """The number of the ping after `leave_all`; None before it was called."""
        self._unsettled: dict[str, None] = {}
        """The encrypted cache channels that were subscribed since the last pong."""
        self.notices: Notices = Notices(connector.emit)
        self._abandoned: dict[str, int] = {}
        """How many subscribes of removed channels are unanswered: a late success is followed by an unsubscribe."""
        self._last_success: str | None = None
        """The cache channel that was subscribed last on this connection, until a pong follows."""
        self._lately_left: dict[str, None] = {}
        """The channels that were unsubscribed last, at most `_LEFT`."""
        self.channels: dict[str, Channel] = {}

    # Commands.

    def subscribe(
        self, name: str, auth: Auth | None, decrypted_text: DecryptedText | None, now: float
    ) -> None:
        """Subscribe to a channel, on this connection and on all later ones."""
        channel = self.channels.get(name)
        begin = self._subscribing.begin
        if channel is None:
            channel, begin = self._new(name), self._subscribing.begin_first
        self._lately_left.pop(name, None)
        channel.want(auth, decrypted_text, self._connector.socket_id)
        begin(channel, now)

    def unsubscribe(self, name: str, now: float) -> None:
        """Unsubscribe from a channel."""
        channel = self.channels.get(name)
        if channel is None or channel.state is C.UNSUBSCRIBING:
            return
        before = channel.leave()
        self._subscribing.cancel(channel, now)
        self._subscribing.suspects.cleared(name)
        channel.reset()
        if channel.state is C.UNSUBSCRIBED:
            self._forget(channel, answered=before not in (C.TIMED_OUT, C.FAILED))
            if before in (C.SUBSCRIBED, C.TIMED_OUT):
                self._send_unsubscribe(name, now)
        self._lately_left[name] = None
        if len(self._lately_left) > _LEFT:
            del self._lately_left[next(iter(self._lately_left))]
        self._emit(Unsubscribed(name))

    def refresh_members(self, name: str, now: float) -> None:
        """Renew a presence channel, to get a new list of members. Raises `UnsupportedFeature` or `NotSubscribed`."""
        if kind_of(name) is not ChannelKind.PRESENCE:
            raise UnsupportedFeature(
                f"{excerpt(name, 64)!r} has no members: it is not a presence channel"
            )
        check_subscribed(self.snapshot(name))
        self._renew(self.channels[name], now, now)

    def leave_all(self, now: float) -> bool:
        """Unsubscribe from all channels before a reconnect; return whether the reconnect has to wait for a pong."""
        if self._leave_ping is None:
            left = [channel for channel in self.channels.values() if channel.receives]
            if not left:
                return False
            for channel in left:
                channel.unsubscribe_sent(now)
                self._send_unsubscribe(channel.name, now)
            self._connector.ping(now)
            self._leave_ping = self._connector.ledger.pings
            self._timers.set(Timer.LEAVE_ALL, now + _LEAVE_TIMEOUT)
        return True

    def snapshot(self, name: str) -> ChannelSnapshot:
        """Return the current state of a channel, known or not."""
        channel = self.channels.get(name)
        if channel is None:
            state = C.UNSUBSCRIBED if name in self._lately_left else C.IDLE
            return ChannelSnapshot(name, kind_of(name), state)
        return channel.snapshot(self._timers.at(Timer.REAUTHORIZE, name))

    # The connection.

    def established(self, now: float) -> None:
        """Subscribe to all channels, each kind in the order of `subscribe`."""
        self._subscribing.established(now)
        for channel in sorted(self.channels.values(), key=self._subscribing.order_of):
            self._subscribing.begin(channel, now)

    @property
    def authorizing(self) -> bool:
        """Whether an authorization is pending, or has failed and will be requested again."""
        return any(
            channel.state is C.AUTHORIZING or self._timers.is_set(Timer.REAUTHORIZE, channel.name)
            for channel in self.channels.values()
        )

    def lost(self, now: float, received_at: float) -> None:
        """Handle the loss of the connection: reset requests, and remove channels that were being unsubscribed.

        `received_at` is when the connection received its last byte.
        """
        ledger = self._connector.ledger
        unanswered = [name for name in ledger.unanswered() if name in self.channels]
        # A cached event above the size limit ends the connection after a success.
        behind = self._last_success if self._last_success in self.channels else None
        self._last_success = None
        self._conclude(ledger.lost(), now)
        found = self._subscribing.lost(unanswered, behind, now)
        self._abandoned.clear()
        self._leave_ping = None
        self._unsettled.clear()
        self._timers.stop(Timer.LEAVE_ALL)
        for channel in list(self.channels.values()):
            if self._subscribing.holds_back(channel):
                continue
            channel.lose(received_at)
            self._subscribing.cancel(channel, now)
            self._timers.stop(Timer.SUBSCRIBE, channel.name)
            if channel.state is C.UNSUBSCRIBED:
                del self.channels[channel.name]
        if found is not None and found.channel in self.channels:
            channel = self.channels[found.channel]
            self._subscribing.fail(channel, found, Cause.CHANNEL_ENDS_CONNECTION, now)

    # Authorizations.

    def authorized(
        self, details: AuthRequest, result: AuthResponse | AuthorizationError, now: float
    ) -> None:
        """Process the answer to a channel's request for an authorization."""
        channel = self.channels.get(details.channel or "")
        if channel is not None:
            self._subscribing.authorized(channel, details, result, now)

    def user_settled(self, now: float) -> None:
        """Continue with the presence channels that wait for the sign-in."""
        for channel in list(self.channels.values()):
            self._subscribing.user_settled(channel, now)

    # Deadlines.

    def pace_due(self, now: float) -> None:
        """Start with the waiting channels that the rate allows."""
        self._subscribing.pace_due(now)

    def reauthorize_due(self, name: str, now: float) -> None:
        """Subscribe to a channel again: the delay after a failure is over."""
        channel = self.channels[name]
        channel.want(None)
        self._subscribing.begin(channel, now)

    def subscribe_due(self, name: str, now: float) -> None:
        """Handle a subscribe without an answer: `subscribe_timeout` has passed."""
        limit = self._options.subscribe_timeout
        if self._connector.postponed(Timer.SUBSCRIBE, name, limit, now):
            return
        channel = self.channels[name]
        suspect = self._connector.ledger.expired(RequestKind.SUBSCRIBE, name)
        if channel.state is C.UNSUBSCRIBING:
            channel.handle(G.EXPIRE)
            self._left(channel, now, answered=False)
            return
        self._subscribing.unanswered(channel, suspect, now)

    def again_due(self, name: str, now: float) -> None:
        """Send a subscribe again, or renew the channel, whichever was planned."""
        if not self._renewals.send_again(self.channels[name], now):
            self._renew(self.channels[name], now, now)

    # Messages.

    def message(self, channel: Channel, event: ChannelEvent, now: float) -> None:
        """Process a message of an encrypted channel, of a cache channel, or of one that catches up."""
        if channel.encrypted:
            self._subscribing.decryption.receive(channel, event, now)
        else:
            event = replace(event, cached=True) if channel.is_cached(event.name) else event
            channel.deliver(event, self._subscribing.early, now)

    def control(self, channel: Channel | None, event: ChannelEvent, now: float) -> None:
        """Process a `pusher:` or `pusher_internal:` message of a channel; `channel` is None for an unknown one."""
        name = event.channel
        match event.name:
            case "pusher:error":
                self.error(read_error(event.wire_data, name), now)
            case "pusher_internal:subscription_succeeded":
                self._answered(RequestKind.SUBSCRIBE, name, now)
                if channel is not None:
                    self._succeed(channel, event.wire_data, now)
                elif self._abandoned.get(name):
                    # Each unanswered subscribe gets one answer.
                    self._abandoned[name] -= 1
                    self._send_unsubscribe(name, now)
            case "pusher:subscription_error" | "pusher_internal:subscription_error":
                self._answered(RequestKind.SUBSCRIBE, name, now)
                self._refuse(name, read_refusal(event), now)
            case "pusher_internal:subscription_count":
                if channel is not None and channel.receives:
                    self.notices.count(channel, event)
            case "pusher:cache_miss":
                if channel is not None and channel.receives:
                    channel.cache_missed()
                    self._emit(CacheMiss(name))
            case "pusher_internal:member_added" | "pusher_internal:member_removed":
                if channel is not None and channel.roster is not None:
                    own_removed = self.notices.member(channel, channel.roster, event)
                    if own_removed and self._renewals.may_rejoin(name, now):
                        self._renew(channel, now, now)
            case _:
                pass  # an event of the protocol that this client does not know

    # Answers.

    def signed_in(self, now: float) -> None:
        """Record a success of the sign-in in the ledger. Call it before the message is processed."""
        self._answered(RequestKind.SIGN_IN, None, now)

    def ponged(self, now: float) -> None:
        """Record a pong in the ledger, and continue with the channels that wait for it."""
        self._last_success = None
        self._answered(RequestKind.PING, None, now)
        self._renewals.ponged(self.channels)
        for name in self._unsettled:
            # The server has sent no cached event before its pong: the next message is a new one.
            self.channels[name].cache_missed()
        self._unsettled.clear()
        if self._leave_ping is not None and self._connector.ledger.pongs >= self._leave_ping:
            # Use the timer, because the rest of the read still belongs to this connection.
            self._timers.set(Timer.LEAVE_ALL, now)

    def error(self, error: ErrorReceived, now: float) -> bool:
        """Process a `pusher:error`; return whether it is, or may be, about a request."""
        name = named_channel(error, self.channels)
        if name is not None:
            channel = self.channels.get(name)
            if (
                channel is None
                or channel.state not in _UNANSWERED
                or not may_refuse_subscribe(error)
            ):
                self._report(error, name, now)
            else:
                self._answered(RequestKind.SUBSCRIBE, name, now)
                self._refuse(name, error, now)
            return True
        if names_sign_in(error):
            self._answered(RequestKind.SIGN_IN, None, now)
            self._refuse_sign_in(error, now)
            return True
        ledger = self._connector.ledger
        pinging = ledger.pinging
        self._conclude(ledger.error(error, now), now)
        if pinging and not ledger.pinging:
            self._connector.ping_refused(now)
        if ledger.wants_ping:
            self._connector.ping(now)
        return ledger.undecided

    def _answered(self, kind: RequestKind, name: str | None, now: float) -> None:
        """Record an answer in the ledger, and act on the errors that it attributes."""
        verdicts = self._connector.ledger.answered(kind, name)
        if verdicts:
            self._conclude(verdicts, now)
        self._subscribing.proceed(now)

    def _conclude(self, verdicts: list[Verdict], now: float) -> None:
        """Act on the errors that the ledger has attributed."""
        for verdict in verdicts:
            error = verdict.error
            if verdict.refused is RequestKind.SUBSCRIBE:
                self._refuse(verdict.channel or "", error, now)
            elif verdict.refused is RequestKind.SIGN_IN:
                self._refuse_sign_in(error, now)
            else:
                self._report(error, verdict.channel, now)

    def _report(self, error: ErrorReceived, name: str | None, now: float) -> None:
        """Emit an error that refuses no request; renew a channel that the server does not count as subscribed."""
        self._emit(ServerError(error.code, excerpt(error.message), name))
        channel = self.channels.get(name or "")
        if channel is None or channel.state is not C.SUBSCRIBED or self._leave_ping is not None:
            return
        if says_not_subscribed(error) and self._renewals.may_renew(channel.name, now):
            self._renew(channel, channel.subscribed_at, now)

    def _renew(self, channel: Channel, lost_at: float | None, now: float) -> None:
        """Unsubscribe from a channel and subscribe to it again, on the same connection."""
        channel.renew(lost_at)
        self._send_unsubscribe(channel.name, now)
        self._subscribing.begin(channel, now)

    def _refuse_sign_in(self, error: ErrorReceived, now: float) -> None:
        if not self._user.refused(error, now):
            self._emit(ServerError(error.code, excerpt(error.message)))

    def _succeed(self, channel: Channel, data: Any, now: float) -> None:
        leaving = channel.state is C.UNSUBSCRIBING
        if not channel.handle(G.SUCCEED):
            if channel.state is C.SUBSCRIBED and self._renewals.confirmed_again(channel, now):
                self._renew(channel, channel.subscribed_at, now)
            return
        self._timers.stop(Timer.SUBSCRIBE, channel.name)
        if leaving:
            self._left(channel, now, answered=True)
            return
        self._subscribing.succeeded(channel)
        # For Sockudo and Soketi the word may be anywhere in the name.
        self._last_success = channel.name if "cache" in channel.name else None
        offline_for = channel.succeed(now)
        self._renewals.subscribed(channel, now)
        if channel.encrypted and is_cache(channel.name):
            self._unsettled[channel.name] = None
        changes: list[Event] = []
        roster = channel.roster
        if roster is not None:
            try:
                changes += roster.replace(data)
            except BadPresence as error:
                self._emit(ProtocolViolation(str(error), excerpt(text_of(data))))
        self._emit(Subscribed(channel.name, offline_for))
        for change in changes:
            self._emit(change)
        self._subscribing.early.release(channel.name)
        self._client_events.subscribed(channel.name, now)
        if roster is not None and self._renewals.lost_own_member(channel.name, roster, now):
            self._renew(channel, now, now)

    def _refuse(self, name: str, error: ErrorReceived, now: float) -> None:
        """Handle the refusal of a subscribe; emit it as an error of the server when no subscribe is unanswered."""
        channel = self.channels.get(name)
        if channel is None or channel.state not in _UNANSWERED:
            self._emit(ServerError(error.code, excerpt(error.message), name))
            return
        leaving = channel.state is C.UNSUBSCRIBING
        already = "existing subscription" in error.message.lower()
        if already and (leaving or channel.roster is None):
            self._succeed(channel, None, now)
            # The server sent the cached event after its first success.
            channel.cache_missed()
            return
        self._timers.stop(Timer.SUBSCRIBE, name)
        if leaving:
            channel.handle(G.REFUSE)
            self._forget(channel, answered=False)
            return
        if already:
            # The answer has no roster: unsubscribe, and subscribe again after a delay.
            self._send_unsubscribe(name, now)
        cause = Cause.SUBSCRIBE_DELAYED if already else cause_of_refusal(error.code, error.message)
        self._subscribing.fail(channel, refusal_of(name, error), cause, now)

    def _new(self, name: str) -> Channel:
        """Add a channel. Raises for an invalid name or too many channels, and then changes nothing."""
        options = self._options
        check_channel(name, strict=options.strict_names)
        if len(self.channels) >= options.max_channels:
            raise LocalProtocolError(
                f"there are {options.max_channels} channels already (Options.max_channels)"
            )
        channel = Channel(
            name,
            options.max_members,
            encrypted_caches=options.encrypted_caches,
            was_left=name in self._lately_left,
        )
        if channel.encrypted:
            check_available()
        self.channels[name] = channel
        return channel

    def _left(self, channel: Channel, now: float, *, answered: bool) -> None:
        """Remove a channel that was unsubscribed before its subscribe was answered, and send the unsubscribe."""
        self._forget(channel, answered=answered)
        self._send_unsubscribe(channel.name, now)

    def _forget(self, channel: Channel, *, answered: bool) -> None:
        """Remove a channel. If its subscribe is not `answered`, a late success will be followed by an unsubscribe."""
        del self.channels[channel.name]
        self._unsettled.pop(channel.name, None)
        if not answered and len(self._abandoned) < self._options.max_channels:
            self._abandoned[channel.name] = self._abandoned.get(channel.name, 0) + 1

    def _send_unsubscribe(self, name: str, now: float) -> None:
        self._renewals.forget(name)
        if kind_of(name) is ChannelKind.PRESENCE:
            self._renewals.left(name)
        frame = encode("pusher:unsubscribe", {"channel": name})
        self._connector.request(frame, RequestKind.UNSUBSCRIBE, name, now)
