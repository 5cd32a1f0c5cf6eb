"""``map`` blocks: those that something else reads, with all that they read themselves.

Source: https://nginx.org/en/docs/http/ngx_http_map_module.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from synproxy.config.pcre import compile_regex
from synproxy.config.variable_names import is_builtin, variable_names_in
from synproxy.nginx.draft import Said
from synproxy.nginx.report import Report
from synproxy.nginx.templates import Names
from synproxy.nginx.tree import Directive

_PARAMETERS = {"default", "hostnames", "include", "volatile"}


class Maps:
    """The maps of one http block, by the variable that they make."""

    def __init__(self, http: Directive, report: Report) -> None:
        self._report = report
        self._blocks = {
            one.args[1].removeprefix("$").lower(): one
            for one in http.all("map")
            if len(one.args) == 2 and one.block is not None
        }
        self.done: dict[str, object] = {}
        """Their sections by name, in the order in which they were needed."""
        self.renamed = {name: f"nginx_{name}" for name in self._blocks if is_builtin(name)}

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._blocks

    def in_file_order(self) -> dict[str, object]:
        """What was needed, in the order of the nginx configuration."""
        order = [self.renamed.get(name, self.written(name)) for name in self._blocks]
        known = {name: self.done[name] for name in order if name in self.done}
        return known | self.done

    def written(self, name: str) -> str:
        """The name of a map as it was declared."""
        return self._blocks[name.lower()].args[1].removeprefix("$")

    def names(self, texts: Mapping[str, str], kept: frozenset[str] = frozenset()) -> Names:
        """What variables mean where nothing is known but the maps, ``texts`` and groups."""
        maps = frozenset(name for name in self._blocks if name not in self.renamed)
        return Names(texts, self.renamed, maps | kept)

    def need(self, text: str, texts: Mapping[str, str]) -> None:
        """Carry over the maps that ``text`` (already translated) reads.

        :raises ValueError: one of them cannot be.
        """
        ours = {new: old for old, new in self.renamed.items()}
        for name in variable_names_in(text):
            old = ours.get(name, name.lower())
            if old in self._blocks and self.renamed.get(old, self.written(old)) not in self.done:
                self._convert(old, texts)

    def results(self, name: str) -> list[tuple[Directive, str]]:
        """Every value of a map, as nginx writes it, with its line."""
        block = self._blocks[name.lower()]
        found = [
            (one, one.args[0])
            for one in block.block or ()
            if len(one.args) == 1 and one.name != "include"
        ]
        if not any(one.name == "default" for one in block.block or ()):
            found.append((block, ""))
        return found

    def _convert(self, name: str, texts: Mapping[str, str]) -> None:
        block = self._blocks[name]
        written = self.renamed.get(name, self.written(name))
        source = self.names(texts).translate(block.args[0])
        values: dict[str, object] = {}
        section: dict[str, object] = {"source": source}
        self.done[written] = Said(section, f"{block.place}: map {' '.join(block.args)}")
        reads = [source]
        has_hostnames = any(one.name == "hostnames" and not one.args for one in block.block or ())
        for line in _ordered(block, has_hostnames):
            self._report.claim(line)
            if not line.args:
                continue  # hostnames, volatile
            key = _hostname(line.name) if has_hostnames else line.name
            groups = _groups(line, key)
            value = self.names(texts, groups).translate(line.args[0])
            reads.append(value)
            if line.name == "default":
                section["default"] = value
            else:
                values[key] = Said(value, "")
        if values:
            section["values"] = values
        self._report.claim(block)
        if written != self.written(name):
            self._report.differs(block, f"${name} is a variable of ours: the map is ${written}")
        for text in reads:
            self.need(text, texts)


def _groups(line: Directive, key: str) -> frozenset[str]:
    """The groups of a key that is a regex, which its value may read."""
    if not key.startswith("~"):
        return frozenset()
    try:
        regex = compile_regex(key[1:].removeprefix("*"), ignore_case=key.startswith("~*"))
    except ValueError as error:
        raise ValueError(f"the regex in {line.place} cannot be read: {error}") from error
    numbers = (str(number) for number in range(1, regex.groups + 1))
    return frozenset(name.lower() for name in (*regex.groupindex, *numbers))


def _ordered(block: Directive, hostnames: bool) -> list[Directive]:
    """The lines in the order in which they are tried: with ``hostnames``, masks before regexes,
    longer ones first, those with a star in front before those with one at the end."""
    found = list(block.block or ())
    if not hostnames:
        return found

    def rank(line: Directive) -> tuple[int, int]:
        key = line.name
        if key.startswith("~"):
            return 3, 0
        if key.startswith(("*.", ".")):
            return 1, -len(key)
        return (2, -len(key)) if key.endswith(".*") else (0, 0)

    return sorted(found, key=rank)


def _hostname(key: str) -> str:
    """A mask as the regex that means the same."""
    if key.startswith("*."):
        return rf"~*^.+\.{re.escape(key[2:])}$"
    if key.startswith("."):
        return rf"~*^(.+\.)?{re.escape(key[1:])}$"
    if key.endswith(".*"):
        return rf"~*^{re.escape(key[:-2])}\..+$"
    return key
