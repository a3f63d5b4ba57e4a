"""Ends of connections by the server, and its pings: close codes, errors that replace one, and the client's reaction."""

from __future__ import annotations

import pytest

from faults.conversation import (
    AT_ONCE,
    FIRST_DELAY,
    PATIENT_DELAY,
    assert_kept,
    assert_returns,
    ended_permanently,
    listening,
    lost,
    messages,
    violations,
)
from proto.scripted import HOST, Script, message, upgraded
from proto.test_limits import measured
from proto.websocket_peer import PING, frame
from pusher_proto import ChannelEvent, Closed, CloseTransport, ConnectionState, Options, ServerError
from pusher_proto.events import size_of


def test_P1_the_server_closes_in_form() -> None:
    """Code 1000 is answered; the next attempt follows within a second."""
    ends_and_returns(1000)


def test_P2_the_server_goes_away() -> None:
    """After 1001 the next attempt follows within a second."""
    ends_and_returns(1001)


def test_P2b_the_server_fails() -> None:
    """After 1011 the next attempt follows within a second."""
    ends_and_returns(1011)


def ends_and_returns(code: int, delay: tuple[float, float] = FIRST_DELAY) -> None:
    script = listening().close(code, "maintenance")
    assert script.acts()[0] == ("close", code, "maintenance")
    assert lost(script, delay)[:2] == (code, "maintenance")
    assert_returns(script)


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1009, 1010, 1012, 1013, 3000, 3999, 4400, 4999])
def test_P2c_the_server_closes_with_another_code(code: int) -> None:
    """The next attempt follows within a second; code and reason are in the events."""
    ends_and_returns(code)


def test_P2c_the_server_closes_without_a_code() -> None:
    """It is reported as 1005; the next attempt follows within a second."""
    script = listening().close(None)
    assert lost(script).code == 1005
    assert_returns(script)


@pytest.mark.parametrize("code", [4100, 4199])
def test_P3_the_server_is_over_capacity(code: int) -> None:
    """After 4100 to 4199 the next attempt follows no sooner than a second later, and later each time."""
    script = listening()
    delays = []
    for attempt in range(6):
        script.close(code)
        delays.append(lost(script, (1.0, 2.0 ** (attempt + 1))).delay)
        script.retry().greet()
        script.take()
    assert max(delays) > 2.0


@pytest.mark.parametrize("code", [4200, 4299])
def test_P4_the_server_asks_for_another_connection(code: int) -> None:
    """After 4200 to 4299 another connection is opened at once; a second time before the connection was stable,
    after a delay.
    """
    script = listening().close(code)
    assert lost(script, AT_ONCE).code == code
    script.retry().greet().wait(29)
    script.take()
    script.close(code)
    assert lost(script, PATIENT_DELAY).code == code
    script.retry().greet().wait(31)
    script.take()
    script.close(code)
    assert lost(script, AT_ONCE).code == code
    assert_returns(script)


@pytest.mark.parametrize("code", [4001, 4003, 4004, 4005, 4006, 4007, 4008, 4050, 4099])
@pytest.mark.parametrize("closes", [True, False])
def test_P5_the_server_refuses_the_app(code: int, closes: bool) -> None:
    """After 4000 to 4099, as an error or a close code, no attempt follows: the state is failed, the error has code,
    text and a hint; `connect()` tries once more.
    """
    script = upgraded()
    if closes:
        script.close(code, "no such app")
    else:
        script.error(code, "no such app")
    failure = ended_permanently(script)
    assert (failure.code, failure.reason) == (code, "no such app")
    assert script.transport == 1
    script.connect().greet()
    assert script.session.state is ConnectionState.CONNECTED


@pytest.mark.parametrize("tls", [True, False])
def test_P5b_the_app_takes_TLS_only(tls: bool) -> None:
    """The state is failed, with a hint: a server's message never changes whether TLS is used."""
    script = Script(Options.from_host(HOST, key="key", tls=tls))
    script.connect().open().upgrade().error(4000, "TLS only")
    failure = ended_permanently(script)
    assert failure.code == 4000
    assert "set tls=True" in str(failure)


def test_P5c_a_client_error_is_sent() -> None:
    """A `pusher:error` with 4300 to 4399 is an event, and the connection is kept."""
    script = listening().error(4301, "too fast")
    assert script.take() == [ServerError(4301, "too fast")]
    assert_kept(script)


@pytest.mark.parametrize("code", [4300, 4302, 4399])
def test_P5c_a_client_error_closes(code: int) -> None:
    """As close codes, 4300 to 4399 are followed by another attempt no sooner than a second later."""
    ends_and_returns(code, PATIENT_DELAY)


def test_P5d_the_application_terminates_the_user() -> None:
    """After 4009 on an established connection no attempt follows, and the error says so."""
    script = listening().close(4009, "terminated by app")
    failure = ended_permanently(script)
    assert (failure.code, failure.reason) == (4009, "terminated by app")
    assert "terminated by the application" in failure.hint


@pytest.mark.parametrize("code", [None, 0, 4001, 4009, 4100, 4200, 4999, 10**30, -1])
def test_P5e_an_error_arrives_without_a_close(code: int | None) -> None:
    """It is an event, whatever its code, and the connection is kept."""
    script = listening().error(code, "why")
    (error,) = script.take()
    assert error == ServerError(code, "why")
    assert_kept(script)


def test_P6_the_server_pings() -> None:
    """The ping is answered at once, even while the application takes no events."""
    script = listening(receive_buffer=5 * size_of(ChannelEvent("room", "ev", "0")))
    script.pulls = False
    for number in range(4):
        script.send("ev", str(number), "room")
    for _ in range(3):
        script.send("pusher:ping")
        assert script.acts() == [{"event": "pusher:pong", "data": {}}]
    script.pulls = True
    script.pump()
    assert [data for _, data in messages(script)] == [0, 1, 2, 3]


def test_P7_a_thousand_pings_arrive_in_a_burst() -> None:
    """The last 16 of them are answered, no memory is kept, and the next event is delivered."""
    script = listening()
    burst = b"".join(frame(str(number).encode(), PING) for number in range(1000))
    with measured() as peak:
        script.receive(burst + frame(message("ev", "1", "room")))
    assert script.acts() == [("pong", str(number).encode()) for number in range(984, 1000)]
    assert messages(script) == [("room", 1)]
    assert peak.value < 500_000
    assert_kept(script)


def test_P8_the_server_closes_and_does_not_end_the_stream() -> None:
    """The client answers the close and ends the stream within `close_timeout`, by an abort if necessary; the next
    attempt does not wait for that.
    """
    script = listening()
    script.answers = False
    script.close(1001)
    assert script.acts() == [("close", 1001, ""), CloseTransport(1)]
    assert lost(script).code == 1001
    script.wait(2)
    assert CloseTransport(1, abort=True) in script.acts()
    script.answers = True
    assert_returns(script)


def test_P8_the_server_does_not_answer_a_close_frame() -> None:
    """Closing ends within `close_timeout`, by an abort if necessary; pings, events and errors received until then
    change nothing.
    """
    script = listening()
    script.answers = False
    script.end()
    assert script.acts() == [("close", 1000, "")]
    script.take()
    for _ in range(19):
        script.wait(0.1).ping().send("ev", "1", "room").error(4001).send("pusher:ping")
    assert script.acts() == []
    assert script.take() == []
    script.wait(0.11)
    assert script.acts() == [CloseTransport(1, abort=True)]
    assert script.take() == [Closed()]
    assert script.session.next_deadline() is None


def test_P9_the_server_greets_twice() -> None:
    """The second greeting is reported, and the socket id is kept: authorizations were made for it."""
    script = listening().greet({"socket_id": "6.6", "activity_timeout": 1})
    assert violations(script) == ["a second greeting"]
    assert script.session.socket_id == "1.1"
    assert_kept(script)
