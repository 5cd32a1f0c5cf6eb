"""From an nginx configuration to one of ours, with an account of what is not in it.

Source: https://nginx.org/en/docs/http/request_processing.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synproxy.errors import ConfigError, Problem
from synproxy.nginx.draft import Said, comment, lines, without_prefix
from synproxy.nginx.listeners import listeners
from synproxy.nginx.logs import access_log
from synproxy.nginx.report import Effect, Finding, Report
from synproxy.nginx.routes import Routes
from synproxy.nginx.scope import Scope
from synproxy.nginx.settings import http_section, limits
from synproxy.nginx.tree import Configuration, Directive

SCHEMA = "# yaml-language-server: $schema=synproxy.schema.json"


@dataclass(frozen=True, slots=True)
class Imported:
    """The YAML, and what the report says."""

    text: str
    findings: tuple[Finding, ...]
    """What was lost, or has another effect; empty: all was carried over."""


def import_nginx(configuration: Configuration, wanted: str | None = None) -> Imported:
    """Convert the server block that ``wanted`` names by a port, an address or a server_name.

    Without it the one with the most proxied locations.

    :raises ConfigError: there is no http block, or no such server block.
    """
    report = Report()
    main = configuration.files[0]
    https = [one for one in configuration.directives if one.name == "http" and one.block]
    if not https:
        raise ConfigError([Problem(main, 1, 1, "there is no http block in this file")])
    http = https[0]
    server = _choose(http, wanted, main)
    scope = Scope((http, server))
    report.claim(http, server)
    routes = Routes(scope, http, report)
    prefix = Path(main).absolute().parent
    tree: dict[str, object] = {"listeners": listeners(scope, prefix, report)}
    tree["http"] = http_section(scope, report)
    tree["limits"] = limits(scope, report)
    tree["proxy"] = routes.common
    tree["allowlists"] = routes.allowlists.sections
    tree["pools"] = routes.pools.in_file_order()
    tree["maps"] = routes.maps.in_file_order()
    if routes.whoami:
        tree["synapse"] = {"whoami": Said(routes.last_pool, "any pool that serves account/whoami")}
    tree["routes"] = routes.sections()
    tree["well_known"] = routes.well_known
    tree["access_log"] = access_log(scope, report)
    for one in configuration.directives:
        if one.name == "worker_shutdown_timeout" and one.args:
            report.claim(one)
            tree["shutdown_timeout"] = Said(one.args[0], one.place)
    _unused(http, server, report)
    for one in configuration.missing:
        if Path(one.args[0]).name == "mime.types":
            report.needless(one, "no files are served")
        else:
            report.lost(one, "there is no such file")
    report.sweep(configuration.directives)
    text = _render(tree, configuration, server, report)
    found = tuple(report.findings(Effect.LOST, Effect.DIFFERS))
    return Imported(text, found)


def _choose(http: Directive, wanted: str | None, file: str) -> Directive:
    servers = [one for one in http.all("server") if one.block is not None]
    if wanted is not None:
        matching = [one for one in servers if wanted in _labels(one)]
        if not matching:
            known = sorted({label for one in servers for label in _labels(one)})
            message = f"no server block is named {wanted}, or listens there"
            raise ConfigError([Problem(file, 0, 0, message, f"there are: {', '.join(known)}")])
        servers = matching
    if not servers:
        raise ConfigError([Problem(file, http.line, http.column, "there is no server block")])
    return max(servers, key=_proxied)


def _labels(server: Directive) -> set[str]:
    """All by which ``--server`` may call a server block."""
    found = {name for one in server.all("server_name") for name in one.args}
    for one in server.all("listen"):
        if one.args:
            found |= {one.args[0], one.args[0].rpartition(":")[2]}
    return found


def _proxied(block: Directive) -> int:
    """How many locations of a server block pass requests on."""
    return sum(
        (one.last("proxy_pass") is not None) + _proxied(one) for one in block.all("location")
    )


def _unused(http: Directive, server: Directive, report: Report) -> None:
    """Maps and upstreams that nothing reads, and the other server blocks."""
    for one in http.all("map", "upstream"):
        if not report.is_claimed(one):
            report.needless(one, "nothing that was carried over reads it")
    for one in http.all("server"):
        if one is not server and not report.is_claimed(one):
            names = " ".join(sorted(_labels(one)))
            report.lost(one, f"a server block of its own ({names}): import it with --server")
    for one in server.all("root", "index"):
        report.needless(one)


def _render(
    tree: dict[str, object], configuration: Configuration, server: Directive, report: Report
) -> str:
    prefix = f"{Path(configuration.files[0]).parent}/"
    found = [SCHEMA, "#"]
    found += comment(
        f"Made by `synproxy import-nginx` of the server block {server.place}. Behind each value "
        "stands the line that it comes from. Next: `synproxy check`, `synproxy lint`, and "
        "`synproxy replay` with a log of nginx."
    )
    for name, section in tree.items():
        if section:
            found += ["", *lines({name: without_prefix(section, prefix)})]
    for effect, title in _TITLES.items():
        notes = list(report.findings(effect))
        if not notes:
            continue
        found += ["", f"# {title}"]
        if effect is Effect.NEEDLESS:
            words = sorted({f"{one.directive.name}" for one in notes})
            found += comment(", ".join(words), "")
            continue
        for one in notes:
            place = one.directive.place.removeprefix(prefix)
            found += [f"#   {place}: {_cut(one.directive.text)}", f"#       {one.meaning}"]
    return "\n".join(found) + "\n"


_TITLES = {
    Effect.LOST: "Not carried over:",
    Effect.DIFFERS: "Carried over with a difference:",
    Effect.NEEDLESS: "Left out, since nothing here needs it:",
}


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
