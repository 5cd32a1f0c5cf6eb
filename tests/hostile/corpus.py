"""The collected hostile messages, and the class of each: what is wrong with it, by its own bytes.

Knows no proxy. Where the messages come from is told in ``data/README.md``.
"""

from __future__ import annotations

import json
import lzma
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

DATA: Final = Path(__file__).parent / "data"

PEERS: Final = ("nginx", "haproxy", "apache", "nghttpx")


@dataclass(frozen=True, slots=True)
class HostileRequest:
    """``peers``: R or F of each of ``PEERS``. ``consensus``: all-reject, late-reject (all refuse,
    some only after they had begun to forward), all-forward or differ."""

    id: str
    raw: bytes
    peers: str
    consensus: str

    @property
    def kind(self) -> str:
        return request_kind(self.raw)


@dataclass(frozen=True, slots=True)
class HostileAnswer:
    id: str
    raw: bytes

    @property
    def kind(self) -> str:
        return answer_kind(self.raw)


@cache
def hostile_requests() -> tuple[HostileRequest, ...]:
    lines = lzma.decompress((DATA / "requests.jsonl.xz").read_bytes()).decode().splitlines()
    return tuple(
        HostileRequest(
            row["id"],
            row["raw"].encode("latin-1"),
            "".join(row["peers"][peer] for peer in PEERS),
            row["consensus"],
        )
        for row in map(json.loads, lines)
    )


@cache
def hostile_answers() -> tuple[HostileAnswer, ...]:
    lines = (DATA / "responses.jsonl").read_text().splitlines()
    return tuple(
        HostileAnswer(row["id"], row["raw"].encode("latin-1")) for row in map(json.loads, lines)
    )


_REQUEST_LINE: Final = re.compile(
    rb"(?:\r\n)?[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [^\x00-\x20]+ HTTP/1\.[01]\r\n"
)
_CODING: Final = re.compile(rb"transf[^\r\n:]{0,8}e?r?.{0,2}encod", re.IGNORECASE | re.DOTALL)
_LENGTH: Final = re.compile(rb"content.{0,2}length", re.IGNORECASE | re.DOTALL)
_FIELD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")

REQUEST_KINDS: Final = (
    "length and coding in one message",
    "transfer coding",
    "length",
    "request line",
    "line ends, controls",
    "field syntax",
    "Host missing or repeated",
    "nothing of these",
)


def request_kind(raw: bytes) -> str:
    """The first of ``REQUEST_KINDS`` that its head looks like, however badly it is written."""
    head = raw.partition(b"\r\n\r\n")[0]
    coding, length = _CODING.search(head), _LENGTH.search(head)
    if coding and length:
        return REQUEST_KINDS[0]
    if coding:
        return REQUEST_KINDS[1]
    if length:
        return REQUEST_KINDS[2]
    if not _REQUEST_LINE.match(raw):
        return REQUEST_KINDS[3]
    if _BARE.search(head) or _CONTROL.search(head):
        return REQUEST_KINDS[4]
    fields = head.removeprefix(b"\r\n").split(b"\r\n")[1:]
    if not all(_FIELD.fullmatch(field) for field in fields):
        return REQUEST_KINDS[5]
    if sum(field.lower().startswith(b"host:") for field in fields) != 1:
        return REQUEST_KINDS[6]
    return REQUEST_KINDS[7]


ANSWER_KINDS: Final = ("status line", "line ends, controls", "101", "framing", "nothing of these")


def answer_kind(raw: bytes) -> str:
    head = raw.partition(b"\r\n\r\n")[0]
    if not re.match(rb"HTTP/1\.[01] [1-5][0-9][0-9] ", raw):
        return ANSWER_KINDS[0]
    if _BARE.search(head) or _CONTROL.search(head):
        return ANSWER_KINDS[1]
    if raw[9:12] == b"101":
        return ANSWER_KINDS[2]
    if _CODING.search(head) or _LENGTH.search(head):
        return ANSWER_KINDS[3]
    return ANSWER_KINDS[4]
