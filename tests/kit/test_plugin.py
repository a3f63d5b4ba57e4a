"""The pytest plugin, in separate runs of pytest: its fixtures, and its cost for runs that do not use it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"
EXAMPLES = dict(re.findall(r"```python\n# (test_\w+\.py)\n(.*?)```", DOCS.read_text(), re.DOTALL))
# The inner run must not inherit the setup of this project's own run.
ARGUMENTS = ("-p", "no:randomly", "-p", "no:cacheprovider", "--strict-markers", "-W", "error")


def run(pytester: pytest.Pytester, *more: str) -> pytest.RunResult:
    # In its own process: within this one, modules that it imports first are forgotten at its end and imported again,
    # and there may be two versions of one class (requests and http.cookiejar, for instance).
    return pytester.runpytest_subprocess(*ARGUMENTS, *more)


@pytest.fixture(autouse=True)
def quiet_asyncio(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")


def test_there_are_the_examples_that_the_documentation_promises() -> None:
    assert sorted(EXAMPLES) == [
        "test_configured.py",
        "test_door.py",
        "test_orders.py",
        "test_reverb.py",
        "test_watch.py",
    ]


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_examples_pass(pytester: pytest.Pytester, name: str) -> None:
    pytester.makepyfile(**{name.removesuffix(".py"): EXAMPLES[name]})
    result = run(pytester)
    tests = len(re.findall(r"^(?:async )?def test_", EXAMPLES[name], re.MULTILINE))
    # The plugin of anyio runs a test on asyncio and on trio.
    times = 2 if "mark.anyio" in EXAMPLES[name] else 1
    assert result.parseoutcomes() == {"passed": tests * times}


def test_an_expectation_that_is_not_met_says_what_there_was(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(pusher_world):
            with pusher_world.open_pusher() as client:
                client.subscribe("prices").wait_subscribed()
                pusher_world.expect_sent("client-hello", "private-room", timeout=7)

        def test_other(pusher_server):
            pusher_server.expect_subscribed("prices", timeout=0.01)
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=2)
    there = "[[]('pusher:subscribe', 'prices', {'channel': 'prices'})]"
    missing = "expected 'client-hello' on 'private-room' within 7 s"
    result.stdout.fnmatch_lines_random(
        [
            f"E*AssertionError: {missing}; got: {there}",
            "E*AssertionError: expected 1 subscriber of 'prices' within 0.01 s; got: nothing",
        ]
    )


def test_markers_and_the_fixture_configure_the_server_and_the_nearest_wins(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.pusher(activity_timeout=60, seed=3, latency=0.5)

        @pytest.fixture
        def pusher_server_options():
            return {"activity_timeout": 90, "path_prefix": "/ws"}

        def test_module(pusher_server):
            server = pusher_server.server
            assert (server._activity_timeout, server._path_prefix) == (60, "/ws")

        @pytest.mark.pusher(activity_timeout=30)
        def test_own(pusher_world):
            assert (pusher_world.server._activity_timeout, pusher_world.latency) == (30, 0.5)
        """
    )
    run(pytester).assert_outcomes(passed=2)


def test_a_wrong_option_is_an_error_that_names_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.pusher(colour="red")
        def test_it(pusher_server):
            pass
        """
    )
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*TypeError: *unexpected keyword argument 'colour'"])


def test_nothing_is_left_behind_by_a_test_that_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading
        import pytest

        from pusher_sync import open_pusher

        def test_fails(pusher_server):
            with open_pusher(pusher_server.options()) as client:
                client.wait_connected(timeout=5)
                assert False

        def test_after():
            assert [t.name for t in threading.enumerate() if t is not threading.main_thread()
                    and "pusher" in t.name] == []
        """
    )
    run(pytester).assert_outcomes(passed=1, failed=1)


def test_the_plugin_is_installed_and_imports_nothing_until_a_fixture_is_used(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it(pytestconfig):
            assert pytestconfig.pluginmanager.hasplugin("pusher-proto")
            ours = ("pusher_proto", "pusher_anyio", "pusher_sync")
            loaded = {name for name in sys.modules if name.partition(".")[0] in ours}
            assert loaded == {"pusher_anyio", "pusher_anyio._pytest_plugin"}
            assert {"h11", "msgspec", "nacl", "wsproto"} & set(sys.modules) == set()
        """
    )
    # In its own process, without the plugins that import some of these.
    others = (f"-pno:{name}" for name in ("hypothesispytest", "anyio", "xdist"))
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *ARGUMENTS, *others],
        cwd=pytester.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in result.stdout, result.stdout + result.stderr


def test_the_plugin_can_be_loaded_by_its_former_name(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(pusher_world): assert pusher_world.server")
    run(pytester, "-p", "pusher_proto.testing.pytest_plugin").assert_outcomes(passed=1)
