"""Streams through a proxy: what the session asks of a driver until they lead to the server."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.scripted import greeting, upgrade_for
from proto.websocket_peer import TEXT, frame
from pusher_proto import (
    AuthEndpoint,
    CloseTransport,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionLost,
    ConnectionState,
    ConnectionUnsafe,
    Event,
    OpenTransport,
    Options,
    SendData,
    Session,
    StartTls,
    SubscriptionFailed,
)

PROXY = "http://ada:hunter2@proxy.test:3128"
GOOD = b"HTTP/1.1 200 OK\r\n\r\n"
SOCKS_GOOD = [b"\x05\x02", b"\x01\x00", b"\x05\x00\x00\x01" + bytes(6)]


class Way:
    """A session and its driver, by hand."""

    def __init__(self, **more: Any) -> None:
        given: dict[str, Any] = {
            "host": "ws.test",
            "key": "key",
            "proxy": PROXY,
            "retry_base": 0.0,
        } | more
        self.session = Session(Options(**given), rng=random.Random(1))
        self.now = 1.0
        self.session.connect(now=self.now)

    def do(self, name: str, *args: Any) -> list[Any]:
        """Give the session an input about the stream; return the effects that follow."""
        getattr(self.session, name)(*args, now=self.now)
        return self.effects()

    def effects(self) -> list[Any]:
        found = []
        while (effect := self.session.next_effect()) is not None:
            found.append(effect)
        return found

    def events(self, *kinds: type[Event]) -> list[Any]:
        found = []
        while (event := self.session.next_event()) is not None:
            if isinstance(event, kinds):
                found.append(event)
        return found


def request_in(effects: list[Any]) -> bytes:
    (effect,) = effects
    assert isinstance(effect, SendData)
    return effect.data


def test_a_proxy_is_connected_to_in_the_clear_and_asked_for_a_tunnel() -> None:
    way = Way()
    assert way.effects() == [OpenTransport(1, "proxy.test", 3128, False)]
    request = request_in(way.do("transport_opened", 1))
    assert request.startswith(b"CONNECT ws.test:443 HTTP/1.1\r\n")
    assert way.do("transport_opened", 1) == []  # a second time
    assert way.do("data_sent", 1, len(request)) == []


def test_tls_begins_behind_the_proxy_and_then_the_upgrade_is_sent() -> None:
    way = Way()
    way.effects()
    way.do("transport_opened", 1)
    assert way.do("tls_started", 1) == []  # no one asked for it
    assert way.do("receive_data", 1, GOOD) == [StartTls(1, "ws.test")]
    assert way.do("transport_opened", 1) == []
    assert way.do("receive_data", 1, b"") == []
    upgrade = request_in(way.do("tls_started", 1))
    assert upgrade.startswith(b"GET /app/key?")
    assert b"Host: ws.test\r\n" in upgrade
    assert b"hunter2" not in upgrade
    assert way.do("tls_started", 1) == []
    way.do("receive_data", 1, upgrade_for(upgrade) + frame(greeting(), TEXT))
    assert len(way.events(ConnectionEstablished)) == 1


@pytest.mark.parametrize("proxy", [PROXY, PROXY.replace("http", "socks5")])
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_the_proxys_bytes_may_arrive_in_any_pieces(proxy: str, seed: int) -> None:
    pick = random.Random(seed)
    way = Way(proxy=proxy, tls=False)
    way.effects()
    way.do("transport_opened", 1)
    answers = b"".join(SOCKS_GOOD) if proxy.startswith("socks") else GOOD
    found = []
    while answers:
        size = pick.randint(1, len(answers))
        found += way.do("receive_data", 1, answers[:size])
        answers = answers[size:]
    assert all(isinstance(each, SendData) for each in found)
    assert b"".join(each.data for each in found).count(b"GET /app/key?") == 1
    assert way.session.state is ConnectionState.CONNECTING


def test_bytes_after_the_answer_are_the_servers_without_tls() -> None:
    way = Way(tls=False)
    way.effects()
    way.do("transport_opened", 1)
    way.do("receive_data", 1, GOOD + b"HTTP/1.1 503 Busy\r\n\r\n")
    (lost,) = way.events(ConnectionLost)
    assert lost.code == 503


@pytest.mark.parametrize("pieces", [[GOOD + b"x"], [GOOD, b"x"]])
def test_bytes_after_the_answer_are_an_error_with_tls(pieces: list[bytes]) -> None:
    way = Way()
    way.effects()
    way.do("transport_opened", 1)
    effects = [each for piece in pieces for each in way.do("receive_data", 1, piece)]
    assert effects == [StartTls(1, "ws.test"), CloseTransport(1, abort=True)]
    (lost,) = way.events(ConnectionLost)
    assert (lost.reason, lost.will_retry) == ("the proxy sent bytes before TLS had started", True)
    assert way.do("tls_started", 1) == []
    assert way.do("receive_data", 1, b"x") == []
    assert way.do("transport_closed", 1, "given up") == []


def test_a_refused_login_ends_it_and_any_other_answer_is_tried_again() -> None:
    way = Way()
    way.effects()
    way.do("transport_opened", 1)
    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    assert way.do("receive_data", 1, answer) == [CloseTransport(1, abort=True)]
    assert way.session.state is ConnectionState.FAILED
    assert isinstance(way.session.failure, ConnectionFailed)
    assert way.session.failure.code == 407
    assert "the proxy at proxy.test:3128 answered CONNECT with 407" in str(way.session.failure)
    assert "hunter2" not in str(way.session.failure)

    way = Way()
    way.effects()
    way.do("transport_opened", 1)
    way.do("receive_data", 1, b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    (lost,) = way.events(ConnectionLost)
    assert (lost.code, lost.will_retry) == (502, True)


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("transport_failed", "refused", "the proxy at proxy.test:3128: refused"),
        ("transport_closed", None, "the proxy at proxy.test:3128: it ended the connection"),
    ],
)
def test_an_end_before_the_answer_is_the_proxys(name: str, error: str | None, reason: str) -> None:
    way = Way()
    way.effects()
    if name == "transport_closed":
        way.do("transport_opened", 1)
    way.do(name, 1, error)
    (lost,) = way.events(ConnectionLost)
    assert (lost.reason, lost.will_retry) == (reason, True)


def test_a_certificate_that_is_not_good_behind_a_proxy_ends_it() -> None:
    way = Way()
    way.effects()
    way.do("transport_opened", 1)
    way.do("receive_data", 1, GOOD)
    way.do("transport_closed", 1, ConnectionUnsafe("no"))
    assert way.session.state is ConnectionState.FAILED


def test_the_time_for_connecting_counts_for_the_proxy_too() -> None:
    way = Way(connect_timeout=5.0)
    way.effects()
    way.do("transport_opened", 1)
    way.now += 5.0
    assert way.do("handle_timeout")[0] == CloseTransport(1, abort=True)
    assert way.do("receive_data", 1, GOOD) == []
    (lost,) = way.events(ConnectionLost)
    assert lost.reason.startswith("no connection within 5 s")


def test_auth_endpoints_are_reached_through_the_proxy_too() -> None:
    way = Way(tls=False, auth=AuthEndpoint("https://app.test/auth"), auth_attempts=1)
    way.effects()
    way.do("transport_opened", 1)
    upgrade = request_in(way.do("receive_data", 1, GOOD))
    way.do("receive_data", 1, upgrade_for(upgrade) + frame(greeting(), TEXT))
    way.session.subscribe("private-a", now=way.now)
    assert way.effects() == [OpenTransport(2, "proxy.test", 3128, False)]
    assert b"CONNECT app.test:443" in request_in(way.do("transport_opened", 2))
    assert way.do("receive_data", 2, GOOD) == [StartTls(2, "app.test")]
    assert request_in(way.do("tls_started", 2)).startswith(b"POST /auth HTTP/1.1\r\n")

    way.do("transport_closed", 2, "gone")
    way.events(Event)
    way.session.subscribe("private-b", now=way.now)
    way.effects()
    way.do("transport_opened", 3)
    way.do("receive_data", 3, b"HTTP/1.1 403 No\r\n\r\n")
    (failed,) = way.events(SubscriptionFailed)
    assert "the proxy at proxy.test:3128 answered CONNECT with 403 No" in str(failed.error)


def test_closing_in_the_tunnel_ends_it_at_once() -> None:
    way = Way()
    way.effects()
    way.do("transport_opened", 1)
    assert way.do("close") == [CloseTransport(1, abort=True)]
    assert way.do("receive_data", 1, GOOD) == []
    way.do("transport_closed", 1, "given up")
    assert way.session.closed
    assert way.do("tls_started", 1) == []
