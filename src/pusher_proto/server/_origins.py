"""Checks the origin of a page against the origins that an app allows."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

__all__ = ["is_allowed"]


def is_allowed(origin: str, patterns: Iterable[str], *, host_only: bool) -> bool:
    """Return whether an origin matches a pattern, in which `*` matches any text.

    With `host_only`, patterns are hosts. Else a pattern without a scheme covers both schemes, and `*.x.test` covers
    `x.test` as well.
    """
    try:
        parts = urlsplit(origin)
        host, netloc = parts.hostname or "", parts.netloc.lower()
    except ValueError:
        return False
    if host_only:
        return bool(host) and any(fnmatchcase(host, pattern) for pattern in patterns)
    return any(_matches(origin.lower(), netloc, pattern.lower()) for pattern in patterns)


def _matches(origin: str, netloc: str, pattern: str) -> bool:
    given = origin if "://" in pattern else netloc
    if pattern.startswith("*.") and given == pattern[2:]:
        return True
    return fnmatchcase(given, pattern)
