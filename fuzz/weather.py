"""Years of bad weather in minutes: clients, the server machine and a faulty network under a virtual clock.

`python -m fuzz.weather --hours H --seed S` simulates H connection-hours. Everything happens at random and is decided by
the seed: latency, chunking, connections lost at any byte, half-open links, refused ones, slow and wrong grants,
restarts, key rotation, members who come and go, applications that subscribe, leave, stall and trigger.

What must hold always, and what after a quiet period, is in `App.receive` and `Weather.check`. A failure names its seed;
the same seed fails again.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pusher_proto import (
    AuthEndpoint,
    AuthRequest,
    ChannelEvent,
    ChannelState,
    ConnectionEstablished,
    ConnectionLost,
    ConnectionState,
    Event,
    Grant,
    Options,
    OwnKey,
    PusherError,
    Subscribed,
    Unsubscribed,
)
from pusher_proto.signing import shared_secret, sign_channel
from pusher_proto.testing import DEMO_APP
from simulation import World

__all__ = ["Broken", "Weather", "main"]

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
BACK_WITHIN = 120.0
"""Seconds after the network is whole within which every client must be back: a dead link is noticed (activity and
pong), and three delays at their cap pass."""


class Broken(AssertionError):
    """An invariant does not hold."""


class App:
    """One application with its client, and what it has seen."""

    def __init__(self, weather: Weather, number: int) -> None:
        rng = weather.rng
        self.weather = weather
        self.member = {"user_id": f"user-{number % 4}", "user_info": {"n": number}}
        source = rng.choice(("own key", "endpoint", "application"))
        self.device = weather.world.device(
            weather.options(source, self.member), authorizer=self.authorize, connect=False
        )
        self.wanted: set[str] = set()
        self.expected: dict[str, int] = {}
        self.device.connect()

    def authorize(self, request: AuthRequest) -> Grant | BaseException | None:
        """Answer as applications do: mostly right, sometimes not at all, or by raising."""
        chance = self.weather.rng.random()
        if self.weather.storm and chance < 0.1:
            return None
        if self.weather.storm and chance < 0.2:
            return TimeoutError("the database is slow")
        channel, app = request.channel or "", self.weather.world.app
        data = None
        if channel.startswith("presence-"):
            data = json.dumps({"user_id": self.member["user_id"]})
        secret = None
        if channel.startswith("private-encrypted-"):
            secret = shared_secret(channel, self.weather.master_key)
        return Grant(
            sign_channel(app.key, app.secret, request.socket_id, channel, data), data, secret
        )

    def act(self) -> None:
        """Do one thing that an application may do."""
        device, rng = self.device, self.weather.rng
        channel = rng.choice(CHANNELS)
        match rng.choice(
            (
                "subscribe",
                "subscribe",
                "unsubscribe",
                "flap",
                "trigger",
                "stall",
                "reconnect",
                "ping",
            )
        ):
            case "subscribe":
                self.wanted.add(channel)
                device.subscribe(channel)
            case "unsubscribe":
                self.leave(channel)
            case "flap":
                for _ in range(rng.randrange(1, 4)):
                    self.wanted.add(channel)
                    device.subscribe(channel)
                    self.leave(channel)
            case "trigger":
                try:
                    device.trigger(rng.choice(("private-a", "presence-room")), "client-hello", {})
                except PusherError:
                    pass  # not subscribed now, or too much waits
            case "stall":
                device.pulls = not device.pulls
                device.pump()
            case "reconnect":
                device.do(device.session.disconnect)
                device.connect()
            case "ping":
                device.do(device.session.ping)
        self.look()

    def leave(self, channel: str) -> None:
        """Unsubscribe; from now on nothing of the channel may come out of the session, but what waits in its queue."""
        self.wanted.discard(channel)
        self.device.unsubscribe(channel)

    def look(self) -> None:
        """Check every event that has come."""
        for event in self.device.take():
            self.receive(event)

    def receive(self, event: Event) -> None:
        """What must hold always: nothing lost, nothing twice and nothing out of order while a connection lives."""
        match event:
            case ConnectionLost() | ConnectionEstablished():
                self.expected.clear()
            case Unsubscribed():
                self.expected.pop(event.channel, None)
                self.weather.left[self, event.channel] += 1
            case Subscribed():
                self.expected[event.channel] = -1
            case ChannelEvent() if event.name == "count" and not event.cached:
                expected = self.expected.get(event.channel)
                if expected is None:
                    raise Broken(f"{event.channel} gave an event while it was not subscribed")
                number = event.data["n"]
                if expected not in (-1, number):
                    raise Broken(f"{event.channel} gave {number} where {expected} was due")
                self.expected[event.channel] = number + 1


class Weather:
    """One world and its weather."""

    def __init__(self, seed: int, clients: int = 6) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.world = World(seed)
        self.master_key = DEMO_APP.encryption_master_key or b""
        self.storm = False
        self.counts: Counter[str] = Counter()
        self.left: Counter[tuple[App, str]] = Counter()
        self.done: Counter[str] = Counter()
        self.apps = [App(self, number) for number in range(clients)]
        self.hours = 0.0

    def options(self, source: str, member: dict[str, Any]) -> Options:
        """Return options with one of the ways to get a grant, and times that make weather matter."""
        auth: Any = None
        if source == "own key":
            auth = OwnKey(DEMO_APP.key, DEMO_APP.secret, member=member, master_key=self.master_key)
        elif source == "endpoint":
            auth = AuthEndpoint("http://pusher.test/pusher/auth")
        return Options.from_host(
            "pusher.test",
            key=DEMO_APP.key,
            tls=False,
            auth=auth,
            activity_timeout=60.0,
            pong_timeout=15.0,
            event_queue=50,
        )

    def run(self, hours: float) -> None:
        """Alternate storms and quiet periods until `hours` connection-hours are over; check after each."""
        while self.hours < hours:
            began = self.world.now
            self.storm = True
            for _ in range(self.rng.randrange(5, 40)):
                self.rng.choice(self.perils)()
                self.world.run(self.rng.expovariate(1 / 20))
                for app in self.apps:
                    app.look()
            self.clear_up()
            self.check()
            self.world.run(self.rng.uniform(0, 3600))  # the long hours in which nothing happens
            self.check()
            self.hours += (self.world.now - began) / 3600 * len(self.apps)

    @property
    def perils(self) -> Sequence[Callable[[], None]]:
        """What may happen in a storm."""
        return (
            *(app.act for app in self.apps),
            self.publish,
            self.publish,
            self.publish,
            self.lose,
            self.cut,
            self.restart,
            self.refuse,
            self.blackhole,
            self.change_network,
            self.mute,
            self.wrong_grants,
            self.slow,
        )

    def publish(self) -> None:
        """Publish a few numbered events."""
        self.done["published"] += 1
        for _ in range(self.rng.randrange(1, 8)):
            channel = self.rng.choice(CHANNELS)
            self.world.act(self.world.server.publish, channel, "count", {"n": self.counts[channel]})
            self.counts[channel] += 1

    def lose(self) -> None:
        """The server ends one connection, or all, by some code or by none."""
        self.done["dropped"] += 1
        code = self.rng.choice((None, None, 1000, 1001, 1011, 4100, 4200, 4201))
        numbers = list(self.world.server.connections)
        which = self.rng.choice([None, *numbers])
        self.world.act(self.world.server.drop, code, connection=which)

    def cut(self) -> None:
        """A connection is reset, with bytes under way."""
        self.done["reset"] += 1
        self.world.reset(self.rng.choice(self.apps).device)

    def restart(self) -> None:
        """The server goes away for a while."""
        self.done["restarted"] += 1
        self.world.network.refuse = True
        self.world.act(self.world.server.drop)
        self.world.run(self.rng.uniform(0, 30))
        self.world.network.refuse = False

    def refuse(self) -> None:
        """New connections are answered with something else for a while."""
        self.done["refused"] += 1
        server = self.world.server
        kind = self.rng.choice(
            ({"status": 503}, {"status": 429}, {"code": 4100}, {"code": 4200}, {})
        )
        self.world.act(server.refuse, times=self.rng.randrange(1, 4), **kind)

    def blackhole(self) -> None:
        """Nothing arrives, and nobody is told."""
        self.done["blackholes"] += 1
        self.world.network.blackhole = True
        self.world.run(self.rng.uniform(0, 120))
        # What was lost meanwhile is lost for good: those connections are dead without knowing it.
        for app in self.apps:
            self.world.sever(app.device)
        self.world.network.blackhole = False

    def change_network(self) -> None:
        """Latency and chunking change."""
        self.world.network.latency = self.rng.choice((0.001, 0.02, 0.3))
        self.world.network.chunk = self.rng.choice((None, None, 1, 50, 1400))

    def mute(self) -> None:
        """The server hangs, forgetting what it should have said, and is started anew."""
        self.done["muted"] += 1
        self.world.act(self.world.server.mute)
        self.world.run(self.rng.uniform(0, 60))
        self.world.act(self.world.server.unmute)
        self.world.act(self.world.server.drop)

    def wrong_grants(self) -> None:
        """The auth endpoint answers nonsense a few times."""
        self.done["wrong grants"] += 1
        status, body = self.rng.choice(
            ((500, "{}"), (200, "<html>"), (403, "{}"), (429, ""), (200, "{}"))
        )
        self.world.act(self.world.server.auth_answer, status, body, times=self.rng.randrange(1, 5))

    def slow(self) -> None:
        """Answers take their time."""
        what = self.rng.choice(("subscribe", "greeting", "auth"))
        self.world.act(self.world.server.delay, self.rng.choice((0.0, 0.5, 5.0)), what)

    def clear_up(self) -> None:
        """The weather is over: everything works, everybody reads, and time enough passes to come back."""
        world = self.world
        self.storm = False
        world.network.latency, world.network.chunk = 0.01, None
        for undo in (world.server.unmute, world.server.allow, world.server.auth_answer):
            world.act(undo)
        world.act(world.server.delay, 0.0)
        for app in self.apps:
            app.device.pulls = True
            app.device.pump()
        world.run(BACK_WITHIN)
        for app in self.apps:
            app.look()
            session = app.device.session
            if session.state is not ConnectionState.CONNECTED:
                raise Broken(
                    f"not back after {BACK_WITHIN:g} s: {session.state}, {session.last_loss}"
                )
            for channel in app.wanted:  # refused in the storm: a person would ask again
                if session.channel(channel).state in (
                    ChannelState.REFUSED,
                    ChannelState.UNANSWERED,
                ):
                    app.device.subscribe(channel)
        world.run(30)

    def check(self) -> None:
        """What must hold after a quiet period."""
        server = self.world.server
        for app in self.apps:
            app.look()
            session = app.device.session
            socket_id = session.socket_id
            if socket_id is None or session.next_deadline() is None:
                raise Broken(f"at rest without being connected: {session.state}")
            known = {name for name in server.channels() if socket_id in server.subscriptions(name)}
            if known != app.wanted or set(session.channels()) != app.wanted:
                raise Broken(
                    f"wanted {app.wanted}, the session has {session.channels()}, the server {known}"
                )
            for name in app.wanted:
                snapshot = session.channel(name)
                if snapshot.state is not ChannelState.SUBSCRIBED:
                    raise Broken(f"{name} is {snapshot.state}: {snapshot.last_error}")
                if name.startswith("presence-") and set(snapshot.members) != set(
                    server.members(name)
                ):
                    raise Broken(
                        f"{name}: {set(snapshot.members)} is not {set(server.members(name))}"
                    )


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, and say how it went; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz.weather", description="Simulate clients in bad weather."
    )
    parser.add_argument("--hours", type=float, default=1000.0, help="connection-hours to simulate")
    parser.add_argument(
        "--seed", type=int, default=0, help="the first seed; each world takes the next"
    )
    parser.add_argument("--world", type=float, default=100.0, help="connection-hours in one world")
    arguments = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    began, hours, seed, done = time.monotonic(), 0.0, arguments.seed, Counter[str]()
    while hours < arguments.hours:
        weather = Weather(seed)
        try:
            weather.run(min(arguments.world, arguments.hours - hours))
        except Exception:
            print(
                f"broken in the world of seed {seed}: python -m fuzz.weather --seed {seed} --hours 1"
            )
            raise
        hours += weather.hours
        done += weather.done
        done["connections"] += sum(app.device.session.stats.connections for app in weather.apps)
        seed += 1
    spent = time.monotonic() - began
    rate = hours / spent * 60
    worlds = seed - arguments.seed
    print(f"{hours:.0f} connection-hours in {worlds} worlds, {spent:.1f} s: {rate:.0f} a minute")
    print(", ".join(f"{name} {count}" for name, count in sorted(done.items())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
