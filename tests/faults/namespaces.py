"""Two hosts with a cable between them, in network namespaces of this process: what is lost there, is really lost.

A thread enters a namespace and comes back; the sockets that it makes there stay there. Nothing outlives the process.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

__all__ = ["Cable", "why_not"]

CLIENT, SERVER = "10.81.0.1", "10.81.0.2"
SERVER_6 = "fd81::2"
_NEWNET = 0x40000000  # CLONE_NEWNET of <sched.h>


def why_not() -> str | None:
    """Return what is missing, or None."""
    if sys.platform != "linux":
        return "there are network namespaces on Linux only"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    missing = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
    if missing:
        return f"not installed: {' and '.join(missing)} (Debian: iproute2 and nftables)"
    try:
        with Cable() as cable:
            cable.cut()
            cable.restore()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"the system does not let us: {error}"
    return None


class _Namespace:
    """A separate network that has only a loopback interface."""

    def __init__(self) -> None:
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            _call("unshare", _NEWNET)
            try:
                self._file = os.open("/proc/self/ns/net", os.O_RDONLY)
            finally:
                _call("setns", home, _NEWNET)
        finally:
            os.close(home)

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._file}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread, and the threads and processes that it starts, be in the namespace."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            _call("setns", self._file, _NEWNET)
            try:
                yield
            finally:
                _call("setns", home, _NEWNET)
        finally:
            os.close(home)

    def run(self, command: str, text: str | None = None) -> None:
        with self.entered():
            subprocess.run(command.split(), input=text, text=True, check=True, timeout=30)

    def close(self) -> None:
        os.close(self._file)


class Cable:
    """Joins the host of the client with the host of the server, and can swallow what goes over it."""

    def __init__(self) -> None:
        self._client, self._server = _Namespace(), _Namespace()

    def __enter__(self) -> Self:
        client, server = self._client, self._server
        client.run(f"ip link add cable type veth peer name cable netns {server.path}")
        for host, end, address in ((client, 1, CLIENT), (server, 2, SERVER)):
            host.run("ip link set lo up")
            host.run(f"ip address add {address}/24 dev cable")
            host.run(f"ip address add fd81::{end}/64 dev cable nodad")
            host.run("ip link set cable up")
        self._wait_for_ipv6()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._server.close()

    def _wait_for_ipv6(self) -> None:
        """Wait until the kernel has noticed that the cable is plugged in: before, IPv6 has no route."""
        deadline = time.monotonic() + 20
        with self._client.entered(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            while time.monotonic() < deadline:
                with suppress(OSError):
                    probe.connect((SERVER_6, 9))  # nothing is sent: it only looks for the way
                    return
                time.sleep(0.01)
        raise TimeoutError("the cable has no way over IPv6")

    @contextmanager
    def at_the_client(self) -> Iterator[None]:
        """Be the host of the client. It has its own loopback."""
        with self._client.entered():
            yield

    def listener(self) -> socket.socket:
        """Return a socket bound to a port of the server's host."""
        with self._server.entered():
            return socket.create_server((SERVER, 0))

    def cut(self) -> None:
        """Swallow all that either side sends from now on."""
        self._rules("add chain inet fault in { type filter hook input priority 0; policy drop; }")
        self._rules("add chain inet fault out { type filter hook output priority 0; policy drop; }")

    def cut_from_server(self) -> None:
        """Swallow all that the server sends from now on."""
        self._rules("add chain inet fault out { type filter hook output priority 0; policy drop; }")

    def cut_tcp_over_ipv6(self) -> None:
        """Swallow packets for the server over IPv6, whose address is known nevertheless."""
        self._rules("add chain inet fault in { type filter hook input priority 0; }")
        self._rules("add rule inet fault in ip6 nexthdr tcp drop")

    def restore(self) -> None:
        """Let everything through again."""
        self._server.run("nft -f -", "flush ruleset\n")

    def _rules(self, rule: str) -> None:
        self._server.run("nft -f -", f"add table inet fault\n{rule}\n")


def _call(function: str, *args: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*args) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
