"""Failures after a success are not final: rows of public bug reports, each on the core with bytes and a clock."""

from __future__ import annotations

import errno
import json
import logging
import pickle
import socket
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.scripted import (
    Script,
    connected,
    connecting,
    forgetful,
    message,
    upgraded,
    upgrading,
)
from proto.strategies import tried
from proto.websocket_peer import answer, frame
from pusher_proto import (
    ChannelState,
    ConnectionEnded,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionLost,
    ConnectionState,
    ConnectionUnsafe,
    OpenTransport,
    Options,
    RetryScheduled,
    Subscribed,
)

CONNECTED, FAILED = ConnectionState.CONNECTED, ConnectionState.FAILED
NOT_TLS = (
    "the server does not speak TLS on this port: to connect without it set tls=False, or --no-tls"
)
TERMINATED = "You got disconnected by the app."


def once_good(**more: Any) -> Script:
    """Return a script whose connection was good for a minute and is lost; the next transport is requested."""
    script = connected(**more).wait(60).eof()
    script.retry()
    return forgetful(script)


def loss(script: Script) -> ConnectionLost:
    """Return the one loss since the last look."""
    (event,) = script.take(ConnectionLost)
    assert isinstance(event, ConnectionLost)
    return event


def established(script: Script) -> None:
    """Let the requested connection succeed."""
    script.open().upgrade().greet({"socket_id": "2.2", "activity_timeout": 120})
    assert script.session.state is CONNECTED


def quiet(script: Script, seconds: float) -> Script:
    """Let time pass in which the server answers pings."""
    end = script.now + seconds
    while script.now < end:
        script.wait(min(100.0, end - script.now)).send("pusher:pong")
    return script


# W1: HTTP statuses instead of the upgrade.

REFUSALS = [400, 401, 403, 404, 407, 419, 426, 451]


@pytest.mark.parametrize("status", REFUSALS)
def test_W1_a_deploy_that_answers_4xx_for_ten_minutes_is_survived(status: int) -> None:
    """Attempts continue, at most `retry_cap` apart, and the first good answer brings the client back."""
    script = once_good()
    end = script.now + 600
    while script.now < end:
        script.open().receive(answer(f"{status} No", [("Content-Length", "0")]))
        lost = loss(script)
        assert (lost.code, lost.will_retry) == (status, True)
        assert lost.retry_in is not None
        assert 1 <= lost.retry_in <= 30
        script.retry()
    established(script)


@pytest.mark.parametrize("status", REFUSALS)
def test_W1_the_very_first_attempt_gets_three_tries(status: int) -> None:
    script = upgrading()
    for number in (1, 2, 3):
        script.receive(answer(f"{status} No", [("Content-Length", "0")]))
        assert loss(script).will_retry is (number < 3)
        if number < 3:
            script.retry().open()
    failure = script.session.failure
    assert failure is not None
    assert failure.code == status
    assert script.now < 110


def test_W1_the_number_of_first_tries_is_an_option() -> None:
    script = upgrading(first_attempts=1).receive(answer("404 Not Found"))
    assert script.session.state is FAILED
    assert "there is no Pusher server at this path" in str(script.session.failure)


def test_W1_a_proxy_that_wants_another_login_for_a_while() -> None:
    script = connecting(proxy="http://me:hidden@proxy.test:3128").open()
    script.receive(b"HTTP/1.1 200 OK\r\n\r\n").upgrade().greet().wait(60).eof().retry().take()
    for _ in range(20):
        script.open().receive(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        assert loss(script).will_retry
        script.retry()


@pytest.mark.parametrize("code", [4001, 4003, 4005, 4006, 4099])
def test_W1_a_key_that_is_unknown_for_a_while(code: int) -> None:
    """At first it is final at once, later it is asked again after 30 s, 1, 2 and each 5 minutes."""
    assert upgraded().error(code).session.state is FAILED
    script = once_good()
    delays = []
    for _ in range(5):
        script.open().upgrade().error(code)
        delays.append(loss(script).retry_in or 0.0)
        script.retry()
    for delay, least in zip(delays, (30, 60, 120, 300, 300), strict=True):
        assert least <= delay <= 1.1 * least
    established(script)


@pytest.mark.parametrize("give_up", ["at_refusal", "never"])
def test_W1_an_application_may_have_it_otherwise(give_up: Any) -> None:
    script = once_good(give_up=give_up).open().receive(answer("404 Not Found"))
    assert loss(script).will_retry is (give_up == "never")
    script = upgraded(give_up=give_up).error(4001)
    assert loss(script).will_retry is (give_up == "never")


# W2, W3: certificates.


def unsafe(code: int, authorities: int = 140) -> ConnectionUnsafe:
    return ConnectionUnsafe("it is not good", verify_code=code, authorities=authorities)


def test_W2_a_device_without_a_clock_reconnects_when_its_clock_is_set() -> None:
    script = connecting().fail(unsafe(9))
    lost = loss(script)
    assert lost.will_retry
    assert lost.hint == "is the clock of this machine right?"
    script.retry()
    established(script)


def test_W2_a_renewal_that_is_an_hour_late_is_survived() -> None:
    assert connecting().fail(unsafe(10)).session.state is FAILED
    script = once_good()
    end = script.now + 3600
    count = 0
    while script.now < end:
        script.fail(unsafe(10))
        lost = loss(script)
        assert "renew it at the server" in lost.hint
        assert lost.retry_in is not None
        assert 30 <= lost.retry_in <= 330
        script.retry()
        count += 1
    assert count < 20
    established(script)


@pytest.mark.parametrize("code", [18, 19, 20, 21, 62, 64])
def test_W3_another_certificate_for_minutes_sends_nothing_and_is_survived(code: int) -> None:
    """A captive portal, an ingress without an intermediate: attempts continue slowly."""
    assert connecting().fail(unsafe(code)).session.state is FAILED
    script = once_good()
    sent = script.session.stats.bytes_sent
    for _ in range(4):
        script.fail(unsafe(code))
        delay = loss(script).retry_in
        assert delay is not None
        assert delay >= 30
        script.retry()
    assert script.session.stats.bytes_sent == sent
    established(script)


def test_W16_the_hint_of_a_certificate_is_in_event_log_and_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    script = connecting().fail(unsafe(20, authorities=0))
    lost, failure = loss(script), script.session.failure
    for text in (lost.hint, str(failure), caplog.text):
        assert "no certificate authorities" in text
    error = pickle.loads(pickle.dumps(unsafe(20, 3)))
    assert (str(error), error.verify_code, error.authorities) == ("it is not good", 20, 3)


# W4: 4009.


def test_W4_4009_while_an_authorization_is_pending_backs_off() -> None:
    script = connected(auth=None).subscribe("private-a").wait(5)
    script.close(4009, "Connection not authorized within timeout.")
    lost = loss(script)
    assert lost.will_retry
    assert lost.retry_in is not None
    assert 1 <= lost.retry_in <= 2


def test_W4_4009_while_an_authorization_fails_for_now_backs_off() -> None:
    script = connected(auth=None).subscribe("private-a")
    script.do(script.session.authorization_failed, script.asked[0].request, TimeoutError())
    assert script.session.channel("private-a").state is ChannelState.FAILED
    script.take()
    script.close(4009, "Connection not authorized within timeout.")
    assert loss(script).will_retry


@pytest.mark.parametrize(("seconds", "will_retry"), [(0, False), (10, False), (10.1, True)])
def test_W4_4009_with_nothing_asked_is_final_within_ten_seconds(
    seconds: float, will_retry: bool
) -> None:
    script = connected().wait(seconds).close(4009, "Connection not authorized within timeout.")
    lost = loss(script)
    assert lost.will_retry is will_retry
    assert "requires a sign-in or a private channel" in lost.hint


def test_W4_4009_after_an_hour_reconnects_slowly() -> None:
    """K9: a deadline of an hour, and a client with public channels alone."""
    script = connected()
    for _ in range(3):
        quiet(script, 3600).close(4009, "Connection not authorized within timeout.")
        delay = loss(script).retry_in
        assert delay is not None
        assert 30 <= delay <= 33  # an hour is a stable connection: the delays start again
        script.retry()
        established(script)


@pytest.mark.parametrize("make", [connected, once_good])
def test_W4_what_the_application_terminates_stays_away(make: Callable[[], Script]) -> None:
    script = make()
    if script.session.state is not CONNECTED:
        established(script)
    quiet(script, 600).close(4009, TERMINATED)
    assert loss(script).will_retry is False
    assert script.session.state is FAILED


def test_F11_an_origin_that_is_refused_has_its_own_hint() -> None:
    script = upgraded().error(4009, "Origin not allowed")
    assert "Options(origin=...)" in str(script.session.failure)


# F6: a full server.


def test_F6_a_full_server_is_not_the_end_of_a_client_that_was_connected() -> None:
    assert upgraded().error(4004, "Application is over connection quota").session.state is FAILED
    script = once_good()
    for _ in range(10):
        script.open().upgrade().error(4004, "Application is over connection quota")
        lost = loss(script)
        assert lost.retry_in is not None
        assert 1 <= lost.retry_in <= 30
        assert "wait until the server has noticed" in lost.hint
        script.retry()
    established(script)


# K1: an end without a close code.


@tried
@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, 0, 4000, 4001, 4004, 4009, 4100, 4200, 4201, 4300, 4301]),
            st.floats(0, 10),
        ),
        max_size=4,
    ),
    st.sampled_from([None, 1000, 1001, 1006]),
    st.integers(0, 2**32),
)
def test_K1_an_end_without_a_code_is_never_final_after_any_errors(
    errors: list[tuple[int | None, float]], code: int | None, seed: int
) -> None:
    script = connected(seed=seed).subscribe("room")
    script.send("pusher_internal:subscription_succeeded", "{}", "room")
    for error, seconds in errors:
        script.error(error, "whatever").wait(seconds)
    script.take()
    script.eof() if code in (None, 1006) else script.close(code)
    lost = loss(script)
    last = errors[-1][0] if errors else None
    assert lost.will_retry
    assert lost.code == (last if last is not None and 4100 <= last < 4300 else (code or 1006))
    least = 1.0 if last == 4100 else 0.0
    assert lost.retry_in is not None
    assert least <= lost.retry_in <= 2
    script.retry()
    established(script)
    script.send("pusher_internal:subscription_succeeded", "{}", "room")
    assert script.session.channel("room").state is ChannelState.SUBSCRIBED


def test_K1_two_refused_channels_and_a_killed_server() -> None:
    script = connected().subscribe("private-a", "private-b")
    script.error(4009, "Invalid signature").error(4009, "Invalid signature").wait(2).eof()
    assert loss(script).code == 1006
    assert script.session.retry_at is not None


# K2: an end behind 101.


@pytest.mark.parametrize("end", [None, "reset", ConnectionResetError(104, "reset by peer")])
def test_K2_an_end_behind_the_upgrade_names_key_disabled_app_and_quota(
    end: Any, caplog: pytest.LogCaptureFixture
) -> None:
    script = upgraded().eof(end)
    lost = loss(script)
    assert lost.will_retry
    assert lost.retry_in is not None
    assert lost.retry_in <= 1
    assert lost.error is end or isinstance(lost.error, ConnectionEnded)
    for text in (lost.reason, script.session.last_loss, caplog.text):
        for word in ("before its greeting", "check the key", "disabled app", "max_connections"):
            assert word in text


def test_F8_http_behind_the_upgrade_is_named_whatever_the_chunks() -> None:
    raw = b"HTTP/1.1 500 Internal Server Error\r\n\r\nInternal server error."
    reasons = set()
    for cut in (1, 2, 7, len(raw)):
        script = upgraded()
        for at in range(0, len(raw), cut):
            script.receive(raw[at : at + cut])
            if script.session.retry_at is not None:
                break
        lost = loss(script)
        reasons.add((lost.code, lost.reason, lost.will_retry))
    ((code, reason, will_retry),) = reasons
    assert (code, will_retry) == (1002, True)
    assert "the server failed after the upgrade" in reason


# W9, W32, seed 3.6: errors of the system.


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("can't start new thread"), "can't start new thread"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('::1', 1)"), "connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "name not found (Name or service not known)"),
        (socket.gaierror(), "name not found"),
        (TimeoutError(), "timed out"),
        (EOFError(), "EOFError"),
        (
            OSError("[SSL: WRONG_VERSION_NUMBER] wrong version number"),
            f"{NOT_TLS} ([SSL: WRONG_VERSION_NUMBER] wrong version number)",
        ),
    ],
)  # fmt: skip
def test_W9_W32_an_attempt_that_failed_for_now_says_where_and_why(
    error: BaseException, reason: str
) -> None:
    script = connecting().fail(error)
    lost = loss(script)
    assert (lost.reason, lost.will_retry) == (f"could not reach ws.test:80: {reason}", True)
    assert lost.error is error
    assert script.session.last_error is error
    script.retry()
    established(script)
    assert script.session.last_error is None


@pytest.mark.parametrize("more", [{"reconnect": False}, {"max_attempts": 1}])
def test_W32_giving_up_without_a_server_is_not_a_refusal(more: dict[str, Any]) -> None:
    error = socket.gaierror(-2, "Name or service not known")
    script = connecting(**more).fail(error)
    failure = script.session.failure
    assert str(failure) == (
        "could not reach ws.test:80: name not found (Name or service not known)"
    )
    assert isinstance(failure, ConnectionFailed)
    assert failure.__cause__ is error
    assert script.session.last_error is failure


def test_W32_the_way_through_a_proxy_is_named() -> None:
    script = connecting(proxy="http://me:hidden@proxy.test:3128").fail(OSError("no route"))
    reason = loss(script).reason
    assert "no route" in reason
    assert "the proxy at proxy.test:3128" in reason
    assert "hidden" not in reason


def test_seed_3_6_the_end_by_the_server_is_an_exception_as_well() -> None:
    script = connected().close(4100, "over capacity")
    lost = loss(script)
    assert isinstance(lost.error, ConnectionEnded)
    assert (lost.error.code, lost.error.reason) == (4100, "over capacity")
    assert str(lost.error) == "over capacity (code 4100)"
    assert script.session.last_error is lost.error
    script = upgraded().error(4001, "unknown")
    failure = script.session.failure
    assert failure is not None
    assert str(failure.__cause__) == f"unknown (code 4001): {failure.hint}"
    again = pickle.loads(pickle.dumps(failure.__cause__))
    assert (again.code, again.reason, again.hint) == (4001, "unknown", failure.hint)
    assert str(ConnectionEnded(None, "")) == "the connection ended"


def test_losses_are_equal_when_code_reason_and_plan_are() -> None:
    one = ConnectionLost(1006, "reset", True, 1.0, OSError("a"))
    assert one == ConnectionLost(1006, "reset", True)
    assert hash(one) == hash(ConnectionLost(1006, "reset", True))
    assert one != ConnectionLost(1006, "reset", False)
    assert one != 1006


# seed 3.7: the floor.


def test_seed_3_7_no_delay_is_shorter_than_the_floor_but_the_one_after_4200() -> None:
    script = connected(retry_floor=5.0)
    script.wait(60).eof()
    delay = loss(script).retry_in
    assert delay is not None
    assert delay >= 5
    script.retry()
    established(script)
    script.wait(60).close(4200)
    assert loss(script).retry_in == 0
    script = connected(retry_floor=5.0).wait(150)  # no pong
    assert loss(script).retry_in == 5


# W10: pings whatever is received.


def pings(script: Script) -> int:
    return sum(act == {"event": "pusher:ping", "data": {}} for act in script.acts())


@pytest.mark.parametrize("busy", [False, True])
def test_W10_a_ping_each_thirty_seconds_whatever_is_received(busy: bool) -> None:
    script = forgetful(connected(ping_interval=30.0))
    count = 0
    for second in range(300):
        if busy:
            script.send("price", str(second), "room")
        script.wait(1)
        sent = pings(script)
        count += sent
        if sent:
            script.send("pusher:pong")
    assert count == 10


def test_W10_without_the_option_a_busy_connection_is_not_pinged() -> None:
    script = forgetful(connected())
    for second in range(300):
        script.send("price", str(second), "room").wait(1)
    assert pings(script) == 0


def test_W10_a_longer_interval_leaves_the_silence_its_limit() -> None:
    script = forgetful(connected(ping_interval=200.0)).wait(119.9)
    assert pings(script) == 0
    assert pings(script.wait(0.1)) == 1


# W12: handlers make no storm.


class Handlers:
    """A session whose application calls something at each loss, and whose server behaves in one way."""

    def __init__(
        self, seed: int, calls: list[str], serve: Callable[[Script], Any], **more: Any
    ) -> None:
        self.calls = calls
        self.serve = serve
        self.script = Script(seed=seed, **more)
        self.begun: list[float] = []

    def live(self, seconds: float) -> None:
        """Let the time pass; note when each attempt began."""
        script = self.script
        end = script.now + seconds
        script.connect()
        while script.now < end:
            if any(isinstance(act, OpenTransport) for act in script.acts()):
                self.begun.append(script.now)
                if script.transport in script.streams:  # not given up by a handler
                    self.serve(script)
            elif script.take(ConnectionLost):
                for call in self.calls:
                    script.do(getattr(script.session, call))
            else:
                due = script.session.next_deadline()
                script.now = end if due is None else max(script.now, due)
                script.do(script.session.handle_timeout)


def dead(script: Script) -> None:
    script.fail()


def greets_and_closes(code: int) -> Callable[[Script], None]:
    def serve(script: Script) -> None:
        script.open().upgrade().greet().close(code)

    return serve


def refuses(script: Script) -> None:
    script.open().upgrade().error(4001)


SERVERS: dict[str, Callable[[Script], Any]] = {
    "dead": dead,
    "4100": greets_and_closes(4100),
    "4200": greets_and_closes(4200),
    "1001": greets_and_closes(1001),
    "4001": refuses,
}
CALLS = st.lists(st.sampled_from(["connect", "disconnect", "ping"]), max_size=4)
# A floor holds whatever the cap is after 4001 and 4100 alone.
SERVERS_AND_CAPS = [*((server, 30.0) for server in SERVERS), ("4100", 0.05), ("4001", 0.05)]


@tried
@given(st.integers(0, 2**32), CALLS, st.sampled_from(SERVERS_AND_CAPS))
def test_W12_no_retry_is_faster_than_the_floor_whatever_the_handlers_do(
    seed: int, calls: list[str], server_and_cap: tuple[str, float]
) -> None:
    """Handlers add at most one attempt at once to the attempts that the delays allow."""
    server, cap = server_and_cap
    life = Handlers(seed, calls, SERVERS[server], retry_cap=cap)
    life.live(20)
    gaps = [after - before for before, after in pairwise(life.begun)]
    if server in ("4100", "4001"):
        assert all(gap >= 0.999 for gap in gaps[1:])
        assert len(life.begun) <= 22
    else:
        # One at once by 4200 or by the handler; after it one each second, or earlier by a short random delay.
        assert sum(gap < 0.999 for gap in gaps) <= 6
        assert len(life.begun) <= 26


def test_W12_a_handler_that_connects_at_each_loss_against_a_dead_server() -> None:
    """9,400 attempts in 3 s were made once."""
    life = Handlers(1, ["connect"], dead)
    life.live(3)
    assert 3 <= len(life.begun) <= 8


@pytest.mark.parametrize("cap", [0.01, 30.0])
def test_W12_a_handler_that_connects_at_each_4100(cap: float) -> None:
    """1,594 connections in 3 s were made once."""
    life = Handlers(1, ["connect"], SERVERS["4100"], retry_cap=cap, retry_base=0.01)
    life.live(3)
    assert 3 <= len(life.begun) <= 4


def test_W12_reconnecting_a_healthy_connection_is_not_slowed_down() -> None:
    script = connected()
    for _ in range(20):
        script.disconnect().connect()
        established(script)
    assert script.now == 100.0


# W31: words that fit.


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (
            "Proxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n",
            "it requires NTLM, Negotiate",
        ),
        ("Proxy-Authenticate: Basic realm=x\r\n", "it requires another user name and password"),
        ("Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: basic\r\n", "another user name"),
        ("", "it requires another user name and password"),
    ],
)
def test_W31_a_proxy_that_wants_a_login(headers: str, words: str) -> None:
    script = connecting(proxy="http://me:hidden@proxy.test:3128").open()
    script.receive(f"HTTP/1.1 407 Proxy Authentication Required\r\n{headers}\r\n".encode())
    assert words in loss(script).reason


def test_W31_an_upgrade_header_that_is_there_twice() -> None:
    headers = [("Upgrade", "websocket"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
    script = upgrading().receive(answer(headers=headers))
    assert "has the header 'Upgrade' more than once" in loss(script).reason


def test_W31_an_answer_that_is_cut_short() -> None:
    script = upgrading().receive(b"HTTP/1.1 200 OK\r\nContent-").eof()
    assert loss(script).reason == "the connection ended within the answer to the upgrade"


# W38: `offline_for` counts from the last byte.


def test_W38_a_silent_loss_counts_from_the_last_byte() -> None:
    script = connected().subscribe("room")
    script.send("pusher_internal:subscription_succeeded", "{}", "room").wait(50)
    script.send("price", "1", "room")
    heard = script.now
    script.take()
    script.wait(150)  # activity and pong
    established(script)
    script.send("pusher_internal:subscription_succeeded", "{}", "room")
    back, subscribed = script.take(ConnectionEstablished, Subscribed)
    assert script.now - heard == 150.0
    assert back == ConnectionEstablished("2.2", 150.0)
    assert subscribed == Subscribed("room", 150.0)


@pytest.mark.parametrize("end", ["end", "silence", "reconnect", "too slow"])
def test_W38_a_message_that_is_cut_counts_from_its_first_bytes(end: str) -> None:
    """It is missing, and so is what the server sent behind it: large messages on slow links take minutes."""
    script = connected().wait(50).send("price", "1", "room").wait(7)
    cut = frame(message("price", "x" * 1000, "room"))
    for at in range(300 if end == "too slow" else 40):
        script.receive(cut[at : at + 1]).wait(1)
    match end:
        case "end":
            script.eof()
        case "silence":
            script.wait(150)
        case "reconnect":
            script.do(script.session.reconnect)
        case _:
            pass
    script.take()
    began = 157.0
    script.wait(1)
    established(script)
    (back,) = script.take(ConnectionEstablished)
    assert isinstance(back, ConnectionEstablished)
    assert back.offline_for == script.now - began


def test_W38_a_message_that_was_completed_counts_with_its_last_byte() -> None:
    script = connected().wait(50)
    whole = frame(message("price", "x" * 100, "room"))
    for at in range(len(whole)):
        script.receive(whole[at : at + 1]).wait(1)
    script.wait(2).eof().wait(5)
    established(script)
    (back,) = script.take(ConnectionEstablished)
    assert back == ConnectionEstablished("2.2", 8.0)


def test_W38_a_close_frame_is_handled() -> None:
    script = connected().wait(100).close(1001).wait(5)
    established(script)
    (back,) = script.take(ConnectionEstablished)
    assert back == ConnectionEstablished("2.2", 5.0)


# D6: the way to the server is lost.


def ask(script: Script) -> Script:
    """Let the application ping."""
    return script.do(script.session.ping)


@tried
@given(st.lists(st.tuples(st.floats(1, 20), st.integers(0, 4000)), max_size=12), st.floats(0, 59))
def test_D6_a_link_that_loses_one_direction_is_left_and_a_slow_one_is_kept(
    traffic: list[tuple[float, int]], late: float
) -> None:
    for answers in (True, False):
        script = ask(connected()).send("pusher:pong")
        ask(script).take()
        pong_at = script.now + late
        left_at = script.now + 60
        for seconds, size in traffic:
            if answers and script.now <= pong_at < script.now + seconds:
                script.wait(pong_at - script.now).send("pusher:pong")
            if not answers and script.now < left_at <= script.now + seconds:
                script.wait(left_at - script.now)
                (lost,) = script.take(ConnectionLost)
                assert isinstance(lost, ConnectionLost)
                assert "it no longer receives" in lost.reason
                assert lost.retry_in == 0
                break
            script.wait(seconds).send("price", "x" * size, "room")
        assert script.take(ConnectionLost) == []


def test_D6_a_server_that_never_answered_a_ping_is_kept() -> None:
    script = ask(connected())
    for _ in range(100):
        script.wait(10).send("price", "1", "room")
    assert script.take(ConnectionLost) == []


def test_D6_a_pong_may_wait_behind_much_data() -> None:
    script = ask(connected()).send("pusher:pong")
    ask(script)
    for _ in range(12):
        script.wait(10).receive(
            frame(json.dumps({"event": "x", "channel": "room", "data": "x" * 60_000}).encode())
        )
    assert script.take(ConnectionLost) == []
    while script.session.socket_id is not None:
        assert script.now < 400
        script.wait(20).send("price")
    assert "it no longer receives" in loss(script).reason


def test_D6_no_pong_is_missed_while_nothing_is_read() -> None:
    script = ask(connected(receive_buffer=100)).send("pusher:pong").subscribe("room")
    script.send("pusher_internal:subscription_succeeded", "{}", "room")
    script.take()
    ask(script)
    script.pulls = False
    script.send("price", "1", "room").send("price", "2", "room").send("price", "3", "room")
    assert not script.session.wants_data(script.transport)
    script.wait(100)
    script.pulls = True
    script.pump()
    script.wait(10).send("pusher:pong").wait(60).send("price", "4", "room").wait(10)
    assert script.take(ConnectionLost) == []


# D8: levels.


def levels(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {record.levelname for record in caplog.records if record.levelno >= logging.WARNING}


def test_D8_a_failure_that_is_retried_is_a_warning_with_the_delay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    script = connected().subscribe("room")
    script.error(4200, "Server shutting down").close(4200, "Server shutting down")
    script.retry().fail(OSError("no route")).retry()
    script.open().receive(answer("404 Not Found"))
    script.retry().fail(unsafe(20))
    assert levels(caplog) == {"WARNING"}
    messages = [r.getMessage() for r in caplog.records if "no connection" in r.getMessage()]
    assert len(messages) == 4
    assert all("next attempt in " in message for message in messages)
    assert "there is no Pusher server at this path" in messages[2]


def test_D8_a_refusal_that_is_final_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    upgraded().error(4001, "no such app")
    assert levels(caplog) == {"ERROR"}


def test_each_attempt_is_reported_once_with_its_delay() -> None:
    script = connecting().fail("no route")
    lost, plan = script.take(ConnectionLost, RetryScheduled)
    assert isinstance(lost, ConnectionLost)
    assert isinstance(plan, RetryScheduled)
    assert (plan.attempt, plan.delay) == (1, lost.retry_in)
    at = script.session.retry_at
    assert at is not None
    assert at - script.now == pytest.approx(plan.delay)


def test_a_bug_of_the_library_is_not_taken_for_a_missing_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pusher_proto._connection.connector.Link", broken)
    with pytest.raises(ZeroDivisionError):
        Script(Options(resolve_url=lambda _: "ws://ws.test/app/k")).connect()


def test_a_wrong_key_in_other_options_is_final_although_the_old_one_was_good() -> None:
    script = connected().wait(60)
    script.session.use(Options.from_host("other.test", key="wrong", tls=False))
    script.disconnect().connect()
    script.open().upgrade().error(4001, "no such app")
    assert script.session.state is FAILED
    script.connect()
    script.wait(1)
    established(script)
    script.close(4001)
    assert script.session.state is not FAILED


def test_the_connection_is_looked_at_while_it_is_disconnected() -> None:
    script = connected().disconnect()
    assert script.session.last_error is None
    assert script.session.retry_at is None
