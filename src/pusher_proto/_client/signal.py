"""Wakes a waiting task or thread when it should check its condition again."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Signal"]


class Signal:
    """Functions to call once when a condition may have changed. A driver adds one, and checks when it is called."""

    __slots__ = ("waiters",)

    def __init__(self) -> None:
        self.waiters: list[Callable[[], object]] = []

    def add(self, waiter: Callable[[], object]) -> None:
        """Call `waiter` at the next `notify`, once."""
        self.waiters.append(waiter)

    def discard(self, waiter: Callable[[], object]) -> None:
        """Remove a function that was added and not called yet."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)

    def notify(self) -> None:
        """Call and remove all functions."""
        if self.waiters:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                waiter()
