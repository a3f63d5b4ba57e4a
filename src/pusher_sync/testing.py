"""A server and blocking clients in memory, under a clock that runs only while a test waits: for tests without sockets.

`World.open_pusher` replaces `pusher_sync.open_pusher`: the same client, with another network and another clock.
An hour of silence costs milliseconds, nothing depends on the load of the machine, and every run is the same.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import count
from math import inf
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from pusher_proto import Event, OnProgress, Options, PusherTimeout, Session
from pusher_proto.client import HandlerErrors, Setup
from pusher_proto.driving import Driver, SSLContext, Wire, call_plain
from pusher_proto.testing import Server, ServerClose, ServerRequest, ServerSend
from pusher_proto.testing.expectations import Expectations
from pusher_proto.testing.running import Controls

from ._client import Authorizer, Client
from ._io import Connect, ConnectMessages

__all__ = ["World"]

R = TypeVar("R")

PATIENCE = 3600.0
"""Virtual seconds after which a wait without a timeout raises `PusherTimeout`: with a real clock it would never end."""


class _Line:
    """One connection: a wire of a client, and a number at the server."""

    def __init__(self, io: _Memory, wire: Wire, number: int) -> None:
        self.io = io
        self.wire = wire
        self.number = number
        self.dead = False
        """Whether the network carries nothing, without the client's knowledge."""
        self.busy = False
        """Whether `World._attend` is moving its bytes."""
        self.held: deque[bytes | None] = deque()
        """Data that arrived while the client did not read; None is the end of the stream."""


class _Memory:
    """The I/O of one client in a `World`."""

    stopping = False
    must_not_wait = False

    def __init__(self, world: World) -> None:
        self.guard: AbstractContextManager[object] = nullcontext()
        self.error: BaseException | None = None
        self.ring = inf
        self.lines: dict[int, _Line] = {}
        self._world = world

    # For the client

    @property
    def over(self) -> bool:
        return self.error is not None or self.driver.session.closed

    def start(
        self,
        driver: Driver,
        ended: Callable[[], None],
        released: Callable[[], None],  # noqa: ARG002 - in memory nothing has to be released
    ) -> None:
        self.driver = driver
        self._ended = ended

    def wake(self) -> None:
        self.driver.settle()

    def stop(self) -> None:
        self.driver.close()

    def fail(self, error: BaseException) -> None:
        self.error = self.error or error
        self._ended()

    def join(self) -> None:
        """Nothing is left to release."""

    def sleeper(self) -> tuple[Callable[[], object], Callable[[float], bool]]:
        woken: list[bool] = []
        return partial(woken.append, True), partial(self._sleep, woken)

    def _sleep(self, woken: list[bool], seconds: float) -> bool:
        limit = self._world.now + min(seconds, PATIENCE)
        while not woken and self._world._step(limit):
            pass
        if not woken and seconds == inf:
            raise PusherTimeout(
                f"nothing arrived within {PATIENCE:g} s of virtual time: with a real clock this would wait forever"
            )
        return bool(woken)

    # For the driver

    def time(self) -> float:
        return self._world.now

    def open(self, wire: Wire) -> None:
        self._world._open(self, wire)

    def attend(self, wire: Wire) -> None:
        line = self.lines.get(wire.number)
        if line is not None:
            self._world._attend(line)

    def ring_at(self, at: float) -> None:
        self.ring = at

    def call(
        self, function: Callable[[Any], object], argument: object, done: Callable[[object], None]
    ) -> Callable[[], None]:
        self._world._at(self._world.latency, lambda: done(call_plain(function, argument)))
        return lambda: None


class World(Controls, Expectations):
    """A server, its clients, the network between them and the time. Use it in one thread only.

    `server` is the machine, by default one with the demonstration app. `seed` decides all random choices. `latency` is
    the seconds that bytes take to arrive. Clients reach the server under any host. A world has all controls of a
    running server. Time passes in `run`, in every wait of a client, and in every expectation.
    """

    def __init__(
        self, server: Server | None = None, *, seed: int = 0, latency: float = 0.01
    ) -> None:
        self.server: Server = server or Server(rng=random.Random(seed))  # noqa: S311 - no cryptography
        self.host: str = "pusher.test"
        self.port: int = 80
        self.tls: bool = False
        self.now: float = 1000.0
        self.latency = latency
        self.webhook_status: int | None = 200
        """The status of the answer to each webhook, or None for no answer."""
        self._online = True
        self._rng = random.Random(seed)  # noqa: S311 - the same in each run
        self._clients: WeakValueDictionary[int, Client] = WeakValueDictionary()
        self._ios: list[_Memory] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._numbers = count(1)
        self._lines: dict[int, _Line] = {}

    def open_pusher(
        self,
        options: Options | None = None,
        *,
        authorizer: Authorizer | None = None,
        ssl_context: SSLContext | None = None,  # noqa: ARG002 - as the real one
        connect: Connect | None = None,  # noqa: ARG002 - as the real one
        connect_messages: ConnectMessages | None = None,  # noqa: ARG002 - as the real one
        on_handler_error: HandlerErrors = "log",
        record: object = None,  # noqa: ARG002 - as the real one
        on_event: Callable[[Event], object] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Client:
        """Open a client, as `pusher_sync.open_pusher` does.

        `options` are by default those of the world's server. `ssl_context`, `connect`, `connect_messages` and `record`
        are accepted, and have no effect.
        """
        rng = random.Random(self._rng.random())  # noqa: S311 - the same in each run
        many = hasattr(authorizer, "authorize_many")
        options = options if options is not None else self.options()
        session = Session(options, rng=rng, authorize_many=many)
        io = _Memory(self)
        setup = Setup(
            options=options,
            authorizer=authorizer,
            on_handler_error=on_handler_error,
            on_event=on_event,
            on_progress=on_progress,
            tls=False,
        )
        client = Client(session, io, setup)
        self._ios.append(io)
        self._clients[next(self._order)] = client
        if client.options.auto_connect:
            client.connect()
        return client

    @property
    def online(self) -> bool:
        """Whether there is a network.

        Setting it to False kills all connections without notice to the clients, as when a router loses its line; the
        server forgets them. New connections are neither accepted nor refused until it is True again.
        """
        return self._online

    @online.setter
    def online(self, online: bool) -> None:
        self._online = online
        if not online:
            for number, line in list(self._lines.items()):
                line.dead = True
                self._hang_up(number)

    def do(self, action: Callable[[Server, float], R]) -> R:
        """Call `action(server, now)`, and send the bytes that result."""
        try:
            return action(self.server, self.now)
        finally:
            self._flush()

    def run(self, seconds: float = 1.0) -> None:
        """Let time pass, and call the handlers of all clients when their events arrive."""
        end = self.now + seconds
        going = True
        while going:
            self._call_handlers()
            going = self._step(end)
        self._call_handlers()

    def wait_until(self, condition: Callable[[Server], R], timeout: float = 10.0) -> R:
        """Let time pass until `condition(server)` is true, and return its result. Raises TimeoutError."""
        limit = self.now + timeout
        while not (seen := condition(self.server)):
            self._call_handlers()
            if not self._step(limit):
                raise TimeoutError(f"the condition was not met within {timeout:g} s")
        return seen

    def _call_handlers(self) -> None:
        for client in list(self._clients.values()):
            calls = client._calls
            if not calls.running:
                calls.running = True
                try:
                    while (call := calls.take()) is not None:
                        binding: Any = call[0]
                        binding._run(call[1])
                finally:
                    calls.running = False

    # Time

    def _at(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action))

    def _step(self, limit: float) -> bool:
        """Advance to the next action and run it, or to `limit` if that is earlier."""
        self._ios = [io for io in self._ios if not io.over]
        due = [self._queue[0][0]] if self._queue else []
        deadlines = [self.server.next_deadline(), *(io.ring for io in self._ios)]
        at = min([*due, *(each for each in deadlines if each is not None)], default=inf)
        if at > limit or at == inf:
            self.now = max(self.now, limit)
            return False
        self.now = max(self.now, at)
        while self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()
        self.do(lambda server, now: server.handle_timeout(now=now))
        for io in self._ios:
            if io.ring <= self.now:
                io.driver.ring(self.now)
        return True

    # The network

    def _open(self, io: _Memory, wire: Wire) -> None:
        line = io.lines[wire.number] = _Line(io, wire, next(self._numbers))
        self._at(self.latency, partial(self._opened, line))

    def _opened(self, line: _Line) -> None:
        if self._online and not line.wire.over:
            self._lines[line.number] = line
            self.do(lambda server, now: server.connection_opened(line.number, now=now))
            line.wire.opened()

    def _attend(self, line: _Line) -> None:
        """Carry the outgoing bytes of a wire, and hand it the bytes that have arrived."""
        wire = line.wire
        if line.busy:
            return
        line.busy = True
        while (data := wire.to_write()) or (line.held and wire.wants_data):
            if data:
                self._at(self.latency, partial(self._to_server, line, data))
                wire.written(len(data))
            elif (received := line.held.popleft()) is not None:
                wire.received(received)
            else:
                wire.eof()
        line.busy = False
        if wire.over and wire.number in line.io.lines:
            del line.io.lines[wire.number]
            self._at(self.latency, partial(self._hang_up, line.number))

    def _to_server(self, line: _Line, data: bytes) -> None:
        if not line.dead and line.number in self._lines:
            self.do(lambda server, now: server.receive_data(line.number, data, now=now))

    def _to_client(self, line: _Line, data: bytes | None) -> None:
        if not (line.dead or line.wire.over):
            line.held.append(data)
            line.io.driver.settle()

    def _hang_up(self, number: int) -> None:
        if self._lines.pop(number, None) is not None:
            self.do(lambda server, now: server.connection_closed(number, now=now))

    def _flush(self) -> None:
        while (effect := self.server.next_effect()) is not None:
            if isinstance(effect, ServerRequest):
                self._at(2 * self.latency, partial(self._webhook_answered, effect.request))
                continue
            line = self._lines.get(effect.connection)
            if line is None:
                continue
            match effect:
                case ServerSend():
                    self._at(self.latency, partial(self._to_client, line, effect.data))
                case ServerClose():
                    del self._lines[effect.connection]
                    self._at(self.latency, partial(self._to_client, line, None))

    def _webhook_answered(self, request: int) -> None:
        status = self.webhook_status
        self.do(lambda server, now: server.request_answered(request, status, now=now))
