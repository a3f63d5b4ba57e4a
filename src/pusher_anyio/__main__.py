"""The command line: `pusher-proto`, or `python -m pusher_anyio`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from ._cli._arguments import Exit, UsageError, parse

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; `argv` is `sys.argv[1:]` by default."""
    command = None
    try:
        arguments = parse(argv)
        command = arguments.command
        # Only now, and only this one: importing all that a command needs takes a while.
        module = import_module(f"pusher_anyio._cli._{command}")
        from ._cli._output import logs_on_stderr

        with logs_on_stderr(verbose=arguments.verbose):
            return int(module.run(arguments))
    except UsageError as error:
        print(f"pusher-proto: {error}", file=sys.stderr)  # noqa: T201 - the program's own words
        return Exit.USAGE
    except SystemExit as end:  # argparse, after --help
        return int(end.code or 0)
    except KeyboardInterrupt:
        # Only where the command does not look out for it itself, or not yet.
        return Exit.DONE if command in ("listen", "serve", "who") else Exit.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
