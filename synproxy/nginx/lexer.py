"""The words of an nginx configuration file, cut as nginx cuts them.

Must not know what a directive is called. Source: ngx_conf_read_token() in
src/core/ngx_conf_file.c, release 1.22; syntax at https://nginx.org/en/docs/beginners_guide.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synproxy.config.wording import quoted
from synproxy.errors import ConfigError, Problem

MAX_TOKEN = 4096
"""Bytes; nginx reads through a buffer of this size (NGX_CONF_BUFFER) and refuses longer words."""

_SPACE = " \t\r\n"
_ESCAPES = {'"': '"', "'": "'", "\\": "\\", "t": "\t", "r": "\r", "n": "\n"}
_LUA = "_by_lua_block"


@dataclass(frozen=True, slots=True)
class Token:
    """A word, or one of ``;``, ``{`` and ``}`` with ``mark`` set; its place counts from 1."""

    text: str
    line: int
    column: int
    mark: bool = False


def tokens(text: str, file: str) -> Iterator[Token]:
    """Every word and mark of ``text``. Raises ConfigError at the first that cannot be one."""
    return _Lexer(text, file).run()


class _Lexer:
    """A position in one file that moves on."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._at = 0
        self._line = 1
        self._line_start = 0

    def run(self) -> Iterator[Token]:
        text, end = self._text, len(self._text)
        while self._at < end:
            char = text[self._at]
            if char in _SPACE:
                self._step()
            elif char == "#":
                newline = text.find("\n", self._at)
                self._at = end if newline < 0 else newline
            elif char in ";{}":
                yield Token(char, self._line, self._column, mark=True)
                self._step()
            else:
                token = self._quoted(char) if char in "\"'" else self._bare()
                yield token
                if token.text.endswith(_LUA):
                    yield from self._lua()

    @property
    def _column(self) -> int:
        return self._at - self._line_start + 1

    def _step(self) -> None:
        if self._text[self._at] == "\n":
            self._line += 1
            self._line_start = self._at + 1
        self._at += 1

    def _fail(self, message: str, line: int, column: int) -> ConfigError:
        return ConfigError([Problem(self._file, line, column, message)])

    def _token(self, start: int, end: int, line: int, column: int) -> Token:
        raw = self._text[start:end]
        if len(raw.encode()) > MAX_TOKEN:
            raise self._fail(f"a word of more than {MAX_TOKEN} bytes", line, column)
        return Token(_unescape(raw), line, column)

    def _quoted(self, quote: str) -> Token:
        line, column = self._line, self._column
        self._step()
        start = self._at
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "\\":
                self._step()
            elif char == quote:
                token = self._token(start, self._at, line, column)
                self._step()
                self._check_after_quote()
                return token
            if self._at < len(self._text):
                self._step()
        raise self._fail(f"the {quote} that opens a text here is never closed", line, column)

    def _check_after_quote(self) -> None:
        if self._at == len(self._text):
            return
        char = self._text[self._at]
        if char == ")":  # nginx: the end of a condition
            return
        if char not in _SPACE + ";{":
            message = f"unexpected {quoted(char)}: a space is missing after the closing quote"
            raise self._fail(message, self._line, self._column)

    def _bare(self) -> Token:
        line, column = self._line, self._column
        start = self._at
        variable = False
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "{" and variable:  # ${name}
                variable = False
                self._step()
                continue
            if char in _SPACE + ";{":
                break
            variable = char == "$"
            if char == "\\":
                self._step()
            if self._at < len(self._text):
                self._step()
        return self._token(start, self._at, line, column)

    def _lua(self) -> Iterator[Token]:
        """The body of OpenResty's block as one word: its braces are not nginx's."""
        while self._at < len(self._text) and self._text[self._at] in _SPACE:
            self._step()
        line, column, start, depth = self._line, self._column, self._at, 0
        while self._at < len(self._text):
            depth += {"{": 1, "}": -1}.get(self._text[self._at], 0)
            self._step()
            if depth == 0:
                break
        if depth or start == self._at:
            raise self._fail("a block of Lua without an end", line, column)
        yield Token(self._text[start + 1 : self._at - 1], line, column)
        yield Token(";", self._line, self._column, mark=True)


def _unescape(raw: str) -> str:
    """A backslash before a quote or a backslash is dropped, before any other character kept, but
    for tab, carriage return and newline."""
    if "\\" not in raw:
        return raw
    out: list[str] = []
    at = 0
    while at < len(raw):
        if raw[at] == "\\" and (known := _ESCAPES.get(raw[at + 1 : at + 2])) is not None:
            out.append(known)
            at += 2
        else:
            out.append(raw[at])
            at += 1
    return "".join(out)
