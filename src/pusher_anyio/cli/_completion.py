"""`pusher-proto completion`: the script of a shell that completes the command line."""

from __future__ import annotations

from click.shell_completion import get_completion_class

from ._arguments import Arguments, Exit
from ._commands import program
from ._output import print_line
from ._program import NAME

__all__ = ["run"]


def run(arguments: Arguments) -> int:
    """Print the script, and return the exit status."""
    shell = get_completion_class(arguments.shell)
    assert shell is not None  # click knows the shells that the command line allows
    variable = f"_{NAME.replace('-', '_').upper()}_COMPLETE"
    print_line(shell(program, {}, NAME, variable).source())
    return Exit.DONE
