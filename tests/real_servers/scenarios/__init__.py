"""Scenarios for every real server. `tests/soketi` and `tests/sockudo` import them, each with its own fixture `server`.

What differs between the servers is in `process.Habits`.
"""
