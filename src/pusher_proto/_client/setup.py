"""What a client is opened with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from ..events import Event
from ..options import Options
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
    file: TextIO | None = None
    """Where the session is recorded."""
    where: str = ""
    """Where in the program `open_pusher` was called."""

    def session(self) -> Session:
        """Return the session: recorded, if there is a file."""
        many = hasattr(self.authorizer, "authorize_many")
        if self.file is not None:
            return recording_session(self.options, self.file.write, authorize_many=many)
        return Session(self.options, authorize_many=many)

    def release(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()
