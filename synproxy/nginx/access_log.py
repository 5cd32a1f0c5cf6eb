"""Lines of nginx's access log, read by the ``log_format`` that they were written with.

Must not know what becomes of a request.
Source: https://nginx.org/en/docs/http/ngx_http_log_module.html
"""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from synproxy.config.variable_names import template_parts

COMBINED = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent"'
)
"""nginx's predefined format."""

MAX_LINE = 1 << 16
"""Bytes of a line that are read; a longer one is not understood."""

_GZIP = b"\x1f\x8b"
_ESCAPED = re.compile(r"\\x([0-9A-Fa-f]{2})")
_SEVERAL = ("upstream_",)
_LIST = r"(?:[^ ]*[^ ,](?:, | : ))*[^ ]+"


class LogFormat:
    """A ``log_format`` as nginx writes it, without ``escape=``. Raises ValueError."""

    def __init__(self, text: str) -> None:
        parts = template_parts(text)
        self.variables = tuple(name.lower() for name, is_name in parts if is_name)
        if "request" not in self.variables and not {"request_method", "request_uri"} <= set(
            self.variables
        ):
            raise ValueError("the format needs $request, or $request_method and $request_uri")
        pattern: list[str] = []
        seen: set[str] = set()
        for index, (part, is_name) in enumerate(parts):
            if not is_name:
                pattern.append(re.escape(part))
                continue
            following = parts[index + 1][0][:1] if index + 1 < len(parts) else ""
            if index + 1 < len(parts) and parts[index + 1][1]:
                raise ValueError(f"nothing stands between ${part} and ${parts[index + 1][0]}")
            name = part.lower()
            group = f"(?P<{name}>" if name not in seen else "(?:"
            seen.add(name)
            pattern.append(f"{group}{_value(name, following)})")
        self._pattern = re.compile("".join(pattern))

    def read(self, line: str) -> dict[str, str] | None:
        """The values by variable, without those that are ``-``; None: the line is another's."""
        found = self._pattern.fullmatch(line)
        if found is None:
            return None
        return {
            name: _ESCAPED.sub(lambda byte: chr(int(byte[1], 16)), value)
            for name, value in found.groupdict().items()
            if value != "-"
        }


def _value(name: str, following: str) -> str:
    """What a value may be: nothing in it can be taken for what follows, so that no line takes more
    than one try."""
    if name.startswith(_SEVERAL) and following in (" ", ""):
        return _LIST
    return f"[^{re.escape(following)}]*" if following else ".*"


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A log, compressed or not; ``-`` is standard input. Raises OSError."""
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    with path.open("rb") as stream:
        if stream.peek(2)[:2] == _GZIP:
            with gzip.open(stream) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield stream


def lines(stream: BinaryIO) -> Iterator[str]:
    """The lines of a log without their end; of one that is too long, its beginning."""
    while line := stream.readline(MAX_LINE):
        rest = line
        while len(rest) == MAX_LINE and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE)
        yield line.decode("latin-1").rstrip("\r\n")
