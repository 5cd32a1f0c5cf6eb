"""What the documentation tells a reader to type: the commands in its `console` blocks."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^(?:sh|bash|shell|shell-session|zsh)$")
_INDENTED = re.compile(r"(?:\A|\n)\n((?: {4}[^\n]*\n)+)")
_PROGRAMS = re.compile(r"^ *(?:[#$] )?(?:sudo )?(?:synproxy|systemctl|make|curl|kill|nginx) ", re.M)
_SPAN = re.compile(r"(?<!`)`(synproxy [^`]+)`(?!`)")


@dataclass(frozen=True)
class Command:
    page: str
    line: str
    """As it is typed, continued lines joined."""

    @property
    def words(self) -> list[str]:
        """Up to the first pipe; without a comment."""
        lexer = shlex.shlex(self.line, posix=True, punctuation_chars="|;&")
        lexer.whitespace_split = True
        words = []
        for word in lexer:
            if word in ("|", "&&", ";"):
                break
            words.append(word)
        return words


def commands() -> list[Command]:
    return [
        Command(str(page.relative_to(ROOT)), line)
        for page in PAGES
        for _, language, text in _FENCE.findall(page.read_text(encoding="utf-8"))
        if language == "console"
        for line in _typed(text)
    ]


def _typed(text: str) -> list[str]:
    lines = text.replace("\\\n", "").splitlines()
    return [line[2:] for line in lines if line.startswith(("$ ", "# "))]


def hidden() -> list[str]:
    """Commands that stand where :func:`commands` does not see them."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for _, language, block in _FENCE.findall(text):
            if _SHELL.match(language) or (language == "" and _PROGRAMS.search(block)):
                found.append(f"{page.name}: ```{language} {block.strip()[:60]}")
        rest = _FENCE.sub("", text)
        found += [
            f"{page.name}: {block.strip()[:60]}"
            for block in _INDENTED.findall(rest)
            if _PROGRAMS.search(block)
        ]
    return found


def spans() -> list[Command]:
    """Commands of synproxy in the middle of a sentence."""
    return [
        Command(str(page.relative_to(ROOT)), " ".join(span.split()))
        for page in PAGES
        for span in _SPAN.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    ]
