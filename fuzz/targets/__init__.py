"""The fuzz targets. The docstring of each module states the invariant, and `fuzz_one` checks it."""

__all__ = ["TARGETS"]

TARGETS = ("websocket", "http", "messages", "secretbox", "options_url", "session", "server")
