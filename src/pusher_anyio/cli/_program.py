"""The program: parses the command line, runs the command, and reports wrong arguments in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

import click

from ._arguments import Arguments, Exit, UsageError
from ._commands import program
from ._help import columns

__all__ = ["main", "parse"]

NAME = "pusher-proto"
_ENDED_BY_SIGNALS = ("listen", "serve", "who")
"""Commands of which Ctrl+C is the normal end."""
_HOMES = {"serve": ".serve._command"}
"""The modules whose name differs from that of their command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; `argv` is `sys.argv[1:]` by default."""
    try:
        status = _parsed(argv, _run)
        return status if isinstance(status, int) else Exit.DONE
    except UsageError as error:
        return _wrong(str(error))
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else NAME
        return _wrong(f"{error.format_message().rstrip('.')} (see {path} --help)")
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED


def parse(argv: Sequence[str]) -> Arguments:
    """Return the arguments of a command line, without running it. Raises `click.UsageError`."""
    arguments = _parsed(argv, lambda arguments: arguments)
    assert isinstance(arguments, Arguments)  # --help and --version name no command
    return arguments


def _parsed(argv: Sequence[str] | None, run: Callable[[Arguments], object]) -> object:
    words = list(sys.argv[1:] if argv is None else argv)
    return program.main(words, NAME, standalone_mode=False, obj=run, terminal_width=columns())


def _run(arguments: Arguments) -> int:
    command = arguments.command
    try:
        # Import only the module of this command: the imports of all would take long.
        module = import_module(_HOMES.get(command, f"._{command}"), __package__)
        from ._output import logs_on_stderr

        with logs_on_stderr(verbose=arguments.verbose):
            return int(module.run(arguments))
    except KeyboardInterrupt:
        # A command that handles Ctrl+C itself gets here only before it does.
        return Exit.DONE if command in _ENDED_BY_SIGNALS else Exit.INTERRUPTED


def _wrong(text: str) -> int:
    print(f"{NAME}: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201 - the program's output
    return Exit.USAGE
