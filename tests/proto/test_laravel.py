"""Laravel's names: the rules of Laravel Echo, over a client in memory, and the ways to ask a Laravel application."""

from __future__ import annotations

import inspect
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.fake_client import FakeChannel, FakeClient, connected
from proto.requesting import request_for
from pusher_proto import AuthEndpoint, AuthorizationError, ChannelState, NotSubscribed
from pusher_proto._auth.endpoint_format import read_answer
from pusher_proto._wire.http import Headers, HttpResponse
from pusher_proto.auth import AuthRequest, check_plain_functions
from pusher_proto.laravel import (
    NOTIFICATION,
    Echo,
    EchoPresence,
    bearer_auth,
    event_name,
    session_auth,
    short_name,
)
from simulation import World

# Argument of `listen`, namespace, and name on the wire, by the documents and the formatter of Laravel Echo 2.
GOLDEN = [
    ("OrderShipped", "App.Events", r"App\Events\OrderShipped"),
    ("Orders.Shipped", "App.Events", r"App\Events\Orders\Shipped"),
    (r"Orders\Shipped", "App.Events", r"App\Events\Orders\Shipped"),
    (".order.shipped", "App.Events", "order.shipped"),
    (".OrderShipped", "App.Events", "OrderShipped"),
    (r"\App\Orders\Shipped", "App.Events", r"App\Orders\Shipped"),
    (r".App\Orders\Shipped", "App.Events", r"App\Orders\Shipped"),
    ("..leading", "App.Events", ".leading"),
    ("OrderShipped", "App.Other.Namespace", r"App\Other\Namespace\OrderShipped"),
    ("OrderShipped", r"App\Events", r"App\Events\OrderShipped"),
    ("OrderShipped", None, "OrderShipped"),
    ("OrderShipped", "", "OrderShipped"),
    ("Orders.Shipped", None, r"Orders\Shipped"),
    (".order.shipped", None, "order.shipped"),
    (f".{NOTIFICATION}", "App.Events", NOTIFICATION),
    (".client-typing", "App.Events", "client-typing"),
]


@pytest.mark.parametrize(("event", "namespace", "name"), GOLDEN)
def test_what_is_listened_for_has_the_name_that_echo_gives_it(
    event: str, namespace: str | None, name: str
) -> None:
    assert event_name(event, namespace) == name


@pytest.mark.parametrize(
    ("name", "namespace", "event"),
    [
        (r"App\Events\OrderShipped", "App.Events", "OrderShipped"),
        (r"App\Events\Orders\Shipped", "App.Events", r"Orders\Shipped"),
        (r"App\EventsOther\Shipped", "App.Events", r".App\EventsOther\Shipped"),
        (r"App\Events\order.shipped", "App.Events", r".App\Events\order.shipped"),
        (r"App\Events\\Odd", "App.Events", r".App\Events\\Odd"),
        ("order.shipped", "App.Events", ".order.shipped"),
        ("OrderShipped", None, ".OrderShipped"),
        ("OrderShipped", "", ".OrderShipped"),
    ],
)
def test_a_name_is_reported_as_one_would_listen_for_it(
    name: str, namespace: str | None, event: str
) -> None:
    assert short_name(name, namespace) == event


@given(
    st.text(alphabet="AEv.\\", max_size=12) | st.text(max_size=8).map(lambda t: rf"App\Events\{t}"),
    st.sampled_from(["App.Events", "A", "", None]),
)
def test_listening_for_what_was_reported_gives_the_name_again(
    name: str, namespace: str | None
) -> None:
    assert event_name(short_name(name, namespace), namespace) == name


# Channels.


def echo_in(world: World, **more: Any) -> tuple[Echo[FakeChannel], FakeClient]:
    options = world.options(auth=world.own_key(member={"user_id": "7", "user_info": {"n": "Ada"}}))
    client = connected(world, options)
    return Echo(client, **more), client


def test_channels_are_named_by_their_kind_and_are_the_same_object_for_the_same_name() -> None:
    echo, client = echo_in(World())
    kinds = [
        echo.channel("orders"),
        echo.private("orders.1"),
        echo.encrypted_private("deals"),
        echo.join("room"),
    ]
    assert [each.channel.name for each in kinds] == [
        "orders",
        "private-orders.1",
        "private-encrypted-deals",
        "presence-room",
    ]
    assert list(client.channels) == [each.channel.name for each in kinds]
    assert echo.private("orders.1") is kinds[1]
    assert echo.channel("presence-room") is kinds[3]
    assert repr(kinds[0]) == "<EchoChannel 'orders' SUBSCRIBING>"


def test_listen_gets_the_clients_own_events_under_laravels_names() -> None:
    world = World()
    echo, _ = echo_in(world)
    orders = echo.private("orders.1")
    got: list[Any] = []

    def shipped(event: Any) -> None:
        got.append(("shipped", event.data))

    assert orders.listen("OrderShipped", shipped) is orders

    @orders.listen(".order.paid")
    def paid(event: Any) -> None:
        got.append(("paid", event.data))

    orders.notification(lambda event: got.append(("notified", event.data["id"])))
    orders.listen_to_all(lambda name, event: got.append((name, event.channel)))
    world.run(1)
    world.publish("private-orders.1", r"App\Events\OrderShipped", {"id": 1})
    assert got == [("shipped", {"id": 1}), ("OrderShipped", "private-orders.1")]
    got.clear()
    world.publish("private-orders.1", "order.paid", {"id": 2})
    assert got == [("paid", {"id": 2}), (".order.paid", "private-orders.1")]
    got.clear()
    world.publish("private-orders.1", NOTIFICATION, {"id": "n-1", "type": r"App\Told"})
    assert got[0] == ("notified", "n-1")
    orders.stop_listening("OrderShipped", shipped)
    got.clear()
    world.publish("private-orders.1", r"App\Events\OrderShipped", {})
    assert got == [("OrderShipped", "private-orders.1")]


def test_stop_listening_ends_the_handlers_of_one_event() -> None:
    world = World()
    echo, _ = echo_in(world, namespace="Shop")
    orders = echo.channel("orders")
    got: list[str] = []
    orders.listen("Shipped", lambda event: got.append(event.name))
    orders.listen("Paid", lambda event: got.append(event.name))
    world.run(1)
    orders.stop_listening("Shipped")
    world.publish("orders", r"Shop\Shipped", {})
    world.publish("orders", r"Shop\Paid", {})
    assert got == [r"Shop\Paid"]


def test_here_joining_and_leaving_report_the_members() -> None:
    world = World()
    echo, client = echo_in(world)
    room = echo.join("room")
    got: list[Any] = []
    room.here(lambda members: got.append(("here", sorted(members))))
    room.joining(lambda member: got.append(("joining", member.id, member.info)))
    room.leaving(lambda member: got.append(("leaving", member.id)))
    room.subscribed(lambda event: got.append(("subscribed", event.channel)))
    world.run(1)
    assert got == [("here", ["7"]), ("subscribed", "presence-room")]
    got.clear()
    other = world.connected(world.options(auth=world.own_key(member={"user_id": "8"})))
    other.subscribe("presence-room")
    world.run(1)
    other.close()
    world.run(1)
    assert got == [("joining", "8", None), ("leaving", "8")]
    got.clear()
    client.reconnect()
    world.run(1)
    assert got == [("here", ["7"]), ("subscribed", "presence-room")]


def test_a_handler_keeps_its_name_in_the_logs() -> None:
    echo, _ = echo_in(World())

    def greet(members: Any) -> None:
        """Greet all."""

    [(_, _, binding)] = echo.join("room").here(greet)._bindings
    assert binding.handler.endswith("greet")


def test_whispers_are_client_events() -> None:
    world = World()
    echo, _ = echo_in(world)
    other, _ = echo_in(world)
    got: list[Any] = []
    mine, theirs = echo.private("room"), other.private("room")
    theirs.listen_for_whisper("typing", lambda event: got.append((event.name, event.data)))
    with pytest.raises(NotSubscribed):
        mine.whisper("typing")
    world.run(1)
    mine.whisper("typing", {"who": "Ada"})
    mine.whisper("typing")
    mine.whisper("typing", [1])
    world.run(1)
    assert got == [
        ("client-typing", {"who": "Ada"}),
        ("client-typing", {}),
        ("client-typing", [1]),
    ]


@pytest.mark.parametrize("data", ["text", 3, True, b"x"])
def test_a_whisper_that_reverb_would_refuse_is_an_error_here(data: Any) -> None:
    world = World()
    echo, _ = echo_in(world)
    room = echo.private("room")
    world.run(1)
    with pytest.raises(TypeError, match="a mapping or a list"):
        room.whisper("typing", data)


def test_error_reports_why_a_channel_was_refused() -> None:
    world = World()
    echo, _ = echo_in(world)
    world.act(world.server.refuse_channel, "private-orders", code=4009)
    got: list[Any] = []
    echo.private("orders").error(lambda event: got.append(event.error.code))
    world.run(1)
    assert got == [4009]


def test_leave_leaves_all_kinds_of_a_name_and_no_other() -> None:
    world = World()
    echo, client = echo_in(world)
    for each in (echo.channel, echo.private, echo.encrypted_private, echo.join):
        each("room")
    echo.private("room.1")
    client.subscribe("orders")
    world.run(1)
    echo.leave("room")
    world.run(1)
    assert sorted(world.server.channels()) == ["orders", "private-room.1"]
    echo.leave("orders")  # not subscribed here: other subscribers keep it
    echo.leave_all()
    world.run(1)
    assert world.server.channels() == ["orders"]


def test_handlers_of_an_unsubscribed_channel_are_gone_when_it_is_subscribed_again() -> None:
    world = World()
    echo, _ = echo_in(world)
    got: list[str] = []
    echo.channel("orders").listen("Paid", lambda _: got.append("old"))
    world.run(1)
    echo.leave_channel("orders")
    assert echo.client.channel("orders").state in (
        ChannelState.UNSUBSCRIBING,
        ChannelState.UNSUBSCRIBED,
    )
    echo.channel("orders").listen("Paid", lambda _: got.append("new"))
    world.run(1)
    world.publish("orders", r"App\Events\Paid", {})
    assert got == ["new"]


def test_a_channel_that_was_unsubscribed_behind_echos_back_is_subscribed_again() -> None:
    world = World()
    echo, client = echo_in(world)
    got: list[str] = []
    orders = echo.channel("orders")
    orders.listen("Paid", lambda event: got.append(event.name))
    world.run(1)
    client.unsubscribe("orders")
    world.run(1)
    assert world.server.channels() == []
    assert echo.channel("orders") is orders
    world.run(1)
    world.publish("orders", r"App\Events\Paid", {})
    assert got == [r"App\Events\Paid"]


def test_requests_carry_the_socket_id_while_there_is_one() -> None:
    world = World()
    echo, client = echo_in(world)
    assert echo.headers() == {"X-Socket-ID": client.socket_id}
    client.disconnect()
    assert echo.headers() == {}


# AuthRequests.


def asked(endpoint: AuthEndpoint, channel: str | None = "private-x") -> tuple[Any, dict[str, str]]:
    address, request = request_for(endpoint, AuthRequest("1.2", channel))
    return address, {name.lower(): value for name, value in request.headers}


def test_a_bearer_token_is_requested_each_time() -> None:
    tokens = iter(["first", "second"])
    endpoint = bearer_auth(
        "https://shop.test/", lambda: next(tokens), path="/api/broadcasting/auth"
    )
    address, headers = asked(endpoint)
    assert (address.host, address.target) == ("shop.test", "/api/broadcasting/auth")
    assert headers["authorization"] == "Bearer first"
    assert headers["accept"] == "application/json"
    assert asked(endpoint)[1]["authorization"] == "Bearer second"


def test_signing_in_asks_the_endpoint_beside_it() -> None:
    assert asked(bearer_auth("https://shop.test", "t"), None)[0].target == "/broadcasting/user-auth"
    other = bearer_auth("https://shop.test", "t", user_url="https://id.test/in")
    assert asked(other, None)[0].host == "id.test"


def test_cookies_bring_their_csrf_token_and_the_origin() -> None:
    token = "eyJpdiI6=="
    jar = {"laravel_session": "s", "XSRF-TOKEN": quote(token)}
    _, headers = asked(session_auth("https://shop.test", jar))
    assert headers["cookie"] == f"laravel_session=s; XSRF-TOKEN={quote(token)}"
    assert headers["x-xsrf-token"] == token
    assert headers["origin"] == "https://shop.test"
    assert "x-csrf-token" not in headers


@pytest.mark.parametrize("csrf_token", ["page", lambda: "page"])
def test_a_page_has_its_own_csrf_token(csrf_token: Any) -> None:
    endpoint = session_auth("https://shop.test", lambda: {"s": "1"}, csrf_token=csrf_token)
    _, headers = asked(endpoint)
    assert headers["x-csrf-token"] == "page"
    assert "x-xsrf-token" not in headers


@pytest.mark.parametrize("own", [{"X-Tenant": "a"}, lambda: {"X-Tenant": "a"}])
def test_further_headers_go_along(own: Any) -> None:
    _, headers = asked(bearer_auth("https://shop.test", "t", headers=own))
    assert (headers["x-tenant"], headers["authorization"]) == ("a", "Bearer t")


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, '{"message":"Unauthenticated."}', "auth:sanctum"),
        (403, '{"message":""}', "routes/channels.php"),
        (404, "<html>", "route:list --path=broadcasting"),
        (419, '{"message":"CSRF token mismatch."}', "XSRF-TOKEN"),
        (200, "<!DOCTYPE html><html>Login", "a login page"),
        (302, "", "login page"),
        (405, "", "answered 405"),
    ],
)
def test_a_refusal_says_what_to_do_in_laravel(status: int, body: str, says: str) -> None:
    headers = Headers([("location", "/login")] if status == 302 else ())
    answer = HttpResponse(status, headers, body.encode())
    endpoint = bearer_auth("https://shop.test", "very-secret")
    error = read_answer(endpoint, "private-x", answer)
    assert isinstance(error, AuthorizationError)
    assert re.search(re.escape(says), str(error))
    assert (error.status, error.channel) == (status, "private-x")
    assert "very-secret" not in f"{error} {endpoint!r}"


# Functions that take their time.


async def current() -> str:
    """Return the token of today."""
    return "t0ken"


def run(awaitable: Any) -> Any:
    """Return the result of something awaitable that waits for nothing."""

    async def wait() -> Any:
        return await awaitable

    with pytest.raises(StopIteration) as ended:
        wait().send(None)
    return ended.value.value


def test_W39_a_coroutine_function_for_the_token_is_awaited() -> None:
    endpoint = bearer_auth("https://app.test", current)
    assert callable(endpoint.headers)
    assert inspect.iscoroutinefunction(endpoint.headers)
    assert run(endpoint.headers())["Authorization"] == "Bearer t0ken"
    with pytest.raises(TypeError, match=r"AuthEndpoint\.headers is a plain function"):
        check_plain_functions(endpoint)


def test_W39_a_function_that_returns_something_awaitable_is_awaited() -> None:
    endpoint = bearer_auth("https://app.test", lambda: current())
    assert callable(endpoint.headers)
    assert run(endpoint.headers())["Authorization"] == "Bearer t0ken"
    plain = bearer_auth("https://app.test", lambda: "plain").headers
    assert callable(plain)
    result: Any = plain()
    assert result["Authorization"] == "Bearer plain"


def test_a_token_that_never_changes_needs_no_call() -> None:
    headers = bearer_auth("https://app.test", "t0ken", headers={"X-A": "1"}).headers
    assert headers == {"Accept": "application/json", "Authorization": "Bearer t0ken", "X-A": "1"}


@pytest.mark.parametrize(
    ("token", "error", "message"),
    [
        ("t0ken\n", ValueError, "the bearer token ends in a newline: strip"),
        (b"t0ken", TypeError, "the bearer token is a str, not bytes: decode"),
    ],
)
def test_W24_a_token_from_a_file_is_named_at_construction(
    token: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        bearer_auth("https://app.test", token)


ECHO: dict[str, dict[str, str | None]] = {
    "Echo": {
        "channel": "channel",
        "connect": None,
        "connectionStatus": "connection_status",
        "connector": None,
        "disconnect": None,
        "encryptedPrivate": "encrypted_private",
        "join": "join",
        "leave": "leave",
        "leaveAllChannels": "leave_all",
        "leaveChannel": "leave_channel",
        "listen": "listen",
        "private": "private",
        "registerInterceptors": None,
        "socketId": "socket_id",
    },
    "EchoPresence": {
        "error": "error",
        "here": "here",
        "joining": "joining",
        "leaving": "leaving",
        "listen": "listen",
        "listenForWhisper": "listen_for_whisper",
        "listenToAll": "listen_to_all",
        "notification": "notification",
        "on": "on",
        "stopListening": "stop_listening",
        "stopListeningForNotification": "stop_listening_for_notification",
        "stopListeningForWhisper": "stop_listening_for_whisper",
        "stopListeningToAll": "stop_listening_to_all",
        "subscribe": "subscribe",
        "subscribed": "subscribed",
        "unsubscribe": "unsubscribe",
        "whisper": "whisper",
    },
}
"""The public methods of Laravel Echo 2 with Pusher, and ours; None for what the client itself does or a page needs."""


@pytest.mark.parametrize("name", ECHO)
def test_r15_every_method_of_echo_has_its_twin(name: str) -> None:
    ours = {
        each
        for each in dir({"Echo": Echo, "EchoPresence": EchoPresence}[name])
        if not each.startswith("_")
    }
    more = {"Echo": {"headers"}, "EchoPresence": {"named"}}[name]
    assert ours == {each for each in ECHO[name].values() if each is not None} | more


def test_r15_calls_can_be_chained_and_handlers_cancelled() -> None:
    world = World()
    echo, client = echo_in(world)
    got: list[Any] = []

    def note(*what: Any) -> None:
        got.append(what[0] if isinstance(what[0], str) else type(what[0]).__name__)

    room = echo.join("room").here(note).joining(note).leaving(note).listen("A", note).on("b", note)
    room.listen_to_all(note).listen_for_whisper("c", note).notification(note)
    assert echo.listen("news", "A", note) is echo.channel("news")
    world.run(1)
    assert got == ["Members"]
    got.clear()
    for name in (r"App\Events\A", "b", "client-c", NOTIFICATION):
        world.publish("presence-room", name, {})
    assert [each for each in got if each == "ChannelEvent"] == ["ChannelEvent"] * 4
    assert len(got) == 8
    got.clear()
    room.stop_listening("A").stop_listening_to_all(note).stop_listening_for_whisper("c")
    room.stop_listening_for_notification(print).stop_listening_for_notification()
    for name in (r"App\Events\A", "b", "client-c", NOTIFICATION):
        world.publish("presence-room", name, {})
    assert got == ["ChannelEvent"]
    room.unsubscribe().subscribe()
    world.run(1)
    assert got == ["ChannelEvent", "Members"]
    room.whisper("hello").stop_listening()
    assert set(client.session.channels()) == {"presence-room", "news"}


def test_r15_the_status_of_the_connection_has_echos_words() -> None:
    world = World()
    client = FakeClient(world, connect=False)
    echo = Echo(client)
    seen = [echo.connection_status]
    client.connect()
    seen.append(echo.connection_status)
    client.wait_connected()
    seen.append(echo.connection_status)
    assert echo.socket_id == client.socket_id
    client.reconnect()
    seen.append(echo.connection_status)
    client.disconnect()
    seen.append(echo.connection_status)
    assert echo.socket_id is None
    assert seen == ["disconnected", "connecting", "connected", "reconnecting", "disconnected"]


@pytest.mark.parametrize("method", ["here", "joining", "leaving", "listen_to_all"])
def test_a_function_that_a_call_would_not_run_is_refused(method: str) -> None:
    def generator(*_: object) -> Any:
        yield 1

    room = Echo(connected(World())).join("room")
    before = len(room._bindings)
    for wrong, words in ((generator, "without `yield`"), (5, "a handler is a function of the ev")):
        with pytest.raises(TypeError, match=words):
            getattr(room, method)(wrong)
    assert len(room._bindings) == before
