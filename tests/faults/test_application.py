"""Commands of an application that are wrong, too early, too late, or too many at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from faults.conversation import assert_kept, confirm, listening
from proto.scripted import Script, forgetful
from pusher_proto import (
    AuthRequest,
    AuthResponse,
    ChannelState,
    InvalidName,
    LocalProtocolError,
    NotSubscribed,
    ServerError,
    Subscribed,
    UnsupportedFeature,
)
from simulation import World


def test_A2_a_thousand_channels_are_subscribed_at_once() -> None:
    """Each is subscribed once; at most `max_authorizing` (8) authorizations are requested at once."""
    world = World()
    asked, most = set[str](), 0

    def authorize(request: AuthRequest) -> AuthResponse:
        nonlocal most
        assert request.channel is not None
        asked.add(request.channel)
        most = max(most, len(device.asked) - len(asked) + 1)
        return world.authorization(request)

    device = world.device(world.options(auth=None), authorizer=authorize)
    names = [f"{kind}{number}" for number in range(500) for kind in ("room-", "private-")]
    device.subscribe(*names)
    took = world.run_until(lambda: len(device.of(Subscribed)) == 1000)
    assert took < 3
    assert most == 8
    assert len(device.asked) == len(asked) == 500
    assert Counter(world.heard()) == Counter(("pusher:subscribe", name) for name in names)


def trigger(script: Script, channel: str, event: str, data: Any) -> None:
    script.do(script.session.trigger, channel, event, data)


LARGE = "x" * (10 * 1024 - 1)


@pytest.mark.parametrize(
    ("channel", "event", "data", "error"),
    [
        ("private-other", "client-ev", 1, NotSubscribed),
        ("room", "client-ev", 1, UnsupportedFeature),
        ("private-encrypted-room", "client-ev", 1, UnsupportedFeature),
        ("private-room", "ev", 1, InvalidName),
        ("private-room", "pusher:ping", 1, InvalidName),
        ("private-room", "client-ev", LARGE, LocalProtocolError),
        ("private-room", "client-ev", object(), LocalProtocolError),
        ("private-room", "client-ev", float("nan"), LocalProtocolError),
        ("private-room", "client-ev", "\ud800", LocalProtocolError),
    ],
)
def test_A8_an_event_is_triggered_wrongly(
    channel: str, event: str, data: Any, error: type[Exception]
) -> None:
    """A channel that is not subscribed, public or encrypted, a name without `client-`, data of more than 10 KB or
    that is not JSON: each raises its specific error at once, and nothing is sent.
    """
    script = listening()
    with pytest.raises(error) as raised:
        trigger(script, channel, event, data)
    assert type(raised.value) is error
    assert script.acts() == []
    trigger(script, "private-room", "client-ev", LARGE[1:])
    assert len(script.acts()) == 1
    assert_kept(script)


def test_A8_an_event_is_triggered_without_a_connection() -> None:
    """`NotSubscribed` is raised, and nothing is kept for later, unless the channel has an outbox."""
    script = listening().eof()
    with pytest.raises(NotSubscribed):
        trigger(script, "private-room", "client-ev", 1)
    script.retry()
    forgetful(script).greet()
    confirm(script, "private-room")
    assert "client-ev" not in str(script.acts())


def test_A9_events_are_triggered_too_fast() -> None:
    """The server's error 4301 is emitted with the channel, as far as it is known; the connection and the channel
    are kept.
    """
    script = listening()
    for number in range(11):
        trigger(script, "private-room", "client-ev", number)
    assert len(script.acts()) == 11
    script.error(4301, "The rate limit for sending client events exceeded the quota.")
    (error,) = script.take()
    assert isinstance(error, ServerError)
    assert (error.code, error.channel) == (4301, "private-room")
    assert script.session.channel("private-room").state is ChannelState.SUBSCRIBED
    assert_kept(script)


def test_A9_events_are_triggered_faster_than_the_limit_of_the_options() -> None:
    """With `client_event_rate` the event above the limit raises before it is sent, and a moment later the next one
    is sent.
    """
    script = listening(client_event_rate=10)
    for number in range(10):
        trigger(script, "private-room", "client-ev", number)
    with pytest.raises(LocalProtocolError, match="more than 10 client events in a second"):
        trigger(script, "private-room", "client-ev", 10)
    assert len(script.acts()) == 10
    script.wait(0.11)
    trigger(script, "private-room", "client-ev", 10)
    assert len(script.acts()) == 1
