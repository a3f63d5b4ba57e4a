"""Small helpers that know nothing of the protocol: logs, secrets, URLs, checks of arguments, timers, backoff.

Imports `errors`, the standard library and `idna` only.
"""
