"""The command line: `pusher-proto`, or `python -m pusher_anyio`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ["main"]

_NEEDED = ("click", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; `argv` is `sys.argv[1:]` by default."""
    if not all(map(find_spec, _NEEDED)):
        text = (
            "pusher-proto: the command line needs the extra `cli`: pip install 'pusher-proto[cli]', "
            "or pip install '.[cli]' in a clone"
        )
        print(text, file=sys.stderr)  # noqa: T201 - the program's output
        return 1
    from .cli._program import main

    return main(argv)


if __name__ == "__main__":
    sys.exit(main())
