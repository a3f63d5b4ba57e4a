"""Bytes to messages and back: frames, the upgrade, HTTP, proxies, the JSON envelope, secret boxes.

Knows RFC 6455, HTTP/1.1 and JSON, and imports `_base` and `errors`. Knows no channel and no connection.
"""
