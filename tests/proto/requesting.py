"""The request that an endpoint is sent, with the application's functions called at once."""

from __future__ import annotations

from typing import Any

from pusher_proto._auth.endpoint_format import fields_for, request_with, url_for
from pusher_proto._base.urls import Address
from pusher_proto._wire.http import HttpRequest
from pusher_proto.auth import AuthEndpoint, AuthRequest

__all__ = ["request_for"]


def request_for(endpoint: AuthEndpoint, details: AuthRequest) -> tuple[Address, HttpRequest]:
    """Return the address and the request for one authorization."""

    def current(value: Any) -> Any:
        return value() if callable(value) else value

    return request_with(
        endpoint,
        url_for(endpoint, details),
        fields_for(details),
        current(endpoint.headers),
        current(endpoint.params),
    )
