"""All states, all inputs, and all transitions.

There are seven machines: the session, a channel's subscription, the fetching of its missed events, the sign-in, a byte
stream, a request for an authorization, and a call of a function of the application. Each is a table from (state, input)
to the next state. A pair without a transition is in the IGNORED set of its machine, with the reason; a test checks that
the tables are total. Only `advance` computes a state. Effects of a transition are in the module of the machine.

Some states are implicit. Timers represent UNAVAILABLE (its timer has fired while the session tries to connect), STABLE
(its timer has fired while it is connected), a silent server and a missing pong (ACTIVITY, PONG and ONE_WAY in
`_connection/liveness`), a channel or a sign-in to be tried again (REAUTHORIZE, SIGN_IN_RETRY), a user whose channel is
not confirmed (USER_CHANNEL), and an idle connection to an auth endpoint (IDLE). Attempts are counted. The states of
bytes are in `_wire`: a WebSocket only moves forward (`websocket`, `frames`), a SOCKS tunnel stores its next step.
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
    """A state. It is equal to its name in lower case. `meaning` is its description in docs/states.md."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        state = str.__new__(cls, value)
        state._value_ = value
        state.meaning = meaning
        return state


class _Input(Enum):
    # Enum's own is a function in Python, and each input is looked up in a table.
    __hash__: ClassVar[Callable[[_Input], int]] = object.__hash__


class SessionState(_State):
    """The state of the session. The public `ConnectionState` is derived from it."""

    IDLE = "idle", "`connect` was not called yet"
    OPENING = "opening", "a transport is being opened"
    UPGRADING = "upgrading", "the upgrade was requested"
    GREETING = "greeting", "the WebSocket is open; connection_established was not received yet"
    CONNECTED = "connected", "the server has sent a socket id"
    WAITING = "waiting", "the delay before the next attempt"
    DISCONNECTED = "disconnected", "the application disconnected"
    FAILED = "failed", "a failure was final"
    CLOSING = "closing", "the application closed the session; transports are still ending"
    CLOSED = "closed", "all transports have ended"


class SessionInput(_Input):
    """The inputs of the session."""

    CONNECT = "the application connects"
    CONNECT_LATER = "the application connects, sooner than the limit on attempts allows"
    DISCONNECT = "the application disconnects"
    CLOSE = "the application closes"
    OPENED = "the transport is open"
    UPGRADED = "the upgrade was accepted"
    GREETED = "connection_established"
    LOST = "the connection or attempt ended, and another attempt will follow"
    REFUSED = "the connection or attempt ended, and no other follows"
    RETRY = "the delay is over"
    GONE = "no transport is left"


S, G = SessionState, SessionInput
SESSION: dict[tuple[SessionState, SessionInput], SessionState] = {
    (S.IDLE, G.CONNECT): S.OPENING,
    (S.DISCONNECTED, G.CONNECT): S.OPENING,
    (S.FAILED, G.CONNECT): S.OPENING,  # the reason of the refusal may have been fixed
    (S.WAITING, G.CONNECT): S.OPENING,  # `connect` during a delay means now
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
    # The session is in that state already, or about to be.
    *((s, G.CONNECT) for s in (S.OPENING, S.UPGRADING, S.GREETING, S.CONNECTED)),
    (S.IDLE, G.DISCONNECT),
    (S.DISCONNECTED, G.DISCONNECT),
    # The first attempt starts at once; in the other states a delay is running or not needed.
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
    # There is no connection that could end.
    *((s, i) for s in (S.IDLE, S.WAITING, S.DISCONNECTED, S.FAILED) for i in (G.LOST, G.REFUSED)),
    # The delay runs in WAITING only, and only a closing session waits for its transports.
    *((s, G.RETRY) for s in S if s not in (S.WAITING, S.CLOSING, S.CLOSED)),
    *((s, G.GONE) for s in S if s not in (S.CLOSING, S.CLOSED)),
}


Watcher = Callable[[SessionState, int | None], None]
"""Called with each new state of the session, and with the transport's number as soon as an attempt has one."""


def unwatched(_: SessionState, __: int | None) -> None:
    """Do nothing: the watcher of a session without one."""


class ChannelState(_State):
    """The state of a channel's subscription."""

    IDLE = "idle", "never subscribed"
    UNSUBSCRIBED = "unsubscribed", "`unsubscribe` was called"
    PENDING = "pending", "`subscribe` was called; waiting for a connection or for the rate"
    AUTHORIZING = "authorizing", "an authorization was requested"
    SUBSCRIBING = "subscribing", "the subscribe was sent"
    SUBSCRIBED = "subscribed", "the server confirmed the subscription"
    TIMED_OUT = (
        "timed_out",
        "the subscribe was sent and not answered in time; an answer still counts",
    )
    FAILED = "failed", "refused; tried again later, after a reconnect, or by subscribe()"
    UNSUBSCRIBING = (
        "unsubscribing",
        "`unsubscribe` was called before the subscribe was answered; the unsubscribe follows the answer",
    )


class ChannelInput(_Input):
    """The inputs of a channel."""

    WANT = "subscribe()"
    LEAVE = "unsubscribe()"
    ASK = "an authorization is requested"
    SEND = "the subscribe is sent"
    SUCCEED = "the server confirmed the subscription"
    REFUSE = "the authorization failed, or the server refused the subscribe"
    EXPIRE = "subscribe_timeout has passed"
    RENEW = "the subscription is ended, to subscribe again on the same connection"
    LOSE = "the connection was lost"


C, J = ChannelState, ChannelInput


def is_wanted(state: ChannelState) -> bool:
    """Return whether `subscribe` was called for a channel in this state, and not `unsubscribe` after it."""
    return state not in (C.IDLE, C.UNSUBSCRIBED, C.UNSUBSCRIBING)


CHANNEL: dict[tuple[ChannelState, ChannelInput], ChannelState] = {
    (C.IDLE, J.WANT): C.PENDING,
    (C.UNSUBSCRIBED, J.WANT): C.PENDING,
    (C.PENDING, J.ASK): C.AUTHORIZING,
    (C.PENDING, J.SEND): C.SUBSCRIBING,
    (C.PENDING, J.LEAVE): C.UNSUBSCRIBED,
    # The subscribe is too large, or made the server end the connection.
    (C.PENDING, J.REFUSE): C.FAILED,
    (C.AUTHORIZING, J.SEND): C.SUBSCRIBING,
    (C.AUTHORIZING, J.REFUSE): C.FAILED,
    (C.AUTHORIZING, J.LEAVE): C.UNSUBSCRIBED,
    (C.AUTHORIZING, J.LOSE): C.PENDING,
    (C.SUBSCRIBING, J.SUCCEED): C.SUBSCRIBED,
    (C.SUBSCRIBING, J.REFUSE): C.FAILED,
    (C.SUBSCRIBING, J.EXPIRE): C.TIMED_OUT,
    # Soketi answers asynchronously, and would keep a subscription that was unsubscribed before its answer.
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
    # An error that names no channel was attributed to this one wrongly (Reverb names none).
    (C.FAILED, J.SUCCEED): C.SUBSCRIBED,
    (C.FAILED, J.LEAVE): C.UNSUBSCRIBED,
    (C.FAILED, J.LOSE): C.PENDING,
    (C.UNSUBSCRIBING, J.WANT): C.SUBSCRIBING,  # the unanswered subscribe is used; nothing is sent
    (C.UNSUBSCRIBING, J.SUCCEED): C.UNSUBSCRIBED,
    (C.UNSUBSCRIBING, J.REFUSE): C.UNSUBSCRIBED,
    (C.UNSUBSCRIBING, J.EXPIRE): C.UNSUBSCRIBED,
    (C.UNSUBSCRIBING, J.LOSE): C.UNSUBSCRIBED,
}

CHANNEL_IGNORED: set[tuple[ChannelState, ChannelInput]] = {
    # There is no subscription that could be ended or lost, and answers do not matter.
    *((s, j) for s in (C.IDLE, C.UNSUBSCRIBED) for j in J if j is not J.WANT),
    # `subscribe` was called before.
    *((s, J.WANT) for s in (C.PENDING, C.AUTHORIZING, C.SUBSCRIBING, C.SUBSCRIBED)),
    # `unsubscribe` was called before.
    (C.UNSUBSCRIBING, J.LEAVE),
    # Only a pending channel is authorized, and only a pending or authorized one is subscribed.
    *((s, J.ASK) for s in C if s not in (C.IDLE, C.UNSUBSCRIBED, C.PENDING)),
    *((s, J.SEND) for s in C if s not in (C.IDLE, C.UNSUBSCRIBED, C.PENDING, C.AUTHORIZING)),
    # There is no request on this connection, or it was answered before (protocol: "second ignored").
    *((s, J.SUCCEED) for s in (C.PENDING, C.AUTHORIZING, C.SUBSCRIBED)),
    *((s, J.REFUSE) for s in (C.SUBSCRIBED, C.FAILED)),
    *((s, J.EXPIRE) for s in (C.PENDING, C.AUTHORIZING, C.SUBSCRIBED, C.TIMED_OUT, C.FAILED)),
    (C.PENDING, J.LOSE),
    # Only a subscription that the server confirmed can be renewed.
    *((s, J.RENEW) for s in C if s not in (C.IDLE, C.UNSUBSCRIBED, C.SUBSCRIBED)),
}


class UserState(_State):
    """The state of the sign-in."""

    SIGNED_OUT = "signed_out", "no sign-in on this connection"
    AUTHORIZING = "authorizing", "an authorization was requested"
    SIGNING_IN = "signing_in", "the sign-in was sent"
    SIGNED_IN = "signed_in", "the server confirmed the sign-in"
    FAILED = (
        "failed",
        "failed; tried again after a delay, at the next connection, or by signin()",
    )


class UserInput(_Input):
    """The inputs of the sign-in."""

    ASK = "an authorization is requested"
    SEND = "the sign-in is sent"
    SUCCEED = "the server confirmed the sign-in"
    REFUSE = "the authorization failed, or the server refused or did not answer in time"
    LOSE = "the connection was lost"


U, K = UserState, UserInput

USER: dict[tuple[UserState, UserInput], UserState] = {
    (U.SIGNED_OUT, K.ASK): U.AUTHORIZING,
    (U.FAILED, K.ASK): U.AUTHORIZING,
    # An error that names nothing was attributed to the sign-in wrongly, or the answer was late.
    (U.FAILED, K.SUCCEED): U.SIGNED_IN,
    (U.AUTHORIZING, K.SUCCEED): U.SIGNED_IN,
    (U.AUTHORIZING, K.SEND): U.SIGNING_IN,
    (U.AUTHORIZING, K.REFUSE): U.FAILED,
    (U.SIGNING_IN, K.SUCCEED): U.SIGNED_IN,
    (U.SIGNING_IN, K.REFUSE): U.FAILED,
    **{(s, K.LOSE): U.SIGNED_OUT for s in U if s is not U.SIGNED_OUT},
}

USER_IGNORED: set[tuple[UserState, UserInput]] = {
    # No request is unanswered.
    *((U.SIGNED_OUT, k) for k in K if k is not K.ASK),
    *((U.FAILED, k) for k in (K.SEND, K.REFUSE)),
    # There is one sign-in for each connection.
    *((s, K.ASK) for s in (U.AUTHORIZING, U.SIGNING_IN, U.SIGNED_IN)),
    (U.SIGNING_IN, K.SEND),
    # The sign-in lasts until the connection ends.
    *((U.SIGNED_IN, k) for k in (K.SEND, K.SUCCEED, K.REFUSE)),
}


class TransportState(_State):
    """The state of a byte stream."""

    OPENING = "opening", "the driver was asked to open it"
    TUNNELING = "tunneling", "open to the proxy; the tunnel is not open yet"
    SECURING = "securing", "the tunnel through the proxy is open; TLS is being established"
    OPEN = "open", "open to the server"
    CLOSING = "closing", "closed by its owner; the driver has not reported the end yet"


class TransportInput(_Input):
    """The inputs of a byte stream. Its end removes it in each state."""

    OPENED = "the stream to the server is open"
    REACHED_PROXY = "the stream to the proxy is open"
    PASSED_PROXY = "the proxy opened the tunnel"
    PASSED_PROXY_FOR_TLS = "the proxy opened the tunnel, and TLS follows"
    SECURED = "TLS is established"
    CLOSE = "its owner closes it, or the proxy refused the tunnel"


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
    # A late or repeated report of the driver changes nothing.
    *((s, i) for s in T if s is not T.OPENING for i in (H.OPENED, H.REACHED_PROXY)),
    *((s, H.SECURED) for s in T if s is not T.SECURING),
    # The proxy's answer is read in TUNNELING only.
    *((s, i) for s in T if s is not T.TUNNELING for i in (H.PASSED_PROXY, H.PASSED_PROXY_FOR_TLS)),
    (T.CLOSING, H.CLOSE),
}


class AuthState(_State):
    """The state of a request for an authorization."""

    NEW = "new", "created"
    GATHERED = "gathered", "waits for the end of the turn, to be sent together with others"
    QUEUED = "queued", "waits until fewer requests or calls are in progress"
    CALLING = "calling", "the application's authorizer runs"
    PREPARING = "preparing", "the functions for headers and params run"
    ASKING = "asking", "the request was sent to the auth endpoint"
    REFRESHING = "refreshing", "the token is being refreshed; then the request is sent again"
    PAUSED = "paused", "the delay after a temporary failure"
    ENDED = "ended", "answered or dropped"


class AuthInput(_Input):
    """The inputs of a request for an authorization."""

    GATHER = "it will be sent together with others"
    QUEUE = "it is put into the queue"
    CALL = "the application is called"
    PREPARE = "the request to the endpoint is built from current headers and params"
    SEND = "the request is sent"
    REFRESH = "the endpoint refused the token"
    PAUSE = "the endpoint failed temporarily"
    END = "it was answered, auth_timeout has passed, or it is no longer needed"


A, B = AuthState, AuthInput

AUTH_REQUEST: dict[tuple[AuthState, AuthInput], AuthState] = {
    **{(s, B.GATHER): A.GATHERED for s in (A.NEW, A.PAUSED)},
    **{(s, B.QUEUE): A.QUEUED for s in (A.NEW, A.GATHERED, A.PAUSED)},
    (A.QUEUED, B.CALL): A.CALLING,
    # From ASKING: the token was refreshed for another request.
    **{(s, B.PREPARE): A.PREPARING for s in (A.QUEUED, A.ASKING, A.REFRESHING)},
    (A.PREPARING, B.SEND): A.ASKING,
    (A.ASKING, B.REFRESH): A.REFRESHING,
    (A.ASKING, B.PAUSE): A.PAUSED,
    **{(s, B.END): A.ENDED for s in A if s is not A.ENDED},
}

AUTH_REQUEST_IGNORED: set[tuple[AuthState, AuthInput]] = {
    # Only a new or paused request is gathered or queued.
    *((s, B.GATHER) for s in A if s not in (A.NEW, A.PAUSED)),
    *((s, B.QUEUE) for s in A if s not in (A.NEW, A.GATHERED, A.PAUSED)),
    # Each step follows the one before it.
    *((s, B.CALL) for s in A if s is not A.QUEUED),
    *((s, B.PREPARE) for s in A if s not in (A.QUEUED, A.ASKING, A.REFRESHING)),
    *((s, B.SEND) for s in A if s is not A.PREPARING),
    *((s, i) for s in A if s is not A.ASKING for i in (B.REFRESH, B.PAUSE)),
    (A.ENDED, B.END),
}


class CallState(_State):
    """The state of a call of a function of the application."""

    WAITING = (
        "waiting",
        "waits for a slot, or until an earlier call for the same channel has returned",
    )
    RUNNING = "running", "the function runs, and its result is needed"
    ABANDONED = "abandoned", "the function still runs, but its result is no longer needed"
    HANGING = "hanging", "the function has run for so long that its slot was freed"
    ENDED = "ended", "the function has returned"


class CallInput(_Input):
    """The inputs of a call."""

    BEGIN = "a slot is free"
    ABANDON = "its timeout has passed, the connection was lost, or the channel was unsubscribed"
    HANG = "three times its timeout have passed"
    END = "the function returned or raised"


L, M = CallState, CallInput

CALL: dict[tuple[CallState, CallInput], CallState] = {
    (L.WAITING, M.BEGIN): L.RUNNING,
    (L.RUNNING, M.ABANDON): L.ABANDONED,
    (L.ABANDONED, M.HANG): L.HANGING,
    **{(s, M.END): L.ENDED for s in (L.RUNNING, L.ABANDONED, L.HANGING)},
}

CALL_IGNORED: set[tuple[CallState, CallInput]] = {
    # A call starts and ends once.
    *((s, M.BEGIN) for s in L if s is not L.WAITING),
    *((s, M.END) for s in (L.WAITING, L.ENDED)),
    # A waiting call is removed when its result is no longer needed; an ended one cannot be cancelled.
    *((s, M.ABANDON) for s in L if s is not L.RUNNING),
    *((s, M.HANG) for s in L if s is not L.ABANDONED),
}


class CatchUpState(_State):
    """The state of a channel with a `catch_up` function. Received messages are held in all states but LIVE."""

    UNCONFIRMED = "unconfirmed", "the server has not confirmed the subscription"
    PAUSED = "paused", "reading was paused; the server has not answered the ping after the pause"
    FETCHING = "fetching", "the application's function runs"
    RETRYING = "retrying", "the delay after a failed attempt"
    LIVE = "live", "messages are delivered as they are received"


class CatchUpInput(_Input):
    """The inputs of a channel with a `catch_up` function."""

    CONFIRM = "the server confirmed the subscription, or answered the ping"
    SUCCEED = "the missed events were fetched"
    FAIL = "the function raised"
    RETRY = "the delay is over"
    GIVE_UP = "catch_up_timeout has passed, or catch_up_buffer is full"
    PAUSE = "reading was paused, so the server may have dropped messages"
    LOSE = "the subscription was lost or ended"


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
    # A subscription that is confirmed again was counted as lost before.
    *((s, Z.CONFIRM) for s in (Y.FETCHING, Y.RETRYING, Y.LIVE)),
    # A cancelled call has no result, and the timer of a cancelled delay does not fire.
    *((s, given) for s in Y if s is not Y.FETCHING for given in (Z.SUCCEED, Z.FAIL)),
    *((s, Z.RETRY) for s in Y if s is not Y.RETRYING),
    # The held messages are delivered, and fetching starts with the confirmation.
    (Y.UNCONFIRMED, Z.GIVE_UP),
    # There is no gap.
    (Y.LIVE, Z.GIVE_UP),
    # A gap is open already.
    (Y.PAUSED, Z.PAUSE),
    (Y.UNCONFIRMED, Z.LOSE),
}

State = TypeVar("State", bound=_State)
Input = TypeVar("Input", bound=Enum)


def advance(table: dict[tuple[State, Input], State], state: State, given: Input) -> State:
    """Return the next state after the input `given`; the same state if the pair is ignored."""
    return table.get((state, given), state)
