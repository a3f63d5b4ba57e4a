"""The channels of a session, their requests and the server's answers. The session calls `Subscriptions`.

Called by the session. The connector's ledger says which request an error is about; `Admission` sends subscribes.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from .._base.timers import Timer, Timers
from .._connection.connector import Connector
from .._connection.ledger import Asked, Verdict
from .._protocol.control import ErrorReceived, read_error
from .._protocol.failures import Cause, cause_of_refusal
from .._wire.envelope import encode, text_of, value_of
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
    SubscriptionCount,
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
from .roster import BadPresence, Roster
from .subscribing import Admission
from .user import User

__all__ = ["Subscriptions"]

C, G = ChannelState, ChannelInput

_LEFT = 256  # channels that were left and count as UNSUBSCRIBED; all others are IDLE
_GOODBYE = 1.0
"""Seconds in which the server has to answer the goodbyes before a reconnect."""

_UNANSWERED = (C.SUBSCRIBING, C.TIMED_OUT, C.UNSUBSCRIBING)


class Subscriptions:
    """The channels in the order in which they were subscribed by the application."""

    def __init__(
        self,
        options: Options,
        timers: Timers,
        connector: Connector,
        user: User,
        admission: Admission,
        client_events: ClientEvents,
    ) -> None:
        self._options = options
        self._timers = timers
        self._emit = connector.emit
        self._client_events = client_events
        self._connector = connector
        self._user = user
        self._admission = admission
        self._renewals = admission.renewals
        self._goodbye: int | None = None
        """The number of the ping behind the goodbyes to all channels; None: none were said."""
        self._unsettled: dict[str, None] = {}
        """The encrypted cache channels that were subscribed since the last pong."""
        self.drifts = 0
        """Messages about members that contradicted a roster."""
        self._abandoned: dict[str, int] = {}
        """Subscribes that were left without an answer, by channel: a late success is undone."""
        self._last_success: str | None = None
        """The cache channel that was subscribed last on this connection, until a pong follows."""
        self._lately_left: dict[str, None] = {}
        self.channels: dict[str, Channel] = {}

    # Commands

    def subscribe(
        self, name: str, auth: Auth | None, decrypted_text: DecryptedText | None, now: float
    ) -> None:
        """Subscribe to a channel, on this connection and on each later one."""
        channel = self.channels.get(name)
        ask = self._admission.ask
        if channel is None:
            channel, ask = self._new(name), self._admission.ask_first
        self._lately_left.pop(name, None)
        channel.want(auth, decrypted_text)
        ask(channel, now)

    def unsubscribe(self, name: str, now: float) -> None:
        """Unsubscribe from a channel."""
        channel = self.channels.get(name)
        if channel is None or channel.state is C.UNSUBSCRIBING:
            return
        before = channel.leave()
        self._admission.withdraw(channel, now)
        self._admission.suspects.cleared(name)
        channel.renounce()
        if channel.state is C.UNSUBSCRIBED:
            self._forget(channel, answered=before not in (C.TIMED_OUT, C.FAILED))
            if before in (C.SUBSCRIBED, C.TIMED_OUT):
                self._send_unsubscribe(name, now)
        self._lately_left[name] = None
        if len(self._lately_left) > _LEFT:
            del self._lately_left[next(iter(self._lately_left))]
        self._emit(Unsubscribed(name))

    def refresh_members(self, name: str, now: float) -> None:
        """Leave a presence channel and join it again, for a new list. Raises `UnsupportedFeature`, `NotSubscribed`."""
        if kind_of(name) is not ChannelKind.PRESENCE:
            raise UnsupportedFeature(
                f"{excerpt(name, 64)!r} has no members: it is no presence channel"
            )
        check_subscribed(self.snapshot(name))
        self._renew(self.channels[name], now, now)

    def say_goodbye(self, now: float) -> bool:
        """Leave all channels before a reconnect; return whether the reconnect waits for the server to answer."""
        if self._goodbye is None:
            left = [channel for channel in self.channels.values() if channel.receives]
            if not left:
                return False
            for channel in left:
                channel.said_goodbye(now)
                self._send_unsubscribe(channel.name, now)
            self._connector.ping(now)
            self._goodbye = self._connector.ledger.pings
            self._timers.set(Timer.GOODBYE, now + _GOODBYE)
        return True

    def snapshot(self, name: str) -> ChannelSnapshot:
        """Return a snapshot of a channel, subscribed to or not."""
        channel = self.channels.get(name)
        if channel is None:
            state = C.UNSUBSCRIBED if name in self._lately_left else C.IDLE
            return ChannelSnapshot(name, kind_of(name), state)
        return channel.snapshot(self._timers.at(Timer.REAUTHORIZE, name))

    # The connection

    def established(self, socket_id: str, now: float) -> None:
        """Subscribe to all channels, each kind in the application's order."""
        self._admission.established(socket_id)
        for channel in sorted(self.channels.values(), key=self._admission.turn):
            self._admission.ask(channel, now)

    @property
    def authorizing(self) -> bool:
        """Whether an authorization is pending, or failed and will be asked for again."""
        return any(
            channel.state is C.AUTHORIZING or self._timers.is_set(Timer.REAUTHORIZE, channel.name)
            for channel in self.channels.values()
        )

    def lost(self, now: float, heard_at: float) -> None:
        """Forget the requests of the connection, and drop the channels that were being left.

        `heard_at` is when the connection received its last byte.
        """
        ledger = self._connector.ledger
        unanswered = [name for name in ledger.unanswered() if name in self.channels]
        # A cached event that is too large to be read ends the connection behind a success.
        behind = self._last_success if self._last_success in self.channels else None
        self._last_success = None
        self._conclude(ledger.lost(), now)
        found = self._admission.lost(unanswered, behind, now)
        self._abandoned.clear()
        self._goodbye = None
        self._unsettled.clear()
        self._timers.stop(Timer.GOODBYE)
        for channel in list(self.channels.values()):
            if self._admission.holds_back(channel):
                continue
            channel.lose(heard_at)
            self._admission.withdraw(channel, now)
            self._timers.stop(Timer.SUBSCRIBE, channel.name)
            if channel.state is C.UNSUBSCRIBED:
                del self.channels[channel.name]
        if found is not None and found.channel in self.channels:
            channel = self.channels[found.channel]
            self._admission.fail(channel, found, Cause.CHANNEL_ENDS_CONNECTION, now)

    # Authorizations

    def authorized(
        self, details: AuthRequest, result: AuthResponse | AuthorizationError, now: float
    ) -> None:
        """Take the answer to the authorization request of a channel."""
        channel = self.channels.get(details.channel or "")
        if channel is not None:
            self._admission.authorized(channel, details, result, now)

    def user_settled(self, now: float) -> None:
        """Continue with the presence channels that waited for the sign-in."""
        for channel in list(self.channels.values()):
            self._admission.user_settled(channel, now)

    # Deadlines

    def pace_due(self, now: float) -> None:
        """Send the subscribes whose turn has come."""
        self._admission.pace_due(now)

    def reauthorize_due(self, name: str, now: float) -> None:
        """Try a channel again after its delay."""
        channel = self.channels[name]
        channel.want(None)
        self._admission.ask(channel, now)

    def subscribe_due(self, name: str, now: float) -> None:
        """Give up waiting for the answer to a subscribe: subscribe_timeout is over."""
        limit = self._options.subscribe_timeout
        if self._connector.postponed(Timer.SUBSCRIBE, name, limit, now):
            return
        channel = self.channels[name]
        suspect = self._connector.ledger.expired(Asked.SUBSCRIBE, name)
        if channel.state is C.UNSUBSCRIBING:
            channel.handle(G.EXPIRE)
            self._left(channel, now, answered=False)
            return
        self._admission.unanswered(channel, suspect, now)

    def again_due(self, name: str, now: float) -> None:
        """Send a subscribe a second time, or leave the channel and join it again, as it was planned."""
        if not self._renewals.send_again(self.channels[name], now):
            self._renew(self.channels[name], now, now)

    # Messages

    def message(self, channel: Channel, event: ChannelEvent, now: float) -> None:
        """Take a message of an encrypted channel, a cache channel, or one that catches up."""
        if channel.sealed:
            self._admission.sealed.receive(channel, event, now)
        else:
            event = replace(event, cached=True) if channel.is_cached(event.name) else event
            channel.deliver(event, self._admission.early, now)

    def control(self, channel: Channel | None, event: ChannelEvent, now: float) -> None:
        """Take a `pusher:` or `pusher_internal:` message that names a channel: this one, or an unknown one (None)."""
        name = event.channel
        match event.name:
            case "pusher:error":
                self.error(read_error(event.wire_data, name), now)
            case "pusher_internal:subscription_succeeded":
                self._answered(Asked.SUBSCRIBE, name, now)
                if channel is not None:
                    self._succeed(channel, event.wire_data, now)
                elif self._abandoned.get(name):
                    # Each subscribe has one answer: a success that is repeated is undone once.
                    self._abandoned[name] -= 1
                    self._send_unsubscribe(name, now)
            case "pusher:subscription_error" | "pusher_internal:subscription_error":
                self._answered(Asked.SUBSCRIBE, name, now)
                self._refuse(name, read_refusal(event), now)
            case "pusher_internal:subscription_count":
                if channel is not None and channel.receives:
                    self._count(channel, event)
            case "pusher:cache_miss":
                if channel is not None and channel.receives:
                    channel.cache_missed()
                    self._emit(CacheMiss(name))
            case "pusher_internal:member_added" | "pusher_internal:member_removed":
                if channel is not None and channel.roster is not None:
                    self._member(channel, channel.roster, event, now)
            case _:
                pass  # a name of the protocol that this client does not know

    # Answers

    def signed_in(self, now: float) -> None:
        """Put a success of the sign-in into the ledger, before it is acted on."""
        self._answered(Asked.SIGN_IN, None, now)

    def ponged(self, now: float) -> None:
        """Put a pong into the ledger, and continue with the channels that waited for it."""
        self._last_success = None
        self._answered(Asked.PING, None, now)
        self._renewals.ponged(self.channels)
        for name in self._unsettled:
            # The server has answered something else since: the next message is a new one.
            self.channels[name].cache_missed()
        self._unsettled.clear()
        if self._goodbye is not None and self._connector.ledger.pongs >= self._goodbye:
            # As a deadline, because the rest of the read still belongs to this connection.
            self._timers.set(Timer.GOODBYE, now)

    def error(self, error: ErrorReceived, now: float) -> bool:
        """Take a `pusher:error`; return whether it is, or may be, about a request."""
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
                self._answered(Asked.SUBSCRIBE, name, now)
                self._refuse(name, error, now)
            return True
        if names_sign_in(error):
            self._answered(Asked.SIGN_IN, None, now)
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

    def _answered(self, kind: Asked, name: str | None, now: float) -> None:
        verdicts = self._connector.ledger.answered(kind, name)
        if verdicts:
            self._conclude(verdicts, now)
        self._admission.proceed(now)

    def _conclude(self, verdicts: list[Verdict], now: float) -> None:
        """Act on what the ledger found out about errors that name nothing."""
        for verdict in verdicts:
            error = verdict.error
            if verdict.refused is Asked.SUBSCRIBE:
                self._refuse(verdict.channel or "", error, now)
            elif verdict.refused is Asked.SIGN_IN:
                self._refuse_sign_in(error, now)
            else:
                self._report(error, verdict.channel, now)

    def _report(self, error: ErrorReceived, name: str | None, now: float) -> None:
        """Emit an error that refuses no request; wake a channel that the server does not count as subscribed."""
        self._emit(ServerError(error.code, excerpt(error.message), name))
        channel = self.channels.get(name or "")
        if channel is None or channel.state is not C.SUBSCRIBED or self._goodbye is not None:
            return
        if says_not_subscribed(error) and self._renewals.may_wake(channel.name, now):
            self._renew(channel, channel.subscribed_at, now)

    def _renew(self, channel: Channel, lost_at: float | None, now: float) -> None:
        """Leave a channel and join it again, on the same connection."""
        channel.renew(lost_at)
        self._send_unsubscribe(channel.name, now)
        self._admission.ask(channel, now)

    def _refuse_sign_in(self, error: ErrorReceived, now: float) -> None:
        if not self._user.refused(error, now):
            self._emit(ServerError(error.code, excerpt(error.message)))

    def _succeed(self, channel: Channel, data: Any, now: float) -> None:
        leaving = channel.state is C.UNSUBSCRIBING
        if not channel.handle(G.SUCCEED):
            if channel.state is C.SUBSCRIBED and self._renewals.was_deaf(channel, now):
                self._renew(channel, channel.subscribed_at, now)
            return
        self._timers.stop(Timer.SUBSCRIBE, channel.name)
        if leaving:
            self._left(channel, now, answered=True)
            return
        self._admission.succeeded(channel)
        # Sockudo and Soketi look for the word anywhere in the name.
        self._last_success = channel.name if "cache" in channel.name else None
        offline_for = channel.succeed(now)
        self._renewals.subscribed(channel, now)
        if channel.sealed and is_cache(channel.name):
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
        self._admission.early.release(channel.name)
        self._client_events.subscribed(channel.name, now)
        if roster is not None and self._renewals.is_dropped(channel.name, roster, now):
            self._renew(channel, now, now)

    def _refuse(self, name: str, error: ErrorReceived, now: float) -> None:
        """Handle a refusal of a subscribe; report it as an error when no subscribe is unanswered."""
        channel = self.channels.get(name)
        if channel is None or channel.state not in _UNANSWERED:
            self._emit(ServerError(error.code, excerpt(error.message), name))
            return
        leaving, already = channel.state is C.UNSUBSCRIBING, "xisting subscription" in error.message
        if already and (leaving or channel.roster is None):
            self._succeed(channel, None, now)
            # The server gave the last event when it subscribed the channel.
            channel.cache_missed()
            return
        self._timers.stop(Timer.SUBSCRIBE, name)
        if leaving:
            channel.handle(G.REFUSE)
            self._forget(channel, answered=False)
            return
        if already:
            # The answer has no roster: leave the channel, and join it again after a delay.
            self._send_unsubscribe(name, now)
        cause = Cause.SUBSCRIBE_DELAYED if already else cause_of_refusal(error.code, error.message)
        self._admission.fail(channel, refusal_of(name, error), cause, now)

    # Parts

    def _new(self, name: str) -> Channel:
        """Make a channel. Raises, before anything changes, where there can be none of this name."""
        options = self._options
        check_channel(name, strict=options.strict_names)
        if len(self.channels) >= options.max_channels:
            raise LocalProtocolError(
                f"no more than {options.max_channels} channels (Options.max_channels)"
            )
        channel = Channel(
            name,
            options.max_members,
            encrypted_caches=options.encrypted_caches,
            was_left=name in self._lately_left,
        )
        if channel.sealed:
            check_available()
        self.channels[name] = channel
        return channel

    def _member(self, channel: Channel, roster: Roster, event: ChannelEvent, now: float) -> None:
        joined = event.name.endswith("member_added")
        try:
            if channel.state is not C.SUBSCRIBED:
                roster.note(event.wire_data, joined=joined)
                return
            if not joined and channel.is_cached(event.name):
                return  # Reverb keeps it as the last event of presence-cache channels
            before = roster.drifts
            change = roster.add(event.wire_data) if joined else roster.remove(event.wire_data)
            self.drifts += roster.drifts - before
            if not joined and change is None and roster.is_own(event.wire_data):
                # Other clients no longer see this client's member, although it is subscribed.
                if self._renewals.may_rejoin(channel.name, now):
                    self._renew(channel, now, now)
                return
        except BadPresence as error:
            self._emit(ProtocolViolation(str(error), excerpt(event.raw_data)))
        else:
            if change is not None:
                self._emit(change)

    def _count(self, channel: Channel, event: ChannelEvent) -> None:
        data = value_of(event.wire_data)
        count = data.get("subscription_count") if isinstance(data, dict) else None
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            what = "a subscription_count without a count"
            self._emit(ProtocolViolation(what, excerpt(event.raw_data)))
        else:
            channel.counted(count)
            self._emit(SubscriptionCount(channel.name, count))

    def _left(self, channel: Channel, now: float, *, answered: bool) -> None:
        """Unsubscribe from a channel that was left before its subscribe was answered."""
        self._forget(channel, answered=answered)
        self._send_unsubscribe(channel.name, now)

    def _forget(self, channel: Channel, *, answered: bool) -> None:
        """Drop a channel. One without an answer may yet be subscribed by the server, and is left then."""
        del self.channels[channel.name]
        self._unsettled.pop(channel.name, None)
        if not answered and len(self._abandoned) < self._options.max_channels:
            self._abandoned[channel.name] = self._abandoned.get(channel.name, 0) + 1

    def _send_unsubscribe(self, name: str, now: float) -> None:
        self._renewals.forget(name)
        if kind_of(name) is ChannelKind.PRESENCE:
            self._renewals.left(name)
        frame = encode("pusher:unsubscribe", {"channel": name})
        self._connector.request(frame, Asked.UNSUBSCRIBE, name, now)
