"""Regexes as nginx reads them (PCRE), written so that Python's ``re`` means the same.

nginx compiles without UTF, so patterns and subjects are bytes and only ASCII has case. This module
must not know where a regex is used.
Source: pcre2pattern(3); https://docs.python.org/3/library/re.html
"""

from __future__ import annotations

import re

_ESCAPES = {
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    "N": r"[^\n]",
    "R": r"(?:\r\n|[\n\x0b\x0c\r\x85])",
    "e": r"\x1b",
}
_SETS = {"h": r"\t\x20\xa0", "v": r"\n\x0b\x0c\r\x85"}
_CLASS_ESCAPES = {"b": r"\x08", "e": r"\x1b", **_SETS}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t\x20",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r"\t\n\x0b\x0c\r\x20",
    "upper": "A-Z",
    "word": r"\w",
    "xdigit": "0-9A-Fa-f",
}

_HEX = re.compile(r"x(?:\{([0-9A-Fa-f]{1,2})\}|([0-9A-Fa-f]{0,2}))")
_OCTAL = re.compile(r"o\{([0-7]{1,3})\}")
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_NAMED_GROUP = re.compile(rf"\((?:\?P?<({_NAME})>|\?'({_NAME})')")
_NAMED_REFERENCE = re.compile(rf"[kg](?:<({_NAME})>|'({_NAME})'|\{{({_NAME})\}})")
_NUMBERED_REFERENCE = re.compile(r"g(?:\{([1-9][0-9]?)\}|([1-9][0-9]?))")
_POSIX_CLASS = re.compile(r"\[:(\^?)([a-z]+):\]")
_OPEN_QUANTIFIER = re.compile(r"\{,[0-9]+\}")


def compile_regex(pattern: str, *, ignore_case: bool = False) -> re.Pattern[bytes]:
    """A PCRE pattern for ``search`` on bytes; ``~*`` in nginx is ``ignore_case``.

    Raises ValueError with the reason if PCRE's or Python's grammar is broken.
    """
    flags = re.IGNORECASE if ignore_case else 0
    try:
        return re.compile(translate(pattern).encode(), flags)
    except re.error as error:
        raise ValueError(f"bad regex {pattern!r}: {error}") from error


def translate(pattern: str) -> str:
    """The same regex for Python's ``re`` over bytes (encode it as UTF-8 and compile).

    Raises ValueError for what ``re`` cannot express (``\\K``, ``\\G``, ``\\X``, ``\\C``).
    """
    out: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            text, position = _escape(pattern, position + 1)
        elif character == "[":
            text, position = _class(pattern, position)
        elif pattern.startswith("(?#", position):
            end = pattern.find(")", position)
            if end < 0:
                raise ValueError("a comment (?#...) without an end")
            text, position = "", end + 1
        elif found := _NAMED_GROUP.match(pattern, position):
            text, position = f"(?P<{found[1] or found[2]}>", found.end()
        elif found := _OPEN_QUANTIFIER.match(pattern, position):
            # PCRE before 10.43 takes {,n} literally, Python as {0,n}.
            text, position = "\\" + found[0], found.end()
        else:
            text, position = character, position + 1
        out.append(text)
    return "".join(out)


def _escape(pattern: str, position: int) -> tuple[str, int]:
    """What stands after a backslash, outside a class."""
    letter = pattern[position : position + 1]
    if letter == "Q":
        end = pattern.find("\\E", position)
        quoted = pattern[position + 1 : end if end >= 0 else None]
        return re.escape(quoted), end + 2 if end >= 0 else len(pattern)
    if letter == "E":
        return "", position + 1
    if letter in ("K", "G", "X", "C"):
        raise ValueError(f"\\{letter} is not supported in regexes")
    if found := _NAMED_REFERENCE.match(pattern, position):
        return f"(?P={found[1] or found[2] or found[3]})", found.end()
    if found := _NUMBERED_REFERENCE.match(pattern, position):
        return f"(?:\\{found[1] or found[2]})", found.end()
    if letter in _ESCAPES:
        return _ESCAPES[letter], position + 1
    if letter.lower() in _SETS:
        return f"[{'^' if letter.isupper() else ''}{_SETS[letter.lower()]}]", position + 1
    return _shared_escape(pattern, position)


def _shared_escape(pattern: str, position: int) -> tuple[str, int]:
    """An escape that means the same inside and outside a class."""
    if found := _HEX.match(pattern, position):
        return f"\\x{(found[1] or found[2]).zfill(2)}", found.end()
    if found := _OCTAL.match(pattern, position):
        return f"\\x{int(found[1], 8) & 255:02x}", found.end()
    if pattern[position : position + 1] == "c" and position + 1 < len(pattern):
        return f"\\x{ord(pattern[position + 1].upper()) ^ 0x40:02x}", position + 2
    return "\\" + pattern[position : position + 1], position + 1


def _class(pattern: str, position: int) -> tuple[str, int]:
    """A bracketed class; what Python may one day read as set operations is escaped."""
    out = ["["]
    position += 1
    if pattern.startswith("^", position):
        out.append("^")
        position += 1
    if pattern.startswith("]", position):
        out.append("\\]")
        position += 1
    while position < len(pattern):
        character = pattern[position]
        if character == "]":
            return "".join(out) + "]", position + 1
        if character == "\\":
            text, position = _class_escape(pattern, position + 1)
        elif found := _POSIX_CLASS.match(pattern, position):
            if found[1] or found[2] not in _POSIX:
                raise ValueError(f"{found[0]} is not supported in a character class")
            text, position = _POSIX[found[2]], found.end()
        else:
            text, position = ("\\" if character in "[&~|" else "") + character, position + 1
            if character == "-" and pattern.startswith("-", position):
                if out[-1] in ("[", "^"):  # [--/] is a range that begins with a dash
                    text = "\\-"
                else:  # [+--] is one that ends with it
                    text, position = "-\\-", position + 1
        out.append(text)
    raise ValueError("missing ] of a character class")


def _class_escape(pattern: str, position: int) -> tuple[str, int]:
    letter = pattern[position : position + 1]
    if letter == "E":
        return "", position + 1
    if letter in ("Q", "H", "V", "N", "R", "X"):
        raise ValueError(f"\\{letter} is not supported in a character class")
    if letter in _CLASS_ESCAPES:
        return _CLASS_ESCAPES[letter], position + 1
    return _shared_escape(pattern, position)
