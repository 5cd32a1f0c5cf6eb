"""Texts with nginx's variables, rewritten with those that synproxy has.

Must not know where a text stands. Source: https://nginx.org/en/docs/varindex.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from synproxy.config.variable_names import is_builtin, template_parts

OURS = {"room_id", "synapse_user", "x_matrix_origin"}
"""Builtin variables that nginx has not: a variable of an nginx file with such a name is another."""

SYNAPSE_USER = "\0synapse_user"
"""Stands in ``Names.texts`` for a variable that is $synapse_user here."""

_SAME = {
    "binary_remote_addr": "remote_addr",
    "content_type": "http_content_type",
    "content_length": "http_content_length",
}


class UnknownVariableError(ValueError):
    """``name`` has no counterpart."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"the variable ${name} has no counterpart here")


@dataclass(frozen=True, slots=True)
class Names:
    """What the variables of one place in the nginx configuration stand for.

    ``texts`` are replaced by texts of nginx, which may hold variables; ``renamed`` become
    variables of ours; ``kept`` stay as they are (maps, groups of regexes).
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()

    def translate(self, text: str, _open: tuple[str, ...] = ()) -> str:
        """``text`` for synproxy.

        :raises UnknownVariableError: a variable has no counterpart.
        :raises ValueError: a ``$`` that begins no name.
        """
        out: list[str] = []
        for part, is_name in template_parts(text):
            if not is_name:
                out.append(part)
                continue
            name = part.lower()
            if self.texts.get(name) == SYNAPSE_USER:
                out.append("${synapse_user}")
            elif name in self.texts and name not in _open:
                out.append(self.translate(self.texts[name], (*_open, name)))
            elif name in self.renamed:
                out.append("${" + self.renamed[name] + "}")
            elif name in self.kept:
                out.append("${" + part + "}")
            elif name in _SAME:
                out.append("${" + _SAME[name] + "}")
            elif is_builtin(name) and name not in OURS:
                out.append("${" + part + "}")
            else:
                raise UnknownVariableError(part)
        return _BRACED.sub(r"$\1", "".join(out))


_BRACED = re.compile(r"\$\{(\w+)\}(?!\w)", re.ASCII)
"""Braces that are not needed, since no letter follows."""
