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
from math import inf
from typing import Any, Protocol

from pusher_proto.driving import IO as DrivingIO
from pusher_proto.driving import Driver, MessageWire, Wire, call_plain, peer_of
from pusher_proto.errors import LocalProtocolError

from ._dial import connect_tcp
from ._messages import ConnectMessages, MessagePipe
from ._socket import Connect, Pipe

__all__ = ["IO", "Loop"]

_NAP = 86400.0  # seconds; some systems cannot sleep longer than a few weeks

# On Windows Ctrl+C does not interrupt a wait for a lock, so the wait is cut into slices.
_SLICE = 0.05 if sys.platform == "win32" else threading.TIMEOUT_MAX

_FORKED = "this client belongs to the process that opened it: open another one after a fork"


class IO(DrivingIO, Protocol):
    """What the blocking client needs of its I/O: `Loop`, or the network in memory of the test kit."""

    needs_tls: bool
    """Whether streams are to be secured: False in memory."""
    guard: AbstractContextManager[object]
    """The lock under which the session, the driver and the client's own data are used."""
    error: BaseException | None
    """The bug that ended the client, or None."""
    stopping: bool
    """Whether `stop` was called."""

    @property
    def over(self) -> bool:
        """Whether the I/O has ended: it calls nothing any longer."""

    @property
    def must_not_wait(self) -> bool:
        """Whether a wait would never end: this is the I/O's own thread, or this thread holds the guard."""

    def start(self, driver: Driver, ended: Callable[[], None]) -> None:
        """Begin. `ended` is called once, under the guard, when `over` becomes True."""

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

    needs_tls = True

    def __init__(
        self,
        connect: Connect | None,
        connect_messages: ConnectMessages | None,
        name: str,
        released: Callable[[], None],
    ) -> None:
        self.guard: AbstractContextManager[object] = threading.RLock()
        self.error: BaseException | None = None
        self.over = False
        self._connect = connect
        self._released = released
        self._connect_messages = connect_messages
        self._pipes: dict[int, Pipe | MessagePipe] = {}
        self._message_pipes: list[MessagePipe] = []
        self._posted: list[Callable[[], None]] = []
        self._ring_at = inf
        self._woken = self.stopping = False
        self._sleeps = self._asleep = self._rung = 0
        """The number of the last sleep, of this one (0 while awake), and of the last one that was interrupted."""
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=f"pusher-io {name}", daemon=True)

    def start(self, driver: Driver, ended: Callable[[], None]) -> None:
        """Begin. Raises RuntimeError when there are too many threads."""
        self._driver, self._ended = driver, ended
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
        try:
            threading.Condition(guard).notify(0)
        except RuntimeError:  # the lock is not held by this thread
            return False
        return True

    def wake(self) -> None:
        """Settle the driver soon. Safe in any thread and in signal handlers: it takes no lock."""
        # In this order: the loop says that it sleeps first, and looks at `_woken` then.
        self._woken = True
        sleep = self._asleep
        if sleep and sleep != self._rung:
            with suppress(OSError):  # closed, or full of wake-ups already
                self._bell.send(b"\0")
            # Noted afterwards: where the exception of a signal handler came between, the next call rings.
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
        if self.error is None:
            self.error = error
        self.wake()

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    # For the driver

    def time(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def open(self, wire: Wire) -> None:
        """Dial in a new thread."""
        dial: Callable[[], None] = partial(self._dial, wire)
        if isinstance(wire, MessageWire) and (connect := self._connect_messages) is not None:
            pipe = self._pipes[wire.number] = MessagePipe(wire, connect, self.guard, self._post)
            self._message_pipes = [pipe, *(each for each in self._message_pipes if not each.over)]
            dial = pipe.run
        _start(f"pusher-dial {wire.host}:{wire.port}", self._until_error, dial)

    def attend(self, wire: Wire) -> None:
        """Write a wire's output, watch its socket, and close it when it is over."""
        pipe = self._pipes.get(wire.number)
        if pipe is not None:
            pipe.attend()
            if wire.over:
                self._pipes.pop(wire.number, None)

    def ring_at(self, at: float) -> None:
        """Call `Driver.ring` at `at`."""
        self._ring_at = at

    def call(
        self, function: Callable[[Any], object], argument: object, done: Callable[[object], None]
    ) -> Callable[[], None]:
        """Call a function of the application in a new thread. A call that is cancelled runs on."""

        def work() -> None:
            result = call_plain(function, argument)
            self._post(done, result)

        _start(f"pusher-call {getattr(function, '__qualname__', 'application')}", work)
        return _nothing

    # The threads

    def _dial(self, wire: Wire) -> None:
        try:
            if self._connect is not None:
                sock = self._connect(wire.host, wire.port)
            else:
                sock = connect_tcp(wire, partial(self._post, wire.resolved))
            sock.setblocking(False)
        except Exception as error:
            self._post(wire.failed, error)
        else:
            self._post(self._opened, wire, sock)

    def _until_error(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.fail(error)

    def _post(self, act: Callable[..., None], *args: object) -> None:
        """Call `act` in the loop's thread, or here when that has ended."""
        with suppress(LocalProtocolError), self.guard:
            if self.over:
                act(*args)
            else:
                self._posted.append(partial(act, *args))
                self.wake()

    def _opened(self, wire: Wire, sock: socket.socket) -> None:
        if wire.over:
            sock.close()
        else:
            self._pipes[wire.number] = Pipe(wire, sock, self._selector)
            wire.opened(peer_of(sock))

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:
            self.fail(error)
        with self.guard:
            self._end()
        self._join_messages()
        self._released()

    def _turn(self) -> bool:
        """Sleep, and carry out what is due; return whether to continue."""
        now = time.monotonic()
        self._sleeps += 1
        self._asleep = self._sleeps
        ready = self._select(0.0 if self._woken else self._ring_at - now)
        self._asleep = 0
        driver = self._driver
        with self.guard:
            for key, mask in ready:
                pipe: Pipe | None = key.data
                if pipe is None:
                    self._ear.recv(4096)
                else:
                    pipe.ready(mask)
            # Only timers due before the sockets were checked: data received during a suspension counts first.
            if self._ring_at <= now:
                driver.ring(now)
            if self._woken:
                self._woken = False
                posted, self._posted = self._posted, []
                for act in posted:
                    act()
                if self.stopping:
                    driver.session.close(now=time.monotonic())
                driver.settle()
            session = driver.session
            ended = session.closed and session.next_deadline() is None
            return self.error is None and not ended

    def _select(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        try:
            return self._selector.select(min(max(seconds, 0.0), _NAP))
        except OSError:
            # `select` refuses all sockets because of one that the application closed: reading from that one fails.
            keys = self._selector.get_map().values()
            closed = [key for key in keys if key.data is not None and key.data.is_closed]
            if not closed:
                raise
            return [(key, selectors.EVENT_READ) for key in closed]

    def _end(self) -> None:
        driver = self._driver
        acts: list[Callable[[], None]] = [driver.abort]
        acts += (partial(wire.close, abort=True) for wire in driver.wires.values())
        for act in (*acts, *self._posted):
            with suppress(Exception):  # after a bug the session may refuse
                act()
        self.over = True
        self._release()
        self._ended()

    def _release(self) -> None:
        """Close all files. Those of a forked process are not affected."""
        _alive.pop(self, None)
        for pipe in self._pipes.values():
            pipe.close()
        for each in (self._selector, self._bell, self._ear):
            each.close()

    # The process

    def say_goodbye(self) -> None:
        """Close the connection as the process ends, without waiting for the answer."""
        self.stopping = True
        with self.guard:
            self._driver.session.close(now=time.monotonic())
            self._driver.settle()
        self._join_messages()

    def _join_messages(self) -> None:
        """Wait until the connections that carry messages are closed."""
        for pipe in self._message_pipes:
            pipe.join()

    def after_fork(self) -> None:
        """Refuse everything: the thread and the connection belong to the process that this one was forked from."""
        self.guard = _Forked()
        self.error = LocalProtocolError(_FORKED)
        self.over = True
        self._selector.close()
        # A close frame would end the other process's connection.
        self._pipes = {n: pipe for n, pipe in self._pipes.items() if isinstance(pipe, Pipe)}
        self._release()
        self._ended()


_alive: dict[Loop, None] = {}


class _Forked:
    """The guard of a client in a process that was forked from the one that opened it."""

    def __enter__(self) -> None:
        raise LocalProtocolError(_FORKED)

    def __exit__(self, *_: object) -> None: ...


def _start(name: str, target: Callable[..., None], *args: object) -> None:
    threading.Thread(target=target, args=args, name=name, daemon=True).start()


def _nothing() -> None:
    """Cancel nothing: a thread cannot be interrupted."""


def _each(act: Callable[[Loop], None]) -> None:
    for loop in tuple(_alive):
        act(loop)


atexit.register(_each, Loop.say_goodbye)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(_each, Loop.after_fork))
