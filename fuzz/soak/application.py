"""A service with one client: its channels and its random actions, the same on every runner."""

from __future__ import annotations

import logging
import random
import re
import ssl
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fuzz.soak.watch import EVENT, Watch
from pusher_proto import (
    AuthEndpoint,
    AuthRequest,
    AuthResponse,
    CacheMiss,
    ChannelEvent,
    ChannelState,
    ConnectionState,
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    Options,
    OwnKey,
    PusherError,
    Subscribed,
    SubscriptionCount,
    SubscriptionFailed,
    UserState,
)

__all__ = ["FIXED", "OWN", "POOL", "REFUSED", "WRONG", "Application", "Logs", "Setup"]

FIXED = (
    *("news-0", "news-1", "private-0", "private-1", "presence-0", "presence-1"),
    *("private-encrypted-0", "cache-0", "private-cache-0"),
)
"""Channels that every client always wants, with authorizations of the endpoint."""
OWN = ("private-own-0", "private-own-1")
"""Channels that a function of the program authorizes."""
POOL = ("pool-0", "pool-1", "pool-2", "private-pool-0", "private-pool-1", "presence-pool-0")
REFUSED = "private-forbidden"
"""A channel that the endpoint always refuses."""
WRONG = ("private-wrong-0", "presence-wrong-0")
"""Channels whose authorizations are signed with another secret: the server refuses them."""
_NO_MESSAGES = (
    *(Subscribed, SubscriptionFailed, SubscriptionCount, CacheMiss),
    *(MemberAdded, MemberUpdated, MemberRemoved),
)
"""Events, other than messages, that a channel keeps for its first listener."""
SLOW = (1.0, 5.0, 8.0)
_PATIENCE = 12.0
"""Seconds after which the service asks again for a channel that was refused permanently."""
_REFUSED_FOR_GOOD = re.compile(r"no subscription to ([^:]+):")
_ACTS = (
    *("join", "join", "leave", "trigger", "trigger", "ping", "bind", "flap"),
    *("reconnect", "disconnect", "signin", "refresh"),
)


@dataclass
class Setup:
    """The arguments of a client process."""

    runner: str
    key: str
    secret: str
    master_key: str
    port: int
    endpoint: int
    seed: int
    constructor: str = "from_host"
    signs_in: bool = True
    whispers: bool = True
    watches: tuple[str, ...] = ()
    """The users on the watchlist; empty where the server has no watchlists."""
    ca: str = ""
    """The file with the certificate authority of the server and the endpoint; empty without TLS."""
    plant: str = ""
    """The leak to plant at each connection, which the soak has to find: "task", "timer", "file"; or empty."""
    mood: dict[str, float] = field(default_factory=dict)

    def own_key(self, secret: str = "") -> OwnKey:
        """Return the key that signs for this client, with the secret of the app unless another is given."""
        user: dict[str, Any] = {"id": self.runner}
        if self.watches:
            user["watchlist"] = list(self.watches)
        return OwnKey(
            self.key,
            secret or self.secret,
            member={"user_id": self.runner, "user_info": {"runner": self.runner}},
            user=user,
            master_key=bytes.fromhex(self.master_key),
        )

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the context that trusts the server and the endpoint, or None without TLS."""
        return ssl.create_default_context(cafile=self.ca) if self.ca else None

    def options(self) -> Options:
        """Return options with short timeouts, so that many failures fit into minutes."""
        make = getattr(Options, self.constructor)
        options: Options = make(
            "127.0.0.1",
            key=self.key,
            port=self.port,
            tls=bool(self.ca),
            pong_timeout=5.0,
            activity_timeout=10.0,
            connect_timeout=8.0,
            auth_timeout=6.0,
            auth_idle=2.0,
            subscribe_timeout=10.0,
            signin_timeout=6.0,
            retry_cap=8.0,
            # Small, so that the backlogs of channels without a listener stop growing within minutes.
            backlog_limit=50,
            slow_retry=SLOW,
            refused_retry=SLOW,
            capacity_retry=SLOW,
        )
        return options

    def endpoint_auth(self) -> AuthEndpoint:
        """Return the endpoint, with the name of this client."""
        scheme = "https" if self.ca else "http"
        return AuthEndpoint(
            f"{scheme}://127.0.0.1:{self.endpoint}/auth", params={"client": self.runner}
        )


class Logs(logging.Handler):
    """Counts records by level, and keeps unexpected records of ERROR.

    Expected are a handler that raises on purpose, and final refusals of channels that were never good.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.INFO)
        self._watch = watch
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.getMessage()} {record.exc_info[1] if record.exc_info else ''}"
        self.counts[record.levelname] += 1
        if record.levelno >= logging.ERROR and not self._is_expected(text):
            self.errors.append(f"{record.levelname} {record.name}: {text}")

    def _is_expected(self, text: str) -> bool:
        refused = _REFUSED_FOR_GOOD.match(text)
        return "on purpose" in text or (refused is not None and refused[1] not in self._watch.good)


class Application:
    """The service. Call its methods where commands of the client are allowed; none of them waits."""

    def __init__(self, setup: Setup, client: Any, watch: Watch) -> None:
        self.setup = setup
        self.client = client
        self.watch = watch
        self.rng = random.Random(f"{setup.seed} {setup.runner}")
        self.wanted: set[str] = set()
        self.calm = False
        self.asked_again: Counter[str] = Counter()
        self.bindings: list[Any] = []
        self._auth = setup.endpoint_auth()
        self._next_act = 0.0
        self._failed_since: dict[str, float] = {}

    def start(self) -> None:
        """Subscribe to everything, with handlers as services have them."""
        for name in (*FIXED, *OWN, REFUSED, *WRONG):
            self.want(name)
        self.client.bind(EVENT, self._count)
        self.client.user.bind(EVENT, self._count_for_user)
        # Without a listener each channel keeps up to `backlog_limit` of them, which would look like a leak.
        self.client.bind(_NO_MESSAGES, id)
        self.client.channel("news-0").bind(Subscribed, self._raise)
        if self.setup.signs_in:
            self.client.signin()

    def want(self, name: str) -> None:
        """Subscribe to a channel."""
        self.wanted.add(name)
        self.client.subscribe(name, auth=None if name in OWN else self._auth)

    def leave(self, name: str) -> None:
        """Unsubscribe from a channel."""
        self.wanted.discard(name)
        self._failed_since.pop(name, None)
        self.client.unsubscribe(name)

    def _count(self, event: ChannelEvent) -> None:
        self.watch.heard["handler"] += 1

    def _count_for_user(self, event: ChannelEvent) -> None:
        self.watch.heard_for_user["handler"] += 1

    def _raise(self, event: Subscribed) -> None:
        raise RuntimeError("on purpose")

    def tick(self, now: float) -> None:
        """Act now and then, and ask again for refused channels."""
        self._ask_again(now)
        if self.calm:
            if self.client.state is ConnectionState.DISCONNECTED:
                self.client.connect()
            return
        if now >= self._next_act:
            self._next_act = now + self.rng.expovariate(1.5)
            try:
                self._act(self.rng.choice(_ACTS))
            except PusherError:
                # Not connected, not subscribed, or an outbox is full.
                pass

    def _ask_again(self, now: float) -> None:
        """Subscribe again after a final refusal, as a person or a service would."""
        failed: set[str] = set()
        for name in self.wanted - {REFUSED, *WRONG}:
            if self.client.channel(name).state in (ChannelState.FAILED, ChannelState.TIMED_OUT):
                failed.add(name)
        if self.setup.signs_in and self.client.user.state is UserState.FAILED:
            failed.add("the user")
        self._failed_since = {name: self._failed_since.get(name, now) for name in failed}
        for name, since in list(self._failed_since.items()):
            if now - since >= _PATIENCE:
                self._failed_since[name] = now
                self.asked_again["the user" if name == "the user" else "channels"] += 1
                if name == "the user":
                    self.client.signin()
                else:
                    self.want(name)

    def _act(self, act: str) -> None:
        client, rng = self.client, self.rng
        match act:
            case "join":
                self.want(rng.choice(POOL))
            case "leave":
                self.leave(rng.choice(POOL))
            case "flap":
                name = rng.choice(POOL)
                self.leave(name)
                self.want(name)
            case "trigger" if self.setup.whispers:
                client.channel("private-0").trigger("client-hello", {"at": time.time()})
            case "ping":
                client.ping()
            case "bind":
                self._bind()
            case "reconnect" if rng.random() < 0.2:
                client.reconnect()
            case "disconnect" if rng.random() < 0.2:
                client.disconnect()
            case "disconnect":
                client.connect()
            case "signin" if self.setup.signs_in:
                client.signin()
            case "refresh" if rng.random() < 0.2:
                client.channel("presence-0").refresh_members()

    def _bind(self) -> None:
        """Bind a temporary handler, or cancel one."""
        if len(self.bindings) > 3:
            self.bindings.pop(0).cancel()
        else:
            self.bindings.append(self.client.bind(ChannelEvent, id))

    def answer(self, request: AuthRequest) -> AuthResponse:
        """Authorize a request as a function of the program, which raises sometimes."""
        if random.random() < self.setup.mood.get("raises", 0.0):
            raise TimeoutError("the database is slow")
        return self.setup.own_key().authorization(request)

    def hangs(self) -> float:
        """Return the seconds that the next call hangs, mostly 0."""
        if random.random() < self.setup.mood.get("hangs", 0.0):
            return self.setup.mood.get("hangs_for", 20.0)
        return 0.0

    def report(self) -> dict[str, Any]:
        """Return the state of this client, and the gaps and breaches since the last report."""
        client, watch = self.client, self.watch
        gaps, watch.gaps = watch.gaps, []
        breaches, watch.breaches = watch.breaches, []
        snapshots = {name: client.channel(name) for name in self.wanted}
        refused = {REFUSED, *WRONG}
        presence = {name: one for name, one in snapshots.items() if name.startswith("presence-")}
        return {
            "state": str(client.state),
            "wanted": sorted(self.wanted - refused),
            "refused": sorted(refused),
            "channels": {name: str(one.state) for name, one in snapshots.items()},
            "errors": {name: str(one.last_error) for name, one in snapshots.items()},
            "members": {name: sorted(one.members) for name, one in presence.items()},
            "user": str(client.user.state),
            "online": sorted(client.watchlist.online),
            "last": dict(watch.last),
            "gaps": gaps,
            "breaches": breaches,
            "counts": dict(watch.counts),
            "heard": dict(watch.heard),
            "heard for the user": dict(watch.heard_for_user),
            "asked_again": dict(self.asked_again),
            "dropped": client.stats.dropped,
            "hanging": client.stats.calls_hanging,
        }
