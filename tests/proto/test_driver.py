"""The loop that drivers share, on an I/O written by hand: what it carries out, when it rings, and what breaks it."""

from __future__ import annotations

import inspect
import random
import ssl
from collections.abc import AsyncIterator, Callable
from math import inf
from typing import Any

import pytest

from proto.scripted import greeting, upgrade_for
from proto.test_tls import authority
from proto.websocket_peer import frame
from pusher_proto import (
    AuthRequest,
    AuthResponse,
    CallApplication,
    CancelCall,
    ConnectionEstablished,
    Event,
    OpenTransport,
    Options,
    OwnKey,
    Session,
)
from pusher_proto.driving import IO, Driver, DriverOptions, Wire, call_plain, in_turns, tls
from pusher_proto.gaps import CatchUp, Gap
from pusher_proto.states import ChannelState


class Hand(IO):
    """An I/O of which everything is done by hand."""

    def __init__(self, options: Options, *, messages: bool = False, **more: Any) -> None:
        self.now = 100.0
        self.wires: list[Wire] = []
        self.attended: list[Wire] = []
        self.rings: list[float] = []
        self.calls: list[tuple[Callable[[Any], object], object, Callable[[object], None]]] = []
        self.errors: list[BaseException] = []
        self.events: list[Event] = []
        self.cannot: Exception | None = None
        self.at_once = False
        self.cancelled: list[Callable[[object], None]] = []
        many = hasattr(more.get("authorizer"), "authorize_many")
        session = Session(options, rng=random.Random(1), authorize_many=many, messages=messages)
        self.driver = Driver(
            session,
            self,
            deliver=self.deliver,
            broke=self.errors.append,
            options=DriverOptions(**more),
        )

    def time(self) -> float:
        return self.now

    def open(self, wire: Wire) -> None:
        if self.cannot is not None:
            raise self.cannot
        self.wires.append(wire)

    def attend(self, wire: Wire) -> None:
        self.attended.append(wire)

    def ring_at(self, at: float) -> None:
        self.rings.append(at)

    def call(
        self, function: Callable[[Any], object], argument: object, done: Callable[[object], None]
    ) -> Callable[[], None]:
        if self.cannot is not None:
            raise self.cannot
        if self.at_once:
            done(function(argument))
        else:
            self.calls.append((function, argument, done))
        return lambda: self.cancelled.append(done)

    def deliver(self) -> None:
        while (event := self.driver.session.next_event()) is not None:
            self.events.append(event)

    def command(self, command: Callable[..., None], *details: object) -> None:
        command(*details, now=self.now)
        self.driver.settle()

    def connected(self) -> Wire:
        """Play a server's side until there is a connection."""
        self.command(self.driver.session.connect)
        wire = self.wires[-1]
        wire.opened()
        wire.received(upgrade_for(sent(wire)))
        wire.received(frame(greeting()))
        return wire

    def answered(self) -> None:
        """Carry out the first call of the application."""
        function, argument, done = self.calls.pop(0)
        done(function(argument))


def sent(wire: Wire) -> bytes:
    data = wire.to_write()
    wire.written(len(data))
    return data


def options(**more: Any) -> Options:
    return Options.from_host("ws.test", key="key", **{"tls": False, **more})


@pytest.fixture
def no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_cached", None)


def test_a_connection_on_an_io_written_by_hand() -> None:
    hand = Hand(options())
    wire = hand.connected()
    assert ConnectionEstablished in map(type, hand.events)
    assert hand.attended[-1] is wire
    assert hand.driver.rings_at == hand.rings[-1] < inf
    hand.driver.close()
    assert not hand.driver.ended
    assert sent(wire)  # the close frame
    wire.eof()
    assert hand.driver.ended
    assert hand.driver.rings_at == inf
    assert hand.driver.wires == {}
    assert hand.rings[-1] == inf
    assert hand.errors == []


def test_it_rings_for_earlier_times_only_and_again_after_it_has_rung() -> None:
    hand = Hand(options())
    hand.connected()
    rings = len(hand.rings)
    assert hand.rings == sorted(hand.rings, reverse=True)
    wire = hand.wires[-1]
    hand.now += 10
    wire.received(frame(greeting()))  # received data postpones the deadline
    assert len(hand.rings) == rings
    hand.now = hand.rings[-1]
    hand.driver.ring()
    assert len(hand.rings) == rings + 1
    assert hand.rings[-1] > hand.now
    hand.driver.ring(hand.rings[-1])
    assert len(hand.rings) == rings + 2


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), OSError(24, "too many")])
def test_W9_what_cannot_be_opened_for_now_is_an_attempt_that_failed(error: Exception) -> None:
    hand = Hand(options())
    hand.cannot = error
    hand.command(hand.driver.session.connect)
    assert hand.errors == []
    assert hand.driver.session.retry_at is not None
    assert hand.driver.session.last_error is error
    assert hand.driver.wires == {}


def test_W9_an_authorizer_that_cannot_be_called_for_now_is_asked_again() -> None:
    hand = Hand(options(), authorizer=lambda _: AuthResponse("key:signature"))
    hand.connected()
    hand.cannot = RuntimeError("can't start new thread")
    hand.command(hand.driver.session.subscribe, "private-a")
    hand.cannot = None
    hand.now += 100
    hand.driver.ring()
    assert len(hand.calls) == 1


def test_W13_a_dial_is_given_up_at_once() -> None:
    hand = Hand(options())
    hand.command(hand.driver.session.connect)
    hand.command(hand.driver.session.disconnect)
    assert hand.attended[-1].over
    assert hand.driver.wires == {}


@pytest.mark.usefixtures("no_context")
def test_the_default_context_is_made_where_it_may_take_its_time_once_for_all() -> None:
    hand = Hand(options(tls=True))
    hand.command(hand.driver.session.connect)
    (wire,) = hand.wires
    wire.opened()
    assert not wire.has_to_write
    hand.answered()
    assert wire.has_to_write
    hand.command(hand.driver.session.disconnect)
    hand.command(hand.driver.session.connect)
    assert hand.calls == []
    hand.wires[-1].opened()
    assert hand.wires[-1].has_to_write


@pytest.mark.usefixtures("no_context")
def test_two_wires_wait_for_one_context_and_fail_without_it() -> None:
    hand = Hand(options(tls=True))
    for _ in range(2):
        hand.command(hand.driver.session.connect)
        hand.command(hand.driver.session.disconnect)
    hand.command(hand.driver.session.connect)
    ((_, _, done),) = hand.calls
    done(ssl.SSLError("no certificates"))
    assert hand.driver.session.retry_at is not None
    assert "no certificates" in hand.driver.session.last_loss
    assert hand.errors == []


@pytest.mark.usefixtures("no_context")
def test_W9_no_thread_for_the_context_is_an_attempt_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hand = Hand(options(tls=True))

    def call(*_: object) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.setattr(hand, "call", call)
    hand.command(hand.driver.session.connect)
    assert "no more threads" in hand.driver.session.last_loss


@pytest.mark.usefixtures("no_context")
def test_a_program_that_ends_while_the_context_is_made_gets_no_error_from_it() -> None:
    hand = Hand(options(tls=True))
    hand.command(hand.driver.session.connect)
    ((_, _, done),) = hand.calls
    done(KeyboardInterrupt())
    assert hand.driver.session.retry_at is None
    assert hand.errors == []
    assert tls.cached_context() is None


def test_tls_begins_behind_a_proxy_with_the_context_that_was_given() -> None:
    hand = Hand(options(tls=True, proxy="http://proxy.test"), ssl_context=authority().client)
    hand.command(hand.driver.session.connect)
    (wire,) = hand.wires
    wire.opened()
    assert sent(wire).startswith(b"CONNECT")
    wire.received(b"HTTP/1.1 200 OK\r\n\r\n")
    assert sent(wire).startswith(b"\x16\x03")


def test_an_io_that_secures_streams_itself_moves_plain_bytes() -> None:
    hand = Hand(options(tls=True, proxy="http://proxy.test:3128"), tls=False)
    hand.command(hand.driver.session.connect)
    wire = hand.wires[0]
    wire.opened()
    assert sent(wire).startswith(b"CONNECT ")
    wire.received(b"HTTP/1.1 200 OK\r\n\r\n")  # StartTls follows, and is answered at once
    wire.received(upgrade_for(sent(wire)))
    wire.received(frame(greeting()))
    assert hand.driver.session.socket_id is not None

    direct = Hand(options(tls=True), tls=False)
    direct.connected()
    assert direct.driver.session.socket_id is not None
    assert hand.errors == direct.errors == []


def test_the_context_of_an_effect_goes_before_that_of_the_client() -> None:
    mine, endpoints = (ssl.create_default_context() for _ in range(2))
    hand = Hand(options(), ssl_context=mine)
    hand.driver._carry_out(OpenTransport(99, "auth.test", 443, tls=True, ssl_context=endpoints))
    hand.driver._carry_out(OpenTransport(100, "auth.test", 443, tls=True))
    assert [wire._context for wire in hand.wires] == [endpoints, mine]
    hand.wires[0].opened()
    assert sent(hand.wires[0]).startswith(b"\x16\x03")


def test_answers_of_the_application_reach_their_requests() -> None:
    def authorizer(request: AuthRequest) -> AuthResponse:
        assert request.channel
        return OwnKey("key", "secret").authorization(request)

    hand = Hand(options(), authorizer=authorizer)
    wire = hand.connected()
    hand.command(hand.driver.session.subscribe, "private-a")
    hand.answered()
    assert wire.has_to_write
    assert hand.driver.session.channel("private-a").state is ChannelState.SUBSCRIBING


def test_a_function_of_the_application_is_called_and_its_result_given_to_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hand = Hand(options())
    ended: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        hand.driver.session, "call_ended", lambda *args, now: ended.append((*args, now))
    )

    async def token() -> str:
        return "async"

    for number, function in enumerate((lambda: "plain", token), 1):
        hand.driver._carry_out(CallApplication(number, function))
    hand.driver._carry_out(CancelCall(1))
    hand.driver._carry_out(CancelCall(3))  # it has ended, or never was
    (plain, _, done), (awaited, _, _) = hand.calls
    assert hand.cancelled == [done]
    hand.answered()
    assert ended == [(1, "plain", hand.now)]
    assert plain(None) == "plain"
    coroutine: Any = awaited(None)
    with pytest.raises(StopIteration, match="async"):
        coroutine.send(None)


def test_a_call_that_ends_at_once_cannot_be_cancelled_afterwards() -> None:
    hand = Hand(options(), authorizer=lambda _: None)
    hand.connected()
    hand.at_once = True
    hand.command(hand.driver.session.subscribe, "private-a")
    assert hand.driver.session.channel("private-a").last_error is not None
    hand.driver._carry_out(CancelCall(1))
    assert hand.cancelled == []


def test_the_context_of_an_effect_is_used_instead_of_that_of_the_driver() -> None:
    context = authority().client
    hand = Hand(options())
    hand.driver._carry_out(OpenTransport(7, "auth.test", 443, True, context))
    (wire,) = hand.wires
    wire.opened()
    assert sent(wire).startswith(b"\x16\x03")
    assert hand.calls == []  # no default context was needed


def test_what_the_application_raises_is_the_answer() -> None:
    hand = Hand(options(), authorizer=lambda _: None)
    hand.connected()
    hand.command(hand.driver.session.subscribe, "private-a")
    ((_, _, done),) = hand.calls
    done(ZeroDivisionError("by zero"))
    error = hand.driver.session.channel("private-a").last_error
    assert error is not None
    assert "by zero" in str(error)


def test_several_requests_are_answered_each_for_itself() -> None:
    class Many:
        def __call__(self, request: AuthRequest) -> AuthResponse:
            raise AssertionError("it is asked for many")

        def authorize_many(self, requests: list[AuthRequest]) -> list[object]:
            return [OwnKey("key", "secret").authorization(requests[0]), ValueError("not this one")]

    hand = Hand(options(), authorizer=Many())
    hand.connected()
    for name in ("private-a", "private-b"):
        hand.driver.session.subscribe(name, now=hand.now)
    hand.driver.settle()
    while hand.driver.session.next_deadline() == hand.now or not hand.calls:
        hand.driver.ring()
    hand.answered()
    session = hand.driver.session
    assert session.channel("private-a").state is ChannelState.SUBSCRIBING
    assert session.channel("private-b").state is ChannelState.FAILED


def test_an_answer_of_the_wrong_number_is_one_for_all() -> None:
    class Many:
        def __call__(self, request: AuthRequest) -> AuthResponse:
            raise AssertionError("it is asked for many")

        def authorize_many(self, requests: list[AuthRequest]) -> list[object]:
            return []

    hand = Hand(options(), authorizer=Many())
    hand.connected()
    for name in ("private-a", "private-b"):
        hand.driver.session.subscribe(name, now=hand.now)
    hand.driver.settle()
    while hand.driver.session.next_deadline() == hand.now or not hand.calls:
        hand.driver.ring()
    hand.answered()
    for name in ("private-a", "private-b"):
        assert hand.driver.session.channel(name).last_error is not None


def test_without_an_authorizer_the_request_fails_and_says_why() -> None:
    hand = Hand(options())
    hand.connected()
    hand.command(hand.driver.session.subscribe, "private-a")
    error = hand.driver.session.channel("private-a").last_error
    assert error is not None
    assert "authorizer" in str(error)


def test_what_breaks_in_a_call_from_outside_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    hand = Hand(options())
    wire = hand.connected()
    bug = ZeroDivisionError()

    def broken(*_: object, **__: object) -> None:
        raise bug

    monkeypatch.setattr(hand.driver.session, "receive_data", broken)
    monkeypatch.setattr(hand.driver.session, "handle_timeout", broken)
    hand.driver.tell(hand.driver.session.receive_data)
    hand.driver.ring()
    assert hand.errors == [bug, bug]
    assert not wire.over


@pytest.mark.parametrize("part", ["close", "next_effect", "transport_closed"])
def test_after_a_bug_aborting_raises_nothing_and_ends_all_wires(part: str) -> None:
    hand = Hand(options())
    wire = hand.connected()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    setattr(hand.driver.session, part, broken)
    hand.attended.clear()
    hand.driver.abort()
    assert wire.over
    assert wire in hand.attended


def test_looking_settles_and_hands_bugs_to_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    hand = Hand(options())
    hand.driver.session.connect(now=hand.now)
    hand.driver.look()
    assert len(hand.wires) == 1
    bug = KeyError("a bug")

    def breaks() -> None:
        raise bug

    monkeypatch.setattr(hand.driver.session, "next_effect", breaks)
    hand.driver.look()
    assert hand.errors == [bug]


def test_aborting_ends_the_session_and_all_wires() -> None:
    hand = Hand(options())
    wire = hand.connected()
    hand.driver.abort()
    assert wire.over
    assert hand.driver.session.closed
    assert hand.driver.wires == {}
    wire.received(b"late")
    hand.driver.ring()
    hand.driver.abort()
    assert hand.errors == []


def test_effects_that_follow_from_answers_given_at_once_are_carried_out_in_order() -> None:
    hand = Hand(options())
    wire = hand.connected()
    session = hand.driver.session
    session.disconnect(now=hand.now)
    session.connect(now=hand.now)
    session.disconnect(now=hand.now)
    session.connect(now=hand.now)
    hand.driver.settle()
    assert wire.state in ("closing", "over", "open")
    assert len(hand.driver.wires) <= 2
    assert hand.errors == []


def test_an_effect_for_a_wire_that_is_gone_is_none() -> None:
    hand = Hand(options())
    wire = hand.connected()
    session = hand.driver.session
    session.ping(now=hand.now)
    hand.driver.wires.clear()
    hand.driver.settle()
    assert not wire.has_to_write


def test_W39_a_plain_call_gives_the_result_or_the_error_and_nothing_that_is_to_be_awaited() -> None:
    async def later(_: object) -> int:
        return 1

    async def numbers() -> AsyncIterator[tuple[str, int]]:
        yield "n", 1

    class Later:
        def __await__(self) -> Any:
            yield

    error = ValueError()

    def raises(_: object) -> None:
        raise error

    assert call_plain(str, 1) == "1"
    assert call_plain(raises, 1) is error
    never_awaited: Any = later(0)
    fetch = CatchUp(lambda _: never_awaited).call(Gap("room", True, None, None, None, 1))
    pages = CatchUp(lambda _: numbers()).call(Gap("room", True, None, None, None, 1))
    for function in (later, lambda _: Later(), lambda _: fetch(), lambda _: pages()):
        refused = call_plain(function, 1)
        assert isinstance(refused, TypeError)
        assert "plain function" in str(refused)
    assert inspect.getcoroutinestate(never_awaited) == inspect.CORO_CLOSED  # it does not warn


def test_the_addresses_of_both_families_take_turns() -> None:
    six = [(10, n) for n in (1, 2, 3)]
    four = [(2, n) for n in (4, 5)]
    assert list(in_turns([*six, *four])) == [six[0], four[0], six[1], four[1], six[2]]


def test_what_many_requests_raised_is_the_answer_to_each() -> None:
    class Many:
        def __call__(self, request: AuthRequest) -> AuthResponse:
            raise AssertionError("it is asked for many")

        def authorize_many(self, requests: list[AuthRequest]) -> list[object]:
            raise AssertionError("it is answered by hand")

    hand = Hand(options(), authorizer=Many())
    hand.connected()
    for name in ("private-a", "private-b"):
        hand.driver.session.subscribe(name, now=hand.now)
    hand.driver.settle()
    while hand.driver.session.next_deadline() == hand.now or not hand.calls:
        hand.driver.ring()
    ((_, _, done),) = hand.calls
    done(ZeroDivisionError("by zero"))
    for name in ("private-a", "private-b"):
        assert "by zero" in str(hand.driver.session.channel(name).last_error)
