"""The request that an error without a channel is about: the ledger of a connection, against every kind of server."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pusher_proto._connection.ledger import Ledger, RequestKind, Verdict
from pusher_proto._protocol.control import ErrorReceived

SUBSCRIBE, SIGN_IN, PING = RequestKind.SUBSCRIBE, RequestKind.SIGN_IN, RequestKind.PING
TRIGGER, UNSUBSCRIBE = RequestKind.CLIENT_EVENT, RequestKind.UNSUBSCRIBE
SILENT = (TRIGGER, UNSUBSCRIBE)
WRONG = ErrorReceived(4009, "Connection is unauthorized", None)
LIMIT = ErrorReceived(4301, "Rate limit exceeded", None)

both_orders = pytest.mark.parametrize("in_order", [True, False], ids=["in order", "any order"])


def ledger_with(*names: str, in_order: bool = True) -> Ledger:
    ledger = Ledger(in_order=in_order)
    for name in names:
        ledger.sent(SUBSCRIBE, name)
    return ledger


def refusal(name: str, error: ErrorReceived = WRONG) -> Verdict:
    return Verdict(error, SUBSCRIBE, name)


# Examples.


@both_orders
def test_one_error_about_one_subscribe_refuses_it_once_the_server_has_answered_a_ping(
    in_order: bool,
) -> None:
    ledger = ledger_with("a", in_order=in_order)
    assert ledger.error(WRONG, 1.0) == []
    assert ledger.wants_ping
    ledger.sent(PING, now=1.0)
    assert not ledger.wants_ping
    assert ledger.answered(PING) == [refusal("a")]
    assert (ledger.unanswered(), ledger.unplaced, ledger.wants_ping) == ([], None, False)


@both_orders
def test_F2_K4_two_wrong_signatures_beside_a_public_channel_are_both_refused(
    in_order: bool,
) -> None:
    ledger = ledger_with("private-a", "private-b", "room", in_order=in_order)
    assert ledger.error(WRONG, 1.0) == []
    ledger.sent(PING, now=1.0)
    assert ledger.error(WRONG, 1.0) == []
    found = ledger.answered(SUBSCRIBE, "room")
    # Without a known order the ping is unanswered as well, and an error may be about it.
    found += ledger.answered(PING)
    assert [one for one in found if one.refused] == [refusal("private-a"), refusal("private-b")]


def test_an_error_between_two_successes_is_about_the_request_between_them() -> None:
    ledger = ledger_with("a", "b", "c")
    assert ledger.answered(SUBSCRIBE, "a") == []
    assert ledger.error(WRONG, 1.0) == []
    assert ledger.answered(SUBSCRIBE, "c") == [refusal("b")]


@both_orders
def test_K5_an_error_beside_a_sign_in_that_succeeds_is_the_channel_s(in_order: bool) -> None:
    ledger = ledger_with("presence-a", in_order=in_order)
    ledger.sent(SIGN_IN)
    assert ledger.error(WRONG, 1.0) == []
    assert ledger.answered(SIGN_IN) == [refusal("presence-a")]


@both_orders
def test_F7_K10_a_rate_limit_that_refuses_the_ping_too_refuses_what_is_left(in_order: bool) -> None:
    ledger = ledger_with("a", "b", in_order=in_order)
    assert ledger.error(LIMIT, 1.0) == []
    ledger.sent(PING, now=1.0)
    assert ledger.error(LIMIT, 1.0) == []
    found = ledger.error(LIMIT, 1.02)
    assert found == [refusal("a", LIMIT), refusal("b", LIMIT), Verdict(LIMIT)]
    assert not ledger.wants_ping


def test_D4_the_same_error_twice_at_once_before_the_end_refuses_nothing() -> None:
    ledger = ledger_with("a")
    assert ledger.error(LIMIT, 1.0) == []
    ledger.sent(PING, now=1.0)
    assert ledger.error(LIMIT, 1.0) == []
    assert ledger.lost() == [Verdict(LIMIT), Verdict(LIMIT)]
    assert ledger.unanswered() == []


def test_an_error_after_client_events_of_one_channel_names_it_at_once() -> None:
    ledger = ledger_with()
    for _ in range(3):
        ledger.sent(TRIGGER, "private-a")
    assert ledger.error(LIMIT, 1.0) == [Verdict(LIMIT, None, "private-a")]
    assert not ledger.wants_ping
    ledger.sent(TRIGGER, "private-b")
    assert ledger.error(LIMIT, 1.0) == [Verdict(LIMIT)]


@both_orders
def test_D4_an_error_4200_after_a_client_event_is_about_it_once_the_connection_outlives_it(
    in_order: bool,
) -> None:
    invalid = ErrorReceived(4200, "Invalid message format", None)
    ledger = ledger_with(in_order=in_order)
    ledger.sent(TRIGGER, "private-a")
    ledger.sent(UNSUBSCRIBE, "b")
    assert ledger.error(invalid, 1.0) == []
    assert ledger.wants_ping
    ledger.sent(PING, now=1.0)
    assert ledger.answered(PING) == [Verdict(invalid, None, "private-a")]
    ledger.sent(TRIGGER, "private-a")
    assert ledger.error(invalid, 2.0) == []
    assert ledger.lost() == [Verdict(invalid)]


def test_client_events_are_closed_by_the_answer_to_something_sent_later() -> None:
    ledger = ledger_with()
    ledger.sent(TRIGGER, "private-a")
    ledger.sent(SUBSCRIBE, "b")
    assert ledger.answered(SUBSCRIBE, "b") == []
    ledger.sent(TRIGGER, "private-c")
    assert ledger.error(LIMIT, 1.0) == [Verdict(LIMIT, None, "private-c")]


def test_an_error_before_the_success_of_what_was_sent_after_a_client_event_is_that_event_s() -> (
    None
):
    ledger = ledger_with()
    ledger.sent(TRIGGER, "private-a")
    ledger.sent(SUBSCRIBE, "b")
    assert ledger.error(LIMIT, 1.0) == []
    assert ledger.answered(SUBSCRIBE, "b") == [Verdict(LIMIT, None, "private-a")]


def test_a_client_event_and_a_subscribe_that_are_both_refused() -> None:
    ledger = ledger_with()
    ledger.sent(TRIGGER, "private-a")
    ledger.sent(SUBSCRIBE, "b")
    ledger.sent(TRIGGER, "private-a")
    ledger.sent(PING, now=1.0)
    assert ledger.error(LIMIT, 1.0) == []
    assert ledger.error(WRONG, 1.0) == []
    assert ledger.answered(PING) == [Verdict(LIMIT, None, "private-a"), refusal("b")]


def test_without_a_known_order_an_error_that_may_be_a_client_event_s_refuses_nothing() -> None:
    ledger = ledger_with(in_order=False)
    ledger.sent(TRIGGER, "private-a")
    ledger.sent(SUBSCRIBE, "b")
    assert ledger.error(LIMIT, 1.0) == []
    ledger.sent(PING, now=1.0)
    assert ledger.answered(PING) == [Verdict(LIMIT)]
    assert ledger.unplaced == ledger.suspected(SUBSCRIBE, "b") == LIMIT
    assert ledger.expired(SUBSCRIBE, "b") == LIMIT
    assert ledger.unplaced is None


def test_an_error_without_anything_to_be_about_is_reported_at_once() -> None:
    ledger = ledger_with("a")
    assert ledger.answered(SUBSCRIBE, "a") == []
    assert ledger.error(WRONG, 1.0) == [Verdict(WRONG)]


def test_an_error_while_a_ping_alone_is_unanswered_is_its_answer() -> None:
    ledger = ledger_with()
    ledger.sent(PING, now=1.0)
    assert ledger.error(LIMIT, 1.0) == [Verdict(LIMIT)]
    ledger.sent(SUBSCRIBE, "a")
    assert ledger.error(WRONG, 2.0) == []
    assert ledger.wants_ping


def test_4302_refuses_nothing() -> None:
    ledger = ledger_with("a")
    cut = ErrorReceived(4302, "The watchlist was cut", None)
    assert ledger.error(cut, 1.0) == [Verdict(cut)]
    assert not ledger.wants_ping


def test_a_request_that_was_passed_over_is_not_refused_by_a_later_error() -> None:
    ledger = ledger_with("presence-a", "b")  # Sockudo answers a second subscribe of one never
    assert ledger.answered(SUBSCRIBE, "b") == []
    ledger.sent(SUBSCRIBE, "c")
    assert ledger.error(WRONG, 1.0) == []
    ledger.sent(PING, now=1.0)
    assert ledger.answered(PING) == [refusal("c")]
    assert ledger.expired(SUBSCRIBE, "presence-a") is None


def test_fewer_errors_than_requests_without_an_answer_refuse_none_and_are_named_by_the_time_out() -> (
    None
):
    ledger = ledger_with("presence-a", "b", "c")
    assert ledger.error(WRONG, 1.0) == []
    assert ledger.answered(SUBSCRIBE, "c") == [Verdict(WRONG)]
    assert ledger.unplaced == WRONG
    assert ledger.expired(SUBSCRIBE, "presence-a") == WRONG
    assert ledger.expired(SUBSCRIBE, "b") == WRONG
    assert ledger.expired(SUBSCRIBE, "b") is None
    assert ledger.suspected(SUBSCRIBE, "b") is None


def test_a_success_against_the_order_ends_its_use() -> None:
    ledger = ledger_with("a", "b")
    assert ledger.answered(SUBSCRIBE, "b") == []
    assert ledger.answered(SUBSCRIBE, "a") == []
    ledger.sent(SUBSCRIBE, "c")
    ledger.sent(SUBSCRIBE, "d")
    ledger.sent(SUBSCRIBE, "e")
    assert ledger.error(WRONG, 1.0) == []
    assert ledger.answered(SUBSCRIBE, "d") == [Verdict(WRONG)]  # by the order it would be c's
    assert ledger.answered(SUBSCRIBE, "e") == [refusal("c")]
    ledger.lost()
    ledger.sent(SUBSCRIBE, "f")
    ledger.sent(SUBSCRIBE, "g")
    assert ledger.error(WRONG, 1.0) == []
    assert ledger.answered(SUBSCRIBE, "g") == [refusal("f")]


def test_a_success_after_a_refusal_ends_the_use_of_the_order_too() -> None:
    ledger = ledger_with("a", "b")
    assert ledger.error(WRONG, 1.0) == []
    assert ledger.answered(SUBSCRIBE, "b") == [refusal("a")]
    assert ledger.answered(SUBSCRIBE, "a") == []
    ledger.sent(SUBSCRIBE, "c")
    ledger.sent(SUBSCRIBE, "d")
    ledger.sent(SUBSCRIBE, "e")
    assert ledger.error(WRONG, 1.0) == []
    assert ledger.answered(SUBSCRIBE, "d") == [Verdict(WRONG)]


def test_a_request_whose_time_is_over_may_have_been_refused_by_an_open_error() -> None:
    ledger = ledger_with("a", "b", in_order=False)
    assert ledger.error(WRONG, 1.0) == []
    assert ledger.expired(SUBSCRIBE, "a") == WRONG
    ledger.sent(PING, now=2.0)
    assert ledger.answered(PING) == [Verdict(WRONG)]  # and b, which may be good, is not refused
    assert ledger.suspected(SUBSCRIBE, "b") == WRONG


def test_a_channel_that_is_requested_twice_is_one_request() -> None:
    ledger = ledger_with("a", "b", "a")
    assert ledger.unanswered() == ["b", "a"]
    assert ledger.answered(SUBSCRIBE, "b") == []
    assert ledger.answered(SUBSCRIBE, "a") == []


def test_more_errors_than_requests_are_reported() -> None:
    ledger = ledger_with("a", "b", in_order=False)
    for _ in range(3):
        assert ledger.error(WRONG, 1.0) == []
    assert ledger.answered(SUBSCRIBE, "b") == [refusal("a"), Verdict(WRONG), Verdict(WRONG)]
    ledger = ledger_with("a", "b")
    for _ in range(2):
        assert ledger.error(WRONG, 1.0) == []
    assert ledger.answered(SUBSCRIBE, "b") == [Verdict(WRONG), refusal("a")]


# Servers of every habit.


@dataclass
class Server:
    """A server that refuses what is bad, and the client that asks it. `names`: refusals name their request."""

    ledger: Ledger
    rng: random.Random
    in_order: bool
    names: bool
    now: float = 0.0
    asked: list[tuple[RequestKind, str | None, bool]] = field(default_factory=list)
    """The unanswered requests: kind, channel, and whether it is bad."""
    bad: set[tuple[RequestKind, str | None]] = field(default_factory=set)
    good: set[tuple[RequestKind, str | None]] = field(default_factory=set)
    refused: list[tuple[RequestKind | None, str | None]] = field(default_factory=list)
    errors: int = 0
    reported: int = 0

    def ask(self, kind: RequestKind, channel: str | None, bad: bool) -> None:
        self.now += 1.0
        self.ledger.sent(kind, channel, self.now)
        self.asked.append((kind, channel, bad))
        if kind in (SUBSCRIBE, SIGN_IN):
            (self.bad if bad else self.good).add((kind, channel))

    def answer(self) -> None:
        """Deal with one request: the oldest, or any. What gets no answer is dealt with before what was sent later."""
        self.now += 1.0
        at = 0 if self.in_order else self.rng.randrange(len(self.asked))
        at = next((i for i, one in enumerate(self.asked[:at]) if one[0] in SILENT), at)
        kind, channel, bad = self.asked.pop(at)
        if bad and self.names and kind in (SUBSCRIBE, SIGN_IN):
            self.take(self.ledger.answered(kind, channel))
            self.refused.append((kind, channel))
        elif bad and self.names and kind is not PING:
            pass  # named, and no answer that the ledger waits for
        elif bad:
            self.errors += 1
            self.take(self.ledger.error(WRONG, self.now))
        elif kind in (SUBSCRIBE, SIGN_IN, PING):
            self.take(self.ledger.answered(kind, channel))
        if self.ledger.wants_ping:
            self.ask(PING, None, False)

    def take(self, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            if verdict.refused is None:
                self.reported += 1
            else:
                self.refused.append((verdict.refused, verdict.channel))


kinds = st.sampled_from([SUBSCRIBE, SUBSCRIBE, SUBSCRIBE, SIGN_IN, PING, TRIGGER, UNSUBSCRIBE])
requests = st.lists(st.tuples(kinds, st.booleans(), st.integers(0, 2)), max_size=25)
seeds = st.integers(0, 2**32)


def played(
    plan: list[tuple[RequestKind, bool, int]],
    seed: int,
    *,
    known: bool,
    in_order: bool,
    names: bool,
) -> Server:
    """Ask in the order of the plan, with so many answers after each; return the server when all is answered."""
    server = Server(Ledger(in_order=known), random.Random(seed), in_order, names)
    signed = pinged = False
    for number, (kind, bad, answers) in enumerate(plan):
        if kind is SIGN_IN and signed:
            continue
        signed = signed or kind is SIGN_IN
        if kind is PING:
            bad = False
            pinged = any(one is PING for one, _, _ in server.asked)
            if pinged:
                continue
        channel = (
            None
            if kind in (SIGN_IN, PING)
            else f"channel-{number % 5 if kind is TRIGGER else number}"
        )
        server.ask(kind, channel, bad)
        for _ in range(min(answers, len(server.asked))):
            server.answer()
    while server.asked:
        server.answer()
    return server


@given(requests, seeds)
def test_a_server_that_answers_in_order_and_names_nothing(
    plan: list[tuple[RequestKind, bool, int]], seed: int
) -> None:
    server = played(plan, seed, known=True, in_order=True, names=False)
    assert set(server.refused) == server.bad
    assert len(server.refused) == len(server.bad)
    assert server.errors == len(server.refused) + server.reported


@pytest.mark.parametrize("known", [True, False])
@given(requests, seeds)
def test_a_server_that_names_channels_in_any_order(
    known: bool, plan: list[tuple[RequestKind, bool, int]], seed: int
) -> None:
    server = played(plan, seed, known=known, in_order=False, names=True)
    assert sorted(map(str, server.refused)) == sorted(map(str, server.bad))


@given(requests, seeds)
def test_a_server_of_unknown_order_that_names_nothing(
    plan: list[tuple[RequestKind, bool, int]], seed: int
) -> None:
    """Nothing good is refused, and where no client event can be meant everything bad is."""
    for in_order in (True, False):
        server = played(plan, seed, known=False, in_order=in_order, names=False)
        assert set(server.refused) <= server.bad
        left = server.bad - set(server.refused)
        assert all(server.ledger.suspected(*one) == WRONG for one in left)
        alone = [one for one in plan if one[0] not in SILENT]
        server = played(alone, seed, known=False, in_order=in_order, names=False)
        assert set(server.refused) == server.bad
