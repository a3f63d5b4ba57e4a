"""Random sequences of all inputs that a session has.

A sequence is a list of small steps that say nothing of a session: what each means is found out when it is played
(see `play`), so that the same sequence can be played twice and the plays compared.
"""

from __future__ import annotations

import os
import random
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from proto.bad_server import AUTH_HOST, KEY
from pusher_proto import AuthEndpoint, Options, OwnKey

__all__ = ["Sequence", "Step", "options_of", "random_sequence", "sequences", "tried"]

EXAMPLES = int(os.environ.get("PUSHER_PROTO_EXAMPLES", "150"))

tried = settings(max_examples=EXAMPLES, deadline=None)


class Step(NamedTuple):
    """One input; the numbers choose the transport, the bytes and the like."""

    kind: str
    which: int
    what: int


class Sequence(NamedTuple):
    """One example: how authorizations are obtained, what is limited, and the steps."""

    auth: str
    seed: int
    steps: list[Step]


_WEIGHTS = {
    "go": 14,
    "serve": 9,
    "subscribe": 5,
    "due": 4,
    "pass": 4,
    "unsubscribe": 3,
    "answer": 3,
    "trigger": 2,
    "end": 2,
    "connect": 2,
    "signin": 2,
    "ping": 1,
    "open": 1,
    "fail": 1,
    "stall": 2,
    "pull": 2,
    "clog": 2,
    "sent": 1,
    "disconnect": 1,
    "reconnect": 1,
    "refresh": 1,
    "wrong": 1,
    "close": 1,
}
_KINDS = [kind for kind, weight in _WEIGHTS.items() for _ in range(weight)]
_BEGINNINGS: list[list[Step]] = [
    [],
    [Step("connect", 0, 0), *[Step("go", 0, 2)] * 3],
    [
        *(Step("subscribe", which, 0) for which in (0, 2, 4, 5)),
        Step("connect", 0, 0),
        *[Step("go", 0, 1)] * 15,
    ],
]

_AUTHS = ["application", "application", "endpoint", "batches", "own key"]

steps = st.builds(Step, st.sampled_from(_KINDS), st.integers(0, 15), st.integers(0, 4095))
sequences = st.builds(
    lambda auth, seed, beginning, steps: Sequence(auth, seed, beginning + steps),
    st.sampled_from(_AUTHS),
    st.integers(0, 9),
    st.sampled_from([_BEGINNINGS[2], *_BEGINNINGS, _BEGINNINGS[2]]),
    st.lists(steps, max_size=40),
)


def random_sequence(rng: random.Random) -> Sequence:
    """Return a long sequence like the ones that Hypothesis draws."""
    steps = [Step(rng.choice(_KINDS), rng.randint(0, 15), rng.randint(0, 4095)) for _ in range(60)]
    return Sequence(rng.choice(_AUTHS), rng.randint(0, 9), _BEGINNINGS[2] + steps)


def options_of(sequence: Sequence) -> Options:
    """Return options with limits so small that they are met."""
    auth: Any = None
    if sequence.auth == "endpoint":
        auth = AuthEndpoint(f"http://{AUTH_HOST}/sign")
    elif sequence.auth == "batches":
        auth = AuthEndpoint(f"http://{AUTH_HOST}/sign", batch=3, headers=_never, refresh=_never)
    elif sequence.auth == "own key":
        auth = OwnKey("key", "secret", member={"user_id": "me"}, user={"id": "u"}, master_key=KEY)
    return Options.from_host(
        "ws.test",
        key="key",
        tls=sequence.seed == 8,
        proxy="http://ada:hunter2@proxy.test:3128" if sequence.seed in (7, 8) else None,
        auth=auth,
        activity_timeout=20.0,
        max_message_size=2000,
        max_channels=5,
        max_members=3,
        encrypted_backlog_limit=2,
        catch_up_buffer=3,
        catch_up_timeout=15.0,
        max_authorizing=2,
        auth_connections=2,
        max_auth_body=400,
        receive_buffer=300,
        outbox_limit=200,
        several_nodes=sequence.seed in (2, 5, 8),
        answers_in_order=sequence.seed in (3, 6, 8),
        subscribe_rate=1.0 if sequence.seed in (1, 4) else None,
    )


def _never() -> dict[str, str]:
    """Stand for a function of the application: a play answers for it."""
    raise AssertionError("the session calls no function of the application")
