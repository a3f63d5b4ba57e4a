"""The parts of the weather that its applications use."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any, Protocol

from pusher_proto import Options
from pusher_proto.testing import App
from simulation import World

__all__ = ["Environment"]


class Environment(Protocol):
    """The weather, as an application sees it."""

    cluster: bool
    """Whether the server behaves like several nodes, and the clients have `several_nodes`."""
    records: bool
    """Whether the inputs of all sessions are kept."""
    rng: random.Random
    storm: bool
    """Whether perils happen: network, server and applications fail."""
    calm: bool
    """Whether little happens, and nothing may break."""
    server: Any
    """The server, which checks what it receives."""
    world: World
    counts: Counter[str]
    """Events published on each channel."""
    published: defaultdict[str, list[float]]
    """When each of them was published."""

    @property
    def app(self) -> App:
        """The app with its current secrets."""

    def options(self, source: str, member: dict[str, Any]) -> Options:
        """Return options with one of the ways to get an authorization."""
