"""The strategies for users' tests: what they draw is of every kind, and nothing of it breaks a client."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from proto.scripted import upgrade_for
from pusher_proto import (
    ChannelEvent,
    ConnectionEstablished,
    ConnectionLost,
    ConnectionState,
    Event,
    Options,
    ProtocolViolation,
    SendData,
    Session,
    Subscribed,
    SubscriptionFailed,
)
from pusher_proto.testing import Server
from pusher_proto.testing.strategies import (
    CHANNELS,
    Fault,
    accept,
    faults,
    frames,
    sessions,
    texts,
)
from simulation import World

pytestmark = pytest.mark.timeout(300)

tried = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def heard(reads: list[bytes]) -> list[Event]:
    """Return what a session makes of these reads."""
    session = Session(Options.from_host("ws.test", key="k", tls=False), rng=random.Random(1))
    for channel in ("room", "cache-room"):
        session.subscribe(channel, now=0.0)
    session.connect(now=0.0)
    session.transport_opened(1, now=0.0)
    request = b"".join(e.data for e in iter(session.next_effect, None) if isinstance(e, SendData))
    for data in (accept(request), *reads):
        session.receive_data(1, data, now=0.0)
    return list(iter(session.next_event, None))


@tried
@given(sessions())
def test_a_session_begins_with_a_greeting_and_never_breaks_a_client(reads: list[bytes]) -> None:
    assert all(reads)
    assert any(isinstance(event, ConnectionEstablished) for event in heard(reads))


@tried
@given(sessions(), st.integers(1, 50))
def test_how_it_is_cut_changes_nothing(reads: list[bytes], size: int) -> None:
    data = b"".join(reads)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [repr(event) for event in heard(pieces)] == [repr(event) for event in heard(reads)]


def test_sessions_bring_about_events_of_every_kind() -> None:
    seen: set[type[Event]] = set()

    @settings(max_examples=100, derandomize=True, database=None, phases=[Phase.generate])
    @given(sessions(["room"]))
    def look(reads: list[bytes]) -> None:
        seen.update(type(event) for event in heard(reads))

    look()
    kinds = {ChannelEvent, ConnectionLost, ProtocolViolation, Subscribed, SubscriptionFailed}
    assert kinds <= seen


def test_texts_name_the_given_channels_and_an_unknown_one_and_some_are_invalid() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=200, derandomize=True, database=None, phases=[Phase.generate])
    @given(texts(["mine"]))
    def look(text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("event"), str):
            seen["invalid"] += 1
        elif isinstance(message.get("channel"), str):
            seen[message["channel"]] += 1

    look()
    assert min(seen["mine"], seen["unknown"], seen["invalid"]) >= 10
    assert not seen.keys() & set(CHANNELS)


@tried
@given(st.lists(frames(), max_size=5))
def test_no_frames_raise_in_a_session(some: list[bytes]) -> None:
    heard(some)


@tried
@given(faults(seconds=20.0))
def test_after_all_faults_a_client_is_back(drawn: list[Fault]) -> None:
    world = World(1)
    device = world.connected()
    device.subscribe("room")
    for fault in drawn:
        world.act(fault, world.server)
        world.run(fault.seconds)
    world.run(400)
    if device.session.state is not ConnectionState.FAILED:  # a text may say 4001, which is final
        assert device.session.state is ConnectionState.CONNECTED


@tried
@given(faults(most=20))
def test_a_muted_client_is_unmuted_in_the_end(drawn: list[Fault]) -> None:
    server = Server()
    for fault in drawn:
        fault(server, now=0.0)
    controls = [fault.control for fault in drawn]
    assert controls.count("mute") == controls.count("unmute")
    assert not server._faults.mute_all
    assert set(controls) <= {name for name in dir(Server) if not name.startswith("_")}


def test_an_upgrade_is_accepted_and_other_requests_are_not() -> None:
    request = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in accept(request)
    assert accept(request).split(b"\r\n")[3] == upgrade_for(request).split(b"\r\n")[3]
    with pytest.raises(ValueError, match="not a WebSocket upgrade"):
        accept(b"GET / HTTP/1.1\r\n\r\n")


def test_the_default_channels_are_of_every_kind() -> None:
    assert len({channel.rpartition("-")[0] for channel in CHANNELS}) == len(CHANNELS)


def test_without_hypothesis_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import pusher_proto.testing\n"
        "import pusher_proto.testing.strategies"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "pip install hypothesis" in run.stderr.splitlines()[-1]
