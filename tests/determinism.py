"""`python tests/determinism.py FILE`: run a recording, and print all that follows from it, without what is random.

Only the masks of frames are: they are taken off. It needs the package and nothing of the tests, so that any Python
that has the package's dependencies can run it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pusher_proto import SendData
from pusher_proto.recording import replay

__all__ = ["reported"]

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def reported(path: Path) -> Iterator[str]:
    """Yield a line for each input, effect and event of a recording."""
    for step in replay(path.read_text().splitlines()):
        if isinstance(step, SendData):
            yield f"SendData {step.transport} {unmasked(step.data)!r}"
        else:
            yield _ADDRESS.sub("", repr(step))  # of a function of the application


def unmasked(data: bytes) -> list[bytes]:
    """Return HTTP requests as they are, and frames without their masks."""
    if data.startswith((b"GET ", b"POST ")):
        return [data]
    frames = []
    while data:
        width = {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
        size = int.from_bytes(data[2 : 2 + width], "big") if width else data[1] & 0x7F
        start = 6 + width
        mask, masked = data[start - 4 : start], data[start : start + size]
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        frames.append(data[: 2 + width] + payload)
        data = data[start + size :]
    return frames


if __name__ == "__main__":
    for line in reported(Path(sys.argv[1])):
        print(line)  # noqa: T201 - printing is what it is for
