"""One application in the simulated world: its actions, and the invariants of everything that it receives."""

from __future__ import annotations

import json
from typing import Any

from fuzz.environment import Environment
from fuzz.gaps import Gaps
from fuzz.outgoing import Outgoing
from fuzz.readers import LOGS, Reader
from pusher_proto import (
    AuthRequest,
    AuthResponse,
    ChannelEvent,
    ChannelState,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionLost,
    ConnectionState,
    DecryptionFailed,
    Event,
    LocalProtocolError,
    PusherError,
    SignedIn,
    Subscribed,
    SubscriptionFailed,
    Unsubscribed,
)
from pusher_proto.signing import shared_secret, sign_channel, sign_user
from simulation import Device

__all__ = ["CHANNELS", "Application", "Broken"]

CHANNELS = (
    "news",
    "prices",
    "cache-last",
    "private-a",
    "private-b",
    "presence-room",
    "presence-hall",
    "private-encrypted-x",
)
_ACTS = (
    *("subscribe", "subscribe", "unsubscribe", "flap", "trigger", "stall"),
    *("reconnect", "ping", "signin", "misuse", "refresh"),
)
_ACTS_IN_CLUSTER = (*_ACTS, "reconnect", "move", "move", "move")
_TRYING = (ConnectionState.CONNECTING, ConnectionState.UNAVAILABLE, ConnectionState.CONNECTED)


_DEAF_FOR = 2.5
"""Seconds after a success during which a cluster may not send events: one second until the subscribe is repeated."""


class Broken(AssertionError):
    """An invariant does not hold."""


class Application:
    """One application with its client, and a record of what it received."""

    def __init__(self, weather: Environment, number: int, source: str) -> None:
        self.weather = weather
        self.number = number
        self.source = source
        """How it gets its authorizations."""
        # In a cluster each application has its own user: when two connections of one user come back at once, the
        # others get no message about it, and cannot know that it is there.
        user = number if weather.cluster else number % 4
        self.member = {"user_id": f"user-{user}", "user_info": {"n": number}}
        self.own: tuple[str, ...] = ()
        """Channels that no other application uses: it is the last to leave them."""
        if weather.cluster:
            self.own = (f"device-{number}", f"private-user-{number}", f"presence-user-{number}")
        self.acts = _ACTS_IN_CLUSTER if weather.cluster else _ACTS
        self.recording: list[str] = []
        self.reader = Reader(weather)
        self.device = self.reader.device = weather.world.device(
            weather.options(source, self.member),
            authorizer=self.authorize,
            connect=False,
            record=self.recording.append if weather.records else None,
            watch=self.watch,
        )
        self.outgoing = Outgoing(self.device, number)
        self.outgoing.watch_sending()
        self.wanted: set[str] = set()
        self.expected: dict[str, int] = {}
        """The number that the next event of a channel must have; -1 allows any."""
        self.unanswered: set[str] = set()
        """Channels whose subscribe failed on this connection: they may give events before a success."""
        self.joined_at: dict[str, float] = {}
        """When each channel was subscribed last."""
        self.gaps = Gaps()
        self._times: list[float | None] = []
        """When each event of the device was emitted; None for events that were read late."""
        self._was_stalled = False
        self.was_in: set[str] = set()
        """The channels that were subscribed since the application called `subscribe`: none of them may be given up."""
        self.was_signed_in = False
        self.hangs = False
        """Whether its function hangs."""
        self.device.connect()
        for channel in (*self.own, *(("news", "presence-room") if self.own else ())):
            self.want(channel)

    # Actions

    def authorize(self, request: AuthRequest) -> AuthResponse | BaseException | None:
        """Answer as applications do: mostly right, sometimes not at all, sometimes by raising."""
        if self.hangs:
            return None
        chance = self.weather.rng.random()
        if self.weather.storm and chance < 0.1:
            return None
        if self.weather.storm and chance < 0.2:
            return TimeoutError("the database is slow")
        app = self.weather.app
        if request.channel is None:
            user_data = json.dumps({"id": self.member["user_id"]})
            auth = sign_user(app.key, app.secret, request.socket_id, user_data)
            return AuthResponse(auth, user_data=user_data)
        channel, data, secret = request.channel, None, None
        if channel.startswith("presence-"):
            data = json.dumps({"user_id": self.member["user_id"]})
        if channel.startswith("private-encrypted-"):
            assert app.encryption_master_key is not None
            secret = shared_secret(channel, app.encryption_master_key)
        auth = sign_channel(app.key, app.secret, request.socket_id, channel, data)
        return AuthResponse(auth, data, secret)

    def act(self) -> None:
        """Do one thing that an application may do."""
        device, rng = self.device, self.weather.rng
        channel = rng.choice((*CHANNELS, *LOGS, *self.own))
        match rng.choice(self.acts):
            case "subscribe":
                self.want(channel)
            case "unsubscribe":
                self.leave(channel)
            case "flap":
                for _ in range(rng.randrange(1, 4)):
                    self.want(channel)
                    self.leave(channel)
            case "trigger":
                try:
                    device.trigger(rng.choice(("private-a", "presence-room")), "client-hello", {})
                except PusherError:
                    pass  # not subscribed, or too much waits
            case "stall":
                device.pulls = not device.pulls
                device.pump()
            case "reconnect":
                device.do(device.session.disconnect)
                device.connect()
            case "move":
                device.do(device.session.reconnect)
            case "ping":
                device.do(device.session.ping)
            case "signin":
                device.do(device.session.signin)
            case "refresh":
                if device.session.channel("presence-room").state is ChannelState.SUBSCRIBED:
                    device.do(device.session.refresh_members, "presence-room")
            case "misuse":
                self.misuse()

    def want(self, channel: str) -> None:
        """Subscribe. Repeat a subscribe that was not answered in time: the answer may still be unread."""
        self.wanted.add(channel)
        session = self.device.session
        if session.channel(channel).state is ChannelState.TIMED_OUT:
            self.weather.server.asked_again.add((session.socket_id, channel))
        self.device.subscribe(channel, catch_up=self.reader.memories.get(channel))

    def leave(self, channel: str) -> None:
        """Unsubscribe; from now on the session may emit only queued events of the channel."""
        self.wanted.discard(channel)
        self.was_in.discard(channel)
        self.outgoing.left(channel)
        self.device.unsubscribe(channel)

    def misuse(self) -> None:
        """Use the session wrongly: it must raise and change nothing."""
        session, now = self.device.session, self.weather.world.now
        before = (session.channels(), session.state, session.stats.bytes_sent)
        try:
            session.subscribe("no such name!", now=now)
        except LocalProtocolError:
            pass
        else:
            raise Broken("a channel's name that is not allowed was taken")
        if session.next_effect() is not None or before != (
            *(session.channels(), session.state, session.stats.bytes_sent),
        ):
            raise Broken("wrong use changed something")

    # Invariants

    def watch(self, device: Device) -> None:
        """Check a drained session: unless it is at rest, something must be able to wake it."""
        session = device.session
        now = None if self._was_stalled else self.weather.world.now
        self._was_stalled = not device.pulls
        if len(self._times) < len(device.events):
            self._times += [now] * (len(device.events) - len(self._times))
        if session.next_deadline() is None and session.state in _TRYING:
            raise Broken(f"{session.state} and nothing will ever happen")
        if wrong := self.outgoing.look():
            raise Broken(wrong)

    def look(self) -> None:
        """Check every new event, and the pending calls of the application."""
        device = self.device
        device.effects.clear()
        device.asked[:] = [one for one in device.asked if one[0] in device.hanging]
        out = [details.channel for _, details in device.asked]
        if len(out) != len(set(out)):
            raise Broken(f"more than one call is out for a channel: {out}")
        times, self._times = self._times, []
        for event, at in zip(self.device.take(), times, strict=True):
            if isinstance(event, Subscribed):
                self.joined_at[event.channel] = self.weather.world.now if at is None else at
            self.receive(event)
            if (wrong := self.gaps.take(event, at, self.weather.published)) is not None:
                raise Broken(wrong)
            if wrong := self.reader.take(event):
                raise Broken(wrong)
        failure = self.device.session.failure
        if failure is not None:
            self.judge(failure)
            self.device.connect()  # as a person would

    def judge(self, failure: ConnectionFailed) -> None:
        """Check that only the application ends a client that was connected. After an immediate 4009 it never was."""
        connections = self.device.session.stats.connections - (failure.code == 4009)
        if connections > 0 and "disconnected by the app" not in failure.reason:
            raise Broken(f"a client that was connected has given up: {failure}")

    def receive(self, event: Event) -> None:
        """Check the invariants of an event: while a connection lives nothing is lost, repeated or out of order."""
        match event:
            case ConnectionLost() | ConnectionEstablished():
                if self.weather.calm:
                    raise Broken(f"in calm weather: {event}")
                self.expected.clear()
                self.unanswered.clear()
            case Unsubscribed():
                self.expected.pop(event.channel, None)
                # The `Subscribed` before it may have been read late, after `leave`.
                self.was_in.discard(event.channel)
            case SubscriptionFailed():
                self.unanswered.add(event.channel)
            case Subscribed():
                self.unanswered.discard(event.channel)
                # A cluster makes a client leave a channel and join it again, which is reported as a gap.
                # So does a refresh of the members.
                again = event.channel.startswith("presence-") or self.weather.cluster
                again = again and event.offline_for is not None
                if event.channel in self.expected and not again:
                    raise Broken(f"{event.channel} was subscribed twice")
                self.expected[event.channel] = -1
                self.was_in |= {event.channel} & self.wanted
            case SignedIn():
                self.was_signed_in = True
            case DecryptionFailed():  # reported, so not lost silently
                if event.channel in self.expected:
                    self.expected[event.channel] = -1
            case ChannelEvent() if event.name == "count" and not event.cached:
                self.count(event.channel, event.data["n"])

    def count(self, channel: str, number: int) -> None:
        """Check one of the numbered events."""
        expected = self.expected.get(channel)
        if expected is None:
            if channel in self.wanted - self.was_in or channel in self.unanswered:
                return  # no gap has to be reported before it, or none could be in time
            raise Broken(f"{channel} gave an event while it was not subscribed")
        if not self.may_follow(channel, number):
            raise Broken(f"{channel} gave {number} where {expected} was due")
        self.expected[channel] = number + 1

    def may_follow(self, channel: str, number: int) -> bool:
        """Return whether `number` is the next one, or all events before it were published while a cluster may send
        nothing."""
        expected = self.expected[channel]
        if expected in (-1, number):
            return True
        deaf_until = self.joined_at[channel] + _DEAF_FOR
        missing = self.weather.published[channel][expected:number]
        return self.weather.cluster and number > expected and max(missing) <= deaf_until

    def options_of(self) -> dict[str, Any]:
        """Return a description that distinguishes this application in the report of a failure."""
        return {"number": self.number, "source": self.source, "wanted": sorted(self.wanted)}
