"""The consequences of the end of a connection, and hints for the user. Public path of `failures` and `hints`."""

from __future__ import annotations

from ._protocol.failures import FAILURES, Cause, Row, Step, Subject, cause_of_close, cause_of_status
from ._protocol.hints import explained, hint_for, status_hint, tls_hint

__all__ = [
    "FAILURES",
    "Cause",
    "Row",
    "Step",
    "Subject",
    "cause_of_close",
    "cause_of_status",
    "explained",
    "hint_for",
    "status_hint",
    "tls_hint",
]
