"""Client events: everything that is checked before one is sent.

Protocol: client events. A server that refuses one says so in an error that may name no channel, or keeps
silent, so what can be known here is refused here.
"""

from __future__ import annotations

from typing import Any

from .._wire.envelope import encode
from ..errors import LocalProtocolError, NotSubscribed, UnsupportedFeature, excerpt
from ..names import ChannelKind, check_client_event, kind_of
from ..options import Options
from ..states import ChannelState
from .channel import Channel

__all__ = ["ClientEvents"]


class ClientEvents:
    """Makes frames of client events, and keeps to a rate where one is set."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._tokens = float(options.client_event_rate or 0)
        self._counted_at = float("-inf")

    def frame(self, name: str, channel: Channel | None, event: str, data: Any, now: float) -> bytes:
        """Return the frame of `event`. Raises, before anything changes, when it cannot be right."""
        check_client_event(event, strict=self._options.strict_names)
        shown = excerpt(name, 64)
        kind = kind_of(name)
        if kind not in (ChannelKind.PRIVATE, ChannelKind.PRESENCE):
            raise UnsupportedFeature(
                f"client events go to private and presence channels, and {shown!r} is {kind.value}"
            )
        if channel is None or channel.state is not ChannelState.SUBSCRIBED:
            state = channel.state if channel is not None else ChannelState.UNSUBSCRIBED
            raise NotSubscribed(
                f"{shown!r} is not subscribed ({state.meaning}): wait for wait_subscribed() first"
            )
        frame, limit = encode(event, data, name), self._options.max_client_event
        size = len(frame) - len(encode(event, 0, name)) + 1
        if size > limit:
            raise LocalProtocolError(
                f"the data of {excerpt(event, 64)!r} has {size} bytes; servers take {limit} (Options.max_client_event)"
            )
        largest = self._options.max_frame
        if largest is not None and len(frame) > largest:
            raise LocalProtocolError(
                f"the message with {excerpt(event, 64)!r} has {len(frame)} bytes; the server takes {largest} "
                "(Options.max_frame)"
            )
        self._spend(now)
        return frame

    def _spend(self, now: float) -> None:
        """Take one from a bucket that fills at the rate and holds a second's worth."""
        rate = self._options.client_event_rate
        if rate is None:
            return
        filled = self._tokens + (now - self._counted_at) * rate
        self._tokens, self._counted_at = min(float(rate), filled), now
        if self._tokens < 1:
            raise LocalProtocolError(
                f"more than {rate:g} client events in a second (Options.client_event_rate); Pusher refuses more than 10"
            )
        self._tokens -= 1
