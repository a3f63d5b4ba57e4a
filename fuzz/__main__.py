"""`python -m fuzz TARGET --seconds N`: search for inputs that break a target's invariant.

By default the standard library changes the inputs of the corpus at random, in the same way for the same seed. With
`--atheris` (`pip install atheris`) the search is guided by coverage, and inputs that cover more are kept in `--keep
DIR`. A failing input is shortened and written to `fuzz/failures`. With files instead of seconds only these are run.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import logging
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from fuzz.mutation import minimised, mutated
from fuzz.targets import TARGETS

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
FAILURES = HERE / "failures"

FuzzOne = Callable[[bytes], None]


def corpus_of(target: str) -> list[bytes]:
    """Return the committed inputs of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def target_named(name: str) -> FuzzOne:
    """Return the function that checks one input."""
    function: FuzzOne = importlib.import_module(f"fuzz.targets.{name}").fuzz_one
    return function


def run(name: str, seconds: float, seed: int) -> int:
    """Fuzz with the standard library alone; return the exit status."""
    fuzz_one, corpus, rng = target_named(name), corpus_of(name), random.Random(seed)
    began, count, slowest = time.monotonic(), 0, 0.0
    while (now := time.monotonic()) - began < seconds:
        data = corpus[count] if count < len(corpus) else mutated(corpus, rng)
        try:
            fuzz_one(data)
        except Exception:
            traceback.print_exc()
            report(name, minimised(data, lambda shorter: fails(fuzz_one, shorter)))
            return 1
        count += 1
        slowest = max(slowest, time.monotonic() - now)
    print(f"{name}: {count} inputs in {seconds:g} s, seed {seed}, the slowest {slowest:.2f} s")
    return 0


def fails(fuzz_one: FuzzOne, data: bytes) -> bool:
    """Return whether the invariant does not hold for an input."""
    try:
        fuzz_one(data)
    except Exception:
        return True
    return False


def report(name: str, data: bytes) -> None:
    """Write an input that fails to a file, and print how to run it again."""
    FAILURES.mkdir(exist_ok=True)
    path = FAILURES / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    print(f"{name} fails on {data!r}\nagain: python -m fuzz {name} {path}", file=sys.stderr)


def guided(name: str, seconds: float, seed: int, keep: Path | None) -> None:
    """Fuzz with atheris; it ends the process."""
    try:
        import atheris
    except ImportError:
        raise SystemExit("--atheris needs atheris: pip install atheris") from None
    with atheris.instrument_imports(include=["pusher_proto", "wsproto", "h11", "fuzz"]):
        fuzz_one = target_named(name)
    directories = [str(keep)] if keep is not None else []
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    FAILURES.mkdir(exist_ok=True)
    atheris.Setup(
        [
            f"python -m fuzz {name}",
            f"-max_total_time={int(seconds)}",
            f"-seed={seed or 1}",
            "-max_len=4096",
            "-timeout=60",
            "-rss_limit_mb=4096",
            f"-artifact_prefix={FAILURES}/{name}-",
            *directories,
            str(CORPUS / name),
        ],
        fuzz_one,
    )
    atheris.Fuzz()


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz, or run the inputs that `argv` names; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=(__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("files", nargs="*", type=Path, help="run only these inputs")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to search")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random choices")
    parser.add_argument("--atheris", action="store_true", help="guided by coverage")
    parser.add_argument(
        "--keep", type=Path, help="folder in which atheris keeps inputs that cover more"
    )
    arguments = parser.parse_args(argv)
    for path in arguments.files:
        target_named(arguments.target)(path.read_bytes())
    if arguments.files:
        return 0
    if arguments.atheris:
        guided(arguments.target, arguments.seconds, arguments.seed, arguments.keep)
    return run(arguments.target, arguments.seconds, arguments.seed)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    raise SystemExit(main())
