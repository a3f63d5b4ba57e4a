"""Checks the signatures that clients present."""

from __future__ import annotations

import hmac

from ..signing import sign
from .apps import App

__all__ = ["signature_matches", "wrong_channel_authorization", "wrong_user_authorization"]


def signature_matches(secret: str, text: str, given: str) -> bool:
    """Return whether `given` is the signature of `text`, in a time that does not depend on where they differ."""
    return hmac.compare_digest(sign(secret, text).encode(), given.encode())


def wrong_channel_authorization(
    app: App, socket_id: str, channel: str, auth: str, channel_data: str | None
) -> str | None:
    """Return the error of an authorization for a channel, in Pusher's words, or None."""
    text = f"{socket_id}:{channel}"
    if channel_data is not None:
        text += f":{channel_data}"
    return _wrong(app, text, auth, f"subscription to {channel}", "subscription auth data")


def wrong_user_authorization(app: App, socket_id: str, auth: str, user_data: str) -> str | None:
    """Return the error of an authorization to sign in, or None."""
    text = f"{socket_id}::user::{user_data}"
    return _wrong(app, text, auth, "signin", "signin auth data")


def _wrong(app: App, text: str, auth: str, purpose: str, place: str) -> str | None:
    key, colon, signature = auth.partition(":")
    if not colon:
        return f"Auth value for {purpose} is invalid: should be of format 'key:signature'"
    if key != app.key:
        return f"Invalid key in {place}: '{key}'"
    if not signature_matches(app.secret, text, signature):
        # Clients tell from this text which channel it is about: the error has no channel field.
        return f"Invalid signature: Expected HMAC SHA256 hex digest of {text}, but got {signature}"
    return None
