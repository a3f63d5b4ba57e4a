"""The transition tables: total, connected, and what their rows say."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from pusher_proto.states import (
    AUTH_REQUEST,
    AUTH_REQUEST_IGNORED,
    CALL,
    CALL_IGNORED,
    CATCH_UP,
    CATCH_UP_IGNORED,
    CHANNEL,
    CHANNEL_IGNORED,
    SESSION,
    SESSION_IGNORED,
    TRANSPORT,
    TRANSPORT_IGNORED,
    USER,
    USER_IGNORED,
    AuthInput,
    AuthState,
    CallInput,
    CallState,
    CatchUpInput,
    CatchUpState,
    ChannelInput,
    ChannelState,
    SessionInput,
    SessionState,
    TransportInput,
    TransportState,
    UserInput,
    UserState,
    advance,
)

Table = dict[tuple[Any, Any], Any]

machines = pytest.mark.parametrize(
    ("states", "inputs", "table", "ignored", "first"),
    [
        pytest.param(
            SessionState, SessionInput, SESSION, SESSION_IGNORED, SessionState.IDLE, id="session"
        ),
        pytest.param(
            ChannelState,
            ChannelInput,
            CHANNEL,
            CHANNEL_IGNORED,
            ChannelState.IDLE,
            id="channel",
        ),
        pytest.param(UserState, UserInput, USER, USER_IGNORED, UserState.SIGNED_OUT, id="user"),
        pytest.param(
            TransportState,
            TransportInput,
            TRANSPORT,
            TRANSPORT_IGNORED,
            TransportState.OPENING,
            id="transport",
        ),
        pytest.param(
            AuthState, AuthInput, AUTH_REQUEST, AUTH_REQUEST_IGNORED, AuthState.NEW, id="request"
        ),
        pytest.param(CallState, CallInput, CALL, CALL_IGNORED, CallState.WAITING, id="call"),
        pytest.param(
            CatchUpState,
            CatchUpInput,
            CATCH_UP,
            CATCH_UP_IGNORED,
            CatchUpState.UNCONFIRMED,
            id="catch-up",
        ),
    ],
)


def reachable(table: Table, first: Enum) -> set[Enum]:
    found, new = {first}, [first]
    while new:
        here = new.pop()
        for (state, _), target in table.items():
            if state is here and target not in found:
                found.add(target)
                new.append(target)
    return found


@machines
def test_every_pair_is_in_the_table_or_ignored_and_never_both(
    states: type[Enum], inputs: type[Enum], table: Table, ignored: set[Any], first: Enum
) -> None:
    pairs = {(state, given) for state in states for given in inputs}
    assert table.keys() | ignored == pairs
    assert table.keys() & ignored == set()


@machines
def test_every_state_is_reached_from_the_first(
    states: type[Enum], inputs: type[Enum], table: Table, ignored: set[Any], first: Enum
) -> None:
    assert reachable(table, first) == set(states)


@machines
def test_every_row_leads_to_another_state(
    states: type[Enum], inputs: type[Enum], table: Table, ignored: set[Any], first: Enum
) -> None:
    assert [pair for pair, target in table.items() if pair[0] is target] == []
    assert set(table.values()) <= set(states)


@machines
def test_every_input_moves_something(
    states: type[Enum], inputs: type[Enum], table: Table, ignored: set[Any], first: Enum
) -> None:
    assert {given for _, given in table} == set(inputs)


@machines
def test_every_state_leads_to_the_end(
    states: type[Enum], inputs: type[Enum], table: Table, ignored: set[Any], first: Enum
) -> None:
    ends: dict[type[Enum], Enum] = {
        SessionState: SessionState.CLOSED,
        ChannelState: ChannelState.UNSUBSCRIBED,
        TransportState: TransportState.CLOSING,
        AuthState: AuthState.ENDED,
        CallState: CallState.ENDED,
    }
    end = ends.get(states, first)
    assert {state for state in states if end in reachable(table, state)} == set(states)


@machines
def test_a_pair_in_the_table_moves_and_an_ignored_one_does_not(
    states: type[Enum], inputs: type[Enum], table: Table, ignored: set[Any], first: Enum
) -> None:
    for state in states:
        for given in inputs:
            expected = state if (state, given) in ignored else table[state, given]
            assert advance(table, state, given) is expected


# The session.


def test_only_closed_has_no_way_out() -> None:
    assert set(SessionState) - {state for state, _ in SESSION} == {SessionState.CLOSED}


def test_close_is_final() -> None:
    ends = {SessionState.CLOSING, SessionState.CLOSED}
    for (state, given), target in SESSION.items():
        if state in ends:
            assert target in ends
        if given is SessionInput.CLOSE:
            assert target is SessionState.CLOSING


def test_a_session_goes_from_idle_to_connected_in_these_steps() -> None:
    state = SessionState.IDLE
    passed = [state]
    for given in (
        SessionInput.CONNECT,
        SessionInput.OPENED,
        SessionInput.UPGRADED,
        SessionInput.GREETED,
    ):
        state = advance(SESSION, state, given)
        passed.append(state)
    assert passed == [
        SessionState.IDLE,
        SessionState.OPENING,
        SessionState.UPGRADING,
        SessionState.GREETING,
        SessionState.CONNECTED,
    ]


def test_connecting_and_being_connected_end_alike_in_a_loss_or_a_refusal() -> None:
    alive = {
        SessionState.OPENING,
        SessionState.UPGRADING,
        SessionState.GREETING,
        SessionState.CONNECTED,
    }
    lost = {
        state: target for (state, given), target in SESSION.items() if given is SessionInput.LOST
    }
    refused = {
        state: target for (state, given), target in SESSION.items() if given is SessionInput.REFUSED
    }
    assert lost == dict.fromkeys(alive, SessionState.WAITING)
    assert refused == dict.fromkeys(alive, SessionState.FAILED)


# A channel.


def test_losing_the_connection_keeps_every_subscription_and_forgets_what_was_being_left() -> None:
    after = {state: advance(CHANNEL, state, ChannelInput.LOSE) for state in ChannelState}
    assert after.pop(ChannelState.IDLE) is ChannelState.IDLE
    unwanted = {ChannelState.UNSUBSCRIBED, ChannelState.UNSUBSCRIBING}
    assert after == {
        state: ChannelState.UNSUBSCRIBED if state in unwanted else ChannelState.PENDING
        for state in ChannelState
        if state is not ChannelState.IDLE
    }


def test_leaving_ends_every_subscription() -> None:
    known = set(ChannelState) - {ChannelState.IDLE}
    after = {advance(CHANNEL, state, ChannelInput.LEAVE) for state in known}
    assert after == {ChannelState.UNSUBSCRIBED, ChannelState.UNSUBSCRIBING}


def test_subscribing_again_while_unsubscribing_takes_up_the_pending_subscribe() -> None:
    left = advance(CHANNEL, ChannelState.SUBSCRIBING, ChannelInput.LEAVE)
    assert left is ChannelState.UNSUBSCRIBING
    assert advance(CHANNEL, left, ChannelInput.WANT) is ChannelState.SUBSCRIBING


def test_a_late_answer_to_a_subscribe_still_counts() -> None:
    late = advance(CHANNEL, ChannelState.SUBSCRIBING, ChannelInput.EXPIRE)
    assert advance(CHANNEL, late, ChannelInput.SUCCEED) is ChannelState.SUBSCRIBED


def test_an_answer_to_what_was_not_asked_changes_nothing() -> None:
    for state in (
        ChannelState.IDLE,
        ChannelState.UNSUBSCRIBED,
        ChannelState.PENDING,
        ChannelState.AUTHORIZING,
    ):
        assert advance(CHANNEL, state, ChannelInput.SUCCEED) is state


# The user.


def test_a_sign_in_is_for_one_connection() -> None:
    assert {advance(USER, state, UserInput.LOSE) for state in UserState} == {UserState.SIGNED_OUT}


def test_a_refused_user_may_be_requested_again() -> None:
    assert advance(USER, UserState.FAILED, UserInput.ASK) is UserState.AUTHORIZING
