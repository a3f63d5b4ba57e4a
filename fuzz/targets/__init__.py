"""What can be fuzzed: each module says at its head what must hold, and checks it in `fuzz_one`."""

__all__ = ["TARGETS"]

TARGETS = ("websocket", "http", "messages", "secretbox", "options_url", "session", "server")
