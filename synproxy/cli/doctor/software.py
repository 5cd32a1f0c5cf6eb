"""What synproxy runs on: Python, the event loop, the parser; and is the running one this one?"""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator

from synproxy import __version__
from synproxy.cli.doctor.asking import Reply
from synproxy.cli.doctor.finding import Finding, fail, ok, skip, warn

OLDEST_PYTHON = (3, 11)
_TOKEN = re.compile(r"synproxy(?:/(\S+))?")


def check_software() -> Iterator[Finding]:
    """Python and the C parts that the speed comes from."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info < OLDEST_PYTHON:
        yield fail("python", "", python, "synproxy needs Python 3.11 or newer")
    else:
        yield ok("python", "", python)
    yield library("uvloop", "pip install uvloop; until then synproxy run --loop asyncio serves")
    yield library("httptools", "pip install httptools")


def library(name: str, remedy: str) -> Finding:
    """Whether a library can be loaded, and its version."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        return fail("library", name, f"cannot be loaded: {error}", remedy)
    return ok("library", name, importlib.metadata.version(name))


def check_running(url: str, reply: Reply | None, silence: str) -> Finding:
    """Who answers at ``url``; ``silence`` is why nobody does."""
    if reply is None:
        return skip(
            "proxy",
            url,
            f"synproxy does not answer there ({silence})",
            "start it, or name its address with --url; what needs it is skipped",
        )
    found = _TOKEN.fullmatch(reply.server)
    if found is None:
        return warn(
            "proxy",
            url,
            f"answered by {reply.server or 'a server without a name'}, not by synproxy",
            "before the switch this is the old proxy; what follows is about the way through it",
        )
    if reply.status >= 500:
        return fail(
            "proxy", url, f"{reply.status} to GET {PROBE}", "see the lines about the servers above"
        )
    if found[1] is not None and found[1] != __version__:
        return warn(
            "proxy",
            url,
            f"synproxy {found[1]} runs, {__version__} is installed",
            "systemctl restart synproxy",
        )
    return ok("proxy", url, f"synproxy {found[1] or ''} answers {reply.status} to GET {PROBE}")


PROBE = "/_matrix/client/versions"
"""Answered by every Synapse process with client resources, without a token."""
