"""The thread of one client: it sleeps on a selector until a socket, a deadline or a command wakes it."""

from __future__ import annotations

import atexit
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any, Protocol

from pusher_proto.driving import IO as DrivingIO
from pusher_proto.driving import Driver, MessageWire, Wire, WireSocket, call_plain, outcome_of
from pusher_proto.driving.sockets import checked_socket
from pusher_proto.driving.tls import must_return
from pusher_proto.errors import LocalProtocolError

from ._dial import Connect, connect_tcp
from ._messages import Closing, ConnectMessages, MessagePipe, Report

__all__ = ["IO", "Connect", "Loop"]

_NAP = 86400.0  # seconds; some systems cannot sleep longer than a few weeks

# On Windows Ctrl+C does not interrupt a wait for a lock, so the wait is cut into slices.
_SLICE = 0.05 if sys.platform == "win32" else threading.TIMEOUT_MAX

_FORKED = "this client belongs to the process that opened it: open another one after a fork"


Callback = Callable[[], None]


class IO(DrivingIO, Protocol):
    """The interface that the blocking client uses: of `Loop`, or of the network in memory of the test kit."""

    guard: AbstractContextManager[object]
    """The lock under which the session, the driver and the client's own data are used."""
    error: BaseException | None
    """The bug that ended the client, or None."""
    stopping: bool
    """Whether `stop` was called."""

    @property
    def over(self) -> bool:
        """Whether the I/O has ended and calls nothing."""

    @property
    def must_not_wait(self) -> bool:
        """Whether a wait would never end: this is the I/O's own thread, or this thread holds the guard."""

    def start(self, driver: Driver, ended: Callback, released: Callback) -> None:
        """Begin. `ended` is called once, under the guard, when `over` becomes True, and `released` at the very end."""

    def wake(self) -> None:
        """Call `Driver.settle` soon. Safe in any thread and in signal handlers."""

    def stop(self) -> None:
        """Close the session soon. Safe in any thread and in signal handlers."""

    def sleeper(self) -> tuple[Callable[[], object], Callable[[float], bool]]:
        """Return two functions: one wakes, the other sleeps for at most that many seconds and returns whether it was
        woken."""

    def fail(self, error: BaseException) -> None:
        """End everything because of a bug."""

    def join(self) -> None:
        """Wait until all resources are released, after `over`."""


class Loop:
    """The I/O of one client. Its thread does all I/O and calls all of the driver, under the guard.

    Other threads exist only for name lookup with connect, for functions of the application, and for its connections
    that carry messages.
    """

    def __init__(
        self, connect: Connect | None, connect_messages: ConnectMessages | None, name: str
    ) -> None:
        self.guard: AbstractContextManager[object] = threading.RLock()
        self.error: BaseException | None = None
        self.over = self.stopping = self._woken = False
        self._connect, self._connect_messages = connect, connect_messages
        self._closing = Closing()
        self._posted: list[Callable[[], object]] = []
        self._asleep: object = None
        """This sleep; None while awake."""
        self._rung: object = None
        """The last sleep that was interrupted."""
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        for each in (self._bell, self._ear):
            each.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ, self._hear)
        self._thread = threading.Thread(target=self._run, name=f"pusher-io {name}", daemon=True)

    def start(self, driver: Driver, ended: Callback, released: Callback) -> None:
        """Begin. Raises RuntimeError when there are too many threads."""
        self._driver, self._ended, self._released = driver, ended, released
        try:
            self._thread.start()
        except BaseException:
            self.over = True
            self._release()
            raise
        _alive[self] = None

    # For the client

    @property
    def must_not_wait(self) -> bool:
        """Whether a wait would never end: this is the loop's thread, or this thread holds the guard."""
        if self.over or threading.current_thread() is self._thread:
            return not self.over
        guard: Any = self.guard
        with suppress(RuntimeError):  # the lock is not held by this thread
            threading.Condition(guard).notify(0)
            return True
        return False

    def wake(self) -> None:
        """Settle the driver soon. Safe in any thread and in signal handlers: it takes no lock."""
        # In this order: the loop first sets `_asleep`, then reads `_woken`.
        self._woken = True
        sleep = self._asleep
        if sleep is not None and sleep is not self._rung:
            with suppress(OSError):  # closed, or already full of wake-ups
                self._bell.send(b"\0")
            # Set last: if a signal handler raises before this line, the next call rings.
            self._rung = sleep

    def stop(self) -> None:
        """Close the session soon. Safe in any thread and in signal handlers: it takes no lock."""
        self.stopping = True
        self.wake()

    def sleeper(self) -> tuple[Callable[[], object], Callable[[float], bool]]:
        """Return two functions: one wakes, the other sleeps."""
        lock = threading.Lock()
        lock.acquire()
        return lock.release, lambda seconds: lock.acquire(timeout=min(seconds, _SLICE))

    def fail(self, error: BaseException) -> None:
        """End everything because of a bug; the first one counts."""
        self.error = self.error or error
        self.wake()

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    # For the driver

    def time(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def open(self, wire: Wire) -> None:
        """Open a connection in a new thread."""
        begin = partial(self._begin, f"{wire.host}:{wire.port}")
        if isinstance(wire, MessageWire) and (connect := self._connect_messages) is not None:
            wire.moved_by = MessagePipe(wire, connect, begin, self._post, self._closing)
        else:
            opened = partial(WireSocket.opened, wire, self._selector)
            begin("dial", partial(self._dial, wire), opened, wire.failed)

    def attend(self, wire: Wire) -> None:
        """Write a wire's output, watch its socket, and close it when it is over."""
        if wire.moved_by is not None:
            wire.moved_by.attend()

    def ring_at(self, at: float) -> None:
        """Do nothing: each turn looks at `Driver.rings_at`."""

    def call(
        self, function: Callable[[Any], object], argument: object, done: Callable[[object], None]
    ) -> Callable[[], object]:
        """Call a function of the application in a new thread. A call that is cancelled runs on."""
        name = getattr(function, "__qualname__", "application")
        what = "load" if must_return(function) else "call"
        self._begin(name, what, partial(call_plain, function, argument), done, done)
        return int  # does nothing: a thread cannot be interrupted

    # The threads

    def _begin(
        self, name: str, what: str, function: Callable[[], object], done: Report, failed: Report
    ) -> threading.Thread:
        """Call `function` in a new thread, then `done` or `failed` in the loop's thread.

        The process waits at its end for a thread that loads, and for no other.
        """

        def work() -> None:
            result = outcome_of(function)
            self._post(failed if isinstance(result, BaseException) else done, result)

        thread = threading.Thread(target=work, name=f"pusher-{what} {name}", daemon=what != "load")
        try:
            thread.start()
        except RuntimeError as error:
            self._post(failed, OSError(f"no thread for it: {error}"))
        return thread

    def _post(self, act: Callable[..., object], *args: object) -> None:
        """Call `act` in the loop's thread, or here when that has ended."""
        with suppress(LocalProtocolError), self.guard:
            if self.over:
                act(*args)
            else:
                self._posted.append(partial(act, *args))
                self.wake()

    def _dial(self, wire: Wire) -> socket.socket:
        if self._connect is not None:
            return checked_socket(self._connect(wire.host, wire.port))
        return checked_socket(connect_tcp(wire, partial(self._post, wire.resolved)))

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:
            self.fail(error)
        with self.guard:
            self._driver.abort()
            for act in self._posted:
                with suppress(Exception):  # after a bug the session may raise
                    act()
            self.over = True
            self._release()
            self._ended()
        self._closing.wait()
        self._released()

    def _turn(self) -> bool:
        """Sleep, and carry out what is due; return whether to continue."""
        driver, now = self._driver, time.monotonic()
        self._asleep = object()
        ready = self._select(0.0 if self._woken else driver.rings_at - now)
        self._asleep = None
        with self.guard:
            for key, mask in ready:
                key.data(mask)
            # Only timers due before the sockets were checked: data received during a suspension counts first.
            if driver.rings_at <= now:
                driver.ring(now)
            if self._woken:
                self._woken = False
                while self._posted:
                    self._posted.pop(0)()
                if self.stopping:
                    driver.session.close(now=time.monotonic())
                driver.settle()
            return self.error is None and not driver.ended

    def _select(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        try:
            return self._selector.select(min(max(seconds, 0.0), _NAP))
        except OSError:
            # `select` fails for all sockets if the application closed one: reading tells which.
            return [(key, selectors.EVENT_READ) for key in self._selector.get_map().values()]

    def _hear(self, _: int) -> None:
        with suppress(BlockingIOError):
            self._ear.recv(4096)

    def _release(self) -> None:
        """Close all files. Those of a forked process are not affected."""
        _alive.pop(self, None)
        for wire in self._driver.wires.values():
            if isinstance(wire.moved_by, WireSocket):
                wire.moved_by.close()
        for each in (self._selector, self._bell, self._ear):
            each.close()

    # The process

    def say_goodbye(self) -> None:
        """Close the connection as the process ends, without waiting for the answer."""
        self.stopping = True
        with self.guard:
            self._driver.close()
        self._closing.wait()

    def after_fork(self) -> None:
        """Refuse everything: the thread and the connection belong to the process that this one was forked from."""
        self.guard = _Forked()
        self.error = LocalProtocolError(_FORKED)
        self.over = True
        self._selector.close()  # before sockets are taken out of it, which belong to the other process as well
        self._release()
        self._ended()


_alive: dict[Loop, None] = {}


class _Forked:
    """The guard of a client in a process that was forked from the one that opened it."""

    def __enter__(self) -> None:
        raise LocalProtocolError(_FORKED)

    def __exit__(self, *_: object) -> None: ...


def _each(act: Callable[[Loop], None]) -> None:
    for loop in tuple(_alive):
        act(loop)


atexit.register(_each, Loop.say_goodbye)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(_each, Loop.after_fork))
