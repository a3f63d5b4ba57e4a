"""The blocking client under gevent and eventlet: two clients and a ticker side by side, none of which holds up another.

Each in its own process, as everything is patched there before anything else is imported.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from pusher_anyio.testing import ServerInThread, serve_in_thread

from .runners import poll
from .scenarios import Authority

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    # Its only warning is about itself.
    "eventlet": "warnings.simplefilter('ignore'); import eventlet; eventlet.monkey_patch()",
    "nothing": "",
}
"""The first lines of such a program; without them the same program runs on threads."""

SCRIPT = """
    import warnings
    {patch}
    import ssl, threading, time
    from pusher_proto import AuthResponse, Options, PusherTimeout
    from pusher_proto.signing import sign_channel
    from pusher_sync import open_pusher

    ticks, heard = [], []

    def tick():
        while True:
            ticks.append(time.monotonic())
            time.sleep(0.005)

    def authorizer(request):
        time.sleep(0.2)
        return AuthResponse({sign})

    def options(port, tls):
        return Options(host="127.0.0.1", port=port, tls=tls, key="demo", retry_base=0.01)

    context = ssl.create_default_context(cafile={authority!r})
    threading.Thread(target=tick, daemon=True).start()
    with (
        open_pusher(options({port}, False), authorizer=authorizer) as one,
        open_pusher(options({secure}, True), ssl_context=context) as other,
    ):
        room = one.subscribe("private-room")
        other.subscribe("room").wait_subscribed(10)
        stream = other.channel("room").events("n")
        room.bind("n", lambda event: heard.append(event.data))
        room.wait_subscribed(10)
        began = time.monotonic()
        try:
            one.wait_for("never", timeout=0.2)
        except PusherTimeout:
            pass
        assert 0.15 < time.monotonic() - began < 5, time.monotonic() - began
        print("ready", flush=True)
        assert [next(stream).data for _ in range(3)] == [0, 1, 2]
        while len(heard) < 3:
            one.run(timeout=0.01)
        one.reconnect()
        room.wait_subscribed(10)
        threading.Timer(0.05, other.stop).start()
        other.run()
    gaps = [after - before for before, after in zip(ticks, ticks[1:])]
    assert heard == [0, 1, 2], heard
    assert len(ticks) > 20, len(ticks)
    print(max(gaps))
"""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def servers(authority: Authority) -> Iterator[tuple[ServerInThread, ServerInThread]]:
    with serve_in_thread() as server, serve_in_thread(ssl_context=authority.server) as secure:
        yield server, secure


@pytest.mark.parametrize("by", PATCHES)
def test_two_clients_and_a_ticker_run_side_by_side(
    by: str,
    authority: Authority,
    servers: tuple[ServerInThread, ServerInThread],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if by != "nothing" and importlib.util.find_spec(by) is None:
        pytest.skip(f"{by} is not installed: it needs greenlet, which has no wheel here")
    certificate = tmp_path_factory.mktemp("authority") / "ca.pem"
    certificate.write_bytes(authority.pem)
    server, secure = servers
    script = textwrap.dedent(SCRIPT).format(
        patch=PATCHES[by],
        port=server.port,
        secure=secure.port,
        authority=str(certificate),
        sign='sign_channel("demo", "demo-secret", request.socket_id, request.channel)',
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline()
        assert said == "ready\n", process.stderr.read()
        for n in range(3):
            secure.publish("room", "n", n)
            server.publish("private-room", "n", n)
        rest, errors = process.communicate(timeout=40)
    assert errors == ""
    assert float(rest) < 1.0, "a client held up the ticker"
    assert poll(lambda: not server.connections)
    assert poll(lambda: not secure.connections)
