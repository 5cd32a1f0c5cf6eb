"""Directives and blocks with their places, read from a file and all that it includes.

Must not know what directives mean, but for ``include``, and which never have a block.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from synproxy.config.loader import read_text
from synproxy.config.wording import quoted
from synproxy.errors import ConfigError, Problem
from synproxy.nginx.directives import is_simple
from synproxy.nginx.lexer import Token, tokens

MAX_DEPTH = 50
"""Blocks in blocks and files in files; a file that includes itself ends here."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive; ``block`` is what its braces hold, None for one that ends in ``;``."""

    name: str
    args: tuple[str, ...]
    file: str
    line: int
    column: int
    block: tuple[Directive, ...] | None = None

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.line}"

    @property
    def text(self) -> str:
        """As it is written, on one line; of a block its first line."""
        words = " ".join([self.name, *map(_shown, self.args)])
        return words + (" {...}" if self.block is not None else ";")

    def all(self, *names: str) -> Iterator[Directive]:
        """The directives directly inside with one of these names."""
        return (one for one in self.block or () if one.name in names)

    def last(self, name: str) -> Directive | None:
        """The last directive directly inside with this name."""
        return next(reversed([*self.all(name)]), None)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole configuration: the directives of the main context, and the files they come from."""

    directives: tuple[Directive, ...]
    files: tuple[str, ...]
    missing: tuple[Directive, ...]
    """The ``include`` directives whose file does not exist."""


def read(path: Path, root: Path | None = None) -> Configuration:
    """Read ``path`` with its includes, relative to its directory as nginx does.

    ``root`` is put before absolute paths of includes: a container's file system seen from outside.

    :raises ConfigError: a file cannot be read, or is not nginx's syntax.
    """
    reader = _Reader(path.parent, root)
    return Configuration(tuple(reader.file(path, 0)), tuple(reader.files), tuple(reader.missing))


class _Reader:
    def __init__(self, prefix: Path, root: Path | None) -> None:
        self._prefix = prefix
        self._root = root
        self.files: list[str] = []
        self.missing: list[Directive] = []

    def file(self, path: Path, depth: int) -> list[Directive]:
        file = str(path)
        words = tokens(read_text(path), file)
        self.files.append(file)
        return self._block(words, file, None, depth)

    def _block(
        self, words: Iterator[Token], file: str, opened: Token | None, depth: int
    ) -> list[Directive]:
        """Directives up to the ``}`` for ``opened``, or up to the end of the file."""
        found: list[Directive] = []
        line: list[Token] = []
        for token in words:
            if not token.mark:
                line.append(token)
                continue
            if token.text == "}":
                if line or opened is None:
                    raise _error(file, token, 'unexpected "}"')
                return found
            if not line:
                raise _error(file, token, f"unexpected {quoted(token.text)}")
            name, *args = line
            block = None
            if token.text == "{":
                if is_simple(name.text):
                    raise _error(file, name, f'"{name.text}" is not terminated by ";"')
                if depth == MAX_DEPTH:
                    raise _error(file, token, f"more than {MAX_DEPTH} blocks in each other")
                block = tuple(self._block(words, file, token, depth + 1))
            texts = tuple(arg.text for arg in args)
            directive = Directive(name.text, texts, file, name.line, name.column, block)
            line = []
            found += self._expand(directive, depth)
        if line:
            raise _error(file, line[0], 'unexpected end of file, expecting ";" or "}"')
        if opened is not None:
            raise _error(file, opened, 'unexpected end of file: the "}" of this block is missing')
        return found

    def _expand(self, directive: Directive, depth: int) -> list[Directive]:
        if directive.name != "include" or directive.block is not None:
            return [directive]
        if len(directive.args) != 1:
            raise _at(directive, "include needs one path")
        if depth >= MAX_DEPTH:
            raise _at(directive, f"files include each other more than {MAX_DEPTH} deep")
        pattern = self._located(directive.args[0])
        if glob.has_magic(pattern):
            paths = sorted(glob.glob(pattern))  # glob(3) sorts; none is no mistake
        elif Path(pattern).is_file():
            paths = [pattern]
        else:
            self.missing.append(directive)
            return []
        return [one for path in paths for one in self.file(Path(path), depth + 1)]

    def _located(self, written: str) -> str:
        if not written.startswith("/"):
            return str(self._prefix / written)
        return str(self._root / written.lstrip("/")) if self._root else written


def _shown(word: str) -> str:
    plain = word and not any(char in " \t\r\n;{}\"'" for char in word)
    return word if plain else "'" + word.replace("'", "\\'").replace("\n", "\\n") + "'"


def _error(file: str, token: Token, message: str) -> ConfigError:
    return ConfigError([Problem(file, token.line, token.column, message)])


def _at(directive: Directive, message: str) -> ConfigError:
    return ConfigError([Problem(directive.file, directive.line, directive.column, message)])
