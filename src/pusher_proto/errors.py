"""The exceptions of the library: raised by calls, or contained in events.

A call that raises `LocalProtocolError` has changed nothing. Inputs of the session never raise for a fault of the
server: an event contains the error, or the wait or the iteration that it ends raises it. Messages never contain a
secret, a signature or a whole payload.
"""

from __future__ import annotations

__all__ = [
    "AuthorizationError",
    "ClientClosed",
    "ConnectionEnded",
    "ConnectionFailed",
    "ConnectionUnsafe",
    "DataError",
    "DecryptionError",
    "InvalidName",
    "LocalProtocolError",
    "NotConnected",
    "NotSubscribed",
    "OutboxFull",
    "PusherError",
    "PusherTimeout",
    "RateLimited",
    "SignInError",
    "StreamOverflow",
    "SubscriptionError",
    "UnsupportedFeature",
    "describe",
    "excerpt",
    "message_of",
]


def excerpt(value: object, limit: int = 128) -> str:
    """Return `value` as one line of text with at most `limit` characters, for messages and logs."""
    text = (value if isinstance(value, str) else repr(value))[: limit + 1]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def describe(error: BaseException | str | None) -> str:
    """Return `error` as one line of text; "" for None."""
    if error is None or isinstance(error, str):
        return excerpt(error or "", 200)
    text = message_of(error)
    return excerpt(f"{type(error).__name__}: {text}" if text else type(error).__name__, 200)


def message_of(error: BaseException) -> str:
    """Return `str(error)`; "" if that raises, which an exception class of the application may do."""
    try:
        return str(error)
    except Exception:
        return ""


def is_temporary(status: int | None) -> bool:
    """Return whether a request with this status of the response may succeed later: 408, 425, 429 and 5xx."""
    return status is not None and (status in (408, 425, 429) or 500 <= status < 600)


class PusherError(Exception):
    """The base class of the library's exceptions about the protocol."""


class LocalProtocolError(PusherError):
    """The call is not allowed, now or at any time. It has changed nothing and sent nothing."""


class InvalidName(LocalProtocolError, ValueError):
    """The protocol does not allow this name of a channel or an event. The message names the invalid character."""


class NotSubscribed(LocalProtocolError):
    """The call needs a subscribed channel, and this one is not."""


class OutboxFull(LocalProtocolError):
    """Too much waits to be sent: the network is slower than the program, or the limit of an outbox is reached."""


class NotConnected(LocalProtocolError):
    """There is no connection, and the call needs one."""


class RateLimited(LocalProtocolError):
    """More client events than `Options.client_event_rate` allows; the next one can be sent in `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class UnsupportedFeature(LocalProtocolError):
    """The protocol, the options or the installation do not support the call."""


class ConnectionEnded(PusherError):
    """A connection or an attempt to connect ended. It is `ConnectionLost.error` when the system raised no error.

    `code` and `reason` are the same as in the event; `hint` says what the user can do. `retry_after` is the delay in
    seconds that the server asked for when it refused the attempt (the HTTP header Retry-After), or None.
    """

    def __init__(
        self, code: int | None, reason: str, hint: str = "", retry_after: float | None = None
    ) -> None:
        self.code = code
        self.reason = reason
        self.hint = hint
        self.retry_after = retry_after
        text = excerpt(reason, 256) or "the connection ended"
        if code is not None:
            text += f" (code {code})"
        super().__init__(f"{text}: {hint}" if hint else text)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.code, self.reason, self.hint, self.retry_after)


class ConnectionFailed(PusherError):
    """There is no connection, and no further attempt: after a final failure, or after `Options.max_attempts`.

    `code` is the close code, the code of a `pusher:error` before the end, or the HTTP status of the upgrade; None
    without any of them. `reason` is the server's text, cut to 256 characters, or the error below the protocol;
    `__cause__` is the last error. docs/reconnecting.md lists the final failures.
    """

    def __init__(self, code: int | None, reason: str, hint: str = "") -> None:
        self.code = code
        self.reason = reason
        self.hint = hint
        reason = excerpt(reason, 256)
        if code is None:
            text = reason or "there is no connection"
        else:
            refused = code < 1000 or code >= 4000
            text = "the server refused the connection" if refused else "the connection ended"
            text += f" with code {code}"
            text += f": {reason}" if reason else ""
        super().__init__(f"{text} ({hint})" if hint else text)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.code, self.reason, self.hint)


class ConnectionUnsafe(PusherError):
    """The server's certificate was not accepted. Nothing was sent.

    A driver passes it to `transport_failed`, with OpenSSL's error code (`verify_code`) and the number of authorities in
    its SSL context (`authorities`). Before the first connection it is final: the session fails with `ConnectionFailed`.
    """

    def __init__(
        self, message: str, *, verify_code: int | None = None, authorities: int | None = None
    ) -> None:
        super().__init__(message)
        self.verify_code = verify_code
        self.authorities = authorities

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class SubscriptionError(PusherError):
    """The server refused a channel, or did not answer the subscribe in time.

    `channel` is its name; `code` is the server's code or status, or None.
    """

    def __init__(self, message: str, *, channel: str | None, code: int | None = None) -> None:
        super().__init__(message)
        self.channel = channel
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class AuthorizationError(SubscriptionError):
    """An authorization failed: for a channel, or for signing in (then `channel` is None).

    `status` is the HTTP status of the auth endpoint, and `body` the start of its answer, if there was one. With
    `temporary` the client requests the authorization again after a delay; by default it is true for the status 408,
    425, 429 and 5xx. Authorizers can raise it: `raise AuthorizationError("busy", temporary=True)` means "try again".
    """

    def __init__(
        self,
        message: str,
        *,
        channel: str | None = None,
        status: int | None = None,
        body: str = "",
        temporary: bool | None = None,
    ) -> None:
        super().__init__(message, channel=channel, code=status)
        self.status = status
        self.body = body
        self.temporary: bool = is_temporary(status) if temporary is None else temporary


class SignInError(PusherError):
    """Signing in the user failed: no authorization, a refusal, or no answer in time."""


class DecryptionError(PusherError):
    """An event of an encrypted channel could not be decrypted."""


class DataError(PusherError):
    """The data of an event does not match the requested type."""


class StreamOverflow(PusherError):
    """A stream opened with `overflow="raise"` was not read fast enough."""


class ClientClosed(PusherError):
    """The client is closed: it accepts no commands and delivers no events."""


class PusherTimeout(PusherError, TimeoutError):
    """The timeout of a wait has passed."""


def _rebuild(cls: type[PusherError], args: tuple[object, ...], state: dict[str, object]) -> object:
    """Return an unpickled exception whose `__init__` has further parameters."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
