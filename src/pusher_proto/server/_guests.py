"""Presence members and senders without a client, for tests."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from ..errors import LocalProtocolError
from ._channels import Member
from ._connection import Connection
from ._dialect import Dialect
from ._frames import json_text
from ._limits import ServerLimits
from ._names import Kind
from ._realm import Socket
from ._world import World
from .apps import App

__all__ = ["Guests"]


class Guests(World):
    """Other members of a channel, as its subscribers see them."""

    def __init__(
        self,
        apps: Sequence[App],
        *,
        dialect: Dialect,
        rng: random.Random,
        limits: ServerLimits,
    ) -> None:
        super().__init__(apps, dialect=dialect, rng=rng, limits=limits)
        self._guests: dict[tuple[str, str, str], Socket] = {}

    def join(
        self,
        channel: str,
        user_id: str,
        info: object = None,
        *,
        app: str | None = None,
        now: float,
    ) -> None:
        """Add a member without a client to a presence channel, until `leave`.

        `info` is any JSON value. Raises ValueError for another kind of channel, and LocalProtocolError for a member
        that was added already.
        """
        if self._dialect.kind(channel) is not Kind.PRESENCE:
            raise ValueError(f"{channel!r} is not a presence channel: it has no members")
        realm = self._realm(app)
        key = (realm.app.key, channel, user_id)
        if key in self._guests:
            raise LocalProtocolError(f"{user_id!r} was added to {channel!r} already")
        known = msgspec.UNSET if info is None else msgspec.Raw(json_text(info).encode())
        now = self._advance(now)
        muted = Connection(0, self._limits, self._emit, self._dialect)
        muted.silent = True
        guest = self._guests[key] = realm.enter(muted, 0)
        realm.subscribe(guest, channel, Member(user_id, known), now)
        self._settle(now)

    def leave(self, channel: str, user_id: str, *, app: str | None = None, now: float) -> None:
        """Remove a member that `join` added. Raises LocalProtocolError for any other."""
        realm = self._realm(app)
        guest = self._guests.pop((realm.app.key, channel, user_id), None)
        if guest is None:
            raise LocalProtocolError(
                f"{user_id!r} is not on {channel!r}: add the member with join()"
            )
        now = self._advance(now)
        realm.leave(guest, now)
        self._settle(now)

    def client_event(
        self,
        channel: str,
        event: str,
        data: object,
        user_id: str | None = None,
        *,
        app: str | None = None,
        now: float,
    ) -> int:
        """Send a client event as another client does; return the number of sockets that it was sent to.

        `user_id` is a member that `join` added; a presence channel requires one. Raises ValueError for a name that does
        not begin with `client-`, and LocalProtocolError for another member.
        """
        if not event.startswith("client-"):
            raise ValueError(f"the name of a client event begins with client-: {event!r} does not")
        realm = self._realm(app)
        guest = None
        if user_id is not None or self._dialect.kind(channel) is Kind.PRESENCE:
            guest = self._guests.get((realm.app.key, channel, user_id or ""))
            if guest is None:
                raise LocalProtocolError(
                    f"{user_id!r} is not on {channel!r}: add the member with join()"
                )
        text = json_text(data)  # raises here, not when it is sent
        now = self._advance(now)
        count = realm.relay(guest, channel, event, msgspec.Raw(text.encode()), now)
        self._settle(now)
        return count
