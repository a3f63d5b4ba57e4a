"""The client for blocking code: opening, waiting, running handlers, closing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Self, TypeVar

from pusher_proto import (
    AuthRequest,
    Event,
    LocalProtocolError,
    OnProgress,
    Options,
    PusherTimeout,
    Session,
)
from pusher_proto.auth import check_plain_functions
from pusher_proto.client import ClientBase, HandlerCalls, HandlerErrors, Setup, Weakly
from pusher_proto.driving import SSLContext

from ._channel import Binding, Channel, Source, User
from ._io import IO, Connect, ConnectMessages, Loop
from ._waiting import Waiting

__all__ = ["Authorizer", "Client", "open_pusher"]

T = TypeVar("T")

Authorizer = Callable[[AuthRequest], Any]
"""Returns an `AuthResponse`. It runs in its own thread. If it has a method `authorize_many`, that is called instead
with a list of requests, and returns a list of authorizations or a mapping by channel."""


class Client(Waiting, ClientBase[Binding, Channel, User], Source):
    """One client of one app, in blocking code. Made by `open_pusher`; may be used from any thread."""

    _channel_class = Channel
    _user_class = User
    _awaits = False

    def __init__(self, session: Session, io: IO, setup: Setup) -> None:
        self._io = io
        self._setup = setup
        self._guard = io.guard
        super().__init__(setup.options, session, setup.authorizer, setup.on_event)
        self._calls = HandlerCalls(self._host)
        self._driver = self._driver_on(io, setup, io.fail)
        io.start(self._driver, Weakly(self._ended), setup.release)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, GeneratorExit):
            self.stop()  # a forgotten generator held the block: this may be any thread
        elif error is not None:
            with suppress(Exception):
                self.close()
        else:
            self.close()

    def __del__(self) -> None:
        io = self.__dict__.get("_io")  # missing if the constructor raised
        if io is not None and not (io.over or io.stopping):
            io.stop()
            self._warn_not_closed(self._setup.where, "with open_pusher(...)")

    def wait_connected(self, timeout: float | None = None) -> str:
        """Wait until the connection is established, and return its socket id.

        Raises `ConnectionFailed`, `ClientClosed`, and `PusherTimeout` after `timeout` seconds.
        """
        return self._wait(self._goals.connected(), timeout)

    def wait_subscribed(
        self, names: Iterable[str] | None = None, timeout: float | None = None
    ) -> None:
        """Wait until these channels are subscribed, by default all that the program subscribes to.

        Raises what `Channel.wait_subscribed` raises, for the first channel that is refused.
        """
        self._wait(self._goals.all_subscribed(names), timeout)

    def wait_disconnected(self, timeout: float | None = None) -> None:
        """Wait until `disconnect()` or `close()` was called and the connection is gone.

        Raises `PusherTimeout` after `timeout` seconds.
        """
        self._wait(self._goals.disconnected(), timeout)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the server has received every triggered event: until it answers a ping sent after them.

        That includes events that wait in an outbox, over reconnects. Raises `ConnectionEnded` when a connection ends
        before the answer, so that events may be lost, `NotConnected` when there is none and nothing waits,
        `AuthorizationError` or `SubscriptionError` when the remaining events wait for a channel that is refused,
        `ConnectionFailed`, `ClientClosed`, and `PusherTimeout` after `timeout` seconds, or when an event waited longer
        than its `max_age`.
        """
        self._wait(self._goals.flushed(), timeout)

    def wait_signed_in(self, timeout: float | None = None) -> str:
        """Wait until the user is signed in and messages to the user arrive, and return the user's id.

        The server confirms both. With a server that does not confirm the second, the wait takes a second longer.
        Raises `SignInError` when the sign-in is refused, `ConnectionFailed`, `ClientClosed`, `LocalProtocolError` when
        `signin` was not called, and `PusherTimeout` after `timeout` seconds.
        """
        return self._wait(self._goals.signed_in(), timeout)

    def run(self, timeout: float | None = None) -> None:
        """Call the handlers, in the calling thread, until the client is closed or stopped. Raises `ConnectionFailed`.

        Events are handled in the order of arrival. With a `timeout` it returns after that many seconds, but not before
        everything that was queued at the call has been handled: `run(timeout=0)` handles what is queued.
        """
        deadline = float("inf") if timeout is None else self._now() + timeout
        calls = self._calls
        with self._guard:
            if calls.running:
                raise LocalProtocolError("run() is running already: one thread calls the handlers")
            calls.running = True
            ahead = len(calls)
        try:
            while True:
                call = calls.at_hand() if self._io.error is None else None
                if call is None:
                    try:
                        call = self._wait(calls.goal(), deadline - self._now())
                    except PusherTimeout:
                        return
                if call is None:
                    return
                binding: Any = call[0]
                binding._run(call[1])
                ahead -= 1
                if ahead <= 0 and timeout is not None and self._now() >= deadline:
                    return
        finally:
            calls.running = False

    def stop(self) -> None:
        """Close the client soon, and return at once: `run` then returns. Safe in signal handlers and in any thread."""
        self._io.stop()

    def close(self) -> None:
        """Close the client within `Options.close_timeout`, as leaving the block does.

        In a function that the client calls in its own thread, and in a signal handler that interrupts one of the
        client's calls, it does not wait: the client closes once that returns.
        """
        if self._io.must_not_wait:
            self.stop()
            return
        with self._guard:
            if not self._session.closed:
                self._session.close(now=self._now())
                self._changed()
        self._wait_for_end()

    def call_from_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Return `function(*args)`. In blocking code every call may be made in any thread."""
        return function(*args)

    def _now(self) -> float:
        return self._io.time()

    def _changed(self) -> None:
        if self._io.over:
            self._deliver()
        else:
            self._io.wake()

    def _wake(self) -> None:
        self._io.wake()

    def _check_usable(self) -> None:
        if self._io.error is not None:
            raise self._io.error

    def _ended(self) -> None:
        """Wake all waits: no more events follow."""
        self._guard = self._host.guard = self._io.guard  # after a fork it is another one
        self._delivery.wake_all()


def open_pusher(
    options: Options,
    *,
    authorizer: Authorizer | None = None,
    ssl_context: SSLContext | None = None,
    connect: Connect | None = None,
    connect_messages: ConnectMessages | None = None,
    on_handler_error: HandlerErrors = "log",
    record: str | os.PathLike[str] | None = None,
    on_event: Callable[[Event], object] | None = None,
    on_progress: OnProgress | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> Client:
    """Open a client: `with open_pusher(options) as client`, or `client = open_pusher(options)` and `client.close()`.

    Opening starts to connect and does not wait. Leaving the block closes the client within `options.close_timeout`; an
    exception of the block is raised unchanged. A client that is neither closed nor stopped is closed when it is
    collected, with a `ResourceWarning`.

    - `authorizer` answers requests for authorizations when `options.auth` is None.
    - `ssl_context` replaces the default TLS context.
    - `connect(host, port)` opens a connected socket.
    - `connect_messages(host, port, tls, target)` opens a connection that carries whole messages, such as a WebSocket of
      another library, and returns a `MessageConnection`.
    - `on_handler_error="raise"`: the exception of a handler ends `run`, which raises it.
    - `record` names a file for all inputs of the session, for `python -m pusher_proto.replay`. `pusher_proto.recording`
      says what is masked in it and what is not.
    - `on_event` is called at once with every event, for metrics. It must not wait; its exceptions are logged.
    - `on_progress` is called in the same way with each step of connecting (name lookup, TCP, proxy, TLS, upgrade and
      greeting), when it begins and when it ends, with the seconds that it took.
    - `wall_clock` returns seconds since the epoch, for `Gap.since`.
    """
    Setup.check(on_handler_error, ssl_context, on_event, on_progress, wall_clock)
    check_plain_functions(
        options.auth, authorizer=authorizer, connect=connect, connect_messages=connect_messages
    )
    caller = sys._getframe(1)
    setup = Setup(
        options=options,
        authorizer=authorizer,
        ssl_context=ssl_context,
        on_handler_error=on_handler_error,
        on_event=on_event,
        on_progress=on_progress,
        file=None if record is None else open(record, "w", encoding="utf-8"),  # noqa: SIM115 - closed with the client
        wall_clock=wall_clock,
        where=f"{caller.f_code.co_filename}:{caller.f_lineno}",
        messages=connect_messages is not None,
    )
    try:
        io = Loop(connect, connect_messages, options.host or options.key)
        client = Client(setup.session(), io, setup)
    except BaseException:
        setup.release()
        raise
    if options.auto_connect:
        client.connect()
    return client
