"""Hypothesis strategies for your tests: valid and invalid messages of a server, and its faults.

Needs Hypothesis (`pip install hypothesis`), which is not a dependency of this package. See docs/fuzzing.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

try:
    from hypothesis import strategies as st
except ImportError as _error:
    raise ImportError(
        "pusher_proto.testing.strategies needs Hypothesis: pip install hypothesis"
    ) from _error

__all__ = ["CHANNELS", "Fault", "accept", "faults", "frames", "sessions", "texts"]

CHANNELS = ("room", "cache-room", "private-room", "presence-room", "private-encrypted-room")
"""The default channels: one of each kind."""

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3

_words = st.text(max_size=12)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=6,
)
_names = st.sampled_from(("price", "App\\Events\\OrderShipped", "client-typing")) | _words
_ids = st.sampled_from(("1", "2", "me")) | st.integers(0, 3)
_codes = st.sampled_from((None, 4001, 4004, 4009, 4100, 4200, 4201, 4301))


def texts(channels: Sequence[str] = CHANNELS) -> st.SearchStrategy[str]:
    """Return a strategy for text messages of a server: events of `channels`, messages of the protocol, invalid ones."""
    channel = st.sampled_from([*channels, "unknown"])
    data = _values.map(json.dumps) | _values | _words
    event = _message(_names, channel, data, user_id=_ids)
    own = st.one_of(
        _named("pusher_internal:subscription_succeeded", channel, _rosters()),
        _named("pusher_internal:subscription_count", channel, _counts()),
        _named("pusher_internal:member_added", channel, _member()),
        _named("pusher_internal:member_removed", channel, _member()),
        _named("pusher:cache_miss", channel, st.none()),
        _named("pusher:subscription_error", channel, _errors()),
        _named("pusher:error", st.none() | channel, _errors()),
        _named("pusher:ping", st.none(), st.none() | st.just({})),
        _named("pusher:pong", st.none(), st.none() | st.just({})),
        _named("pusher:signin_success", st.none(), data),
    )
    odd = st.dictionaries(
        st.sampled_from(("event", "channel", "data", "user_id", "more")), _values
    ).map(json.dumps)
    return st.one_of(event, event, own, odd | _words)


def frames(channels: Sequence[str] = CHANNELS) -> st.SearchStrategy[bytes]:
    """Return a strategy for pieces of a server's output: mostly a text message, whole or in fragments.

    Some are pings, pongs and binary messages, and a few end the connection: a close with a code, text that is not
    UTF-8, or an invalid frame.
    """
    text = texts(channels).map(lambda message: message.encode("utf-8", "replace"))
    control = st.builds(_frame, st.binary(max_size=125), st.sampled_from((_PING, _PONG)))
    ends = _closes() | st.sampled_from(
        (_frame(b"\xff", _TEXT), _frame(b"", 0x3), _frame(b"", _PING, final=False))
    )
    whole = text.map(_frame)
    return st.one_of(whole, whole, whole, text.flatmap(_fragments), control, _binary(), ends)


@st.composite
def sessions(draw: st.DrawFn, channels: Sequence[str] = CHANNELS, *, most: int = 20) -> list[bytes]:
    """Draw the data that a client reads on one connection after the upgrade: a list of reads, none of them empty.

    It is a greeting, answers to the subscribes of `channels` (a success, a refusal or none), up to `most` frames, and
    perhaps a close. Reads may end anywhere in a frame. `accept` answers the upgrade.
    """
    said = [_frame(_greeting(draw(st.integers(1, 10**9))))]
    for channel in draw(st.permutations(list(channels))):
        answers = st.one_of(
            _named("pusher_internal:subscription_succeeded", st.just(channel), _rosters()),
            _named("pusher_internal:subscription_succeeded", st.just(channel), _rosters()),
            _named("pusher:subscription_error", st.just(channel), _errors()),
        )
        answer = draw(st.none() | answers)
        said += [_frame(answer.encode())] if answer is not None else []
    said += draw(st.lists(frames(channels), max_size=most))
    said += draw(st.lists(_closes(), max_size=1))
    data = b"".join(said)
    cuts = draw(st.lists(st.integers(1, len(data)), max_size=6))
    return [data[start:end] for start, end in pairwise(sorted({0, *cuts, len(data)}))]


def accept(request: bytes) -> bytes:
    """Return the answer that accepts an upgrade (RFC 6455, 4.2.2). Raises ValueError when `request` is not one."""
    for line in request.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"sec-websocket-key":
            digest = hashlib.sha1(value.strip() + _GUID).digest()  # noqa: S324 - as the RFC says
            return (
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
    raise ValueError("the request is not a WebSocket upgrade: it has no Sec-WebSocket-Key")


@dataclass(frozen=True)
class Fault:
    """One fault of the server: the name of a control and its arguments.

    Call it with a `Server` and `now=...`, or with a running server of `pusher_anyio.testing` and no `now`.
    """

    control: str
    arguments: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    """Seconds before the next fault."""

    def __call__(self, server: Any, **time: float) -> Any:
        """Call the control on `server`; return its result."""
        return getattr(server, self.control)(**self.arguments, **time)


def faults(
    channels: Sequence[str] = CHANNELS, *, most: int = 8, seconds: float = 5.0
) -> st.SearchStrategy[list[Fault]]:
    """Return a strategy for a list of at most `most` faults, up to `seconds` apart.

    Each fault ends: a refusal is repeated at most three times, and each `mute`, which counts as one fault, is followed
    by `Fault("unmute")` and `Fault("drop")`. A client that retries succeeds after the last fault.
    """
    times = st.integers(1, 3)
    pause = st.floats(0, seconds)
    closes = st.sampled_from((None, 1000, 1001, 1011, 4100, 4200, 4201))
    one = st.one_of(
        _fault("drop", pause, code=closes, error_event=st.booleans()),
        _fault("drop", pause, code=closes, close_frame=st.booleans()),
        _fault("refuse", pause, status=st.sampled_from((403, 429, 500, 503)), times=times),
        _fault("refuse", pause, code=st.sampled_from((4100, 4200)), times=times),
        _fault("refuse", pause, times=times),
        _fault(
            "refuse_channel",
            pause,
            channel=st.sampled_from(list(channels)),
            shape=st.sampled_from(("pusher", "error", "soketi", "internal", "silent")),
            times=st.just(1),
        ),
        _fault(
            "auth_answer",
            pause,
            status=st.sampled_from((200, 403, 500)),
            body=st.sampled_from(("", "{}", "<html>")),
            times=times,
        ),
        _fault("send_raw", pause, connection=st.none(), data=texts(channels)),
    )
    muted = st.builds(
        lambda wait: [Fault("mute", seconds=wait), Fault("unmute"), Fault("drop")], pause
    )
    return st.lists(one.map(lambda fault: [fault]) | muted, max_size=most).map(
        lambda groups: [fault for group in groups for fault in group]
    )


# Parts


def _fault(
    control: str, pause: st.SearchStrategy[float], **arguments: st.SearchStrategy[Any]
) -> st.SearchStrategy[Fault]:
    return st.builds(Fault, st.just(control), st.fixed_dictionaries(arguments), pause)


def _message(
    event: st.SearchStrategy[str],
    channel: st.SearchStrategy[str | None],
    data: st.SearchStrategy[Any],
    **more: st.SearchStrategy[Any],
) -> st.SearchStrategy[str]:
    fields = {"event": event, "channel": channel, "data": data}
    return st.fixed_dictionaries(fields, optional=more).map(
        lambda found: json.dumps({name: v for name, v in found.items() if v is not None})
    )


def _named(
    event: str, channel: st.SearchStrategy[str | None], data: st.SearchStrategy[Any]
) -> st.SearchStrategy[str]:
    """Return a strategy for messages of the protocol. Their data is a string or a value: servers send both."""
    either = data.flatmap(
        lambda value: (
            st.just(value) if value is None else st.sampled_from((json.dumps(value), value))
        )
    )
    return _message(st.just(event), channel, either)


def _greeting(number: int) -> bytes:
    data = {"socket_id": f"{number}.{number}", "activity_timeout": 120}
    message = {"event": "pusher:connection_established", "data": json.dumps(data)}
    return json.dumps(message).encode()


def _rosters() -> st.SearchStrategy[Any]:
    ids = st.lists(_ids, max_size=4)
    hashes = st.dictionaries(_ids.map(str), st.none() | _values, max_size=4)
    presence = st.fixed_dictionaries({"ids": ids, "hash": hashes, "count": st.integers(0, 4)})
    return st.fixed_dictionaries({}, optional={"presence": presence})


def _counts() -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"subscription_count": st.integers(0, 1000) | _values})


def _member() -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"user_id": _ids}, optional={"user_info": _values})


def _errors() -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"code": _codes}, optional={"message": _words, "error": _words, "status": _codes}
    )


def _frame(payload: bytes, opcode: int = _TEXT, *, final: bool = True) -> bytes:
    """Return one unmasked frame of a server."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    else:
        short = size < 65536
        length = bytes([126 if short else 127]) + size.to_bytes(2 if short else 8, "big")
    return bytes([final << 7 | opcode]) + length + payload


def _fragments(message: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy for this message, in two or three frames."""

    def cut(places: list[int]) -> bytes:
        ends = [0, *sorted(places), len(message)]
        parts = [message[start:end] for start, end in pairwise(ends)]
        last = len(parts) - 1
        return b"".join(
            _frame(part, 0 if at else _TEXT, final=at == last) for at, part in enumerate(parts)
        )

    return st.lists(st.integers(0, len(message)), min_size=1, max_size=2).map(cut)


def _binary() -> st.SearchStrategy[bytes]:
    return st.binary(max_size=20).map(lambda data: _frame(data, _BINARY))


def _closes() -> st.SearchStrategy[bytes]:
    codes = st.sampled_from((1000, 1001, 1011, 4001, 4009, 4100, 4200, 4201))
    return codes.map(lambda code: _frame(code.to_bytes(2, "big") + b"why", _CLOSE))
