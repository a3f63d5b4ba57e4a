"""The connections to auth endpoints: few, kept alive, tried once more, and no request lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proto.requesting import request_for
from proto.strategies import tried
from proto.websocket_peer import EXAMPLES, answer
from pusher_proto._auth.http_pool import HttpPool
from pusher_proto._base.timers import Timer, Timers
from pusher_proto._base.urls import Address, address_of
from pusher_proto._transports.transports import Transports
from pusher_proto._wire.http import HttpConnection, HttpFailed, HttpRequest, HttpResponse
from pusher_proto.auth import AuthEndpoint, AuthRequest
from pusher_proto.effects import Authorize, CloseTransport, OpenTransport, SendData
from pusher_proto.options import Options

A = Address("a.test", 443, True, "/auth")
B = Address("b.test", 80, False, "/auth")

OPEN_A = ("open", "a.test", 443, True)
OPEN_B = ("open", "b.test", 80, False)

Act = tuple[Any, ...]


def ok(body: bytes = b"{}", *more: tuple[str, str]) -> bytes:
    return answer("200 OK", [("Content-Length", str(len(body))), *more], body)


class World:
    """An endpoint with what is under it, and a clock; the test is the driver and the servers."""

    def __init__(self, connections: int = 2, idle: float = 15.0) -> None:
        self.timers = Timers()
        self.transports = Transports(self.timers, 2.0)
        self.outcomes: list[tuple[int, HttpResponse | HttpFailed]] = []
        options = Options.from_host(
            "ws.test",
            key="key",
            auth_connections=connections,
            auth_idle=idle,
            max_head=1000,
            max_auth_body=100,
        )
        self.endpoint = HttpPool(self.transports, self.timers, options, self.answered)
        self.now = 100.0

    def submit(self, number: int, address: Address = A) -> list[Act]:
        """Submit a request whose body is its number."""
        request = HttpRequest(address.target, address.authority, [], b"%d" % number)
        self.endpoint.submit(number, address, request, self.now)
        return self.acts()

    def cancel(self, number: int) -> list[Act]:
        self.endpoint.cancel(number, self.now)
        return self.acts()

    def answered(self, number: int, outcome: HttpResponse | HttpFailed, now: float) -> None:
        assert now == self.now
        self.outcomes.append((number, outcome))

    def opens(self, transport: int) -> list[Act]:
        self.transports.transport_opened(transport)
        return self.acts()

    def ends(self, transport: int, error: str = "") -> list[Act]:
        self.transports.transport_closed(transport, error, self.now)
        return self.acts()

    def answers(self, transport: int, data: bytes | None = None) -> list[Act]:
        self.transports.receive_data(transport, ok() if data is None else data, self.now)
        return self.acts()

    def passes(self, seconds: float) -> list[Act]:
        self.now += seconds
        while (due := self.timers.pop_due(self.now)) is not None:
            timer, of = due
            assert isinstance(of, int)
            if timer is Timer.IDLE:
                self.endpoint.idle_due(of, self.now)
            else:
                assert timer is Timer.CLOSE
                self.transports.close_due(of)
        return self.acts()

    def acts(self) -> list[Act]:
        """Return what happened: outcomes, and effects with the number of the request that each stream got."""
        acts: list[Act] = []
        outcomes, self.outcomes = self.outcomes, []
        for number, outcome in outcomes:
            what = outcome.body if isinstance(outcome, HttpResponse) else str(outcome)
            acts.append(("outcome", number, what))
        while (effect := self.transports.effects.next()) is not None:
            match effect:
                case OpenTransport():
                    acts.append(("open", effect.host, effect.port, effect.tls))
                case SendData():
                    head, _, body = effect.data.partition(b"\r\n\r\n")
                    assert head.startswith(b"POST /auth")
                    acts.append(("send", effect.transport, int(body)))
                case CloseTransport():
                    acts.append(("close", effect.transport, effect.abort))
                case Authorize():
                    raise AssertionError
        return acts


def test_a_request_opens_a_connection_and_is_sent_when_it_is_open() -> None:
    world = World()
    assert world.submit(1) == [OPEN_A]
    assert world.opens(1) == [("send", 1, 1)]
    assert world.answers(1, ok(b"yes")) == [("outcome", 1, b"yes")]


def test_a_connection_is_kept_and_serves_the_next_request_to_the_same_place() -> None:
    world = World()
    world.submit(1)
    world.opens(1)
    world.answers(1)
    assert world.submit(2) == [("send", 1, 2)]
    world.answers(1)
    assert world.submit(3, A._replace(target="/auth?other")) == [("send", 1, 3)]
    assert world.submit(4, B) == [OPEN_B]


def test_there_are_never_more_connections_than_allowed_and_the_rest_waits_its_turn() -> None:
    world = World(connections=2)
    assert [world.submit(number) for number in range(1, 6)] == [[OPEN_A], [OPEN_A], [], [], []]
    assert [world.opens(1), world.opens(2)] == [[("send", 1, 1)], [("send", 2, 2)]]
    assert world.answers(2) == [("outcome", 2, b"{}"), ("send", 2, 3)]
    assert world.answers(1) == [("outcome", 1, b"{}"), ("send", 1, 4)]
    assert world.answers(1) == [("outcome", 4, b"{}"), ("send", 1, 5)]


def test_an_idle_connection_makes_room_for_another_place() -> None:
    world = World(connections=1)
    world.submit(1)
    world.opens(1)
    world.answers(1)
    assert world.submit(2, B) == [("close", 1, False), OPEN_B]
    assert world.submit(3) == []
    world.opens(2)
    assert world.answers(2) == [("outcome", 2, b"{}"), ("close", 2, False), OPEN_A]


def test_an_idle_connection_is_closed_after_its_time() -> None:
    world = World(idle=15.0)
    world.submit(1)
    world.opens(1)
    world.answers(1)
    assert world.passes(14.9) == []
    assert world.passes(0.1) == [("close", 1, False)]
    assert world.submit(2) == [OPEN_A]


def test_a_connection_that_is_used_again_is_not_idle() -> None:
    world = World(idle=15.0)
    world.submit(1)
    world.opens(1)
    world.answers(1)
    world.passes(10)
    world.submit(2)
    assert world.passes(10) == []
    assert world.answers(1) == [("outcome", 2, b"{}")]
    assert world.passes(14.9) == []
    assert world.passes(0.1) == [("close", 1, False)]


@pytest.mark.parametrize(
    "last",
    [
        ok(b"{}", ("Connection", "close")),
        ok(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"),
        ok(b"{}") + b"HTTP/1.1 200",
    ],
    ids=["close", "HTTP/1.0", "talks on"],
)
def test_a_connection_that_can_serve_no_longer_is_closed_and_waiting_requests_get_another(
    last: bytes,
) -> None:
    world = World(connections=1)
    world.submit(1)
    world.submit(2)
    world.opens(1)
    assert world.answers(1, last) == [("outcome", 1, b"{}"), ("close", 1, False), OPEN_A]
    assert world.opens(2) == [("send", 2, 2)]


def test_an_answer_that_is_none_fails_and_its_connection_is_aborted() -> None:
    world = World(connections=1)
    world.submit(1)
    world.submit(2)
    world.opens(1)
    assert world.answers(1, b"SSH-2.0\r\n\r\n") == [
        ("outcome", 1, "the answer is not HTTP"),
        ("close", 1, True),
        OPEN_A,
    ]


def test_a_larger_answer_than_allowed_fails() -> None:
    world = World()
    world.submit(1)
    world.opens(1)
    assert world.answers(1, ok(b"x" * 101)) == [
        ("outcome", 1, "the answer is larger than 100 bytes"),
        ("close", 1, True),
    ]


def test_an_idle_connection_that_talks_is_not_to_be_trusted() -> None:
    world = World()
    world.submit(1)
    world.opens(1)
    world.answers(1)
    assert world.answers(1, ok(b'{"auth":"of somebody else"}')) == [("close", 1, True)]
    assert world.submit(2) == [OPEN_A]


# A connection that dies.


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        ("ConnectionResetError: reset", "ConnectionResetError: reset"),
        ("", "the connection ended without an answer"),
        ("a\nb" + "x" * 1000, "a b" + "x" * 124 + "…"),
    ],
)
def test_a_fresh_connection_that_dies_before_its_answer_fails_the_request(
    error: str, reported: str
) -> None:
    for opened in (False, True):
        world = World()
        world.submit(1)
        if opened:
            world.opens(1)
        assert world.ends(1, error) == [("outcome", 1, reported)]


def test_a_kept_connection_that_dies_before_the_first_byte_is_tried_once_more_on_a_fresh_one() -> (
    None
):
    world = World(connections=1)
    world.submit(1)
    world.opens(1)
    world.answers(1)
    world.submit(2)
    world.submit(3)
    assert world.ends(1) == [OPEN_A]
    assert world.opens(2) == [("send", 2, 2)]
    assert world.answers(2) == [("outcome", 2, b"{}"), ("send", 2, 3)]


def test_the_second_try_is_the_last() -> None:
    world = World()
    world.submit(1)
    world.opens(1)
    world.answers(1)
    world.submit(2)
    assert world.ends(1) == [OPEN_A]
    world.opens(2)
    assert world.ends(2) == [("outcome", 2, "the connection ended without an answer")]


def test_the_second_try_takes_no_kept_connection() -> None:
    world = World(connections=2)
    world.submit(1)
    world.submit(2)
    world.opens(1)
    world.opens(2)
    world.answers(1)
    world.answers(2)
    assert world.submit(3) == [("send", 1, 3)]
    assert world.ends(1) == [OPEN_A]  # although 2 is free
    assert world.opens(3) == [("send", 3, 3)]


def test_the_second_try_ends_a_kept_connection_at_the_limit_of_connections() -> None:
    world = World(connections=3)
    for number in (1, 2, 3):
        world.submit(number)
        world.opens(number)
    for number in (1, 2, 3):
        world.answers(number)
    world.submit(4)
    world.submit(5, B)
    assert world.acts() == []
    assert world.ends(1) == [OPEN_A]


def test_a_kept_connection_that_dies_within_its_answer_fails_the_request() -> None:
    world = World()
    world.submit(1)
    world.opens(1)
    world.answers(1)
    world.submit(2)
    assert world.answers(1, b"HTTP/1.1 200 OK\r\n") == []
    assert world.ends(1, "reset") == [("outcome", 2, "the answer is not HTTP")]


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    world = World()
    world.submit(1)
    world.opens(1)
    assert world.answers(1, b"HTTP/1.1 200 OK\r\n\r\nyes") == []
    assert world.ends(1) == [("outcome", 1, b"yes")]


def test_an_idle_connection_may_die_unnoticed() -> None:
    world = World()
    world.submit(1)
    world.opens(1)
    world.answers(1)
    assert world.ends(1, "reset") == []
    assert world.timers.next() is None
    assert world.submit(2) == [OPEN_A]


def test_connections_that_cannot_be_opened_fail_one_request_each() -> None:
    world = World(connections=1)
    world.submit(1)
    world.submit(2)
    assert world.ends(1, "refused") == [("outcome", 1, "refused"), OPEN_A]
    assert world.ends(2, "refused") == [("outcome", 2, "refused")]


# Cancelling and closing.


def test_a_request_that_waits_is_forgotten_without_a_trace() -> None:
    world = World(connections=1)
    for number in (1, 2, 3):
        world.submit(number)
    assert world.cancel(2) == []
    world.opens(1)
    assert world.answers(1) == [("outcome", 1, b"{}"), ("send", 1, 3)]


def test_a_connection_on_which_a_request_was_cancelled_is_of_no_more_use() -> None:
    world = World(connections=1)
    world.submit(1)
    world.submit(2)
    world.opens(1)
    assert world.cancel(1) == [("close", 1, True), OPEN_A]
    assert world.answers(1) == []  # late
    assert world.opens(2) == [("send", 2, 2)]


def test_a_request_cancelled_while_its_connection_opens_gives_that_up() -> None:
    world = World()
    world.submit(1)
    assert world.cancel(1) == [("close", 1, True)]
    assert world.opens(1) == []
    assert world.ends(1, "given up") == []


def test_cancelling_what_is_not_there_changes_nothing() -> None:
    world = World()
    world.submit(1)
    world.opens(1)
    world.answers(1)
    assert world.cancel(1) == []
    assert world.cancel(7) == []
    assert world.submit(2) == [("send", 1, 2)]


def test_cancelling_all_forgets_all_requests_and_keeps_what_is_idle() -> None:
    world = World(connections=3)
    for number in (1, 2, 3):
        world.submit(number)
    world.opens(1)
    world.opens(2)
    world.answers(2)
    for number in range(4, 500):
        world.submit(number)
    world.answers(2)
    assert world.submit(500) == []
    world.endpoint.cancel_all(world.now)
    assert world.acts() == [("close", 1, True), ("close", 2, True), ("close", 3, True)]
    world.submit(501)
    world.opens(4)
    world.answers(4)
    world.endpoint.cancel_all(world.now)
    assert world.acts() == []
    assert world.submit(502) == [("send", 4, 502)]


def test_closing_forgets_all_requests_and_ends_all_connections() -> None:
    world = World(connections=3)
    for number in (1, 2, 3):
        world.submit(number)
    world.opens(1)
    world.opens(2)
    world.answers(2)
    world.submit(4)
    world.answers(2)
    world.submit(5)
    world.submit(6)
    world.answers(2)
    world.answers(2)
    assert world.timers.is_set(Timer.IDLE, 2)
    world.endpoint.close(world.now)
    assert world.acts() == [("close", 1, True), ("close", 2, False), ("close", 3, True)]
    assert [world.ends(number) for number in (1, 2, 3)] == [[], [], []]
    assert world.timers.next() is None


def test_closing_forgets_waiting_requests_too() -> None:
    world = World(connections=1)
    world.submit(1)
    world.submit(2)
    world.endpoint.close(world.now)
    assert world.acts() == [("close", 1, True)]
    assert world.submit(3, B) == [OPEN_B]
    assert world.opens(2) == [("send", 2, 3)]


# Any order of things.


class Endpoints(RuleBasedStateMachine):
    """Servers and networks do what they like; every request ends exactly once, or was cancelled."""

    LIMIT = 3

    def __init__(self) -> None:
        super().__init__()
        self.world = World(connections=self.LIMIT, idle=5.0)
        self.submitted: dict[int, Address] = {}
        self.pending: set[int] = set()
        self.opening: dict[int, tuple[str, int, bool]] = {}
        self.open: dict[int, tuple[str, int, bool]] = {}
        self.at: dict[int, int] = {}
        """The pending request of each stream."""
        self.sent: dict[int, int] = {}
        """How often each request was sent."""
        self.streams = 0

    def took(self, acts: list[Act]) -> None:
        for act in acts:
            match act:
                case ("open", host, port, tls):
                    self.streams += 1
                    self.opening[self.streams] = host, port, tls
                case ("send", transport, number):
                    assert transport not in self.at
                    assert self.open[transport] == self.submitted[number][:3]
                    assert number in self.pending
                    self.at[transport] = number
                    self.sent[number] = self.sent.get(number, 0) + 1
                    assert self.sent[number] <= 2
                case ("outcome", number, _):
                    self.pending.remove(number)
                    self.at = {t: n for t, n in self.at.items() if n != number}
                case ("close", transport, _):
                    self.forget(transport)

    def forget(self, transport: int) -> None:
        for known in (self.opening, self.open, self.at):
            known.pop(transport, None)

    @rule(address=st.sampled_from([A, B]))
    def submits(self, address: Address) -> None:
        number = len(self.submitted) + 1
        self.submitted[number] = address
        self.pending.add(number)
        self.took(self.world.submit(number, address))

    @rule(pick=st.integers(0, 20))
    def cancels(self, pick: int) -> None:
        if self.pending:
            number = sorted(self.pending)[pick % len(self.pending)]
            self.pending.remove(number)
            self.took(self.world.cancel(number))

    @rule(pick=st.integers(0, 5))
    def opens(self, pick: int) -> None:
        if self.opening:
            transport = sorted(self.opening)[pick % len(self.opening)]
            self.open[transport] = self.opening.pop(transport)
            self.took(self.world.opens(transport))

    @rule(
        pick=st.integers(0, 5),
        data=st.sampled_from(
            [ok(), ok(), ok(b"", ("Connection", "close")), b"H", b"\0\r\n\r\n", ok() + b"x"]
        ),
    )
    def answers(self, pick: int, data: bytes) -> None:
        if self.open:
            transport = sorted(self.open)[pick % len(self.open)]
            had = self.at.get(transport)
            acts = self.world.answers(transport, data)
            assert [act[1] for act in acts if act[0] == "outcome"] in ([], [had])
            self.took(acts)

    @rule(pick=st.integers(0, 9), error=st.sampled_from(["", "reset"]))
    def dies(self, pick: int, error: str) -> None:
        alive = sorted(self.open.keys() | self.opening.keys())
        if alive:
            transport = alive[pick % len(alive)]
            self.forget(transport)
            self.took(self.world.ends(transport, error))

    @rule(seconds=st.integers(1, 6))
    def time_passes(self, seconds: int) -> None:
        self.took(self.world.passes(seconds))

    @invariant()
    def there_are_not_too_many_connections(self) -> None:
        assert len(self.open) + len(self.opening) <= self.LIMIT

    @invariant()
    def nothing_waits_while_something_could_serve_it(self) -> None:
        if len(self.pending) > len(self.at) + len(self.opening):
            assert len(self.open) + len(self.opening) == self.LIMIT

    def teardown(self) -> None:
        for _ in range(3 * len(self.submitted) + 3):
            for transport in list(self.opening):
                self.open[transport] = self.opening.pop(transport)
                self.took(self.world.opens(transport))
            for transport in list(self.at):
                if transport in self.at:
                    self.took(self.world.answers(transport, ok()))
        assert self.pending == set()
        self.took(self.world.passes(5))
        assert (self.open, self.opening) == ({}, {})


Endpoints.TestCase.settings = settings(tried, max_examples=max(1, EXAMPLES // 3))
TestEndpoints = Endpoints.TestCase


texts = st.text(st.characters(codec="utf-8"), max_size=10)


@tried
@given(
    st.builds("https://a.test/{}?{}".format, texts, texts),
    st.dictionaries(texts | st.text("abc-", min_size=1), texts | st.text("abc =;,"), max_size=3),
    st.sampled_from(["form", "json"]),
)
def test_every_request_that_an_endpoint_can_mean_can_be_written(
    url: str, headers: dict[str, str], body: Any
) -> None:
    try:
        endpoint = AuthEndpoint(url, headers=headers, body=body)
    except ValueError:
        return
    address, request = request_for(endpoint, AuthRequest("1.1", "private-x"))
    assert address == address_of(url)
    written = HttpConnection(max_head=1000, max_body=1000).send(request)
    head, _, sent = written.partition(b"\r\n\r\n")
    assert sent == request.body
    assert len(head.split(b"\r\n")) == 1 + 1 + len(request.headers) + 1
