"""Scenarios for every real server. `tests/soketi`, `tests/sockudo` and `tests/reverb` import them, each with its own
fixture `server`.

What differs between the servers is in `process.Habits`.
"""
