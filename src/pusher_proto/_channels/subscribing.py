"""What comes before a subscribe: its authorization, the member, the key; and the next try after a failure.

Protocol: authorization. An authorization is for one channel on one connection. One that was requested on another
connection, or for a channel that has been left since, is not used.
"""

from __future__ import annotations

from .._auth.requests import AuthRequests
from .._base.backoff import Rng, delay_before
from .._base.timers import Timer, Timers
from .._connection.connector import Connector
from .._connection.ledger import Asked
from .._wire.envelope import encode
from .._wire.secretbox import read_key
from ..auth import AuthRequest, AuthResponse
from ..errors import AuthorizationError, PusherError, excerpt
from ..events import SubscriptionFailed
from ..options import Options
from ..states import ChannelInput, ChannelState
from .channel import Channel
from .encryption import Sealed
from .renewals import Renewals
from .user import User

__all__ = ["Admission"]

C, G = ChannelState, ChannelInput


class Admission:
    """Sends the subscribes of the current connection, each with its authorization."""

    def __init__(
        self,
        options: Options,
        timers: Timers,
        rng: Rng,
        authorizations: AuthRequests,
        connector: Connector,
        user: User,
    ) -> None:
        self._options = options
        self._timers = timers
        self._rng = rng
        self._auth_requests = authorizations
        self._connector = connector
        self._emit = connector.emit
        self._user = user
        self._socket_id: str | None = None
        self.renewals = Renewals(options, timers, connector)
        self.sealed = Sealed(options, self._emit, self._refresh_key)

    def established(self, socket_id: str) -> None:
        """Begin with a new connection."""
        self._socket_id = socket_id

    def lost(self, now: float) -> None:
        """Forget what was requested on the connection."""
        self._socket_id = None
        self.renewals.lost()
        self._auth_requests.drop_all(now)

    def ask(self, channel: Channel, now: float) -> None:
        """Subscribe to a channel that is pending: at once, or when its authorization has come."""
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
        """Take the answer to a request, unless the channel does not wait for it any longer."""
        if channel.request is None or details.socket_id != self._socket_id:
            return
        channel.requested(None)
        if channel.state is C.AUTHORIZING:
            self._use(channel, result, now)
        else:  # a new key for a channel that is subscribed
            self.sealed.refreshed(channel, result)

    def user_settled(self, channel: Channel, now: float) -> None:
        """Go on with a presence channel whose authorization needs a user: the sign-in succeeded or failed."""
        authorization = channel.take_held()
        if authorization is None:
            return
        if channel.state is C.AUTHORIZING:
            self._use(channel, authorization, now)
        elif self._user.id is not None:  # it failed before, without a user
            channel.want(None)
            self.ask(channel, now)
        else:
            channel.hold(authorization)

    def succeeded(self, channel: Channel) -> None:
        """Note that a channel is subscribed."""
        self._timers.stop(Timer.REGRANT, channel.name)

    def withdraw(self, channel: Channel, now: float) -> None:
        """Cancel the channel's outstanding authorization request and forget its key."""
        if channel.request is not None:
            self._auth_requests.cancel(channel.request, now)
            channel.requested(None)
        channel.take_held()
        self._timers.stop(Timer.REGRANT, channel.name)
        self.sealed.forget(channel)

    def fail(self, channel: Channel, error: PusherError, now: float, *, again: bool) -> None:
        """Report that the channel is refused; with `again` it is tried again after a delay."""
        self.withdraw(channel, now)
        delay = None
        if again:
            cap = self._options.retry_cap
            delay = delay_before(channel.failed_again(), self._rng, cap=cap, at_least=1.0)
            self._timers.set(Timer.REGRANT, now + delay, channel.name)
        channel.fail(error)
        self._emit(SubscriptionFailed(channel.name, error, delay))

    def _refresh_key(self, channel: Channel, now: float) -> None:
        result = self._get(channel, now)
        if result is not None:
            self.sealed.refreshed(channel, result)

    def _get(self, channel: Channel, now: float) -> AuthResponse | AuthorizationError | None:
        """Request an authorization; return it, or why there is none, or None when the answer comes later."""
        assert self._socket_id is not None  # an authorization is for a connection
        asked = self._auth_requests.ask(
            AuthRequest(self._socket_id, channel.name), channel.auth, now
        )
        channel.requested(asked if isinstance(asked, int) else None)
        return None if isinstance(asked, int) else asked

    def _use(self, channel: Channel, result: AuthResponse | AuthorizationError, now: float) -> None:
        if isinstance(result, AuthorizationError):
            self.fail(channel, result, now, again=result.temporary)
            return
        if channel.roster is not None:
            if result.channel_data is None and self._user.pending:
                channel.hold(result)
                return
            if result.channel_data is None and self._user.id is None:
                why = (
                    f"the authorization for {excerpt(channel.name, 64)!r} has no channel_data, "
                    "and no user is signed in"
                )
                error = AuthorizationError(why, channel=channel.name)
                self.fail(channel, error, now, again=False)
                # A sign-in that succeeds later is a reason to ask again.
                channel.hold(result)
                return
            channel.roster.introduce(result.channel_data, self._user.id)
        if channel.sealed:
            channel.use_key(read_key(result.shared_secret))
        self._subscribe(channel, result, now)

    def _subscribe(self, channel: Channel, authorization: AuthResponse | None, now: float) -> None:
        channel.handle(G.SEND)
        data: dict[str, str] = {"channel": channel.name}
        if authorization is not None:
            data["auth"] = authorization.auth
            if authorization.channel_data is not None:
                data["channel_data"] = authorization.channel_data
        self._timers.set(Timer.SUBSCRIBE, now + self._options.subscribe_timeout, channel.name)
        frame = encode("pusher:subscribe", data)
        self.renewals.subscribing(channel, frame, now)
        self._connector.request(frame, Asked.SUBSCRIBE, channel.name, now)
