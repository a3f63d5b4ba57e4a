"""The user who signs in: the sign-in of each connection, messages for the user alone, and the watchlist.

Protocol: user authentication. One sign-in a connection; there is no sign-out. Servers without the feature
keep silent (Soketi) or call it an invalid message (Reverb), so there is a time limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from .._auth.requests import AuthRequests
from .._base.timers import Timer, Timers
from .._connection.link import ErrorReceived
from .._wire.envelope import Envelope, encode, text_of, value_of
from ..auth import AuthRequest, AuthResponse
from ..errors import AuthorizationError, PusherError, SignInError, excerpt
from ..events import (
    Event,
    ProtocolViolation,
    SignedIn,
    SignInFailed,
    UserEvent,
    WatchlistOffline,
    WatchlistOnline,
)
from ..names import USER_PREFIX
from ..options import Options
from ..states import USER, UserInput, UserState, advance
from .error_attribution import concerns_sign_in

__all__ = ["User", "UserSnapshot"]

U, G = UserState, UserInput


class UserSnapshot(Struct, frozen=True):
    """What is known of the user at one moment."""

    state: UserState
    id: str | None = None
    data: Any = None
    """The user's data as signed; None while not signed in."""
    last_error: PusherError | None = None
    online: frozenset[str] = frozenset()
    """Who of the watchlist is online."""


class User:
    """The sign-in. `settled` is called when it is known, for this connection, whether it will be."""

    def __init__(
        self,
        options: Options,
        timers: Timers,
        authorizations: AuthRequests,
        emit: Callable[[Event], None],
        send: Callable[[bytes], None],
        settled: Callable[[float], None],
    ) -> None:
        self._options = options
        self._timers = timers
        self._auth_requests = authorizations
        self._emit = emit
        self._send = send
        self._settled = settled
        self._state = U.SIGNED_OUT
        self._wanted = False
        self._socket_id: str | None = None
        self._last_error: PusherError | None = None
        self._data: Any = None
        self._online: frozenset[str] = frozenset()
        self.id: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether `signin` was called: it is repeated on each connection."""
        return self._wanted

    @property
    def pending(self) -> bool:
        """Whether the sign-in is under way."""
        return self._state in (U.AUTHORIZING, U.SIGNING_IN)

    @property
    def asking(self) -> bool:
        """Whether the sign-in frame has still to go out: channels come after it."""
        return self._state is U.AUTHORIZING

    def snapshot(self) -> UserSnapshot:
        """Return what is known now."""
        return UserSnapshot(self._state, self.id, self._data, self._last_error, self._online)

    def signin(self, now: float) -> None:
        """Want the user to be signed in, on this connection and on all that follow."""
        self._wanted = True
        self._ask(now)

    def established(self, socket_id: str, now: float) -> None:
        """There is a connection: sign in, when that is wanted."""
        self._socket_id = socket_id
        if self._wanted:
            self._ask(now)

    def lost(self) -> None:
        """The sign-in of the connection is void."""
        failed = self._state is U.SIGNING_IN
        self._move(G.LOSE)
        self._timers.stop(Timer.SIGN_IN)
        self._socket_id = self.id = self._data = None
        self._online = frozenset()
        if failed:
            self._last_error = SignInError(
                "the connection ended before the server answered the sign-in"
            )
            self._emit(SignInFailed(self._last_error))

    def authorized(
        self, details: AuthRequest, result: AuthResponse | AuthorizationError, now: float
    ) -> None:
        """Take the answer to the request for an authorization. One for another connection is dropped."""
        if self._state is U.AUTHORIZING and details.socket_id == self._socket_id:
            self._use(result, now)

    def signin_due(self, now: float) -> None:
        """signin_timeout is over."""
        limit = self._options.signin_timeout
        self._refuse(
            SignInError(
                f"the server did not answer the sign-in within {limit:g} s: it may not have the feature, or have it off"
            ),
            now,
        )

    def refused(self, error: ErrorReceived, now: float) -> bool:
        """Take an error that names no channel; return whether it was about the sign-in."""
        if self._state is not U.SIGNING_IN or not concerns_sign_in(error):
            return False
        self._refuse(SignInError(f"the server refused the sign-in: {excerpt(error.message)}"), now)
        return True

    def receive(self, envelope: Envelope, now: float) -> bool:
        """Take a message that has no channel of the application's; return whether it was for the user."""
        event = envelope.event
        if event == "pusher:signin_success":
            self._succeed(envelope, now)
        elif event == "pusher_internal:watchlist_events":
            self._watch(envelope)
        elif (
            event in ("online", "offline")
            and envelope.channel is None
            and self._state is U.SIGNED_IN
        ):
            self._watch_each([(event, value_of(envelope.data))], envelope)  # Sockudo's shape
        elif self.id is not None and envelope.channel == USER_PREFIX + self.id:
            if event.endswith(":subscription_error"):
                return False  # told as an error of the server
            if not event.startswith(("pusher:", "pusher_internal:")):
                self._emit(UserEvent(envelope.channel, event, envelope.data, None, envelope.extra))
        else:
            return False
        return True

    def _ask(self, now: float) -> None:
        if self._socket_id is None or not self._move(G.ASK):
            return
        asked = self._auth_requests.ask(AuthRequest(self._socket_id), None, now)
        if not isinstance(asked, int):
            self._use(asked, now)

    def _use(self, result: AuthResponse | AuthorizationError, now: float) -> None:
        if isinstance(result, AuthorizationError):
            error = SignInError(f"no authorization to sign in with: {result}")
            error.__cause__ = result
            self._refuse(error, now)
            return
        self._move(G.SEND)
        self._timers.set(Timer.SIGN_IN, now + self._options.signin_timeout)
        self._send(encode("pusher:signin", {"auth": result.auth, "user_data": result.user_data}))
        self._settled(now)

    def _succeed(self, envelope: Envelope, now: float) -> None:
        if self._state is not U.SIGNING_IN:
            return
        data = value_of(envelope.data)
        user = value_of(data.get("user_data")) if isinstance(data, dict) else None
        user_id = user.get("id") if isinstance(user, dict) else None
        if isinstance(user_id, int) and not isinstance(user_id, bool):
            user_id = str(user_id)
        if not isinstance(user_id, str) or not user_id:
            self._emit(
                ProtocolViolation(
                    "a signin_success without a user", excerpt(text_of(envelope.data))
                )
            )
            self._refuse(SignInError("the server's answer to the sign-in names no user"), now)
            return
        self._timers.stop(Timer.SIGN_IN)
        self._move(G.SUCCEED)
        self._last_error = None
        self.id, self._data = user_id, user
        self._send(encode("pusher:subscribe", {"channel": USER_PREFIX + user_id}))
        self._emit(SignedIn(user_id, user))
        self._settled(now)

    def _refuse(self, error: SignInError, now: float) -> None:
        self._timers.stop(Timer.SIGN_IN)
        self._move(G.REFUSE)
        self._last_error = error
        self._emit(SignInFailed(error))
        self._settled(now)

    def _watch(self, envelope: Envelope) -> None:
        data = value_of(envelope.data)
        events = data.get("events") if isinstance(data, dict) else None
        if not isinstance(events, list):
            self._emit(
                ProtocolViolation(
                    "watchlist_events without events", excerpt(text_of(envelope.data))
                )
            )
            return
        self._watch_each(
            [(one.get("name") if isinstance(one, dict) else None, one) for one in events], envelope
        )

    def _watch_each(self, changes: list[tuple[object, Any]], envelope: Envelope) -> None:
        """Take the changes of one message, and say once when something is wrong with it."""
        wrong = [why for name, data in changes if (why := self._watch_one(name, data))]
        if wrong:
            self._emit(ProtocolViolation(wrong[0], excerpt(text_of(envelope.data))))

    def _watch_one(self, name: object, data: Any) -> str:
        """Take one change; return what is wrong with it, or an empty text."""
        ids = data.get("user_ids") if isinstance(data, dict) else None
        if name not in ("online", "offline") or not isinstance(ids, list):
            return "a watchlist event without users"
        users = tuple(
            str(one) for one in ids if isinstance(one, str | int) and not isinstance(one, bool)
        )
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
        before = self._state
        self._state = advance(USER, before, given)
        return self._state is not before
