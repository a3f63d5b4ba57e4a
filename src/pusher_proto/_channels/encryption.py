"""Messages of encrypted channels: opened in order, with one new key asked for when the one at hand fails.

While a key is being refreshed the channel's later messages are held, a bounded number; then the one that
failed is tried once more. The key may have been rotated on the server; or somebody who does not have it sends
rubbish, and so there is at most one refresh in a while.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from .._base.logs import log_seldom, logger
from .._wire.secretbox import MalformedBox, WrongKey, read_key
from ..auth import AuthResponse
from ..errors import AuthorizationError, DecryptionError
from ..events import ChannelEvent, DecryptionFailed, Event
from ..options import Options
from .channel import Channel

__all__ = ["Sealed"]

_log = logger("session")


class Sealed:
    """Opens messages for all encrypted channels. `refresh` asks for a new authorization of a channel."""

    def __init__(
        self,
        options: Options,
        emit: Callable[[Event], None],
        refresh: Callable[[Channel, float], None],
    ) -> None:
        self._options = options
        self._emit = emit
        self._refresh = refresh
        self._held: dict[str, deque[tuple[ChannelEvent, bool]]] = {}

    def receive(self, channel: Channel, event: ChannelEvent, now: float) -> None:
        """Take a message: deliver it opened, or hold it, or say that it does not open."""
        cached = channel.is_cached(event.name)  # by its place, whether it opens or not
        held, limit = self._held.get(channel.name), self._options.encrypted_backlog_limit
        if held is None:
            wrong = self._open(channel, event, cached)
            if isinstance(wrong, WrongKey) and self._may_refresh(channel, now):
                channel.key_asked(now)
                self._held[channel.name] = deque(((event, cached),))
                self._refresh(channel, now)
            elif wrong is not None:
                self._fail(channel, event, wrong)
        elif len(held) < limit:
            held.append((event, cached))
        else:
            why = DecryptionError(f"more than {limit} messages wait for a new key")
            self._fail(channel, event, why)

    def refreshed(self, channel: Channel, result: AuthResponse | AuthorizationError) -> None:
        """Take the answer to `refresh`: go on with what was held. No message is tried a third time."""
        if isinstance(result, AuthResponse):
            channel.use_key(read_key(result.shared_secret))
        for event, cached in self._held.pop(channel.name, ()):
            wrong = self._open(channel, event, cached)
            if wrong is not None:
                if isinstance(result, AuthorizationError):
                    wrong.__cause__ = result
                self._fail(channel, event, wrong)

    def forget(self, channel: Channel) -> None:
        """The channel was left, or the connection is gone: the key and what was held are void."""
        channel.use_key(None)
        self._held.pop(channel.name, None)

    def _may_refresh(self, channel: Channel, now: float) -> bool:
        return now - channel.key_asked_at >= self._options.key_refresh

    def _open(self, channel: Channel, event: ChannelEvent, cached: bool) -> DecryptionError | None:
        """Deliver a message, or return why it cannot be."""
        if (
            channel.key is None
        ):  # left and wanted again before the server had answered the subscribe
            return WrongKey("there is no key for the channel")
        try:
            text = channel.key.open(event.wire_data, self._options.decrypted_text)
        except (MalformedBox, WrongKey) as error:
            return error
        self._emit(ChannelEvent(channel.name, event.name, text, None, event.extra, cached))
        return None

    def _fail(self, channel: Channel, event: ChannelEvent, error: DecryptionError) -> None:
        count, text = channel.not_opened(), "dropped an encrypted event: %s"
        log_seldom(_log, logging.ERROR, count, text, error)
        self._emit(DecryptionFailed(channel.name, event.name, error))
