"""Many channels in one request to an auth endpoint: its fields, and the part of the answer for each channel.

The form is that of pusher-js's batching plugin: `channel_name[0]`, `channel_name[1]` and so on (in JSON a list). The
answer is an object from channel to authorization, or to `{"status": ..., "data": authorization}`; it may be wrapped
in an object with the socket id as its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .._wire.http import HttpFailed, HttpResponse
from ..auth import AuthEndpoint, AuthRequest
from .endpoint_format import fields_of

__all__ = ["batch_fields", "split_answer"]


def batch_fields(endpoint: AuthEndpoint, wanted: Sequence[AuthRequest]) -> dict[str, Any]:
    """Return the fields of the request for all of `wanted`, which are on one socket id."""
    fields: dict[str, Any] = {"socket_id": wanted[0].socket_id}
    if endpoint.body == "form":
        fields |= {f"channel_name[{n}]": one.channel for n, one in enumerate(wanted)}
    else:
        fields["channel_name"] = [one.channel for one in wanted]
    return fields


def split_answer(
    endpoint: AuthEndpoint, wanted: Sequence[AuthRequest], answer: HttpResponse | HttpFailed
) -> list[HttpResponse | HttpFailed]:
    """Return the answer for each channel, as if each had been requested alone.

    A failure, or an answer that is not an object, is the answer for all. A channel that is missing counts as 404.
    """
    if isinstance(answer, HttpFailed) or not 200 <= answer.status < 300:
        return [answer] * len(wanted)
    try:
        fields = fields_of(endpoint, answer)
    except Exception:  # of the application's parser; reading the answer for one channel reports it
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
