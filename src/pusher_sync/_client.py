"""The client for blocking code: carries out what the session asks, and waits."""

from __future__ import annotations

import os
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar

from pusher_proto import (
    Authorize,
    AuthorizeMany,
    AuthRequest,
    CallApplication,
    CancelCall,
    CloseTransport,
    Effect,
    Event,
    LocalProtocolError,
    OpenTransport,
    Options,
    PusherTimeout,
    SendData,
    StartTls,
)
from pusher_proto.client import (
    PENDING,
    ClientBase,
    HandlerErrors,
    Nothing,
    Pending,
    Signal,
    session_for,
)

from ._channel import Binding, Channel, Source, User
from ._loop import Loop
from ._transport import Connect, Transport

__all__ = ["Authorizer", "Client", "open_pusher"]

T = TypeVar("T")

Authorizer = Callable[[AuthRequest], Any]
"""Returns a `AuthResponse`. It runs in a thread of its own. When it has a method `authorize_many`, that is
given a list of requests instead and returns a list of authorizations, or a mapping by channel."""

# On Windows Ctrl+C does not end a wait for a lock: there it is waited for in slices.
_SLICE = 0.05 if sys.platform == "win32" else threading.TIMEOUT_MAX


class Client(ClientBase[Channel, User], Source):
    """One client of one app, in blocking code. Made by `open_pusher`; may be used from any thread."""

    _channel_class = Channel
    _user_class = User
    _binding_class = Binding

    def __init__(
        self,
        options: Options,
        authorizer: Authorizer | None,
        ssl_context: ssl.SSLContext | None,
        connect: Connect | None,
        on_handler_error: HandlerErrors,
        write: Callable[[str], object] | None,
        on_event: Callable[[Event], object] | None,
    ) -> None:
        super().__init__(options, session_for(options, authorizer, write), authorizer, on_event)
        self._guard = threading.RLock()
        self._given_context = ssl_context
        self._connect = connect
        self._on_handler_error = on_handler_error
        self._transports: dict[int, Transport] = {}
        self._calls: deque[Binding] = deque()
        self._running = self._warned_of_run = False
        self._loop = Loop(self)
        self.connect()

    def wait_connected(self, timeout: float | None = None) -> str:
        """Wait until the connection is established, and return its socket id.

        Raises `ConnectionFailed`, `ClientClosed`, and `PusherTimeout` after `timeout` seconds.
        """
        return self._wait(self._check_connected, self._lifecycle, timeout, "not connected")

    def wait_signed_in(self, timeout: float | None = None) -> str:
        """Wait until the user is signed in, and return its id.

        Raises `SignInError` when it is refused, `ConnectionFailed`, `ClientClosed`, `LocalProtocolError` when
        `signin` was not called, and `PusherTimeout` after `timeout` seconds.
        """
        return self._wait(self._check_signed_in, self._lifecycle, timeout, "not signed in")

    def run(self, timeout: float | None = None) -> None:
        """Call the handlers, here, in this thread, until the client is closed. Raises `ConnectionFailed`.

        Events are handled in the order in which they came. With a `timeout` returns after that many seconds, but not
        before all that waited at the call is handled: `run(timeout=0)` does that and no more.
        """
        deadline = float("inf") if timeout is None else self._now() + timeout
        with self._guard:
            if self._running:
                raise LocalProtocolError("run() is running already: one thread calls the handlers")
            self._running = True
            ahead = len(self._calls)
        try:
            while True:
                call = self._call_at_hand()
                if call is None:
                    left = deadline - self._now()
                    try:
                        call = self._wait(self._check_calls, self._lifecycle, left)
                    except PusherTimeout:
                        return
                if call is None:
                    return
                binding, event = call
                binding._run(event)
                ahead -= 1
                if ahead <= 0 and timeout is not None and self._now() >= deadline:
                    return
        finally:
            self._running = False

    def close(self) -> None:
        """End everything, within `Options.close_timeout`. The same as leaving the block."""
        with self._guard:
            if not self._session.closed:
                self._session.close(now=self._now())
                self._changed()
        self._wait(self._check_closed, self._lifecycle)
        self._wait(self._check_over, self._lifecycle)
        self._loop.join()

    def _now(self) -> float:
        return time.monotonic()

    def _tell(self, answer: Callable[..., None], *details: object) -> None:
        """Tell the session what happened."""
        with self._guard:
            answer(*details, now=time.monotonic())
            self._changed()

    def _changed(self) -> None:
        self._loop.wake()

    def _wake(self) -> None:
        self._loop.ring()

    def _settle(self) -> None:
        next_effect = self._session.next_effect
        while (effect := next_effect()) is not None:
            while effect is not None:
                self._carry_out(effect)
                effect = next_effect()
            for transport in tuple(self._transports.values()):
                transport.flush()  # all that was to be written by now in one piece
        self._deliver()
        for transport in self._transports.values():
            transport.resume()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case OpenTransport():
                transport = self._transports[effect.transport] = Transport(self, effect)
                _start(transport.run)
            case Authorize() | AuthorizeMany() | CallApplication():
                _start(self._call, effect)
            case CancelCall():
                pass  # a thread cannot be cancelled
            case _ if effect.transport not in self._transports:
                pass  # it has just ended
            case SendData():
                self._transports[effect.transport].send(effect.data)
            case StartTls():
                self._transports[effect.transport].start_tls(effect.host)
            case CloseTransport():
                self._transports[effect.transport].close(abort=effect.abort)

    def _call(self, effect: Authorize | AuthorizeMany | CallApplication) -> None:
        result: object
        try:
            function, arguments = self._question(effect)
            result = function(*arguments)
        except Exception as error:
            result = error
        self._answered(effect, result)

    def _wait(
        self,
        check: Callable[[], T | Literal[Nothing.PENDING]],
        signal: Signal,
        timeout: float | None = None,
        what: str = "",
    ) -> T:
        deadline = float("inf") if timeout is None else self._now() + timeout
        while True:
            with self._guard:
                if self._loop.error is not None:
                    raise self._loop.error
                outcome = check()
                if outcome is not PENDING:
                    return outcome
                if self._loop.is_here:
                    raise LocalProtocolError(
                        "what the client's own thread calls cannot wait for it"
                    )
                left = deadline - self._now()
                if left <= 0:
                    raise PusherTimeout(self._why_not(what, timeout))
                lock = threading.Lock()
                lock.acquire()
                signal.add(lock.release)
            woken = False  # then the signal has forgotten the lock
            try:
                woken = lock.acquire(timeout=min(left, _SLICE))
            finally:
                if not woken:
                    with self._guard:
                        signal.discard(lock.release)

    def _call_at_hand(self) -> tuple[Binding, Event] | None:
        """Return what `_check_calls` does for nearly all events, without the lock: to take from a deque needs none."""
        try:
            binding = self._calls[0]
            if self._loop.error is None and len(binding.queue) - 1 > binding.look_at:
                self._calls.popleft()
                return binding, binding.queue.popleft()
        except IndexError:
            pass  # nothing waits, or what did was just cancelled
        return None  # or somebody is to be told that it was taken

    def _check_calls(self) -> tuple[Binding, Event] | Pending | None:
        while self._calls:
            binding = self._calls.popleft()
            event = binding.take()
            if event is not None:
                if len(binding.queue) <= binding.look_at:
                    self._took(binding)
                return binding, event
        return None if self._check_run() is True else PENDING

    def _check_over(self) -> Pending | None:
        return None if self._loop.over else PENDING

    def _context(self) -> ssl.SSLContext:
        if self._given_context is None:
            self._given_context = ssl.create_default_context()
        return self._given_context


@contextmanager
def open_pusher(
    options: Options,
    *,
    authorizer: Authorizer | None = None,
    ssl_context: ssl.SSLContext | None = None,
    connect: Connect | None = None,
    on_handler_error: HandlerErrors = "log",
    record: str | os.PathLike[str] | None = None,
    on_event: Callable[[Event], object] | None = None,
) -> Iterator[Client]:
    """Open a client for the length of the block: `with open_pusher(options) as client`.

    Entering starts connecting and does not wait. `authorizer` answers requests for authorizations when
    `options.auth` is None;
    `ssl_context` replaces the default one; `connect` replaces how a socket to a host and port is opened. With
    `on_handler_error="raise"` the exception of a handler ends `run` and comes out of it. `record` names a file
    that all inputs of the session are written to, for `python -m pusher_proto.replay`; see `pusher_proto.recording` for
    what is masked in it and what is not. `on_event` is called with every event at once, whether or not anybody asked
    for it: for metrics. It must not wait; what it raises is logged.

    Leaving closes the connection within `options.close_timeout`. An exception of the block comes out as itself.
    """
    file = None if record is None else open(record, "w", encoding="utf-8")  # noqa: SIM115 - closed below
    write = None if file is None else file.write
    try:
        client = Client(
            options, authorizer, ssl_context, connect, on_handler_error, write, on_event
        )
        try:
            yield client
        except GeneratorExit:
            client._loop.leave()
            raise
        except BaseException:
            with suppress(Exception):
                client.close()
            raise
        client.close()
    finally:
        if file is not None:
            file.close()


def _start(target: Callable[..., None], *args: object) -> None:
    threading.Thread(target=target, args=args, name="pusher", daemon=True).start()
