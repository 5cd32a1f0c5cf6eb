"""How the documentation is built: `make docs`. A warning is an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from synproxy import __version__
from synproxy.cli import manual as command_manual
from synproxy.config import manual as configuration_manual

project = "synproxy"
author = "the synproxy authors"
copyright = author
version = release = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # answers in `console` blocks are any text

html_theme = "furo"
html_title = "synproxy"

man_pages = [
    ("man/synproxy.8", "synproxy", "a reverse proxy in front of Synapse", author, 8),
    ("man/synproxy.yaml.5", "synproxy.yaml", "the configuration of synproxy", author, 5),
]
man_show_urls = True

_MADE: dict[str, Callable[[], str]] = {
    "<!-- made: commands -->": command_manual.text,
    "<!-- made: configuration -->": configuration_manual.text,
}
"""Lines that stand for what the code says of itself."""

_REST = "<!-- made: the pages that no list above names -->"
_HERE = Path(__file__).parent
_LISTED = re.compile(r"^([a-z0-9/-]+)$", re.MULTILINE)
_OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./[^)]*\)")


def _fill_in(app: Sphinx, name: str, source: list[str]) -> None:
    text = _OUTSIDE.sub(r"\1", source[0])  # the site has docs/ only
    for line, made in _MADE.items():
        if line in text:
            text = text.replace(line, made())
    if _REST in text:
        rest = {page.stem for page in _HERE.glob("*.md")} - {"index", *_LISTED.findall(text)}
        listed = "\n".join(["```{toctree}", ":caption: More", *sorted(rest), "```"])
        text = text.replace(_REST, listed if rest else "")
    source[0] = text


def _always_anew(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """What is made from the code may have changed although the page has not."""
    return [
        name for name in env.found_docs if "<!-- made: " in Path(env.doc2path(name)).read_text()
    ]


def setup(app: Sphinx) -> None:
    app.connect("env-get-outdated", _always_anew)
    app.connect("source-read", _fill_in)
