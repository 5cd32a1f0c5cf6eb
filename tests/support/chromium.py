"""Debian's Chromium without a screen, driven by the DevTools protocol.

Source: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

START_DEADLINE = 60.0  # seconds; a machine with other work needs several
ANSWER_DEADLINE = 30.0


class Tab:
    """One page. What it logs, and what its policy stops, is in ``complaints``."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session = ""
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def open(self) -> None:
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")

    async def close(self) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command; RuntimeError with its error."""
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        async with asyncio.timeout(ANSWER_DEADLINE):
            return await answer

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                break
            data = message.json()
            if "id" in data:
                answer = self._waiting.pop(data["id"])
                if "error" in data:
                    answer.set_exception(RuntimeError(str(data["error"])))
                else:
                    answer.set_result(data["result"])
            elif data["method"] == "Page.loadEventFired":
                self._loaded.set()
            elif data["method"] == "Network.requestWillBeSent":
                self.requests.append(data["params"]["request"]["url"])
            elif data["method"] == "Log.entryAdded":
                self.complaints.append(data["params"]["entry"]["text"])
            elif data["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(data["params"]["exceptionDetails"]))

    # --- what tests do

    async def go(self, url: str) -> None:
        """Load a page."""
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(ANSWER_DEADLINE):
            await self._loaded.wait()

    async def reloaded(self, action: str) -> None:
        """Evaluate what leads to another page, and wait for that."""
        self._loaded.clear()
        await self.value(action)
        async with asyncio.timeout(ANSWER_DEADLINE):
            await self._loaded.wait()

    async def value(self, expression: str) -> Any:
        """What JavaScript makes of it; promises are awaited."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    async def without_scripts(self) -> None:
        await self.call("Emulation.setScriptExecutionDisabled", value=True)

    async def look(self, *, dark: bool = False, width: int = 1280, height: int = 900) -> None:
        """Choose the colour scheme and the size of the window."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def picture(self) -> bytes:
        """The whole page as PNG."""
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Tab]:
    """A tab of a fresh Chromium."""
    program = shutil.which("chromium")
    assert program is not None, "make test-tools installs chromium"
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program,
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--hide-scrollbars"),
            *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port, path = await _found(Path(profile) / "DevToolsActivePort")
            async with (
                ClientSession() as session,
                session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0) as socket,
            ):
                tab = Tab(socket)
                await tab.open()
                try:
                    yield tab
                finally:
                    await tab.close()
        finally:
            process.terminate()
            await process.wait()


async def _found(file: Path) -> tuple[int, str]:
    """Where Chromium listens, once it has said so."""
    async with asyncio.timeout(START_DEADLINE):
        while True:
            found = await asyncio.to_thread(_written, file)
            if found is not None:
                return found
            await asyncio.sleep(0.05)


def _written(file: Path) -> tuple[int, str] | None:
    with contextlib.suppress(OSError, ValueError):
        port, path = file.read_text().split("\n")
        return int(port), path
    return None
