"""Sends subscribes: gets the authorization, member and key of each channel first, and tries again after a failure.

Protocol: authorization. An authorization is for one channel on one connection. It is not used if it was requested on
another connection, or if the channel was unsubscribed.
"""

from __future__ import annotations

from .._auth.requests import AuthRequests
from .._base.backoff import Rng
from .._base.timers import Timer, Timers
from .._connection.connector import Connector
from .._connection.ledger import RequestKind
from .._protocol.control import ErrorReceived
from .._protocol.failures import Cause, cause_of_authorization, retry_in
from .._wire.envelope import encode
from .._wire.secretbox import read_key
from ..auth import AuthRequest, AuthResponse
from ..errors import AuthorizationError, SubscriptionError, excerpt
from ..events import SubscriptionFailed
from ..options import Options
from ..states import ChannelInput, ChannelState
from .channel import Channel
from .early import EarlyMessages
from .encryption import Decryption
from .error_attribution import suspicion
from .pacing import Pace
from .renewals import Renewals
from .suspects import Suspects
from .user import User

__all__ = ["Subscribing"]

C, G = ChannelState, ChannelInput

_RATE_LIMIT = 4301


class Subscribing:
    """Sends the subscribes of the current connection, each with its authorization."""

    __slots__ = (
        "_alone", "_auth_requests", "_connector", "_emit", "_held", "_options", "_pace", "_probed", "_queue",
        "_rng", "_succeeded", "_timers", "_user", "_without_data", "decryption", "early", "renewals",
        "suspects",
    )  # fmt: skip

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
        self.renewals = Renewals(options, timers, connector)
        self._pace = Pace(options.subscribe_rate)
        self._queue: dict[str, Channel] = {}
        """Pending channels that wait for the rate, in their order."""
        self._alone: dict[str, Channel] = {}
        """Suspects, which are subscribed one by one."""
        self._without_data: dict[str, None] = {}
        """Presence channels that were subscribed on this connection without `channel_data`, as the signed-in user."""
        self._probed: Channel | None = None
        """The suspect that is being subscribed alone."""
        self._held = False
        """Whether all channels wait for the suspect that is subscribed first."""
        self._succeeded = 0
        """How many subscribes have succeeded on this connection."""
        self.suspects = Suspects()
        self.early = EarlyMessages(options.receive_buffer, self._emit)
        self.decryption = Decryption(options, self.early, self._refresh_key)

    def established(self, now: float) -> None:
        """Prepare for the subscribes of a new connection."""
        self._held = self.suspects.has_first
        if self._held:
            # A limit, because its authorization may wait for the sign-in.
            self._timers.set(Timer.PACE, now + self._options.auth_timeout)

    def lost(
        self, unanswered: list[str], behind: str | None, now: float
    ) -> SubscriptionError | None:
        """Reset at the end of the connection; return the error of the channel that ended it, if that is certain.

        `unanswered` are the channels whose subscribe may have ended it, `behind` the one whose cached event may have.
        """
        self.renewals.lost()
        self._auth_requests.drop_all(now)
        self._timers.stop(Timer.PACE)
        self._queue.clear()
        self._alone.clear()
        ended, probed = self._connector.last_end, self._probed
        succeeded, self._probed, self._succeeded = self._succeeded, None, 0
        without_data, self._without_data = self._without_data, {}
        if ended is None:
            return None
        alone = probed.name if probed else None
        found = self.suspects.ended(ended.code, unanswered, behind, alone, succeeded)
        if ended.code == _RATE_LIMIT or self.suspects.limited:
            self._pace.slow_down(succeeded)
        if found is None:
            return None
        text = f"the server ended the connection when {excerpt(found, 64)!r} was subscribed: {ended.reason}"
        if found in without_data:
            text += (
                " (this server does not use the signed-in user as the member: sign channel_data)"
            )
        return SubscriptionError(text, channel=found, code=ended.code)

    def holds_back(self, channel: Channel) -> bool:
        """Return whether the channel ended a connection and waits for its next attempt, even across connections."""
        return (
            channel.state is C.FAILED
            and self.suspects.convicted(channel.name)
            and self._timers.is_set(Timer.REAUTHORIZE, channel.name)
        )

    def order_of(self, channel: Channel) -> tuple[bool, bool]:
        """Return a key that sorts channels into the order in which a connection subscribes to them.

        Presence channels are last: in a cluster a server may take long to answer for them, and delays others.
        """
        return not self.suspects.goes_first(channel.name), channel.roster is not None

    def begin(self, channel: Channel, now: float) -> None:
        """Start to subscribe to a channel if it is pending, and cancel an earlier attempt."""
        if self._connector.socket_id is not None and channel.state is C.PENDING:
            self.cancel(channel, now)
            self.begin_first(channel, now)

    def begin_first(self, channel: Channel, now: float) -> None:
        """Start to subscribe to a pending channel without an earlier attempt, as soon as the rate allows."""
        if self._connector.socket_id is None:
            return
        if self.suspects.suspected(channel.name):
            self._alone[channel.name] = channel
            self.proceed(now)
        elif self._held and self.suspects.goes_first(channel.name):
            self._begin(channel, now)
            self._end_hold(channel, now)
        elif self._held:
            self._queue[channel.name] = channel
        elif self._queue or not self._pace.take(now):
            self._queue[channel.name] = channel
            self._timers.set(Timer.PACE, self._pace.due())
        else:
            self._begin(channel, now)

    def pace_due(self, now: float) -> None:
        """Start with the waiting channels that the rate allows."""
        self._held = False
        while self._queue and self._pace.take(now):
            self._begin(self._queue.pop(next(iter(self._queue))), now)
        if self._queue:
            self._timers.set(Timer.PACE, self._pace.due())
        else:
            self.proceed(now)

    def _end_hold(self, channel: Channel, now: float) -> None:
        """Start with the other channels if the first suspect's subscribe was sent, or has failed."""
        if self._held and channel.state is not C.AUTHORIZING:
            self.pace_due(now)

    def proceed(self, now: float) -> None:
        """Start with the next suspect if no other request is unanswered."""
        if not self._alone and self._probed is None:
            return
        while not (
            self._held
            or self._queue
            or self._connector.ledger.waiting
            or self._connector.socket_id is None
        ):
            probed, self._probed = self._probed, None
            if probed is not None:
                if probed.state is C.AUTHORIZING:
                    self._probed = probed
                    return
                self.suspects.cleared(probed.name)
            if not self._alone:
                return
            self._probed = channel = self._alone.pop(next(iter(self._alone)))
            self._begin(channel, now)

    def _begin(self, channel: Channel, now: float) -> None:
        """Request the authorization of the channel, or subscribe when it needs none."""
        if not channel.kind.needs_authorization:
            self._subscribe(channel, None, now)
            return
        channel.handle(G.ASK)
        if channel.auth_for not in (None, self._connector.socket_id):
            why = f"the AuthResponse for {excerpt(channel.name, 64)!r} was for an earlier connection: subscribe again "
            why += "with a new one, or pass a function that returns one"
            self.fail(channel, AuthorizationError(why, channel=channel.name), None, now)
            return
        result = self._authorize(channel, now)
        if result is not None:
            self._use(channel, result, now)

    def authorized(
        self,
        channel: Channel,
        details: AuthRequest,
        result: AuthResponse | AuthorizationError,
        now: float,
    ) -> None:
        """Process the answer to a request for an authorization. Ignores it if the channel no longer needs it."""
        if channel.request is None or details.socket_id != self._connector.socket_id:
            return
        channel.requested(None)
        if channel.state is C.AUTHORIZING:
            self._use(channel, result, now)
            self._end_hold(channel, now)
        else:  # a new key for a channel that is subscribed
            self.decryption.refreshed(channel, result, now)

    def user_settled(self, channel: Channel, now: float) -> None:
        """Continue with a presence channel whose authorization needs a user, after the sign-in succeeded or failed."""
        authorization = channel.take_held()
        if authorization is None:
            return
        if channel.state is C.AUTHORIZING:
            self._use(channel, authorization, now)
        elif self._user.id is not None:  # it failed before, without a user
            channel.want(None)
            self.begin(channel, now)
        else:
            channel.hold(authorization)

    def succeeded(self, channel: Channel) -> None:
        """Count a success."""
        self._succeeded += 1
        self.suspects.answered(channel.name)
        self._timers.stop(Timer.REAUTHORIZE, channel.name)

    def cancel(self, channel: Channel, now: float) -> None:
        """Cancel the channel's pending requests; forget its key and its early messages."""
        request = channel.request
        channel.withdraw()
        if request is not None:
            self._auth_requests.cancel(request, now)
        if channel.encrypted:
            self.decryption.forget(channel)
        self._queue.pop(channel.name, None)
        self._alone.pop(channel.name, None)
        self._timers.stop(Timer.REAUTHORIZE, channel.name)
        self.early.forget(channel.name)

    def fail(
        self, channel: Channel, error: SubscriptionError, cause: Cause | None, now: float
    ) -> None:
        """Fail a channel; try again after a delay if the table of failures has one for `cause`."""
        self.cancel(channel, now)
        channel.fail(error)
        self._emit(SubscriptionFailed(channel.name, error, self._retry(channel, cause, now)))
        self.proceed(now)

    def unanswered(self, channel: Channel, suspect: ErrorReceived | None, now: float) -> None:
        """Handle a subscribe that was not answered in time, and send it again after a delay."""
        text = f"the server did not answer the subscribe to {excerpt(channel.name, 64)!r} within "
        text += f"{self._options.subscribe_timeout:g} s{suspicion(suspect)}"
        error = SubscriptionError(text, channel=channel.name)
        channel.expire(error)
        delay = self._retry(channel, Cause.SUBSCRIBE_UNANSWERED, now)
        self._emit(SubscriptionFailed(channel.name, error, delay))
        self.early.release(channel.name)
        self.proceed(now)

    def _retry(self, channel: Channel, cause: Cause | None, now: float) -> float | None:
        """Set the timer of the next attempt, and return the seconds until then; None: at the next connection."""
        if cause is None:
            return None
        failures = channel.failed_again()
        delay = retry_in(
            cause, good=channel.good, failures=failures, options=self._options, rng=self._rng
        )
        if delay is not None:
            self._timers.set(Timer.REAUTHORIZE, now + delay, channel.name)
        return delay

    def _refresh_key(self, channel: Channel, now: float) -> None:
        """Request a new authorization for the key of a subscribed channel."""
        result = self._authorize(channel, now)
        if result is not None:
            self.decryption.refreshed(channel, result, now)

    def _authorize(self, channel: Channel, now: float) -> AuthResponse | AuthorizationError | None:
        """Request an authorization; return the answer if it is known at once, else None."""
        socket_id = self._connector.socket_id
        assert socket_id is not None  # an authorization is for a connection
        answer = self._auth_requests.start(AuthRequest(socket_id, channel.name), channel.auth, now)
        channel.requested(answer if isinstance(answer, int) else None)
        return None if isinstance(answer, int) else answer

    def _use(self, channel: Channel, result: AuthResponse | AuthorizationError, now: float) -> None:
        """Subscribe with an authorization, or fail the channel."""
        if isinstance(result, AuthorizationError):
            self.fail(channel, result, cause_of_authorization(result), now)
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
                self.fail(channel, error, None, now)
                # `user_settled` tries again when a sign-in succeeds later.
                channel.hold(result)
                return
            if result.channel_data is None:
                self._without_data[channel.name] = None
            channel.roster.introduce(result.channel_data, self._user.id)
        if channel.encrypted:
            channel.use_key(read_key(result.shared_secret))
        self._subscribe(channel, result, now)

    def _subscribe(self, channel: Channel, authorization: AuthResponse | None, now: float) -> None:
        """Send the subscribe."""
        data: dict[str, str] = {"channel": channel.name}
        if authorization is not None:
            data["auth"] = authorization.auth
            if authorization.channel_data is not None:
                data["channel_data"] = authorization.channel_data
        frame, limit = encode("pusher:subscribe", data), self._options.max_frame
        if limit is not None and len(frame) > limit:
            why = f"the subscribe to {excerpt(channel.name, 64)!r} has {len(frame)} bytes; "
            why += f"the limit is {limit} (Options.max_frame)"
            self.fail(channel, SubscriptionError(why, channel=channel.name), None, now)
            return
        channel.handle(G.SEND)
        self._timers.set(Timer.SUBSCRIBE, now + self._options.subscribe_timeout, channel.name)
        self.renewals.subscribing(channel, frame, now)
        self._connector.request(frame, RequestKind.SUBSCRIBE, channel.name, now)
        if channel is self._probed:
            # The pong follows the success and the cached event, so it shows that the connection outlived both.
            self._connector.ping(now)
