"""What a check answers when there is nothing to return, and copies of errors that are raised in several places."""

from __future__ import annotations

import copy
from enum import Enum
from typing import Final, Literal, TypeVar

__all__ = ["END", "PENDING", "End", "Nothing", "Pending", "fresh"]

ErrorT = TypeVar("ErrorT", bound=BaseException)


class Nothing(Enum):
    """What a check answers when there is nothing to return."""

    PENDING = "not yet"
    END = "nothing more follows"


PENDING: Final = Nothing.PENDING
END: Final = Nothing.END
Pending = Literal[Nothing.PENDING]
End = Literal[Nothing.END]


def fresh(error: ErrorT) -> ErrorT:
    """Return a copy of `error`: it may be raised in many places, and each needs its own traceback."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied
