"""Questions over HTTP, to servers and to the proxy itself, by aiohttp.

Must not know what an answer means. Targets go out byte for byte.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from synproxy.config.addresses import UnixAddress, parse_server

_BODY_LIMIT = 1 << 20  # bytes; no answer to our questions is longer
_FORWARDED = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"}
"""What Synapse expects of whoever stands in front of it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def server(self) -> str:
        """Who says to have answered: the ``Server`` field."""
        return self.headers.get("Server", "")

    def json(self) -> dict[str, Any]:
        """The JSON object in the body; empty if it holds none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class NoReplyError(Exception):
    """Nobody answered, or nothing that can be read; the text says why."""


async def ask(
    where: str, target: str, patience: float, headers: Mapping[str, str] | None = None
) -> Reply:
    """GET ``target`` from a server's address (``unix:/path``, ``host:port``) or an http URL.

    :raises NoReplyError: no answer within ``patience`` seconds, or none that is HTTP.
    """
    base, connector = "http://localhost", None
    if where.startswith("unix:"):
        connector = aiohttp.UnixConnector(where.removeprefix("unix:"), force_close=True)
    else:
        base = where if "://" in where else f"http://{where}"
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector or aiohttp.TCPConnector(force_close=True),
                timeout=aiohttp.ClientTimeout(total=patience),
                headers=_FORWARDED,
            ) as session,
            session.get(
                URL(base.rstrip("/") + target, encoded=True),
                headers=headers,
                allow_redirects=False,
            ) as response,
        ):
            body = b""
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > _BODY_LIMIT:
                    raise NoReplyError(f"an answer of more than {_BODY_LIMIT} bytes")
            return Reply(response.status, response.headers.copy(), body)
    except TimeoutError:
        raise NoReplyError(f"no answer within {patience:g} s") from None
    except aiohttp.ClientConnectorError as error:
        raise NoReplyError(reason_of(error.os_error)) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoReplyError(f"no HTTP answer: {error or type(error).__name__}") from None


def reason_of(error: OSError) -> str:
    """The kernel's words, without the addresses that asyncio adds."""
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


async def connect(address: str, patience: float) -> None:
    """Open a connection to a server and close it.

    :raises OSError: as connect(2), TimeoutError among them.
    """
    target = parse_server(address)
    if isinstance(target, UnixAddress):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            # Never in progress: it succeeds at once, or not, with EAGAIN if the queue is full.
            # asyncio would take that for success.
            probe.connect(target.path)
        return
    async with asyncio.timeout(patience):
        _, writer = await asyncio.open_connection(target.host, target.port)
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        return  # what the server does with an empty connection is no concern of ours
