"""``make screenshots``: the status page in docs/images, light, dark, under load, server down."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

from PIL import Image

from tests.support.busy import Crowd, stage
from tests.support.chromium import Tab, chromium

IMAGES = Path(__file__).parents[2] / "docs/images"
EXPLAINED = "?method=GET&url=/_matrix/client/v3/sync?since%3Ds72&from=#explain"


async def main(directory: Path, warm_up: float) -> None:
    """Take all pictures; ``warm_up``: seconds of load before the first of them."""

    async def save(tab: Tab, name: str) -> None:
        picture = await tab.picture()
        await asyncio.to_thread(_save, picture, directory / f"status-{name}.png")

    async with stage(children=2) as running, chromium() as tab:
        await tab.look()
        async with Crowd(running.port, asking=60, syncing=150, pause=0.3):
            await asyncio.sleep(warm_up)
            await tab.go(running.page)
            await save(tab, "load-light")
            await tab.look(dark=True)
            await tab.go(running.page)
            await save(tab, "load-dark")
            await running.stop_worker("normal_sync2")
            await asyncio.sleep(14)  # its restart_hold, and some requests after that
            await tab.go(running.page)
            await save(tab, "server-down-dark")
            await tab.look()
            await tab.go(running.page + EXPLAINED)
            await save(tab, "server-down-light")


def _save(picture: bytes, file: Path) -> None:
    """With few colours, for a page has no more, and a repository keeps every version."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        file, optimize=True
    )


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    asyncio.run(main(IMAGES, float(sys.argv[1]) if len(sys.argv) > 1 else 75.0))
