"""``synproxy demo``: stand-in workers, a real ``synproxy run`` before them, and lines to try.

Must not know how requests are routed: it prints the tour, or sends it and compares.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from typing import Any

from synproxy.cli.terminal import Paint


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="try synproxy without a Synapse",
        description="Serve the shipped configuration with stand-ins for Synapse's workers.",
    )
    parser.add_argument("--port", type=_port, default=8008, metavar="N", help="0: any free one")
    parser.add_argument("--duration", type=float, metavar="S", help="end after so many seconds")
    parser.add_argument(
        "--check",
        action="store_true",
        help="send every request, say where it landed, and end; status 1 if one landed wrong",
    )
    parser.set_defaults(run=run)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError
    return port


def run(args: argparse.Namespace) -> int:
    try:
        return asyncio.run(_demo(args.port, args.duration, args.check))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    except TimeoutError:
        print("synproxy demo: synproxy run does not accept connections", file=sys.stderr)
    except OSError as error:
        print(f"synproxy demo: {error.strerror or error}", file=sys.stderr)
    return 1


async def _demo(port: int, duration: float | None, check: bool) -> int:
    from synproxy.demo import scene, stage, stand_in  # aiohttp: the other commands need it not

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    port = stage.reserve_port(port)
    shipped = scene.shipped_config()
    with stage.short_directory(scene.LONGEST_NAME) as directory:
        log = str(directory / "access.log") if check else "-"
        built = scene.build_scene(shipped, directory, port, log)
        config = directory / "synproxy.yaml"
        built.write(config)
        async with stand_in.StandIns(built.sockets), stage.proxy(config, port) as proxy:
            base = f"http://127.0.0.1:{port}"
            print(f"synproxy serves {base} with the shipped {shipped.name}.")
            print(f"{len(built.sockets)} stand-ins for Synapse's workers wait behind it.")
            print("Only the sockets, the port, the access log and the allowlists are changed: all")
            print("allowlists deny everyone here, because yours would let 127.0.0.1 in.")
            print(f"Its configuration is {config}.\n", flush=True)
            if check:
                return await _check(base, built.document)
            _print_tour(base)
            try:
                return await asyncio.wait_for(proxy.wait(), duration)
            except TimeoutError:
                return 0


def _print_tour(base: str) -> None:
    from synproxy.demo.tour import TOUR

    paint = Paint(sys.stdout)
    for step in TOUR:
        print(f"# {step.why}\n{paint(step.curl(base), 'bold')}\n")
    print("Each answer names the worker that gave it. What happens is logged here; Ctrl-C ends.")
    print(flush=True)


async def _check(base: str, document: Mapping[str, Any]) -> int:
    """Send the tour; 1 if a request landed where it must not."""
    import aiohttp
    from yarl import URL

    from synproxy.demo.scene import workers_of
    from synproxy.demo.tour import TOUR, Answer

    paint = Paint(sys.stdout)
    wrong, before = 0, ""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
        for step in TOUR:
            print(f"# {step.why}\n{paint(step.curl(base), 'bold')}")
            url = URL(base + step.path, encoded=True)
            async with client.request(
                step.method, url, headers=step.headers, data=step.body or None
            ) as response:
                answer = Answer(response.status, _decoded(await response.read()))
            workers = list(workers_of(document, step.pool)) if step.pool else []
            mistake = step.mistake(answer, workers, before)
            before = answer.worker
            wrong += bool(mistake)
            verdict = paint(f"WRONG: {mistake}", "red") if mistake else paint("right", "green")
            print(f"  {step.landed(answer)}: {verdict}\n", flush=True)
    print(f"{len(TOUR) - wrong} of {len(TOUR)} requests landed where they belong.")
    return 1 if wrong else 0


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
