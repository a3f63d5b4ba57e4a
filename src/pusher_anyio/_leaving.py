"""Opening something with or without a block, and leaving the block: which of several exceptions comes out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from pusher_proto import ClientClosed, LocalProtocolError

from ._io import Body, Loop

__all__ = ["Leaving", "Opening"]


class Leaving:
    """What may be entered for the length of a block. Any task may leave it, in any order with others."""

    _io: Loop
    _errors: list[BaseException]
    """What broke it: comes out of the block."""
    _body: Body | None = None
    """Of the block, while it is not left."""

    @abstractmethod
    async def close(self) -> None:
        """End everything in good order."""

    @abstractmethod
    async def _end(self) -> None:
        """End everything at once."""

    async def __aenter__(self) -> Self:
        self._body = self._io.body_class(self._io)
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        body, self._body = self._body, None
        if body is not None and await body.leave(error):
            error = None  # the interruption
        cancelled = anyio.get_cancelled_exc_class()
        at_once = isinstance(error, (cancelled, GeneratorExit)) or (
            isinstance(error, BaseExceptionGroup) and error.subgroup(cancelled) is not None
        )
        try:
            if not at_once:
                with suppress(*((cancelled,) if error is not None else ())):
                    await self.close()
        except BaseException:
            if not self._errors:  # else they come out below
                raise
        finally:
            await self._end()
        errors = list(self._errors)
        if at_once or not errors or error in errors:
            return
        if error is not None and not _follows(error, errors):
            errors.append(error)
        alone = len(errors) == 1
        raised = errors[0] if alone else BaseExceptionGroup("errors in and beside a block", errors)
        context = raised.__context__
        try:
            raise raised
        finally:
            raised.__context__ = context


def _follows(error: BaseException, errors: list[BaseException]) -> bool:
    """Return whether `error` only follows from `errors`, which interrupted the body."""
    if isinstance(error, BaseExceptionGroup):
        return all(_follows(each, errors) for each in error.exceptions)
    return error in errors or isinstance(error, ClientClosed)


OpenedT = TypeVar("OpenedT", bound=Leaving)


class Opening(AbstractAsyncContextManager[OpenedT], Generic[OpenedT]):
    """What `open_pusher` and `serve` return: await it to open, or enter it to open for the length of a block."""

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
        await checkpoint()
        return await open_()

    async def __aenter__(self) -> OpenedT:
        self._opened = await self._begin()
        return await self._opened.__aenter__()

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        assert self._opened is not None  # it was entered
        await self._opened.__aexit__(_, error, __)
