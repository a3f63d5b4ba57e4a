"""The client for asyncio and trio: carries out what the session asks, and waits."""

from __future__ import annotations

import inspect
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Literal, TypeVar

import anyio
import anyio.abc
import anyio.to_thread
from anyio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_token,
)

from pusher_proto import (
    Authorize,
    AuthorizeMany,
    AuthRequest,
    CallApplication,
    CancelCall,
    ClientClosed,
    CloseTransport,
    Effect,
    Event,
    OpenTransport,
    Options,
    PusherTimeout,
    SendData,
    StartTls,
)
from pusher_proto.client import PENDING, ClientBase, HandlerErrors, Nothing, Signal, session_for

from ._alarm import Alarm, LoopAlarm
from ._bindings import Binding, Caller
from ._channel import Channel, Source, User
from ._loop import AsyncioLoop, TrioLoop
from ._transport import Connect, Transport

__all__ = ["Authorizer", "Client", "open_pusher"]

T = TypeVar("T")

Authorizer = Callable[[AuthRequest], Any]
"""Returns a `AuthResponse`, or an awaitable of one. A plain function runs in a worker thread. When it has a method
`authorize_many`, that is given a list of requests instead and returns a list of authorizations, or a mapping
by channel."""


class Client(ClientBase[Binding, Channel, User], Source):
    """One client of one app, on asyncio or trio. Made by `open_pusher`; all calls belong on that event loop."""

    _channel_class = Channel
    _user_class = User
    _guard = nullcontext()

    def __init__(
        self,
        options: Options,
        authorizer: Authorizer | None,
        ssl_context: ssl.SSLContext | None,
        connect: Connect | None,
        on_handler_error: HandlerErrors,
        group: anyio.abc.TaskGroup,
        write: Callable[[str], object] | None,
        on_event: Callable[[Event], object] | None,
    ) -> None:
        super().__init__(options, session_for(options, authorizer, write), authorizer, on_event)
        self._given_context = ssl_context
        self._on_handler_error = on_handler_error
        self._transports: dict[int, Transport] = {}
        self._calling: dict[int, anyio.CancelScope] = {}
        self._caller = Caller(self)
        self._group = group
        self._errors: list[BaseException] = []
        token: Any = current_token()
        loop = getattr(
            token, "native_token", token
        )  # anyio gives trio's own, or wraps asyncio's loop
        # To ask anyio, which asks what is running, takes ten times as long, and every read and every wait asks.
        self._time: Callable[[], float] = getattr(loop, "time", anyio.current_time)
        self._new_event: Callable[[], anyio.Event] = type(anyio.Event())
        self._alarm, self._open = _means(self, loop, connect)
        self.connect()

    async def wait_connected(self, timeout: float | None = None) -> str:
        """Wait until the connection is established, and return its socket id.

        Raises `ConnectionFailed`, `ClientClosed`, and `PusherTimeout` after `timeout` seconds.
        """
        return await self._wait(self._checks.connected, self._lifecycle, timeout, "not connected")

    async def wait_signed_in(self, timeout: float | None = None) -> str:
        """Wait until the user is signed in, and return its id.

        Raises `SignInError` when it is refused, `ConnectionFailed`, `ClientClosed`, `LocalProtocolError` when
        `signin` was not called, and `PusherTimeout` after `timeout` seconds.
        """
        return await self._wait(self._checks.signed_in, self._lifecycle, timeout, "not signed in")

    async def run(self) -> None:
        """Wait until the client is closed, while handlers are called. Raises `ConnectionFailed`."""
        await self._wait(self._checks.run, self._lifecycle)

    async def close(self) -> None:
        """End everything, within `Options.close_timeout`. The same as leaving the block."""
        if not self._session.closed:
            self._session.close(now=self._now())
            self._changed()
        await self._wait(self._checks.closed, self._lifecycle)

    def _start(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        """Let a part of the client live beside the block. An exception of it ends the block, and comes out there."""
        self._group.start_soon(self._do, work, *args)

    async def _do(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        try:
            await work(*args)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            # Not by way of the task: groups would be taken apart, and asyncio would stop its loop for some of them.
            self._fail(error)

    def _attempt(self, act: Callable[..., None], *args: object) -> None:
        """The same for what does not wait and is called from outside of the block."""
        try:
            act(*args)
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._errors.append(error)
        self._end()

    def _end(self) -> None:
        """End what belongs to the block, at once and without goodbye. No handler is called any more."""
        self._group.cancel_scope.cancel()
        if not self._session.closed:
            self._session.close(now=self._now())
            for transport in self._transports.values():
                transport.close(abort=True)
            self._changed()

    def _now(self) -> float:
        return self._time()

    def _who(self) -> object:
        """Return what stands for the current task, and lives no longer than it."""
        return anyio.get_current_task().coro

    def _tell(self, answer: Callable[..., None], *details: object) -> None:
        """Tell the session what happened."""
        answer(*details, now=self._time())
        self._changed()

    def _changed(self) -> None:
        session = self._session
        while (effect := session.next_effect()) is not None:
            self._carry_out(effect)
        self._deliver()
        for transport in self._transports.values():
            transport.resume()
        deadline = session.next_deadline()
        if deadline is not None and deadline < self._alarm.at:
            self._alarm.set(deadline)
        if session.closed:
            self._alarm.stop()

    def _wake(self) -> None:
        self._alarm.wake()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SendData():
                self._transports[effect.transport].send(effect.data)
            case OpenTransport():
                transport = self._transports[effect.transport] = self._open(effect)
                self._start(transport.run)
            case StartTls():
                self._transports[effect.transport].start_tls(effect.host)
            case CloseTransport():
                self._transports[effect.transport].close(abort=effect.abort)
            case Authorize() | AuthorizeMany() | CallApplication():
                self._start(self._call, effect)
            case CancelCall():
                scope = self._calling.get(effect.request)
                if scope is not None:
                    scope.cancel()

    async def _all_gone(self) -> None:
        """Wait until no transport is left."""
        with anyio.CancelScope(shield=True):
            while self._transports:
                await self._notified(self._lifecycle)

    async def _call(self, effect: Authorize | AuthorizeMany | CallApplication) -> None:
        result: object = TimeoutError("the call was cancelled")
        await checkpoint_if_cancelled()
        number = effect.requests[0] if isinstance(effect, AuthorizeMany) else effect.request
        try:
            function, arguments = self._question(effect)
            if inspect.iscoroutinefunction(function):
                with anyio.CancelScope() as self._calling[number]:
                    result = await function(*arguments)
            else:
                # Within a tuple: trio refuses functions that return an awaitable.
                (result,) = await anyio.to_thread.run_sync(
                    lambda: (function(*arguments),), abandon_on_cancel=True
                )
                if inspect.isawaitable(result):
                    with anyio.CancelScope() as self._calling[number]:
                        result = await result
        except (Exception, anyio.get_cancelled_exc_class()) as error:
            # This goes on when it was only something within the function that was cancelled.
            await checkpoint_if_cancelled()
            result = error
        finally:
            self._calling.pop(number, None)
        self._answered(effect, result)

    async def _wait(
        self,
        check: Callable[[], T | Literal[Nothing.PENDING]],
        signal: Signal,
        timeout: float | None = None,
        what: str = "",
    ) -> T:
        await checkpoint_if_cancelled()
        if timeout is None:
            return await self._until(check, signal)
        with anyio.move_on_after(timeout):
            return await self._until(check, signal)
        raise PusherTimeout(self._checks.why_not(what, timeout))

    async def _until(self, check: Callable[[], T | Literal[Nothing.PENDING]], signal: Signal) -> T:
        outcome = check()
        if outcome is not PENDING:
            await cancel_shielded_checkpoint()
            return outcome
        while True:
            await self._notified(signal)
            outcome = check()
            if outcome is not PENDING:
                return outcome

    async def _notified(self, signal: Signal) -> None:
        """Wait for the next notice."""
        event = self._new_event()
        signal.add(event.set)
        try:
            await event.wait()
        finally:
            signal.discard(event.set)

    def _context(self) -> ssl.SSLContext:
        if self._given_context is None:
            self._given_context = ssl.create_default_context()
        return self._given_context


def _means(
    client: Client, native: Any, connect: Connect | None
) -> tuple[Alarm, Callable[[OpenTransport], Transport]]:
    """Return what suits the event loop: an alarm, and what makes transports."""
    alarm: Alarm
    open_: Callable[[OpenTransport], Transport]
    if hasattr(native, "call_at"):
        from ._loop_transport import LoopTransport  # of no use to trio

        asyncio_loop = AsyncioLoop(client, native)
        alarm, open_ = LoopAlarm(client, asyncio_loop), partial(LoopTransport, client, asyncio_loop)
    else:
        from ._socket_transport import SocketTransport
        from ._trio_alarm import TrioAlarm

        trio_loop = TrioLoop(client, native)
        alarm, open_ = TrioAlarm(client, trio_loop), partial(SocketTransport, client, trio_loop)
    if connect is not None:
        from ._stream_transport import StreamTransport

        return alarm, partial(StreamTransport, client, connect)
    return alarm, open_


@asynccontextmanager
async def open_pusher(
    options: Options,
    *,
    authorizer: Authorizer | None = None,
    ssl_context: ssl.SSLContext | None = None,
    connect: Connect | None = None,
    on_handler_error: HandlerErrors = "log",
    record: str | os.PathLike[str] | None = None,
    on_event: Callable[[Event], object] | None = None,
) -> AsyncIterator[Client]:
    """Open a client for the length of the block: `async with open_pusher(options) as client`.

    Entering starts connecting and does not wait. `authorizer` answers requests for authorizations when
    `options.auth` is None;
    `ssl_context` replaces the default one; `connect` replaces how a byte stream to a host and port is opened. With
    `on_handler_error="raise"` the exception of a handler ends the block and comes out of it. `record` names a file
    that all inputs of the session are written to, for `python -m pusher_proto.replay`; see `pusher_proto.recording` for
    what is masked in it and what is not. `on_event` is called with every event at once, whether or not anybody asked
    for it: for metrics. It must not wait; what it raises is logged.

    Leaving closes the connection within `options.close_timeout`. An exception of the block comes out as itself.
    """
    file = None if record is None else open(record, "w", encoding="utf-8")  # noqa: ASYNC230, SIM115 - once, closed below
    write = None if file is None else file.write
    cancelled = anyio.get_cancelled_exc_class()
    errors: list[BaseException] = []
    try:
        async with anyio.create_task_group() as group:
            client = Client(
                options, authorizer, ssl_context, connect, on_handler_error, group, write, on_event
            )
            errors = client._errors
            try:
                yield client
            except (cancelled, GeneratorExit):
                raise
            except BaseException as error:
                with suppress(cancelled):
                    await client.close()
                if isinstance(error, BaseExceptionGroup) and error.subgroup(cancelled):
                    raise  # what is cancelled within it is the group's to catch
                if not (errors and isinstance(error, ClientClosed)):  # else it only follows
                    errors.append(error)
            else:
                await client.close()
                await checkpoint()  # handlers hear of the end
            finally:
                client._end()
                await client._all_gone()
    except BaseExceptionGroup as group_error:
        errors += (each for each in group_error.exceptions if not isinstance(each, cancelled))
    except cancelled:
        if not errors:
            raise
    finally:
        if file is not None:
            file.close()
    if errors:
        alone = len(errors) == 1
        raised = errors[0] if alone else BaseExceptionGroup("errors in and beside a block", errors)
        context = raised.__context__
        try:
            raise raised
        finally:
            raised.__context__ = context
