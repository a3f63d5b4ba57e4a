"""All states, all inputs that can change one, and all transitions.

There are seven machines: the session, one channel's subscription, the fetching of its missed events, the sign-in, one
byte stream, one request for an authorization, and one call of a function of the application. Each is a table from
(state, input) to the next state. A pair in no table is in the IGNORED set of its machine, with its reason: a test
proves that the tables are total. Only `advance` assigns a state. Effects of a transition are written in its machine.

Some states are implicit. A set timer is one: UNAVAILABLE (its timer has fired while the session is trying), STABLE (its
timer has fired while it is connected), a silent server and a missing pong (ACTIVITY, PONG and ONE_WAY in
`_connection/liveness`), a channel or a sign-in to be tried again (REAUTHORIZE, SIGN_IN_RETRY), a user whose channel is
not confirmed (USER_CHANNEL), a kept connection to an auth endpoint (IDLE). Attempts are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, StrEnum
from typing import ClassVar, Self, TypeVar

__all__ = [
    "AUTH_REQUEST",
    "AUTH_REQUEST_IGNORED",
    "CALL",
    "CALL_IGNORED",
    "CATCH_UP",
    "CATCH_UP_IGNORED",
    "CHANNEL",
    "CHANNEL_IGNORED",
    "SESSION",
    "SESSION_IGNORED",
    "TRANSPORT",
    "TRANSPORT_IGNORED",
    "USER",
    "USER_IGNORED",
    "AuthInput",
    "AuthState",
    "CallInput",
    "CallState",
    "CatchUpInput",
    "CatchUpState",
    "ChannelInput",
    "ChannelState",
    "SessionInput",
    "SessionState",
    "TransportInput",
    "TransportState",
    "UserInput",
    "UserState",
    "Watcher",
    "advance",
    "is_wanted",
    "unwatched",
]


class _State(StrEnum):
    """A state. It equals its name in lower case; `meaning` is its row in docs/states.md."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        state = str.__new__(cls, value)
        state._value_ = value
        state.meaning = meaning
        return state


class _Input(Enum):
    # The one of Enum is a function in Python, and each input is looked up in a table.
    __hash__: ClassVar[Callable[[_Input], int]] = object.__hash__


class SessionState(_State):
    """Where the session is. The public `ConnectionState` is derived from it."""

    IDLE = "idle", "not asked to connect yet"
    OPENING = "opening", "a transport is being opened"
    UPGRADING = "upgrading", "the upgrade was asked for"
    GREETING = "greeting", "a WebSocket, and no connection_established yet"
    CONNECTED = "connected", "a socket id"
    WAITING = "waiting", "a delay before the next attempt"
    DISCONNECTED = "disconnected", "the application disconnected"
    FAILED = "failed", "the server refused for good"
    CLOSING = "closing", "closed by the application, transports still ending"
    CLOSED = "closed", "the end"


class SessionInput(_Input):
    """What can move the session."""

    CONNECT = "the application connects"
    CONNECT_LATER = "the application connects, sooner than the floor of delays allows"
    DISCONNECT = "the application disconnects"
    CLOSE = "the application closes"
    OPENED = "the transport is open"
    UPGRADED = "the upgrade was accepted"
    GREETED = "connection_established"
    LOST = "the connection, or the attempt, ended and another will follow"
    REFUSED = "the connection, or the attempt, ended for good"
    RETRY = "the delay is over"
    GONE = "no transport is left"


S, G = SessionState, SessionInput

SESSION: dict[tuple[SessionState, SessionInput], SessionState] = {
    (S.IDLE, G.CONNECT): S.OPENING,
    (S.DISCONNECTED, G.CONNECT): S.OPENING,
    (S.FAILED, G.CONNECT): S.OPENING,  # the reason of the refusal may have been fixed
    (S.WAITING, G.CONNECT): S.OPENING,  # connecting while waiting means now
    **{(s, G.CONNECT_LATER): S.WAITING for s in (S.DISCONNECTED, S.FAILED)},
    (S.WAITING, G.RETRY): S.OPENING,
    (S.OPENING, G.OPENED): S.UPGRADING,
    (S.UPGRADING, G.UPGRADED): S.GREETING,
    (S.GREETING, G.GREETED): S.CONNECTED,
    **{(s, G.LOST): S.WAITING for s in (S.OPENING, S.UPGRADING, S.GREETING, S.CONNECTED)},
    **{(s, G.REFUSED): S.FAILED for s in (S.OPENING, S.UPGRADING, S.GREETING, S.CONNECTED)},
    **{
        (s, G.DISCONNECT): S.DISCONNECTED
        for s in (S.OPENING, S.UPGRADING, S.GREETING, S.CONNECTED, S.WAITING, S.FAILED)
    },
    **{(s, G.CLOSE): S.CLOSING for s in S if s not in (S.CLOSING, S.CLOSED)},
    (S.CLOSING, G.GONE): S.CLOSED,
}

SESSION_IGNORED: set[tuple[SessionState, SessionInput]] = {
    # Already so, or on the way to it.
    *((s, G.CONNECT) for s in (S.OPENING, S.UPGRADING, S.GREETING, S.CONNECTED)),
    (S.IDLE, G.DISCONNECT),
    (S.DISCONNECTED, G.DISCONNECT),
    # The first attempt comes at once, and a delay runs already or is not needed.
    *(
        (s, G.CONNECT_LATER)
        for s in (S.IDLE, S.OPENING, S.UPGRADING, S.GREETING, S.CONNECTED, S.WAITING)
    ),
    # Close is final.
    *((s, i) for s in (S.CLOSING, S.CLOSED) for i in G if (s, i) != (S.CLOSING, G.GONE)),
    # Only the current connection reports these, and it reports them in this order.
    *((s, G.OPENED) for s in S if s not in (S.OPENING, S.CLOSING, S.CLOSED)),
    *((s, G.UPGRADED) for s in S if s not in (S.UPGRADING, S.CLOSING, S.CLOSED)),
    *((s, G.GREETED) for s in S if s not in (S.GREETING, S.CLOSING, S.CLOSED)),
    # Without a connection there is nothing to lose.
    *((s, i) for s in (S.IDLE, S.WAITING, S.DISCONNECTED, S.FAILED) for i in (G.LOST, G.REFUSED)),
    # The delay runs in WAITING alone, and only a closing session counts its transports.
    *((s, G.RETRY) for s in S if s not in (S.WAITING, S.CLOSING, S.CLOSED)),
    *((s, G.GONE) for s in S if s not in (S.CLOSING, S.CLOSED)),
}


Watcher = Callable[[SessionState, int | None], None]
"""Gets each new state of the session, and the number of the transport as soon as an attempt has one."""


def unwatched(_: SessionState, __: int | None) -> None:
    """Take a state that no one watches."""


class ChannelState(_State):
    """Where the subscription of one channel is."""

    IDLE = "idle", "never subscribed to"
    UNSUBSCRIBED = "unsubscribed", "left, by `unsubscribe`"
    PENDING = "pending", "wanted, and there is no connection to ask on"
    AUTHORIZING = "authorizing", "an authorization is being got"
    SUBSCRIBING = "subscribing", "the subscribe was sent"
    SUBSCRIBED = "subscribed", "the server confirmed"
    TIMED_OUT = (
        "timed_out",
        "the subscribe was sent and not answered in time; an answer still counts",
    )
    FAILED = "failed", "refused; asked again later, after a reconnect, or by subscribe()"
    UNSUBSCRIBING = (
        "unsubscribing",
        "left while the subscribe was unanswered; the unsubscribe follows the answer",
    )


class ChannelInput(_Input):
    """What can move a channel."""

    WANT = "subscribe()"
    LEAVE = "unsubscribe()"
    ASK = "an authorization is requested"
    SEND = "the subscribe goes out"
    SUCCEED = "the server confirmed"
    REFUSE = "no authorization, or the server refused"
    EXPIRE = "subscribe_timeout is over"
    RENEW = "the subscription is left, to be made again on the same connection"
    LOSE = "the connection was lost"


C, J = ChannelState, ChannelInput


def is_wanted(state: ChannelState) -> bool:
    """Return whether the application has subscribed to a channel in this state and not left it."""
    return state not in (C.IDLE, C.UNSUBSCRIBED, C.UNSUBSCRIBING)


CHANNEL: dict[tuple[ChannelState, ChannelInput], ChannelState] = {
    (C.IDLE, J.WANT): C.PENDING,
    (C.UNSUBSCRIBED, J.WANT): C.PENDING,
    (C.PENDING, J.ASK): C.AUTHORIZING,
    (C.PENDING, J.SEND): C.SUBSCRIBING,
    (C.PENDING, J.LEAVE): C.UNSUBSCRIBED,
    # Its subscribe is too large, or made the server end the connection.
    (C.PENDING, J.REFUSE): C.FAILED,
    (C.AUTHORIZING, J.SEND): C.SUBSCRIBING,
    (C.AUTHORIZING, J.REFUSE): C.FAILED,
    (C.AUTHORIZING, J.LEAVE): C.UNSUBSCRIBED,
    (C.AUTHORIZING, J.LOSE): C.PENDING,
    (C.SUBSCRIBING, J.SUCCEED): C.SUBSCRIBED,
    (C.SUBSCRIBING, J.REFUSE): C.FAILED,
    (C.SUBSCRIBING, J.EXPIRE): C.TIMED_OUT,
    # Soketi answers asynchronously and would keep a subscription that was left before its answer.
    (C.SUBSCRIBING, J.LEAVE): C.UNSUBSCRIBING,
    (C.SUBSCRIBING, J.LOSE): C.PENDING,
    (C.SUBSCRIBED, J.LEAVE): C.UNSUBSCRIBED,
    (C.SUBSCRIBED, J.RENEW): C.PENDING,
    (C.SUBSCRIBED, J.LOSE): C.PENDING,
    (C.TIMED_OUT, J.SUCCEED): C.SUBSCRIBED,
    (C.TIMED_OUT, J.REFUSE): C.FAILED,
    (C.TIMED_OUT, J.WANT): C.PENDING,
    (C.TIMED_OUT, J.LEAVE): C.UNSUBSCRIBED,
    (C.TIMED_OUT, J.LOSE): C.PENDING,
    (C.FAILED, J.WANT): C.PENDING,
    # An error that names no channel was attributed to it wrongly (Reverb names none).
    (C.FAILED, J.SUCCEED): C.SUBSCRIBED,
    (C.FAILED, J.LEAVE): C.UNSUBSCRIBED,
    (C.FAILED, J.LOSE): C.PENDING,
    (C.UNSUBSCRIBING, J.WANT): C.SUBSCRIBING,  # the pending subscribe serves; nothing is sent
    (C.UNSUBSCRIBING, J.SUCCEED): C.UNSUBSCRIBED,
    (C.UNSUBSCRIBING, J.REFUSE): C.UNSUBSCRIBED,
    (C.UNSUBSCRIBING, J.EXPIRE): C.UNSUBSCRIBED,
    (C.UNSUBSCRIBING, J.LOSE): C.UNSUBSCRIBED,
}

CHANNEL_IGNORED: set[tuple[ChannelState, ChannelInput]] = {
    # Not wanted: there is nothing to leave or lose, and no answer counts.
    *((s, j) for s in (C.IDLE, C.UNSUBSCRIBED) for j in J if j is not J.WANT),
    # Wanted already.
    *((s, J.WANT) for s in (C.PENDING, C.AUTHORIZING, C.SUBSCRIBING, C.SUBSCRIBED)),
    # Left already.
    (C.UNSUBSCRIBING, J.LEAVE),
    # Asking and sending begin where something was wanted.
    *((s, J.ASK) for s in C if s not in (C.IDLE, C.UNSUBSCRIBED, C.PENDING)),
    *((s, J.SEND) for s in C if s not in (C.IDLE, C.UNSUBSCRIBED, C.PENDING, C.AUTHORIZING)),
    # Answers to requests that were not made on this connection, or were answered (protocol: "second ignored").
    *((s, J.SUCCEED) for s in (C.PENDING, C.AUTHORIZING, C.SUBSCRIBED)),
    *((s, J.REFUSE) for s in (C.SUBSCRIBED, C.FAILED)),
    *((s, J.EXPIRE) for s in (C.PENDING, C.AUTHORIZING, C.SUBSCRIBED, C.TIMED_OUT, C.FAILED)),
    (C.PENDING, J.LOSE),
    # Only a subscription that the server confirmed can be renewed.
    *((s, J.RENEW) for s in C if s not in (C.IDLE, C.UNSUBSCRIBED, C.SUBSCRIBED)),
}


class UserState(_State):
    """Where the sign-in is."""

    SIGNED_OUT = "signed_out", "no sign-in on this connection"
    AUTHORIZING = "authorizing", "an authorization is being got"
    SIGNING_IN = "signing_in", "the sign-in was sent"
    SIGNED_IN = "signed_in", "signed in"
    FAILED = (
        "failed",
        "failed; tried again after a delay, at the next connection, or when signed in again",
    )


class UserInput(_Input):
    """What can move the sign-in."""

    ASK = "an authorization is requested"
    SEND = "the sign-in goes out"
    SUCCEED = "the server confirmed"
    REFUSE = "no authorization, a refusal, or no answer in time"
    LOSE = "the connection was lost"


U, K = UserState, UserInput

USER: dict[tuple[UserState, UserInput], UserState] = {
    (U.SIGNED_OUT, K.ASK): U.AUTHORIZING,
    (U.FAILED, K.ASK): U.AUTHORIZING,
    # An error that names nothing was attributed to it wrongly, or the answer came late.
    (U.FAILED, K.SUCCEED): U.SIGNED_IN,
    (U.AUTHORIZING, K.SUCCEED): U.SIGNED_IN,
    (U.AUTHORIZING, K.SEND): U.SIGNING_IN,
    (U.AUTHORIZING, K.REFUSE): U.FAILED,
    (U.SIGNING_IN, K.SUCCEED): U.SIGNED_IN,
    (U.SIGNING_IN, K.REFUSE): U.FAILED,
    **{(s, K.LOSE): U.SIGNED_OUT for s in U if s is not U.SIGNED_OUT},
}

USER_IGNORED: set[tuple[UserState, UserInput]] = {
    # Nothing is pending that could be answered.
    *((U.SIGNED_OUT, k) for k in K if k is not K.ASK),
    *((U.FAILED, k) for k in (K.SEND, K.REFUSE)),
    # One sign-in a connection: a second request is the same one.
    *((s, K.ASK) for s in (U.AUTHORIZING, U.SIGNING_IN, U.SIGNED_IN)),
    (U.SIGNING_IN, K.SEND),
    # Signed in is final on this connection.
    *((U.SIGNED_IN, k) for k in (K.SEND, K.SUCCEED, K.REFUSE)),
}


class TransportState(_State):
    """Where one byte stream is."""

    OPENING = "opening", "asked for; not open yet"
    TUNNELING = "tunneling", "open to the proxy, which has not let it through yet"
    SECURING = "securing", "through the proxy; TLS with the server begins"
    OPEN = "open", "its owner uses it"
    CLOSING = "closing", "closed by its owner; the driver has not reported the end yet"


class TransportInput(_Input):
    """What can move a byte stream. Its end removes it in every state."""

    OPENED = "the stream to the server is open"
    REACHED_PROXY = "the stream to the proxy is open"
    PASSED_PROXY = "the proxy let it through"
    PASSED_PROXY_FOR_TLS = "the proxy let it through, and TLS follows"
    SECURED = "TLS has begun"
    CLOSE = "its owner closes it, or the proxy refused"


T, H = TransportState, TransportInput

TRANSPORT: dict[tuple[TransportState, TransportInput], TransportState] = {
    (T.OPENING, H.OPENED): T.OPEN,
    (T.OPENING, H.REACHED_PROXY): T.TUNNELING,
    (T.TUNNELING, H.PASSED_PROXY): T.OPEN,
    (T.TUNNELING, H.PASSED_PROXY_FOR_TLS): T.SECURING,
    (T.SECURING, H.SECURED): T.OPEN,
    **{(s, H.CLOSE): T.CLOSING for s in T if s is not T.CLOSING},
}

TRANSPORT_IGNORED: set[tuple[TransportState, TransportInput]] = {
    # A driver that reports twice, or late, changes nothing.
    *((s, i) for s in T if s is not T.OPENING for i in (H.OPENED, H.REACHED_PROXY)),
    *((s, H.SECURED) for s in T if s is not T.SECURING),
    # The proxy's answer is read in TUNNELING alone.
    *((s, i) for s in T if s is not T.TUNNELING for i in (H.PASSED_PROXY, H.PASSED_PROXY_FOR_TLS)),
    (T.CLOSING, H.CLOSE),
}


class AuthState(_State):
    """Where one request for an authorization is."""

    NEW = "new", "made"
    GATHERED = "gathered", "waits for the end of this turn, to go out together with others"
    QUEUED = "queued", "waits until fewer requests or calls are in progress"
    CALLING = "calling", "the application's authorizer is called"
    PREPARING = "preparing", "the functions for headers and params are called"
    ASKING = "asking", "the auth endpoint is asked"
    REFRESHING = "refreshing", "the token is refreshed, then the endpoint is asked again"
    PAUSED = "paused", "a delay after a temporary failure"
    ENDED = "ended", "answered or dropped"


class AuthInput(_Input):
    """What can move a request for an authorization."""

    GATHER = "it goes together with others"
    QUEUE = "it is complete and waits for its turn"
    CALL = "the application is called"
    PREPARE = "the request to the endpoint is made, from current headers and params"
    SEND = "the request goes out"
    REFRESH = "the endpoint refused the token"
    PAUSE = "the endpoint failed, and may answer later"
    END = "an answer, auth_timeout, or no longer wanted"


A, B = AuthState, AuthInput

AUTH_REQUEST: dict[tuple[AuthState, AuthInput], AuthState] = {
    **{(s, B.GATHER): A.GATHERED for s in (A.NEW, A.PAUSED)},
    **{(s, B.QUEUE): A.QUEUED for s in (A.NEW, A.GATHERED, A.PAUSED)},
    (A.QUEUED, B.CALL): A.CALLING,
    # Asking again without a refresh: the token was refreshed for another request.
    **{(s, B.PREPARE): A.PREPARING for s in (A.QUEUED, A.ASKING, A.REFRESHING)},
    (A.PREPARING, B.SEND): A.ASKING,
    (A.ASKING, B.REFRESH): A.REFRESHING,
    (A.ASKING, B.PAUSE): A.PAUSED,
    **{(s, B.END): A.ENDED for s in A if s is not A.ENDED},
}

AUTH_REQUEST_IGNORED: set[tuple[AuthState, AuthInput]] = {
    # Only a request that is new, or paused, joins others or the queue.
    *((s, B.GATHER) for s in A if s not in (A.NEW, A.PAUSED)),
    *((s, B.QUEUE) for s in A if s not in (A.NEW, A.GATHERED, A.PAUSED)),
    # Each step follows from the one before it.
    *((s, B.CALL) for s in A if s is not A.QUEUED),
    *((s, B.PREPARE) for s in A if s not in (A.QUEUED, A.ASKING, A.REFRESHING)),
    *((s, B.SEND) for s in A if s is not A.PREPARING),
    *((s, i) for s in A if s is not A.ASKING for i in (B.REFRESH, B.PAUSE)),
    (A.ENDED, B.END),
}


class CallState(_State):
    """Where one call of a function of the application is, which obtains authorizations or a token."""

    WAITING = (
        "waiting",
        "waits for a slot, or until an earlier call for the same channel has returned",
    )
    RUNNING = "running", "the function runs, and its result is wanted"
    ABANDONED = "abandoned", "the function still runs, and its result is no longer wanted"
    HANGING = "hanging", "the function has run for so long that its slot was given to another call"
    ENDED = "ended", "the function has returned"


class CallInput(_Input):
    """What can move a call."""

    BEGIN = "there is room"
    ABANDON = "auth_timeout is over, the connection was lost, or the channel was left"
    HANG = "three times auth_timeout are over"
    END = "the function returned or raised"


L, M = CallState, CallInput

CALL: dict[tuple[CallState, CallInput], CallState] = {
    (L.WAITING, M.BEGIN): L.RUNNING,
    (L.RUNNING, M.ABANDON): L.ABANDONED,
    (L.ABANDONED, M.HANG): L.HANGING,
    **{(s, M.END): L.ENDED for s in (L.RUNNING, L.ABANDONED, L.HANGING)},
}

CALL_IGNORED: set[tuple[CallState, CallInput]] = {
    # A call begins and ends once.
    *((s, M.BEGIN) for s in L if s is not L.WAITING),
    *((s, M.END) for s in (L.WAITING, L.ENDED)),
    # A call that waits is forgotten when its result is no longer wanted; one that has ended has nothing to cancel.
    *((s, M.ABANDON) for s in L if s is not L.RUNNING),
    *((s, M.HANG) for s in L if s is not L.ABANDONED),
}


class CatchUpState(_State):
    """Where a channel with a `catch_up` function is. Except when LIVE, received messages are held."""

    UNCONFIRMED = "unconfirmed", "the server has not confirmed the subscription"
    PAUSED = "paused", "reading was paused; the server has not answered the ping after it"
    FETCHING = "fetching", "the application fetches the missed events"
    RETRYING = "retrying", "an attempt failed, and another one follows"
    LIVE = "live", "messages are delivered as they are received"


class CatchUpInput(_Input):
    """What can move it."""

    CONFIRM = "the server confirmed the subscription, or answered the ping"
    SUCCEED = "the missed events were fetched"
    FAIL = "the function raised"
    RETRY = "the delay is over"
    GIVE_UP = "catch_up_timeout is over, or catch_up_buffer is full"
    PAUSE = "reading was paused, so the server may have dropped messages"
    LOSE = "the subscription was lost or left"


Y, Z = CatchUpState, CatchUpInput

CATCH_UP: dict[tuple[CatchUpState, CatchUpInput], CatchUpState] = {
    **{(s, Z.CONFIRM): Y.FETCHING for s in (Y.UNCONFIRMED, Y.PAUSED)},
    (Y.FETCHING, Z.SUCCEED): Y.LIVE,
    (Y.FETCHING, Z.FAIL): Y.RETRYING,
    (Y.RETRYING, Z.RETRY): Y.FETCHING,
    **{(s, Z.GIVE_UP): Y.LIVE for s in (Y.PAUSED, Y.FETCHING, Y.RETRYING)},
    **{(s, Z.PAUSE): Y.PAUSED for s in Y if s is not Y.PAUSED},
    **{(s, Z.LOSE): Y.UNCONFIRMED for s in Y if s is not Y.UNCONFIRMED},
}

CATCH_UP_IGNORED: set[tuple[CatchUpState, CatchUpInput]] = {
    # A subscription that is confirmed again counts as lost first.
    *((s, Z.CONFIRM) for s in (Y.FETCHING, Y.RETRYING, Y.LIVE)),
    # A call that was given up has no result, and a delay that was stopped has no end.
    *((s, given) for s in Y if s is not Y.FETCHING for given in (Z.SUCCEED, Z.FAIL)),
    *((s, Z.RETRY) for s in Y if s is not Y.RETRYING),
    # What is held is delivered, and fetching begins with the confirmation.
    (Y.UNCONFIRMED, Z.GIVE_UP),
    # There is no gap.
    (Y.LIVE, Z.GIVE_UP),
    # The gap has begun already.
    (Y.PAUSED, Z.PAUSE),
    (Y.UNCONFIRMED, Z.LOSE),
}

State = TypeVar("State", bound=_State)
Input = TypeVar("Input", bound=Enum)


def advance(table: dict[tuple[State, Input], State], state: State, given: Input) -> State:
    """Return the state after `given`; the same state when the pair is ignored."""
    return table.get((state, given), state)
