"""Close codes and what follows them. Public path of `pusher_proto._protocol.close_codes`."""

from __future__ import annotations

from ._protocol.close_codes import Next, explained, hint_for, next_after, next_after_status

__all__ = ["Next", "explained", "hint_for", "next_after", "next_after_status"]
