"""The faults that a test has switched on. They are only kept here; the server acts on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, assert_never

from ._dialect import Manner
from ._frames import encode, json_text
from ._http import HttpResponse

__all__ = ["Answers", "ChannelRefusal", "Countdown", "Faults", "Refusal", "Shape"]

Answers: TypeAlias = Literal[
    "all", "greeting", "subscribe", "cache", "signin", "ping", "auth", "api"
]
"""The kinds of answers that `delay` tells apart; "auth" is the auth endpoint, "api" the HTTP API.

"cache" is the cached event after a success: with a delay, live events may precede it, as on Sockudo.
"""

Shape: TypeAlias = Literal["pusher", "error", "soketi", "internal", "silent"]
"""How a refused subscription is answered; see `ChannelRefusal.answer`."""


@dataclass
class Countdown:
    """A fault that happens a number of times, or until it is undone."""

    times: int | None = None

    def take(self) -> bool:
        """Count one occasion; return whether the fault happens."""
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


@dataclass
class Refusal(Countdown):
    """How new WebSockets are refused: by a status, else by a code, else by aborting them."""

    response: HttpResponse | None = None
    code: int | None = None
    reason: str = ""
    manner: Manner = Manner.CLOSE


@dataclass
class ChannelRefusal(Countdown):
    """How subscriptions to a channel are refused."""

    shape: Shape = "pusher"
    code: int | None = None
    message: str | None = None

    def answer(
        self, error: Callable[..., str], channel: str, socket_id: str, auth: str
    ) -> str | None:
        """Return the answer to the client, or None; `error` makes a `pusher:error` of the dialect."""
        wrong = f"Expected HMAC SHA256 hex digest of {socket_id}:{channel}, but got {auth}"
        message = self.message if self.message is not None else f"Invalid signature: {wrong}"
        match self.shape:
            case "pusher":
                return error(self.code, message)
            case "error":
                return error(self.code, message, channel=channel)
            case "soketi":
                text = "The connection is unauthorized." if self.message is None else message
                status = 401 if self.code is None else self.code
                data = {"type": "AuthError", "error": text, "status": status}
                return encode("pusher:subscription_error", channel=channel, data=data)
            case "internal":
                # The one client that reads it (pusher-websocket-dotnet) wants a string.
                data_text = json_text({"code": self.code, "message": message})
                return encode("pusher_internal:subscription_error", channel=channel, data=data_text)
            case "silent":
                return None
            case _:
                assert_never(self.shape)


@dataclass
class AuthAnswer(Countdown):
    """The answer of the auth endpoint instead of the right one."""

    response: HttpResponse = field(default_factory=lambda: HttpResponse(200))


@dataclass
class Faults:
    """All faults that are switched on."""

    mute_all: bool = False
    shutting_down: bool = False
    refusal: Refusal | None = None
    channels: dict[str, ChannelRefusal] = field(default_factory=dict)
    auth_answer: AuthAnswer | None = None
    delays: dict[Answers, float] = field(default_factory=dict)

    def reset(self) -> None:
        """Undo all faults."""
        self.mute_all = self.shutting_down = False
        self.refusal = self.auth_answer = None
        self.channels.clear()
        self.delays.clear()

    def delay_of(self, what: Answers) -> float:
        """Return the delay of answers of this kind."""
        if what == "cache":
            # It follows a success that was delayed already.
            return self.delays.get(what, 0.0)
        return self.delays.get(what, self.delays.get("all", 0.0))

    def take_refusal(self) -> Refusal | None:
        """Count one upgrade; return how it is refused, if at all."""
        return self.refusal if self.refusal and self.refusal.take() else None

    def take_channel(self, channel: str) -> ChannelRefusal | None:
        """Count one subscribe; return how it is refused, if at all."""
        refusal = self.channels.get(channel)
        return refusal if refusal and refusal.take() else None

    def take_auth_answer(self) -> HttpResponse | None:
        """Count one request to the auth endpoint; return its answer instead of the right one, if any."""
        answer = self.auth_answer
        return answer.response if answer and answer.take() else None
