"""Where the demo plays: a short temporary directory, a free port, and synproxy as a child.

Must not know routes or requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

START_TIMEOUT = 20.0  # seconds until the child must accept connections
STOP_TIMEOUT = 10.0
UNIX_PATH_LIMIT = 107  # bytes: sun_path without its closing NUL, unix(7)


def reserve_port(port: int) -> int:
    """`port`, or a free one for 0. Raises OSError, with advice, if it is taken."""
    with socket.socket(socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            advice = f"port {port}: {error.strerror}; --port gives another one"
            raise OSError(error.errno, advice) from None
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def short_directory(longest_name: int) -> Iterator[Path]:
    """A temporary directory in which a socket with `longest_name` bytes can still be bound."""
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) + len("/synproxy-demo-12345678/") + longest_name > UNIX_PATH_LIMIT:
        parent = "/tmp"  # noqa: S108 (mkdtemp below makes the name safe)
    with tempfile.TemporaryDirectory(prefix="synproxy-demo-", dir=parent) as directory:
        yield Path(directory)


@contextlib.asynccontextmanager
async def proxy(config: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A ``synproxy run`` that accepts connections; it ends with the block, by SIGTERM."""
    command = [sys.executable, "-m", "synproxy", "run", "--config", str(config)]
    child = await asyncio.create_subprocess_exec(*command, start_new_session=True)
    try:
        await _until_open(child, port)
        yield child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(child.wait(), STOP_TIMEOUT)
            except TimeoutError:
                child.kill()
                await child.wait()


async def _until_open(child: asyncio.subprocess.Process, port: int) -> None:
    """Return when somebody listens on `port`. Raises ChildProcessError if `child` ends first."""
    async with asyncio.timeout(START_TIMEOUT):
        while child.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            await writer.wait_closed()
            return
    raise ChildProcessError(f"synproxy run ended with status {child.returncode}")
