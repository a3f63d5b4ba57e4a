"""What a client is opened with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    """Where the session is recorded."""
    where: str = ""
    """Where in the program `open_pusher` was called."""
    messages: bool = False
    """Whether connections carry whole messages."""

    def session(self) -> Session:
        """Return the session: recorded, if there is a file."""
        many, messages = hasattr(self.authorizer, "authorize_many"), self.messages
        if self.file is None:
            return Session(self.options, authorize_many=many, messages=messages)
        write = self.file.write
        return recording_session(self.options, write, authorize_many=many, messages=messages)

    def release(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()
