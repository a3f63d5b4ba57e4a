"""Pages of another origin in a headless Chromium, with pusher-js and laravel-echo, on the server's own endpoints."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.parse import quote

import pytest

from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto.server._http import HttpResponse
from pusher_proto.testing import App, Server, ServerOptions
from soketi.harness import prepare

BROWSER = Path(__file__).parent / "browser"
APP = App(id="7", key="shop", secret="shop-secret", encryption_master_key=bytes(32))
USERS = {"Bearer ann": {"id": "7", "user_info": {"name": "Ann"}}}


@functools.cache
def why_not() -> str | None:
    if chromium() is None:
        return "there is no chromium on the PATH (apt-get install chromium)"
    return prepare(BROWSER)


def chromium() -> str | None:
    names = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> None:
    if (reason := why_not()) is None:
        return
    if os.environ.get("PUSHER_PROTO_REQUIRE_CHROMIUM") == "1":
        pytest.fail(f"Chromium is required here: {reason}", pytrace=False)
    pytest.skip(f"no Chromium: {reason}")


@contextmanager
def pages() -> Iterator[tuple[str, Queue[Any]]]:
    """Serve the page and the libraries, and take what it posts."""
    results: Queue[Any] = Queue()

    class Handler(SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(BROWSER))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="pages", daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/page.html", results
        server.shutdown()
        thread.join()


def look(server: ServerInThread, profile: Path, **wanted: Any) -> Any:
    """Open the page in a new browser, and return what it saw."""
    wanted = {
        "key": APP.key,
        "host": server.host,
        "port": server.port,
        "url": f"http://{server.host}:{server.port}",
        **wanted,
    }
    with pages() as (url, results):
        process = subprocess.Popen(
            [
                str(chromium()),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--no-proxy-server",
                f"--user-data-dir={profile}",
                f"{url}#{quote(json.dumps(wanted))}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return results.get(timeout=60)
        finally:
            process.terminate()
            process.wait(10)


def refuse_one_channel(server: Server) -> None:
    """Answer requests for `private-refused` with 403."""
    endpoint = server._endpoint
    answer = endpoint._answer

    def refusing(connection: int, request: Any, for_channel: bool) -> HttpResponse:
        if b"private-refused" in request.body:
            return HttpResponse(403, b"no")
        return answer(connection, request, for_channel)

    endpoint._answer = refusing  # type: ignore[method-assign]  # the endpoint of this test alone


COMMON = {"up": 200, "private-x": "subscribed", "private-encrypted-x": "subscribed"}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("library", ["pusher-js", "echo"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer ann"}], ids=["plain", "header"])
def test_a_page_of_another_origin_can_use_the_endpoints(
    browser: None, tmp_path: Path, library: str, headers: dict[str, str]
) -> None:
    machine = Server([APP], ServerOptions(auth_user=USERS if headers else None))
    refuse_one_channel(machine)
    name, user = ("Ann", "7") if headers else ("user-1", "user-1")
    expected: dict[str, Any] = {**COMMON, "private-refused": 403, "user": user}
    if library == "echo":
        expected["names"] = [name]
    else:
        expected["me"] = {"id": user, "info": {"name": name}}
    with serve_in_thread(machine) as server:
        seen = look(server, tmp_path, library=library, headers=headers, names=list(expected))
    assert seen == expected
