"""The types of the options that every constructor of `Options` accepts by keyword, for type checkers and editors.

`options` documents their meaning and defaults; a test compares the two modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypedDict

from ._base.secret import Secret
from .auth import Auth

__all__ = ["MoreOptions"]


class MoreOptions(TypedDict, total=False):
    """The fields of `Options`, except the ones that select the server."""

    auth: Auth | None
    headers: Mapping[str, str]
    origin: str | None
    query: Mapping[str, str]
    metadata: bool
    subprotocols: tuple[str, ...]
    compression: bool
    proxy: Secret | str | None
    connect_timeout: float
    activity_timeout: float
    activity_override: float | None
    ping_interval: float | None
    pong_timeout: float
    close_timeout: float
    auth_timeout: float
    auth_attempts: int
    subscribe_timeout: float
    signin_timeout: float
    catch_up_timeout: float
    key_refresh: float
    unavailable_after: float
    auto_connect: bool
    reconnect: bool
    max_attempts: int | None
    give_up: Literal["at_first", "never", "at_refusal"]
    first_attempts: int
    retry_base: float
    retry_cap: float
    retry_floor: float
    slow_retry: tuple[float, ...]
    refused_retry: tuple[float, ...]
    capacity_retry: tuple[float, ...]
    stable_after: float
    max_message_size: int
    max_fragments: int
    control_frame_rate: int
    max_head: int
    max_auth_body: int
    max_channels: int
    max_members: int
    encrypted_backlog_limit: int
    catch_up_buffer: int
    catch_up_window: int
    max_client_event: int
    client_event_rate: int | None
    client_event_overflow: Literal["raise", "wait"]
    subscribe_rate: float | None
    max_frame: int | None
    backlog_limit: int
    outbox_limit: int
    receive_buffer: int
    max_authorizing: int
    auth_connections: int
    auth_idle: float
    answers_in_order: bool
    encrypted_caches: bool
    several_nodes: bool
    strict_names: bool
    decrypted_text: Callable[[bytes], str] | Callable[[bytes, str, str], str] | None
