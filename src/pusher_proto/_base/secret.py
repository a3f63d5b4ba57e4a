"""A type that keeps a secret out of logs, reprs, tracebacks with locals and pickles, and a mask for text."""

from __future__ import annotations

import re
from typing import NoReturn

__all__ = ["Secret", "masked"]

_RUNS = re.compile(
    # A signature, but not inside a name: the name of a channel may contain a digest.
    r"(?<![-\w.=@,;])[0-9a-fA-F]{64}(?![0-9a-fA-F])"
    # The key of an encrypted channel: 32 bytes in base64.
    r"|(?<![-\w+/=])[A-Za-z0-9+/]{43}=(?![-\w+/=])",
)
_MAY_BE_RUN = re.compile(r"[A-Za-z0-9+/]{43}")
"""Is in each of the runs, and found in a third of the time."""
_MARKED = {
    # A token, to its end.
    "Bearer ": re.compile(r"(?<=Bearer )[^\s'\"\\<>,;]+"),
    # The user, to the end of the text.
    "user_data": re.compile(r"(?<=user_data)\\*['\"]\s*:.*", re.DOTALL),
}
# A signed string that an error quotes: the socket id, a channel or `:user:`, and the JSON of the member or the user.
_SIGNED = re.compile(r"(\d\.\d+:[^\s{]*:)\{.*?(?=, but got|\Z)", re.DOTALL)


class Secret:
    """Holds a string that only `reveal()` returns."""

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret) -> None:
        self._value: str = value.reveal() if isinstance(value, Secret) else value

    def reveal(self) -> str:
        """Return the string. Never log it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: object) -> Secret:
        return self  # it never changes

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a secret cannot be pickled: make OwnKey, and the Options that contain it, in the process that uses them"
        )


def masked(text: str) -> str:
    """Return text from a server or a proxy with secrets replaced by `***`: servers quote their input."""
    # `sub` with a group in its template takes several times as long as a search that finds nothing.
    if "." in text and _SIGNED.search(text):
        text = _SIGNED.sub(r"\1***", text)
    if _MAY_BE_RUN.search(text):
        text = _RUNS.sub("***", text)
    for mark, shape in _MARKED.items():
        if mark in text:  # rare; one regular expression for all takes ten times as long
            text = shape.sub("***", text)
    return text
