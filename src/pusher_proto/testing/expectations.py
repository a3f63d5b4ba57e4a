"""Waits for actions of clients, for tests. Their errors show what happened instead."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from ..server._server import Server
from ..server._webhooks import SentWebhook
from ..server._world import ReceivedMessage

__all__ = ["AsyncExpectations", "Expectations"]

R = TypeVar("R")
Condition = Callable[[Server], R]

# The most messages in the error of a failed wait.
_SHOWN = 20


class _Expected:
    """A condition to wait for, and the error if it is not met in time."""

    def __init__(
        self, what: str, condition: Condition[Any], there: Callable[[Server], object]
    ) -> None:
        self.what = what
        self.condition = condition
        self.there = there

    def missing(self, server: Server, timeout: float) -> AssertionError:
        return AssertionError(
            f"expected {self.what} within {timeout:g} s; got: {self.there(server) or 'nothing'}"
        )


def _subscribers(channel: str, count: int) -> _Expected:
    return _Expected(
        f"{count} subscriber{'' if count == 1 else 's'} of {channel!r}",
        lambda server: len(server.subscriptions(channel)) == count or None,
        lambda server: {name: len(server.subscriptions(name)) for name in server.channels()},
    )


def _connections(count: int) -> _Expected:
    return _Expected(
        f"{count} connection{'' if count == 1 else 's'}",
        lambda server: len(server.connections) == count or None,
        lambda server: len(server.connections),
    )


def _message(event: str, channel: str | None, data: object, times: int) -> _Expected:
    where = "" if channel is None else f" on {channel!r}"
    with_ = "" if data is ... else f" with {data!r}"
    often = "" if times == 1 else f" {times} times"
    return _Expected(
        f"{event!r}{where}{with_}{often}",
        lambda server: _found(server, event, channel, data, times),
        lambda server: [(m.event, m.channel, m.data) for m in list(server.received)[-_SHOWN:]],
    )


def _webhook(name: str, channel: str | None, times: int) -> _Expected:
    where = "" if channel is None else f" of {channel!r}"
    often = "" if times == 1 else f" {times} times"
    return _Expected(
        f"webhook {name!r}{where}{often}",
        lambda server: _found_webhook(server, name, channel, times),
        lambda server: [(each.name, each.channel) for each in list(server.webhooks)[-_SHOWN:]],
    )


def _found_webhook(
    server: Server, name: str, channel: str | None, times: int
) -> SentWebhook | None:
    found = [
        each for each in server.webhooks if each.name == name and channel in (None, each.channel)
    ]
    return found[times - 1] if len(found) >= times else None


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
    """The messages of clients so far, without waiting."""

    server: Server
    """The server as a machine, without I/O."""

    @abstractmethod
    def do(self, action: Callable[[Server, float], R]) -> R:
        """Call `action(server, now)` where the server runs."""

    def sent(self, event: str, channel: str | None = None) -> list[ReceivedMessage]:
        """Return the messages named `event` that clients have sent, the newest last."""
        received = self.do(lambda server, _now: list(server.received))
        return [m for m in received if m.event == event and channel in (None, m.channel)]

    def forget_sent(self) -> None:
        """Clear the messages that clients have sent so far: expectations no longer count them."""
        self.do(lambda server, _now: server.received.clear())


class Expectations(_Sent):
    """Waits that block. Each raises AssertionError after `timeout` seconds."""

    @abstractmethod
    def wait_until(self, condition: Condition[R], timeout: float = 10.0) -> R:
        """Wait until `condition(server)` is true, and return its result. Raises TimeoutError."""

    def expect_subscribed(self, channel: str, count: int = 1, *, timeout: float = 5.0) -> None:
        """Wait until a channel has `count` subscribers; 0 waits until it has none."""
        self._expect(_subscribers(channel, count), timeout)

    def expect_connections(self, count: int = 1, *, timeout: float = 5.0) -> None:
        """Wait until `count` clients are connected."""
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
        """Wait until clients have sent a message `times` times, with `data` if it is given; return the last one."""
        found: ReceivedMessage = self._expect(_message(event, channel, data, times), timeout)
        return found

    def expect_webhook(
        self, name: str, channel: str | None = None, *, times: int = 1, timeout: float = 5.0
    ) -> SentWebhook:
        """Wait until the server has sent a webhook event `times` times; return the last one.

        The server needs `ServerOptions.webhooks` for it. The receiver's answer does not matter.
        """
        found: SentWebhook = self._expect(_webhook(name, channel, times), timeout)
        return found

    def _expect(self, expected: _Expected, timeout: float) -> Any:
        try:
            return self.wait_until(expected.condition, timeout)
        except TimeoutError:
            raise self.do(lambda server, _: expected.missing(server, timeout)) from None


class AsyncExpectations(_Sent):
    """The same waits as coroutines, for tests on an event loop."""

    @abstractmethod
    async def wait_until(self, condition: Condition[R], timeout: float = 10.0) -> R:
        """Wait until `condition(server)` is true, and return its result. Raises TimeoutError."""

    async def expect_subscribed(
        self, channel: str, count: int = 1, *, timeout: float = 5.0
    ) -> None:
        """Wait until a channel has `count` subscribers; 0 waits until it has none."""
        await self._expect(_subscribers(channel, count), timeout)

    async def expect_connections(self, count: int = 1, *, timeout: float = 5.0) -> None:
        """Wait until `count` clients are connected."""
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
        """Wait until clients have sent a message `times` times, with `data` if it is given; return the last one."""
        found: ReceivedMessage = await self._expect(_message(event, channel, data, times), timeout)
        return found

    async def expect_webhook(
        self, name: str, channel: str | None = None, *, times: int = 1, timeout: float = 5.0
    ) -> SentWebhook:
        """Wait until the server has sent a webhook event `times` times; return the last one.

        The server needs `ServerOptions.webhooks` for it. The receiver's answer does not matter.
        """
        found: SentWebhook = await self._expect(_webhook(name, channel, times), timeout)
        return found

    async def _expect(self, expected: _Expected, timeout: float) -> Any:
        try:
            return await self.wait_until(expected.condition, timeout)
        except TimeoutError:
            raise self.do(lambda server, _: expected.missing(server, timeout)) from None
