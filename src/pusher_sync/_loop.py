"""How the hub runs a client's session: in turns, whenever something may have changed."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from pusher_proto import LocalProtocolError

from ._hub import hub_for

if TYPE_CHECKING:
    import socket

    from ._client import Client
    from ._transport import Transport

__all__ = ["Loop"]


class Loop:
    """Settles the client's session whenever something may have changed. It is over when the session is closed."""

    __slots__ = ("_at", "_client", "_hub", "_leaving", "_woken", "error", "over")

    def __init__(self, client: Client) -> None:
        self._client = client
        self.error: BaseException | None = None
        """What broke the loop: every wait raises it."""
        self.over = self._woken = self._leaving = False
        self._at = inf
        self._hub = hub_for(self)

    def wake(self) -> None:
        """See to what changed, in the hub's thread; when it is over, in this one. Called under the guard."""
        if self.over:
            self._client._deliver()
        elif not self._woken:
            self._woken = True
            self._hub.wake(self)

    def ring(self) -> None:
        """The same from anywhere: by any thread, in the midst of anything, without the guard."""
        self._hub.wake(self)

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
        """Wait for the end of the hub, if this was its last client."""
        self._hub.join()

    @property
    def is_here(self) -> bool:
        """Whether this is the hub's own thread."""
        return self._hub.is_here

    def watch(self, sock: socket.socket, wanted: int, transport: Transport) -> None:
        """Tell `transport` when `sock` is ready for what is `wanted`, and for nothing else."""
        self._hub.watch(sock, wanted, transport)

    def turn(self, sockets: list[tuple[Transport, int]], due: float | None) -> None:
        """Do all that there is to do before anybody sees the half of it.

        `sockets` are ready; at `due`, if it is not None, the session's deadline had come.
        """
        client, session = self._client, self._client._session
        with client._guard:
            if self.over:
                return
            self._woken = over = False
            try:
                for transport, mask in sockets:
                    transport.ready(mask)
                if due is not None:
                    self._at = inf
                    session.handle_timeout(now=due)
                if self._leaving:
                    session.close(now=client._now())
                client._settle()
                deadline = session.next_deadline()
                if deadline is None:  # as always when it is closed
                    over = session.closed
                elif deadline < self._at:  # most are put off before they come
                    self._at = deadline
                    self._hub.wake_at(self, deadline)
            except BaseException as error:
                self.error = error
            over = over or self.error is not None
        if over:
            self.end(self.error)

    def end(self, error: BaseException | None) -> None:
        """Let go of everything, and wake who waits. `error` is what broke it, if anything."""
        client = self._client
        with client._guard:
            self.error = error
            client._lifecycle.notify()
            for sink in client._router:
                sink.signal.notify()
            for transport in tuple(client._transports.values()):
                with suppress(Exception):  # after an error the session may not like to hear of it
                    transport.close(abort=True)
            self._release()
            self.over = True
            self._hub.leave(self)

    def say_goodbye(self) -> None:
        """Close the client here and now, as the process ends."""
        client = self._client
        with client._guard:
            client._session.close(now=client._now())
            client._settle()

    def forked(self) -> None:
        """The client belongs to the process that this one was forked from."""
        self._client._guard = _Forked()
        self.error = LocalProtocolError(_FORKED)  # and so nothing goes without the guard
        self.over = True
        self._release()

    def _release(self) -> None:
        for transport in self._client._transports.values():
            transport.release()


_FORKED = "this client belongs to the process that opened it: open another after a fork"


class _Forked:
    """Stands for the guard of a client in a process forked from the one that opened it: no thread serves it there."""

    def __enter__(self) -> None:
        raise LocalProtocolError(_FORKED)

    def __exit__(self, *_: object) -> None: ...
