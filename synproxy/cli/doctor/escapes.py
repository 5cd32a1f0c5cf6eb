"""Do request-targets arrive byte for byte? Federation signatures cover them, ``%2F`` included.

Asked twice: of this configuration, in a synproxy of our own before a recorder, and of whatever
answers at the address that clients use, where Synapse's own words tell.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from synproxy.cli.doctor.asking import NoReplyError, ask
from synproxy.cli.doctor.finding import Finding, fail, ok, skip
from synproxy.cli.doctor.routing import way_of
from synproxy.config.model import Config, Pool
from synproxy.core.wheel import TimerWheel
from synproxy.downstream.connection import ClientConnection
from synproxy.explain.offline import Offline
from synproxy.proxy.generation import Generation
from synproxy.proxy.handler import ProxyHandler

TARGETS = (
    "/_matrix/federation/v1/event/%24a%2Fb%2Bc%3Aexample.org",
    "/_matrix/federation/v1/query/profile?user_id=%40a%2Fb%3Aexample.org&x=1+2;3",
    "/_matrix/client/v3/rooms/%21a%2F..%2Fb%3Aexample.org/state/m.room.member/%40c%3Aexample.org",
    "/_matrix//client/./v3/%73ync?",
)

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_TIMEOUT = 10.0  # seconds, for what happens inside of this process

Carry = Callable[[Config, list[str]], Awaitable[Mapping[str, str]]]
"""Sends targets through a synproxy; gives what the server got for each that was forwarded."""


async def carry(config: Config, targets: list[str]) -> dict[str, str]:
    """Through the data path itself, with one recorder in the place of all servers."""
    loop = asyncio.get_running_loop()
    recorded: list[str] = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        recorded.append(head.split(b" ")[1].decode())
        writer.write(_ANSWER)
        writer.close()

    with tempfile.TemporaryDirectory(prefix="synproxy-") as directory:
        server, front = Path(directory, "server"), Path(directory, "front")
        here = Pool.model_validate({"servers": [f"unix:{server}"]})
        pools = dict.fromkeys(config.pools, here)
        wheel = TimerWheel(loop.time())
        generation = Generation(config.model_copy(update={"pools": pools}), wheel)
        handler = ProxyHandler(generation, wheel, loop, None)
        arrived: dict[str, str] = {}
        async with (
            asyncio.timeout(_TIMEOUT),
            await asyncio.start_unix_server(record, server),
            await loop.create_unix_server(lambda: ClientConnection(handler), str(front)),
        ):
            for target in targets:
                recorded.clear()
                reader, writer = await asyncio.open_unix_connection(front)
                writer.write(
                    b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                    % target.encode()
                )
                await reader.read()
                writer.close()
                await writer.wait_closed()
                if recorded:
                    arrived[target] = recorded[0]
        generation.retire()
    return arrived


async def check_here(offline: Offline, carried: Carry = carry) -> Finding:
    """This version with this configuration."""
    targets = [target for target in TARGETS if way_of(offline, "GET", target).forwarded]
    if not targets:
        return skip("escapes", "this synproxy", "the configuration forwards no Matrix request")
    try:
        arrived = await carried(offline.config, targets)
    except (OSError, TimeoutError) as error:
        return skip("escapes", "this synproxy", f"cannot be tried: {error or 'no answer'}")
    for target in targets:
        if arrived.get(target) != target:
            found = arrived.get(target, "nothing")
            return fail(
                "escapes",
                "this synproxy",
                f"{target} reaches the server as {found}: federation signatures break",
                "report this as a bug of synproxy",
            )
    return ok("escapes", "this synproxy", f"{len(targets)} targets reach the server unchanged")


async def check_way_in(url: str | None, patience: float) -> Finding:
    """Everything between ``url`` and Synapse, by an alias that does not exist: Synapse repeats it
    in its error as it understood it."""
    if url is None:
        return skip("escapes", "the way in", "nobody answers")
    try:
        key = await ask(url, "/_matrix/key/v2/server", patience)
        name = key.json().get("server_name")
        if not isinstance(name, str):
            return skip("escapes", url, f"{key.status} to the server's name, which it needs")
        alias = f"#synproxy-doctor/%:{name}"
        target = "/_matrix/client/v3/directory/room/" + quote(alias, safe="")
        reply = await ask(url, target, patience)
    except NoReplyError as error:
        return skip("escapes", url, str(error))
    answer = reply.json()
    errcode, text = answer.get("errcode"), str(answer.get("error", ""))
    if errcode == "M_NOT_FOUND" and alias in text:
        return ok("escapes", url, "%2F and %25 reach Synapse unchanged")
    if errcode == "M_INVALID_PARAM":  # it does not begin with #, but with %23
        return fail("escapes", url, "%2F reaches Synapse as %252F: encoded twice", _IN_FRONT)
    if errcode == "M_UNRECOGNIZED":
        return fail("escapes", url, "%2F reaches Synapse as /: decoded on the way", _IN_FRONT)
    return skip(
        "escapes",
        url,
        f"{reply.status} {errcode or 'without an errcode'} does not tell how it arrived",
    )


_IN_FRONT = (
    "look at what stands between: nginx 'proxy_pass http://pool;' without a path, Apache"
    " 'nocanon' and AllowEncodedSlashes NoDecode, no URL normalisation at the CDN"
)
