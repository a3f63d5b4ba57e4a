"""The simulated world and its weather: the faults, the calm after them, and the invariants that must hold then."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fuzz.application import CHANNELS, Application, Broken
from fuzz.readers import LOGS
from fuzz.watching import WatchedCluster, WatchedServer, log_frames, reachable
from pusher_proto import AuthEndpoint, ChannelState, ConnectionState, Options, OwnKey, UserState
from pusher_proto.testing import DEMO_APP, App, ServerOptions
from simulation import Wire, World

__all__ = ["BACK_WITHIN", "OTHER_KEY", "OTHER_SECRET", "TOKEN", "Step", "Weather"]

Step = tuple[str, int]
"""The name of a peril, or "quiet", and the seed of its random choices."""

BACK_WITHIN = 240.0
"""Seconds within which every client must be connected again after the last fault, without a command of its application:
noticing a dead link takes up to 135 s (activity and pong timeout), and three delays of at most 30 s follow."""
SLOW = (10.0, 30.0, 60.0)
"""The delays of the slow retries. The defaults reach an hour, which is longer than a quiet period."""
UNAUTHORIZED = "Connection not authorized within timeout."
OTHER_SECRET = "another-secret"
OTHER_KEY = bytes(reversed(range(32)))
TOKEN = "bearer-hunter2"
_SOURCES = ("own key", "endpoint", "application")
_MOST_OBJECTS = 30_000
"""The most objects that a session of these applications may refer to."""


class Weather:
    """One world and its weather. The same seed and the same steps give the same run."""

    def __init__(
        self, seed: int, clients: int = 6, *, records: bool = False, cluster: bool = False
    ) -> None:
        self.seed = seed
        self.clients = clients
        self.cluster = cluster
        """Whether the server behaves like several nodes, and the clients have `several_nodes`."""
        self.records = records
        """Whether to keep the inputs of all sessions."""
        self.rng = random.Random(seed)
        self.server = server = (WatchedCluster if cluster else WatchedServer)(
            (DEMO_APP,),
            rng=random.Random(seed),
            secrets=(DEMO_APP.secret, OTHER_SECRET),
            options=ServerOptions(
                dialect="sockudo" if cluster else "pusher",
                auth_token=TOKEN,
                activity_timeout=self.rng.choice((60, 120, 120, 120)),
            ),
        )
        self.world = World(seed, server)
        self.storm = self.calm = False
        server.arrived = self.arrived
        self.early = 0
        """Events that were sent to a new subscriber before its success."""
        # In a cluster a subscription may get no events after such an event, which nothing reports.
        if not cluster:
            server.overtakes = self.overtake
        self.counts: Counter[str] = Counter()
        """Events published on each channel."""
        self.published: defaultdict[str, list[float]] = defaultdict(list)
        """The time of each of these events."""
        self.done: Counter[str] = Counter()
        self.steps: list[Step] = []
        self.began = self.world.now
        self.apps = [
            Application(self, number, self.rng.choice(_SOURCES)) for number in range(clients)
        ]
        self.channels = (*CHANNELS, *LOGS, *(name for app in self.apps for name in app.own))
        self._full: set[int] = set()
        """The connections whose buffers at the server are full, because their clients did not read."""
        self.world.drops, self.world.drained = self.drops, self.drained

    @property
    def app(self) -> App:
        """The app with its current secrets."""
        return self.world.server._realm(None).app

    @property
    def hours(self) -> float:
        """Connection-hours so far."""
        return (self.world.now - self.began) / 3600 * len(self.apps)

    def options(self, source: str, member: dict[str, Any]) -> Options:
        """Return options with one kind of authorization, and with buffers that are small enough to fill up."""
        auth: Any = None
        if source == "own key":
            auth = OwnKey(
                DEMO_APP.key,
                DEMO_APP.secret,
                member=member,
                user={"id": member["user_id"]},
                master_key=DEMO_APP.encryption_master_key,
            )
        elif source == "endpoint":
            auth = AuthEndpoint(
                "http://pusher.test/pusher/auth",
                headers={"Authorization": f"Bearer {TOKEN}"},
                user_url="http://pusher.test/pusher/user-auth",
            )
        make = Options.from_host
        if self.cluster:
            make = partial(Options.for_sockudo, several_nodes=True, strict_names=True)
        return make(
            "pusher.test",
            key=DEMO_APP.key,
            tls=False,
            auth=auth,
            pong_timeout=15.0,
            receive_buffer=3000,
            catch_up_timeout=20.0,
            catch_up_buffer=20,
            catch_up_window=60,
            slow_retry=SLOW,
            refused_retry=SLOW,
            capacity_retry=SLOW,
            client_event_rate=self.rng.choice((None, 3, 10)),
        )

    # Time

    def run(self, hours: float) -> None:
        """Alternate storms and quiet periods until `hours` connection-hours are over."""
        plan = random.Random(self.seed)
        while self.hours < hours:
            for _ in range(plan.randrange(5, 40)):
                self.take(plan.choice(PERILS), plan.getrandbits(32))
            self.take("quiet", plan.getrandbits(32))

    def play(self, steps: Sequence[Step]) -> None:
        """Run these steps, then a quiet period."""
        for name, seed in [*steps, ("quiet", 0)]:
            self.take(name, seed)

    def take(self, name: str, seed: int) -> None:
        """Run one step. Worlds with an even seed log the frames."""
        log_frames(self.seed % 2 == 0)
        self.steps.append((name, seed))
        self.rng = random.Random(seed)
        self.storm = name != "quiet"
        self.done[name] += 1
        getattr(self, name)()
        if self.storm:
            self.world.run(self.rng.expovariate(1 / 20))
            if self.rng.random() < 0.3:
                self.publish()
        for app in self.apps:
            app.look()

    def quiet(self) -> None:
        """End all faults, then let hours pass with few events; no connection may be lost in them."""
        self.clear_up()
        self.check()
        self.calm = True
        for _ in range(self.rng.randrange(5)):
            self.publish()
            self.world.run(self.rng.uniform(0, 3600))
        self.world.run(self.rng.uniform(0, 2 * 3600))
        self.check()
        self.calm = False

    # Perils

    def act(self) -> None:
        """Let an application act; in a cluster let several act at nearly the same time."""
        for _ in range(self.rng.randrange(1, 12) if self.cluster else 1):
            self.rng.choice(self.apps).act()
            if self.cluster:
                self.world.run(self.rng.choice((0.0, 0.002, 0.1, 1.0)))

    def publish(self) -> None:
        """Publish a few numbered events."""
        for _ in range(self.rng.randrange(1, 8)):
            self.publish_on(self.rng.choice(self.channels))

    def publish_on(self, channel: str) -> None:
        """Publish one numbered event, and carry it to the clients."""
        self.world.act(partial(self.published_on, channel))

    def published_on(self, channel: str, *, now: float) -> None:
        """Publish one numbered event; the world carries it later."""
        number, event = self.counts[channel], "entry" if channel in LOGS else "count"
        self.counts[channel] += 1
        self.published[channel].append(now)
        self.server.publish(channel, event, {"n": number}, now=now)

    def arrived(self, data: dict[str, Any]) -> None:
        """Notify an application that the server received one of its client events."""
        self.apps[data["from"]].outgoing.arrived(data)

    def overtake(self, channel: str) -> None:
        """Publish an event before the server confirms a new subscription to its channel, as happens on Sockudo."""
        if self.storm and channel in self.channels and self.rng.random() < 0.05:
            self.published_on(channel, now=self.world.now)
            self.early += 1

    def drops(self, wire: Wire, data: bytes) -> bool:
        """Return whether the server drops this data: some servers drop messages for a client that does not read.

        Only entries of logs are dropped: their readers must notice that.
        """
        connector = wire.device.session._connector
        unread = connector.reading_paused and wire.transport in wire.device.unread
        if unread and self.world.now - connector._paused_at > 1.0:
            self._full.add(wire.connection)
        return wire.connection in self._full and b'"entry"' in data

    def drained(self, wire: Wire) -> None:
        """Empty the server's buffers when the client reads again."""
        self.world.at(self.world.network.latency, partial(self._full.discard, wire.connection))

    def lose(self) -> None:
        """Let the server end one connection, or all of them, with or without a close code."""
        code = self.rng.choice((None, None, 1000, 1001, 1011, 4009, 4100, 4200, 4201))
        which = self.rng.choice([None, *self.world.server.connections])
        shape = self.rng.choice(({}, {}, {"error_event": True}, {"close_frame": False}))
        self.world.act(self.world.server.drop, code, connection=which, **shape)

    def reset(self) -> None:
        """Reset the connections of a device, at once or within the next data."""
        device = self.rng.choice(self.apps).device
        if self.rng.random() < 0.3:
            self.world.reset(device)
        else:
            self.world.cut(device, self.rng.choice((1, 5, 50, 500)) * self.rng.randrange(1, 10))

    def restart(self) -> None:
        """Stop the server for a while."""
        self.world.network.refuse = True
        self.world.act(self.world.server.drop)
        self.world.run(self.rng.uniform(0, 30))
        self.world.network.refuse = False

    def refuse(self) -> None:
        """Refuse the next one to three connections, by an HTTP status, a close code or a reset."""
        kinds: list[dict[str, Any]] = [
            *({"status": status} for status in (503, 429, 403)),
            *({"code": code} for code in (4100, 4200, 4001)),
            {},
        ]
        times = self.rng.randrange(1, 4)
        self.world.act(self.world.server.refuse, times=times, **self.rng.choice(kinds))

    def blackhole(self) -> None:
        """Drop all data in both directions, without an error on either side."""
        self.world.network.blackhole = True
        self.world.run(self.rng.uniform(0, 120))
        # Data lost until now stays lost: these connections are dead, and neither side has noticed.
        for app in self.apps:
            self.world.sever(app.device)
        self.world.network.blackhole = False

    def sever(self) -> None:
        """Make the link of a device half-open: nothing arrives, and it gets no error."""
        self.world.sever(self.rng.choice(self.apps).device)

    def swallow(self) -> None:
        """Neither accept nor refuse new connections for a while."""
        self.world.network.swallow_opens = True
        self.world.run(self.rng.uniform(0, 40))
        self.world.network.swallow_opens = False

    def change_network(self) -> None:
        """Change latency and chunking."""
        # In a cluster a node may not have removed a connection yet when the next one arrives: 0 to 6 and 100 to 140 ms
        # after its end. Short latencies hit these times.
        latencies = (0.0003, 0.001, 0.03, 0.3) if self.cluster else (0.001, 0.02, 0.3)
        self.world.network.latency = self.rng.choice(latencies)
        self.world.network.chunk = self.rng.choice((None, None, 1, 50, 50, 1400, 1400))

    def mute(self) -> None:
        """Let the server hang, forget its pending answers, and start again."""
        self.world.act(self.world.server.mute)
        self.world.run(self.rng.uniform(0, 60))
        self.world.act(self.world.server.unmute)
        self.world.act(self.world.server.drop)

    def wrong_authorizations(self) -> None:
        """Let the auth endpoint give invalid answers a few times."""
        status, body = self.rng.choice(
            ((500, "{}"), (200, "<html>"), (403, "{}"), (429, ""), (200, "{}"), (302, ""))
        )
        self.world.act(self.world.server.auth_answer, status, body, times=self.rng.randrange(1, 5))

    def slow(self) -> None:
        """Delay answers of the server; answers of an auth endpoint or an authorizer may exceed their timeout."""
        self.rng.choice(self.apps).device.thinks = self.rng.choice((0.0, 1.0, 4.0, 30.0))
        what = self.rng.choice(("subscribe", "greeting", "auth", "auth", "signin"))
        seconds = self.rng.choice((0.0, 0.5, 5.0, 20.0) if what == "auth" else (0.0, 0.5, 5.0))
        self.world.act(self.world.server.delay, seconds, what)

    def rotate_key(self) -> None:
        """Change the key of encrypted channels; clients that sign locally do not know the new one."""
        keys = (DEMO_APP.encryption_master_key, OTHER_KEY)
        self.world.act(self.world.server.rotate_key, self.rng.choice(keys))

    def rotate_secret(self) -> None:
        """Change the secret of the app; clients that sign locally are refused until the old one is back."""
        secret = self.rng.choice((DEMO_APP.secret, OTHER_SECRET))
        self.world.act(self.world.server.rotate_secret, secret)

    def terminate(self) -> None:
        """Terminate the connections of a user."""
        user = f"user-{self.rng.randrange(4)}"
        self.world.act(self.world.server.terminate_user, user)

    def deploy(self) -> None:
        """Answer 4xx for a while, as the reverse proxy in front of a server during a deployment."""
        status = self.rng.choice((400, 401, 403, 404, 407, 426))
        self.world.act(self.world.server.refuse, status=status)
        self.world.act(self.world.server.drop)
        self.world.run(self.rng.uniform(0, 120))
        self.world.act(self.world.server.allow)

    def bad_certificate(self) -> None:
        """Present an invalid certificate to new connections for a while, in which some connections are lost."""
        self.world.network.bad_certificate = self.rng.choice((9, 10, 18, 20, 62))
        for app in self.apps:
            if self.rng.random() < 0.5:
                self.world.reset(app.device)
        self.world.run(self.rng.uniform(0, 120))
        self.world.network.bad_certificate = None

    def endpoint_astray(self) -> None:
        """Let the auth endpoint answer with a redirect, a page or an error for a while, and drop all connections."""
        status, body = self.rng.choice(
            ((302, ""), (200, "<html>login</html>"), (404, "no"), (419, "no"), (401, "no"))
        )
        self.world.act(self.world.server.auth_answer, status, body)
        self.world.act(self.world.server.drop)
        self.world.run(self.rng.uniform(0, 60))
        self.world.act(self.world.server.auth_answer)

    def unanswered(self) -> None:
        """Leave subscribes to a channel unanswered."""
        channel, times = self.rng.choice(self.channels), self.rng.randrange(1, 3)
        self.world.act(self.world.server.refuse_channel, channel, shape="silent", times=times)
        if self.rng.random() < 0.5:
            self.world.act(self.world.server.drop, 4200)

    def unauthorized(self) -> None:
        """End connections as not authorized in time, whether that is true or not."""
        which = self.rng.choice([None, *self.world.server.connections])
        self.world.act(self.world.server.drop, 4009, UNAUTHORIZED, which, error_event=True)

    def jump(self) -> None:
        """Let the clock jump, as if the machine had slept."""
        # A message in transit would seem to take as long as the machine sleeps.
        self.world.run(1.0)
        self.sleep(self.rng.uniform(10, 4000))

    def sleep(self, seconds: float) -> None:
        """Let the machine sleep."""
        asleep = self.world.now
        self.world.now += seconds
        self.server.slept = asleep, self.world.now

    def endpoint_fails(self) -> None:
        """Drop all connections, and let the auth endpoint answer 503 for some seconds."""
        self.world.act(self.world.server.auth_answer, 503, "")
        self.world.act(self.world.server.drop, 4200)
        self.world.run(self.rng.uniform(1, 20))
        self.world.act(self.world.server.auth_answer)

    def endpoint_hangs(self) -> None:
        """Drop all connections, and let the auth endpoint accept requests without an answer for some seconds."""
        self.world.act(self.world.server.delay, 120.0, "auth")
        self.world.act(self.world.server.drop)
        self.world.run(self.rng.uniform(1, 60))
        self.world.act(self.world.server.delay, 0.0, "auth")

    def calls_hang(self) -> None:
        """Let the authorizer of an application hang; it may continue to run after it was cancelled."""
        app = self.rng.choice(self.apps)
        app.hangs, app.device.stubborn = True, self.rng.random() < 0.5
        self.world.act(self.world.server.drop, 4200)
        self.world.run(self.rng.uniform(1, 200))
        app.hangs = False
        if self.rng.random() < 0.5:
            self.world.release(app.device)

    def fetches(self) -> None:
        """Let the function that fetches missed events take long, or hang."""
        device = self.rng.choice(self.apps).device
        device.calls_take = self.rng.choice((0.0, 0.3, 2.0, 10.0, 60.0))
        device.calls_hang, device.stubborn = self.rng.random() < 0.2, self.rng.random() < 0.5

    def entries(self) -> None:
        """Let a log grow quickly while a reader of it loses connections and stops reading for some time."""
        log, app = self.rng.choice(LOGS), self.rng.choice(self.apps)
        app.want(log)
        app.device.calls_take = self.rng.choice((0.0, 0.05, 0.5, 3.0))
        pause = self.rng.choice((0.0, 0.01, 0.05, 0.3, 1.0))
        for _ in range(self.rng.randrange(5, 80)):
            self.publish_on(log)
            self.world.run(self.rng.uniform(0, 2 * pause))
            chance = self.rng.random()
            if chance < 0.03:
                self.world.reset(app.device)
            elif chance < 0.04:
                self.world.act(self.world.server.drop, 4200)
            elif chance < 0.07:
                app.device.pulls = not app.device.pulls
                app.device.pump()

    def outboxes(self) -> None:
        """Let an application trigger client events that wait for their channel."""
        app, channel = self.rng.choice(self.apps), self.rng.choice(("private-a", "presence-room"))
        if self.rng.random() < 0.9:
            app.want(channel)
        app.outgoing.trigger(channel, self.rng, self.world.run)

    def one_way(self) -> None:
        """Let a link lose the data of one direction, without an error."""
        for wire in self.rng.choice(self.apps).device.wires.values():
            # Permanently: no TCP connection loses bytes and then delivers later ones.
            if self.rng.random() < 0.5:
                wire.loses_requests = True
            else:
                wire.loses_answers = True

    # After the storm

    def clear_up(self) -> None:
        """End all faults, let every application read, and check that all clients recover in time by themselves."""
        world, server = self.world, self.world.server
        latency = world.network.latency if self.cluster else 0.01
        world.network = replace(world.network, latency=min(latency, 0.03), chunk=None)
        for channel in self.channels:
            world.act(server.allow_channel, channel)
        for undo in (server.unmute, server.allow, server.auth_answer):
            world.act(undo)
        world.act(server.delay, 0.0)
        world.act(server.rotate_key, DEMO_APP.encryption_master_key)
        world.act(server.rotate_secret, DEMO_APP.secret)
        for app in self.apps:
            for wire in app.device.wires.values():
                wire.left = None
            app.device.pulls, app.device.thinks = True, 0.0
            app.hangs = app.device.stubborn = app.device.calls_hang = False
            app.device.calls_take = 0.0
            world.release(app.device)
            app.device.pump()
        # Pending refusals arrive, and the application sees them.
        world.run(5)
        for app in self.apps:
            app.look()
        world.run(BACK_WITHIN)
        for app in self.apps:
            app.look()
            session = app.device.session
            if session.state is not ConnectionState.CONNECTED:
                why = f"{session.state}, {session.last_loss}"
                raise Broken(f"{app.options_of()} is not back after {BACK_WITHIN:g} s: {why}")
            for channel in app.wanted:
                snapshot = session.channel(channel)
                if snapshot.state in (ChannelState.FAILED, ChannelState.TIMED_OUT):
                    if channel in app.was_in:
                        raise Broken(f"{channel} was good and was given up: {snapshot.last_error}")
                    # Refused from the start: the application asks again.
                    app.want(channel)
            if session.wants_user and session.user.state is UserState.FAILED:
                if app.was_signed_in:
                    raise Broken(f"the sign-in was good and was given up: {session.user}")
                app.device.do(session.signin)
        world.run(30)

    def check(self) -> None:
        """Check the invariants after a quiet period."""
        server = self.world.server
        online = server.users()
        for app in self.apps:
            app.look()
            session = app.device.session
            socket_id = session.socket_id
            if socket_id is None or session.next_deadline() is None:
                raise Broken(f"at rest without being connected: {session.state}")
            known = {name for name in server.channels() if socket_id in server.subscriptions(name)}
            known = {name for name in known if not name.startswith("#")}
            if known != app.wanted or set(session.channels()) != app.wanted:
                raise Broken(
                    f"wanted {app.wanted}, the session has {session.channels()}, the server {known}"
                )
            for name in app.wanted:
                self.check_channel(app, name)
            if session.wants_user and socket_id not in online.get(session.user.id or "", ()):
                raise Broken(f"{app.options_of()} is not signed in: {session.user}")
            self.check_bounds(app)
            if wrong := app.outgoing.check(self.world.now):
                raise Broken(f"{app.options_of()}: {wrong}")

    def check_channel(self, app: Application, name: str) -> None:
        """Check the invariants of a channel that an application wants."""
        snapshot = app.device.session.channel(name)
        if snapshot.state is not ChannelState.SUBSCRIBED:
            raise Broken(f"{name} is {snapshot.state}: {snapshot.last_error}")
        if name.startswith("presence-"):
            there = {user: member.info for user, member in snapshot.members.items()}
            if there != self.world.server.members(name):
                raise Broken(f"{name}: {there} is not {self.world.server.members(name)}")
        if lacks := app.reader.lacks(name) if name in LOGS else "":
            raise Broken(f"{app.options_of()}: {lacks}")
        if not app.may_follow(name, self.counts[name]):
            raise Broken(f"{name} lost the events after {app.expected[name]}")

    def check_bounds(self, app: Application) -> None:
        """Check that no request, transport, event or timer is left over from the storm."""
        device, session = app.device, app.device.session
        if (
            session._auth_requests._requests
            or device.unread
            or session.events
            or session.events.held
            or session._subscriptions._subscribing.early
        ):
            raise Broken("something is left over")
        if len(device.wires) > 1 + session.options.auth_connections:
            raise Broken(f"{len(device.wires)} connections are open")
        if len(session._timers._at) > 10:
            raise Broken(f"timers pile up: {list(session._timers._at)}")

    def check_memory(self) -> None:
        """Check at the end of a world that no session refers to too many objects."""
        for app in self.apps:
            size = reachable(app.device.session)
            if size > _MOST_OBJECTS:
                raise Broken(f"a session holds on to {size} objects")


_PERILS: list[tuple[Callable[[Weather], None], int]] = [
    (Weather.act, 12),
    (Weather.publish, 6),
    (Weather.lose, 2),
    (Weather.reset, 3),
    (Weather.restart, 1),
    (Weather.refuse, 2),
    (Weather.blackhole, 1),
    (Weather.sever, 1),
    (Weather.swallow, 1),
    (Weather.change_network, 2),
    (Weather.mute, 1),
    (Weather.wrong_authorizations, 2),
    (Weather.slow, 2),
    (Weather.rotate_key, 1),
    (Weather.rotate_secret, 1),
    (Weather.terminate, 1),
    (Weather.deploy, 1),
    (Weather.bad_certificate, 1),
    (Weather.endpoint_astray, 1),
    (Weather.unanswered, 1),
    (Weather.unauthorized, 1),
    (Weather.jump, 1),
    (Weather.one_way, 1),
    (Weather.endpoint_fails, 1),
    (Weather.endpoint_hangs, 1),
    (Weather.calls_hang, 1),
    (Weather.fetches, 2),
    (Weather.entries, 5),
    (Weather.outboxes, 4),
]
PERILS = [peril.__name__ for peril, weight in _PERILS for _ in range(weight)]
