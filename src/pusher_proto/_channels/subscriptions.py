"""All channels of a session: what is wanted, what was asked of the server, and what it said about them.

Called by the session; sends by the function it was given and tells by `emit`. It knows no transport.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from .._auth.requests import AuthRequests
from .._base.backoff import Rng
from .._base.timers import Timer, Timers
from .._connection.link import ErrorReceived, read_error
from .._wire.envelope import encode, text_of, value_of
from .._wire.secretbox import check_available
from ..auth import Auth, AuthRequest, AuthResponse
from ..errors import AuthorizationError, LocalProtocolError, SubscriptionError, excerpt
from ..events import (
    CacheMiss,
    ChannelEvent,
    Event,
    ProtocolViolation,
    ServerError,
    Subscribed,
    SubscriptionCount,
    SubscriptionFailed,
    Unsubscribed,
)
from ..names import ChannelKind, check_channel, kind_of
from ..options import Options
from ..states import ChannelInput, ChannelState
from .channel import Channel, ChannelSnapshot
from .error_attribution import blamed_channel, concerns_subscribing, named_channel, read_refusal
from .roster import BadPresence, Roster
from .subscribing import Admission
from .user import User

__all__ = ["Subscriptions"]

C, G = ChannelState, ChannelInput


class Subscriptions:
    """The channels in the order in which they were wanted."""

    def __init__(
        self,
        options: Options,
        timers: Timers,
        rng: Rng,
        authorizations: AuthRequests,
        emit: Callable[[Event], None],
        send: Callable[[bytes], None],
        user: User,
    ) -> None:
        self._options = options
        self._timers = timers
        self._emit = emit
        self._send = send
        self._user = user
        self._admission = Admission(options, timers, rng, authorizations, emit, send, user)
        self._abandoned: Counter[str] = Counter()
        self.channels: dict[str, Channel] = {}

    # What the application wants

    def subscribe(self, name: str, auth: Auth | None, now: float) -> None:
        """Want a channel. Asks at once when connected; wanting twice is wanting once."""
        check_channel(name, strict=self._options.strict_names)
        if kind_of(name) is ChannelKind.ENCRYPTED:
            check_available()
        channel = self.channels.get(name)
        if channel is None:
            if len(self.channels) >= self._options.max_channels:
                raise LocalProtocolError(
                    f"no more than {self._options.max_channels} channels (Options.max_channels)"
                )
            channel = self.channels[name] = Channel(name, self._options.max_members)
        if auth is not None:
            channel.auth = auth
        channel.handle(G.WANT)
        self._admission.ask(channel, now)

    def unsubscribe(self, name: str, now: float) -> None:
        """No longer want a channel. It never comes back by itself."""
        channel = self.channels.get(name)
        if channel is None or channel.state is C.UNSUBSCRIBING:
            return
        before = channel.state
        channel.handle(G.LEAVE)
        self._admission.withdraw(channel, now)
        channel.renounce()
        if channel.state is C.UNSUBSCRIBED:
            self._forget(channel, answered=before not in (C.TIMED_OUT, C.FAILED))
            if before in (C.SUBSCRIBED, C.TIMED_OUT):
                self._send_unsubscribe(name)
        self._emit(Unsubscribed(name))

    def snapshot(self, name: str) -> ChannelSnapshot:
        """Return what is known of a channel, wanted or not."""
        channel = self.channels.get(name)
        return (
            channel.snapshot() if channel else ChannelSnapshot(name, kind_of(name), C.UNSUBSCRIBED)
        )

    # The connection comes and goes

    def established(self, socket_id: str, now: float) -> None:
        """Subscribe to the wanted channels in their order, to presence channels last.

        A server in a cluster may have to ask others before it answers those, and its later answers wait.
        """
        self._admission.established(socket_id)
        for channel in sorted(self.channels.values(), key=_is_presence):
            self._admission.ask(channel, now)

    def lost(self, now: float) -> None:
        """AuthRequests and subscriptions of the connection are void; what was being left is left."""
        self._admission.lost(now)
        self._abandoned.clear()
        for channel in list(self.channels.values()):
            if channel.state is C.SUBSCRIBED:
                channel.lost_at = now
            channel.handle(G.LOSE)
            self._admission.withdraw(channel, now)
            if channel.roster is not None:
                channel.roster.clear()
            self._timers.stop(Timer.SUBSCRIBE, channel.name)
            if channel.state is C.UNSUBSCRIBED:
                del self.channels[channel.name]

    # Answers to what was asked on the way in

    def authorized(
        self, details: AuthRequest, result: AuthResponse | AuthorizationError, now: float
    ) -> None:
        """Take the answer to a request for a channel."""
        channel = self.channels.get(details.channel or "")
        if channel is not None:
            self._admission.authorized(channel, details, result, now)

    def user_settled(self, now: float) -> None:
        """It is known now who is signed in: go on with the presence channels that waited for it."""
        for channel in list(self.channels.values()):
            self._admission.user_settled(channel, now)

    def reauthorize_due(self, name: str, now: float) -> None:
        """Try a channel anew that failed for the moment."""
        channel = self.channels[name]
        channel.handle(G.WANT)
        self._admission.ask(channel, now)

    # The server's answers

    def subscribe_due(self, name: str) -> None:
        """subscribe_timeout is over."""
        channel = self.channels[name]
        leaving = channel.state is C.UNSUBSCRIBING
        channel.handle(G.EXPIRE)
        if leaving:
            self._left(channel, answered=False)
        else:
            message = f"the server did not answer the subscribe to {excerpt(name, 64)!r} within "
            message += f"{self._options.subscribe_timeout:g} s"
            channel.last_error = SubscriptionError(message, channel=name)
            self._emit(SubscriptionFailed(name, channel.last_error))

    def message(self, channel: Channel, event: ChannelEvent, now: float) -> None:
        """Take a message of a channel that needs more than being handed on."""
        if channel.sealed:
            self._admission.sealed.receive(channel, event, now)
        elif channel.is_cached(event.name):
            self._emit(replace(event, cached=True))
        else:
            self._emit(event)

    def control(self, event: ChannelEvent, now: float) -> None:
        """Take a `pusher:` or `pusher_internal:` message that names a channel."""
        name = event.channel
        channel = self.channels.get(name)
        match event.name:
            case "pusher:error":
                self.error(read_error(event.wire_data, name), now)
            case "pusher_internal:subscription_succeeded":
                if channel is not None:
                    self._succeed(channel, event.wire_data, now)
                elif self._abandoned[name]:  # so late that it was left without an answer
                    self._abandoned[name] -= (
                        1  # each subscribe has one answer, however often it is given
                    )
                    self._send_unsubscribe(name)
            case "pusher:subscription_error" | "pusher_internal:subscription_error":
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
                    self._member(channel, channel.roster, event)
            case _:
                pass  # unknown names of the protocol's own are for clients that know them

    def error(self, error: ErrorReceived, now: float) -> bool:
        """Take a `pusher:error`; put it down to what it is about. Return whether that is a channel or the sign-in."""
        name = named_channel(error, self.channels)
        if name is None and self._user.refused(error, now):
            return True
        if name is None:
            name = blamed_channel(error, self.channels, now)
        if name is not None and concerns_subscribing(error):
            self._refuse(name, error, now)
        else:
            self._emit(ServerError(error.code, excerpt(error.message), name))
        return name is not None

    def _succeed(self, channel: Channel, data: Any, now: float) -> None:
        leaving = channel.state is C.UNSUBSCRIBING
        if not channel.handle(G.SUCCEED):
            return
        self._timers.stop(Timer.SUBSCRIBE, channel.name)
        if leaving:
            self._left(channel, answered=True)
            return
        offline_for = None if channel.lost_at is None else now - channel.lost_at
        channel.last_error = channel.lost_at = None
        channel.failures = 0
        changes: list[Event] = []
        if channel.roster is not None:
            try:
                changes += channel.roster.replace(data)
            except BadPresence as error:
                self._emit(ProtocolViolation(str(error), excerpt(text_of(data))))
        self._emit(Subscribed(channel.name, offline_for))
        for change in changes:
            self._emit(change)

    def _refuse(self, name: str, error: ErrorReceived, now: float) -> None:
        """The server said no, about a channel: to its subscribe when that is under way, else to something else."""
        channel = self.channels.get(name)
        if channel is None or channel.state not in (C.SUBSCRIBING, C.TIMED_OUT, C.UNSUBSCRIBING):
            self._emit(ServerError(error.code, excerpt(error.message), name))
            return
        leaving, already = channel.state is C.UNSUBSCRIBING, "xisting subscription" in error.message
        if already and (leaving or channel.roster is None):
            self._succeed(channel, None, now)
            channel.cache_missed()  # its last event was given when it was subscribed
            return
        self._timers.stop(Timer.SUBSCRIBE, name)
        if leaving:
            channel.handle(G.REFUSE)
            self._forget(channel, answered=False)
            return
        if already:  # nobody would tell who is there: out, and in again after a while
            self._send_unsubscribe(name)
        text = f"the server refused {excerpt(name, 64)!r}"
        if error.message:
            text += f": {excerpt(error.message)}"
        refusal = SubscriptionError(text, channel=name, code=error.code)
        self._admission.fail(channel, refusal, now, again=already)

    def _member(self, channel: Channel, roster: Roster, event: ChannelEvent) -> None:
        joined = event.name.endswith("member_added")
        try:
            if channel.state is not C.SUBSCRIBED:
                roster.note(event.wire_data, joined=joined)
                return
            if not joined and channel.is_cached(event.name):
                return  # Reverb keeps it as the last event of presence-cache channels
            change = roster.add(event.wire_data) if joined else roster.remove(event.wire_data)
        except BadPresence as error:
            self._emit(ProtocolViolation(str(error), excerpt(event.raw_data)))
        else:
            if change is not None:
                self._emit(change)

    def _count(self, channel: Channel, event: ChannelEvent) -> None:
        data = value_of(event.wire_data)
        count = data.get("subscription_count") if isinstance(data, dict) else None
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            why = "a subscription_count without a count"
            self._emit(ProtocolViolation(why, excerpt(event.raw_data)))
            return
        channel.subscription_count = count
        self._emit(SubscriptionCount(channel.name, count))

    def _left(self, channel: Channel, *, answered: bool) -> None:
        """The subscribe of a channel that was left meanwhile was answered, or will not be."""
        self._forget(channel, answered=answered)
        self._send_unsubscribe(channel.name)

    def _forget(self, channel: Channel, *, answered: bool) -> None:
        """Let a channel go. One whose subscribe the server did not answer may yet be subscribed, and is left then."""
        del self.channels[channel.name]
        if not answered and len(self._abandoned) < self._options.max_channels:
            self._abandoned[channel.name] += 1

    def _send_unsubscribe(self, name: str) -> None:
        self._send(encode("pusher:unsubscribe", {"channel": name}))


def _is_presence(channel: Channel) -> bool:
    return channel.roster is not None
