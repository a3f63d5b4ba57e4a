"""The channels and the user of a session: subscriptions, members, keys, client events, catching up, the sign-in.

Builds on `_auth` and `_connection`; the session calls it.
"""
