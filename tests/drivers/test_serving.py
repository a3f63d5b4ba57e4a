"""The server machine on a port: `serve` on asyncio and trio, `serve_in_thread`, with and without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any, Self

import anyio
import pytest
import trustme
from anyio.abc import ByteStream

from pusher_anyio import open_pusher, testing
from pusher_anyio.testing import RunningServer, serve, serve_in_thread
from pusher_proto import AuthEndpoint, OwnKey
from pusher_proto.testing import DEMO_APP, App, Report, Server, ServerOptions, Webhook
from pusher_proto.testing.running import Controls

anyio_marked = pytest.mark.anyio
REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n"
UPGRADE = (
    b"GET /app/demo?protocol=7 HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n"
)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Contexts:
    """TLS for both sides; None for both without."""

    server: ssl.SSLContext | None = None
    client: ssl.SSLContext | None = None


@pytest.fixture(scope="module")
def tls() -> Contexts:
    authority, contexts = trustme.CA(), Contexts()
    contexts.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(contexts.server)
    contexts.client = ssl.create_default_context()
    authority.configure_trust(contexts.client)
    return contexts


@pytest.fixture(params=["plain", "TLS"])
def contexts(request: pytest.FixtureRequest, tls: Contexts) -> Contexts:
    return tls if request.param == "TLS" else Contexts()


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def read_to_the_end(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


@anyio_marked
@pytest.mark.parametrize("auth_endpoint", [False, True], ids=["own key", "endpoint"])
async def test_a_client_subscribes_and_receives_published_events(
    contexts: Contexts, auth_endpoint: bool
) -> None:
    async with serve(ssl_context=contexts.server) as running:
        options = running.options(auth_endpoint=auth_endpoint)
        async with open_pusher(options, ssl_context=contexts.client) as client:
            channel = await client.subscribe("private-orders").wait_subscribed(10)
            assert running.subscriptions("private-orders") == {client.socket_id}
            assert running.channels() == ["private-orders"]
            assert running.publish("private-orders", "created", {"id": 1}) == 1
            event = await channel.wait_for("created", timeout=10)
            assert event.data == {"id": 1}
        assert len(running.auth_requests) == auth_endpoint
        await running.wait_until(lambda server: not server.connections)


@anyio_marked
async def test_a_large_message_arrives_whole(contexts: Contexts) -> None:
    text = "x" * 500_000
    async with (
        serve(ssl_context=contexts.server) as running,
        open_pusher(running.options(), ssl_context=contexts.client) as client,
    ):
        channel = await client.subscribe("room").wait_subscribed(10)
        running.publish("room", "long", text)
        assert (await channel.wait_for("long", timeout=10)).raw_data == text


@anyio_marked
@pytest.mark.parametrize("code", [4200, None], ids=["closed politely", "aborted"])
async def test_a_client_that_is_dropped_reconnects(contexts: Contexts, code: int | None) -> None:
    async with serve(ssl_context=contexts.server) as running:
        options = running.options(retry_base=0.0)
        async with open_pusher(options, ssl_context=contexts.client) as client:
            await client.subscribe("room").wait_subscribed(10)
            running.drop(code)
            await running.wait_until(lambda server: server.subscriptions("room"))
            assert running.server.stats.websockets == 2


@anyio_marked
async def test_delayed_answers_arrive_when_they_are_due() -> None:
    async with serve() as running, open_pusher(running.options()) as client:
        running.delay(0.05, "subscribe")
        began = anyio.current_time()
        await client.subscribe("room").wait_subscribed(10)
        assert anyio.current_time() - began >= 0.05


class Gone(ByteStream):
    """A client that asks and has gone when it is answered: over TLS, where writing reads as well, `error` says so."""

    def __init__(self, error: Exception) -> None:
        self.requests = [UPGRADE]
        self.error = error

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self.requests:
            await anyio.sleep_forever()
        return self.requests.pop()

    async def send(self, item: bytes) -> None:
        raise self.error

    async def send_eof(self) -> None:
        raise self.error

    async def aclose(self) -> None:
        self.requests.clear()


@anyio_marked
@pytest.mark.parametrize("error", [anyio.EndOfStream(), anyio.BrokenResourceError(), OSError()])
async def test_a_client_that_goes_while_it_is_answered_ends_nothing_else(error: Exception) -> None:
    async with serve() as running, open_pusher(running.options()) as client:
        await client.wait_connected(10)
        with anyio.fail_after(10):
            await running._serve(Gone(error))
        assert (await client.subscribe("room").wait_subscribed(10)).name == "room"


@anyio_marked
async def test_waiting_until_something_that_never_is_so_ends_with_a_timeout() -> None:
    async with serve() as running:
        with pytest.raises(TimeoutError):
            await running.wait_until(lambda server: server.connections, timeout=0.01)


@anyio_marked
async def test_what_was_answered_is_sent_to_a_client_that_has_ended_its_side() -> None:
    def ask(port: int) -> bytes:
        with dial(port) as sock:
            sock.sendall(REQUEST + b"\r\n")
            sock.shutdown(socket.SHUT_WR)
            return read_to_the_end(sock)

    async with serve() as running:
        answer = await anyio.to_thread.run_sync(ask, running.port)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"Pusher Channels protocol.\n")


@anyio_marked
async def test_what_was_sent_last_is_not_lost_when_the_server_ends_it_with_bytes_unread() -> None:
    def ask(port: int) -> bytes:
        with dial(port) as sock:
            sock.sendall(REQUEST + b"Connection: close\r\n\r\n" + b"never read" * 1000)
            return read_to_the_end(sock)

    async with serve() as running:
        answer = await anyio.to_thread.run_sync(ask, running.port)
    assert answer.startswith(b"HTTP/1.1 ")


@anyio_marked
async def test_an_aborted_connection_is_reset() -> None:
    def read(sock: socket.socket) -> None:
        with pytest.raises(ConnectionResetError):
            sock.recv(1)

    async with serve() as running:
        with dial(running.port) as sock:
            await running.wait_until(lambda server: server.stats.connections)
            running.drop(connection=1)
            await anyio.to_thread.run_sync(read, sock)


@anyio_marked
async def test_a_client_that_does_not_read_is_dropped_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(testing, "_UNSENT", 1024 * 1024)
    async with serve() as running:
        with dial(running.port) as sock:
            sock.sendall(UPGRADE)
            await running.wait_until(lambda server: server.connections)
            for _ in range(200):
                running.send_raw(None, "x" * 100_000)
            await running.wait_until(lambda server: not server.connections)


@anyio_marked
async def test_what_is_not_tls_is_ended_and_others_are_served(tls: Contexts) -> None:
    def speak_plainly(port: int) -> None:
        with dial(port) as sock:
            sock.sendall(REQUEST + b"\r\n")
            read_to_the_end(sock)

    async with serve(ssl_context=tls.server) as running:
        await anyio.to_thread.run_sync(speak_plainly, running.port)
        async with open_pusher(running.options(), ssl_context=tls.client) as client:
            await client.wait_connected(10)


@anyio_marked
async def test_leaving_the_block_ends_clients_and_frees_the_port() -> None:
    async with serve() as running:
        sock = dial(running.port)
        await running.wait_until(lambda server: server.stats.connections)
        began = anyio.current_time()
    assert anyio.current_time() - began < 1
    with sock:
        assert sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        dial(running.port)
    async with serve(port=running.port) as again:
        assert again.port == running.port


@anyio_marked
async def test_leaving_the_block_does_not_wait_for_a_handshake(tls: Contexts) -> None:
    async with serve(ssl_context=tls.server) as running:
        sock = dial(running.port)
        began = anyio.current_time()
    assert anyio.current_time() - began < 1
    sock.close()


@anyio_marked
async def test_an_exception_of_the_block_is_raised_unchanged() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with serve():
            raise KeyError("mine")


@anyio_marked
async def test_cancelling_the_block_ends_the_server() -> None:
    with anyio.CancelScope() as scope:
        async with serve() as running:
            scope.cancel()
            await anyio.sleep_forever()
    with pytest.raises(ConnectionRefusedError):
        dial(running.port)


@anyio_marked
async def test_a_port_that_is_taken_is_an_error() -> None:
    async with serve() as running:
        with pytest.raises(OSError, match="in use"):
            async with serve(port=running.port):
                pass


def public_functions(cls: type) -> dict[str, Callable[..., Any]]:
    found = inspect.getmembers(cls, inspect.isfunction)
    return {name: function for name, function in found if not name.startswith("_")}


def test_every_control_of_the_machine_is_there_without_its_now() -> None:
    machines = [cls for cls in Server.__mro__ if cls.__name__ in ("Controls", "Guests")]
    controls = {
        name: f
        for name, f in public_functions(Server).items()
        if any(name in vars(machine) for machine in machines)
    }
    assert controls
    ours = public_functions(Controls)
    for name, control in controls.items():
        wanted = dict(inspect.signature(control).parameters)
        wanted.pop("now", None)
        given = inspect.signature(ours[name]).parameters
        shape = [(p.name, p.kind, p.default) for p in given.values()]
        assert shape == [(p.name, p.kind, p.default) for p in wanted.values()], name


def test_every_control_reaches_the_machine() -> None:
    other = App(id="2", key="other", secret="other-secret", encryption_master_key=bytes(32))
    with serve_in_thread(Server([DEMO_APP, other])) as running:
        running.refuse(code=4100, times=1)
        running.allow()
        running.refuse_channel("room", shape="silent")
        running.allow_channel("room")
        running.delay(0)
        running.auth_answer(500, "no")
        running.auth_answer()
        running.mute()
        running.unmute()
        running.rotate_key(None, app="other")
        running.rotate_secret("new", app="other")
        running.terminate_user("nobody")
        running.join("presence-room", "7", {"name": "Ada"}, app="other")
        assert running.members("presence-room", app="other") == {"7": {"name": "Ada"}}
        assert running.client_event("presence-room", "client-x", 1, "7", app="other") == 0
        running.leave("presence-room", "7", app="other")
        assert running.send_to_user("nobody", "hello", 1) == 0
        assert running.publish("room", "price", 1, app="other", exclude_socket_id="1.1") == 0
        assert running.members("presence-room") == {}
        assert running.users() == {}
        assert running.connections == {}
        assert running.received == []
        assert running.auth_requests == []
        assert running.do(lambda server, now: (server, now > 0)) == (running.server, True)
        master_key = DEMO_APP.encryption_master_key
        assert running.options().auth == OwnKey("demo", "demo-secret", master_key=master_key)
        changed = running.options(other)
        own_key = OwnKey("other", "other-secret", master_key=bytes(32))
        assert (changed.key, changed.auth) == ("other", own_key)


@anyio_marked
async def test_options_take_what_they_are_given() -> None:
    running = RunningServer(Server(), "::1", 1234, None)
    options = running.options(auth_endpoint=True, host="localhost", connect_timeout=1.0)
    assert (options.host, options.port, options.tls) == ("localhost", 1234, False)
    assert options.connect_timeout == 1
    assert isinstance(options.auth, AuthEndpoint)
    assert options.auth.url == "http://[::1]:1234/pusher/auth"
    assert options.auth.user_url == "http://[::1]:1234/pusher/user-auth"
    assert running.options(auth=None).auth is None


@pytest.fixture
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.usefixtures("no_thread_stays")
def test_a_thread_serves_a_blocking_program() -> None:
    with serve_in_thread() as running:
        with dial(running.port) as sock:
            sock.sendall(UPGRADE)
            connections = running.wait_until(lambda server: server.connections)
            assert list(connections) == [1]
            running.drop(4200, "bye")
            received = b""
            while b"bye" not in received:
                received += sock.recv(65536)
        running.wait_until(lambda server: not server.connections)
    with pytest.raises(ConnectionRefusedError):
        dial(running.port)


@pytest.mark.usefixtures("no_thread_stays")
def test_controls_may_be_used_from_any_thread() -> None:
    with serve_in_thread() as running, ThreadPoolExecutor(8) as pool:
        for sent in pool.map(lambda number: running.publish("room", "n", number), range(100)):
            assert sent == 0
        assert running.server.stats.published == 100


@pytest.mark.usefixtures("no_thread_stays")
def test_errors_of_controls_and_of_the_block_are_raised_unchanged() -> None:
    def use() -> None:
        with serve_in_thread() as running:
            with pytest.raises(ValueError, match="a close code is between"):
                running.drop(17)
            with pytest.raises(TimeoutError):
                running.wait_until(lambda server: server.connections, timeout=0.01)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        use()


def test_a_thread_serves_tls(tls: Contexts) -> None:
    assert tls.client is not None
    with (
        serve_in_thread(ssl_context=tls.server) as running,
        dial(running.port) as raw,
        tls.client.wrap_socket(raw, server_hostname="127.0.0.1") as sock,
    ):
        sock.sendall(REQUEST + b"Connection: close\r\n\r\n")
        # Read to the close_notify: an end without it would raise.
        assert read_to_the_end(sock).startswith(b"HTTP/1.1 200")


# Webhooks, addresses, readers that do not read


class Receiver:
    """An HTTP server that keeps what is posted to it, and answers with the next status."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.bodies: Queue[bytes] = Queue()
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.put(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/hooks?x=1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def subscribed(port: int) -> socket.socket:
    """Return a connection that is subscribed to `room`."""
    sock = dial(port)
    sock.sendall(UPGRADE)
    text = b'{"event":"pusher:subscribe","data":{"channel":"room"}}'
    sock.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
    return sock


def test_webhooks_are_posted_and_again_until_they_are_taken() -> None:
    with Receiver() as receiver:
        receiver.statuses = [500]
        machine = Server(options=ServerOptions(webhooks=[Webhook(url=receiver.url)]))
        with serve_in_thread(machine) as running, subscribed(running.port):
            assert running.expect_webhook("channel_occupied", "room").fields == {
                "name": "channel_occupied",
                "channel": "room",
            }
            bodies = [receiver.bodies.get(timeout=10) for _ in range(2)]
            assert bodies[0] == bodies[1]
            assert b'"channel_occupied"' in bodies[0]
            with pytest.raises(
                AssertionError, match="expected webhook 'cache_miss' of 'x' 2 times"
            ):
                running.expect_webhook("cache_miss", "x", times=2, timeout=0.1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[", "https://127.0.0.1:1/"])
def test_a_receiver_that_is_not_there_is_reported_and_stops_nothing(url: str) -> None:
    reports: list[Report] = []
    machine = Server(options=ServerOptions(webhooks=[Webhook(url=url)]))
    machine.observers.append(reports.append)
    with serve_in_thread(machine) as running, subscribed(running.port):
        running.wait_until(lambda _: [each for each in reports if each.kind == "webhook failed"])
        assert running.publish("room", "e", "1") == 1
    [failed, *_] = [each for each in reports if each.kind == "webhook failed"]
    assert failed.message == f"webhook {url}: no answer; next attempt in 1 s"


def test_webhooks_over_tls_need_a_certificate_that_is_known(tls: Contexts) -> None:
    reports: list[Report] = []
    with Receiver(tls.server) as receiver:
        machine = Server(options=ServerOptions(webhooks=[Webhook(url=receiver.url)]))
        machine.observers.append(reports.append)
        with serve_in_thread(machine) as running, subscribed(running.port):
            running.wait_until(lambda _: "webhook failed" in [each.kind for each in reports])
        assert receiver.bodies.empty()


def test_several_hosts_share_one_port() -> None:
    with serve_in_thread(host=["127.0.0.1", "127.0.0.2"]) as running:
        assert running.host == "127.0.0.1"
        for host in ("127.0.0.1", "127.0.0.2"):
            socket.create_connection((host, running.port), timeout=10).close()


def test_the_machine_knows_the_addresses_of_clients() -> None:
    reports: list[Report] = []
    machine = Server()
    machine.observers.append(reports.append)
    with serve_in_thread(machine) as running, dial(running.port) as sock:
        sock.sendall(b"\x16\x03\x01")
        read_to_the_end(sock)
    assert reports[0].message.startswith("127.0.0.1: a client speaks TLS to this plain port")


def test_a_reader_that_does_not_read_loses_messages_where_the_server_drops_them() -> None:
    limits = replace(Server(options=ServerOptions(dialect="sockudo")).limits, unsent_messages=5)
    with (
        serve_in_thread(Server(options=ServerOptions(dialect="sockudo", limits=limits))) as running,
        subscribed(running.port) as sock,
    ):
        running.expect_subscribed("room")
        for _ in range(400):
            running.publish("room", "e", "x" * 100_000)
        sock.settimeout(0.5)
        read = 0
        with contextlib.suppress(TimeoutError):
            while data := sock.recv(1 << 20):
                read += len(data)
        assert 0 < read < 400 * 100_000
        assert running.connections


def test_W42_leaving_while_clients_connect_logs_nothing() -> None:
    logged: list[dict[str, Any]] = []

    async def connect(running: RunningServer) -> None:
        async with open_pusher(running.options()):
            pass

    async def leave_after(turns: int) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: logged.append(what))
        async with serve() as running:
            clients = [asyncio.create_task(connect(running)) for _ in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
        await asyncio.gather(*clients)

    for turns in [*range(2, 9)] * 5:
        asyncio.run(leave_after(turns))
    assert logged == []
