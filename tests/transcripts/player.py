"""Plays a transcript: the other side of a connection as it was recorded or written down, against a session.

A transcript is a text file. Its head describes it; `key = value` lines set the options, of which
`options = for_reverb` and the like say how they are made, and `channel_data` what an auth endpoint signs for channels.
Then, a line each:

    ! subscribe room         the application does something: subscribe, unsubscribe, trigger, signin, wait SECONDS
    < {"event": ...}         a text message of the server; `<close 4200 why`, `<ping` and `<end` are what they say
    > {"event": ...}         what the client sent since the last line that it caused; `>close 1000` and the like
    = Subscribed(...)        an event that the application received since then

What the server says between two lines of other kinds arrives in one read, or cut at any place.
`python tests/transcripts/player.py FILE...` writes the `>` and `=` lines again, for a person to check.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from proto.scripted import decoded, upgrade_for
from proto.websocket_peer import PING, close, frame
from pusher_proto import (
    Authorize,
    AuthResponse,
    CloseTransport,
    OpenTransport,
    Options,
    OwnKey,
    SendData,
    Session,
)
from pusher_proto.signing import sign_channel, sign_user

__all__ = ["DIRECTORY", "Split", "Transcript", "play", "read"]

DIRECTORY = Path(__file__).parent

Split = Callable[[bytes], list[bytes]]
"""How what arrives is cut."""


@dataclass
class Transcript:
    """A file, read."""

    head: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def read(text: str) -> Transcript:
    """Read a transcript."""
    transcript = Transcript()
    for line in text.splitlines():
        if line[:1] in "!<>=" and line:
            transcript.lines.append(line)
        elif not transcript.lines:
            transcript.head.append(line)
            name, equals, value = line.partition(" = ")
            if equals:
                transcript.options[name] = value
    return transcript


def play(transcript: Transcript, split: Split) -> list[str]:
    """Play it, with what the server says cut by `split`; return its lines as they turned out."""
    player = _Player(transcript.options, split)
    said = b""
    for line in transcript.lines:
        if line[0] == "<":
            said += player.bytes_of(line)
            continue
        if line[0] == "!":
            player.receive(said)
            said = b""
            player.do(line)
        elif said:
            player.receive(said)
            said = b""
    player.receive(said)
    return player.lines


class _Player:
    def __init__(self, options: dict[str, str], split: Split) -> None:
        member = options.get("member")
        user = options.get("user")
        auth: OwnKey | None = OwnKey(
            options["key"],
            options["secret"],
            member=json.loads(member) if member else None,
            user=json.loads(user) if user else None,
            master_key=bytes.fromhex(options["master_key"]) if "master_key" in options else None,
        )
        self._keys = options["key"], options["secret"]
        self._channel_data = options.get("channel_data")
        """The `channel_data` that an auth endpoint signs instead of `OwnKey`; "none" for nothing."""
        self._user = user or ""
        if self._channel_data is not None:
            auth = None
        make = getattr(Options, options.get("options", "from_host"))
        given = make("ws.test", key=options["key"], tls=False, auth=auth)
        self.session = Session(given, rng=random.Random(1))
        self.lines: list[str] = []
        self._split = split
        self._now = 100.0
        self._transport = 0
        self._upgrade = b""
        self._ends = False

    def do(self, line: str) -> None:
        """Let the application do something."""
        self.lines.append(line)
        command, *args = line[2:].split(" ", 3)
        session, now = self.session, self._now
        match command:
            case "connect":
                session.connect(now=now)
                self._drain()
                session.transport_opened(self._transport, now=now)
                self._drain()
                self.receive(self._upgrade)
            case "wait":
                end = now + float(args[0])
                while (due := session.next_deadline()) is not None and due <= end:
                    self._now = max(self._now, due)
                    session.handle_timeout(now=self._now)
                    self._drain()
                self._now = end
            case "trigger":
                session.trigger(args[0], args[1], json.loads(args[2]), now=now)
            case "subscribe" | "unsubscribe":
                getattr(session, command)(args[0], now=now)
            case _:
                getattr(session, command)(now=now)
        self._drain()

    def bytes_of(self, line: str) -> bytes:
        """Return the bytes of what the server says."""
        self.lines.append(line)
        word, _, rest = line[1:].partition(" ")
        match word:
            case "":
                return frame(rest.encode())
            case "ping":
                return frame(rest.encode(), PING)
            case "close":
                code, _, reason = rest.partition(" ")
                return close(int(code), reason.encode())
            case "end":
                self._ends = True
                return b""
            case _:
                raise ValueError(f"not a line of a transcript: {line!r}")

    def receive(self, data: bytes) -> None:
        """Let bytes arrive; then the end of the stream, when it was said last."""
        for piece in self._split(data) if data else ():
            self.session.receive_data(self._transport, piece, now=self._now)
            self._drain_effects()
        if self._ends:
            self._ends = False
            self.session.transport_closed(self._transport, None, now=self._now)
        self._drain()

    def _drain(self) -> None:
        self._drain_effects()
        while (event := self.session.next_event()) is not None:
            self.lines.append(f"= {event!r}")

    def _drain_effects(self) -> None:
        while (effect := self.session.next_effect()) is not None:
            match effect:
                case OpenTransport():
                    self._transport = effect.transport
                case SendData():
                    self.lines += [f">{text}" for text in self._sent(effect.data)]
                case CloseTransport():
                    self.lines.append(">end")
                case Authorize():
                    self._authorize(effect)

    def _authorize(self, asked: Authorize) -> None:
        """Sign the request, as the auth endpoint of the recorded application did."""
        key, secret = self._keys
        channel, data = asked.details.channel, self._channel_data
        if channel is None:
            user = self._user
            authorization = AuthResponse(
                sign_user(key, secret, asked.details.socket_id, user), user_data=user
            )
        else:
            data = None if data == "none" else data
            auth = sign_channel(key, secret, asked.details.socket_id, channel, data)
            authorization = AuthResponse(auth, channel_data=data)
        self.session.authorized(asked.request, authorization, now=self._now)
        self._drain_effects()

    def _sent(self, data: bytes) -> Iterator[str]:
        if data.startswith(b"GET "):
            self._upgrade = upgrade_for(data)
            return
        for act in decoded(data):
            yield f" {json.dumps(act)}" if isinstance(act, dict) else _words(act)


def _words(act: Any) -> str:
    kind, *rest = act
    return " ".join([kind, *(r.decode() if isinstance(r, bytes) else str(r) for r in rest)]).strip()


def whole(data: bytes) -> list[bytes]:
    return [data]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        transcript = read(path.read_text())
        path.write_text("\n".join([*transcript.head, *play(transcript, whole)]) + "\n")
