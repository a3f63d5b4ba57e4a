"""Small helpers that know nothing of the protocol: logs, secrets, URLs, checks of arguments, timers, backoff.

Imports the standard library and `errors` only.
"""
