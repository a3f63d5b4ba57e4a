"""How a channel gets in: the grant for its subscribe, who the member is, the key; and another try when that failed.

Protocol: authorization. A grant is for one channel on one connection; what was asked for on another, or for a
channel that was left meanwhile, is never used.
"""

from __future__ import annotations

from collections.abc import Callable

from .._auth.requests import Grants
from .._base.backoff import Rng, delay_before
from .._base.timers import Timer, Timers
from .._wire.envelope import encode
from .._wire.secretbox import read_key
from ..auth import AuthRequest, Grant
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
        grants: Grants,
        emit: Callable[[Event], None],
        send: Callable[[bytes], None],
        user: User,
    ) -> None:
        self._options = options
        self._timers = timers
        self._rng = rng
        self._grants = grants
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
        self._grants.drop_all(now)

    def ask(self, channel: Channel, now: float) -> None:
        """Subscribe to a channel that is wanted: at once, or when its grant is there."""
        if self._socket_id is None or channel.state is not C.WANTED:
            return
        self.withdraw(channel, now)
        if not channel.kind.needs_grant:
            self._subscribe(channel, None, now)
            return
        channel.handle(G.ASK)
        result = self._get(channel, now)
        if result is not None:
            self._use(channel, result, now)

    def granted(
        self, channel: Channel, details: AuthRequest, result: Grant | AuthorizationError, now: float
    ) -> None:
        """Take the answer to a request. One that nobody waits for is dropped."""
        if channel.request is None or details.socket_id != self._socket_id:
            return
        channel.request = None
        if channel.state is C.GRANTING:
            self._use(channel, result, now)
        else:  # asked for a new key, while it is subscribed
            self.sealed.refreshed(channel, result)

    def user_settled(self, channel: Channel, now: float) -> None:
        """It is known now who is signed in: go on with a presence channel that waited for it."""
        grant, channel.held_grant = channel.held_grant, None
        if grant is not None:
            self._use(channel, grant, now)

    def withdraw(self, channel: Channel, now: float) -> None:
        """Nothing that was asked for on behalf of the channel is of use any more, nor the key that it has."""
        if channel.request is not None:
            self._grants.cancel(channel.request, now)
        channel.request = channel.held_grant = None
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

    def _get(self, channel: Channel, now: float) -> Grant | AuthorizationError | None:
        """Ask for a grant; return what came of it, or None when the answer comes later."""
        assert self._socket_id is not None  # asked for on a connection
        asked = self._grants.ask(AuthRequest(self._socket_id, channel.name), channel.auth, now)
        channel.request = asked if isinstance(asked, int) else None
        return None if isinstance(asked, int) else asked

    def _use(self, channel: Channel, result: Grant | AuthorizationError, now: float) -> None:
        if isinstance(result, AuthorizationError):
            self.fail(channel, result, now, again=result.temporary)
            return
        if channel.roster is not None:
            if result.channel_data is None and self._user.pending:
                channel.held_grant = result
                return
            if result.channel_data is None and self._user.id is None:
                why = f"the grant for {excerpt(channel.name, 64)!r} has no channel_data, and no user is signed in"
                error = AuthorizationError(why, channel=channel.name)
                self.fail(channel, error, now, again=False)
                return
            channel.roster.introduce(result.channel_data, self._user.id)
        if channel.sealed:
            channel.key = read_key(result.shared_secret)
        self._subscribe(channel, result, now)

    def _subscribe(self, channel: Channel, grant: Grant | None, now: float) -> None:
        channel.handle(G.SEND)
        data: dict[str, str] = {"channel": channel.name}
        if grant is not None:
            data["auth"] = grant.auth
            if grant.channel_data is not None:
                data["channel_data"] = grant.channel_data
        self._timers.set(Timer.SUBSCRIBE, now + self._options.subscribe_timeout, channel.name)
        self._send(encode("pusher:subscribe", data))
