"""Measures what a process holds (memory, objects, files, threads, tasks, timers), and whether it has grown."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Sample", "grown", "sample"]

Sample = dict[str, int]

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_SLACK = {"files": 5, "threads": 5, "tasks": 6, "timers": 6, "transports": 3}
"""How many more of each a later calm may have than the first one: hanging calls and kept connections vary."""
_OBJECTS, _MORE_OBJECTS = 1.05, 3000
_MEMORY, _MEMORY_AFTER = 4096, 6
"""The most KB added between the middle calm and the last one, and the least number of calms for this check."""


def sample(client: Any, tasks: int) -> Sample:
    """Return the current counts of this process. Reads private attributes of `client`."""
    gc.collect()
    session, driver = client._session, client._driver
    return {
        "RSS, KB": int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE // 1024,
        "objects": len(gc.get_objects()),
        "files": len(os.listdir("/proc/self/fd")) - 1,
        "threads": threading.active_count(),
        "tasks": tasks,
        "timers": len(session._timers._at),
        "transports": len(driver.wires),
        "connections": client.stats.connections,
    }


def grown(samples: Sequence[Sample]) -> list[str]:
    """Return descriptions of the counts that have grown, from one sample of each calm."""
    if len(samples) < 2:
        return []
    first, middle, last = samples[0], samples[len(samples) // 2], samples[-1]
    found = [
        f"{name} grew from {first[name]} to {last[name]}"
        for name, slack in _SLACK.items()
        if name in first and last[name] > first[name] + slack
    ]
    if last["objects"] > first["objects"] * _OBJECTS + _MORE_OBJECTS:
        found.append(f"objects grew from {first['objects']} to {last['objects']}")
    if len(samples) >= _MEMORY_AFTER and last["RSS, KB"] > middle["RSS, KB"] + _MEMORY:
        found.append(f"memory grew from {middle['RSS, KB']} to {last['RSS, KB']} KB")
    return found
