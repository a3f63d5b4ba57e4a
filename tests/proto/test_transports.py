"""Numbered streams: who owns each, the order of effects, and that every one of them ends."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proto.strategies import tried
from proto.websocket_peer import EXAMPLES
from pusher_proto._base.secret import Secret
from pusher_proto._base.timers import Timer, Timers
from pusher_proto._base.urls import Address
from pusher_proto._transports.transports import Transports
from pusher_proto._wire.proxy import proxy_of
from pusher_proto.auth import AuthRequest
from pusher_proto.effects import (
    Authorize,
    CloseTransport,
    Effect,
    OpenTransport,
    SendData,
    StartTls,
)

ADDRESS = Address("ws.test", 443, True, "/")
CLOSE_TIMEOUT = 2.0


class Someone:
    """Owns streams, and writes down the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def transport_opened(self, transport: int) -> None:
        self.calls.append(("opened", transport))

    def receive_data(self, transport: int, data: bytes, now: float) -> None:
        self.calls.append(("received", transport, data, now))

    def transport_closed(
        self, transport: int, error: BaseException | str | None, reason: str, now: float
    ) -> None:
        self.calls.append(("closed", transport, error, reason, now))


def made() -> tuple[Transports, Timers]:
    timers = Timers()
    return Transports(timers, CLOSE_TIMEOUT), timers


def drained(transports: Transports) -> list[Effect]:
    effects = []
    while (effect := transports.effects.next()) is not None:
        effects.append(effect)
    return effects


def test_a_stream_is_requested_by_a_number_that_is_never_used_again() -> None:
    transports, _ = made()
    me = Someone()
    assert [transports.open(ADDRESS, me), transports.open(ADDRESS, me)] == [1, 2]
    transports.transport_closed(1, OSError("no"), 1.0)
    transports.transport_closed(2, None, 2.0)
    assert me.calls == [
        ("closed", 1, me.calls[0][2], "OSError: no", 1.0),
        ("closed", 2, None, "", 2.0),
    ]
    assert transports.open(Address("::1", 80, False, "/x"), me) == 3
    assert drained(transports) == [OpenTransport(3, "::1", 80, False)]
    assert (len(transports), 2 in transports, 3 in transports) == (1, False, True)


def test_the_owner_gets_one_call_for_the_opening_each_piece_of_data_and_the_end() -> None:
    transports, _ = made()
    me = Someone()
    number = transports.open(ADDRESS, me)
    transports.receive_data(number, b"too early", 0.5)
    for _ in range(2):
        transports.transport_opened(number)
    transports.tls_started(number)  # TLS was part of the opening
    transports.receive_data(number, b"data", 3.0)
    transports.receive_data(number, b"", 3.5)
    for now in (4.0, 5.0):
        transports.transport_closed(number, "over", now)
    transports.receive_data(number, b"too late", 6.0)
    assert me.calls == [
        ("opened", 1),
        ("received", 1, b"data", 3.0),
        ("closed", 1, "over", "over", 4.0),
    ]
    assert transports.bytes_received == 4


def test_reports_about_unknown_numbers_change_nothing() -> None:
    transports, _ = made()
    transports.transport_opened(7)
    transports.tls_started(7)
    transports.receive_data(7, b"x", 0.0)
    transports.data_sent(7, 1)
    transports.transport_closed(7, None, 0.0)
    assert transports.unsent(7) == 0
    transports.send(7, b"x")
    transports.linger(7, 0.0)
    assert drained(transports) == []
    assert (transports.bytes_received, transports.bytes_sent) == (0, 0)


def test_nothing_is_sent_before_a_stream_is_open_nor_after_it_was_asked_to_close() -> None:
    transports, _ = made()
    number = transports.open(ADDRESS, Someone())
    transports.send(number, b"too early")
    transports.transport_opened(number)
    transports.send(number, b"sent")
    transports.send(number, b"")
    transports.close(number, 0.0)
    transports.send(number, b"too late")
    assert drained(transports) == [
        OpenTransport(1, "ws.test", 443, True),
        SendData(1, b"sent"),
        CloseTransport(1),
    ]


def test_bytes_sent_in_a_row_on_one_stream_are_one_effect() -> None:
    transports, _ = made()
    for number in (transports.open(ADDRESS, Someone()), transports.open(ADDRESS, Someone())):
        transports.transport_opened(number)
    for number, data in [(1, b"a"), (1, b"b"), (2, b"c"), (1, b"d"), (1, b"e")]:
        transports.send(number, data)
    authorize = Authorize(1, AuthRequest("1.1"))
    transports.effects.append(authorize)
    transports.send(1, b"f")
    assert drained(transports)[2:] == [
        SendData(1, b"ab"),
        SendData(2, b"c"),
        SendData(1, b"de"),
        authorize,
        SendData(1, b"f"),
    ]


def test_unsent_bytes_are_counted_until_the_driver_has_written_them() -> None:
    transports, _ = made()
    number = transports.open(ADDRESS, Someone())
    transports.transport_opened(number)
    transports.send(number, b"abc")
    transports.send(number, b"de")
    drained(transports)
    assert transports.unsent(number) == 5
    transports.data_sent(number, 4)
    assert transports.unsent(number) == 1
    transports.data_sent(number, 4)  # more than there was
    assert transports.unsent(number) == 0


def test_a_stream_asked_to_close_has_close_timeout_to_end_and_is_aborted_then() -> None:
    transports, timers = made()
    number = transports.open(ADDRESS, Someone())
    transports.transport_opened(number)
    transports.close(number, 10.0)
    assert timers.at(Timer.CLOSE, number) == 12.0
    assert number in transports
    transports.close_due(number)
    assert drained(transports)[1:] == [CloseTransport(1), CloseTransport(1, abort=True)]
    assert number not in transports


def test_the_time_to_end_runs_from_the_first_word_of_it() -> None:
    transports, timers = made()
    number = transports.open(ADDRESS, Someone())
    transports.transport_opened(number)
    transports.linger(number, 10.0)
    transports.close(number, 11.0)
    transports.close(number, 11.5, abort=True)
    assert timers.at(Timer.CLOSE, number) == 12.0


def test_a_stream_that_ends_in_time_is_not_aborted() -> None:
    transports, timers = made()
    me = Someone()
    number = transports.open(ADDRESS, me)
    transports.transport_opened(number)
    transports.close(number, 10.0)
    transports.receive_data(number, b"late", 10.5)
    transports.transport_closed(number, None, 11.0)
    assert me.calls == [("opened", 1)]
    assert timers.next() is None


def test_a_stream_that_is_still_opening_is_given_up_at_once() -> None:
    transports, _ = made()
    me = Someone()
    number = transports.open(ADDRESS, me)
    transports.close(number, 0.0)
    assert drained(transports)[1:] == [CloseTransport(1, abort=True)]
    transports.transport_opened(number)  # the driver was faster
    assert me.calls == []


def test_an_ssl_context_of_the_owner_goes_to_the_driver_with_the_effect_that_begins_tls() -> None:
    context = object()
    transports, _ = made()
    transports.open(ADDRESS, Someone(), context)
    assert drained(transports) == [OpenTransport(1, "ws.test", 443, True, context)]
    proxied = Transports(Timers(), CLOSE_TIMEOUT, proxy_of(Secret("http://proxy.test:3128"), 1000))
    proxied.open(ADDRESS, Someone(), context)
    proxied.transport_opened(1)
    proxied.receive_data(1, b"HTTP/1.1 200 OK\r\n\r\n", 0.0)
    opened, _, secured = drained(proxied)
    assert opened == OpenTransport(1, "proxy.test", 3128, False, context)
    assert secured == StartTls(1, "ws.test", context)


def test_what_was_to_be_done_with_a_stream_that_is_gone_is_void() -> None:
    transports, _ = made()
    me = Someone()
    for _ in range(2):
        transports.transport_opened(transports.open(ADDRESS, me))
    drained(transports)
    authorize = Authorize(1, AuthRequest("1.1"))  # its number is another's
    for number in (1, 2, 1):
        transports.send(number, b"same")
    transports.effects.append(authorize)
    transports.close(1, 0.0)
    transports.send(2, b"same")
    transports.transport_closed(1, None, 0.0)
    assert drained(transports) == [SendData(2, b"same"), authorize, SendData(2, b"same")]


class WithADriver(RuleBasedStateMachine):
    """A driver that carries out effects and answers at any time; it checks that the effects are valid."""

    def __init__(self) -> None:
        super().__init__()
        self.transports, self.timers = made()
        self.now = 0.0
        self.asked: dict[int, bytes] = {}
        """The bytes to send on each open stream that is not to be closed."""
        self.seen: dict[int, bytes] = {}
        """The bytes that the driver has to write, by stream, for streams that were opened and did not end."""
        self.asked_to_close: set[int] = set()
        self.ended: set[int] = set()
        self.opened_: set[int] = set()
        self.closed: set[int] = set()
        self.last = 0

    numbers = st.integers(1, 6)

    @precondition(lambda self: self.last < 6)
    @rule()
    def open(self) -> None:
        self.last += 1
        assert self.transports.open(ADDRESS, Someone()) == self.last
        self.asked[self.last] = b""

    @rule(number=numbers)
    def opened(self, number: int) -> None:
        if number in self.seen:
            self.transports.transport_opened(number)
            self.opened_.add(number)

    @rule(number=numbers, data=st.binary(max_size=3))
    def send(self, number: int, data: bytes) -> None:
        if number in self.opened_ - self.closed:
            self.asked[number] += data
        self.transports.send(number, data)

    @rule(number=numbers, abort=st.booleans())
    def close(self, number: int, abort: bool) -> None:
        if number in self.transports:
            self.transports.close(number, self.now, abort=abort)
            self.closed.add(number)

    @rule(number=numbers)
    def ends(self, number: int) -> None:
        if number in self.seen:
            self.transports.transport_closed(number, None, self.now)
            del self.seen[number]
            self.ended.add(number)
            self.closed.add(number)

    @rule()
    def time_passes(self) -> None:
        self.now += 1.0
        while (due := self.timers.pop_due(self.now)) is not None:
            assert due[0] is Timer.CLOSE
            assert isinstance(due[1], int)
            self.transports.close_due(due[1])

    @rule(limit=st.integers(1, 9))
    def carries_out(self, limit: int) -> None:
        for _ in range(limit):
            match self.transports.effects.next():
                case OpenTransport(transport=number):
                    assert number not in self.seen
                    assert number not in self.ended
                    self.seen[number] = b""
                case SendData(transport=number, data=data):
                    assert data
                    assert number not in self.asked_to_close
                    self.seen[number] += data
                case CloseTransport(transport=number):
                    assert number in self.seen
                    self.asked_to_close.add(number)
                case None:
                    return

    @invariant()
    def what_is_written_is_the_start_of_what_was_asked(self) -> None:
        for number, data in self.seen.items():
            assert self.asked[number].startswith(data)

    @invariant()
    def every_stream_asked_to_close_has_a_deadline(self) -> None:
        for number in self.asked_to_close & self.seen.keys():
            assert number not in self.transports or self.timers.is_set(Timer.CLOSE, number)

    def teardown(self) -> None:
        self.carries_out(1000)
        for number in self.seen:
            assert self.asked[number] == self.seen[number]
        for number in range(1, self.last + 1):
            if number in self.transports:
                self.transports.close(number, self.now)
        for _ in range(3):
            self.time_passes()
        assert (len(self.transports), self.timers.next()) == (0, None)


WithADriver.TestCase.settings = settings(tried, max_examples=max(1, EXAMPLES // 3))
TestWithADriver = WithADriver.TestCase
