"""Where ``proxy_pass`` sends requests: a pool, or a map that names one.

Source: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_pass
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from synproxy.config.variable_names import template_parts
from synproxy.nginx.maps import Maps
from synproxy.nginx.pools import Pools, Tls
from synproxy.nginx.report import Report
from synproxy.nginx.scope import Scope
from synproxy.nginx.templates import Names
from synproxy.nginx.tree import Directive
from synproxy.nginx.upstream_tls import upstream_tls

_SCHEME = re.compile(r"(https?)://(.+)", re.DOTALL | re.IGNORECASE)
_AS_IT_CAME = "$request_uri"
_REWRITTEN = ("$uri$is_args$args", "$uri", "$document_uri$is_args$args", "$document_uri")


@dataclass(frozen=True, slots=True)
class Destination:
    """``pool`` is a name, or a template of maps; ``host`` is what nginx calls $proxy_host."""

    pool: str
    host: str


class NoPoolError(ValueError):
    """This ``proxy_pass`` cannot be carried over; the text says why."""


def destination(
    directive: Directive,
    location: tuple[str, str],
    scope: Scope,
    names: Names,
    pools: Pools,
    maps: Maps,
    report: Report,
) -> Destination:
    """The pool of a ``proxy_pass`` in the location (kind, text), which is ``scope``'s innermost
    block. Raises NoPoolError."""
    if len(directive.args) != 1:
        raise NoPoolError("proxy_pass needs one URL")
    written = _inlined(directive.args[0], names)
    found = _SCHEME.fullmatch(written)
    if found is None:
        raise NoPoolError("the URL begins neither with http:// nor with https://")
    host, uri = _split(found[2])
    tls = None
    if found[1].lower() == "https":
        if host.startswith("unix:"):
            raise NoPoolError("TLS is not spoken over a UNIX socket")
        tls = upstream_tls(scope, host, pools.named(host), report)
    _check_uri(directive, uri, location, report)
    if "$" not in host:
        pool = _pool(host, directive, names.texts, pools, tls)
        return Destination(pool, host)
    if tls is not None:
        raise NoPoolError("of pools that a map chooses, none is spoken to with TLS")
    return Destination(_chosen(host, directive, names, pools, maps), host)


def _inlined(text: str, names: Names) -> str:
    """``text`` with variables made by ``set`` replaced; others stay."""
    out = []
    for part, is_name in template_parts(text):
        if not is_name:
            out.append(part)
        elif (replaced := names.texts.get(part.lower())) is not None:
            out.append(replaced if "$" not in replaced else _inlined(replaced, names))
        else:
            out.append("${" + part + "}")
    return "".join(out)


def _split(rest: str) -> tuple[str, str]:
    """Host and port, and the URI that replaces the request's."""
    if rest.startswith("unix:"):
        path, _, uri = rest.removeprefix("unix:").partition(":")
        return f"unix:{path}", uri
    for ending in (_AS_IT_CAME, *_REWRITTEN):
        braced = re.sub(r"\$(\w+)", r"${\1}", ending)
        if rest.endswith(braced):
            return rest.removesuffix(braced), ending
    host, slash, uri = rest.partition("/")
    return host, slash + uri


def _check_uri(directive: Directive, uri: str, location: tuple[str, str], report: Report) -> None:
    """Only what leaves the request-target as it is can be carried over."""
    if not uri or uri == _AS_IT_CAME:
        return
    kind, text = location
    if uri in _REWRITTEN or (uri == text and not kind.startswith("~")):
        report.differs(
            directive,
            "the request-target is forwarded as it came, where nginx sends the normalised path, "
            "which breaks the signatures of federation",
        )
        return
    raise NoPoolError(f"the path would be rewritten to {uri}; it is forwarded as it came")


def _pool(
    host: str, directive: Directive, texts: Mapping[str, str], pools: Pools, tls: Tls | None
) -> str:
    try:
        if pools.named(host):
            return pools.need(host, texts, tls)
        return pools.at(host, directive, tls=tls)
    except ValueError as error:
        raise NoPoolError(str(error)) from error


def _chosen(host: str, directive: Directive, names: Names, pools: Pools, maps: Maps) -> str:
    """A template whose maps give nothing but names of upstreams and addresses."""
    parts = template_parts(host)
    variables = [part for part, is_name in parts if is_name]
    for name in variables:
        if name not in maps:
            raise NoPoolError(f"${name} may be anything: only a map can name the pool")
    if len(variables) == 1 and len(parts) == 1:
        for line, value in maps.results(variables[0]):
            _result(line, value, names, pools)
    try:
        text = names.translate(host)
        maps.need(text, names.texts)
    except ValueError as error:
        raise NoPoolError(str(error)) from error
    return text


def _result(line: Directive, value: str, names: Names, pools: Pools) -> None:
    """One value of a map that names pools."""
    if not value:
        raise NoPoolError(f"the map ({line.place}) has no default: some requests have no server")
    if "$" in value:
        raise NoPoolError(f"the map names no pool itself, but reads another ({line.place})")
    if pools.named(value):
        pools.need(value, names.texts)
        return
    try:
        pools.at(value, line, name=value)
    except ValueError as error:
        raise NoPoolError(f"{error} ({line.place})") from error
