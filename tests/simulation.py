"""A world in memory under a virtual clock: sessions, the server machine, and a network between them.

Seconds cost microseconds, and the same seed gives the same run. A test acts (`device.session.subscribe(...)`,
`world.server.drop(...)`), lets time pass with `world.run(...)`, and compares what happened.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pusher_proto import (
    Authorize,
    AuthRequest,
    AuthResponse,
    CallApplication,
    CancelCall,
    CloseTransport,
    ConnectionUnsafe,
    Event,
    OpenTransport,
    Options,
    OwnKey,
    SendData,
    Session,
)
from pusher_proto.recording import LIMIT, RecordingSession
from pusher_proto.testing import DEMO_APP, App, Server, ServerClose, ServerOptions, ServerSend

HOST = "pusher.test"


@dataclass
class Network:
    """The network. Times are in seconds; each may be changed while the world runs."""

    latency: float = 0.01
    chunk: int | None = None
    """The largest piece that arrives at once; None delivers what was sent as it was sent."""
    refuse: bool = False
    """New connections are refused."""
    swallow_opens: bool = False
    """New connections are neither accepted nor refused."""
    bad_certificate: int | None = None
    """OpenSSL's number of what is wrong with the certificate that new connections are shown."""
    blackhole: bool = False
    """Nothing arrives any longer, in either direction, and neither side is notified."""


@dataclass
class Wire:
    """One connection: a transport of a device, and a number at the server."""

    device: Device
    transport: int
    connection: int
    open: bool = False
    dead: bool = False
    """It carries nothing any longer, and the device has not been notified."""
    loses_requests: bool = False
    """Whether data that the device sends is lost from now on, without notice."""
    loses_answers: bool = False
    """Whether data that the server sends is lost from now on, without notice."""
    ended: bool = False
    left: int | None = None
    """Bytes, in either direction, after which the connection is reset; None: it is not."""
    arrivals: dict[str, float] = field(default_factory=dict)
    """When the last bytes of each direction arrive."""


@dataclass
class Device:
    """A driver in memory: carries out effects, and keeps the events for the test."""

    world: World
    session: Session
    authorizer: Callable[[AuthRequest], AuthResponse | BaseException | None] | None = None
    events: list[Event] = field(default_factory=list)
    effects: list[Any] = field(default_factory=list)
    wires: dict[int, Wire] = field(default_factory=dict)
    pulls: bool = True
    """Whether the application takes events; a stalled one does not."""
    unread: dict[int, list[bytes]] = field(default_factory=dict)
    asked: list[tuple[int, AuthRequest]] = field(default_factory=list)
    hanging: set[int] = field(default_factory=set)
    """The calls of the authorizer that return only when they are cancelled."""
    cancelled: set[int] = field(default_factory=set)
    """The calls that the session cancelled."""
    stubborn: bool = False
    """Whether hanging calls continue when they are cancelled, as plain functions do in their threads."""
    thinks: float = 0.0
    """Seconds that the authorizer takes."""
    calls_take: float = 0.0
    """Seconds that other functions of the application take."""
    calls_hang: bool = False
    """Whether they return only when they are cancelled."""
    watch: Callable[[Device], None] | None = None
    """Called whenever the session was drained, to look whether all is well."""

    def do(self, command: Callable[..., None], *args: Any, **kw: Any) -> None:
        """Give a command to the session, and carry out its effects."""
        command(*args, now=self.world.now, **kw)
        self.pump()

    def connect(self) -> None:
        self.do(self.session.connect)

    def subscribe(self, *channels: str, **kw: Any) -> None:
        for channel in channels:
            self.do(self.session.subscribe, channel, **kw)

    def unsubscribe(self, channel: str) -> None:
        self.do(self.session.unsubscribe, channel)

    def trigger(self, channel: str, event: str, data: Any) -> None:
        self.do(self.session.trigger, channel, event, data)

    def close(self) -> None:
        self.do(self.session.close)

    def of(self, kind: type[Event]) -> list[Any]:
        """Return the events of one class so far, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def take(self) -> list[Event]:
        """Return and clear the events so far."""
        taken, self.events = self.events, []
        return taken

    def pump(self) -> None:
        """Carry out all effects, take the events, and read what reading was stopped for."""
        session = self.session
        while True:
            while (effect := session.next_effect()) is not None:
                self.effects.append(effect)
                self.world.carry_out(self, effect)
            if self.pulls and session.events:
                while (event := session.next_event(now=self.world.now)) is not None:
                    self.events.append(event)
            if not self.unread or not self._read():
                break
        if self.watch is not None:
            self.watch(self)

    def _read(self) -> bool:
        for transport, waiting in list(self.unread.items()):
            while waiting and self.session.wants_data(transport):
                self.session.receive_data(transport, waiting.pop(0), now=self.world.now)
                return True
            if not waiting:
                del self.unread[transport]
                if transport in self.wires:
                    self.world.drained(self.wires[transport])
        return False


class World:
    """The clock, the queue of what happens next, and everybody in it."""

    def __init__(
        self,
        seed: int = 0,
        server: Server | None = None,
        *,
        apps: Sequence[App] = (DEMO_APP,),
        **options: Any,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.epoch = 1_700_000_000.0
        """The time of the wall clock at the time 0."""
        self.network = Network()
        self.server = server or Server(apps, ServerOptions(**options), rng=random.Random(seed))
        self.app = apps[0]
        self.drops: Callable[[Wire, bytes], bool] = lambda *_: False
        """Says which data the server drops instead of sending it."""
        self.drained: Callable[[Wire], object] = lambda _: None
        """Called when a device has read all that it had left unread."""
        self.devices: list[Device] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._connections = 0
        self._by_connection: dict[int, Wire] = {}

    def options(self, **more: Any) -> Options:
        """Return options for the world's server, with the app's own key unless `auth` is given."""
        more.setdefault("auth", self.own_key())
        return Options.from_host(HOST, key=self.app.key, tls=False, **more)

    def own_key(self, **more: Any) -> OwnKey:
        """Return the app's own key, with the master key that it had at first."""
        app = self.app
        return OwnKey(app.key, app.secret, master_key=app.encryption_master_key, **more)

    def authorization(self, request: AuthRequest, **more: Any) -> AuthResponse:
        """Return the authorization that the application gives now, with the current secrets."""
        app = self.server._realm(None).app
        return OwnKey(
            app.key, app.secret, master_key=app.encryption_master_key, **more
        ).authorization(request)

    def device(
        self,
        options: Options | None = None,
        *,
        connect: bool = True,
        record: Callable[[str], object] | None = None,
        **kw: Any,
    ) -> Device:
        """Return a new device, which begins to connect. `record` is given its session's inputs, line by line."""
        options = options or self.options()
        seed: Any = self.rng.random()
        if record is None:
            session = Session(
                options, rng=random.Random(seed), wall_clock=lambda: self.now + self.epoch
            )
        else:
            session = RecordingSession(options, record, seed, LIMIT, authorize_many=False)
        device = Device(self, session, **kw)
        self.devices.append(device)
        if connect:
            device.connect()
        return device

    def connected(self, options: Options | None = None, **kw: Any) -> Device:
        """Return a device that is connected, its events so far taken."""
        device = self.device(options, **kw)
        self.run(1)
        assert device.session.socket_id is not None
        device.take()
        return device

    def run(self, seconds: float) -> None:
        """Let time pass: deliver, and fire every deadline when it has come."""
        end = self.now + seconds
        while (at := self._next()) <= end:
            self.now = max(self.now, at)
            self._step()
        self.now = end

    def run_until(self, condition: Callable[[], object], limit: float = 600.0) -> float:
        """Let time pass until `condition` holds; return the seconds it took."""
        began = self.now
        while not condition():
            at = self._next()
            if at > began + limit:
                raise AssertionError(f"it did not happen within {limit:g} s")
            self.now = max(self.now, at)
            self._step()
        return self.now - began

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Let `action` happen after `delay` seconds."""
        self._order += 1
        heapq.heappush(self._queue, (self.now + delay, self._order, action))

    def _next(self) -> float:
        earliest = self._queue[0][0] if self._queue else float("inf")
        due = self.server.next_deadline()
        if due is not None and due < earliest:
            earliest = due
        for device in self.devices:
            due = device.session.next_deadline()
            if due is not None and due < earliest:
                earliest = due
        return earliest

    def _step(self) -> None:
        """Deliver what is due before firing timers, as a driver does that reads first."""
        if self._queue and self._queue[0][0] <= self.now:
            while self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
            self.flush()
            return  # what is due has its turn in the next step
        due = self.server.next_deadline()
        if due is not None and due <= self.now:
            self.server.handle_timeout(now=self.now)
            self.flush()
        for device in self.devices:
            deadline = device.session.next_deadline()
            if deadline is not None and deadline <= self.now:
                device.do(device.session.handle_timeout)

    # Controls

    def publish(self, channels: str | list[str], event: str, data: Any, **kw: Any) -> None:
        """Publish through the server, and let it arrive."""
        self.server.publish(channels, event, data, now=self.now, **kw)
        self.flush()
        self.run(2 * self.network.latency)

    def act(self, control: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """Use a control of the server and carry out what follows."""
        result = control(*args, now=self.now, **kw)
        self.flush()
        return result

    def say(self, event: str, data: Any = None, channel: str | None = None, **more: Any) -> None:
        """Let the server send everybody a message of the test's making, and let it arrive.

        `data` is in it as it is given, or left out when None.
        """
        fields: dict[str, Any] = {"event": event}
        fields |= {} if channel is None else {"channel": channel}
        fields |= {} if data is None else {"data": data}
        self.act(self.server.send_raw, None, json.dumps(fields | more))
        self.run(2 * self.network.latency)

    def heard(self) -> list[tuple[str, str | None]]:
        """Return and clear event and channel of each message that clients sent."""
        heard = [(message.event, message.channel) for message in self.server.received]
        self.server.received.clear()
        return heard

    def reset(self, device: Device) -> None:
        """End all connections of a device as a reset of the network would: both sides get it at once."""
        for wire in list(device.wires.values()):
            self._end(wire, "connection reset")

    def cut(self, device: Device, after: int) -> None:
        """Reset all connections of a device once so many more bytes have gone over each."""
        for wire in device.wires.values():
            wire.left = after

    def sever(self, device: Device) -> None:
        """Cut all links of a device without telling it: half-open, as after a reboot of a router."""
        for wire in device.wires.values():
            wire.dead = True
            if self._by_connection.pop(wire.connection, None) is not None:
                self.server.connection_closed(wire.connection, now=self.now)
        self.flush()

    # The network

    def carry_out(self, device: Device, effect: Any) -> None:
        match effect:
            case OpenTransport():
                self._connections += 1
                wire = Wire(device, effect.transport, self._connections)
                device.wires[effect.transport] = wire
                self.at(self.network.latency, lambda: self._opened(wire))
            case SendData():
                wire = device.wires[effect.transport]
                device.session.data_sent(effect.transport, len(effect.data), now=self.now)
                self._deliver(wire, effect.data, self._to_server)
            case CloseTransport():
                wire = device.wires.get(effect.transport)  # type: ignore[assignment]  # may be gone
                if wire is not None:
                    delay = 0 if effect.abort else self._after_all(wire)
                    self.at(delay, partial(self._end, wire, None))
            case CallApplication():
                self._call(device, effect)
            case CancelCall():
                device.cancelled.add(effect.request)
                if effect.request in device.hanging and not device.stubborn:
                    device.hanging.discard(effect.request)
                    self.at(self.network.latency, lambda: self._cancelled(device, effect.request))
            case Authorize():
                device.asked.append((effect.request, effect.details))
                if device.authorizer is not None:
                    delay = self.network.latency + device.thinks
                    self.at(delay, lambda: self._authorize(device, effect))

    def flush(self) -> None:
        """Carry out what the server wants."""
        while (effect := self.server.next_effect()) is not None:
            wire = self._by_connection.get(effect.connection)
            if wire is None:
                continue
            if isinstance(effect, ServerSend):
                if self.drops(wire, effect.data):
                    continue
                self._deliver(wire, effect.data, self._to_device)
            elif isinstance(effect, ServerClose):
                del self._by_connection[effect.connection]
                self.at(self._after_all(wire), partial(self._end, wire, ""))

    def _deliver(self, wire: Wire, data: bytes, arrive: Callable[[Wire, bytes], None]) -> None:
        """Let `data` arrive, after everything sent before: bytes of one connection never overtake each other."""
        size = self.network.chunk or len(data)
        way, key = wire.arrivals, arrive.__name__
        way[key] = at = max(way.get(key, 0.0), self.now + self.network.latency)
        if len(data) <= size:
            self.at(at - self.now, partial(arrive, wire, data))
        else:
            self.at(at - self.now, partial(self._arrive, wire, data, size, arrive))

    def _arrive(
        self, wire: Wire, data: bytes, size: int, arrive: Callable[[Wire, bytes], None]
    ) -> None:
        """Let pieces of at most `size` bytes arrive at the same time, one after the other."""
        for start in range(0, len(data), size):
            arrive(wire, data[start : start + size])

    def _after_all(self, wire: Wire) -> float:
        """Return the delay after which an end is seen: not before what was sent has arrived."""
        return max([self.network.latency, *(at - self.now for at in wire.arrivals.values())])

    def _opened(self, wire: Wire) -> None:
        if wire.ended or self.network.swallow_opens:
            return
        if self.network.refuse:
            self._end(wire, "connection refused")
            return
        if self.network.bad_certificate is not None:
            code = self.network.bad_certificate
            self._end(wire, ConnectionUnsafe("the certificate is invalid", verify_code=code))
            return
        wire.open = True
        self._by_connection[wire.connection] = wire
        self.server.connection_opened(wire.connection, now=self.now)
        wire.device.do(wire.device.session.transport_opened, wire.transport)
        self.flush()

    def _to_server(self, wire: Wire, data: bytes) -> None:
        if not wire.loses_requests and (data := self._through(wire, data)):
            self.server.receive_data(wire.connection, data, now=self.now)
            self.flush()

    def _to_device(self, wire: Wire, data: bytes) -> None:
        device, data = wire.device, self._through(wire, data)
        if not data or wire.loses_answers:
            return
        if wire.transport in device.unread or not device.session.wants_data(wire.transport):
            device.unread.setdefault(wire.transport, []).append(data)
        else:
            device.session.receive_data(wire.transport, data, now=self.now)
            device.pump()

    def _through(self, wire: Wire, data: bytes) -> bytes:
        """Return what of it arrives."""
        if wire.ended or wire.dead or self.network.blackhole:
            return b""
        if wire.left is not None:
            data = data[: wire.left]
            wire.left -= len(data)
            if not wire.left:
                self.at(0, partial(self._end, wire, "connection reset"))
        return data

    def _end(self, wire: Wire, error: BaseException | str | None) -> None:
        if wire.ended:
            return
        wire.ended = True
        device, session = wire.device, wire.device.session
        device.wires.pop(wire.transport, None)
        for piece in device.unread.pop(
            wire.transport, ()
        ):  # received data is read before the end is seen
            session.receive_data(wire.transport, piece, now=self.now)
        if self._by_connection.pop(wire.connection, None) is not None:
            self.server.connection_closed(wire.connection, now=self.now)
        answer = session.transport_closed if wire.open else session.transport_failed
        device.do(answer, wire.transport, error or "")
        self.flush()

    def _call(self, device: Device, effect: CallApplication) -> None:
        if device.calls_hang:
            device.hanging.add(effect.request)
        elif device.calls_take:  # what it returns was true a moment ago
            self.at(device.calls_take / 2, lambda: self._do(device, effect, device.calls_take / 2))
        else:
            self._do(device, effect, 0.0)

    def _do(self, device: Device, effect: CallApplication, delay: float) -> None:
        result: object
        try:
            result = effect.function()
        except Exception as error:
            result = error
        self.at(delay, lambda: device.do(device.session.call_ended, effect.request, result))

    def _cancelled(self, device: Device, request: int) -> None:
        device.do(device.session.call_ended, request, TimeoutError("cancelled"))

    def release(self, device: Device) -> None:
        """Let the calls that hang return at last, with an error."""
        while device.hanging:
            self._cancelled(device, device.hanging.pop())

    def _authorize(self, device: Device, effect: Authorize) -> None:
        assert device.authorizer is not None
        result = device.authorizer(effect.details)
        if isinstance(result, BaseException):
            device.do(device.session.authorization_failed, effect.request, result)
        elif result is None and effect.request in device.cancelled and not device.stubborn:
            self._cancelled(device, effect.request)
        elif result is None:
            device.hanging.add(effect.request)
        else:
            device.do(device.session.authorized, effect.request, result)
