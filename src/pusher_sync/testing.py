"""A server and blocking clients in memory, under a clock that runs only when somebody waits: for tests without sockets.

`World.open_pusher` stands in for `pusher_sync.open_pusher`: the same client, with the network and the time replaced.
An hour of silence costs milliseconds, nothing depends on the load of the machine, and every run is the same.
"""

from __future__ import annotations

import heapq
import random
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Literal, TypeVar

from pusher_proto import (
    Authorize,
    AuthorizeMany,
    CallApplication,
    CancelCall,
    CloseTransport,
    Effect,
    Event,
    OpenTransport,
    Options,
    PusherTimeout,
    SendData,
    Session,
)
from pusher_proto.client import PENDING, ClientBase, HandlerErrors, Nothing, Signal
from pusher_proto.testing import Server, ServerClose, ServerRequest, ServerSend
from pusher_proto.testing.expectations import Expectations
from pusher_proto.testing.running import Levers

from ._client import Authorizer, Client
from ._loop import Loop
from ._transport import Connect

__all__ = ["MemoryClient", "World"]

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 3600.0
"""Virtual seconds after which a wait without a timeout is given up: outside a test it would never end."""


class _Wire:
    """One connection: a transport of a client, and a number at the server."""

    def __init__(self, client: MemoryClient, transport: int, number: int) -> None:
        self.client = client
        self.transport = transport
        self.number = number
        self.open = False
        self.ended = False
        self.dead = False
        """Nothing goes over it any more, and the client has not been told."""
        self.held: deque[bytes] = deque()
        """What came while the client reads nothing."""


class _Nowhere(Loop):
    """Stands for the thread of a client that has none: nothing breaks there, and nothing waits for it."""

    def __init__(self) -> None:
        self.error = None

    def wake(self) -> None:
        """Nothing sleeps here."""

    def ring(self) -> None:
        """Nothing sleeps here."""


class MemoryClient(Client):
    """The blocking client in a `World`. Its waits let virtual time pass; it belongs to one thread."""

    def __init__(
        self,
        world: World,
        options: Options,
        authorizer: Authorizer | None,
        on_handler_error: HandlerErrors,
        on_event: Callable[[Event], object] | None,
        rng: random.Random,
    ) -> None:
        many = hasattr(authorizer, "authorize_many")
        session = Session(options, rng=rng, authorize_many=many)
        ClientBase.__init__(self, options, session, authorizer, on_event)
        self._guard = threading.RLock()
        self._on_handler_error = on_handler_error
        self._loop = _Nowhere()
        self._calls = deque()
        self._running = self._warned_of_run = False
        self._world = world
        self._wires: dict[int, _Wire] = {}
        world._clients.append(self)
        self.connect()

    def close(self) -> None:
        """End everything, within `Options.close_timeout`. The same as leaving the block."""
        if not self._session.closed:
            self._session.close(now=self._now())
            self._changed()
        self._wait(self._check_closed, self._lifecycle)

    def _now(self) -> float:
        return self._world.now

    def _tell(self, answer: Callable[..., None], *details: object) -> None:
        answer(*details, now=self._now())
        self._changed()

    def _wake(self) -> None:
        """Nothing sleeps here."""

    def _changed(self) -> None:
        while True:
            while (effect := self._session.next_effect()) is not None:
                self._world._carry_out(self, effect)
            self._deliver()
            if not self._read_held():
                return

    def _read_held(self) -> bool:
        for wire in self._wires.values():
            if wire.held and self._session.wants_data(wire.transport):
                data = wire.held.popleft()
                self._session.receive_data(wire.transport, data, now=self._now())
                return True
        return False

    def _call_handlers(self) -> None:
        while self._calls and not self._running:
            binding = self._calls.popleft()
            event = binding.take()
            if event is not None:
                self._took(binding)
                binding._run(event)

    def _wait(
        self,
        check: Callable[[], T | Literal[Nothing.PENDING]],
        signal: Signal,  # noqa: ARG002 - it looks again at each step of the world
        timeout: float | None = None,
        what: str = "",
    ) -> T:
        seconds = PATIENCE if timeout is None else min(timeout, PATIENCE)
        limit = self._now() + seconds
        while (outcome := check()) is PENDING:
            if not self._world._step(limit):
                what = what or "nothing came, and without virtual time it would be waited for ever"
                raise PusherTimeout(self._why_not(what, seconds))
        return outcome


class World(Levers, Expectations):
    """A server, its clients, the network between them and the time. All of it belongs to one thread.

    `server` is the machine, by default one with the demonstration app; `seed` decides what is left to chance, and
    `latency` is how many seconds bytes travel. Clients reach the server under whatever host they ask for. It has all
    levers of a server that runs, and time passes in `run`, in every wait of a client, and in every expectation.
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
        self._clients: list[MemoryClient] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._numbers = count(1)
        self._wires: dict[int, _Wire] = {}

    @contextmanager
    def open_pusher(
        self,
        options: Options | None = None,
        *,
        authorizer: Authorizer | None = None,
        ssl_context: ssl.SSLContext | None = None,  # noqa: ARG002 - as the real one
        connect: Connect | None = None,  # noqa: ARG002 - as the real one
        on_handler_error: HandlerErrors = "log",
        record: object = None,  # noqa: ARG002 - as the real one
        on_event: Callable[[Event], object] | None = None,
    ) -> Iterator[MemoryClient]:
        """Open a client for the length of the block, as `pusher_sync.open_pusher` does.

        `options` are by default those of the world's server. `ssl_context`, `connect` and `record` are taken for its
        sake, and without effect.
        """
        rng = random.Random(self._rng.random())  # noqa: S311 - the same in each run
        options = options if options is not None else self.options()
        client = MemoryClient(self, options, authorizer, on_handler_error, on_event, rng)
        try:
            yield client
        finally:
            client.close()
            self._clients.remove(client)

    @property
    def online(self) -> bool:
        """Whether there is a network.

        When it is set to False all connections are dead, and no client is told: as when a router loses its line. The
        server has given them up. New ones are neither accepted nor refused until it is set to True.
        """
        return self._online

    @online.setter
    def online(self, online: bool) -> None:
        self._online = online
        if not online:
            for number, wire in list(self._wires.items()):
                wire.dead = True
                self._hang_up(number)

    def do(self, action: Callable[[Server, float], R]) -> R:
        """Call `action(server, now)`, and send what follows from it."""
        try:
            return action(self.server, self.now)
        finally:
            self._flush()

    def run(self, seconds: float = 1.0) -> None:
        """Let time pass, and call the handlers of all clients when their events come."""
        end = self.now + seconds
        going = True
        while going:
            self._call_handlers()
            going = self._step(end)
        self._call_handlers()

    def wait_until(self, look: Callable[[Server], R], timeout: float = 10.0) -> R:
        """Let time pass until `look(server)` is true in the sense of Python, and return it. Raises TimeoutError."""
        limit = self.now + timeout
        while not (seen := look(self.server)):
            self._call_handlers()
            if not self._step(limit):
                raise TimeoutError(f"it did not happen within {timeout:g} s")
        return seen

    def _call_handlers(self) -> None:
        for client in list(self._clients):
            client._call_handlers()

    # Time

    def _at(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action))

    def _step(self, limit: float) -> bool:
        """Go to the moment at which something happens, and let it happen; or to `limit` when nothing does before."""
        due = [self._queue[0][0]] if self._queue else []
        deadlines = [
            self.server.next_deadline(),
            *(c._session.next_deadline() for c in self._clients),
        ]
        at = min([*due, *(each for each in deadlines if each is not None)], default=float("inf"))
        if at > limit:
            self.now = max(self.now, limit)
            return False
        self.now = max(self.now, at)
        while self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()
        self.do(lambda server, now: server.handle_timeout(now=now))
        for client in list(self._clients):
            deadline = client._session.next_deadline()
            if deadline is not None and deadline <= self.now:
                client._tell(client._session.handle_timeout)
        return True

    # The network

    def _carry_out(self, client: MemoryClient, effect: Effect) -> None:
        match effect:
            case OpenTransport():
                wire = _Wire(client, effect.transport, next(self._numbers))
                client._wires[effect.transport] = wire
                self._at(self.latency, partial(self._opened, wire))
            case SendData():
                wire = client._wires[effect.transport]
                self._at(self.latency, partial(self._to_server, wire, effect.data))
                size = len(effect.data)
                client._session.data_sent(effect.transport, size, now=self.now)
            case CloseTransport():
                gone = client._wires.get(effect.transport)
                if gone is not None:
                    self._at(0 if effect.abort else self.latency, partial(self._ended, gone))
            case CancelCall():
                pass  # the call ends by itself
            case Authorize() | AuthorizeMany() | CallApplication():
                self._at(self.latency, partial(client._call, effect))

    def _flush(self) -> None:
        while (effect := self.server.next_effect()) is not None:
            if isinstance(effect, ServerRequest):
                self._at(2 * self.latency, partial(self._webhook_answered, effect.request))
                continue
            wire = self._wires.get(effect.connection)
            if wire is None:
                continue
            match effect:
                case ServerSend():
                    self._at(self.latency, partial(self._to_client, wire, effect.data))
                case ServerClose():
                    del self._wires[effect.connection]
                    self._at(self.latency, partial(self._server_ended, wire))

    def _webhook_answered(self, request: int) -> None:
        status = self.webhook_status
        self.do(lambda server, now: server.request_answered(request, status, now=now))

    def _opened(self, wire: _Wire) -> None:
        if self._online and not wire.ended:
            wire.open = True
            self._wires[wire.number] = wire
            self.do(lambda server, now: server.connection_opened(wire.number, now=now))
            wire.client._tell(wire.client._session.transport_opened, wire.transport)

    def _to_server(self, wire: _Wire, data: bytes) -> None:
        if not (wire.dead or wire.ended):
            self.do(lambda server, now: server.receive_data(wire.number, data, now=now))

    def _to_client(self, wire: _Wire, data: bytes) -> None:
        if not (wire.dead or wire.ended):
            wire.held.append(data)
            wire.client._changed()

    def _server_ended(self, wire: _Wire) -> None:
        if not wire.dead:
            self._ended(wire)

    def _ended(self, wire: _Wire) -> None:
        """Both sides hear of the end of a connection."""
        if wire.ended:
            return
        wire.ended = True
        client, session = wire.client, wire.client._session
        client._wires.pop(wire.transport, None)
        for data in wire.held:  # what came is read before the end is seen
            session.receive_data(wire.transport, data, now=self.now)
        self._hang_up(wire.number)
        answer = session.transport_closed if wire.open else session.transport_failed
        client._tell(answer, wire.transport, "")

    def _hang_up(self, number: int) -> None:
        if self._wires.pop(number, None) is not None:
            self.do(lambda server, now: server.connection_closed(number, now=now))
