"""Which channels and which user are wanted, and what became of each: subscriptions, members, keys, the sign-in.

Builds on `_auth` and `_connection`; called by the session.
"""
