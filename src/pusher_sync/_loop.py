"""The thread that runs a client's session: it sleeps on a selector until a socket, a deadline or a command wakes it."""

from __future__ import annotations

import atexit
import os
import selectors
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pusher_proto import LocalProtocolError

if TYPE_CHECKING:
    from ._client import Client

__all__ = ["Loop"]

_NAP = 86400.0  # seconds; some selectors cannot sleep longer than a few weeks

_live: set[Client] = set()


class Loop:
    """Settles the client's session whenever something may have changed. It ends when the session is closed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.selector = selectors.DefaultSelector()
        self.error: BaseException | None = None
        """What broke the loop: every wait raises it."""
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self.selector.register(self._ear, selectors.EVENT_READ, lambda _: self._ear.recv(64))
        self._asleep = self._changed = self._leaving = False
        self._due = float("inf")
        self._thread = threading.Thread(target=self._run, name="pusher-loop", daemon=True)

    def start(self) -> None:
        """Begin."""
        _live.add(self._client)
        self._thread.start()

    def wake(self) -> None:
        """See to what changed, in the loop's thread; without one any more, in this one. Called under the guard."""
        self._changed = True
        if self._client not in _live:
            self._client._deliver()
        elif self._asleep:
            self._asleep = False
            self.ring()

    def ring(self) -> None:
        """The same from anywhere: by any thread, in the midst of anything, without the guard."""
        with suppress(OSError):  # it is closed, or rings already
            self._bell.send(b"\0")

    def fail(self, error: BaseException) -> None:
        """End, and let `error` come out of every wait."""
        with self._client._guard:
            self.error = error
            self.wake()

    def leave(self) -> None:
        """Close the client soon, without waiting for anything, not even for the guard."""
        self._leaving = True
        self.ring()

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    @property
    def is_here(self) -> bool:
        """Whether this is the loop's own thread."""
        return threading.current_thread() is self._thread

    def release(self) -> None:
        """Close all files; what a forked process shares stays as it is."""
        for transport in self._client._transports.values():
            transport.release()
        for each in (self.selector, self._bell, self._ear):
            each.close()

    def _run(self) -> None:
        try:
            while self.error is None and self._turn():
                pass
        except BaseException as error:
            self.error = error
        self._stop()

    def _turn(self) -> bool:
        """Sleep until there is something to do, and do all of it before anybody sees the half of it.

        Returns whether another turn follows.
        """
        client, due = self._client, self._due
        session, now = client._session, client._now()
        ready = self.selector.select(min(max(0.0, due - now), _NAP) if self._asleep else 0.0)
        with client._guard:
            self._asleep = self._changed = False
            for key, mask in ready:
                key.data(mask)
            # Only what was due before the sockets were looked at: after a suspension what came meanwhile counts first.
            if due <= now:
                session.handle_timeout(now=now)
            if self._leaving:
                session.close(now=client._now())
            client._settle()
            deadline = session.next_deadline()
            self._due = float("inf") if deadline is None else deadline
            self._asleep = not self._changed
            return not session.closed

    def _stop(self) -> None:
        client = self._client
        with client._guard:
            _live.discard(client)
            client._lifecycle.notify()
            for sink in client._router:
                sink.signal.notify()
            for transport in tuple(client._transports.values()):
                with suppress(Exception):  # after an error the session may not like to hear of it
                    transport.close(abort=True)
            self.release()


_FORKED = "this client belongs to the process that opened it: open another after a fork"


class _Forked:
    """Stands for the guard of a client in a process forked from the one that opened it: no thread serves it there."""

    def __enter__(self) -> None:
        raise LocalProtocolError(_FORKED)

    def __exit__(self, *_: object) -> None: ...


def _after_fork() -> None:
    for client in _live:
        client._guard = _Forked()
        client._loop.error = LocalProtocolError(_FORKED)  # and so nothing goes without the guard
        client._loop.release()
    _live.clear()


def _at_exit() -> None:
    """Say goodbye for clients that were not closed; then the threads end with the process."""
    for client in tuple(_live):
        with client._guard:
            client._session.close(now=client._now())
            client._settle()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
