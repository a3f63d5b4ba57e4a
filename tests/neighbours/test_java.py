"""The official HTTP library of Java takes our webhooks. Maven fetches it once, next to its pom.xml."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pusher_proto.testing import DEMO_APP, Server, ServerOptions, ServerRequest, Webhook
from server.client import World

JAVA = Path(__file__).parent / "java"
LIBRARIES = JAVA / "lib"
MAVEN = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={LIBRARIES}"]


@functools.cache
def why_not() -> str | None:
    for program in ("java", "javac", "mvn"):
        if shutil.which(program) is None:
            return f"there is no {program} on the PATH (apt-get install default-jdk-headless maven)"
    if not list(LIBRARIES.glob("pusher-http-java-*.jar")):
        done = subprocess.run(
            MAVEN, cwd=JAVA, capture_output=True, text=True, timeout=240, check=False
        )
        if done.returncode != 0:
            return f"Maven ended with {done.returncode}:\n{done.stdout[-2000:]}"
    return None


@pytest.fixture
def java() -> None:
    if (reason := why_not()) is None:
        return
    if os.environ.get("PUSHER_PROTO_REQUIRE_JAVA") == "1":
        pytest.fail(f"Java is required here: {reason}", pytrace=False)
    pytest.skip(f"no Java: {reason}")


def is_taken(request: ServerRequest, body: str) -> bool:
    headers = dict(request.headers)
    done = subprocess.run(
        [
            "java",
            "-cp",
            f"{LIBRARIES}/*",
            str(JAVA / "Webhook.java"),
            DEMO_APP.key,
            DEMO_APP.secret,
            headers["X-Pusher-Key"],
            headers["X-Pusher-Signature"],
        ],
        input=body,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() in ("VALID", "INVALID")
    return done.stdout.strip() == "VALID"


@pytest.mark.timeout(300)
def test_the_official_library_of_java_takes_webhooks(java: None) -> None:
    world = World(Server(options=ServerOptions(webhooks=[Webhook(url="http://back.test/")])))
    world.client().subscribe("room")
    requests: list[ServerRequest] = []
    while (due := world.server.next_deadline()) is not None and not requests:
        world.server.handle_timeout(now=due)
        while (effect := world.server.next_effect()) is not None:
            if isinstance(effect, ServerRequest):
                requests.append(effect)
    [request] = requests
    assert is_taken(request, request.body.decode())
    assert not is_taken(request, request.body.decode() + " ")
