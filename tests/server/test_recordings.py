"""The dialects against recordings of real servers: the clients are replayed, and the answers compared.

Keys may be in any order; socket ids, times and the texts of the servers' JSON libraries are not compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

import pytest

from pusher_proto.testing import App, MessageRate, Server, ServerOptions

from .replaying import RecordedIds, Replay, recorded_ids

RECORDINGS = Path(__file__).parent / "recordings"

APP = App(
    id="1001",
    key="app-key",
    secret="app-secret",
    encryption_master_key=bytes(range(32)),
)


SECOND = App(id="1002", key="other-key", secret="other-secret")


@dataclass
class Case:
    """The configuration of a recording's server, and the parts that are not replayed."""

    app: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    apps: list[App] = field(default_factory=list)
    without: dict[int, str] = field(default_factory=dict)
    """Connections, each with the reason."""
    reserved: bool = False
    started: float | None = None
    """When the server had started: its ticks count from there."""


REVERB: dict[str, Case] = {
    "cli": Case(server={"path_prefix": ""}),
    "client-activity": Case(server={"activity_timeout": 3}),
    "client-activity-zero": Case(server={"activity_timeout": 0}),
    "client-origin": Case({"origins": ("example.com",)}),
    "client-path": Case(server={"path_prefix": "/ws"}),
    "client-publish-oddities": Case(reserved=True),
    "client-quota": Case({"max_connections": 1}),
    "client-quota-timing": Case({"max_connections": 1}, {"ping_after": 20.0}, started=0.001),
    "client-rate": Case({"message_rate": MessageRate(messages=10, seconds=2)}),
    "client-rate-terminate": Case({"message_rate": MessageRate(messages=10, seconds=2, ends=True)}),
    "client-two-apps": Case(apps=[APP, SECOND]),
    "raw-http-and-terminate": Case(reserved=True),
    "raw-probe": Case(),
    "client-refusals": Case(server={"path_prefix": ""}),
    "client-whispers-all": Case({"client_events_from": "all"}),
    "client-whispers-none": Case({"client_events": False}),
    "idle-pings-and-pruning": Case(server={"ping_after": 20.0}, started=-0.016),
    "raw-client-events-all": Case({"client_events_from": "all"}),
    "raw-client-events-none": Case({"client_events": False}),
    "raw-client-events-unset": Case({"client_events_from": "all"}),
    "raw-max-connections": Case({"max_connections": 2}),
    "raw-origins": Case({"origins": ("example.com", "*.shop.test")}),
    "raw-path": Case(server={"path_prefix": "/ws"}),
    "raw-rate-limit": Case({"message_rate": MessageRate(messages=5, seconds=3)}),
    "raw-rate-limit-terminate": Case(
        {"message_rate": MessageRate(messages=5, seconds=3, ends=True)}
    ),
}


_CUT = "the recording cuts long texts"

SOCKUDO: dict[str, Case] = {
    "client-auth-timeout": Case({"authentication_timeout": 2.0}),
    "client-client-events-off": Case({"client_events": False}),
    "client-max-connections": Case({"max_connections": 1}, {"ping_after": 120.0}),
    "client-message-rate": Case({"message_rate": MessageRate(messages=10, seconds=2)}),
    "client-message-rate-terminate": Case(
        {"message_rate": MessageRate(messages=10, seconds=2, ends=True)}
    ),
    "client-origin": Case({"origins": ("https://example.com", "*.other.com", "plain.com")}),
    "client-path-prefix": Case(server={"path_prefix": ""}),
    "client-ghost-member": Case(server={"activity_timeout": 3, "ping_after": 3.0}),
    "client-one-error-then-end": Case(limits={"event_name": 20}),
    "client-published-error-then-end": Case(reserved=True),
    "client-server-to-user": Case(reserved=True),
    "client-presence-limit": Case(limits={"members": 2, "member_size": 1024}),
    "client-quota": Case({"max_connections": 1}),
    "client-signin-off": Case({"user_authentication": False}),
    "client-signin-timeout": Case({"authentication_timeout": 2.0}),
    "client-two-apps": Case(apps=[APP, App(id="1002", key="key-two", secret="secret-two")]),
    "client-whispers-off": Case({"client_events": False}),
    "client-whispers-size": Case(limits={"event_data": 1024, "name": 30, "event_name": 20}),
    "raw-probe": Case(
        without={
            22: "an object with a key twice is taken here",
            40: "the recording does not show that the frame was illegal",
            41: "the recording does not show that the frame was illegal",
            42: "the recording does not show that the frame was illegal",
            128: _CUT,
            129: _CUT,
            130: _CUT,
            131: _CUT,
            132: _CUT,
        }
    ),
}


_ELSEWHERE = "the server was stopped, killed, restarted or cut off, which no client did"
_HTTP = "the HTTP API ended connections, or published what no client received"
_CROSSED = "messages of several connections crossed on their way"
_DROPPED = "the real server dropped requests that were under way when a connection ended"
_CONFIGURED = "a setting that the dialect does not have"
_VERSION_2 = "protocol 2 of Sockudo"

LEFT_OUT: dict[str, dict[str, str]] = {
    "reverb": {
        "broken-config-max_message_size": "a broken configuration",
        "client-echo": _CROSSED,
        "client-half-subscribed-close": _DROPPED,
        "client-huge-member": "100 KB of padding; raw-probe has the limit",
        "client-large-roster": "empty",
        "client-stopped": _ELSEWHERE,
        "client-two-nodes": "empty",
        "two-nodes-node1": "a second node published",
        "two-nodes-node2": "a second node published",
    },
    "sockudo": {
        "blocking-client": _ELSEWHERE,
        "cli": _VERSION_2,
        "client-activity": "one ping early: the server's timers had started before",
        "client-activity-zero": "a ping at once, of an activity timeout of 0",
        "client-cache-ttl": _CONFIGURED,
        "client-caches-http": _HTTP,
        "client-client-event-rate": "a rate over several seconds",
        "client-client-event-rate-terminate": "a rate over several seconds",
        "client-client-stopped": _ELSEWHERE,
        "client-connect": _CONFIGURED,
        "client-error-then-end": _ELSEWHERE,
        "client-connect-rate": _CROSSED,
        "client-force-reconnect": _HTTP,
        "client-frame-limit": _CONFIGURED,
        "client-ghost-presence": _ELSEWHERE,
        "client-ghost-quota": _ELSEWHERE,
        "client-grace": _ELSEWHERE,
        "client-half-open": _ELSEWHERE,
        "client-half-subscribed-close": _DROPPED,
        "client-http": _CUT,
        "client-large": _CUT,
        "client-limits": _CONFIGURED,
        "client-max-connections-server": _CONFIGURED,
        "client-member-size": _CUT,
        "client-namespaces": _CONFIGURED,
        "client-nginx": _ELSEWHERE,
        "client-poison-cache": _CUT,
        "client-poison-presence": _DROPPED,
        "client-presence": _CROSSED,
        "client-presence-lease": _CONFIGURED,
        "client-presence-of-user": _DROPPED,
        "client-protocol-2": _VERSION_2,
        "client-pusher-js": _ELSEWHERE,
        "client-reconnect-storm": _CONFIGURED,
        "client-reconnect-storm-limited": _CONFIGURED,
        "client-rejoin-full": _ELSEWHERE,
        "client-restart": _ELSEWHERE,
        "client-signin": _DROPPED,
        "client-stopped": _ELSEWHERE,
        "client-terminate": _HTTP,
        "client-user-and-member": _CROSSED,
        "client-websocket-payload": _CUT,
        "client-whispers": _CUT,
        "client-whispers-rate": "a rate over several seconds",
        "client-whispers-rate-end": "a rate over several seconds",
        "idle-five-minutes": _VERSION_2,
        "raw-more": _HTTP,
        "raw-no-pong": _CROSSED,
        "raw-race-cache": _CUT,
        "raw-slow-reader": _CUT,
        "raw-watchlist-sync-cleanup": _CONFIGURED,
        "v2-*": _VERSION_2,
    },
}
"""Recordings that were made and are not replayed, each with the reason. They are not in the archives."""


def replayed(path: Path, dialect: Literal["pusher", "reverb", "sockudo"], case: Case) -> Replay:
    """Replay a recording."""
    apps = case.apps or [replace(APP, **case.app)]
    more = dict(case.server)
    if case.limits:
        more["limits"] = replace(
            Server(options=ServerOptions(dialect=dialect)).limits, **case.limits
        )
    server = Server(
        apps,
        ServerOptions(dialect=dialect, **more),
        rng=RecordedIds(recorded_ids(path, case.without)),
    )
    if case.started is not None:
        server.connection_opened(0, now=case.started)
    replay = Replay(
        path, server, [app.key for app in apps], without=set(case.without), reserved=case.reserved
    )
    replay.run()
    return replay


def recordings(dialect: str) -> list[str]:
    """Return the names in the archive of a dialect."""
    with ZipFile(RECORDINGS / f"{dialect}.zip") as archive:
        return [name.removesuffix(".jsonl") for name in archive.namelist()]


@pytest.mark.parametrize(
    ("dialect", "name"),
    [(dialect, name) for dialect in ("reverb", "sockudo") for name in recordings(dialect)],
)
def test_it_answers_as_the_real_server_did(
    dialect: Literal["reverb", "sockudo"], name: str, tmp_path: Path
) -> None:
    with ZipFile(RECORDINGS / f"{dialect}.zip") as archive:
        path = Path(archive.extract(f"{name}.jsonl", tmp_path))
    cases = REVERB if dialect == "reverb" else SOCKUDO
    replay = replayed(path, dialect, cases.get(name, Case()))
    assert replay.differences == []
    assert replay.compared > 0


@pytest.mark.parametrize("dialect", ["reverb", "sockudo"])
def test_each_recording_is_replayed_or_has_a_reason_why_not(dialect: str) -> None:
    cases = REVERB if dialect == "reverb" else SOCKUDO
    there = set(recordings(dialect))
    assert cases.keys() <= there
    assert not there & LEFT_OUT[dialect].keys()
    assert all(LEFT_OUT[dialect].values())


def test_a_wrong_answer_is_seen(tmp_path: Path) -> None:
    with ZipFile(RECORDINGS / "reverb.zip") as archive:
        path = Path(archive.extract("client-signin.jsonl", tmp_path))
    assert replayed(path, "pusher", Case()).differences
