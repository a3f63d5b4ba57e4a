"""What happens on a byte stream before its owner has it, and when it ends: a proxy's tunnel, TLS behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._auth.http_pool import Endpoint, Outcome
from .._connection.connector import Connector
from .._wire.proxy import ProxyFailed
from ..errors import describe
from .transports import Owner, Transports

__all__ = ["Openings"]


class Openings:
    """Tells the owner of a stream when it leads to the server, or that it does not."""

    def __init__(
        self,
        transports: Transports,
        connector: Connector,
        endpoint: Endpoint,
        settle: Callable[[Sequence[Outcome]], None],
    ) -> None:
        self._transports = transports
        self._connector = connector
        self._endpoint = endpoint
        self._settle = settle

    def opened(self, transport: int) -> None:
        """The stream is open: to the server, or to the proxy."""
        tunnel = self._transports.begin_tunnel(transport)
        if tunnel is not None:
            self._transports.send_ahead(transport, tunnel.open())
        elif self._transports.tunnel(transport) is None:
            self._tell(self._transports.opened(transport), transport)

    def secured(self, transport: int) -> None:
        """TLS began behind the proxy."""
        if self._transports.end_securing(transport):
            self._tell(self._transports.opened(transport), transport)

    def through(self, transport: int, data: bytes, now: float) -> bytes:
        """Take bytes; return those that are for the owner of the stream."""
        tunnel = self._transports.tunnel(transport)
        if tunnel is not None:
            try:
                self._transports.send_ahead(transport, tunnel.receive_data(data))
            except ProxyFailed as failed:
                self._fail(transport, failed, now)
                return b""
            if not tunnel.done:
                return b""
            data = tunnel.surplus
            if not self._transports.leave_tunnel(transport):
                self._tell(self._transports.opened(transport), transport)
        if data and self._transports.is_securing(transport):  # in TLS the client speaks first
            self._fail(transport, ProxyFailed("the proxy said more than it was asked"), now)
            return b""
        return data

    def gone(self, transport: int, error: BaseException | str | None, now: float) -> None:
        """The stream failed to open, or ended."""
        text = describe(error)
        if self._transports.tunnel(transport) is not None:
            text = f"{self._transports.proxy}: {text or 'it ended the connection'}"
        self._gone(self._transports.gone(transport), transport, error, text, now)

    def _fail(self, transport: int, failed: ProxyFailed, now: float) -> None:
        owner = self._transports.give_up(transport, now)
        self._gone(owner, transport, failed, describe(str(failed)), now)

    def _tell(self, owner: Owner | None, transport: int) -> None:
        if owner is not None:
            if owner is self._connector.link:
                self._connector.opened()
            owner.transport_opened(transport)

    def _gone(
        self,
        owner: Owner | None,
        transport: int,
        error: BaseException | str | None,
        text: str,
        now: float,
    ) -> None:
        if owner is self._endpoint:
            self._settle(self._endpoint.transport_gone(transport, text, now))
        elif owner is not None and owner is self._connector.link:
            self._connector.transport_gone(error, text, now)
