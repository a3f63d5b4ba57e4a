"""Results of checks that have nothing to return, and copies of errors that are raised in several places."""

from __future__ import annotations

import copy
from enum import Enum
from typing import Final, Literal, TypeVar

__all__ = ["END", "PENDING", "End", "Nothing", "Pending", "fresh"]

ErrorT = TypeVar("ErrorT", bound=BaseException)


class Nothing(Enum):
    """The result of a check that has nothing to return."""

    PENDING = "there is no result yet"
    END = "no further result follows"


PENDING: Final = Nothing.PENDING
END: Final = Nothing.END
Pending = Literal[Nothing.PENDING]
End = Literal[Nothing.END]


def fresh(error: ErrorT) -> ErrorT:
    """Return a copy of `error`. An error that is raised in several places needs a traceback for each."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied
