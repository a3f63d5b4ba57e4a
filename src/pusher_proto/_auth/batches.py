"""Many channels in one request to an auth endpoint: the request, and what its answer says of each channel.

The form is the one that pusher-js's batching plugin made known: `channel_name[0]`, `channel_name[1]` and so on (in
JSON a list), answered by an object from channel to authorization, or to `{"status": ..., "data":
authorization}`, within one more object from the socket id or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .._base.urls import Address
from .._wire.http import HttpFailed, HttpRequest, HttpResponse
from ..auth import AuthEndpoint, AuthRequest
from .endpoint_format import fields_of, request_with

__all__ = ["batch_request_for", "split_answer"]


def batch_request_for(
    endpoint: AuthEndpoint, wanted: Sequence[AuthRequest]
) -> tuple[Address, HttpRequest]:
    """Return where the request goes and what it is. What the application's functions raise comes out."""
    fields: dict[str, Any] = {"socket_id": wanted[0].socket_id}
    if endpoint.body == "form":
        fields |= {f"channel_name[{n}]": one.channel for n, one in enumerate(wanted)}
    else:
        fields["channel_name"] = [one.channel for one in wanted]
    return request_with(endpoint, endpoint.url, fields)


def split_answer(
    endpoint: AuthEndpoint, wanted: Sequence[AuthRequest], answer: HttpResponse | HttpFailed
) -> list[HttpResponse | HttpFailed]:
    """Return the answer for each channel, as if each had been asked for alone.

    A failure, and an answer that is no object, is everybody's. A channel that the answer leaves out is one with 404.
    """
    if isinstance(answer, HttpFailed) or not 200 <= answer.status < 300:
        return [answer] * len(wanted)
    try:
        fields = fields_of(endpoint, answer)
    except (
        Exception
    ):  # whatever the application's parser raises; reading it for one channel tells it
        fields = None
    if not isinstance(fields, Mapping):
        return [answer] * len(wanted)
    of_socket = fields.get(wanted[0].socket_id)
    if isinstance(of_socket, Mapping):
        fields = of_socket
    return [_one(fields.get(one.channel)) for one in wanted]


def _one(found: object) -> HttpResponse:
    if not isinstance(found, Mapping):
        return HttpResponse(404, {}, b"")
    status, data = found.get("status", 200), found.get("data", found)
    known = isinstance(status, int) and not isinstance(status, bool)
    return HttpResponse(status if known else 200, {}, msgspec.json.encode(data))
