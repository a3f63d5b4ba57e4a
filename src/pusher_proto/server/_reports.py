"""Reports of what happens on the server: log records, and lines for observers.

A report never holds a secret or a signature.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["FRAMES", "LOGGER", "Report", "Reports"]

FRAMES = 5
"""The level of reports of frames, below DEBUG."""
_SIGNATURE = re.compile(r'("auth\\*"\s*:\s*\\*"[^:"]{0,100}:)[0-9a-fA-F]+')
_USER = re.compile(r'("(?:user_data|channel_data|user_info|hash)\\*"\s*:\s*).*', re.DOTALL)
# A refusal quotes the signed text: the socket id, a channel or `:user:`, and the data of the member or the user.
_SIGNED = re.compile(r":\{.*\}(?=, but got)", re.DOTALL)
LOGGER = logging.getLogger("pusher_proto.server")


class Report(msgspec.Struct, frozen=True):
    """One thing that happened."""

    time: float
    """Seconds on the clock of the server's caller."""
    kind: str
    """Such as "connected", "subscribed", "published", "upgrade refused"."""
    message: str
    """One sentence for people; for common mistakes it says what to set."""
    level: int
    """A level of `logging`: INFO for refusals, DEBUG for all else, 5 for frames."""
    fields: dict[str, Any]
    """Details, such as connection, channel, event, code, status."""


class Reports:
    """Passes reports to the log and to observers. Costs nothing while neither listens."""

    def __init__(self) -> None:
        self.observers: list[Callable[[Report], object]] = []

    def wanted(self, level: int) -> bool:
        """Return whether a report of this level has a receiver."""
        return bool(self.observers) or LOGGER.isEnabledFor(level)

    def refusal(self, kind: str, message: str, now: float, **fields: Any) -> None:
        """Report that something was refused."""
        self._report(logging.INFO, kind, message, now, fields)

    def debug(self, kind: str, message: str, now: float, **fields: Any) -> None:
        """Report an ordinary event."""
        self._report(logging.DEBUG, kind, message, now, fields)

    def frame(self, kind: str, connection: int, text: str, now: float) -> None:
        """Report the text of one message. Signatures and data of users are masked."""
        masked = _USER.sub(r"\1***", _SIGNATURE.sub(r"\1***", text))
        self._report(
            FRAMES, kind, f"{connection} {kind}: {masked}", now, {"connection": connection}
        )

    def _report(
        self, level: int, kind: str, message: str, now: float, fields: dict[str, Any]
    ) -> None:
        if not self.wanted(level):
            return
        message = _SIGNED.sub(":***", message)
        report = Report(now, kind, message, level, fields)
        LOGGER.log(level, "%s", message, extra={"report": report})
        for observer in list(self.observers):
            observer(report)
