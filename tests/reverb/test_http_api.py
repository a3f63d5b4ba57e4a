"""The HTTP API of a real Reverb still answers as it was recorded for the tests of the dialect."""

from __future__ import annotations

import json

from real_servers.process import StartServer
from reverb.record import REAL_APP, SETTINGS, RealSide
from server.publishing import RECORDING, STEPS, play


def test_all_answers_are_as_recorded(start_server: StartServer) -> None:
    recorded = json.loads(RECORDING.read_text("utf-8"))
    answers = play(RealSide(start_server([REAL_APP], **SETTINGS)), STEPS)
    different = [
        (step, before, now)
        for step, before, now in zip(STEPS, recorded, answers, strict=True)
        if before != now
    ]
    assert different == []
