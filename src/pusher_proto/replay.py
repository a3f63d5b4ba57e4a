"""`python -m pusher_proto.replay FILE`: run a recording again, and print its inputs, effects and events."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence

from .errors import excerpt
from .events import Event
from .recording import replay

__all__ = ["main", "told"]


def told(lines: Iterable[str]) -> Iterator[str]:
    """Run recorded lines again; yield one line of text for each input, with its time, and for its effects and events.

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
    """Print the inputs, effects and events of the recording that `argv` names; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pusher_proto.replay",
        description="Run a recording (open_pusher(record=...)) through the core again.",
    )
    parser.add_argument("file", help="the recording, JSON lines")
    arguments = parser.parse_args(argv)
    try:
        with open(arguments.file, encoding="utf-8") as lines:
            for line in told(lines):
                print(line)  # noqa: T201 - a command that prints
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
