"""`pusher-proto replay`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pusher_anyio.__main__ import main
from pusher_anyio.testing import ServerInThread
from pusher_sync import open_pusher


def test_what_was_recorded_is_printed(
    running: ServerInThread, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording.jsonl"
    with open_pusher(running.options(), record=path) as client:
        client.subscribe("room").wait_subscribed(10)
    assert main(["replay", str(path)]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    lines = [line.split(None, 2) for line in out.splitlines()]
    inputs = [line[1] for line in lines if line[0][0].isdigit()]
    assert {"connect", "subscribe", "transport_opened", "receive_data", "close"} <= set(inputs)
    assert lines[0] == ["0.000", "connect"]
    assert any(line[:2] == ["event", "Subscribed(channel='room',"] for line in lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no\n", "is not a recording: not a valid line of a recording"),
        (
            '{"options":{},"seed":1}\n',
            "is not a recording: the first line of a recording has to contain its",
        ),
        (None, "No such file or directory"),
    ],
)
def test_what_is_not_a_recording_is_a_usage_error(
    text: str | None, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording.jsonl"
    if text is not None:
        path.write_text(text)
    assert main(["replay", str(path)]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("pusher-proto: ")
    assert says in err
