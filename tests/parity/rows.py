"""The rows of the comparison with the other clients that were missing here once; each has a test named after it.

The numbers are those of the comparison: 1 options and transport, 3 state, 4 channels, 5 binding, 7 authorization,
8 triggering and users; `w` and `r` are what users of these clients ask for.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OTHERS", "ROWS", "SEED", "Row"]


@dataclass(frozen=True)
class Row:
    """One row: its number, and what it is about."""

    number: str
    name: str

    @property
    def prefix(self) -> str:
        """The beginning of the names of its tests."""
        return f"test_row_{self.number.replace('.', '_')}_"


SEED = [
    Row("1.13", "a connection of the application's own, which carries whole messages"),
    Row("3.3", "dispose, isDisposed, and the end of a disconnect"),
    Row("3.6", "connectionErrorHandler(exception, trace, refresh)"),
    Row("3.7", "minimumReconnectDelayDuration"),
    Row("4.6", "eventDataEncodeDelegate of a channel"),
    Row("4.9", "channel status idle, pending, subscribed, unsubscribed"),
    Row("4.10", "forceCreateNewInstance"),
    Row("4.12", "subscribe, unsubscribe, subscribe again on one object"),
    Row("5.3", "eventStream: every message of the server"),
    Row("5.5", "unbind by handle, by name, all"),
    Row("7.10", "the parser of the endpoint's response"),
    Row("url", "options.uri"),
]
"""Rows of dart_pusher_channels 1.2.3."""

OTHERS = [
    Row("8.5", "send_event"),
    Row("5.9", "bind before connecting; make first, connect later"),
    Row("1.19", "switch cluster or app and keep channels"),
    Row("1.9b", "a separate TLS context for the auth endpoint"),
    Row("w2", "the proxy from the environment, with NO_PROXY"),
    Row("w6", "many channels in one call"),
    Row("8.20", "sign out"),
    Row("r3", "event patterns"),
    Row("r5", "was it sent"),
    Row("r7", "pacing of client events"),
    Row("r15", "the names of Laravel Echo"),
    Row("5.14", "typed members, typed by event"),
    Row("step", "a timed step of a stream"),
    Row("typed", "typed handlers"),
    Row("trace", "the trace of connecting"),
    Row("v2", "version 2 of Sockudo's protocol, which is not spoken"),
]
"""Rows of the other eight clients, and what their users ask for."""

ROWS = SEED + OTHERS
