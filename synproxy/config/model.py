"""The configuration as frozen, typed objects; field names are nginx's directive names.

This module describes what a valid configuration is. Reading YAML, positions and hints are the
loader's work. Durations are seconds (float), sizes are bytes (int) once loaded.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from synproxy.config.units import parse_duration, parse_size

Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
Template = str
"""A string with nginx variables: ``$host``, ``${arg_since}``, ``$mxid_localpart`` (a map)."""


class Section(BaseModel):
    """Base of every section: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Listener(Section):
    """Where clients connect (nginx ``listen``)."""

    listen: str  # "8008", "127.0.0.1:8008", "[::]:8008", "unix:/run/synproxy/http.sock"
    backlog: int = Field(default=511, ge=1)
    mode: str = "0666"  # UNIX sockets only, octal, as nginx creates them
    ipv6only: bool = True


class HeaderBuffers(Section):
    """nginx ``large_client_header_buffers``: no line longer than ``size``, ``number`` x ``size``
    for the whole head."""

    number: int = Field(default=4, ge=1)
    size: Size = 8192


class Gzip(Section):
    """nginx ``gzip_*``: compression of answers for clients that accept it."""

    enabled: bool = False
    comp_level: int = Field(default=1, ge=1, le=9)
    min_length: Size = 20
    types: tuple[str, ...] = ("text/html",)
    disable: tuple[str, ...] = ()  # regexes on User-Agent
    vary: bool = True


class Http(Section):
    """The client side (nginx ``http`` and ``server`` contexts)."""

    client_header_timeout: Duration = 60.0
    client_body_timeout: Duration = 60.0
    send_timeout: Duration = 60.0
    keepalive_timeout: Duration = 75.0
    keepalive_requests: int = Field(default=1000, ge=1)
    client_max_body_size: Size = 1 << 20
    client_header_buffer_size: Size = 1024
    large_client_header_buffers: HeaderBuffers = HeaderBuffers()
    max_header_count: int = Field(default=100, ge=1)
    lingering_time: Duration = 30.0
    lingering_timeout: Duration = 5.0
    tcp_nodelay: bool = True
    server_tokens: bool = True
    gzip: Gzip = Gzip()


NextUpstream = Literal["error", "timeout", "invalid_header", "non_idempotent"]


class ProxySettings(Section):
    """How a route is forwarded (nginx ``proxy_*``). Every field may be overridden per route."""

    connect_timeout: Duration = 2.0
    send_timeout: Duration = 120.0
    read_timeout: Duration = 3600.0
    socket_keepalive: bool = True
    set_header: dict[str, Template] = {
        "Accept-Encoding": "",
        "Host": "$host",
        "X-Forwarded-For": "$remote_addr",
        "X-Forwarded-Proto": "$scheme",
        "Connection": "$connection_upgrade",
        "Upgrade": "$http_upgrade",
    }
    hide_header: tuple[str, ...] = ()
    next_upstream: tuple[NextUpstream, ...] = ("error", "timeout")
    next_upstream_tries: int = Field(default=0, ge=0)  # 0: as many as there are servers
    next_upstream_timeout: Duration = 0.0  # 0: no limit
    ignore_client_abort: bool = False
    client_max_body_size: Size | None = None  # None: the http section's


class ProxyOverrides(Section):
    """The same settings, all optional: what one route changes."""

    connect_timeout: Duration | None = None
    send_timeout: Duration | None = None
    read_timeout: Duration | None = None
    socket_keepalive: bool | None = None
    set_header: dict[str, Template] | None = None
    hide_header: tuple[str, ...] | None = None
    next_upstream: tuple[NextUpstream, ...] | None = None
    next_upstream_tries: int | None = Field(default=None, ge=0)
    next_upstream_timeout: Duration | None = None
    ignore_client_abort: bool | None = None
    client_max_body_size: Size | None = None


class AccessRule(Section):
    """One ``allow`` or ``deny``; exactly one of the two is given.

    The value is ``all``, ``unix:``, an address, or a network in CIDR form.
    """

    allow: str | None = None
    deny: str | None = None


class Allowlist(Section):
    """Rules tried in order, the first that matches decides; without a match: allowed (nginx)."""

    rules: tuple[AccessRule, ...]


class Map(Section):
    """nginx ``map``: ``source`` is looked up in ``values``.

    Keys: an exact string (compared without case), ``~regex`` or ``~*regex``. Values may hold
    variables and the named groups of the regex that matched.
    """

    source: Template
    values: dict[str, Template] = {}
    default: Template = ""


class HashBalance(Section):
    """nginx ``hash KEY consistent`` (``ketama``) or rendezvous hashing over xxh3."""

    hash: Template
    method: Literal["ketama", "rendezvous"] = "ketama"


class Server(Section):
    """One Synapse process (nginx ``server`` inside ``upstream``)."""

    address: str  # "unix:/path" or "host:port"
    weight: int = Field(default=1, ge=1)
    max_fails: int = Field(default=0, ge=0)
    fail_timeout: Duration = 10.0
    max_conns: int = Field(default=0, ge=0)
    backup: bool = False
    down: bool = False


class Pool(Section):
    """A group of servers (nginx ``upstream``). A server may be written as a bare address."""

    servers: tuple[Server, ...] = Field(min_length=1)
    balance: Literal["round_robin", "least_conn"] | HashBalance = "round_robin"
    keepalive: int = Field(default=32, ge=0)  # idle connections kept, over all servers
    keepalive_timeout: Duration = 60.0
    keepalive_requests: int = Field(default=1000, ge=1)
    keepalive_time: Duration = 3600.0


class Respond(Section):
    """An answer made by synproxy itself (nginx ``return``), as a Matrix JSON error from 400 up."""

    status: int = Field(ge=200, le=599)
    errcode: str | None = None
    error: str | None = None


class Route(Section):
    """nginx ``location``: what matches, who may, and where it goes.

    ``location`` is written as in nginx: ``/prefix``, ``= /exact``, ``^~ /prefix``, ``~ regex``
    or ``~* regex``. Exactly one of ``pool`` and ``respond`` is given.
    """

    name: str
    location: str
    methods: tuple[str, ...] = ()  # empty: every method
    pool: Template | None = None
    respond: Respond | None = None
    allowlists: tuple[str, ...] = ()
    satisfy: Literal["all", "any"] = "all"
    proxy: ProxyOverrides = ProxyOverrides()


class AccessLog(Section):
    """Where and how finished requests are logged. ``path``: a file, ``-`` (stdout) or ``off``."""

    path: str = "-"
    format: Literal["combined", "combined_upstream", "json"] = "combined_upstream"
    flush: Duration = 1.0


class Config(Section):
    """A whole configuration file."""

    listeners: tuple[Listener, ...] = Field(min_length=1)
    http: Http = Http()
    proxy: ProxySettings = ProxySettings()
    allowlists: dict[str, Allowlist] = {}
    maps: dict[str, Map] = {}
    pools: dict[str, Pool] = {}
    routes: tuple[Route, ...] = ()
    access_log: AccessLog = AccessLog()
    shutdown_timeout: Duration = 60.0  # SIGTERM: how long open exchanges may still take
