"""The delays between attempts to connect. Public path of `pusher_proto._base.backoff`."""

from __future__ import annotations

from ._base.backoff import FreshRandom, Rng, delay_before

__all__ = ["FreshRandom", "Rng", "delay_before"]
