"""What a test expects of the clients of a server: it waits for it, and says what there was instead."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from ..server._server import Server
from ..server._world import ReceivedMessage

__all__ = ["AsyncExpectations", "Expectations"]

R = TypeVar("R")
Look = Callable[[Server], R]

_SHOWN = 20  # messages that are told of when something did not come


class _Expected:
    """Something to wait for, and how to say that it did not come."""

    def __init__(self, what: str, look: Look[Any], there: Callable[[Server], object]) -> None:
        self.what = what
        self.look = look
        self.there = there

    def missing(self, server: Server, timeout: float) -> AssertionError:
        return AssertionError(
            f"{self.what} within {timeout:g} s; there is: {self.there(server) or 'nothing'}"
        )


def _subscribers(channel: str, count: int) -> _Expected:
    return _Expected(
        f"{count} subscriber{'' if count == 1 else 's'} of {channel!r} expected, but not",
        lambda server: len(server.subscriptions(channel)) == count or None,
        lambda server: {name: len(server.subscriptions(name)) for name in server.channels()},
    )


def _connections(count: int) -> _Expected:
    return _Expected(
        f"{count} connection{'' if count == 1 else 's'} expected, but not",
        lambda server: len(server.connections) == count or None,
        lambda server: len(server.connections),
    )


def _message(event: str, channel: str | None, data: object, times: int) -> _Expected:
    where = "" if channel is None else f" on {channel!r}"
    with_ = "" if data is ... else f" with {data!r}"
    often = "" if times == 1 else f" {times} times"
    return _Expected(
        f"{event!r}{where}{with_} expected{often}, but not",
        lambda server: _found(server, event, channel, data, times),
        lambda server: [(m.event, m.channel, m.data) for m in list(server.received)[-_SHOWN:]],
    )


def _found(
    server: Server, event: str, channel: str | None, data: object, times: int
) -> ReceivedMessage | None:
    found = [
        message
        for message in server.received
        if message.event == event and channel in (None, message.channel)
        if data is ... or message.data == data
    ]
    return found[times - 1] if len(found) >= times else None


class _Sent(ABC):
    """What clients sent so far, without waiting."""

    server: Server

    @abstractmethod
    def do(self, action: Callable[[Server, float], R]) -> R:
        """Call `action(server, now)` where the server runs."""

    def sent(self, event: str, channel: str | None = None) -> list[ReceivedMessage]:
        """Return the messages of this name that clients have sent so far, the newest last."""
        received = self.do(lambda server, _now: list(server.received))
        return [m for m in received if m.event == event and channel in (None, m.channel)]

    def forget_sent(self) -> None:
        """Begin anew: what clients sent before counts for no expectation."""
        self.do(lambda server, _now: server.received.clear())


class Expectations(_Sent):
    """Waits that block. Each raises AssertionError after `timeout` seconds."""

    @abstractmethod
    def wait_until(self, look: Look[R], timeout: float = 10.0) -> R:
        """Wait until `look(server)` is true in the sense of Python, and return it. Raises TimeoutError."""

    def expect_subscribed(self, channel: str, count: int = 1, *, timeout: float = 5.0) -> None:
        """Wait until so many are subscribed to a channel; 0 waits until it was left."""
        self._expect(_subscribers(channel, count), timeout)

    def expect_connections(self, count: int = 1, *, timeout: float = 5.0) -> None:
        """Wait until so many clients are connected."""
        self._expect(_connections(count), timeout)

    def expect_sent(
        self,
        event: str,
        channel: str | None = None,
        data: object = ...,
        *,
        times: int = 1,
        timeout: float = 5.0,
    ) -> ReceivedMessage:
        """Wait until clients have sent a message, with this data where it is given, so many times; return the last."""
        found: ReceivedMessage = self._expect(_message(event, channel, data, times), timeout)
        return found

    def _expect(self, expected: _Expected, timeout: float) -> Any:
        try:
            return self.wait_until(expected.look, timeout)
        except TimeoutError:
            raise self.do(lambda server, _: expected.missing(server, timeout)) from None


class AsyncExpectations(_Sent):
    """The same waits, for tests that await them."""

    @abstractmethod
    async def wait_until(self, look: Look[R], timeout: float = 10.0) -> R:
        """Wait until `look(server)` is true in the sense of Python, and return it. Raises TimeoutError."""

    async def expect_subscribed(
        self, channel: str, count: int = 1, *, timeout: float = 5.0
    ) -> None:
        """Wait until so many are subscribed to a channel; 0 waits until it was left."""
        await self._expect(_subscribers(channel, count), timeout)

    async def expect_connections(self, count: int = 1, *, timeout: float = 5.0) -> None:
        """Wait until so many clients are connected."""
        await self._expect(_connections(count), timeout)

    async def expect_sent(
        self,
        event: str,
        channel: str | None = None,
        data: object = ...,
        *,
        times: int = 1,
        timeout: float = 5.0,
    ) -> ReceivedMessage:
        """Wait until clients have sent a message, with this data where it is given, so many times; return the last."""
        found: ReceivedMessage = await self._expect(_message(event, channel, data, times), timeout)
        return found

    async def _expect(self, expected: _Expected, timeout: float) -> Any:
        try:
            return await self.wait_until(expected.look, timeout)
        except TimeoutError:
            raise self.do(lambda server, _: expected.missing(server, timeout)) from None
