"""Sockets that are connected, and on which something has been said, before anybody reads them."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable


async def connected_socket(
    loop: asyncio.AbstractEventLoop, hosts: Iterable[str], port: int, first: bytes
) -> socket.socket:
    """A socket that is connected to the first of these hosts' addresses that takes a connection,
    with ``first`` sent.

    :raises OSError: none does.
    """
    failure = OSError(errno.EADDRNOTAVAIL, "there is no address")
    for host in hosts:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, _, _, address in found:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
            try:
                await loop.sock_connect(sock, address)
                if first:
                    await loop.sock_sendall(sock, first)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
    raise failure
