"""One connection to the server, and the one that follows it: link, liveness, reconnecting.

Knows no channel and nothing of `_auth`.
"""
