"""The Matrix traffic of the benchmarks: a browser's request, Synapse's answer, and their check.

Pure data and functions: no sockets, no clock.
"""

from __future__ import annotations

import base64
import json
import random
import zlib
from email.utils import formatdate

HOST = "matrix.example.org"

# 13 headers, as Firefox sends them for Element Web.
REQUEST_HEAD = (
    "GET {target} HTTP/1.1\r\n"
    f"Host: {HOST}\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: application/json\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Authorization: Bearer {token}\r\n"
    "Origin: https://app.element.io\r\n"
    "Connection: keep-alive\r\n"
    "Referer: https://app.element.io/\r\n"
    "Sec-Fetch-Dest: empty\r\n"
    "Sec-Fetch-Mode: cors\r\n"
    "Sec-Fetch-Site: cross-site\r\n"
    "Priority: u=4\r\n"
    "\r\n"
)

# The headers of an answer of Synapse 1.163.2, in its order and spelling.
ANSWER_HEAD = (
    "HTTP/1.1 200 OK\r\n"
    "Transfer-Encoding: chunked\r\n"
    "Server: Synapse/1.163.2\r\n"
    "Date: {date}\r\n"
    "Content-Type: application/json\r\n"
    "Cache-Control: no-cache, no-store, must-revalidate\r\n"
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n"
    "Access-Control-Allow-Headers: X-Requested-With, Content-Type, Authorization, Date\r\n"
    "Access-Control-Expose-Headers: Synapse-Trace-Id, Server\r\n"
    "\r\n"
)
CHECK_PREFIX = b"since=check"


def token(user: str) -> str:
    """An access token shaped like Synapse's: syt_<base64 localpart>_<random>_<crc>."""
    localpart = base64.b64encode(user.encode()).decode().rstrip("=")
    letters = random.Random(user).choices(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", k=20
    )
    return f"syt_{localpart}_{''.join(letters)}_{zlib.crc32(user.encode()) % 1000000:06x}"


def sync_request(since: str, timeout_ms: int, user: str) -> bytes:
    """A whole ``GET /sync`` request."""
    target = f"/_matrix/client/v3/sync?since={since}&timeout={timeout_ms}"
    return REQUEST_HEAD.format(target=target, token=token(user)).encode()


def chunked_answer(body: bytes, now: float) -> bytes:
    """An answer as Twisted writes it: one chunk and the last one."""
    head = ANSWER_HEAD.format(date=formatdate(now, usegmt=True)).encode()
    return b"%s%x\r\n%s\r\n0\r\n\r\n" % (head, len(body), body)


def closing(answer: bytes) -> bytes:
    """The same answer on a connection that closes after it."""
    return answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def sync_body(next_batch: str, size: int, rng: random.Random) -> bytes:
    """A sync answer of about ``size`` bytes whose ``check`` is the CRC of the rest."""
    events: list[dict[str, object]] = []
    answer: dict[str, object] = {
        "next_batch": next_batch,
        "device_one_time_keys_count": {"signed_curve25519": 50},
        "device_unused_fallback_key_types": ["signed_curve25519"],
        "rooms": {"join": {"!room:example.org": {"timeline": {"events": events}}}},
    }
    length = len(json.dumps(answer))
    while length < size - 200:
        events.append(
            {
                "type": "m.room.message",
                "sender": f"@user{rng.randrange(1000)}:example.org",
                "content": {"msgtype": "m.text", "body": rng.randbytes(rng.randrange(9, 99)).hex()},
                "origin_server_ts": 1_790_000_000_000 + rng.randrange(10**9),
                "event_id": "$" + base64.urlsafe_b64encode(rng.randbytes(32)).decode()[:43],
            }
        )
        length += len(json.dumps(events[-1])) + 2
    return sealed(answer)


def sealed(answer: dict[str, object]) -> bytes:
    """The answer as JSON with a checksum over everything else in it."""
    plain = json.dumps(answer)
    return json.dumps({**answer, "check": zlib.crc32(plain.encode())}).encode()


def unseal(body: bytes) -> dict[str, object]:
    """The answer; raises ValueError when a byte of it is not as it was sealed."""
    answer: dict[str, object] = json.loads(body)
    check = answer.pop("check", None)
    if check != zlib.crc32(json.dumps(answer).encode()):
        raise ValueError("the body's checksum is wrong")
    return answer
