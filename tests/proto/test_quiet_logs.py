"""A service that needs no person writes no ERROR: a simulated day with an incident each half hour."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from pusher_proto import AuthEndpoint, ChannelState, ConnectionState, SignInFailed, UserState
from simulation import Device, World

CHANNELS = ("news", "cache-last", "private-a", "presence-room", "private-encrypted-x")


class Levels(logging.Handler):
    """The messages by level."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: dict[str, list[str]] = {"INFO": [], "WARNING": [], "ERROR": []}

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.setdefault(record.levelname, []).append(record.getMessage())


@pytest.fixture
def levels() -> Iterator[Levels]:
    log, levels = logging.getLogger("pusher_proto"), Levels()
    before = log.level
    log.addHandler(levels)
    log.setLevel(logging.INFO)
    yield levels
    log.setLevel(before)
    log.removeHandler(levels)


def restart(world: World, device: Device) -> None:
    """The server says 4200 and is away for 20 s."""
    world.act(world.server.drop, 4200, error_event=True)
    world.network.refuse = True
    world.run(20)
    world.network.refuse = False


def reset(world: World, device: Device) -> None:
    world.reset(device)


def go_deaf(world: World, device: Device) -> None:
    world.sever(device)


def swallow(world: World, device: Device) -> None:
    """New connections are not answered for half a minute."""
    world.network.swallow_opens = True
    world.reset(device)
    world.run(30)
    world.network.swallow_opens = False


def endpoint_away(world: World, device: Device) -> None:
    """The auth endpoint answers 503 for 12 s from a reconnect on (D2)."""
    world.act(world.server.auth_answer, 503, "")
    world.act(world.server.drop, 4200)
    world.run(12)
    world.act(world.server.auth_answer)


def lost_while_signing_in(world: World, device: Device) -> None:
    """The next connection ends before the sign-in is answered (D7)."""
    world.act(world.server.delay, 60.0, "signin")
    world.reset(device)
    world.run(5)
    world.act(world.server.delay, 0.0, "signin")
    world.reset(device)


def terminated_by_a_proxy(world: World, device: Device) -> None:
    """A proxy answers 502 for a while."""
    world.act(world.server.refuse, status=502)
    world.act(world.server.drop)
    world.run(45)
    world.act(world.server.allow)


INCIDENTS: tuple[Callable[[World, Device], None], ...] = (
    *(restart, reset, go_deaf, swallow, endpoint_away, lost_while_signing_in),
    terminated_by_a_proxy,
)


@pytest.mark.messages_logged
def test_D8_a_day_without_a_person_has_no_ERROR(levels: Levels) -> None:
    world = World(3)
    endpoint = AuthEndpoint(
        "http://pusher.test/pusher/auth", user_url="http://pusher.test/pusher/user-auth"
    )
    device = world.connected(world.options(auth=endpoint))
    device.do(device.session.signin)
    device.subscribe(*CHANNELS)
    world.run(60)
    happened: Counter[str] = Counter()
    for half_hour in range(48):
        incident = INCIDENTS[half_hour % len(INCIDENTS)]
        happened[incident.__name__] += 1
        incident(world, device)
        world.run(1800)
        assert device.session.state is ConnectionState.CONNECTED
        assert device.session.user.state is UserState.SIGNED_IN
        for name in CHANNELS:
            assert device.session.channel(name).state is ChannelState.SUBSCRIBED
    assert levels.messages["ERROR"] == []
    # One for each failed attempt, connection, channel and sign-in that is tried again: a few for each incident.
    warnings = levels.messages["WARNING"]
    assert 48 <= len(warnings) <= 48 * 12
    assert [one for one in warnings if "next attempt in" in one]
    # D7: a mere loss is not a failed sign-in. Failures of the endpoint have a delay.
    failures = device.of(SignInFailed)
    assert failures
    assert all(one.retry_in is not None for one in failures)
    assert len(failures) <= 4 * happened["endpoint_away"]
