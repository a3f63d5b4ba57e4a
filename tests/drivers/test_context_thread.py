"""The process waits for the thread that creates the SSL context: OpenSSL crashes when the process ends before."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable

import anyio
import pytest

import pusher_anyio
import pusher_sync
from pusher_proto import Options
from pusher_proto.driving import tls

OPTIONS = Options.from_host("127.0.0.1", key="k", port=1, tls=True)


def blocking(wait: Callable[[], object]) -> None:
    with pusher_sync.open_pusher(OPTIONS):
        wait()


def asynchronous(wait: Callable[[], object]) -> None:
    async def main() -> None:
        async with pusher_anyio.open_pusher(OPTIONS):
            await anyio.to_thread.run_sync(wait)

    anyio.run(main)


@pytest.mark.parametrize("opened", [blocking, asynchronous])
def test_the_thread_that_creates_the_ssl_context_is_not_a_daemon(
    opened: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    began, threads = threading.Event(), list[threading.Thread]()
    create = ssl.create_default_context

    def created() -> ssl.SSLContext:
        threads.append(threading.current_thread())
        began.set()
        return create()

    monkeypatch.setattr(tls, "_cached", None)
    monkeypatch.setattr(ssl, "create_default_context", created)
    opened(lambda: began.wait(20))
    (thread,) = threads
    assert not thread.daemon
    assert thread is not threading.main_thread()
