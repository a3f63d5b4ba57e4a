"""Messages of a server in random sequences, valid and invalid, and the authorizations that the application gives."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from functools import cache

from nacl.secret import SecretBox

from proto.scripted import message
from proto.websocket_peer import BINARY, CONTINUATION, PING, PONG, TEXT, answer, close, frame
from pusher_proto import AuthRequest, AuthResponse

__all__ = [
    "AUTH_HOST",
    "CHANNELS",
    "FATAL_FRAMES",
    "GOOD_FRAMES",
    "HTTP_ANSWERS",
    "KEY",
    "ODD_FRAMES",
    "REFUSALS",
    "USER_TEXTS",
    "authorization_for",
    "http",
    "mutated",
    "texts_of",
]

AUTH_HOST = "auth.test"
KEY = bytes(range(32))
SHARED = b64encode(KEY).decode()

CHANNELS = (
    "room",
    "cache-room",
    "private-a",
    "private-b",
    "presence-p",
    "private-encrypted-e",
    "private-cache-c",
)


def _sealed(text: bytes, key: bytes = KEY) -> str:
    box = SecretBox(key).encrypt(text, bytes(24))
    return json.dumps(
        {"nonce": b64encode(bytes(24)).decode(), "ciphertext": b64encode(box.ciphertext).decode()}
    )


USER_TEXTS = [
    message("news", "1", "#server-to-user-u"),
    *(
        message("pusher_internal:watchlist_events", {"events": [{"name": name, "user_ids": ["a"]}]})
        for name in ("online", "offline")
    ),
    message("pusher_internal:watchlist_events", {"events": 5}),
]


def _texts() -> list[bytes]:
    texts = [
        message("pusher:ping"),
        message("pusher:pong"),
        message("pusher:error", {"code": 4301, "message": "slow down"}),
        message("pusher:error", {"code": None, "message": "Existing subscription to channel room"}),
        message("pusher:error", {"code": 4009, "message": "unauthorized"}),
        message("pusher:error", '{"code":4200,"message":"again"}'),
        message("pusher:error", {"code": 4001, "message": "no such app"}),
        message("pusher:signin_success", {"user_data": '{"id":"u"}'}),
        message("pusher:signin_success", {"user_data": "?"}),
        message("price", "1"),
        b"rubbish",
        b"[]",
        b'{"event":"x","data":' + b"[" * 600 + b"]" * 600 + b"}",
    ]
    return texts + USER_TEXTS + [text for name in (*CHANNELS, "unknown") for text in texts_of(name)]


@cache
def texts_of(channel: str) -> list[bytes]:
    """Return what a server may say about a channel; messages more often than the rest."""
    texts = [message("price", '{"v":1}', channel), message("n", "2", channel)] * 2 + [
        message("client-x", {"a": 1}, channel, user_id="m"),
        message("pusher_internal:subscription_succeeded", "{}", channel),
        message("pusher_internal:subscription_count", '{"subscription_count":3}', channel),
        message("pusher:subscription_error", {"error": "no", "status": 401}, channel),
        message("pusher:error", {"code": 4009, "message": "no"}, channel),
        message("pusher:cache_miss", None, channel),
    ]
    if channel.startswith("presence-"):
        for user in ("me", "b", "c", "d"):
            texts.append(message("pusher_internal:member_added", {"user_id": user}, channel))
            texts.append(message("pusher_internal:member_removed", {"user_id": user}, channel))
    if channel.startswith("private-encrypted-"):
        texts += [message("s", _sealed(b'"open"'), channel)] * 2
        texts.append(message("s", _sealed(b'"shut"', bytes(32)), channel))
        texts.append(message("s", "{}", channel))
    return texts


GOOD_FRAMES = [frame(text) for text in _texts()]
ODD_FRAMES = [
    frame(b"one", PING),
    frame(b"two", PING),
    frame(b"", PONG),
    frame(b"\x00", BINARY),
    frame(b'{"event":', fin=False),
    frame(b'"x"}', CONTINUATION),
    frame(b"x" * 2000),
]
FATAL_FRAMES = [
    *(close(code, b"why") for code in (1000, 1001, 1011, 4001, 4009, 4100, 4200, 4300, 4400)),
    frame(b"", 0x8),
    frame(b"", masked=True),
    frame(b"\xff", TEXT),
    frame(b"", 0x3),
    frame(b"", length=2001),
]
REFUSALS = [
    *(answer(f"{status} Why", [("Content-Length", "0")]) for status in (200, 302, 403, 404, 500)),
    answer("503 Busy", [("Retry-After", "3"), ("Content-Length", "9")], b"wait"),
    b"rubbish\r\n\r\n",
    answer(headers=[]),
]


def http(status: str, body: str) -> bytes:
    return answer(status, [("Content-Length", str(len(body)))], body.encode())


HTTP_ANSWERS = [
    http("403 Forbidden", "no"),
    http("500 Oops", "<html>"),
    http("200 OK", "{}"),
    http("200 OK", "x" * 400),
    answer("200 OK", [("Transfer-Encoding", "chunked")], b"3\r\n{}\n\r\n0\r\n\r\n"),
    answer("302 Found", [("Location", "/login"), ("Content-Length", "0")]),
    b"HTTP/1.1 200 OK\r\n\r\n{",
    b"rubbish\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
]


def authorization_for(request: AuthRequest) -> AuthResponse:
    """Return an authorization that tells for which connection it was made."""
    if request.channel is None:
        return AuthResponse(f"key:{request.socket_id}", user_data='{"id":"u"}')
    return AuthResponse(
        f"key:{request.socket_id}",
        '{"user_id":"me"}' if request.channel.startswith("presence-") else None,
        SHARED if request.channel.startswith("private-encrypted-") else None,
    )


def mutated(data: bytes, pick: random.Random) -> bytes:
    """Return `data` with a few bytes replaced, put in or left out."""
    changed = bytearray(data)
    for _ in range(pick.randint(1, 3)):
        at = pick.randint(0, len(changed))
        match pick.randint(0, 2):
            case 0:
                changed[at : at + 1] = pick.randbytes(1)
            case 1:
                changed[at:at] = pick.randbytes(2)
            case _:
                del changed[at:]
    return bytes(changed)
