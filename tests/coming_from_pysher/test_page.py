"""The programs of docs/coming-from-pysher.md run, against the test server."""

from __future__ import annotations

import re
import subprocess
import sys
import threading

import pytest

from coming_from_pysher.differences import PAGE
from pusher_anyio.testing import serve_in_thread

BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_program_of_the_page_prints_something(number: int) -> None:
    over = threading.Event()
    with serve_in_thread() as server:

        def publish() -> None:
            while not over.wait(0.02):
                server.publish("prices", "price", {"cents": 250})

        thread = threading.Thread(target=publish)
        thread.start()
        code = BLOCKS[number].replace("6001", str(server.port))
        with subprocess.Popen(
            [sys.executable, "-u", "-W", "error", "-c", code], stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().strip()
            finally:
                process.kill()
                over.set()
                thread.join()
