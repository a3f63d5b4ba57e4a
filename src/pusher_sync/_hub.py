"""The thread of all blocking clients: it sleeps on a selector until a socket, a deadline or a command wakes it."""

from __future__ import annotations

import atexit
import os
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from selectors import EVENT_READ
from typing import TYPE_CHECKING

from pusher_proto.client import Deadlines

from ._ready import Polled, Selected, readiness

if TYPE_CHECKING:
    from ._loop import Loop
    from ._transport import Transport

__all__ = ["Hub", "hub_for"]

_NAP = 86400.0  # seconds; some systems cannot sleep longer than a few weeks

_lock = threading.Lock()
_current: Hub | None = None


def hub_for(loop: Loop) -> Hub:
    """Return the hub of the process, which is to see to `loop` until it leaves."""
    global _current
    with _lock:
        if _current is None:
            hub = Hub()
            hub.start()
            _current = hub
        _current.loops[loop] = None
        return _current


class Hub:
    """Gives the loop of each client its turns, in one thread, which ends when the last client leaves.

    A thread for each client would take 17 KB of it, and three files, and be no quicker: they share the interpreter's
    lock, and what may wait for long is done by none of them.
    """

    def __init__(self) -> None:
        self.loops: dict[Loop, None] = {}
        self.over = False
        """Whether the thread ends: no client is left, or it broke."""
        self._sockets: Polled[Transport | None] | Selected[Transport | None] = readiness()
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._sockets.watch(self._ear, EVENT_READ, None)
        self._woken: deque[Loop] = deque()
        self._asleep = False
        self._deadlines: Deadlines[Loop] = Deadlines()
        self._thread = threading.Thread(target=self._run, name="pusher-loop", daemon=True)

    def start(self) -> None:
        """Begin."""
        try:
            self._thread.start()
        except BaseException:  # there may be too many threads
            self.release()
            raise

    def join(self) -> None:
        """Wait for the end of the thread, if it is about to end."""
        if self.over:
            self._thread.join()

    @property
    def is_here(self) -> bool:
        """Whether this is the hub's own thread."""
        return threading.current_thread() is self._thread

    def wake(self, loop: Loop) -> None:
        """Give `loop` a turn. Called by any thread, in the midst of anything."""
        self._woken.append(loop)
        if self._asleep:
            self._asleep = False
            with suppress(OSError):  # it is closed, or rings already
                self._bell.send(b"\0")

    def wake_at(self, loop: Loop, at: float) -> None:
        """Give `loop` a turn at `at`, in monotonic seconds, and not at the time that was set before."""
        self._deadlines.put(loop, at)

    def watch(self, sock: socket.socket, wanted: int, transport: Transport) -> None:
        """Tell `transport` when `sock` is ready for what is `wanted`, and for nothing else."""
        self._sockets.watch(sock, wanted, transport)

    def leave(self, loop: Loop) -> None:
        """See to `loop` no more."""
        global _current
        self._deadlines.drop(loop)
        with _lock:
            self.loops.pop(loop, None)
            if not self.loops:
                self.over = True
                if _current is self:
                    _current = None

    def release(self) -> None:
        """Close all files; what a forked process shares stays as it is."""
        for each in (self._sockets, self._bell, self._ear):
            each.close()

    def _run(self) -> None:
        try:
            while not self.over:
                self._turn()
        except BaseException as error:
            while self.loops:  # others may still come
                next(iter(self.loops)).end(error)
        self.release()

    def _turn(self) -> None:
        now, first = time.monotonic(), self._deadlines.next()
        left = _NAP if first is None else first - now
        # In this order: who wakes the hub adds to `_woken` first, and looks whether it is asleep then.
        self._asleep = True
        ready = self._sockets.wait(0.0 if self._woken or left < 0.0 else min(left, _NAP))
        self._asleep = False
        if len(ready) == 1 and left > 0.0 and not self._woken:
            transport, mask = ready[0]
            if transport is not None:  # nearly always, and then none of what follows is needed
                transport.loop.turn([(transport, mask)], None)
                return
        turns: dict[Loop, list[tuple[Transport, int]]] = {}
        for transport, mask in ready:
            if transport is None:
                self._ear.recv(64)
            else:
                turns.setdefault(transport.loop, []).append((transport, mask))
        for _ in range(len(self._woken)):
            turns.setdefault(self._woken.popleft(), [])
        # Only what was due before the sockets were looked at: after a suspension what came meanwhile counts first.
        due = set()
        while (loop := self._deadlines.pop_due(now)) is not None:
            due.add(loop)
            turns.setdefault(loop, [])
        for loop, sockets in turns.items():
            loop.turn(sockets, now if loop in due else None)


def _after_fork() -> None:
    """Let go of what belongs to the process that this one was forked from: no thread serves it here."""
    global _current, _lock
    _lock = threading.Lock()  # another thread may have held it
    hub, _current = _current, None
    if hub is not None:
        for loop in hub.loops:
            loop.forked()
        hub.release()


def _at_exit() -> None:
    """Say goodbye for clients that were not closed; then the thread ends with the process."""
    for loop in tuple(_current.loops if _current is not None else ()):
        loop.say_goodbye()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
