"""The client for asyncio and trio. It owns its tasks; no task owns it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from typing import Any, TypeVar, overload

from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from pusher_proto import AuthRequest, Event, LocalProtocolError, OnProgress, Options, Session
from pusher_proto.client import ClientBase, HandlerErrors, Opening, Setup, Weakly
from pusher_proto.driving import Driver, SSLContext

from ._bindings import Binding, Caller
from ._channel import Channel, Source, User
from ._io import Connect, ConnectMessages, Loop, current_loop
from ._waiting import Waiting

__all__ = ["Authorizer", "Client", "open_pusher"]

T = TypeVar("T")

Authorizer = Callable[[AuthRequest], Any]
"""Returns an `AuthResponse`, or an awaitable of one. A plain function runs in its own thread. If it has a method
`authorize_many`, that is called instead with a list of requests, and returns a list of authorizations or a mapping by
channel."""


class Client(Waiting, ClientBase[Binding, Channel, User], Source):
    """One client of one app, on asyncio or trio. Made by `open_pusher`. Use it on the event loop that opened it."""

    _channel_class = Channel
    _user_class = User
    _guard = nullcontext()

    def __init__(self, session: Session, io: Loop, setup: Setup) -> None:
        self._io = io
        self._setup = setup
        self._errors = []
        super().__init__(setup.options, session, setup.authorizer, setup.on_event)
        self._caller = Caller(self)
        io.anchor = self._host.bindings  # keeps a client with handlers alive
        io.broke = Weakly(self._broke)
        io.driver = self._driver = self._driver_on(io, setup, io.broke)
        if setup.options.auto_connect:
            self.connect()

    def __del__(self) -> None:
        driver = getattr(self, "_driver", None)  # missing if the constructor raised
        if driver is not None and not (driver.session.closed and not self._io.wires):
            self._warn_not_closed(self._setup.where, "async with open_pusher(...)")
            self._io.soon(_forgotten, driver, self._io)

    async def wait_connected(self, timeout: float | None = None) -> str:
        """Wait until the connection is established, and return its socket id.

        Raises `ConnectionFailed`, `ClientClosed`, and `PusherTimeout` after `timeout` seconds.
        """
        return await self._wait(self._goals.connected(), timeout)

    async def wait_subscribed(
        self, names: Iterable[str] | None = None, timeout: float | None = None
    ) -> None:
        """Wait until these channels are subscribed, by default all that the program subscribes to.

        Raises what `Channel.wait_subscribed` raises, for the first channel that is refused.
        """
        await self._wait(self._goals.all_subscribed(names), timeout)

    async def wait_disconnected(self, timeout: float | None = None) -> None:
        """Wait until `disconnect()` or `close()` was called and the connection is gone.

        Raises `PusherTimeout` after `timeout` seconds.
        """
        await self._wait(self._goals.disconnected(), timeout)

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until the server has received every triggered event: until it answers a ping sent after them.

        That includes events that wait in an outbox, over reconnects. Raises `ConnectionEnded` when a connection ends
        before the answer, so that events may be lost, `NotConnected` when there is none and nothing waits,
        `AuthorizationError` or `SubscriptionError` when the remaining events wait for a channel that is refused,
        `ConnectionFailed`, `ClientClosed`, and `PusherTimeout` after `timeout` seconds, or when an event waited longer
        than its `max_age`.
        """
        await self._wait(self._goals.flushed(), timeout)

    async def wait_signed_in(self, timeout: float | None = None) -> str:
        """Wait until the user is signed in and messages to the user arrive, and return the user's id.

        The server confirms both. With a server that does not confirm the second, the wait takes a second longer.
        Raises `SignInError` when the sign-in is refused, `ConnectionFailed`, `ClientClosed`, `LocalProtocolError` when
        `signin` was not called, and `PusherTimeout` after `timeout` seconds.
        """
        return await self._wait(self._goals.signed_in(), timeout)

    async def run(self) -> None:
        """Wait until the client is closed, while handlers are called.

        Raises `ConnectionFailed`, and the error that ended the client, such as the exception of a handler with
        `on_handler_error="raise"`.
        """
        await self._wait(self._goals.closed())

    def stop(self) -> None:
        """Close the client soon, and return at once: `run` then returns. Safe in signal handlers and in any thread."""
        self._io.soon(self._io.start, "pusher close", self._close)

    async def close(self) -> None:
        """Close the client within `Options.close_timeout`, as leaving the block does.

        Any task may call it, a handler included. Raises the error that ended the client, if there is one.
        """
        self._check_here()
        await checkpoint_if_cancelled()
        await self._close()
        self._raise_errors()

    async def aclose(self) -> None:
        """Call `close`: for `contextlib.aclosing`."""
        await self.close()

    @overload
    def call_from_thread(self, function: Callable[..., Awaitable[T]], *args: Any) -> T: ...
    @overload
    def call_from_thread(self, function: Callable[..., T], *args: Any) -> T: ...
    def call_from_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function(*args)` on the client's event loop, from another thread, and return what it returned.

        If that is an awaitable, it is awaited there. Raises what the function raised, and RuntimeError when the event
        loop has ended.
        """
        if not self._io.why_not_here():
            raise LocalProtocolError(
                "call_from_thread is for other threads: here call the function itself"
            )
        return self._io.call_from_thread(function, *args)

    def _now(self) -> float:
        return self._io.time()

    def _changed(self) -> None:
        self._driver.settle()

    def _wake(self) -> None:
        self._io.soon(self._driver.look)

    # The end

    async def _close(self) -> None:
        """Close the session, and wait until nothing is left of the client."""
        try:
            if not self._session.closed:
                self._driver.tell(self._session.close)
            while not self._session.closed:
                event = self._io.new_event()
                self._lifecycle.add(event.set)
                await event.wait()
            await self._io.wires_gone()
            await checkpoint()  # handlers get the last events
        finally:
            await self._end()

    async def _end(self) -> None:
        """End everything at once, without a close frame. No handler is called after that."""
        if not self._session.closed:
            self._driver.abort()
        await self._io.end()
        self._setup.release()

    def _broke(self, error: BaseException) -> None:
        """End at once; raise `error` from the block, from `run`, every wait and `close`."""
        super()._broke(error)
        if len(self._errors) > 1:
            return
        self._io.ended = True  # no handler is called after this
        self._driver.abort()
        del self._errors[1:]  # errors that follow from the first one
        self._io.soon(self._io.cancel_tasks)  # tasks woken before may still raise their errors
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
) -> Opening[Client]:
    """Open a client: `async with open_pusher(options) as client`, or `client = await open_pusher(options)`.

    The first form closes the client at the end of the block, the second with `await client.close()`, in any task.
    Opening starts to connect and does not wait. Closing ends the connection within `options.close_timeout`. An
    exception of the block is raised unchanged.

    - `authorizer` answers requests for authorizations when `options.auth` is None.
    - `ssl_context` replaces the default TLS context.
    - `connect(host, port)` opens a byte stream.
    - `connect_messages(host, port, tls, target)` opens a connection that carries whole messages, such as a WebSocket of
      another library, and returns a `MessageConnection`.
    - `on_handler_error="raise"`: the exception of a handler ends the client and interrupts its block. The block, `run`,
      every wait and `close` raise it.
    - `record` names a file for all inputs of the session, for `python -m pusher_proto.replay`. `pusher_proto.recording`
      says what is masked in it and what is not.
    - `on_event` is called at once with every event, for metrics. It must not wait; its exceptions are logged.
    - `on_progress` is called in the same way with each step of connecting (name lookup, TCP, proxy, TLS, upgrade and
      greeting), when it begins and when it ends, with the seconds that it took.
    - `wall_clock` returns seconds since the epoch, for `Gap.since`.
    """
    Setup.check(on_handler_error, ssl_context, on_event, on_progress, wall_clock)
    frame = sys._getframe(1)
    where = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    async def open_() -> Client:
        await checkpoint()
        setup = Setup(
            options=options,
            authorizer=authorizer,
            ssl_context=ssl_context,
            on_handler_error=on_handler_error,
            on_event=on_event,
            on_progress=on_progress,
            file=None if record is None else open(record, "w", encoding="utf-8"),  # noqa: ASYNC230, SIM115 - once, closed at the end
            wall_clock=wall_clock,
            where=where,
            messages=connect_messages is not None,
        )
        try:
            io = current_loop()
            io.connect, io.connect_messages = connect, connect_messages
            return Client(setup.session(), io, setup)
        except BaseException:
            setup.release()
            raise

    return Opening("open_pusher", open_)


def _forgotten(driver: Driver, io: Loop) -> None:
    """End the parts of a client that is no longer referenced."""
    if not driver.session.closed:
        driver.abort()
    io.cancel_tasks()
