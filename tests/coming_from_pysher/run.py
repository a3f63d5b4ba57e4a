"""Run one program: `python -m coming_from_pysher.run (pysher|ours) PROGRAM PORT AUTH_URL [PATCH]`."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main(implementation: str, program: str, port: str, auth_url: str, patch: str = "") -> None:
    """Patch the standard library if requested, import either module, and run the program."""
    if patch == "gevent":
        importlib.import_module("gevent.monkey").patch_all()
    elif patch == "eventlet":
        importlib.import_module("eventlet").monkey_patch()
    pysher: Any = importlib.import_module(
        "pysher" if implementation == "pysher" else "pusher_sync.pysher"
    )
    from coming_from_pysher.programs import PROGRAMS, Site

    PROGRAMS[program](pysher, Site(int(port), auth_url))


if __name__ == "__main__":
    main(*sys.argv[1:])
