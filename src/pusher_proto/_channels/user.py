"""Signs the user in on each connection, and processes messages for the user and the watchlist.

Protocol: user authentication. A connection signs in once; there is no sign-out. Servers without the feature do not
answer (Soketi) or report an invalid message (Reverb), so there is a timeout. After a temporary failure the client tries
again on the same connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from .._auth.requests import AuthRequests
from .._base.backoff import Rng
from .._base.timers import Timer, Timers
from .._connection.connector import Connector
from .._connection.ledger import RequestKind
from .._protocol.control import ErrorReceived, read_id
from .._protocol.failures import PROMPT_ATTEMPTS, Cause, cause_of_sign_in_authorization, retry_in
from .._wire.envelope import Envelope, encode, text_of, value_of
from ..auth import AuthRequest, AuthResponse
from ..errors import AuthorizationError, PusherError, SignInError, excerpt
from ..events import (
    ChannelEvent,
    ProtocolViolation,
    SignedIn,
    SignInFailed,
    UserEvent,
    WatchlistOffline,
    WatchlistOnline,
)
from ..names import USER_PREFIX, is_of_protocol
from ..options import Options
from ..states import USER, UserInput, UserState, advance
from .error_attribution import suspicion

__all__ = ["SIGNED_IN", "USER_MESSAGES", "User", "UserSnapshot"]

U, G = UserState, UserInput

PROMPT_FOR = 30.0
"""Seconds after the first failure in which attempts are prompt: some servers close connections without a sign-in."""

_CONFIRMED_WITHIN = 1.0
"""Seconds in which a server has to confirm the user's own channel: the known ones do, and others may not."""

_HELD = 1000
"""How many watchlist messages are kept while the sign-in is unanswered."""

SIGNED_IN = "pusher:signin_success"
_WATCHLIST = "pusher_internal:watchlist_events"
USER_MESSAGES = (SIGNED_IN, _WATCHLIST)
"""The messages about the user, whatever channel they name."""

_NOBODY: frozenset[str] = frozenset()


class UserSnapshot(Struct, frozen=True):
    """The state of the user at one moment."""

    state: UserState
    """The state of the sign-in."""
    id: str | None = None
    """The id of the signed-in user, or None."""
    data: Any = None
    """The signed-in user's data, or None."""
    last_error: PusherError | None = None
    """Why the last sign-in failed; None after a success."""
    online: frozenset[str] = _NOBODY
    """The ids of the users of the watchlist that are online."""
    retry_at: float | None = None
    """When the client signs in again after a failure; None when that is not planned."""


class User:
    """The sign-in of a session. Calls `settled` after each success or failure."""

    __slots__ = (
        "_auth_requests", "_connector", "_data", "_emit", "_failing_since", "_failures", "_held",
        "_last_error", "_online", "_options", "_rng", "_settled", "_state", "_timers",
        "_wanted", "_was_good", "_watched", "id",
    )  # fmt: skip

    def __init__(
        self,
        options: Options,
        timers: Timers,
        rng: Rng,
        authorizations: AuthRequests,
        connector: Connector,
        settled: Callable[[float], None],
    ) -> None:
        self._options = options
        self._timers = timers
        self._rng = rng
        self._auth_requests = authorizations
        self._emit = connector.emit
        self._connector = connector
        self._settled = settled
        self._state = U.SIGNED_OUT
        self._wanted = False
        self._was_good = False
        """Whether a sign-in has succeeded: then no failure is final."""
        self._failures = 0
        """Failures in a row on this connection, as `_count_failure` counts them."""
        self._failing_since = 0.0
        """When the first of them was."""
        self._last_error: PusherError | None = None
        self._data: Any = None
        """The data of the signed-in user."""
        self._online: frozenset[str] = _NOBODY
        """The users of the watchlist that are online."""
        self._watched: frozenset[str] = _NOBODY
        """All users of the watchlist, if the server sent it with the success."""
        self._held: list[tuple[str, Any]] = []
        """Watchlist messages that were received before the success: Sockudo sends them first."""
        self.id: str | None = None
        """The id of the signed-in user."""

    @property
    def wanted(self) -> bool:
        """Whether `signin` was called: it is repeated on each connection."""
        return self._wanted

    @property
    def pending(self) -> bool:
        """Whether the sign-in is in progress."""
        return self._state in (U.AUTHORIZING, U.SIGNING_IN)

    @property
    def reachable(self) -> bool:
        """Whether messages to the user arrive: the server confirmed the user's channel, or has had time to."""
        return self.id is not None and not self._timers.is_set(Timer.USER_CHANNEL)

    @property
    def authorizing(self) -> bool:
        """Whether an authorization to sign in is pending, or has failed and will be requested again."""
        return self._state is U.AUTHORIZING or self._timers.is_set(Timer.SIGN_IN_RETRY)

    def snapshot(self) -> UserSnapshot:
        """Return the current state."""
        retry_at = self._timers.at(Timer.SIGN_IN_RETRY)
        return UserSnapshot(
            self._state, self.id, self._data, self._last_error, self._online, retry_at
        )

    def signin(self, now: float) -> None:
        """Sign the user in, on this connection and on all later ones."""
        self._wanted = True
        self._begin(now)

    def signout(self, now: float) -> bool:
        """Cancel the sign-in; return whether it was sent before, so that only a reconnect ends it."""
        self._wanted = self._was_good = False
        self._timers.stop(Timer.SIGN_IN_RETRY)
        if self._state in (U.SIGNING_IN, U.SIGNED_IN):
            return True
        if self._move(G.LOSE):
            self._last_error = None
            self._settled(now)
        return False

    def established(self, now: float) -> None:
        """Sign in on a new connection, if `signin` was called."""
        if self._wanted:
            self._begin(now)

    def lost(self) -> None:
        """Reset at the end of the connection. The next connection signs in again."""
        self._move(G.LOSE)
        self._timers.stop(Timer.SIGN_IN)
        self._timers.stop(Timer.SIGN_IN_RETRY)
        self._timers.stop(Timer.USER_CHANNEL)
        self.id = self._data = None
        self._online = self._watched = _NOBODY
        self._held.clear()
        self._failures = 0

    def authorized(
        self, details: AuthRequest, result: AuthResponse | AuthorizationError, now: float
    ) -> None:
        """Process the answer to the request for an authorization. Ignores one for an earlier connection."""
        if self._state is U.AUTHORIZING and details.socket_id == self._connector.socket_id:
            self._use(result, now)

    def signin_due(self, now: float) -> None:
        """Fail the sign-in: `signin_timeout` has passed, unless the answer may be unread."""
        if self._connector.postponed(Timer.SIGN_IN, None, self._options.signin_timeout, now):
            return
        suspect = self._connector.ledger.expired(RequestKind.SIGN_IN)
        why = f"the server did not answer the sign-in within {self._options.signin_timeout:g} s: "
        why += "check that it supports user authentication, and that the feature is enabled"
        self._refuse(SignInError(why + suspicion(suspect)), Cause.SIGN_IN_UNANSWERED, now)

    def retry_due(self, now: float) -> None:
        """Sign in again: the delay after a failure is over."""
        self._begin(now)

    def refused(self, error: ErrorReceived, now: float) -> bool:
        """Process an error that answers the sign-in; return False if no sign-in is unanswered."""
        if self._state is not U.SIGNING_IN:
            return False
        refusal = SignInError(f"the server refused the sign-in: {excerpt(error.message)}")
        self._refuse(refusal, Cause.SIGN_IN_REFUSED, now)
        return True

    def receive(self, envelope: Envelope, now: float) -> bool:
        """Process a message that names no channel; return whether it was about the user."""
        name = envelope.event
        if name in ("online", "offline"):  # Sockudo's format
            self._take_watchlist(name, envelope.data)
            return True
        return self._control(name, envelope.data, now)

    def receive_on_channel(self, event: ChannelEvent, now: float) -> bool:
        """Process a message of a channel that is not subscribed; return whether it was for the user."""
        if self.id is None or event.channel != USER_PREFIX + self.id:
            return self._control(event.name, event.wire_data, now)
        self._timers.stop(Timer.USER_CHANNEL)
        if event.name.endswith(":subscription_error"):
            return False  # the session emits it as an error of the server
        if not is_of_protocol(event.name):
            user_event = UserEvent(event.channel, event.name, event.wire_data, None, event.extra)
            self._emit(user_event)
            return True
        self._control(event.name, event.wire_data, now)
        return True

    def _control(self, name: str, data: Any, now: float) -> bool:
        """Process a success of the sign-in or a change of the watchlist; return whether it was one of these."""
        if name == SIGNED_IN:
            self._succeed(data, now)
        elif name == _WATCHLIST:
            self._take_watchlist(name, data)
        else:
            return False
        return True

    def _begin(self, now: float) -> None:
        """Request an authorization, if there is a connection and no sign-in is in progress."""
        socket_id = self._connector.socket_id
        if socket_id is None or not self._move(G.ASK):
            return
        self._timers.stop(Timer.SIGN_IN_RETRY)
        answer = self._auth_requests.start(AuthRequest(socket_id), None, now)
        if not isinstance(answer, int):
            self._use(answer, now)

    def _use(self, result: AuthResponse | AuthorizationError, now: float) -> None:
        """Send the sign-in with an authorization, or fail it."""
        if isinstance(result, AuthorizationError):
            error = SignInError(f"no authorization to sign in: {result}")
            error.__cause__ = result
            self._refuse(error, cause_of_sign_in_authorization(result), now)
            return
        self._move(G.SEND)
        self._timers.set(Timer.SIGN_IN, now + self._options.signin_timeout)
        frame = encode("pusher:signin", {"auth": result.auth, "user_data": result.user_data})
        limit = self._options.max_frame
        if limit is not None and len(frame) > limit:
            why = f"the sign-in has {len(frame)} bytes; the limit is {limit} (Options.max_frame)"
            self._refuse(SignInError(why), Cause.SIGN_IN_REFUSED, now)
            return
        self._connector.request(frame, RequestKind.SIGN_IN, None, now)

    def _succeed(self, sent: Any, now: float) -> None:
        """Process a success; even after a failure, which then was attributed to the sign-in wrongly."""
        if self._state in (U.SIGNED_OUT, U.SIGNED_IN):
            return
        data = value_of(sent)
        user = value_of(data.get("user_data")) if isinstance(data, dict) else None
        user_id = read_id(user.get("id")) if isinstance(user, dict) else None
        if user is None or user_id is None:
            why = "a signin_success without a user"
            self._emit(ProtocolViolation(why, excerpt(text_of(sent))))
            if self._state is U.SIGNING_IN:
                error = SignInError("the server's answer to the sign-in has no user id")
                self._refuse(error, Cause.SIGN_IN_REFUSED, now)
            return
        self._timers.stop(Timer.SIGN_IN)
        self._timers.stop(Timer.SIGN_IN_RETRY)
        self._move(G.SUCCEED)
        self._last_error = None
        self._was_good, self._failures = True, 0
        self.id, self._data = user_id, user
        watchlist = user.get("watchlist")
        self._watched = frozenset(_ids_in(watchlist) if isinstance(watchlist, list) else ())
        own = USER_PREFIX + user_id
        frame = encode("pusher:subscribe", {"channel": own})
        self._connector.request(frame, RequestKind.USER_CHANNEL, own, now)
        self._timers.set(Timer.USER_CHANNEL, now + _CONFIRMED_WITHIN)
        self._emit(SignedIn(user_id, user))
        held, self._held = self._held, []
        for one in held:
            self._take_watchlist(*one)
        self._settled(now)

    def _refuse(self, error: SignInError, cause: Cause, now: float) -> None:
        """Fail the sign-in; try again after a delay if the table of failures has one for `cause`."""
        self._timers.stop(Timer.SIGN_IN)
        self._move(G.REFUSE)
        self._last_error = error
        self._count_failure(now)
        delay = retry_in(
            cause,
            good=self._was_good,
            failures=self._failures,
            options=self._options,
            rng=self._rng,
        )
        if delay is not None:
            self._timers.set(Timer.SIGN_IN_RETRY, now + delay)
        self._emit(SignInFailed(error, delay))
        self._settled(now)

    def _count_failure(self, now: float) -> None:
        """Count a failure; in the first `PROMPT_FOR` seconds the count stays among the prompt attempts."""
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        if now - self._failing_since < PROMPT_FOR:
            self._failures = min(self._failures, PROMPT_ATTEMPTS)

    def _take_watchlist(self, name: str, sent: Any) -> None:
        """Process a message of the watchlist, in Pusher's or Sockudo's format; keep it until the sign-in succeeds."""
        if self._state is U.SIGNED_IN:
            if name == _WATCHLIST:
                self._watch(sent)
            else:
                self._watch_each([(name, value_of(sent))], sent)
        elif self._state is not U.SIGNED_OUT and len(self._held) < _HELD:
            self._held.append((name, sent))

    def _watch(self, sent: Any) -> None:
        """Apply the changes in a message in Pusher's format."""
        data = value_of(sent)
        events = data.get("events") if isinstance(data, dict) else None
        if not isinstance(events, list):
            self._emit(ProtocolViolation("watchlist_events without events", excerpt(text_of(sent))))
            return
        self._watch_each(
            [(one.get("name") if isinstance(one, dict) else None, one) for one in events], sent
        )

    def _watch_each(self, changes: list[tuple[object, Any]], sent: Any) -> None:
        """Apply the changes in one message; emit one `ProtocolViolation` if some are invalid."""
        wrong = [why for name, data in changes if (why := self._watch_one(name, data))]
        if wrong:
            self._emit(ProtocolViolation(wrong[0], excerpt(text_of(sent))))

    def _watch_one(self, name: object, data: Any) -> str:
        """Apply one change; return an error message, or ""."""
        ids = data.get("user_ids") if isinstance(data, dict) else None
        if name not in ("online", "offline") or not isinstance(ids, list):
            return "a watchlist event without users"
        users = tuple(one for one in _ids_in(ids) if one != self.id or one in self._watched)
        if ids and not users:
            return ""  # Sockudo sends the user's own connections, too
        if name == "online":
            limit = self._options.max_members
            online = self._online | set(users)
            if len(online) > limit:
                return f"more than {limit} users are online (Options.max_members)"
            self._online = online
            self._emit(WatchlistOnline(users))
        else:
            self._online -= set(users)
            self._emit(WatchlistOffline(users))
        return ""

    def _move(self, given: UserInput) -> bool:
        """Advance the state by the table; return whether it changed."""
        before = self._state
        self._state = advance(USER, before, given)
        return self._state is not before


def _ids_in(values: list[object]) -> list[str]:
    """Return the valid user ids in a list, as text."""
    return [one for one in map(read_id, values) if one is not None]
