"""The steps of connecting, as `on_progress` gets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.scripted import greeting, upgrade_for
from proto.test_driver import Hand, options, sent
from proto.test_tls import Server, authority
from proto.websocket_peer import frame
from pusher_proto import (
    AuthEndpoint,
    ConnectionFailed,
    ConnectStep,
    OpenMessages,
    Options,
    Progress,
    ProgressState,
    Session,
)
from pusher_proto.driving import Tls, Wire, peer_of
from pusher_proto.driving.trace import Trace

S, P = ConnectStep, ProgressState
HERE = [(2, 1, 6, "", ("127.0.0.1", 80)), (10, 1, 6, "", ("::1", 80, 0, 0)), (9999, 1, 0, "", ())]
PROXY = "http://proxy.test:3128"


class Traced(Hand):
    """An I/O written by hand whose client reports the steps of connecting."""

    def __init__(self, **more: Any) -> None:
        self.steps: list[Progress] = []
        own = more.pop("options", None) or options()
        super().__init__(own, on_progress=self.steps.append, **more)

    def connecting(self) -> Wire:
        self.command(self.driver.session.connect)
        return self.wires[-1]

    def take(self) -> list[tuple[object, ...]]:
        """Return the steps since the last call, without what is empty."""
        steps, self.steps[:] = list(self.steps), []
        return [
            (each.step, each.state, *filter(None, (round(each.seconds, 6), each.detail)))
            for each in steps
        ]


def test_each_step_begins_and_ends_with_its_seconds() -> None:
    hand = Traced()
    wire = hand.connecting()
    assert hand.take() == [(S.LOOKUP, P.BEGAN)]
    hand.now += 0.25
    wire.resolved(HERE)
    assert hand.take() == [(S.LOOKUP, P.ENDED, 0.25, "127.0.0.1, ::1"), (S.TCP, P.BEGAN)]
    hand.now += 0.5
    wire.opened(("127.0.0.1", 80))
    assert hand.take() == [
        (S.TCP, P.ENDED, 0.5, "127.0.0.1 port 80"),
        (S.TLS, P.SKIPPED),
        (S.UPGRADE, P.BEGAN),
    ]
    hand.now += 0.125
    wire.received(upgrade_for(sent(wire)))
    assert hand.take() == [(S.UPGRADE, P.ENDED, 0.125), (S.GREETING, P.BEGAN)]
    hand.now += 1.0
    wire.received(frame(greeting()))
    socket_id = hand.driver.session.socket_id
    assert hand.take() == [(S.GREETING, P.ENDED, 1.0, f"socket id {socket_id}")]
    hand.command(hand.driver.session.close)
    assert hand.take() == []


def test_an_upgrade_and_a_greeting_in_one_read_are_two_steps() -> None:
    hand = Traced()
    wire = hand.connecting()
    wire.opened()
    hand.take()
    wire.received(upgrade_for(sent(wire)) + frame(greeting()))
    steps = [step[:2] for step in hand.take()]
    assert steps == [(S.UPGRADE, P.ENDED), (S.GREETING, P.BEGAN), (S.GREETING, P.ENDED)]


def test_tls_is_a_step_with_the_certificate() -> None:
    hand = Traced(options=Options.from_host("127.0.0.1", key="key"), ssl_context=authority().client)
    server, wire = Server(), hand.connecting()
    wire.resolved(HERE)
    hand.take()
    wire.opened(("127.0.0.1", 443))
    assert hand.take() == [(S.TCP, P.ENDED, "127.0.0.1 port 443"), (S.TLS, P.BEGAN)]
    hand.now += 0.5
    while wire.state != "open":
        wire.received(server.answer(sent(wire)))
    (step, state, seconds, detail), upgrade = hand.take()
    assert (step, state, seconds) == (S.TLS, P.ENDED, 0.5)
    assert str(detail).startswith("TLSv1.")
    assert upgrade == (S.UPGRADE, P.BEGAN)


def test_a_failed_step_has_its_error() -> None:
    hand = Traced(options=options(reconnect=False))
    wire = hand.connecting()
    wire.resolved(HERE)
    hand.take()
    hand.now += 2.0
    refused = ConnectionRefusedError(111, "Connection refused")
    wire.failed(refused)
    [failed] = hand.steps
    assert (failed.step, failed.state, failed.seconds) == (S.TCP, P.FAILED, 2.0)
    assert isinstance(failed.error, ConnectionFailed)
    assert failed.error.__cause__ is refused


def test_a_name_that_is_not_found_fails_at_the_lookup() -> None:
    hand = Traced()
    wire = hand.connecting()
    wire.failed(OSError("no such name"))
    assert [step[:2] for step in hand.take()] == [(S.LOOKUP, P.BEGAN), (S.LOOKUP, P.FAILED)]


REFUSED = frame(b'{"event":"pusher:error","data":{"code":4001,"message":"no"}}')


@pytest.mark.parametrize(
    ("answer", "steps"),
    [
        (lambda _: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", [(S.UPGRADE, P.FAILED)]),
        (
            lambda request: upgrade_for(request) + REFUSED,
            [(S.UPGRADE, P.ENDED), (S.GREETING, P.BEGAN), (S.GREETING, P.FAILED)],
        ),
    ],
    ids=["the upgrade", "the key, in the same read"],
)
def test_what_is_refused_is_the_step_that_fails(
    answer: Callable[[bytes], bytes], steps: list[Any]
) -> None:
    hand = Traced()
    wire = hand.connecting()
    wire.opened()
    hand.take()
    wire.received(answer(sent(wire)))
    assert [step[:2] for step in hand.take()] == steps


def test_the_time_limit_ends_the_step_that_runs() -> None:
    hand = Traced()
    wire = hand.connecting()
    wire.opened()
    hand.take()
    hand.now += 15.0
    hand.driver.ring()
    assert hand.take() == [(S.UPGRADE, P.FAILED, 15.0)]


def test_an_attempt_that_the_application_ends_has_no_error() -> None:
    hand = Traced()
    hand.connecting()
    hand.take()
    hand.command(hand.driver.session.disconnect)
    [failed] = hand.steps
    assert (failed.step, failed.state, failed.error) == (S.LOOKUP, P.FAILED, None)


def test_a_proxy_is_a_step_before_tls() -> None:
    hand = Traced(options=options(tls=True, proxy=PROXY), ssl_context=authority().client)
    wire = hand.connecting()
    wire.resolved(HERE)
    wire.opened()
    hand.take()
    assert sent(wire).startswith(b"CONNECT")
    hand.now += 0.5
    wire.received(b"HTTP/1.1 200 OK\r\n\r\n")
    assert hand.take() == [(S.PROXY, P.ENDED, 0.5), (S.TLS, P.BEGAN)]


def test_behind_a_proxy_may_be_no_tls() -> None:
    hand = Traced(options=options(proxy=PROXY))
    wire = hand.connecting()
    wire.opened()
    sent(wire)
    hand.take()
    wire.received(b"HTTP/1.1 200 OK\r\n\r\n")
    assert hand.take() == [(S.PROXY, P.ENDED), (S.TLS, P.SKIPPED), (S.UPGRADE, P.BEGAN)]


def test_a_stream_that_is_opened_without_a_lookup_is_a_step_of_tcp() -> None:
    hand = Traced()
    wire = hand.connecting()
    hand.now += 0.5
    wire.opened("/run/socket")
    assert hand.take() == [
        (S.LOOKUP, P.BEGAN),
        (S.LOOKUP, P.SKIPPED),
        (S.TCP, P.BEGAN),
        (S.TCP, P.ENDED, 0.5),
        (S.TLS, P.SKIPPED),
        (S.UPGRADE, P.BEGAN),
    ]
    wire.resolved(HERE)  # late, and without a meaning
    assert hand.take() == []


def test_each_attempt_is_traced_and_the_streams_to_auth_endpoints_are_not() -> None:
    hand = Traced(options=options(auth=AuthEndpoint("http://auth.test/")))
    hand.connected().eof()
    hand.take()
    hand.now = hand.driver.session.next_deadline() or 0.0
    hand.driver.ring()
    assert hand.take() == [(S.LOOKUP, P.BEGAN)]
    wire = hand.wires[-1]
    wire.opened()
    wire.received(upgrade_for(sent(wire)) + frame(greeting()))
    hand.take()
    hand.command(hand.driver.session.subscribe, "private-x")
    auth = hand.wires[-1]
    assert auth is not wire
    auth.resolved(HERE)
    auth.opened()
    auth.failed(OSError("gone"))
    assert hand.take() == []


def test_what_on_progress_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Progress) -> None:
        raise KeyError("a bug")

    hand = Hand(options(), on_progress=broken)
    hand.connected()
    assert hand.driver.session.socket_id is not None
    assert hand.errors == []
    assert "on_progress raised for name lookup, began" in caplog.text


def answered(data: bytes) -> bytes:
    return upgrade_for(data) if data.startswith(b"GET") else b"x"


@given(st.lists(st.sampled_from(["resolved", "opened", "eof", "failed", "received"]), max_size=8))
def test_every_step_that_began_ends_once_before_the_next_begins(inputs: list[str]) -> None:
    hand = Traced()
    wire = hand.connecting()
    given_to: dict[str, Callable[[], object]] = {
        "resolved": lambda: wire.resolved(HERE),
        "opened": wire.opened,
        "eof": wire.eof,
        "failed": lambda: wire.failed("broken"),
        "received": lambda: wire.received(answered(sent(wire))),
    }
    for each in inputs:
        given_to[each]()
    hand.command(hand.driver.session.close)
    running: ConnectStep | None = None
    order = list(ConnectStep)
    last = -1
    for step in hand.steps:
        if step.state is P.BEGAN:
            assert running is None
            running = step.step
            assert order.index(running) > last
            last = order.index(running)
        elif step.state is P.SKIPPED:
            running = None if running is step.step else running
        else:
            assert running is step.step
            running = None
    assert running is None


def test_the_address_of_a_socket_that_does_not_say_is_none() -> None:
    class Silent:
        def getpeername(self) -> object:
            raise OSError("not connected")

    assert peer_of(Silent()) is None
    assert peer_of(object()) is None


def test_tls_says_who_made_the_certificate() -> None:
    server, client = Server(), Tls(authority().client, "127.0.0.1")
    for _ in range(3):
        client.decrypt(server.answer(client.to_send()))
    assert client.established
    version, by, until = client.describe().split(", ")
    assert version.startswith("TLSv1.")
    assert by.startswith("by ")
    assert until.startswith("until ")
    assert until.endswith("GMT")


def test_a_connection_of_messages_is_a_step_of_tcp() -> None:
    steps: list[Progress] = []
    session = Session(options(), messages=True)
    Trace(session, steps.append, lambda: 5.0)
    session.connect(now=5.0)
    opened = session.next_effect()
    assert isinstance(opened, OpenMessages)
    session.transport_opened(opened.transport, now=5.0)
    assert [(each.step, each.state) for each in steps if each.state is not P.BEGAN] == [
        (S.LOOKUP, P.SKIPPED),
        (S.TCP, P.ENDED),
        (S.TLS, P.SKIPPED),
        (S.UPGRADE, P.ENDED),
    ]
