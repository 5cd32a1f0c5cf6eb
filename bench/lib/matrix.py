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

# What the same browser adds when it sends a message.
SEND_HEAD = REQUEST_HEAD.replace("GET ", "PUT ").replace(
    "Origin:", "Content-Type: application/json\r\nContent-Length: {length}\r\nOrigin:"
)

# The headers of an answer of Synapse 1.163.2, in its order and spelling.
ANSWER_HEAD = (
    "HTTP/1.1 200 OK\r\n"
    "Server: Synapse/1.163.2\r\n"
    "Date: {date}\r\n"
    "Content-Type: application/json\r\n"
    "Cache-Control: no-cache, no-store, must-revalidate\r\n"
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n"
    "Access-Control-Allow-Headers: X-Requested-With, Content-Type, Authorization, Date\r\n"
    "Access-Control-Expose-Headers: Synapse-Trace-Id, Server\r\n"
    "Transfer-Encoding: chunked\r\n"
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


def send_body(message: str) -> bytes:
    """The content of an ``m.room.message`` event."""
    return _json({"msgtype": "m.text", "body": message}).encode()


def send_request(transaction: str, user_token: str, body: bytes) -> bytes:
    """A whole ``PUT .../send`` request."""
    target = f"/_matrix/client/v3/rooms/!room:example.org/send/m.room.message/{transaction}"
    head = SEND_HEAD.format(target=target, token=user_token, length=len(body))
    return head.encode() + body


def text(size: int, rng: random.Random) -> str:
    """``size`` characters of a message."""
    return _text(rng, size)


def chunked_answer(body: bytes, now: float) -> bytes:
    """An answer as Twisted writes it: one chunk and the last one."""
    head = ANSWER_HEAD.format(date=formatdate(now, usegmt=True)).encode()
    return b"%s%x\r\n%s\r\n0\r\n\r\n" % (head, len(body), body)


def unchunk(data: bytes) -> bytes:
    """The content of a whole chunked body; raises ValueError when it is none."""
    content = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        content += data[:length]
        data = data[length + 2 :]
    return content


def closing(answer: bytes) -> bytes:
    """The same answer on a connection that closes after it."""
    return answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def sync_body(next_batch: str, size: int, rng: random.Random) -> bytes:
    """A sync answer of about ``size`` bytes whose ``check`` is the CRC of the rest.

    It compresses about as real ones do: names and structure repeat, text is text, every fourth
    event is encrypted.
    """
    events: list[dict[str, object]] = []
    answer: dict[str, object] = {
        "next_batch": next_batch,
        "device_one_time_keys_count": {"signed_curve25519": 50},
        "device_unused_fallback_key_types": ["signed_curve25519"],
        "rooms": {"join": {"!room:example.org": {"timeline": {"events": events}}}},
    }
    left = size - len(_json(answer)) - len(',"check":4000000000')
    while left > 700:
        events.append(_event(rng))
        left -= len(_json(events[-1])) + 1
    answer["pad"] = _text(rng, max(left - len(',"pad":""'), 0))
    return sealed(answer)


def _event(rng: random.Random) -> dict[str, object]:
    sender = f"@user{rng.randrange(40)}:example.org"
    content: dict[str, object]
    kind = rng.choice(("m.room.message", "m.room.message", "m.room.encrypted", "m.room.member"))
    if kind == "m.room.message":
        content = {"msgtype": "m.text", "body": _text(rng, rng.randrange(20, 200))}
    elif kind == "m.room.encrypted":
        content = {
            "algorithm": "m.megolm.v1.aes-sha2",
            "ciphertext": _noise(rng, rng.randrange(80, 200)),
            "session_id": _noise(rng, 32),
        }
    else:
        avatar = f"mxc://example.org/{_noise(rng, 18)}"
        content = {"membership": "join", "displayname": _text(rng, 12), "avatar_url": avatar}
    return {
        "type": kind,
        "sender": sender,
        "content": content,
        "origin_server_ts": 1_790_000_000_000 + rng.randrange(10**9),
        "unsigned": {"age": rng.randrange(10**6), "membership": "join"},
        "event_id": "$" + _noise(rng, 32),
    }


_VOCABULARY = (
    "the of and to in is you that it he was for on are as with his they at be this have from or "
    "one had by word but not what all were we when your can said there use an each which she do "
    "how their if will up other about out many then them these so some her would make like him "
    "into time has look two more write go see number no way could people my than first water been"
)
_WORDS = _VOCABULARY.split()


def _text(rng: random.Random, length: int) -> str:
    words = " ".join(rng.choices(_WORDS, k=length // 3 + 1))
    return words[:length]


def _noise(rng: random.Random, length: int) -> str:
    return base64.urlsafe_b64encode(rng.randbytes(length)).decode().rstrip("=")


def _json(answer: object) -> str:
    return json.dumps(answer, separators=(",", ":"))  # as Synapse writes it


def sealed(answer: dict[str, object]) -> bytes:
    """The answer as JSON with a checksum over everything else in it."""
    plain = _json(answer)
    return _json({**answer, "check": zlib.crc32(plain.encode())}).encode()


def unseal(body: bytes) -> dict[str, object]:
    """The answer; raises ValueError when a byte of it is not as it was sealed."""
    answer: dict[str, object] = json.loads(body)
    check = answer.pop("check", None)
    if check != zlib.crc32(_json(answer).encode()):
        raise ValueError("the body's checksum is wrong")
    return answer
