"""The connection to the server: one link at a time, its liveness, and reconnecting.

Knows neither channels nor `_auth`.
"""
