"""The events of the benchmarks, with data of a known size, and the frames of a server."""

from __future__ import annotations

import base64
import json

KEY, SECRET = "bench-key", "bench-secret"
SHARED_SECRET = base64.b64encode(bytes(range(32))).decode()
EVENT = "price"
ME = '{"user_id":"user-1"}'
FIRST_ID = 1_000_000

_ORDERS = {100: 1, 1000: 10, 10_000: 100}


def channel_names(count: int, scope: str = "public") -> list[str]:
    """Return the names of the channels of a workload; `scope` is public, private, presence or private-encrypted."""
    prefix = "" if scope == "public" else f"{scope}-"
    return [f"{prefix}bench-{number:05d}" for number in range(count)]


def data_of(number: int, size: int) -> str:
    """Return the data of one event as JSON text of about `size` bytes: a list of orders. The first id is the number."""
    orders = [
        {
            "id": FIRST_ID + number + n,
            "symbol": ("ACME", "GLOBEX", "INITECH")[n % 3],
            "price": 101.25 + (number + n) % 7,
            "size": 30 + n,
            "side": "buy" if n % 2 else "sell",
            "open": True,
            "note": None,
        }
        for n in range(_ORDERS[size])
    ]
    return json.dumps(orders, separators=(",", ":"))


def seal(text: str) -> str:
    """Encrypt `text`; return the data of an encrypted event."""
    from nacl.secret import SecretBox

    box = SecretBox(base64.b64decode(SHARED_SECRET)).encrypt(text.encode())
    nonce, ciphertext = base64.b64encode(box.nonce), base64.b64encode(box.ciphertext)
    return json.dumps({"nonce": nonce.decode(), "ciphertext": ciphertext.decode()})


def message(event: str, data: object, channel: str | None = None) -> bytes:
    """Return one message of the protocol, as one frame of a server."""
    fields = {"event": event} | ({} if channel is None else {"channel": channel}) | {"data": data}
    return frame(json.dumps(fields, separators=(",", ":")).encode())


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """Return one final frame, unmasked."""
    size = len(payload)
    if size < 126:
        head = bytes((first, size))
    elif size < 65536:
        head = bytes((first, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 127)) + size.to_bytes(8, "big")
    return head + payload


class Block:
    """Events that are built once and sent repeatedly, so that the server only has to write."""

    def __init__(self, size: int, channels: list[str], *, encrypted: bool = False) -> None:
        count = max(len(channels), 1000 if size < 10_000 else 200)
        self.frames = []
        for number in range(count):
            data = data_of(number, size)
            self.frames.append(
                message(EVENT, seal(data) if encrypted else data, channels[number % len(channels)])
            )
        self.whole = b"".join(self.frames)

    def __len__(self) -> int:
        return len(self.frames)
