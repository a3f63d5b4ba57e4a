"""The arguments of `open_pusher`, and the session that they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TextIO

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
