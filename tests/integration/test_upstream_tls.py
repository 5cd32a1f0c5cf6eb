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
async def tls_server(
    directory: Path,
    *names: str,
    days: int = 90,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    **tls: Any,
) -> AsyncIterator[Proxy]:
    """A proxy before a server that shows a certificate for these names; ``ca: ...`` trusts it."""
    certificate, key = make_certificate(directory, "worker", *names, days=days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.minimum_version = context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")

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
    try:
        async with Proxy({"pools": {"pool": pool}, "routes": routes}) as proxy:
            yield proxy
    finally:
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
    async with tls_server(tmp_path, "worker.example", **tls) as proxy:
        client = await proxy.client(GET)
        told, body = await client.received()
    assert told == status
    if status == 200:
        assert body == b"x" * 200_000


@pytest.mark.parametrize(
    ("name", "asked", "status"),
    [
        ("*.workers.example", "one.workers.example", 200),
        ("*.workers.example", "a.one.workers.example", 502),  # a wildcard stands for one label
        ("WORKER.example", "worker.EXAMPLE", 200),
        ("127.0.0.1", None, 200),  # the server's address, where no name is written
        ("127.0.0.2", None, 502),
        ("127.0.0.1", "worker.example", 502),
    ],
)
async def test_a_name_is_that_of_the_certificate(
    name: str, asked: str | None, status: int, tmp_path: Path
) -> None:
    async with tls_server(tmp_path, name, ca=..., server_name=asked) as proxy:
        client = await proxy.client(GET)
        assert (await client.received())[0] == status


@pytest.mark.parametrize(("tls", "status"), [({"ca": ...}, 502), ({"verify": "off"}, 200)])
async def test_a_certificate_that_has_ended_is_none(
    tls: dict[str, Any], status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tls["server_name"] = "worker.example"
    async with tls_server(tmp_path, "worker.example", days=-1, **tls) as proxy:
        client = await proxy.client(GET)
        assert (await client.received())[0] == status
    told = "connect: certificate verify failed: certificate has expired, pool pool, " in caplog.text
    assert told == (status == 502)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "status"), [(ssl.TLSVersion.TLSv1_2, 200), (ssl.TLSVersion.TLSv1_1, 502)]
)
async def test_old_versions_are_not_spoken_to_servers_either(
    version: ssl.TLSVersion, status: int, tmp_path: Path
) -> None:
    async with tls_server(tmp_path, "worker.example", version=version, verify="off") as proxy:
        client = await proxy.client(GET)
        assert (await client.received())[0] == status


async def test_a_server_that_speaks_plain_http_is_refused(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    pool = {"servers": [address], "tls": {"verify": "off"}}
    routes = [{"name": "all", "location": "/", "pool": "pool"}]
    async with Proxy({"pools": {"pool": pool}, "routes": routes}) as proxy:
        client = await proxy.client(GET)
        assert (await client.received())[0] == 502
    server.close()
