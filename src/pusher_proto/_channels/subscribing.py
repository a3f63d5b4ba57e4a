"""How a channel gets in: the authorization for its subscribe, who the member is, the key; and another try when
that failed.

Protocol: authorization. An authorization is for one channel on one connection; what was asked for on another, or for a
channel that was left meanwhile, is never used.
"""

from __future__ import annotations

from collections.abc import Callable

from .._auth.requests import AuthRequests
from .._base.backoff import Rng, delay_before
from .._base.timers import Timer, Timers
from .._wire.envelope import encode
from .._wire.secretbox import read_key
from ..auth import AuthRequest, AuthResponse
from ..errors import AuthorizationError, PusherError, excerpt
from ..events import Event, SubscriptionFailed
from ..options import Options
from ..states import ChannelInput, ChannelState
from .channel import Channel
from .encryption import Sealed
from .user import User

__all__ = ["Admission"]

C, G = ChannelState, ChannelInput


class Admission:
    """Brings channels from being wanted to their subscribe, on the connection of the moment."""

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
        self._rng = rng
        self._auth_requests = authorizations
        self._emit = emit
        self._send = send
        self._user = user
        self._socket_id: str | None = None
        self.sealed = Sealed(options, emit, self._refresh_key)

    def established(self, socket_id: str) -> None:
        """There is a connection to ask on."""
        self._socket_id = socket_id

    def lost(self, now: float) -> None:
        """The connection is gone, and with it all that was asked for on it."""
        self._socket_id = None
        self._auth_requests.drop_all(now)

    def ask(self, channel: Channel, now: float) -> None:
        """Subscribe to a channel that is wanted: at once, or when its authorization is there."""
        if self._socket_id is None or channel.state is not C.PENDING:
            return
        self.withdraw(channel, now)
        if not channel.kind.needs_authorization:
            self._subscribe(channel, None, now)
            return
        channel.handle(G.ASK)
        result = self._get(channel, now)
        if result is not None:
            self._use(channel, result, now)

    def authorized(
        self,
        channel: Channel,
        details: AuthRequest,
        result: AuthResponse | AuthorizationError,
        now: float,
    ) -> None:
        """Take the answer to a request. One that nobody waits for is dropped."""
        if channel.request is None or details.socket_id != self._socket_id:
            return
        channel.request = None
        if channel.state is C.AUTHORIZING:
            self._use(channel, result, now)
        else:  # asked for a new key, while it is subscribed
            self.sealed.refreshed(channel, result)

    def user_settled(self, channel: Channel, now: float) -> None:
        """Go on with a presence channel whose authorization needs a user: the sign-in succeeded or failed."""
        authorization, channel.held_authorization = channel.held_authorization, None
        if authorization is None:
            return
        if channel.state is C.AUTHORIZING:
            self._use(channel, authorization, now)
        elif self._user.id is not None:  # it failed before, without a user
            channel.handle(G.WANT)
            self.ask(channel, now)
        else:
            channel.held_authorization = authorization

    def withdraw(self, channel: Channel, now: float) -> None:
        """Nothing that was asked for on behalf of the channel is of use any more, nor the key that it has."""
        if channel.request is not None:
            self._auth_requests.cancel(channel.request, now)
        channel.request = channel.held_authorization = None
        self._timers.stop(Timer.REGRANT, channel.name)
        self.sealed.forget(channel)

    def fail(self, channel: Channel, error: PusherError, now: float, *, again: bool) -> None:
        """The channel is refused; with `again` it is tried anew after a while."""
        self.withdraw(channel, now)
        delay = None
        if again:  # the endpoint may be down for minutes, and nobody would come back to ask
            channel.failures += 1
            cap = self._options.retry_cap
            delay = delay_before(channel.failures, self._rng, cap=cap, at_least=1.0)
            self._timers.set(Timer.REGRANT, now + delay, channel.name)
        channel.handle(G.REFUSE)
        channel.last_error = error
        self._emit(SubscriptionFailed(channel.name, error, delay))

    def _refresh_key(self, channel: Channel, now: float) -> None:
        result = self._get(channel, now)
        if result is not None:
            self.sealed.refreshed(channel, result)

    def _get(self, channel: Channel, now: float) -> AuthResponse | AuthorizationError | None:
        """Ask for an authorization; return what came of it, or None when the answer comes later."""
        assert self._socket_id is not None  # asked for on a connection
        asked = self._auth_requests.ask(
            AuthRequest(self._socket_id, channel.name), channel.auth, now
        )
        channel.request = asked if isinstance(asked, int) else None
        return None if isinstance(asked, int) else asked

    def _use(self, channel: Channel, result: AuthResponse | AuthorizationError, now: float) -> None:
        if isinstance(result, AuthorizationError):
            self.fail(channel, result, now, again=result.temporary)
            return
        if channel.roster is not None:
            if result.channel_data is None and self._user.pending:
                channel.held_authorization = result
                return
            if result.channel_data is None and self._user.id is None:
                why = (
                    f"the authorization for {excerpt(channel.name, 64)!r} has no channel_data, "
                    "and no user is signed in"
                )
                error = AuthorizationError(why, channel=channel.name)
                self.fail(channel, error, now, again=False)
                channel.held_authorization = (
                    result  # a sign-in that succeeds later is a reason to ask again
                )
                return
            channel.roster.introduce(result.channel_data, self._user.id)
            channel.roster.expect()
        if channel.sealed:
            channel.key = read_key(result.shared_secret)
        self._subscribe(channel, result, now)

    def _subscribe(self, channel: Channel, authorization: AuthResponse | None, now: float) -> None:
        channel.handle(G.SEND)
        data: dict[str, str] = {"channel": channel.name}
        if authorization is not None:
            data["auth"] = authorization.auth
            if authorization.channel_data is not None:
                data["channel_data"] = authorization.channel_data
        self._timers.set(Timer.SUBSCRIBE, now + self._options.subscribe_timeout, channel.name)
        self._send(encode("pusher:subscribe", data))
