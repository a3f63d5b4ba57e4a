"""Numbered byte streams: opening, tunnels through proxies, TLS, and the queue of effects for the driver.

Knows nothing of the protocol on a stream, nor which machine owns it beyond the three calls of `Owner`.
"""
