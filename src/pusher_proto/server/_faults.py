"""What a test has told the server to do wrong. It only remembers; the server acts on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, assert_never

from ._frames import encode, error, json_text
from ._http import HttpResponse

__all__ = ["Answers", "ChannelRefusal", "Countdown", "Faults", "Refusal", "Shape"]

Answers: TypeAlias = Literal["all", "greeting", "subscribe", "signin", "ping", "auth", "api"]
"""The kinds of answers that `delay` tells apart; "auth" is the auth endpoint, "api" the HTTP API."""

Shape: TypeAlias = Literal["pusher", "error", "soketi", "internal", "silent"]
"""How a refused subscription is answered; see `ChannelRefusal.answer`."""


@dataclass
class Countdown:
    """Something that happens a number of times, or until it is undone."""

    times: int | None = None

    def take(self) -> bool:
        """Whether it happens once more."""
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


@dataclass
class Refusal(Countdown):
    """How new WebSockets are refused: by a status, else by a code, else by dropping them."""

    response: HttpResponse | None = None
    code: int | None = None
    reason: str = ""
    close_frame: bool = True


@dataclass
class ChannelRefusal(Countdown):
    """How subscriptions to a channel are refused."""

    shape: Shape = "pusher"
    code: int | None = None
    message: str | None = None

    def answer(self, channel: str, socket_id: str, auth: str) -> str | None:
        """Return what the client is sent, if anything."""
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
    """What the auth endpoint answers instead of the truth."""

    response: HttpResponse = field(default_factory=lambda: HttpResponse(200))


@dataclass
class Faults:
    """All that is switched on."""

    mute_all: bool = False
    refusal: Refusal | None = None
    channels: dict[str, ChannelRefusal] = field(default_factory=dict)
    auth_answer: AuthAnswer | None = None
    delays: dict[Answers, float] = field(default_factory=dict)

    def delay_of(self, what: Answers) -> float:
        """Return for how long an answer of this kind is held."""
        return self.delays.get(what, self.delays.get("all", 0.0))

    def take_refusal(self) -> Refusal | None:
        """Return how the WebSocket that is asked for now is refused."""
        return self.refusal if self.refusal and self.refusal.take() else None

    def take_channel(self, channel: str) -> ChannelRefusal | None:
        """Return how the subscription that is asked for now is refused."""
        refusal = self.channels.get(channel)
        return refusal if refusal and refusal.take() else None

    def take_auth_answer(self) -> HttpResponse | None:
        """Return what the auth endpoint answers to the request at hand instead of the truth."""
        answer = self.auth_answer
        return answer.response if answer and answer.take() else None
