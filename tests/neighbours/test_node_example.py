"""The example suite in Node, which tests a pusher-js program through the control API of the server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from soketi.harness import prepare

EXAMPLE = Path(__file__).parents[2] / "examples" / "node"
REQUIRED = "PUSHER_PROTO_REQUIRE_SOKETI"


@pytest.mark.slow(reason="installs pusher-js from npm")
@pytest.mark.timeout(180)
def test_the_example_suite_in_node_passes() -> None:
    if (reason := prepare(EXAMPLE)) is not None:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"Node and npm are required here: {reason}", pytrace=False)
        pytest.skip(f"no Node: {reason}")
    env = os.environ | {"PUSHER_PROTO": f"{sys.executable} -m pusher_anyio"}
    done = subprocess.run(
        ["node", "--test"],
        cwd=EXAMPLE,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 6" in done.stdout
