"""What became of one hostile request, and whether that is right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.hostile.readers import AmbiguousError, Message, agreed, fields_of
from tests.support.client import CHUNK_SIZE, STATUS_LINE


@dataclass(frozen=True, slots=True)
class Outcome:
    """``statuses``: of the final answers, in order. ``served``: requests that reached a server
    whole. ``cut``: those that it saw the beginning of."""

    statuses: tuple[int, ...]
    served: tuple[Message, ...]
    cut: int
    closed: bool

    @property
    def verdict(self) -> str:
        """Of the first request, as the peers' verdicts are: F: a server answered it. R: refused."""
        return "F" if self.statuses and self.statuses[0] < 400 else "R"


def requests_by_address(streams: Iterable[bytes]) -> dict[bytes, list[Message]]:
    """What server connections carried, by the address of the client in X-Forwarded-For.

    :raises AmbiguousError: not the one canonical form, or not exactly one such field.
    """
    found: dict[bytes, list[Message]] = defaultdict(list)
    for stream in streams:
        for head, message in agreed(stream):
            values = [value for name, value in fields_of(head) if name == b"x-forwarded-for"]
            if len(values) != 1:
                raise AmbiguousError(f"X-Forwarded-For: {values}")
            found[values[0]].append(message)
    return found


def outcome(
    requests: Sequence[Message], answers: bytes, log: Sequence[tuple[bytes, int]], *, closed: bool
) -> Outcome:
    """``requests``: what servers got of it. ``answers``: what the client got. ``log``: method and
    status of each logged exchange.

    :raises AssertionError: a promise of synproxy is broken, whatever the request was.
    """
    served = tuple(message for message in requests if message.body is not None)
    cut = len(requests) - len(served)
    statuses = tuple(_statuses(answers, [method for method, _ in log]))
    logged = tuple(status for _, status in log if status != 499)
    assert statuses == logged, f"answered {statuses}, logged {logged}"
    good = sum(status < 400 for status in statuses)
    assert len(served) <= good, f"{len(served)} requests at servers, {good} answers from them"
    if any(status >= 400 for status in statuses[:-1]):
        raise AssertionError(f"{statuses}: the connection went on after a refusal")
    if statuses and statuses[-1] >= 400:
        assert closed, f"{statuses}: not closed after a refusal"
    return Outcome(statuses, served, cut, closed)


def _statuses(answers: bytes, methods: Sequence[bytes]) -> list[int]:
    """Of the final answers; each must be well-formed and complete."""
    statuses: list[int] = []
    while answers:
        head, end, answers = answers.partition(b"\r\n\r\n")
        line = STATUS_LINE.fullmatch(head.partition(b"\r\n")[0])
        assert line is not None, f"status line {head[:80]!r}"
        assert end, f"a head that does not end: {head!r}"
        status = int(line[2])
        if status < 200:
            continue
        fields = dict(fields_of(head))
        method = methods[len(statuses)] if len(statuses) < len(methods) else b""
        statuses.append(status)
        if method == b"HEAD" or status in (204, 304):
            continue
        if fields.get(b"transfer-encoding") == b"chunked":
            while True:
                size, _, answers = answers.partition(b"\r\n")
                assert CHUNK_SIZE.fullmatch(size), f"chunk size {size!r}"
                count = int(size, 16)
                assert answers[count : count + 2] == b"\r\n", "a chunk that is cut"
                answers = answers[count + 2 :]
                if count == 0:
                    break
        else:
            count = int(fields[b"content-length"])
            assert len(answers) >= count, "an answer that is cut"
            answers = answers[count:]
    return statuses
