"""``return``, as an answer of our own or a document of ``well_known``.

Source: https://nginx.org/en/docs/http/ngx_http_rewrite_module.html#return
"""

from __future__ import annotations

import json

from synproxy.nginx.draft import Said
from synproxy.nginx.report import Report
from synproxy.nginx.scope import Scope
from synproxy.nginx.tree import Directive

_WELL_KNOWN = "/.well-known/matrix/"
_DOCUMENTS = ("client", "server", "support")


def well_known(path: str, directive: Directive) -> tuple[str, dict[str, object]] | None:
    """The name and the JSON of a Matrix document, if this is one."""
    name = path.removeprefix(_WELL_KNOWN)
    if name == path or name not in _DOCUMENTS or directive.args[:1] != ("200",):
        return None
    try:
        document = json.loads(directive.args[1])
    except (IndexError, ValueError):
        return None
    return (name, document) if isinstance(document, dict) else None


def respond(directive: Directive, report: Report) -> dict[str, object]:
    """The ``respond`` section for a ``return``."""
    code, text = (*directive.args, "", "")[:2]
    status = int(code) if code.isdecimal() and len(code) == 3 else 302
    if status == 444:
        report.differs(directive, "the connection is not cut: the answer is 404")
        status = 404
    elif status < 200 or status > 599:
        report.lost(directive, "the status is none: the answer is 404")
        status = 404
    elif 300 <= status < 400:
        report.lost(directive, "answers redirect nowhere: the answer is 404")
        status = 404
    elif text and status < 300:
        report.differs(directive, "the answer has no body")
    elif text:
        report.claim(directive)
        return {"status": Said(status, directive.place), "error": text}
    else:
        report.claim(directive)
    return {"status": Said(status, directive.place)}


def closed(directive: Directive, status: int, why: str) -> dict[str, object]:
    """The answer of a location that cannot be carried over: never another location's."""
    return {"status": status, "error": Said(why, f"{directive.place} is not carried over")}


def serves_files(location: Scope) -> Directive:
    """What says that files are served, else the location itself."""
    for name in ("try_files", "alias", "root", "index"):
        if (one := location.own(name)) is not None:
            return one
    return location.innermost
