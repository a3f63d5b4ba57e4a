"""Reports: each refusal is in the log, with what to set for the mistakes that people make most."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pusher_proto.signing import sign_channel
from pusher_proto.testing import App, Report, Server

from .client import Client, World, form, request

SECRET = "very-secret-text"


@pytest.fixture
def world() -> World:
    return World(Server([App(id="7", key="shop", secret=SECRET)]))


@pytest.fixture
def reports(world: World) -> list[Report]:
    found: list[Report] = []
    world.server.observers.append(found.append)
    return found


def connect(world: World, key: str = "shop", **options: Any) -> Client:
    return world.client(f"/app/{key}?protocol=7", **options)


def refusals(reports: list[Report]) -> list[str]:
    return [each.message for each in reports if each.level >= logging.INFO]


def test_a_wrong_key_is_reported_with_the_right_ones(world: World, reports: list[Report]) -> None:
    connect(world, "shopp")
    [report] = reports
    assert report.kind == "connection refused"
    assert "4001: App key 'shopp' not in this cluster" in report.message
    assert "the keys here are shop: set one of them" in report.message


def test_a_wrong_secret_is_reported_without_signatures(world: World, reports: list[Report]) -> None:
    client = connect(world)
    auth = sign_channel("shop", "wrong", client.socket_id, "private-x")
    client.say("pusher:subscribe", {"channel": "private-x", "auth": auth})
    query = "auth_key=shop&auth_version=1.0&auth_timestamp=1&auth_signature=abc"
    world.http(request("GET", f"/apps/7/channels?{query}"))
    said = refusals(reports)
    assert len(said) == 2
    for each in said:
        assert "not signed with the secret of app 7: set PUSHER_APP_SECRET" in each
        assert auth.partition(":")[2] not in each
        assert SECRET not in each


def test_tls_on_a_plain_port_is_reported_once_for_each_address(
    world: World, reports: list[Report]
) -> None:
    for number, peer in enumerate(["10.0.0.7", "10.0.0.7", "10.0.0.8"]):
        world.server.connection_opened(100 + number, peer=peer, now=0.0)
        world.server.receive_data(100 + number, b"\x16\x03\x01\x02\x00", now=0.0)
    said = refusals(reports)
    assert [each.partition(":")[0] for each in said] == ["10.0.0.7", "10.0.0.8"]
    assert all("set forceTLS: false" in each for each in said)


@pytest.mark.parametrize(
    "path", ["/pusher/app/shop/123/abc/xhr_streaming", "/pusher/app/shop/1/a/jsonp", "/sockjs/info"]
)
def test_fallback_transports_are_reported(world: World, reports: list[Report], path: str) -> None:
    world.http(request("POST", path, b"[]"))
    [said] = refusals(reports)
    assert "enabledTransports: ['ws', 'wss']" in said


def test_a_wrong_auth_endpoint_is_reported_with_the_right_ones(
    world: World, reports: list[Report]
) -> None:
    world.http(form("/auth", socket_id="1.1", channel_name="private-x"))
    [said] = refusals(reports)
    assert said.startswith("POST /auth: 404 ")
    assert "the auth endpoints here are /pusher/auth and /pusher/user-auth" in said


def test_other_refusals_are_reported(world: World, reports: list[Report]) -> None:
    client = connect(world)
    client.say("pusher:subscribe", {"channel": "a b"})
    client.text("{")
    world.do(world.server.auth_answer, 403, {"error": "no"})
    world.http(form("/pusher/auth", socket_id="1.1", channel_name="private-x"))
    world.http(b"GET /\x7f HTTP/1.1\r\n\r\n")
    world.do(world.server.refuse, status=503)
    connect(world)
    said = refusals(reports)
    assert said[0] == "pusher:subscribe refused: Invalid channel name a b"
    assert said[1] == "a message refused: Invalid message format (4200)"
    assert said[2] == "POST /pusher/auth: 403 no"
    assert said[3].startswith("a request was refused with status 400: ")
    assert said[4] == "/app/shop: connection refused with 503"


def test_the_log_has_the_reports(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(5, "pusher_proto.server")
    client = connect(world)
    auth = sign_channel("shop", SECRET, client.socket_id, "private-x")
    client.say("pusher:subscribe", {"channel": "private-x", "auth": auth})
    client.say("client-e", {}, "private-x")
    levels = [(record.levelno, record.__dict__["report"].kind) for record in caplog.records]
    assert levels == [
        (10, "connected"),
        (5, "received"),
        (10, "subscribed"),
        (5, "received"),
        (10, "client event"),
    ]
    assert "shop:***" in caplog.text
    assert auth not in caplog.text


def test_nothing_is_reported_while_nothing_listens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("pusher_proto.server"), "level", logging.CRITICAL)
    logging.getLogger("pusher_proto.server").manager._clear_cache()  # type: ignore[attr-defined]  # not in typeshed
    try:
        client, other = connect(world), connect(world, "wrong")
        auth = sign_channel("shop", SECRET, client.socket_id, "private-x")
        client.say("pusher:subscribe", {"channel": "private-x", "auth": auth})
        client.say("client-e", {}, "private-x")
        world.do(world.server.publish, "private-x", "e", "1")
        client.say("pusher:subscribe", {"channel": "a b"})
        client.say("pusher:unsubscribe", {"channel": "private-x"})
        assert len(client.take()) == 4
        assert other.close is not None
    finally:
        logging.getLogger("pusher_proto.server").manager._clear_cache()  # type: ignore[attr-defined]  # not in typeshed


def test_other_methods_and_failures_of_pages_are_reported(
    world: World, reports: list[Report]
) -> None:
    world.http(request("DELETE", "/stats"))
    wire = world.wire()
    wire.send(request("OPTIONS", "/up", headers={"Origin": "http://shop.test"}))
    assert wire.raw.startswith(b"HTTP/1.1 204 ")
    assert refusals(reports) == ["DELETE /stats: 405 /stats must be read with GET"]
