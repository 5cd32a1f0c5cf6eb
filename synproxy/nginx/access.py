"""``allow`` and ``deny`` as named lists, and guards that have no counterpart.

A location that nginx guards by other means must not become open: it is closed.
Source: https://nginx.org/en/docs/http/ngx_http_access_module.html
"""

from __future__ import annotations

import re
from pathlib import PurePath

from synproxy.nginx.draft import Said, free_name
from synproxy.nginx.report import Report
from synproxy.nginx.scope import Scope
from synproxy.nginx.tree import Directive

_GUARDS = {
    "auth_basic": "off",
    "auth_request": "off",
    "auth_jwt": "off",
    "ssl_verify_client": "off",
    "access_by_lua_block": None,
    "access_by_lua_file": None,
    "js_access": None,
}
"""What may refuse a request, and the value with which it does not."""


class Allowlists:
    """Lists of equal rules are one; a list from a file of its own has that file's name."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._names: dict[tuple[tuple[str, str], ...], str] = {}
        self.sections: dict[str, object] = {}

    def of(self, location: Scope) -> tuple[list[str], str]:
        """The names of the lists that hold in a location, and how they are combined."""
        rules = [one for one in location.inherited("allow", "deny") if len(one.args) == 1]
        if not rules:
            return [], "all"
        key = tuple((one.name, one.args[0]) for one in rules)
        if key not in self._names:
            name = self._name(rules)
            self._names[key] = name
            self.sections[name] = [{one.name: Said(one.args[0], one.place)} for one in rules]
        self._report.claim(*rules)
        satisfy = location.last("satisfy")
        self._report.claim(satisfy)
        words = satisfy.args[:1] if satisfy else ()
        return [self._names[key]], "any" if words == ("any",) else "all"

    def _name(self, rules: list[Directive]) -> str:
        files = {one.file for one in rules}
        stem = re.sub(r"[^A-Za-z0-9_]+", "_", PurePath(files.pop()).stem)
        wish = stem if not files and stem not in ("nginx", "default", "") else "access"
        return free_name(wish, self.sections.__contains__)


def guard(location: Scope) -> Directive | None:
    """What guards a location besides addresses."""
    for name, harmless in _GUARDS.items():
        one = location.last(name)
        if one is not None and one.args[:1] != (harmless,):
            return one
    return None


def asks_whoami(location: Scope) -> str | None:
    """The variable that an ``auth_request`` sets to the user of an access token.

    matrix-docker-ansible-deploy asks so for the key of a pool, and never refuses; $synapse_user
    with ``synapse.whoami`` does the same here.
    """
    asked = location.last("auth_request")
    if asked is None or "whoami" not in " ".join(asked.args):
        return None
    for one in location.inherited("auth_request_set"):
        if len(one.args) == 2:
            return one.args[0].removeprefix("$").lower()
    return None
