"""The arguments of `open_pusher`, and the session that they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TextIO

from .._base.checks import check_plain, check_ssl_context
from ..events import Event
from ..options import Options
from ..progress import OnProgress
from ..recording import recording_session
from ..session import Session

__all__ = ["HandlerErrors", "Setup"]

HandlerErrors = Literal["log", "raise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The arguments of `open_pusher`."""

    options: Options
    authorizer: Callable[..., object] | None = None
    ssl_context: Any = None
    on_handler_error: HandlerErrors = "log"
    on_event: Callable[[Event], object] | None = None
    on_progress: OnProgress | None = None
    file: TextIO | None = None
    """The file that the session is recorded to."""
    wall_clock: Callable[[], float] | None = None
    """Returns seconds since the epoch."""
    where: str = ""
    """The file and line of the program that called `open_pusher`."""
    tls: bool = True
    """Whether the I/O establishes TLS; False for I/O in memory, which needs none."""
    messages: bool = False
    """Whether connections carry whole messages."""

    @staticmethod
    def check(
        on_handler_error: str,
        ssl_context: object,
        on_event: object,
        on_progress: object,
        wall_clock: object,
    ) -> None:
        """Raise TypeError or ValueError for invalid arguments. Call it before anything is opened."""
        if on_handler_error not in ("log", "raise"):
            raise ValueError(f"on_handler_error is 'log' or 'raise', not {on_handler_error!r}")
        check_ssl_context(ssl_context, "ssl_context")
        check_plain(on_event, "on_event")
        check_plain(on_progress, "on_progress")
        check_plain(wall_clock, "wall_clock")

    def session(self) -> Session:
        """Return a new session, which is recorded if there is a file."""
        make: Callable[..., Session] = partial(Session, self.options)
        if self.file is not None:
            make = partial(recording_session, self.options, self.file.write)
        return make(
            authorize_many=hasattr(self.authorizer, "authorize_many"),
            messages=self.messages,
            wall_clock=self.wall_clock,
        )

    def release(self) -> None:
        """Close the file of the recording."""
        if self.file is not None:
            self.file.close()
