"""Machines of a test: network namespaces on one bridge, as root on Linux.

Sockets that are made in one stay in it, whoever uses them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

_CLONE_NEWNET = 0x40000000


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


class Network:
    """``hub`` is the machine with the bridge; the others are one cable away from it."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def name(self, machine: str) -> str:
        return f"{self._prefix}-{machine}"

    def command(self, machine: str, *words: str) -> Sequence[str]:
        """A command line that runs on a machine."""
        return ["ip", "netns", "exec", self.name(machine), *words]

    def crash(self, machine: str) -> None:
        """Kill everything that runs on a machine, and wait until it has gone."""
        listed = ["ip", "netns", "pids", self.name(machine)]
        while there := subprocess.run(listed, capture_output=True, timeout=30).stdout.split():
            for pid in there:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)

    def listen(self, machine: str, host: str, port: int) -> socket.socket:
        """A listening socket on a machine."""
        return self._there(machine, lambda: socket.create_server((host, port)))

    def connect(self, machine: str, host: str, port: int) -> socket.socket:
        """A connection from a machine; raises OSError."""
        return self._there(machine, lambda: socket.create_connection((host, port), timeout=30))

    def _there(self, machine: str, make: object) -> socket.socket:
        def run() -> socket.socket:
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.name(machine)}") as namespace:
                if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            made: socket.socket = make()  # type: ignore[operator]
            return made

        with ThreadPoolExecutor(1) as pool:  # a thread of its own: the namespace is a thread's
            return pool.submit(run).result()


@contextmanager
def network(hub: str, **machines: str) -> Iterator[Network]:
    """Machines with these addresses in one /24, gone afterwards."""
    found = Network(f"syn{os.getpid()}")
    with ExitStack() as stack:
        for machine in ("hub", *machines):
            _ip("netns", "add", found.name(machine))
            stack.callback(_ip, "netns", "del", found.name(machine))
            _ip("-n", found.name(machine), "link", "set", "lo", "up")
        _ip("-n", found.name("hub"), "link", "add", "bridge", "type", "bridge")
        _ip("-n", found.name("hub"), "addr", "add", f"{hub}/24", "dev", "bridge")
        _ip("-n", found.name("hub"), "link", "set", "bridge", "up")
        for machine, address in machines.items():
            there, hub_name = found.name(machine), found.name("hub")
            cable = f"to-{machine}"
            ends = ("link", "add", cable, "type", "veth", "peer", "name", "eth0")
            _ip("-n", hub_name, *ends, "netns", there)
            _ip("-n", hub_name, "link", "set", cable, "master", "bridge", "up")
            _ip("-n", there, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", there, "link", "set", "eth0", "up")
        yield found
