"""A configuration compiled for questions instead of traffic, with the data path's own classes.

Must not know how answers are printed, and opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from synproxy.config.model import Config, Map
from synproxy.config.pcre import compile_regex
from synproxy.config.variable_names import variable_names_in
from synproxy.core.allowlist import AccessVerdict
from synproxy.core.forward import with_length
from synproxy.core.head import HeaderBlock, host_name, parse_request_line
from synproxy.core.location_syntax import Kind, parse_location
from synproxy.core.target import normalise_path, split_target
from synproxy.core.wheel import TimerWheel
from synproxy.proxy.generation import CompiledRoute, Generation
from synproxy.upstream.pool import ServerPool

_PRECEDENCE = {
    Kind.EXACT: 0,
    Kind.FINAL: 1,
    Kind.REGEX: 2,
    Kind.REGEX_NO_CASE: 2,
    Kind.PREFIX: 3,
}


@dataclass(slots=True)
class Request:
    """One imagined request; satisfies `core.variables.RequestView`."""

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    scheme: bytes
    host: bytes
    remote_addr: bytes
    block: HeaderBlock
    captures: Mapping[str, bytes] = field(default_factory=dict)
    version: bytes = b"HTTP/1.1"
    remote_port: bytes = b"50000"
    socket_peer: tuple[bytes, bytes] = (b"127.0.0.1", b"50000")
    proxy_protocol: tuple[bytes, bytes, bytes, bytes] = (b"", b"", b"", b"")
    server_addr: bytes = b"127.0.0.1"
    server_port: bytes = b"8008"
    ssl_protocol: bytes = b""
    ssl_cipher: bytes = b""
    ssl_server_name: bytes = b""
    request_id: bytes = b"00000000000000000000000000000000"

    def header(self, name: bytes) -> bytes:
        return self.block.value(name)


def imagine(
    method: str,
    url: str,
    fields: Sequence[tuple[bytes, bytes]],
    remote_addr: str,
    max_header_count: int = 100,
) -> Request:
    """The request that a client would send for `url`, which may be a whole URL or a target.

    Raises DownstreamError as the data path does for what it refuses.
    """
    scheme, target = "http", url
    if "://" in url.partition("?")[0]:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        target = url.partition("://")[2][len(parts.netloc) :].partition("#")[0]
        if not target.startswith("/"):
            target = "/" + target
        if not any(name.lower() == b"host" for name, _ in fields):
            fields = [(b"Host", parts.netloc.encode()), *fields]
    if not any(name.lower() == b"host" for name, _ in fields):
        fields = [(b"Host", b"localhost"), *fields]
    line = parse_request_line(b"%b %b HTTP/1.1" % (method.encode(), target.encode()))
    block = HeaderBlock(fields, max_header_count)
    block.check_version(line)
    path, query = split_target(line.target)
    return Request(
        method=line.method,
        target=line.target,
        path=normalise_path(path) if path != b"*" else path,
        query=query,
        scheme=scheme.encode(),
        host=host_name(line.authority) if line.authority else block.host,
        remote_addr=remote_addr.encode(),
        block=block,
    )


class Offline:
    """One configuration, compiled as it is for serving; no socket is opened.

    Raises ValueError for what cannot compile.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.generation = Generation(config, TimerWheel(0.0), look_up=False)
        self.variables = self.generation.variables
        self.routes = self.generation.table.routes
        """The written ones by their index, then those that other settings imply."""

    def locate(self, request: Request) -> str:
        """Whose request it is if it comes from a trusted proxy, which ``request`` then has in its
        place; what to say about that, or nothing."""
        addresses = self.generation.addresses
        if addresses is None:
            return ""
        proxy = request.remote_addr
        told = addresses.origin(proxy, request.remote_port, request.block)
        request.socket_peer = proxy, request.remote_port
        request.remote_addr, request.remote_port = told.address, told.port
        request.scheme = told.scheme or request.scheme
        if addresses.trusts(proxy):
            return f"as told by the trusted proxy {proxy.decode()}"
        return f"{proxy.decode()} is no trusted proxy, and is not believed"

    def evaluation_order(self) -> list[int]:
        """Indexes of the routes by precedence: implied ones that go ahead, exact ones, ``^~``
        prefixes, regexes in the order of the file, then plain prefixes; longer prefixes before
        shorter ones."""
        locations = [parse_location(route.location) for route in self.routes]

        ahead = self.generation.table.ahead

        def rank(index: int) -> tuple[bool, int, int, int]:
            location = locations[index]
            length = 0 if location.regex is not None else -len(location.text)
            return index not in ahead, _PRECEDENCE[location.kind], length, index

        return sorted(range(len(locations)), key=rank)

    def access(self, index: int, remote_addr: bytes) -> AccessVerdict:
        """What the allowlists of a route say."""
        access = self.generation.routes[index].access
        return AccessVerdict(True) if access is None else access.explain(remote_addr)

    def render(self, template: str, request: Request) -> bytes:
        return self.variables.template(template).render(request)

    def upstream_head(self, route: CompiledRoute, request: Request) -> list[tuple[bytes, bytes]]:
        """The header fields that the server would receive."""
        before, after, _ = route.plan.render(request, request.block)
        head = with_length(before, after, request.block.content_length)
        fields = (line.partition(b": ") for line in head.split(b"\r\n") if line)
        return [(name, value) for name, _, value in fields]

    def maps_behind(self, templates: Iterable[str], request: Request) -> list[tuple[str, Map]]:
        """The maps that have a say in `templates`, each after those that read it."""
        found: dict[str, Map] = {}
        waiting = [name for template in templates for name in variable_names_in(template)]
        while waiting:
            name = waiting.pop(0)
            if name in self.config.maps and name not in found:
                section = found[name] = self.config.maps[name]
                chosen = chosen_template(section, self.render(section.source, request))
                waiting += variable_names_in(section.source) + variable_names_in(chosen)
        return list(found.items())


def chosen_template(section: Map, value: bytes) -> str:
    """What a map turns `value` into, before the variables in it are replaced."""
    for key, template in section.values.items():
        if not key.startswith("~") and key.removeprefix("\\").encode().lower() == value.lower():
            return template
    for key, template in section.values.items():
        if key.startswith("~") and value:
            pattern = key[1:].removeprefix("*")
            if compile_regex(pattern, ignore_case=key.startswith("~*")).search(value):
                return template
    return section.default


def preference(pool: ServerPool, key: bytes) -> list[str]:
    """Addresses in the order in which a request with `key` would try them, all being alive."""
    return [pool.settings.servers[index].address for index in pool.balancer.preference(key)]
