"""Common parts of the tests of faults: a session that listens, and the check that it still works.

"Returns" means: a new connection, every wanted channel subscribed once on it with an authorization for its
socket id, and events delivered, each once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from proto.scripted import Script, forgetful
from pusher_proto import (
    ChannelEvent,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionLost,
    ConnectionState,
    Event,
    ProtocolViolation,
    RetryScheduled,
)
from pusher_proto.signing import sign_channel

__all__ = [
    "AT_ONCE",
    "CHANNELS",
    "FIRST_DELAY",
    "PATIENT_DELAY",
    "SUCCEEDED",
    "Delay",
    "Lost",
    "assert_kept",
    "assert_returns",
    "confirm",
    "ended_permanently",
    "listening",
    "lost",
    "messages",
    "pings",
    "violations",
]

SUCCEEDED = "pusher_internal:subscription_succeeded"
CHANNELS = ("room", "private-room")
SECRET = "a-secret-of-the-app"

Delay = tuple[float, float]
FIRST_DELAY: Delay = (0.0, 1.0)
"""Before the first attempt after a stable connection."""
AT_ONCE: Delay = (0.0, 0.0)
PATIENT_DELAY: Delay = (1.0, 2.0)
"""The same where the server gave a reason not to come back at once."""


class Lost(NamedTuple):
    """A connection, or an attempt, that ended and will be followed by another."""

    code: int | None
    reason: str
    delay: float


def confirm(script: Script, *channels: str) -> Script:
    """Let the server confirm these channels."""
    for channel in channels:
        script.send(SUCCEEDED, "{}", channel)
    return script


def listening(*channels: str, activity: float = 120, **options: Any) -> Script:
    """Return a script with a connection and these channels (`CHANNELS` when none are given), looks taken."""
    script = Script(**options).connect().greet({"socket_id": "1.1", "activity_timeout": activity})
    script.subscribe(*(channels or CHANNELS))
    return forgetful(confirm(script, *(channels or CHANNELS)))


def messages(script: Script) -> list[tuple[str, Any]]:
    """Return channel and data of each message since the last look."""
    return [
        (event.channel, event.data) for event in script.take() if isinstance(event, ChannelEvent)
    ]


def violations(script: Script) -> list[str]:
    """Return what the server did wrong since the last look, which must be all that happened."""
    events = script.take()
    wrong = [event.reason for event in events if isinstance(event, ProtocolViolation)]
    assert len(wrong) == len(events), events
    return wrong


def lost(script: Script, delay: Delay = FIRST_DELAY) -> Lost:
    """Return the one loss since the last look; the next attempt is planned within `delay`."""
    events: list[Event] = script.take(ConnectionLost, RetryScheduled)
    assert [type(event) for event in events] == [ConnectionLost, RetryScheduled], events
    loss, plan = events
    assert isinstance(loss, ConnectionLost)
    assert isinstance(plan, RetryScheduled)
    assert loss.will_retry
    assert delay[0] <= plan.delay <= delay[1], plan
    return Lost(loss.code, loss.reason, plan.delay)


def ended_permanently(script: Script) -> ConnectionFailed:
    """Return why the session has failed; nothing follows, however long one waits."""
    (loss,) = script.take(ConnectionLost, RetryScheduled)
    assert isinstance(loss, ConnectionLost)
    assert not loss.will_retry
    script.acts()
    script.wait(3600)
    assert script.acts() == []
    assert script.session.state is ConnectionState.FAILED
    failure = script.session.failure
    assert failure is not None
    assert failure.code == loss.code
    return failure


def assert_returns(script: Script, *channels: str, socket_id: str = "2.2") -> None:
    """The next attempt succeeds, and all is there again that was (`CHANNELS` when none are given)."""
    channels = channels or CHANNELS
    connections = script.session.stats.connections
    if script.session.retry_at is not None:
        script.retry()
    forgetful(script).open().upgrade()
    script.greet({"socket_id": socket_id, "activity_timeout": 120})
    request, *subscribes = script.acts()
    assert request.startswith("GET /app/key?")
    assert subscribes == [_subscribe(channel, socket_id) for channel in channels]
    confirm(script, *channels)
    (established,) = script.take(ConnectionEstablished)
    assert isinstance(established, ConnectionEstablished)
    assert established.socket_id == socket_id
    assert script.session.stats.connections == connections + 1
    assert_kept(script, *channels)


def assert_kept(script: Script, *channels: str) -> None:
    """The connection lives: nothing was opened or closed, and events are delivered, each once."""
    channels = channels or CHANNELS
    script.take()
    script.acts()
    for channel in channels:
        script.send("ev", '"well"', channel)
    assert messages(script) == [(channel, "well") for channel in channels]
    assert script.acts() == []
    assert script.session.state is ConnectionState.CONNECTED


def pings(script: Script) -> int:
    """Return how often the server was pinged since the last look, which must be all that the client did."""
    acts = script.acts()
    assert all(act == {"event": "pusher:ping", "data": {}} for act in acts), acts
    return len(acts)


def _subscribe(channel: str, socket_id: str) -> dict[str, Any]:
    data = {"channel": channel}
    if channel.startswith("private-"):
        data["auth"] = sign_channel("key", SECRET, socket_id, channel)
    return {"event": "pusher:subscribe", "data": data}
