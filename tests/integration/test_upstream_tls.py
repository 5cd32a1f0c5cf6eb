"""TLS to servers: verified unless told otherwise."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import Proxy
from tests.support.certificates import make_certificate

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


@asynccontextmanager
async def tls_server(directory: Path, **tls: Any) -> AsyncIterator[Proxy]:
    """A proxy before a server that shows a certificate for ``worker.example``."""
    certificate, key = make_certificate(directory, "worker", "worker.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    written = {key: str(certificate) if value is ... else value for key, value in tls.items()}
    pool = {"servers": [{"address": f"127.0.0.1:{port}"}], "tls": written}
    routes = [{"name": "all", "location": "/", "pool": "pool"}]
    async with Proxy({"pools": {"pool": pool}, "routes": routes}) as proxy:
        yield proxy
    server.close()


@pytest.mark.parametrize(
    ("tls", "status"),
    [
        ({"ca": ..., "server_name": "worker.example"}, 200),
        ({"verify": "off"}, 200),
        ({"ca": ...}, 502),  # the address is not in the certificate
        ({"server_name": "worker.example"}, 502),  # nobody trusts it
        ({"ca": ..., "server_name": "other.example"}, 502),
    ],
)
async def test_a_server_is_verified(tls: dict[str, Any], status: int, tmp_path: Path) -> None:
    async with tls_server(tmp_path, **tls) as proxy:
        client = await proxy.client(GET)
        told, body = await client.received()
    assert told == status
    if status == 200:
        assert body == b"x" * 200_000
