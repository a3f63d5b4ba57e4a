"""The command line starts soon: what it does not need yet is not imported."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

import pusher_anyio

HEAVY = {"anyio", "asyncio", "msgspec", "pusher_proto", "rich", "ssl", "wsproto"}


def imported(*arguments: str) -> set[str]:
    """Return which of the heavy modules are imported by the end of a command."""
    program = (
        "import sys; from pusher_anyio.__main__ import main; main(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr)"
    )
    line = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=50, check=True)
    return set(done.stderr.splitlines()[-1].split()) & HEAVY


@pytest.mark.parametrize("arguments", ["--help", "listen --help", "listen room"])
def test_help_and_usage_import_nothing_heavy(arguments: str) -> None:
    assert imported(*arguments.split()) == set()


def test_help_takes_less_than_200_milliseconds() -> None:
    """Of processor time, whatever else runs on the machine; the fastest of three."""
    line = [sys.executable, "-m", "pusher_anyio", "--help"]
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, timeout=50)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 0.2


def test_without_a_terminal_rich_is_not_imported_nor_an_event_loop() -> None:
    brought = imported("doctor", "--host", "127.0.0.1", "--port", "1", "--key", "k")
    assert brought == HEAVY - {"rich", "anyio", "asyncio"}


def test_the_package_gives_its_names_when_they_are_requested() -> None:
    assert set(pusher_anyio.__all__) <= set(dir(pusher_anyio))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        pusher_anyio.nonsense  # type: ignore[attr-defined]  # noqa: B018 - the test is that it is missing
