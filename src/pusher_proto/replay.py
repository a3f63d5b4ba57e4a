"""`python -m pusher_proto.replay FILE`: replay a recording, and print its inputs, effects and events."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence

from .errors import excerpt
from .events import Event
from .recording import replay

__all__ = ["described", "main"]


def described(lines: Iterable[str]) -> Iterator[str]:
    """Replay recorded lines; yield a line of text for each input, with its time, and for each effect and event.

    Raises ValueError if the file is not a recording.
    """
    began: float | None = None
    for step in replay(lines):
        if isinstance(step, tuple):
            now, name = step
            began = now if began is None else began
            yield f"{now - began:12.3f}  {name}"
        else:
            kind = "event " if isinstance(step, Event) else "effect"
            yield f"{'':12}    {kind}  {excerpt(step, 160)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the inputs, effects and events of the recording named in `argv`; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pusher_proto.replay",
        description="Replay a recording (open_pusher(record=...)) through the core.",
    )
    parser.add_argument("file", help="the recording, JSON lines")
    arguments = parser.parse_args(argv)
    try:
        with open(arguments.file, encoding="utf-8") as lines:
            for line in described(lines):
                print(line)  # noqa: T201 - a command that prints
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
