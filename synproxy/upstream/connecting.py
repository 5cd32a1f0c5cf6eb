"""Sockets that are connected, and on which something has been said, before anybody reads them."""

from __future__ import annotations

import asyncio
import errno
import socket


async def connected_socket(
    loop: asyncio.AbstractEventLoop, host: str, port: int, first: bytes
) -> socket.socket:
    """A socket that is connected to the first of a host's addresses that takes a connection, with
    ``first`` sent.

    :raises OSError: none does.
    """
    failure = OSError(errno.EADDRNOTAVAIL, "the name has no address")
    for family, kind, _, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        try:
            await loop.sock_connect(sock, address)
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
