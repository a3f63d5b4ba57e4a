"""A client in the simulated world: what is the same in all drivers, with a driver in memory below it.

Waiting lets virtual time pass, and looks again only when it was woken, so a wake-up that is forgotten shows as `Stuck`.
The session may be touched under the guard alone, as between threads.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import pytest

from pusher_proto import (
    Authorize,
    AuthorizeMany,
    CallApplication,
    ChannelEvent,
    Event,
    Options,
    PusherTimeout,
    Session,
    UserEvent,
)
from pusher_proto.client import (
    END,
    BindingBase,
    ChannelBase,
    ClientBase,
    End,
    Goal,
    Nothing,
    Selector,
    SourceBase,
    StreamBase,
    StreamOptions,
    UserBase,
    Wait,
)
from pusher_proto.driving.application import answers, question
from simulation import Device, World

if TYPE_CHECKING:
    import random

__all__ = [
    "FakeChannel",
    "FakeClient",
    "FakeStream",
    "Stuck",
    "connected",
    "datas",
    "publish",
    "room",
    "subscribed",
    "warnings",
]

T = TypeVar("T")

PATIENCE = 3600.0
"""Virtual seconds after which a wait without a timeout counts as one that never ends."""


class Caller:
    """Stands for a task or a thread that waits."""


class Stuck(AssertionError):
    """A wait did not end, and nothing woke it."""


class FakeStream(StreamBase[T]):
    """A stream whose step lets virtual time pass."""

    _client: FakeClient

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        event: T | End = self._client._wait(Goal(self._next, self.signal))
        if event is END:
            raise StopIteration
        return event

    def next(self, timeout: float | None = None) -> T:
        """Return the next event, as the drivers do."""
        return self._client._wait(self._goal(), timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ready(self) -> list[T]:
        """Return what can be had without time passing; what is raised comes out."""
        taken: list[T] = []
        while True:
            with self._client._guard:
                event = self._next()
            if isinstance(event, Nothing):
                return taken
            taken.append(event)


class FakeBinding(BindingBase):
    """A binding whose handler is called as soon as the world runs, one event at a time."""

    _client: FakeClient
    _running = False

    def came(self, count: int) -> None:
        super().came(count)
        if not self._running and not self._client.handlers_stall:
            self._running = True
            self._client.world.at(0, self.run)

    def run(self) -> None:
        """Call the handler for all that waits."""
        client = self._client
        while (event := self._take()) is not None:
            began = client.world.now
            try:
                self.fn(event)
            except Exception:
                self.failed(event)
            self.took(client.world.now - began)
        self._running = False

    def _take(self) -> Event | None:
        with self._client._guard:
            event = self.take()
            if event is not None:
                self._client._delivery.took(self)
        return event


class FakeSource(SourceBase[FakeBinding]):
    _binding_class = FakeBinding

    def events(self, selector: Selector = None, **options: Any) -> FakeStream[Any]:
        return FakeStream(self._host, self._scope, selector, StreamOptions(**options))

    def wait_for(
        self,
        selector: Selector,
        predicate: Callable[[Any], bool] | None = None,
        timeout: float | None = None,
        *,
        fresh: bool = False,
        who: object = None,
    ) -> Any:
        client: FakeClient = self._host.client
        with self._begin_wait(selector, predicate, who or client.who, fresh) as goal:
            return client._wait(goal, timeout)

    def waiting(
        self, selector: Selector, predicate: Callable[[Any], bool] | None = None, who: object = None
    ) -> Wait:
        """Return a wait that has begun; `close` has to follow."""
        return self._begin_wait(selector, predicate, who or self._host.client.who, fresh=False)


class FakeChannel(ChannelBase[FakeBinding], FakeSource):
    def __iter__(self) -> FakeStream[ChannelEvent]:
        return self.events(ChannelEvent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def wait_subscribed(self, timeout: float | None = None) -> Self:
        client: FakeClient = self._host.client
        client._wait(client._goals.subscribed(self._scope), timeout)
        return self


class FakeUser(UserBase[FakeBinding], FakeSource):
    def __iter__(self) -> FakeStream[UserEvent]:
        return self.events(UserEvent)


class FakeGuard:
    """Knows how deep it is held."""

    depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1


class WatchedSession:
    """A session that may be touched under a guard alone."""

    def __init__(self, session: Session, guard: FakeGuard) -> None:
        self._session = session
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        if isinstance(getattr(Session, name, None), FunctionType):
            return partial(self._call, getattr(self._session, name))
        return self._call(getattr, self._session, name)

    def _call(self, what: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        assert self._guard.depth, f"{what} of the session without the guard"
        return what(*args, **kwargs)


@dataclass
class ClientDevice(Device):
    """A driver in memory that hands the events to a client."""

    client: FakeClient | None = None

    def pump(self) -> None:
        assert self.client is not None
        with self.client._guard:
            self.client._changed()


class FakeClient(ClientBase[FakeBinding, FakeChannel, FakeUser], FakeSource):
    """A client of the world's server. It begins to connect when it is made."""

    _channel_class = FakeChannel
    _user_class = FakeUser

    def __init__(
        self,
        world: World,
        options: Options | None = None,
        *,
        authorizer: Callable[..., Any] | None = None,
        connect: bool = True,
        rng: random.Random | None = None,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        self.world = world
        self._guard: FakeGuard = FakeGuard()
        self.handlers_stall = False
        """Whether handlers are not called."""
        self.calls_take = 0.0
        """Seconds that the application's functions take."""
        options = options or world.options()
        many = hasattr(authorizer, "authorize_many")
        session = Session(
            options,
            rng=rng or world.rng,
            authorize_many=many,
            wall_clock=lambda: world.now + world.epoch,
        )
        watched = cast("Session", WatchedSession(session, self._guard))
        super().__init__(options, watched, authorizer, on_event)
        self.who = Caller()
        self.session = session
        self.device = ClientDevice(world, session, client=self)
        world.devices.append(self.device)
        if connect:
            self.connect()

    @property
    def reads(self) -> bool:
        """Return whether the driver would read from all its transports."""
        return all(self.session.wants_data(transport) for transport in self.device.wires)

    def wait_connected(self, timeout: float | None = None) -> str:
        return self._wait(self._goals.connected(), timeout)

    def wait_signed_in(self, timeout: float | None = None) -> str:
        return self._wait(self._goals.signed_in(), timeout)

    def run(self) -> None:
        self._wait(self._goals.closed())

    def close(self) -> None:
        with self._guard:
            self._session.close(now=self._now())
            self._changed()
        self._wait(Goal(self._checks.closed, self._lifecycle))

    @contextmanager
    def no_time(self) -> Iterator[None]:
        """Fail when time passes within the block."""
        before = self.world.now
        yield
        assert self.world.now == before

    def _now(self) -> float:
        return self.world.now

    def _changed(self) -> None:
        session, device = self._session, self.device
        while True:
            while (effect := session.next_effect()) is not None:
                if isinstance(effect, Authorize | AuthorizeMany | CallApplication):
                    delay = self.world.network.latency + self.calls_take
                    self.world.at(delay, partial(self._call, effect))
                else:
                    self.world.carry_out(device, effect)
            self._deliver()
            if not device._read():
                return

    def _call(self, effect: Authorize | AuthorizeMany | CallApplication) -> None:
        result: object
        try:
            function, argument = question(effect, self._authorizer)
            result = awaited(function(argument))
        except Exception as error:
            result = error
        with self._guard:
            if isinstance(effect, CallApplication):
                self._session.call_ended(effect.request, result, now=self._now())
            else:
                for request, answer in answers(effect, result).items():
                    if isinstance(answer, BaseException):
                        self._session.authorization_failed(request, answer, now=self._now())
                    else:
                        self._session.authorized(request, answer, now=self._now())
            self._changed()

    def _wait(self, goal: Goal[T], timeout: float | None = None) -> T:
        world, woken = self.world, list[bool]()
        limit = world.now + (PATIENCE if timeout is None else timeout)

        def wake() -> None:
            woken.append(True)

        while True:
            with self._guard:
                outcome = goal.check()
                if outcome is not Nothing.PENDING:
                    return outcome
                woken.clear()
                goal.signal.add(wake)
            try:
                while not woken:
                    at = world._next()
                    if at > limit:
                        world.now = limit
                        if timeout is None:
                            raise Stuck(goal.what or "no event was received")
                        with self._guard:
                            raise PusherTimeout(self._checks.why_not(goal.what, timeout))
                    world.now = max(world.now, at)
                    world._step()
            finally:
                with self._guard:
                    goal.signal.discard(wake)


def awaited(result: object) -> object:
    """Return what a function of the application returned, or what its coroutine returns, which never waits."""
    if not inspect.isawaitable(result):
        return result
    try:
        next(iter(result.__await__()))
    except StopIteration as end:
        return end.value
    raise AssertionError("a coroutine waits, and there is no event loop")


def connected(world: World, options: Options | None = None, **more: Any) -> FakeClient:
    """Return a client that is connected."""
    client = FakeClient(world, options, **more)
    client.wait_connected()
    return client


def subscribed(
    world: World, *names: str, options: Options | None = None, **more: Any
) -> tuple[FakeClient, list[FakeChannel]]:
    """Return a client with channels that are subscribed."""
    client = connected(world, options, **more)
    return client, [client.subscribe(name).wait_subscribed() for name in names]


def room(**options: Any) -> tuple[World, FakeClient, FakeChannel]:
    """Return a client with one public channel that is subscribed."""
    world = World()
    client, [channel] = subscribed(world, "room", options=world.options(**options))
    return world, client, channel


def publish(world: World, *values: Any, channel: str = "room", event: str = "price") -> None:
    """Let the server send an event with each of these values, all in one read."""
    for value in values:
        world.act(world.server.publish, channel, event, value)
    world.run(2 * world.network.latency)


def datas(events: list[Any]) -> list[Any]:
    """Return the data of the events."""
    return [event.data for event in events]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings in the log."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
