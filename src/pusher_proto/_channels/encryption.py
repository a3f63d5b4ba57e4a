"""Decrypts the messages of encrypted channels in order, and requests a new key when the current key fails.

Until the key arrives, later messages of the channel are held, up to a limit. Then the message that failed is tried once
more. Either the key was rotated on the server, or a publisher without the key sends invalid messages; because of the
latter a key is requested at most once in `Options.key_refresh` seconds.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from .._base.logs import log_seldom, logger
from .._wire.secretbox import MalformedBox, WrongKey, read_key
from ..auth import AuthResponse
from ..errors import AuthorizationError, DecryptionError
from ..events import ChannelEvent, DecryptionFailed
from ..options import Options, with_names
from .channel import Channel
from .early import EarlyMessages

__all__ = ["Decryption"]

_log = logger("session")


class Decryption:
    """Decrypts the messages of all encrypted channels. `refresh` requests a new authorization for a channel."""

    __slots__ = ("_decrypted_text", "_early", "_held", "_options", "_refresh")

    def __init__(
        self,
        options: Options,
        early: EarlyMessages,
        refresh: Callable[[Channel, float], None],
    ) -> None:
        self._options = options
        self._decrypted_text = with_names(options.decrypted_text)
        self._early = early
        self._refresh = refresh
        self._held: dict[str, deque[tuple[ChannelEvent, bool]]] = {}

    def receive(self, channel: Channel, event: ChannelEvent, now: float) -> None:
        """Decrypt and deliver a message, hold it until a new key arrives, or deliver `DecryptionFailed`."""
        # Call this for each message, even for one that cannot be decrypted: the position decides.
        cached = channel.is_cached(event.name)
        held, limit = self._held.get(channel.name), self._options.encrypted_backlog_limit
        if held is None:
            wrong = self._open(channel, event, cached, now)
            if isinstance(wrong, WrongKey) and self._may_refresh(channel, now):
                channel.key_asked(now)
                self._held[channel.name] = deque(((event, cached),))
                self._refresh(channel, now)
            elif wrong is not None:
                self._fail(channel, event, wrong, now)
        elif len(held) < limit:
            held.append((event, cached))
        else:
            why = DecryptionError(
                f"more than {limit} messages wait for a new key (Options.encrypted_backlog_limit)"
            )
            self._fail(channel, event, why, now)

    def refreshed(
        self, channel: Channel, result: AuthResponse | AuthorizationError, now: float
    ) -> None:
        """Process the answer to `refresh`, and deliver the held messages. No message is tried a third time."""
        if isinstance(result, AuthResponse):
            channel.use_key(read_key(result.shared_secret))
        for event, cached in self._held.pop(channel.name, ()):
            wrong = self._open(channel, event, cached, now)
            if wrong is not None:
                if isinstance(result, AuthorizationError):
                    wrong.__cause__ = result
                self._fail(channel, event, wrong, now)

    def forget(self, channel: Channel) -> None:
        """Forget the key of a channel and its held messages."""
        channel.use_key(None)
        self._held.pop(channel.name, None)

    def _may_refresh(self, channel: Channel, now: float) -> bool:
        """Return whether the last request for a new key was long enough ago."""
        return now - channel.key_asked_at >= self._options.key_refresh

    def _open(
        self, channel: Channel, event: ChannelEvent, cached: bool, now: float
    ) -> DecryptionError | None:
        """Decrypt and deliver a message, or return the error."""
        if channel.key is None:
            # The channel was unsubscribed and subscribed again before the server answered the first subscribe.
            return WrongKey("there is no key for the channel")
        try:
            make = channel.decrypted_text or self._decrypted_text
            named = partial(_text, make, channel.name, event.name) if make is not None else None
            text = channel.key.open(event.wire_data, named)
        except (MalformedBox, WrongKey) as error:
            return error
        opened = ChannelEvent(channel.name, event.name, text, None, event.extra, cached)
        channel.deliver(opened, self._early, now)
        return None

    def _fail(
        self, channel: Channel, event: ChannelEvent, error: DecryptionError, now: float
    ) -> None:
        count, text = channel.not_opened(), "dropped an encrypted event: %s"
        log_seldom(_log, logging.ERROR, count, text, error)
        channel.deliver(DecryptionFailed(channel.name, event.name, error), self._early, now)


def _text(make: Callable[[bytes, str, str], str], channel: str, event: str, data: bytes) -> str:
    """Call the application's function with the decrypted bytes and the names."""
    return make(data, channel, event)
