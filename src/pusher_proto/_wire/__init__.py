"""Converts bytes to messages and back: frames, the upgrade, HTTP, proxies, the JSON envelope, secret boxes.

Knows RFC 6455, HTTP/1.1 and JSON, but neither channels nor connections. Imports `_base` and `errors` only.
"""
