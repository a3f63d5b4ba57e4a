"""One byte stream between a session and whatever moves its bytes: lines 2, 4 and 9 of the contract, without sockets."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proto.test_tls import HOST, Server, authority
from pusher_proto import OpenTransport
from pusher_proto.driving.wire import PIECE, WIRE, Wire, WireInput, WireState


class Reported:
    """A session that records its inputs, and may answer at once."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.wanted = True
        self.then: dict[str, Callable[[], None]] = {}
        self.attended: list[bool] = []
        """Whether data was wanted each time that the I/O was asked to look again."""
        self.wire: Wire | None = None

    def tell(self, answer: Callable[..., None], *details: object) -> None:
        answer(*details, now=0.0)
        if self.wire is not None:
            self.attended.append(self.wire.wants_data)

    def _note(self, name: str, *details: object) -> None:
        self.said.append((name, *details))
        if name in self.then:
            self.then.pop(name)()

    def transport_opened(self, number: int, *, now: float) -> None:
        self._note("opened")

    def transport_failed(self, number: int, error: object, *, now: float) -> None:
        self._note("failed", error)

    def transport_closed(self, number: int, error: object, *, now: float) -> None:
        self._note("closed", error)

    def tls_started(self, number: int, *, now: float) -> None:
        self._note("tls")

    def receive_data(self, number: int, data: bytes, *, now: float) -> None:
        self._note("data", data)

    def data_sent(self, number: int, size: int, *, now: float) -> None:
        self._note("sent", size)

    def wants_data(self, number: int) -> bool:
        return self.wanted

    def names(self) -> list[str]:
        return [each[0] for each in self.said]

    def data(self) -> bytes:
        return b"".join(each[1] for each in self.said if each[0] == "data")

    def sent(self) -> int:
        return sum(each[1] for each in self.said if each[0] == "sent")


def wire(*, tls: bool = False) -> tuple[Wire, Reported]:
    reported = Reported()
    session: Any = reported
    made = Wire(OpenTransport(7, HOST, 443, tls), session, reported.tell)
    if tls:
        made.secure(authority().client)
    return made, reported


def write_all(stream: Wire, most: int = 100000) -> bytes:
    """Write as an I/O does that takes `most` bytes at once."""
    written = []
    while data := stream.to_write():
        piece = data[:most]
        written.append(piece)
        stream.written(len(piece))
    return b"".join(written)


def secured(stream: Wire, *, server: Server | None = None) -> Server:
    """Move the bytes of a handshake."""
    server = server or Server()
    while stream.state in (WireState.SECURING, WireState.UPGRADING):
        stream.received(server.answer(write_all(stream)))
    stream.received(server.answer(write_all(stream)))
    return server


def opened(*, tls: bool = False) -> tuple[Wire, Reported, Server]:
    stream, reported = wire(tls=tls)
    stream.opened()
    server = secured(stream) if tls else Server()
    assert reported.said == [("opened",)]
    reported.said.clear()
    return stream, reported, server


def test_bytes_there_and_back() -> None:
    stream, reported = wire()
    assert (stream.host, stream.port, stream.number) == (HOST, 443, 7)
    assert not stream.wants_data
    stream.opened()
    stream.send(b"hello")
    assert stream.wants_data
    assert stream.has_to_write
    assert write_all(stream, most=2) == b"hello"
    stream.received(b"good day")
    stream.eof()
    assert reported.said == [
        ("opened",), ("sent", 2), ("sent", 2), ("sent", 1), ("data", b"good day"), ("closed", ""),
    ]  # fmt: skip
    assert stream.over


def test_bytes_there_and_back_in_tls() -> None:
    stream, reported, server = opened(tls=True)
    stream.send(b"hello")
    server.answer(write_all(stream, most=10))
    assert server.tls.read() == b"hello"
    stream.received(server.says(b"good ", b"day"))
    assert reported.said == [("sent", 5), ("data", b"good day")]


@pytest.mark.parametrize("tls", [False, True])
def test_a_close_follows_the_bytes_that_were_sent(tls: bool) -> None:
    stream, reported, server = opened(tls=tls)
    stream.send(b"x" * 3 * PIECE)
    stream.send(b"last words")
    stream.close(abort=False)
    assert stream.state is WireState.CLOSING
    assert not stream.over
    sent = write_all(stream)
    assert stream.over
    assert reported.said[-1] == ("closed", "")
    assert reported.sent() == 3 * PIECE + 10
    if tls:
        server.answer(sent)
        while data := server.tls.read():
            sent = data
        assert server.tls.version() is not None  # the goodbye came, or read() would want more
    assert sent.endswith(b"last words")


def test_a_close_with_nothing_to_write_is_the_end() -> None:
    stream, reported, _ = opened()
    stream.close(abort=False)
    assert reported.said == [("closed", "")]
    assert stream.over


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("abort", [False, True])
def test_W13_a_stream_that_is_not_open_is_given_up_at_once(tls: bool, abort: bool) -> None:
    stream, reported = wire(tls=tls)
    stream.close(abort=abort)
    assert reported.said == [("failed", "given up")]
    assert stream.over
    stream.opened()
    stream.failed(OSError("late"))
    assert reported.names() == ["failed"]


def test_W13_neither_is_a_handshake_waited_for() -> None:
    stream, reported = wire(tls=True)
    stream.opened()
    assert write_all(stream)
    stream.close(abort=True)
    assert reported.said == [("failed", "given up")]


def test_W14_a_handshake_that_cannot_begin_is_reported_at_once() -> None:
    stream, reported = wire()
    stream, reported = Wire(OpenTransport(7, ".test", 443, True), reported, reported.tell), reported  # type: ignore[arg-type]  # it has the inputs of a session
    stream.secure(authority().client)
    stream.opened()
    assert reported.names() == ["failed"]
    assert isinstance(reported.said[0][1], ValueError)


def test_W15_a_goodbye_together_with_data_is_the_end_though_tcp_stays_open() -> None:
    stream, reported, server = opened(tls=True)
    stream.received(server.says(b"bye") + server.closes())
    assert reported.said == [("data", b"bye"), ("closed", "")]
    assert stream.over


def test_a_server_with_a_bad_certificate_gets_an_alert_before_the_end() -> None:
    reported = Reported()
    session: Any = reported
    stream = Wire(OpenTransport(7, HOST, 443, True), session, reported.tell)
    stream.secure(ssl.create_default_context())
    stream.opened()
    server = Server()
    stream.received(server.answer(write_all(stream)))
    assert stream.state is WireState.REFUSING
    assert reported.said == []
    assert not stream.wants_data
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        server.answer(write_all(stream))
    assert reported.names() == ["failed"]
    assert stream.over


def test_a_handshake_that_is_cut_off_failed() -> None:
    stream, reported = wire(tls=True)
    stream.opened()
    stream.eof()
    assert reported.names() == ["failed"]
    assert isinstance(reported.said[0][1], ssl.SSLError)


def test_bytes_that_are_no_longer_tls_end_it_with_the_error() -> None:
    stream, reported, server = opened(tls=True)
    stream.received(server.says(b"yes") + b"\x00" * 20)
    assert reported.names() == ["data", "closed"]
    assert isinstance(reported.said[1][1], ssl.SSLError)


def test_tls_behind_a_proxy_begins_after_what_was_sent_before() -> None:
    stream, reported, _ = opened()
    stream.secure(authority().client)
    stream.send(b"CONNECT")
    stream.start_tls(HOST)
    assert not stream.wants_data
    assert stream.to_write() == b"CONNECT"
    stream.written(3)
    assert stream.to_write() == b"NECT"
    stream.written(4)
    assert stream.wants_data
    server = secured(stream)
    assert reported.names() == ["sent", "sent", "tls"]
    stream.send(b"hello")
    server.answer(write_all(stream))
    assert server.tls.read() == b"hello"


def test_reading_continues_when_tls_begins_after_late_writes() -> None:
    stream, reported, _ = opened()
    reported.wire = stream
    stream.secure(authority().client)
    stream.send(b"CONNECT")
    piece = stream.to_write()
    stream.start_tls(HOST)  # the answer arrives before the I/O reports the write
    assert not stream.wants_data
    stream.written(len(piece))
    assert stream.wants_data
    assert reported.attended[-1]


def test_what_a_proxy_says_before_tls_is_for_the_session_to_judge() -> None:
    stream, reported, _ = opened()
    stream.start_tls(HOST)
    stream.received(b"HTTP")
    assert reported.said == [("data", b"HTTP")]


def test_tls_waits_for_its_context() -> None:
    reported = Reported()
    session: Any = reported
    stream = Wire(OpenTransport(7, HOST, 443, True), session, reported.tell)
    stream.opened()
    assert not stream.wants_data
    assert not stream.to_write()
    stream.secure(authority().client)
    stream.secure(ssl.create_default_context())  # too late
    secured(stream)
    assert reported.said == [("opened",)]


def test_after_a_write_error_received_bytes_are_still_read() -> None:
    stream, reported, _ = opened()
    stream.send(b"into the void")
    broken = BrokenPipeError()
    stream.write_failed(broken)
    stream.send(b"more")
    assert not stream.to_write()
    assert stream.wants_data
    stream.received(b"4001")
    stream.eof()
    assert reported.said == [("data", b"4001"), ("closed", broken)]


def test_a_write_error_in_tls_hides_nothing_either() -> None:
    stream, reported, server = opened(tls=True)
    broken = BrokenPipeError()
    stream.send(b"into the void")
    stream.write_failed(broken)
    assert not stream.to_write()
    stream.received(server.says(b"4001"))
    stream.eof()
    assert reported.said == [("data", b"4001"), ("closed", broken)]


def test_a_write_error_while_closing_is_the_end() -> None:
    stream, reported, _ = opened()
    stream.send(b"x")
    stream.close(abort=False)
    stream.write_failed("no")
    assert reported.said == [("closed", "no")]


def test_reading_pauses_when_the_session_says_so() -> None:
    stream, reported, _ = opened()
    reported.wanted = False
    assert not stream.wants_data
    reported.wanted = True
    assert stream.wants_data


def test_handshakes_are_read_whatever_the_session_wants() -> None:
    stream, reported = wire(tls=True)
    reported.wanted = False
    stream.opened()
    assert stream.wants_data


def test_the_table_has_an_end_for_every_state_and_none_after_it() -> None:
    assert all((state, WireInput.END) in WIRE for state in WireState)
    assert {after for (before, _), after in WIRE.items() if before is WireState.OVER} == {
        WireState.OVER
    }


# Lines 2, 4 and 9, whatever both sides do.

ALL = 1_000_000
shake = [("write", ALL), ("deliver", ALL)] * 2
"""The steps of a TLS handshake, once the stream is open or `start_tls` was called."""

moves = st.one_of(
    st.tuples(st.just("send"), st.binary(min_size=1, max_size=2 * PIECE)),
    st.tuples(st.just("pause"), st.booleans()),
    st.tuples(st.just("write"), st.integers(1, 3 * PIECE)),
    st.tuples(st.just("server says"), st.binary(min_size=1, max_size=50)),
    st.tuples(st.just("deliver"), st.integers(1, 3000)),
).map(lambda step: [step])
ends = st.one_of(
    st.tuples(st.just("close"), st.booleans()),
    st.sampled_from([("eof", 0), ("write_failed", 0), ("failed", 0), ("server closes", 0)]),
).map(lambda step: [step])
steps = st.builds(
    lambda *parts: [step for part in parts for group in part for step in group],
    st.sampled_from([[], [[("opened", 0)]], [[("opened", 0)], shake]]),
    st.lists(moves, max_size=12),
    st.sampled_from([[], [[("start_tls", 0)]], [[("start_tls", 0)], shake]]),
    st.lists(moves, max_size=12),
    st.just([]) | st.lists(ends | moves | st.just([("opened", 0)]), max_size=12),
    st.sampled_from([[], [[("send", b"last words"), ("close", False)]]]),
)
"""Steps of both sides: the streams open, and perhaps secured, before anything ends them."""


@given(tls=st.booleans(), steps=steps)
@example(tls=False, steps=[("opened", 0), ("send", b"last words"), ("close", False)])
def test_lines_2_4_and_9_hold_whatever_both_sides_do(
    tls: bool, steps: list[tuple[str, Any]]
) -> None:
    stream, reported = wire(tls=tls)
    stream.secure(authority().client)
    server = Server()
    in_tls = tls
    asked, clear, secret, arriving, said = b"", b"", b"", b"", b""
    was_opened = server_closed = False
    for name, detail in steps:
        over = stream.over
        before = list(reported.said)
        match name:
            case "send" if "opened" in reported.names() and stream.state is WireState.OPEN:
                stream.send(detail)
                asked += detail
            case "start_tls" if stream.state is WireState.OPEN and not in_tls:
                stream.start_tls(HOST)
                in_tls = True
            case "close":
                stream.close(abort=detail)
            case "pause":
                reported.wanted = not detail
            case "write" if was_opened:
                piece = stream.to_write()[:detail]
                if stream._tls is None:
                    clear += piece
                elif piece:
                    arriving += server.answer(piece)
                    while server.established and (plain := server.plain()):
                        secret += plain
                stream.written(len(piece))
            case "server says" if not server_closed and (server.established or not in_tls):
                said += detail
                arriving += server.says(detail) if in_tls else detail
            case "server closes" if server.established and not server_closed:
                arriving += server.closes()
                server_closed = True
            case "deliver" if was_opened and stream.wants_data and arriving:
                stream.received(arriving[:detail])
                arriving = arriving[detail:]
            case "opened" if not was_opened:
                was_opened = True
                stream.opened()
            case "eof" if was_opened:
                stream.eof()
            case "write_failed" if was_opened:
                stream.write_failed("broken")
            case "failed":
                stream.failed("gone")
        if over:  # line 2: nothing after the end
            assert reported.said == before
        if reported.wanted is False and stream.state is WireState.OPEN:
            assert not stream.wants_data  # line 9
        assert (clear + secret) == asked[: len(clear + secret)]  # line 4
        assert reported.data() == said[: len(reported.data())]
    if stream.state is WireState.CLOSING:
        rest = write_all(stream)
        assert stream.over
        if stream._tls is None:
            assert clear + rest == asked
        else:
            server.answer(rest)
            while plain := server.plain():
                secret += plain
            assert clear + secret == asked
    stream.failed("the end")
    names = [each for each in reported.names() if each not in ("data", "sent", "tls")]
    assert names in (["failed"], ["opened", "closed"])
    assert reported.sent() <= len(asked)
