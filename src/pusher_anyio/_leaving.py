"""Entering and leaving the block of a client or of the test server: which of several exceptions comes out."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from typing import Self

import anyio

from pusher_proto.client import is_cut_short, raise_breakage

from ._io import Body, Loop

__all__ = ["Leaving"]

TURNS_TO_HEAR = 3
"""Turns of the event loop that a body has to hear from its own wait what went wrong, before it is interrupted."""


class Leaving:
    """What may be entered for the length of a block. Any task may leave it, in any order with others."""

    _io: Loop
    _body: Body | None = None
    """Of the block, while it is not left."""
    _errors: list[BaseException]
    """What broke this: comes out of the block."""
    _told = False
    """Whether a call in the body has raised it."""

    @abstractmethod
    async def _close(self) -> None:
        """End everything in good order."""

    @abstractmethod
    async def _end(self) -> None:
        """End everything at once."""

    def _broke(self, error: BaseException) -> None:
        """Let `error` come out of the block: it interrupts the body."""
        self._errors.append(error)
        if len(self._errors) == 1:
            self._interrupt(TURNS_TO_HEAR)

    def _interrupt(self, turns: int) -> None:
        if turns:
            self._io.soon(self._interrupt, turns - 1)
        elif self._body is not None and not self._told:
            self._body.interrupt()

    def _raise_errors(self) -> None:
        """Raise what broke this, if anything did."""
        if self._errors:
            self._told = self._told or self._body is None or self._body.is_here
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
            if not self._errors:  # else they come out below
                raise
        finally:
            await self._end()
        if not cut_short:
            raise_breakage(self._errors, error)
