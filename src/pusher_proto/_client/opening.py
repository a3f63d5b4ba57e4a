"""The result of `open_pusher` and `serve` on an event loop: it is awaitable, and an async context manager."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

from ..errors import LocalProtocolError

__all__ = ["Opening"]

OpenedT = TypeVar("OpenedT", bound=AbstractAsyncContextManager[Any])


class Opening(AbstractAsyncContextManager[OpenedT], Generic[OpenedT]):
    """Opens a client or server, once: when it is awaited, or for the duration of an `async with` block.

    `name` is the function that returned it, for messages; `open_` opens.
    """

    def __init__(self, name: str, open_: Callable[[], Awaitable[OpenedT]]) -> None:
        self._name = name
        self._open: Callable[[], Awaitable[OpenedT]] | None = open_
        self._opened: OpenedT | None = None

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{self._name}(...) has no {name!r} yet: `await` it, or enter it with `async with`"
        )

    def __await__(self) -> Generator[Any, Any, OpenedT]:
        return self._begin().__await__()

    async def _begin(self) -> OpenedT:
        open_, self._open = self._open, None
        if open_ is None:
            raise LocalProtocolError(f"this {self._name}(...) was opened before: call it again")
        return await open_()

    async def __aenter__(self) -> OpenedT:
        self._opened = await self._begin()
        await self._opened.__aenter__()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._opened is not None  # it was entered
        await self._opened.__aexit__(kind, error, traceback)
