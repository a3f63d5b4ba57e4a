"""Faults of the network that show in bytes and time: every deadline, every kind of end."""

from __future__ import annotations

import random
from collections import Counter
from statistics import mean

import pytest

from faults.conversation import (
    AT_ONCE,
    FIRST_DELAY,
    PATIENT_DELAY,
    SUCCEEDED,
    Delay,
    assert_kept,
    assert_returns,
    ended_permanently,
    listening,
    lost,
    messages,
    pings,
)
from proto.scripted import (
    Script,
    greeting,
    message,
    options,
    upgrade_for,
    upgraded,
    upgrading,
)
from proto.test_limits import MEGABYTE, flood
from proto.websocket_peer import BINARY, CONTINUATION, answer, bytewise, frame
from pusher_proto import (
    ChannelEvent,
    CloseTransport,
    ConnectionEstablished,
    ConnectionState,
    Event,
    NotSubscribed,
    OpenTransport,
    OutboxFull,
    RetryScheduled,
    Session,
    StateChanged,
)

SAID = message("ev", '"said"', "room")


def test_N1_a_server_falls_silent() -> None:
    """The client pings it after the activity timeout; `pong_timeout` later it drops the connection and opens
    another one at once.
    """
    script = listening(activity=1)
    script.wait(0.99)
    assert pings(script) == 0
    script.wait(0.02)
    assert pings(script) == 1
    script.wait(29.98)
    assert script.acts() == []
    script.wait(0.02)
    assert script.acts() == [CloseTransport(1, abort=True), OpenTransport(2, "ws.test", 80, False)]
    assert lost(script, AT_ONCE)[:2] == (1006, "the server did not answer a ping")
    assert_returns(script)


def test_N1d_a_server_speaks_and_answers_no_ping() -> None:
    """Any data from the server shows that it is alive: the connection is kept, unless the server has answered a
    ping before.
    """
    script = listening(activity=60)
    for _ in range(60):
        script.wait(80).receive(frame(SAID))
    assert len(messages(script)) == 60
    assert pings(script) == 60
    assert_kept(script)


def test_N1f_the_way_to_the_server_is_lost() -> None:
    """A ping that stays unanswered for twice `pong_timeout`, on a connection where a pong was seen before, while little
    is received: another connection is opened at once."""
    script = listening()
    script.do(script.session.ping).send("pusher:pong")
    script.do(script.session.ping)
    for _ in range(5):
        script.wait(10).receive(frame(SAID))
    script.wait(10)
    assert "it no longer receives" in lost(script, AT_ONCE).reason
    assert_returns(script)


def test_N1e_a_huge_message_drips() -> None:
    """Bytes keep the connection alive, but a message must end within twice the activity timeout and `pong_timeout`;
    else the connection is closed with 1008 and the client reconnects.
    """
    script = listening(activity=30)
    script.receive(frame(b"", length=1_000_000))
    for _ in range(9):
        script.wait(10).receive(b"x")
    assert pings(script) == 0
    assert script.take() == []
    script.wait(10).receive(b"x")
    assert ("close", 1008, "") in script.acts()
    late = lost(script, PATIENT_DELAY)
    assert late[:2] == (1008, "the server takes too long to complete a message")
    assert_returns(script)


@pytest.mark.parametrize("rest", [b"", frame(SAID)[:9], frame(b"x", fin=False)])
def test_N2_the_connection_is_reset(rest: bytes) -> None:
    """Complete messages are delivered first; the next attempt follows within a second."""
    script = listening()
    script.receive(frame(SAID) + rest).eof(ConnectionResetError("reset by peer"))
    said, *_ = script._events
    assert said == ChannelEvent("room", "ev", '"said"')
    assert lost(script, FIRST_DELAY)[:2] == (
        1006,
        "the connection to ws.test:80 broke: reset by peer",
    )
    assert_returns(script)


def test_N3_the_stream_ends_without_a_close_frame() -> None:
    """The loss is reported with code 1006; the next attempt follows within a second."""
    script = listening().eof()
    assert lost(script)[:2] == (1006, "the connection ended without a close frame")
    assert_returns(script)


@pytest.mark.parametrize(
    "half",
    [
        frame(SAID)[:1],
        frame(SAID)[:-1],
        frame(SAID, fin=False),
        frame(SAID[:9], fin=False) + frame(SAID[9:], CONTINUATION)[:-1],
        frame('{"event":"ev","channel":"room","data":"é'.encode()[:-1], fin=False),
    ],
)
def test_N4_the_stream_ends_within_a_message(half: bytes) -> None:
    """The incomplete message is never delivered; the next attempt follows within a second."""
    script = listening().receive(half).eof()
    assert lost(script).code == 1006
    script.take()
    assert_returns(script)


def flap(seed: int, up: float, total: float) -> list[RetryScheduled]:
    """Return the delays of a client whose connections last `up` seconds each, within `total` seconds."""
    script = Script(seed=seed, auth=None).connect()
    end, plans = script.now + total, list[RetryScheduled]()
    while script.now < end:
        script.greet().wait(up).eof("reset")
        plans += [event for event in script.take() if isinstance(event, RetryScheduled)]
        script.retry()
    return plans


def test_N5_each_connection_is_reset_at_once() -> None:
    """The delays grow, at random and differently for each client: at most 8 connections in 20 s, and after the
    first one no two within a second.
    """
    runs = [flap(seed, 0.05, 20) for seed in range(40)]
    assert max(map(len, runs)) <= 8
    assert all(plan.delay >= 1.0 for run in runs for plan in run[1:])
    assert mean(run[0].delay for run in runs) < 1 < mean(run[1].delay for run in runs)
    fourth = mean(run[3].delay for run in runs if len(run) > 3)
    assert fourth > 1.5 * mean(run[1].delay for run in runs)
    assert len({run[0].delay for run in runs}) == len(runs)


def test_N5b_each_connection_lasts_five_seconds() -> None:
    """That is not stable: the delays still grow, until a connection has lasted `stable_after`."""
    plans = flap(seed=1, up=5, total=100)
    assert [plan.attempt for plan in plans] == list(range(1, len(plans) + 1))
    assert len(plans) < 12
    assert {plan.attempt for plan in flap(seed=1, up=31, total=300)} == {1}


def test_N5c_a_thousand_clients_lose_one_server() -> None:
    """Their reconnects are spread evenly over a second: no tenth of it has more than a fifth of them."""
    returns = Counter[int]()
    given = options()
    for seed in range(1000):
        session = Session(given, rng=random.Random(seed))
        session.connect(now=0.0)
        session.transport_opened(1, now=0.0)
        (request,) = [e.data for e in iter(session.next_effect, None) if hasattr(e, "data")]
        session.receive_data(1, upgrade_for(request) + frame(greeting()), now=0.0)
        session.transport_closed(1, ConnectionResetError(), now=100.0)
        assert session.retry_at is not None
        returns[int((session.retry_at - 100.0) * 10)] += 1
    assert set(returns) == set(range(10))
    assert max(returns.values()) <= 200


def attempt_ends(script: Script, phase: str, drip: bytes) -> None:
    """The attempt ends 15 s after its beginning, in this phase, whatever drips until then; and another follows."""
    for at in range(14):
        script.wait(1).receive(drip[at : at + 1])
    script.wait(0.999)
    assert script.acts() == []
    script.wait(0.002)
    assert CloseTransport(1, abort=True) in script.acts()
    assert lost(script)[:2] == (None, f"no connection within 15 s: {phase} did not end")
    script.retry().greet()
    assert script.session.state is ConnectionState.CONNECTED


@pytest.mark.parametrize("drip", [b"", b"HTTP/1.1 101 Switching Protocols\r\n"])
def test_N6_the_upgrade_is_never_answered(drip: bytes) -> None:
    """The attempt ends `connect_timeout` after it began, even if a byte arrives now and then; the error names the
    phase, and the next attempt follows.
    """
    attempt_ends(upgrading(), "the upgrade", drip)


@pytest.mark.parametrize("drip", [b"", frame(greeting())])
def test_N7_established_never_arrives(drip: bytes) -> None:
    """The attempt ends `connect_timeout` after it began, even if a byte arrives now and then; the error names the
    phase, and the next attempt follows.
    """
    attempt_ends(upgraded(), "the greeting", drip)


def test_N10_bytes_arrive_one_at_a_time_or_split_anywhere() -> None:
    """The events are the same, and so are the messages that the client sends."""
    conversation = b"".join(
        (
            frame(greeting()),
            frame(message(SUCCEEDED, "{}", "room")),
            frame(b"p", 0x9),
            frame(message("ev", '"' + "é" * 60 + '"', "room")),
            frame(SAID[:12], fin=False) + frame(b"q", 0x9) + frame(SAID[12:], CONTINUATION),
            frame(message("pusher:ping")),
            frame(b"{", BINARY),
            frame(b"rubbish"),
            frame(message("pusher:error", {"code": 4301, "message": "slow"})),
        )
    )

    def outcome(pieces: list[bytes]) -> tuple[list[Event], list[object]]:
        script = upgrading(auth=None).subscribe("room")
        script.receive(upgrade_for(script.streams[1].sent))
        for piece in pieces:
            script.receive(piece)
        # How many pings of one read are answered, and whether before or after messages, is left open by RFC 6455.
        return script.take(), [act for act in script.acts() if isinstance(act, dict)]

    whole = outcome([conversation])
    assert len(whole[0]) == 8
    assert outcome(bytewise(conversation)) == whole
    for at in range(1, len(conversation), 3):
        assert outcome([conversation[:at], conversation[at:]]) == whole


def test_N12_headers_never_end() -> None:
    """They are refused at `max_head` (16 KiB), nothing of the rest is kept, and the next attempt follows."""
    script = upgrading()
    script.answers = False  # the driver has not closed yet, and still reads
    start = b"HTTP/1.1 101 Switching Protocols\r\n"
    peak = flood(script, start, b"X: y\r\n", 200 * MEGABYTE, transport=1)
    assert peak.value < 5 * MEGABYTE
    wrong = lost(script, PATIENT_DELAY)
    assert wrong[:2] == (None, "the answer's head exceeds 16384 bytes")
    script.retry().greet()
    assert script.session.state is ConnectionState.CONNECTED


@pytest.mark.parametrize(
    ("status", "headers", "delay"),
    [
        ("200 OK", [], PATIENT_DELAY),
        ("301 Moved Permanently", [("Location", "https://elsewhere.test/")], PATIENT_DELAY),
        ("408 Request Timeout", [], PATIENT_DELAY),
        ("429 Too Many Requests", [("Retry-After", "7")], (7.0, 7.0)),
        ("429 Too Many Requests", [("Retry-After", "86400")], (30.0, 30.0)),
        ("500 Internal Server Error", [], PATIENT_DELAY),
        ("502 Bad Gateway", [], PATIENT_DELAY),
        ("503 Service Unavailable", [("Retry-After", "20")], (20.0, 20.0)),
        ("504 Gateway Timeout", [("Content-Length", "10000000")], PATIENT_DELAY),
    ],
)
def test_N20_HTTP_answers_temporarily_instead_of_the_upgrade(
    status: str, headers: list[tuple[str, str]], delay: Delay
) -> None:
    """After 5xx, 408, 425, 429, and after 200 and 3xx (captive portals), another attempt follows, no sooner than
    Retry-After says (at most `retry_cap`). A redirect is not followed, and the body is not read.
    """
    script = upgrading().receive(answer(status, headers))
    assert script.acts() == [CloseTransport(1, abort=True)]
    refused = lost(script, delay)
    assert refused.code == int(status[:3])
    assert refused.reason.startswith(f"the upgrade was answered with HTTP {status}")
    script.retry()
    assert script.acts() == [OpenTransport(2, "ws.test", 80, False)]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_N20_HTTP_refuses_the_upgrade(status: int) -> None:
    """After any other 4xx, which reverse proxies answer during a deploy, three attempts are made; then the state is
    failed, and the error has the status. After a good connection attempts continue.
    """
    refusal = answer(f"{status} No", [("Content-Length", "9")])
    script = upgrading()
    for _ in range(2):
        script.receive(refusal)
        lost(script, PATIENT_DELAY)
        script.retry().open()
    script.acts()
    script.receive(refusal)
    assert script.acts() == [CloseTransport(3, abort=True)]
    assert ended_permanently(script).code == status


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"Sec-WebSocket-Accept": "AAAA"}, "Sec-WebSocket-Accept does not match our key"),
        ({"Upgrade": "h2c"}, "has no header 'Upgrade: websocket'"),
        ({"Connection": "close"}, "has no header 'Connection: Upgrade'"),
        (
            {"Sec-WebSocket-Extensions": "permessage-deflate"},
            "chose an extension that was not offered",
        ),
        ({"Sec-WebSocket-Protocol": "chat"}, "chose a subprotocol that was not offered"),
    ],
)
def test_N21_the_upgrade_is_accepted_wrongly(wrong: dict[str, str], reason: str) -> None:
    """The connection is refused before any of its events counts, and another attempt follows after a growing delay."""
    script = upgrading()
    good = upgrade_for(script.streams[1].sent).decode()
    headers = dict(line.split(": ") for line in good.split("\r\n")[1:-2]) | wrong
    script.receive(answer(headers=headers.items()) + frame(greeting()))
    assert script.acts() == [CloseTransport(1, abort=True)]
    assert script.session.socket_id is None
    refused = lost(script, PATIENT_DELAY)
    assert refused.code is None
    assert refused.reason.endswith(reason)
    script.retry().greet()
    assert script.session.state is ConnectionState.CONNECTED


def test_N22_frames_arrive_in_the_packet_of_the_upgrade() -> None:
    """No frame is lost."""
    script = upgrading().subscribe("room")
    first = frame(greeting()) + frame(message(SUCCEEDED, "{}", "room")) + frame(SAID)
    script.receive(upgrade_for(script.streams[1].sent) + first)
    kinds = [type(event) for event in script._events]
    assert kinds[:2] == [StateChanged, ConnectionEstablished]
    assert messages(script) == [("room", "said")]


def test_N23_a_server_stops_reading() -> None:
    """`trigger` raises `OutboxFull` past `outbox_limit`, nothing more is queued, and the missing pong ends the
    connection as usual.
    """
    script = listening(activity=10, outbox_limit=10_000)
    script.writes = False
    trigger = script.session.trigger
    refused = 0
    for _ in range(1000):
        try:
            script.do(trigger, "private-room", "client-ev", "x" * 500)
        except OutboxFull:
            refused += 1
    assert refused > 980
    assert len(script.streams[1].sent) < 11_000
    script.acts()
    script.wait(10)
    assert pings(script) == 1
    script.wait(30)
    assert CloseTransport(1, abort=True) in script.acts()
    assert lost(script, AT_ONCE).code == 1006
    script.writes = True
    with pytest.raises(NotSubscribed):
        script.do(trigger, "private-room", "client-ev", "late")
    assert_returns(script)
