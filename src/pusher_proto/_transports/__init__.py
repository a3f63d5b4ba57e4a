"""Numbered byte streams: opens them, tunnels through proxies, starts TLS, and queues effects for the driver.

Knows neither the protocol on a stream nor its owner, beyond the three calls of `Owner`.
"""
