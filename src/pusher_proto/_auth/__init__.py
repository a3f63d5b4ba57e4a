"""How an authorization is obtained: signing, requests to an endpoint, batches, and the application's own function.

Knows nothing of `_connection` and of what an authorization is used for.
"""
