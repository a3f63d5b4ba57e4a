"""Obtains authorizations: by signing, by requests to an endpoint, in batches, or by the application's own function.

Knows neither `_connection` nor what an authorization is used for.
"""
