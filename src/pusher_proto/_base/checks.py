"""Checks values from messages, options and headers. Each error names the option to change."""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

from ..errors import excerpt

__all__ = [
    "IN_BLOCKING",
    "check_each_header",
    "check_handler",
    "check_header",
    "check_headers",
    "check_no_newline",
    "check_option",
    "check_plain",
    "check_runs",
    "check_secret",
    "check_ssl_context",
    "is_int",
    "is_number",
    "is_token",
]

IN_BLOCKING = "in blocking code; pusher_anyio awaits it"
"""Why a function has to be plain, for `check_plain`."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, section 5.6.2
_OUR_HEADERS = {"host", "upgrade", "connection", "content-length", "transfer-encoding"}
_MAY_BE_ZERO = {
    "auth_idle", "backlog_limit", "close_timeout", "retry_base", "retry_cap", "retry_floor",
}  # fmt: skip


def is_int(value: object) -> TypeGuard[int]:
    """Return whether `value` is an int. A bool, which is one in Python, is not a number in JSON."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether `value` is an int or a float, but not a bool."""
    return isinstance(value, float) or is_int(value)


def is_token(text: str) -> bool:
    """Return whether `text` is valid as the name of a header or of a subprotocol."""
    return _TOKEN.match(text) is not None


def check_header(name: object, value: object) -> None:
    """Raise TypeError or ValueError unless this header may be set on a request (RFC 9110, section 5.5)."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a header is a str, not {name!r}")
    if not isinstance(value, str):
        hint = ": decode() it" if isinstance(value, bytes) else ""
        raise TypeError(
            f"the value of the header {name!r} is a {type(value).__name__}, not a str{hint}"
        )
    lower = name.lower()
    if not is_token(name) or lower in _OUR_HEADERS or lower.startswith("sec-websocket-"):
        raise ValueError(
            f"the header {excerpt(name, 64)!r} cannot be set: the client sets it, or no header may have that name"
        )
    check_no_newline(value, f"the value of the header {name!r}")
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise ValueError(
            f"the value of the header {name!r} is not printable ASCII, or has spaces at its ends"
        )


def check_each_header(headers: Iterable[tuple[str, str]]) -> None:
    """Raise TypeError or ValueError unless these headers may be set, each of them once."""
    seen: dict[str, str] = {}
    for name, value in headers:
        check_header(name, value)
        lower = name.lower()
        if lower in seen:
            raise ValueError(f"the header {name!r} is given twice, also as {seen[lower]!r}")
        seen[lower] = name


def check_headers(headers: Mapping[str, str], body: str) -> None:
    """Raise TypeError or ValueError unless `headers` are valid for a request with a body of format `body`."""
    check_each_header(headers.items())
    for name, value in headers.items():
        if name.lower() != "content-type":
            continue
        kind = value.partition(";")[0].strip().lower()
        is_json = kind.endswith(("/json", "+json"))
        if is_json and body == "form":
            raise ValueError(f"the body would be a form, not {kind}: set body='json'")
        if kind == "application/x-www-form-urlencoded" and body == "json":
            raise ValueError(f"the body would be JSON, not {kind}: set body='form'")


def check_runs(function: object, what: str) -> None:
    """Raise TypeError if `function` is a generator function: a call would not run it."""
    if any(
        inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in _forms(function)
    ):
        raise TypeError(f"{what} is a function without `yield`: with it, a call runs nothing")


def check_handler(fn: object) -> None:
    """Raise TypeError unless `fn` is a function that can be a handler."""
    if not callable(fn):
        raise TypeError(f"a handler is a function of the event, not {fn!r}")
    check_runs(fn, "a handler")


def check_plain(function: object, what: str, why: str = "because it is not awaited") -> None:
    """Raise TypeError if `function` is a coroutine function or a generator function: a call would not run it."""
    check_runs(function, what)
    if any(map(inspect.iscoroutinefunction, _forms(function))):
        raise TypeError(f"{what} is a plain function {why}")


def _forms(function: object) -> tuple[object, ...]:
    """Return the function, and the method that is called if it is an object of a class with `__call__`."""
    return function, vars(type(function)).get("__call__")


def check_ssl_context(context: object, what: str) -> None:
    """Raise TypeError unless it is an `ssl.SSLContext`, of Python or of a library that replaces it, or None."""
    if context is not None and not callable(getattr(context, "wrap_bio", None)):
        raise TypeError(
            f"{what} is an ssl.SSLContext, not {type(context).__name__}; to trust a certificate write "
            "ssl.create_default_context(cafile=...)"
        )


def check_no_newline(text: str, what: str) -> None:
    """Raise ValueError when `text` ends in a newline, as text read from a file does."""
    if text.endswith(("\n", "\r")):
        raise ValueError(f"{what} ends in a newline: strip() it")


def check_secret(text: object, what: str) -> None:
    """Raise TypeError or ValueError unless `text` is valid as a secret or a token. The error never contains it."""
    if not isinstance(text, str):
        hint = ": decode() it" if isinstance(text, bytes) else ""
        raise TypeError(f"{what} is a str, not {type(text).__name__}{hint}")
    check_no_newline(text, what)
    if not text.isprintable() or text != text.strip():
        raise ValueError(
            f"{what} has spaces at its ends, or contains characters that cannot be printed"
        )


def check_option(name: str, value: Any, declared: str) -> None:
    """Raise TypeError or ValueError unless `value` is of the type `declared`, the annotation of the option."""
    if value is None and declared.endswith("None"):
        return
    if declared.startswith("str"):
        _check_type(name, "a str", value, isinstance(value, str))
    elif declared == "bool":
        _check_type(name, "True or False", value, isinstance(value, bool))
    elif declared.startswith("Callable"):
        _check_type(name, "a function", value, callable(value))
        check_plain(value, f"Options({name}=...)")
    elif declared.startswith(("int", "float")):
        _check_number(name, value, is_int if declared.startswith("int") else is_number)
    elif declared.startswith("Literal"):
        allowed = ast.literal_eval(declared.removeprefix("Literal"))
        if value not in allowed:
            raise ValueError(
                f"Options({name}={excerpt(value, 64)!r}): one of {', '.join(allowed)} is needed"
            )
    elif declared.startswith("tuple[float"):
        _check_type(name, "a tuple of numbers", value, isinstance(value, tuple))
        if not value:
            raise ValueError(f"Options({name}=()): at least one number is needed")
        for one in value:
            check_option(name, one, "float")
    elif declared.startswith("tuple"):
        _check_type(name, "a tuple", value, isinstance(value, tuple))
        _check_strings(name, value)
    elif declared.startswith("Mapping"):
        _check_type(name, "a mapping", value, isinstance(value, Mapping))
        _check_strings(name, value)
        for key, one in value.items():
            if not isinstance(one, str):
                raise TypeError(f"Options({name}=...): the value of {key!r} is not a string")


def _check_number(name: str, value: Any, fits: Callable[[object], bool]) -> None:
    _check_type(name, "a number", value, fits(value))
    sensible = 0 <= value < math.inf and (value != 0 or name in _MAY_BE_ZERO)
    if not sensible and name != "port":
        raise ValueError(f"Options({name}={value!r}): a positive number is needed")


def _check_type(name: str, needed: str, value: object, fits: bool) -> None:
    if not fits:
        raise TypeError(f"Options({name}=...) is {needed}, not {type(value).__name__}")


def _check_strings(name: str, values: Any) -> None:
    for one in values:
        if not isinstance(one, str):
            raise TypeError(f"Options({name}=...): {one!r} is not a string")
