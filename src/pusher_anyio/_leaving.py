"""Enters and leaves the block of a client or of the test server, and decides which of several exceptions it raises."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from typing import Self

import anyio

from pusher_proto.client import is_cut_short, raise_breakage

from ._io import Body, Loop

__all__ = ["Leaving"]

TURNS_TO_RAISE = 3
"""Turns of the event loop that the waits of the body get to raise the error before the body is interrupted."""


class Leaving:
    """An object that is entered with `async with`. Any task may leave the block, in any order with other blocks."""

    _io: Loop
    _body: Body | None = None
    """The body of the block, until the block is left."""
    _errors: list[BaseException]
    """The errors that ended the object. The block raises them."""
    _raised_inside = False
    """Whether a call in the body has raised these errors."""

    @abstractmethod
    async def _close(self) -> None:
        """Close everything in order, and wait until it is closed."""

    @abstractmethod
    async def _end(self) -> None:
        """End everything at once, without closing it in order."""

    def _broke(self, error: BaseException) -> None:
        """Raise `error` from the block: interrupt its body."""
        self._errors.append(error)
        if len(self._errors) == 1:
            self._interrupt(TURNS_TO_RAISE)

    def _interrupt(self, turns: int) -> None:
        if turns:
            self._io.soon(self._interrupt, turns - 1)
        elif self._body is not None and not self._raised_inside:
            self._body.interrupt()

    def _raise_errors(self) -> None:
        """Raise the errors that ended the object, if there are any."""
        if self._errors:
            self._raised_inside = self._raised_inside or self._body is None or self._body.is_here
            raise_breakage(self._errors)

    async def __aenter__(self) -> Self:
        self._body = self._io.body_class(self._io)
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        body, self._body = self._body, None
        if body is not None and await body.leave(error):
            error = None  # the interruption
        cancelled = anyio.get_cancelled_exc_class()
        cut_short = is_cut_short(error, cancelled)
        try:
            if not cut_short:
                with suppress(*((cancelled,) if error is not None else ())):
                    await self._close()
        except BaseException:
            if not self._errors:  # else they are raised below
                raise
        finally:
            await self._end()
        if not cut_short:
            raise_breakage(self._errors, error)
