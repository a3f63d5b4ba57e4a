"""Wake-up calls: how a waiting task or thread learns that it should look again."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Signal"]


class Signal:
    """Functions to call once when something may have changed. A driver adds one and looks again when it is called."""

    __slots__ = ("waiters",)

    def __init__(self) -> None:
        self.waiters: list[Callable[[], object]] = []

    def add(self, waiter: Callable[[], object]) -> None:
        """Call `waiter` at the next `notify`, once."""
        self.waiters.append(waiter)

    def discard(self, waiter: Callable[[], object]) -> None:
        """Take back an `add` that no `notify` has served yet."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)

    def notify(self) -> None:
        """Call and forget all functions that were added."""
        if self.waiters:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                waiter()
