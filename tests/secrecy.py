"""Nothing secret is logged: a watch over every log record of the whole suite, at every level.

It knows the secrets that the tests use, and what secrets look like that are made on the way. It is a plugin of pytest
(see conftest.py): a test during which something secret was logged fails.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Generator, Iterable
from typing import TypeVar
from zlib import crc32

import pytest

__all__ = ["FRAMES", "SECRETS", "SHAPES", "Watch", "rendered", "secrets_in"]

T = TypeVar("T")

LOGGERS = ("pusher_proto", "pusher_sync", "pusher_anyio")
FRAMES = logging.getLogger("pusher_proto.protocol")

MASTER_KEY = bytes(range(32))
SECRETS = {
    "the secret of an app": (
        "demo-secret",
        "plain-secret",
        "users-secret",
        "secret77",
        "7ad3773142a6692b25b8",
        "the-secret-of-this-app",
    ),
    "a master key": (repr(MASTER_KEY)[2:-1], MASTER_KEY.hex()),
    "a token": ("bearer-of-bad-news", "the-token-of-this-user", "secret-token"),
    "a password": ("the-password-of-the-proxy",),
    "user data": ("ada@example.test", "bearer of a name"),
}
"""The secrets of the tests, by their kind. A test with a new secret adds it here."""

SHAPES = {
    "a signature": re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{64}(?![0-9A-Za-z])"),
    "a key of 32 bytes": re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{43}=(?![A-Za-z0-9+/=])"),
    "a bearer token": re.compile(r"\bBearer (?!\*)[^\s'\"]"),
    "user data": re.compile(r"user_data\\*[\"']?\s*[:=]\s*[b]?\\*[\"'{]+(?![*\"'])"),
}
"""Patterns of secrets whose values are not known before: authorizations, keys of channels."""


def secrets_in(text: str) -> set[str]:
    """Return what there is in `text` that is secret, by its kind and not by its text."""
    found = {what for what, known in SECRETS.items() if any(each in text for each in known)}
    return found | {what for what, shape in SHAPES.items() if shape.search(text)}


def rendered(error: BaseException, *, with_locals: bool = True) -> str:
    """Return an exception with its whole chain, and with the local variables of all frames, as error trackers do."""
    reported = traceback.TracebackException.from_exception(error, capture_locals=with_locals)
    return "".join(reported.format()) + repr(error) + repr(error.__dict__)


class Watch(logging.Handler):
    """Checks everything that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.leaks: list[str] = []
        """Where something secret was logged, and of which kind it was."""

    def emit(self, record: logging.LogRecord) -> None:
        """Record each secret in a log record, in its arguments or its exception."""
        text = f"{record.getMessage()}\n{record.args!r}"
        if record.exc_info and record.exc_info[1] is not None:
            text += rendered(record.exc_info[1], with_locals=False)
        found = secrets_in(text)
        if (
            record.name == "pusher_proto.server"
        ):  # a tool for developers, which shows what it was sent
            found -= {"user data"}
        if found:
            where = f"{record.name}, {record.filename}:{record.lineno}"
            self.leaks.append(f"{where}: {', '.join(sorted(found))}")

    def begin(self, names: Iterable[str] = LOGGERS) -> None:
        """Watch, from now on, at every level."""
        for name in names:
            logging.getLogger(name).addHandler(self)
            logging.getLogger(name).setLevel(logging.DEBUG)

    def end(self, names: Iterable[str] = LOGGERS) -> None:
        """Stop watching."""
        for name in names:
            logging.getLogger(name).removeHandler(self)
            logging.getLogger(name).setLevel(logging.NOTSET)

    def pytest_configure(self) -> None:
        """Begin with the suite."""
        self.begin()

    def pytest_unconfigure(self) -> None:
        """End with the suite."""
        self.end()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, T, T]:
        """Fail what logs something secret.

        In half of the tests messages themselves are not logged: where they are, they are read in another way, and it is
        the other one that nearly all applications have. The test's name decides which half.
        """
        unseen = (
            item.get_closest_marker("messages_logged") is None and crc32(item.nodeid.encode()) % 2
        )
        FRAMES.setLevel(logging.INFO if unseen else logging.NOTSET)
        return (yield from self._watched())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, T, T]:
        """Fail what logs something secret."""
        return (yield from self._watched())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, T, T]:
        """Fail what logs something secret, and what leaves less to be watched than it found."""
        result: T = yield from self._watched()
        for name in LOGGERS:
            logger = logging.getLogger(name)
            if logger.level != logging.DEBUG:
                logger.setLevel(logging.DEBUG)
                pytest.fail(
                    f"the level of the logger {name} was changed and not put back", pytrace=False
                )
        return result

    def _watched(self) -> Generator[None, T, T]:
        try:
            return (yield)
        finally:
            leaks, self.leaks = self.leaks, []
            if leaks:
                lines = "\n".join(f"  {each}" for each in leaks)
                pytest.fail(f"something secret was logged:\n{lines}", pytrace=False)
