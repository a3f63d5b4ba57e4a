"""Numbered byte streams: opening, tunnels through proxies, TLS, and the queue of effects for the driver.

Knows nothing of what goes over a stream.
"""
