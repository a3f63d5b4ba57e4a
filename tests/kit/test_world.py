"""The world in memory: the blocking client without sockets and threads, under a clock that waits move."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from pusher_proto import (
    AuthEndpoint,
    AuthRequest,
    AuthResponse,
    ConnectionLost,
    Options,
    OwnKey,
    PusherTimeout,
)
from pusher_proto.testing import DEMO_APP, Server, ServerOptions, Webhook
from pusher_sync import merge
from pusher_sync.testing import PATIENCE, World


@pytest.fixture
def world() -> World:
    return World()


def test_waits_let_virtual_time_pass_and_nothing_else_does(world: World) -> None:
    began = world.now
    threads = threading.active_count()
    with world.open_pusher() as client:
        assert world.now == began
        client.wait_connected(timeout=5)
        channel = client.subscribe("room").wait_subscribed(timeout=5)
        assert world.now == pytest.approx(began + 5 * world.latency)
        assert threading.active_count() == threads
        assert channel.state.name == "SUBSCRIBED"
    assert world.server.connections == {}


def test_a_wait_ends_when_its_virtual_time_is_over(world: World) -> None:
    with world.open_pusher() as client:
        room = client.subscribe("room")
        began = world.now
        with pytest.raises(PusherTimeout, match="no 'price' was received within 60 s"):
            room.wait_for("price", timeout=60)
        assert world.now == began + 60


def test_what_would_be_waited_for_for_ever_is_an_error(world: World) -> None:
    with world.open_pusher() as client:
        began = world.now
        with pytest.raises(PusherTimeout, match="within 3600 s of virtual time"):
            next(iter(client.subscribe("room")))
        assert world.now == began + PATIENCE


def test_a_day_of_pings_costs_no_real_day(world: World) -> None:
    with world.open_pusher() as client:
        client.wait_connected()
        world.run(24 * 3600)
        assert client.stats.connections == 1
        assert len(world.sent("pusher:ping")) >= 24 * 3600 / 121 - 1


def test_handlers_are_called_by_run_in_the_order_of_the_events(world: World) -> None:
    got: list[Any] = []
    with world.open_pusher() as client:
        room = client.subscribe("room")
        room.bind("a", lambda event: got.append(("a", event.data)))
        client.bind("b", lambda event: got.append(("b", event.data)))
        world.expect_subscribed("room")
        world.publish("room", "a", 1)
        world.publish("room", "b", 2)
        world.publish("room", "a", 3)
        assert got == []
        world.run(1)
        assert got == [("a", 1), ("b", 2), ("a", 3)]
        client.run(timeout=5)
        assert len(got) == 3


def test_a_handler_that_raises_is_logged_and_the_next_event_still_arrives(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with world.open_pusher() as client:
        client.subscribe("room").bind("e", lambda event: 1 / event.data)
        world.expect_subscribed("room")
        world.publish("room", "e", 0)
        world.publish("room", "e", 1)
        world.run(1)
    assert [r.levelno for r in caplog.records if "raised for e on room" in r.getMessage()] == [
        logging.ERROR
    ]


def test_run_raises_the_exception_of_a_handler_when_the_options_say_so(world: World) -> None:
    with world.open_pusher(on_handler_error="raise") as client:
        client.subscribe("room").bind("e", lambda event: 1 / event.data)
        world.expect_subscribed("room")
        world.publish("room", "e", 0)
        with pytest.raises(ZeroDivisionError):
            world.run(1)


def test_a_handler_may_give_commands_and_wait(world: World) -> None:
    got: list[Any] = []
    with world.open_pusher() as client:

        def follow(event: Any) -> None:
            other = client.subscribe(event.data).wait_subscribed(timeout=5)
            got.append(other.name)

        client.subscribe("room").bind("follow", follow)
        world.expect_subscribed("room")
        world.publish("room", "follow", "news")
        world.run(1)
    assert got == ["news"]


def test_without_a_network_the_client_detects_the_loss_and_reconnects(world: World) -> None:
    with world.open_pusher() as client:
        room = client.subscribe("room").wait_subscribed()
        world.online = False
        assert world.connections == {}
        began = world.now
        lost = client.wait_for(ConnectionLost)
        assert (lost.will_retry, lost.reason) == (True, "the server did not answer a ping")
        assert world.now - began <= 151
        world.run(300)
        assert client.state.name == "UNAVAILABLE"
        assert world.online is False
        world.online = True
        room.wait_subscribed(timeout=60)
        world.publish("room", "e", 1)
        assert room.wait_for("e", timeout=1).data == 1


def test_controls_and_looks_are_those_of_a_server_that_runs(world: World) -> None:
    with world.open_pusher(world.options(user={"id": "1"}, reconnect=False)) as client:
        room = client.subscribe("presence-room")
        room.wait_subscribed()
        world.join("presence-room", "7", {"name": "Ada"})
        assert room.wait_for("pusher:member_added").member.info == {"name": "Ada"}
        room.trigger("client-hello", {"n": 1})
        assert world.sent("client-hello") == []
        assert world.expect_sent("client-hello", "presence-room", {"n": 1}).data == {"n": 1}
        world.drop(4001, "gone")
        assert client.wait_for(ConnectionLost).code == 4001
    world.expect_connections(0)


def test_client_events_wait_for_the_connection_and_merged_streams_for_any_client(
    world: World,
) -> None:
    with world.open_pusher() as client, world.open_pusher() as other:
        room = client.subscribe("private-room").outbox(keep="latest")
        rooms = [each.subscribe("private-room") for each in (client, other)]
        world.expect_subscribed("private-room", 2)
        client.disconnect()
        for n in range(3):
            room.trigger("client-n", {"n": n})
        client.connect()
        client.flush(timeout=5)
        assert [message.data for message in world.sent("client-n")] == [{"n": 2}]
        with merge(rooms, key="n") as both:
            world.publish("private-room", "n", {"n": 2})
            world.publish("private-room", "n", {"n": 3})
            assert [both.next(timeout=5).data["n"] for _ in range(2)] == [2, 3]
            began = world.now
            with pytest.raises(PusherTimeout, match="no event was received within 60 s"):
                both.next(timeout=60)
            assert world.now == began + 60


def test_expectations_count_and_forget(world: World) -> None:
    with world.open_pusher() as client, world.open_pusher() as other:
        for each in (client, other):
            each.subscribe("private-room")
        world.expect_subscribed("private-room", 2)
        world.expect_connections(2)
        with pytest.raises(AssertionError, match=r"expected 1 subscriber of 'private-room' .*2}"):
            world.expect_subscribed("private-room", timeout=1)
        for n in (1, 2):
            client.channel("private-room").trigger("client-n", n)
        assert world.expect_sent("client-n", times=2).data == 2
        assert [message.data for message in world.sent("client-n", "private-room")] == [1, 2]
        world.forget_sent()
        with pytest.raises(AssertionError, match="with 1 within 2 s; got: n"):
            world.expect_sent("client-n", data=1, timeout=2)
        client.unsubscribe("private-room")
        other.unsubscribe("private-room")
        world.expect_subscribed("private-room", 0)


def test_an_endpoint_or_the_application_gives_authorizations(world: World) -> None:
    asked: list[str | None] = []

    def authorizer(request: AuthRequest) -> AuthResponse:
        asked.append(request.channel)
        return OwnKey(DEMO_APP.key, DEMO_APP.secret).authorization(request)

    endpoint = AuthEndpoint("http://shop.test/broadcasting/auth")
    with world.open_pusher(world.options(auth=endpoint)) as client:
        client.subscribe("private-a").wait_subscribed()
        (request,) = world.auth_requests
        assert request.fields["channel_name"] == "private-a"
    with world.open_pusher(world.options(auth=None), authorizer=authorizer) as client:
        client.subscribe("private-b").wait_subscribed()
        client.disconnect()
        client.connect()
        client.channel("private-b").wait_subscribed()
    assert asked == ["private-b", "private-b"]


def test_options_from_the_environment_of_the_world_find_it(world: World) -> None:
    with world.open_pusher(Options.from_env(world.env)) as client:
        client.subscribe("private-a").wait_subscribed(timeout=5)


def test_a_consumer_that_does_not_read_loses_nothing(world: World) -> None:
    with world.open_pusher(world.options(receive_buffer=500)) as client:
        stream = client.subscribe("room").events("n", buffer=10)
        world.expect_subscribed("room")
        for n in range(200):
            world.publish("room", "n", n)
        world.run(1)
        assert [next(stream).data for _ in range(200)] == list(range(200))


def test_messages_before_the_end_are_delivered(world: World) -> None:
    with world.open_pusher(world.options(receive_buffer=500)) as client:
        stream = client.subscribe("room").events("n", buffer=10)
        world.expect_subscribed("room")
        for n in range(100):
            world.publish("room", "n", n)
        world.drop()
        world.run(1)
        assert [next(stream).data for _ in range(100)] == list(range(100))


def test_the_same_seed_gives_the_same_run() -> None:
    def play(seed: int) -> list[float]:
        world = World(seed=seed)
        moments = []
        with world.open_pusher() as client:
            client.wait_connected()
            world.refuse(status=503, times=4)
            world.drop()
            client.wait_for(ConnectionLost)
            client.wait_connected()
            moments.append(world.now)
        return moments

    assert play(1) == play(1)
    assert play(1) != play(2)


def test_a_wait_for_anything_else_times_out(world: World) -> None:
    began = world.now
    with pytest.raises(TimeoutError, match="within 30 s"):
        world.wait_until(lambda server: server.connections, timeout=30)
    assert world.now == began + 30


def test_an_exception_of_the_block_is_raised_and_the_client_is_closed(world: World) -> None:
    def use() -> None:
        with world.open_pusher() as client:
            client.wait_connected()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        use()
    assert world.connections == {}


def test_a_custom_server_may_be_given() -> None:
    world = World(Server(options=ServerOptions(activity_timeout=5)), latency=0.5)
    with world.open_pusher() as client:
        client.wait_connected()
        assert world.now == 1000 + 3 * 0.5
        world.run(6)
        assert world.sent("pusher:ping")


def test_a_user_joins_presence_channels_signs_in_and_reads_what_is_encrypted(world: World) -> None:
    user = {"id": "7", "user_info": {"name": "Ada"}}
    with world.open_pusher(world.options(user=user)) as client:
        client.signin()
        assert client.wait_signed_in(timeout=5) == "7"
        room = client.subscribe("presence-room").wait_subscribed(timeout=5)
        assert room.me is not None
        assert room.me.info == {"name": "Ada"}
        notes = client.subscribe("private-encrypted-notes").wait_subscribed(timeout=5)
        world.publish("private-encrypted-notes", "note", {"text": "psst"})
        assert notes.wait_for("note", timeout=5).data == {"text": "psst"}
    with world.open_pusher(world.options(user={"id": "8"})) as client:
        me = client.subscribe("presence-room").wait_subscribed(timeout=5).me
        assert me is not None
        assert (me.id, me.info) == ("8", None)


def test_webhooks_are_sent_and_answered_in_memory() -> None:
    world = World(Server(options=ServerOptions(webhooks=[Webhook(url="http://back.test/hooks")])))
    world.webhook_status = None
    with world.open_pusher() as client:
        client.subscribe("room").wait_subscribed()
        assert world.expect_webhook("channel_occupied", "room").app == DEMO_APP.key
        world.run(100)
        assert world.server.next_deadline() is not None  # it is sent again
        world.webhook_status = 200
        world.run(100)
        assert world.server.next_deadline() is None
        with pytest.raises(AssertionError, match="expected webhook 'cache_miss' within 2 s"):
            world.expect_webhook("cache_miss", timeout=2)
