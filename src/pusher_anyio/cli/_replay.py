"""`pusher-proto replay`: run a recording again."""

from __future__ import annotations

from pusher_proto.errors import excerpt
from pusher_proto.replay import described

from ._arguments import Arguments, Exit, UsageError
from ._output import give_up_stdout, print_line, printable

__all__ = ["run"]


def run(arguments: Arguments) -> int:
    """Print what happens in the recording, and return the exit status. Raises `UsageError`."""
    try:
        with open(arguments.file, encoding="utf-8") as lines:
            for line in described(lines):
                print_line(printable(line))
    except BrokenPipeError:
        give_up_stdout()
    except OSError as error:
        raise UsageError(f"{arguments.file}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{arguments.file} is not a recording: {excerpt(str(error))}") from error
    return Exit.DONE
