"""Every state there is, every input that can change one, and all transitions.

Theory of operation. There are three machines: the session, one channel's subscription, and the user who signs
in. Each is a table from (state, input) to the next state. A pair that is in no table stands in the IGNORED set
of its machine, with its reason; so the tables are total and a test proves it. Nothing outside `advance`
assigns a state. What a transition causes (frames, timers, events) is written where the machine lives.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

__all__ = [
    "CHANNEL",
    "CHANNEL_IGNORED",
    "SESSION",
    "SESSION_IGNORED",
    "USER",
    "USER_IGNORED",
    "ChannelInput",
    "ChannelState",
    "SessionInput",
    "SessionState",
    "UserInput",
    "UserState",
    "advance",
]


class SessionState(Enum):
    """Where the session is. The public `ConnectionState` is derived from it."""

    IDLE = "not asked to connect yet"
    OPENING = "a transport is being opened"
    UPGRADING = "the upgrade was asked for"
    GREETING = "a WebSocket, and no connection_established yet"
    CONNECTED = "a socket id"
    WAITING = "a delay before the next attempt"
    DISCONNECTED = "the application disconnected"
    FAILED = "the server refused for good"
    CLOSING = "closed by the application, transports still ending"
    CLOSED = "the end"


class SessionInput(Enum):
    """What can move the session."""

    CONNECT = "the application connects"
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
    (S.FAILED, G.CONNECT): S.OPENING,  # a person may have mended what was refused
    (S.WAITING, G.CONNECT): S.OPENING,  # connecting while waiting means now
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
    # Close is final.
    *((s, i) for s in (S.CLOSING, S.CLOSED) for i in G if (s, i) != (S.CLOSING, G.GONE)),
    # Only the connection of the moment reports these, and it reports them in this order.
    *((s, G.OPENED) for s in S if s not in (S.OPENING, S.CLOSING, S.CLOSED)),
    *((s, G.UPGRADED) for s in S if s not in (S.UPGRADING, S.CLOSING, S.CLOSED)),
    *((s, G.GREETED) for s in S if s not in (S.GREETING, S.CLOSING, S.CLOSED)),
    # Without a connection there is nothing to lose.
    *((s, i) for s in (S.IDLE, S.WAITING, S.DISCONNECTED, S.FAILED) for i in (G.LOST, G.REFUSED)),
    # The delay runs in WAITING alone, and only a closing session counts its transports.
    *((s, G.RETRY) for s in S if s not in (S.WAITING, S.CLOSING, S.CLOSED)),
    *((s, G.GONE) for s in S if s not in (S.CLOSING, S.CLOSED)),
}


class ChannelState(Enum):
    """Where the subscription of one channel is."""

    OUT = "not wanted"
    WANTED = "wanted, and there is no connection to ask on"
    GRANTING = "a grant is being got"
    SUBSCRIBING = "the subscribe was sent"
    SUBSCRIBED = "the server confirmed"
    UNANSWERED = "the subscribe was sent and not answered in time; an answer still counts"
    REFUSED = "refused; asked again after a reconnect or when subscribed anew"
    LEAVING = "left while the subscribe was unanswered; the unsubscribe follows the answer"


class ChannelInput(Enum):
    """What can move a channel."""

    WANT = "subscribe()"
    LEAVE = "unsubscribe()"
    ASK = "a grant is asked for"
    SEND = "the subscribe goes out"
    SUCCEED = "the server confirmed"
    REFUSE = "no grant, or the server refused"
    EXPIRE = "subscribe_timeout is over"
    LOSE = "the connection is gone"


C, J = ChannelState, ChannelInput

CHANNEL: dict[tuple[ChannelState, ChannelInput], ChannelState] = {
    (C.OUT, J.WANT): C.WANTED,
    (C.WANTED, J.ASK): C.GRANTING,
    (C.WANTED, J.SEND): C.SUBSCRIBING,
    (C.WANTED, J.LEAVE): C.OUT,
    (C.GRANTING, J.SEND): C.SUBSCRIBING,
    (C.GRANTING, J.REFUSE): C.REFUSED,
    (C.GRANTING, J.LEAVE): C.OUT,
    (C.GRANTING, J.LOSE): C.WANTED,
    (C.SUBSCRIBING, J.SUCCEED): C.SUBSCRIBED,
    (C.SUBSCRIBING, J.REFUSE): C.REFUSED,
    (C.SUBSCRIBING, J.EXPIRE): C.UNANSWERED,
    # Soketi answers asynchronously and would keep a subscription that was left before its answer.
    (C.SUBSCRIBING, J.LEAVE): C.LEAVING,
    (C.SUBSCRIBING, J.LOSE): C.WANTED,
    (C.SUBSCRIBED, J.LEAVE): C.OUT,
    (C.SUBSCRIBED, J.LOSE): C.WANTED,
    (C.UNANSWERED, J.SUCCEED): C.SUBSCRIBED,
    (C.UNANSWERED, J.REFUSE): C.REFUSED,
    (C.UNANSWERED, J.WANT): C.WANTED,
    (C.UNANSWERED, J.LEAVE): C.OUT,
    (C.UNANSWERED, J.LOSE): C.WANTED,
    (C.REFUSED, J.WANT): C.WANTED,
    # An error that names no channel was put down to it wrongly (Reverb names none).
    (C.REFUSED, J.SUCCEED): C.SUBSCRIBED,
    (C.REFUSED, J.LEAVE): C.OUT,
    (C.REFUSED, J.LOSE): C.WANTED,
    (C.LEAVING, J.WANT): C.SUBSCRIBING,  # the subscribe under way serves; nothing is sent
    (C.LEAVING, J.SUCCEED): C.OUT,
    (C.LEAVING, J.REFUSE): C.OUT,
    (C.LEAVING, J.EXPIRE): C.OUT,
    (C.LEAVING, J.LOSE): C.OUT,
}

CHANNEL_IGNORED: set[tuple[ChannelState, ChannelInput]] = {
    # Not wanted: there is nothing to leave or lose, and no answer counts.
    *((C.OUT, j) for j in J if j is not J.WANT),
    # Wanted already.
    *((s, J.WANT) for s in (C.WANTED, C.GRANTING, C.SUBSCRIBING, C.SUBSCRIBED)),
    # Left already.
    (C.LEAVING, J.LEAVE),
    # Asking and sending begin where something was wanted.
    *((s, J.ASK) for s in C if s not in (C.OUT, C.WANTED)),
    *((s, J.SEND) for s in C if s not in (C.OUT, C.WANTED, C.GRANTING)),
    # Answers to what was not asked on this connection, or was answered (protocol: "second ignored").
    *((s, J.SUCCEED) for s in (C.WANTED, C.GRANTING, C.SUBSCRIBED)),
    *((s, J.REFUSE) for s in (C.WANTED, C.SUBSCRIBED, C.REFUSED)),
    *((s, J.EXPIRE) for s in (C.WANTED, C.GRANTING, C.SUBSCRIBED, C.UNANSWERED, C.REFUSED)),
    (C.WANTED, J.LOSE),
}


class UserState(Enum):
    """Where the sign-in is."""

    OUT = "no sign-in on this connection"
    GRANTING = "a grant is being got"
    SIGNING = "the sign-in was sent"
    IN = "signed in"
    REFUSED = "refused; tried again at the next connection or when asked anew"


class UserInput(Enum):
    """What can move the sign-in."""

    ASK = "a grant is asked for"
    SEND = "the sign-in goes out"
    SUCCEED = "the server confirmed"
    REFUSE = "no grant, a refusal, or no answer in time"
    LOSE = "the connection is gone"


U, K = UserState, UserInput

USER: dict[tuple[UserState, UserInput], UserState] = {
    (U.OUT, K.ASK): U.GRANTING,
    (U.REFUSED, K.ASK): U.GRANTING,
    (U.GRANTING, K.SEND): U.SIGNING,
    (U.GRANTING, K.REFUSE): U.REFUSED,
    (U.SIGNING, K.SUCCEED): U.IN,
    (U.SIGNING, K.REFUSE): U.REFUSED,
    **{(s, K.LOSE): U.OUT for s in U if s is not U.OUT},
}

USER_IGNORED: set[tuple[UserState, UserInput]] = {
    # Nothing is under way that could be answered.
    *((U.OUT, k) for k in K if k is not K.ASK),
    *((U.REFUSED, k) for k in (K.SEND, K.SUCCEED, K.REFUSE)),
    # One sign-in a connection: asked for again, it is the same one.
    *((s, K.ASK) for s in (U.GRANTING, U.SIGNING, U.IN)),
    (U.GRANTING, K.SUCCEED),
    (U.SIGNING, K.SEND),
    # Signed in is final on this connection.
    *((U.IN, k) for k in (K.SEND, K.SUCCEED, K.REFUSE)),
}

State = TypeVar("State", SessionState, ChannelState, UserState)
Input = TypeVar("Input", SessionInput, ChannelInput, UserInput)


def advance(table: dict[tuple[State, Input], State], state: State, given: Input) -> State:
    """Return the state after `given`; the same state when the pair is ignored."""
    return table.get((state, given), state)
