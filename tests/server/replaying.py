"""Replays the clients of a recording against the machine, and compares what the machine answers.

A recording has one JSON object a line: `t` seconds, `conn` a number, `dir` "c>s" or "s>c", and `text`, `binary`,
`close` with `reason`, `ping`, `pong`, `http` (a head) or `end`. Of publishers it has only what they caused: an event
that no client sent is published when it first arrives.
"""

from __future__ import annotations

import json
import random
import re
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pusher_proto.testing import Server, ServerClose, ServerSend

from .frames import close, frame

OWN = ("pusher:", "pusher_internal:", "client-", "online", "offline")
"""Beginnings of the names of events that are not published in the replayed recordings."""


class RecordedIds(random.Random):
    """Draws the parts of the socket ids that the real server drew, so that signatures fit."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__(0)
        self.parts = deque(int(part) for socket_id in ids for part in socket_id.split("."))

    def randrange(self, *arguments: Any, **more: Any) -> int:
        part = self.parts.popleft() if self.parts else 0
        return part or super().randrange(*arguments, **more)


@dataclass
class Wire:
    """One connection: what the machine sent and the recording did not yet claim."""

    said: deque[tuple[str, Any]] = field(default_factory=deque)
    left_at: float = float("inf")
    """When the client closed or went."""
    upgraded: bool = False
    closed: bool = False
    raw: bytearray = field(default_factory=bytearray)


class Replay:
    """One recording, replayed."""

    def __init__(
        self, path: Path, server: Server, keys: list[str], *, without: set[int], reserved: bool
    ) -> None:
        rows = [json.loads(line) for line in path.read_text("utf-8").rstrip("\n").split("\n")]
        self.rows = [row for row in rows if row.get("conn") is not None and "t" in row]
        self.keys = keys
        self.without = without
        self.reserved = reserved
        """Whether names of the protocol were published too."""
        self.server = server
        self.wires: dict[int, Wire] = {}
        self.now = 0.0
        self.departures: dict[int, float] = {}
        """When each `member_removed` was sent, by its place in memory."""
        self.compared = 0
        """Answers that were equal."""
        self.differences: list[str] = []

    def run(self) -> None:
        """Replay all; `differences` has what was not equal."""
        for row in self.rows:
            if row["conn"] in self.without:
                continue
            self.pass_time(row["t"])
            if row["dir"] == "c>s":
                self.say(row)
            else:
                self.expect(row)
        for number, wire in self.wires.items():
            if number not in self.without:
                # Some recordings stop before the end of their last connections.
                left = [said for said in wire.said if said != ("end", None) or not wire.closed]
                left = [said for said in left if not self.crossed(wire, said)]
                self.differences += [f"conn {number}: unexpected {said}" for said in left]

    def crossed(self, wire: Wire, said: tuple[str, Any]) -> bool:
        """Return whether another client left just before this one did: the real server saw them leave at once."""
        return (
            said[0] == "text"
            and said[1]["event"] == "pusher_internal:member_removed"
            and wire.left_at - self.departures.get(id(said), float("-inf")) < 0.02
        )

    def pass_time(self, until: float) -> None:
        while (due := self.server.next_deadline()) is not None and due <= until:
            self.now = due
            self.server.handle_timeout(now=due)
            self.carry()
        self.now = max(self.now, until)

    def say(self, row: dict[str, Any]) -> None:
        """Do what a client did."""
        number = row["conn"]
        if number not in self.wires:
            self.wires[number] = Wire()
            self.server.connection_opened(number, now=self.now)
        wire = self.wires[number]
        if "http" in row:
            data = row["http"].encode()
            wire.upgraded = False
        elif "text" in row:
            # Bytes that are not UTF-8 were recorded as U+FFFD.
            data = frame(row["text"].encode().replace("\ufffd".encode(), b"\xff"))
        elif "binary" in row:
            data = frame(bytes.fromhex(row["binary"]), opcode=2)
        elif "ping" in row:
            data = frame((row["ping"] or "").encode(), opcode=9)
        elif "pong" in row:
            data = frame((row["pong"] or "").encode(), opcode=10)
        elif "close" in row:
            data = close(row["close"], row.get("reason") or "")
            wire.closed = True
            wire.left_at = self.now
        else:
            wire.left_at = min(wire.left_at, self.now)
            self.server.connection_closed(number, now=self.now)
            self.carry()
            return
        self.server.receive_data(number, data, now=self.now)
        self.carry()

    def carry(self) -> None:
        while (effect := self.server.next_effect()) is not None:
            wire = self.wires[effect.connection]
            match effect:
                case ServerSend():
                    self.read(wire, effect.data)
                case ServerClose():
                    wire.said.append(("end", None))

    def read(self, wire: Wire, data: bytes) -> None:
        if not wire.upgraded:
            wire.raw += data
            if b"\r\n\r\n" not in wire.raw:
                return
            head, _, rest = bytes(wire.raw).partition(b"\r\n\r\n")
            wire.raw.clear()
            status = int(head.split(b" ")[1])
            wire.said.append(("http", status))
            if status != 101:
                return
            wire.upgraded = True
            data = rest
        self.frames(wire, data)

    def frames(self, wire: Wire, data: bytes) -> None:
        wire.raw += data
        while len(wire.raw) >= 2:
            opcode, length, size = wire.raw[0] & 15, wire.raw[1], 2
            if length == 126:
                length, size = int.from_bytes(wire.raw[2:4], "big"), 4
            elif length == 127:
                length, size = int.from_bytes(wire.raw[2:10], "big"), 10
            payload = bytes(wire.raw[size : size + length])
            del wire.raw[: size + length]
            match opcode:
                case 1:
                    wire.said.append(("text", readable(payload.decode())))
                    self.departures[id(wire.said[-1])] = self.now
                case 8:
                    code = int.from_bytes(payload[:2], "big") if payload else None
                    wire.said.append(("close", (code, payload[2:].decode())))
                case 9 | 10:
                    wire.said.append(("ping" if opcode == 9 else "pong", payload.decode()))

    def expect(self, row: dict[str, Any]) -> None:
        """Compare with what the real server did."""
        number = row["conn"]
        wire = self.wires.setdefault(number, Wire())
        if "http" in row:
            expected: tuple[str, Any] = ("http", int(row["http"].split(" ")[1]))
        elif "text" in row:
            expected = ("text", readable(row["text"]))
        elif "close" in row:
            expected = ("close", (row["close"], row.get("reason") or ""))
        elif "ping" in row:
            expected = ("ping", row["ping"])
        elif "pong" in row:
            expected = ("pong", row["pong"])
        elif "end" in row:
            if ("end", None) in wire.said:
                wire.said.remove(("end", None))
            return
        else:
            return
        if expected not in wire.said and self.is_published(expected, number):
            self.publish(expected[1], number)
        if wire.said and wire.said[0] == expected:
            wire.said.popleft()
            self.compared += 1
        elif expected[0] == "close" and expected in wire.said and wire.left_at > self.now - 0.02:
            # Messages that the server sent while the client's close frame was in transit.
            wire.said.remove(expected)
            self.compared += 1
        elif expected in wire.said:
            self.differences.append(f"{row['t']} conn {number}: out of order {expected}")
            wire.said.remove(expected)
        else:
            there = list(wire.said)[:3]
            self.differences.append(
                f"{row['t']} conn {number}: missing {expected}; there is {there}"
            )

    def is_published(self, expected: tuple[str, Any], number: int) -> bool:
        """Return whether a message comes from a publisher."""
        kind, value = expected
        if kind != "text" or "channel" not in value:
            return False
        if not self.reserved and value["event"].startswith(OWN):
            return False
        return self.server.connections.get(number) is not None

    def publish(self, event: dict[str, Any], number: int) -> None:
        """Publish an event that arrived, but not to sockets that do not get it."""
        data = event["data"]
        if isinstance(data, dict) and list(data) == ["json"]:
            data = data["json"]
        same = [
            row["conn"]
            for row in self.rows
            if row["dir"] == "s>c"
            and "text" in row
            and self.now - 0.001 <= row["t"] <= self.now + 0.2
            if readable(row["text"]) == event
        ]
        channel, sockets = event["channel"], self.server.connections
        app = next(
            (
                key
                for key in self.keys
                if sockets[number] in self.server.subscriptions(channel, app=key)
            ),
            None,
        )
        left_out = [
            socket_id
            for connection, socket_id in sockets.items()
            if socket_id in self.server.subscriptions(channel, app=app) and connection not in same
        ]
        self.server.publish(
            channel,
            event["event"],
            data if isinstance(data, str) else json.dumps(data),
            app=app,
            exclude_socket_id=left_out[0] if left_out else None,
            now=self.now,
        )
        self.carry()


def readable(text: str) -> Any:
    """Return a message with JSON in its data decoded, rosters sorted, and what differs by chance left out."""
    value = json.loads(text)
    data = value.get("data")
    if isinstance(data, str):
        with suppress(ValueError):
            decoded = json.loads(data)
            if isinstance(decoded, dict | list):
                value["data"] = data = {"json": decoded}
    if not isinstance(data, dict):
        return value
    inner = data.get("json", data)
    if not isinstance(inner, dict):
        return value
    inner.pop("socket_id", None)
    if isinstance(ids := inner.get("user_ids"), list):
        inner["user_ids"] = sorted(ids)
    if isinstance(presence := inner.get("presence"), dict):
        presence["ids"] = sorted(presence["ids"], key=str)
    if value["event"] == "pusher:error" and "message" in inner:
        # The words of the JSON library are its own.
        message = str(inner["message"])
        inner["message"] = re.sub(
            r"(JSON deserialization failed|Invalid user_data JSON).*",
            r"\1",
            message,
            flags=re.DOTALL,
        )
    return value


def recorded_ids(path: Path, without: Collection[int]) -> list[str]:
    """Return the socket ids in the order of the upgrades; 0.0 for a client that left before its greeting."""
    rows = [json.loads(line) for line in path.read_text("utf-8").rstrip("\n").split("\n")]
    found = {
        row["conn"]: json.loads(json.loads(row["text"])["data"])["socket_id"]
        for row in rows
        if row.get("dir") == "s>c" and "connection_established" in row.get("text", "")[:60]
    }
    opened = dict.fromkeys(row["conn"] for row in rows if row.get("dir") == "c>s" and "http" in row)
    refused = {row["conn"] for row in rows if is_refusal(row)} | set(without)
    return [found.get(number, "0.0") for number in opened if number not in refused]


def is_refusal(row: dict[str, Any]) -> bool:
    """Return whether a server refuses a connection before it draws a socket id."""
    if row.get("dir") != "s>c":
        return False
    status = row.get("http", "HTTP/1.1 101 ").split(" ")[1]
    return status != "101" or "4001" in row.get("text", "")
