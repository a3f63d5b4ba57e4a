"""Many channels in one request: to an auth endpoint that knows the form, and to an application that answers many."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from proto.scripted_endpoint import Post, ScriptedEndpoint
from pusher_proto import (
    AuthEndpoint,
    AuthorizationError,
    AuthorizeMany,
    AuthRequest,
    AuthResponse,
    Options,
    Session,
)
from pusher_proto._auth.batches import split_answer
from pusher_proto._auth.endpoint_format import each_of
from pusher_proto._wire.http import Headers, HttpFailed, HttpResponse

URL = "http://app.test/auth"
ENDPOINT = AuthEndpoint(URL, batch=2)
NAMES = ["private-a", "private-b", "private-c"]
WANTED = [AuthRequest("1.1", name) for name in NAMES]


def authorized(*names: str) -> bytes:
    return json.dumps({name: {"auth": f"key:{name}"} for name in names}).encode()


def sent(post: Post) -> dict[str, str]:
    return post.form()


def test_channels_wanted_in_one_turn_go_in_as_few_requests_as_may_be() -> None:
    world = ScriptedEndpoint(ENDPOINT)
    world.subscribe(*NAMES)
    assert [sent(post) for post in world.posts()] == [
        {"socket_id": "1.1", "channel_name[0]": "private-a", "channel_name[1]": "private-b"},
        {"socket_id": "1.1", "channel_name[0]": "private-c"},
    ]
    world.answer(200, authorized("private-a", "private-b"))
    world.answer(200, authorized("private-c"))
    assert world.subscribed() == ["private-a", "private-b", "private-c"]


def test_a_json_body_carries_a_list() -> None:
    world = ScriptedEndpoint(AuthEndpoint(URL, batch=9, body="json"))
    world.subscribe("private-a", "private-b")
    (post,) = world.posts()
    assert json.loads(post.body) == {"socket_id": "1.1", "channel_name": ["private-a", "private-b"]}


def test_one_channel_that_is_refused_in_a_batch_costs_no_other() -> None:
    world = ScriptedEndpoint(ENDPOINT)
    world.subscribe("private-a", "private-b")
    world.posts()
    body = {
        "1.1": {
            "private-a": {"status": 200, "data": {"auth": "key:a"}},
            "private-b": {"status": 403},
        }
    }
    world.answer(200, json.dumps(body).encode())
    assert world.subscribed() == ["private-a"]
    error = world.session.channel("private-b").last_error
    assert isinstance(error, AuthorizationError)
    assert error.status == 403


def test_a_failure_for_the_moment_is_asked_again_together() -> None:
    world = ScriptedEndpoint(ENDPOINT)
    world.subscribe("private-a", "private-b")
    world.posts()
    world.answer(503, b"")
    world.pass_time(3)
    assert [len(sent(post)) for post in world.posts()] in (
        [3],
        [2, 2],
    )  # each after its own delay


def test_one_refresh_serves_the_whole_batch() -> None:
    calls: list[int] = []
    world = ScriptedEndpoint(AuthEndpoint(URL, batch=5, refresh=lambda: calls.append(1)))
    world.subscribe("private-a", "private-b")
    world.posts()
    world.answer(401, b"{}")
    (again,) = world.posts()
    assert (len(sent(again)), calls) == (3, [1])
    world.answer(401, b"{}")
    assert calls == [1]
    assert [world.status(name) for name in NAMES[:2]] == [401, 401]


def test_a_refresh_that_raises_fails_the_whole_batch() -> None:
    def refresh() -> None:
        raise KeyError("no token")

    world = ScriptedEndpoint(AuthEndpoint(URL, batch=5, refresh=refresh))
    world.subscribe("private-a", "private-b")
    world.posts()
    world.answer(403, b"{}")
    assert world.posts() == []
    assert ["refresh raised" in str(world.error(name)) for name in NAMES[:2]] == [True, True]
    assert [world.error(name).channel for name in NAMES[:2]] == NAMES[:2]


def test_a_request_that_cannot_be_made_fails_its_channels() -> None:
    def headers() -> dict[str, str]:
        raise KeyError("no token")

    world = ScriptedEndpoint(AuthEndpoint(URL, batch=5, headers=headers))
    world.subscribe("private-a", "private-b")
    assert world.posts() == []
    assert ["AuthEndpoint.headers raised" in str(world.error(name)) for name in NAMES[:2]] == [
        True,
        True,
    ]
    assert [world.error(name).channel for name in NAMES[:2]] == NAMES[:2]


def test_each_endpoint_has_its_own_batches_and_those_that_cannot_be_made_fail() -> None:
    def headers() -> dict[str, str]:
        raise KeyError("no token")

    other = AuthEndpoint("http://other.test/auth", batch=2)
    wrong = AuthEndpoint(URL, batch=1 + 1, headers=headers)
    world = ScriptedEndpoint(ENDPOINT)
    for name, auth in zip("abcdefg", [None, other, None, other, wrong, wrong, wrong], strict=True):
        world.session.subscribe(f"private-{name}", auth=auth, now=world.now)
    posts = world.posts()
    hosts = [post.head.split(b"Host: ")[1].split(b"\r\n")[0] for post in posts]
    channels = [[v for k, v in sent(p).items() if k.startswith("channel")] for p in posts]
    assert list(zip(hosts, channels, strict=True)) == [
        (b"app.test", ["private-a", "private-c"]),
        (b"other.test", ["private-b", "private-d"]),
    ]
    for name in ("private-e", "private-f", "private-g"):
        assert "AuthEndpoint.headers raised" in str(world.error(name))


def test_the_parser_has_its_turn_once_for_the_whole_answer() -> None:
    bodies: list[bytes] = []

    def parse(body: bytes) -> dict[str, Any]:
        bodies.append(body)
        return {"private-a": {"auth": "k:1"}}

    world = ScriptedEndpoint(AuthEndpoint(URL, batch=2, parse=parse))
    world.subscribe("private-a")
    world.posts()
    world.answer(200, b"<of our own>")
    assert bodies == [b"<of our own>"]
    assert world.subscribed() == ["private-a"]


def test_a_network_error_of_the_headers_function_is_tried_again() -> None:
    fails = [ConnectionError("the token service is down")] * 2

    def headers() -> dict[str, str]:
        if fails:
            raise fails.pop()
        return {}

    world = ScriptedEndpoint(AuthEndpoint(URL, batch=5, headers=headers))
    world.subscribe("private-a", "private-b")
    world.pass_time(5)
    world.pass_time(5)
    assert sum(len(sent(post)) - 1 for post in world.posts()) == 2


def test_what_was_left_before_the_turn_was_over_is_not_asked_for() -> None:
    world = ScriptedEndpoint(ENDPOINT)
    for name in NAMES[:2]:
        world.session.subscribe(name, now=world.now)
    world.session.unsubscribe("private-a", now=world.now)
    world.pass_time(0)
    assert [sent(post) for post in world.posts()] == [
        {"socket_id": "1.1", "channel_name[0]": "private-b"}
    ]
    world.session.unsubscribe("private-b", now=world.now)
    assert world.closed() == 1  # no request waits for the answer any longer


def test_silence_fails_every_channel_of_the_batch_in_time() -> None:
    world = ScriptedEndpoint(ENDPOINT)
    world.subscribe("private-a", "private-b")
    world.posts()
    world.pass_time(10)
    assert ["did not answer" in str(world.error(name)) for name in NAMES[:2]] == [True, True]
    assert [world.error(name).channel for name in NAMES[:2]] == NAMES[:2]
    assert world.error("private-a").temporary
    assert world.closed() == 1


@pytest.mark.parametrize("why", ["left", "late"])
def test_a_single_request_that_is_given_up_ends_its_stream(why: str) -> None:
    world = ScriptedEndpoint(AuthEndpoint(URL))
    world.subscribe("private-a")
    (post,) = world.posts()
    assert sent(post)["channel_name"] == "private-a"
    if why == "left":
        world.session.unsubscribe("private-a", now=world.now)
    else:
        world.pass_time(10)
        assert world.error("private-a").channel == "private-a"
    assert world.closed() == 1


def test_an_answer_after_the_connection_was_lost_is_dropped() -> None:
    world = ScriptedEndpoint(ENDPOINT)
    world.subscribe("private-a", "private-b")
    world.posts()
    world.session.disconnect(now=world.now)
    assert world.closed() == 1
    assert world.subscribed() == []


@pytest.mark.parametrize(
    "answer",
    [
        HttpFailed("it broke"),
        HttpResponse(500, Headers(), b"{}"),
        HttpResponse(200, Headers(), b"[]"),
        HttpResponse(200, Headers(), b"no"),
    ],
)
def test_an_answer_that_is_not_an_object_by_channel_is_for_every_channel(answer: Any) -> None:
    assert split_answer(ENDPOINT, WANTED, answer) == [answer] * 3


def test_what_the_answer_leaves_out_or_garbles_is_that_channels_alone() -> None:
    body = (
        b'{"private-a": {"auth": "k:1"}, "private-b": 7, "private-d": {"status": true, "data": {}}}'
    )
    wanted = [*WANTED, AuthRequest("1.1", "private-d")]
    answers = split_answer(ENDPOINT, wanted, HttpResponse(200, Headers(), body))
    assert answers == [
        HttpResponse(200, Headers(), b'{"auth":"k:1"}'),
        HttpResponse(404, Headers(), b""),
        HttpResponse(404, Headers(), b""),
        HttpResponse(200, Headers(), b"{}"),
    ]


def test_the_applications_parser_reads_the_whole_answer() -> None:
    endpoint = AuthEndpoint(
        URL, batch=2, parse=lambda body: {"private-a": msgspec.json.decode(body)[0]}
    )
    answer = HttpResponse(200, Headers(), b'[{"auth": "k:1"}]')
    assert split_answer(endpoint, WANTED[:1], answer) == [
        HttpResponse(200, Headers(), b'{"auth":"k:1"}')
    ]


def test_an_application_that_answers_many_is_asked_once_a_turn() -> None:
    session = Session(Options.from_host("h", key="k", tls=False), authorize_many=True)
    world = ScriptedEndpoint(session=session)
    world.subscribe(*NAMES)
    (asked,) = [e for e in world.effects() if isinstance(e, AuthorizeMany)]
    assert asked == AuthorizeMany((1, 2, 3), tuple(AuthRequest("1.1", name) for name in NAMES))
    session.authorized(1, AuthResponse("k:1"), now=world.now)
    session.authorization_failed(2, KeyError("no"), now=world.now)
    assert world.subscribed() == ["private-a"]
    assert "KeyError" in str(world.error("private-b"))
    assert world.error("private-b").channel == "private-b"


def test_authorize_many_may_return_a_list_or_a_mapping() -> None:
    details = [AuthRequest("1.1", "private-a"), AuthRequest("1.1", "private-b")]
    authorizations = [AuthResponse("k:a"), AuthResponse("k:b")]
    assert each_of(authorizations, details) == authorizations
    found = each_of({"private-b": authorizations[1]}, details)
    assert found[1] == authorizations[1]
    assert isinstance(found[0], LookupError)
    with pytest.raises(ValueError):
        each_of(authorizations[:1], details)
