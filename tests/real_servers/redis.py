"""A Redis as a subprocess of the tests, on loopback: in memory alone, or with every write on the disk."""

from __future__ import annotations

import functools
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from .process import HOST, START_TIMEOUT, ServerError

__all__ = ["Redis", "prepare"]

_INTERVAL = 0.02


class Redis:
    """One running Redis. `prepare` must have succeeded before."""

    def __init__(self, port: int = 0, folder: Path | None = None) -> None:
        """With a `folder` it keeps every write there, also when it is killed; else it keeps nothing."""
        self.port = port or _free_port()
        binary = shutil.which("redis-server")
        if binary is None:
            raise ServerError("there is no redis-server")
        # It ends with the tests: with `--daemonize no` and a standard input that is closed nothing else would do that.
        self._process = subprocess.Popen(
            [
                *("sh", "-c", '"$@" </dev/null & read _; kill -9 $!', "sh"),
                *(binary, "--port", str(self.port), "--bind", HOST),
                *("--save", "", "--loglevel", "warning"),
                *("--appendonly", "no" if folder is None else "yes", "--appendfsync", "always"),
                *("--dir", folder or "."),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if time.monotonic() > deadline:
                self.stop()
                raise ServerError(f"redis-server did not get ready in {START_TIMEOUT:g} s")
            time.sleep(_INTERVAL)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as client:
                client.sendall(b"PING\r\n")
                return client.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def stop(self) -> None:
        """Kill the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


@functools.cache
def prepare() -> str | None:
    """Return None if there is a Redis, or how to get it."""
    if shutil.which("redis-server") is None:
        return "get it by: apt-get install redis-server"
    return None


def _free_port() -> int:
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        port: int = holder.getsockname()[1]
        return port
