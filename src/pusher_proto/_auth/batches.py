"""Batch requests to an auth endpoint: the fields of a request for many channels, and how to split its answer.

The format is that of pusher-js's batching plugin: `channel_name[0]`, `channel_name[1]` and so on (in JSON a list). The
answer maps each channel to its authorization, or to `{"status": ..., "data": authorization}`; it may be the value of
the socket id in an outer object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .._base.checks import is_int
from .._wire.http import Headers, HttpFailed, HttpResponse
from ..auth import AuthEndpoint, AuthRequest
from .endpoint_format import fields_of

__all__ = ["batch_fields", "split_answer"]


def batch_fields(endpoint: AuthEndpoint, wanted: Sequence[AuthRequest]) -> dict[str, Any]:
    """Return the fields of one request for all of `wanted`, which have the same socket id."""
    fields: dict[str, Any] = {"socket_id": wanted[0].socket_id}
    if endpoint.body == "form":
        fields |= {f"channel_name[{n}]": one.channel for n, one in enumerate(wanted)}
    else:
        fields["channel_name"] = [one.channel for one in wanted]
    return fields


def split_answer(
    endpoint: AuthEndpoint, wanted: Sequence[AuthRequest], answer: HttpResponse | HttpFailed
) -> list[HttpResponse | HttpFailed]:
    """Return an answer for each channel, as if each had been requested alone.

    A failure, or an answer that is not an object, is the answer for all of them. A channel that is missing gets 404.
    """
    if isinstance(answer, HttpFailed) or not 200 <= answer.status < 300:
        return [answer] * len(wanted)
    try:
        fields = fields_of(endpoint, answer)
    except (
        Exception
    ):  # raised by the application's parser: `read_answer` reports it for each channel
        fields = None
    if not isinstance(fields, Mapping):
        return [answer] * len(wanted)
    of_socket = fields.get(wanted[0].socket_id)
    if isinstance(of_socket, Mapping):
        fields = of_socket
    return [_one(fields.get(one.channel)) for one in wanted]


def _one(found: object) -> HttpResponse:
    """Return the answer for one channel from its part of the whole answer."""
    if not isinstance(found, Mapping):
        return HttpResponse(404, Headers(), b"")
    status, data = found.get("status", 200), found.get("data", found)
    return HttpResponse(status if is_int(status) else 200, Headers(), msgspec.json.encode(data))
