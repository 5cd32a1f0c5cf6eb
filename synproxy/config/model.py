"""The configuration as frozen, typed objects; field names are nginx's directive names.

This module describes what a valid configuration is. Reading YAML, positions and hints are the
loader's work, names that refer to each other are checked in ``references``. Durations are seconds
(float), sizes are bytes (int) once loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from synproxy.config.units import parse_duration, parse_interval, parse_size
from synproxy.config.variable_names import LOG_VARIABLES, variable_names_in


def _flag(value: object) -> bool:
    """nginx writes ``on`` and ``off``; YAML calls some of these words booleans already."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in {"on", "yes", "true"}:
        return True
    if isinstance(value, str) and value in {"off", "no", "false"}:
        return False
    raise ValueError('expected "on" or "off"')


def _port_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _off_as_text(value: object) -> object:
    return "off" if value is False else value


def _off_as_nothing(value: object) -> object:
    return () if value is False or value == "off" else value


def _off_as_none(value: object) -> object:
    """For a section that is absent unless it is written or ``on``."""
    if value is False or value == "off":
        return None
    return {} if value is True or value == "on" else value


def _children(value: object) -> int:
    """``auto`` is 0: the number of cores is known where it runs."""
    if value == "auto":
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_CHILDREN:
        return value
    raise ValueError(f"expected auto or a number from 1 to {MAX_CHILDREN}")


def _balance_kind(value: object) -> str:
    return "<hash>" if isinstance(value, dict | HashBalance) else "<name>"


MAX_CHILDREN = 128
"""Far more than help in front of one Synapse."""

Duration = Annotated[float, BeforeValidator(parse_duration)]
Interval = Annotated[float, BeforeValidator(parse_interval)]
Size = Annotated[int, BeforeValidator(parse_size)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Count = Annotated[int, Field(strict=True)]
Template = str
"""A string with nginx variables: ``$host``, ``${arg_since}``, ``$mxid_localpart`` (a map)."""


class Section(BaseModel):
    """Base of every section: frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )

    shorthand: ClassVar[str | None] = None
    """The field that a bare value stands for, where a section may be written as one."""

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: object) -> object:
        if cls.shorthand is None or isinstance(value, dict | cls):
            return value
        return {cls.shorthand: value}


MOZILLA_INTERMEDIATE = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
"""The ciphers of TLS 1.2 in Mozilla's "intermediate" profile, version 5.7, without those that need
Diffie-Hellman parameters in a file. The client chooses among them, as that profile wants it."""


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ValueError("expected an absolute path")
    return path


FilePath = Annotated[str, AfterValidator(_absolute)]


class Certificate(Section):
    """A certificate and its key, in PEM files (nginx ``ssl_certificate``)."""

    certificate: FilePath
    """The certificate, and after it those that lead to its authority (``fullchain.pem``)."""
    key: FilePath
    """Its private key, without a passphrase (nginx ``ssl_certificate_key``)."""


class Hsts(Section):
    """Strict-Transport-Security (RFC 6797) on every answer. May be written as its ``max_age``."""

    shorthand: ClassVar[str | None] = "max_age"

    max_age: Duration
    """How long browsers use https only, without asking."""
    include_subdomains: Flag = False
    """Whether that holds for all names below this one, too."""
    preload: Flag = False
    """Whether browsers may have it built in (https://hstspreload.org)."""


class Tls(Section):
    """TLS at a listener (nginx ``ssl_*``); defaults are Mozilla's "intermediate" profile."""

    certificates: tuple[Certificate, ...] = Field(min_length=1)
    """Chosen by the server name that the client asks for and the names in the certificates; the
    first is for all other names. Read again on reload, and within 10 s when a file changes."""
    min_version: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    """The oldest version (nginx ``ssl_protocols``)."""
    ciphers: str = MOZILLA_INTERMEDIATE
    """Of TLS 1.2, in OpenSSL's words (nginx ``ssl_ciphers``); those of 1.3 are all good."""
    session_tickets: Flag = True
    """Whether a client that comes again saves most of the handshake (``ssl_session_tickets``)."""
    hsts: Annotated[Hsts | None, BeforeValidator(_off_as_none)] = None
    """Strict-Transport-Security; absent: not sent."""


class ProxyProtocol(Section):
    """The PROXY protocol, version 1 or 2, at a listener (nginx ``listen ... proxy_protocol``,
    HAProxy ``accept-proxy``). May be written as its ``networks``."""

    shorthand: ClassVar[str | None] = "networks"

    networks: tuple[str, ...] = Field(min_length=1)
    """The balancers: addresses, networks in CIDR form, or ``unix:``. Every connection from them
    begins with a header; all others are closed."""


class TrustedProxies(Section):
    """Proxies before this one that say whom a request comes from (nginx ``set_real_ip_from``).
    May be written as its ``networks``."""

    shorthand: ClassVar[str | None] = "networks"

    networks: tuple[str, ...] = Field(min_length=1)
    """Who is believed: addresses, networks in CIDR form, or ``unix:``."""
    header: str = "X-Forwarded-For"
    """The field with the addresses (nginx ``real_ip_header``): ``X-Forwarded-For``, ``Forwarded``
    (RFC 7239), or another one that is written as the first of these."""
    recursive: Flag = True
    """Whether addresses that are trusted themselves are passed over, from the right
    (nginx ``real_ip_recursive``, which is off unless told otherwise)."""
    proto: Flag = True
    """Whether ``X-Forwarded-Proto``, or ``proto`` in ``Forwarded``, is ``$scheme``. nginx has no
    such thing."""


class Listener(Section):
    """Where clients connect (nginx ``listen``). May be written as a bare address."""

    shorthand: ClassVar[str | None] = "listen"

    listen: Annotated[str, BeforeValidator(_port_as_text)]
    """``8008``, ``127.0.0.1:8008``, ``[::]:8008`` or ``unix:/run/synproxy/http.sock``."""
    backlog: Count = Field(default=511, ge=1)
    """How many connections may wait to be accepted (nginx ``listen ... backlog=``)."""
    mode: str = "0666"
    """Permissions of a UNIX socket, octal and quoted; the default is what nginx creates."""
    ipv6only: Flag = True
    """Whether an IPv6 listener leaves IPv4 alone (nginx ``listen ... ipv6only=``)."""
    tls: Tls | None = None
    """The certificates of an https listener; absent: plain http."""
    redirect_https: Flag = False
    """Whether requests are sent to ``https://`` with the same host and target: 301, or 308 where
    the method has to stay."""
    proxy_protocol: ProxyProtocol | None = None
    """The balancers that begin every connection by saying whose it is; absent: nobody does."""
    http2: Flag = False
    """Whether clients may speak HTTP/2: with TLS where they ask for it (ALPN), without TLS if they
    begin with it (nginx ``http2``)."""
    acme_webroot: FilePath | None = None
    """The directory in which ``certbot --webroot`` leaves its answers: what is in
    ``.well-known/acme-challenge`` there is served, before any redirect."""


class HeaderBuffers(Section):
    """Bounds on the request head. May be written as in nginx: ``4 16k``."""

    number: Count = Field(default=4, ge=1)
    """The whole head is at most ``number`` times ``size``."""
    size: Size = 8192
    """No line of the head is longer than this."""

    @model_validator(mode="before")
    @classmethod
    def _from_directive(cls, value: object) -> object:
        if isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,9}) +(\S+)", value)):
            return {"number": int(found[1]), "size": found[2]}
        if isinstance(value, dict | HeaderBuffers):
            return value
        raise ValueError("expected a number and a size such as 4 16k")


class Gzip(Section):
    """Compression of answers for clients that accept it (nginx ``gzip_*``). May be ``on``."""

    shorthand: ClassVar[str | None] = "enabled"

    enabled: Flag = False
    """nginx ``gzip``."""
    comp_level: Count = Field(default=1, ge=1, le=9)
    """nginx ``gzip_comp_level``."""
    min_length: Size = 20
    """Answers that announce fewer bytes stay as they are (nginx ``gzip_min_length``)."""
    types: tuple[str, ...] = ("text/html",)
    """Media types to compress, next to text/html; ``*`` is any (nginx ``gzip_types``)."""
    disable: tuple[str, ...] = ()
    """Regexes on User-Agent: clients that get no compression (nginx ``gzip_disable``)."""
    vary: Flag = True
    """Whether ``Vary: Accept-Encoding`` is added (nginx ``gzip_vary``)."""


def _installed(*modules: str, extra: str = "compress") -> Callable[[bool], bool]:
    def check(enabled: bool) -> bool:
        if enabled and not any(map(_is_there, modules)):
            raise ValueError(
                f"the package {modules[-1]} is not installed; pip install 'synproxy[{extra}]'"
            )
        return enabled

    return check


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


class Zstd(Section):
    """zstd for clients that accept it, with the types and bounds of ``gzip``. May be ``on``."""

    shorthand: ClassVar[str | None] = "enabled"

    enabled: Annotated[Flag, AfterValidator(_installed("compression.zstd", "backports.zstd"))] = (
        False
    )
    """Whether it is used; needs the package backports.zstd before Python 3.14."""
    comp_level: Count = Field(default=1, ge=1, le=6)
    """At 6, what one read brings (256 kB) takes some 5 ms, in which nothing else is served."""


class Brotli(Section):
    """brotli for clients that accept it, with the types and bounds of ``gzip``. May be ``on``."""

    shorthand: ClassVar[str | None] = "enabled"

    enabled: Annotated[Flag, AfterValidator(_installed("brotli"))] = False
    """Whether it is used; needs the package brotli."""
    comp_level: Count = Field(default=1, ge=0, le=4)
    """At 4, what one read brings (256 kB) takes some 5 ms, in which nothing else is served."""


class RequestId(Section):
    """An id for each request, in our log and in Synapse's. May be ``on``, or the name of the field.

    Synapse takes it where a listener has ``request_id_header``.
    """

    shorthand: ClassVar[str | None] = "header"

    header: str = "X-Request-Id"
    """The field that carries it to the server, in place of what the client sent."""
    respond: Flag = True
    """Whether the client is told, in the same field: users can quote it."""
    trust: str | None = None
    """The allowlist of those whose own id is kept: a proxy in front, which has written it to its
    log. The address of the connection has to be allowed by a rule. Absent: every request gets an id
    of ours."""


class Http(Section):
    """The client side (nginx ``http`` and ``server`` contexts)."""

    client_header_timeout: Duration = 60.0
    """How long a client may take to send a whole request head."""
    client_body_timeout: Duration = 60.0
    """How long a client may pause while it sends a body."""
    send_timeout: Duration = 60.0
    """How long a client may pause while it reads an answer."""
    keepalive_timeout: Duration = 75.0
    """How long an idle client connection stays open; 0 closes it after each answer."""
    keepalive_requests: Count = Field(default=1000, ge=1)
    """How many requests a client connection may carry."""
    client_max_body_size: Size = 1 << 20
    """The largest request body; a larger one is answered with 413. 0 means no limit."""
    client_header_buffer_size: Size = 1024
    """The buffer that nginx starts with; accepted, and bounds nothing by itself."""
    large_client_header_buffers: HeaderBuffers = HeaderBuffers()
    """Bounds on a line of the request head, and on all of it."""
    http2_max_concurrent_streams: Count = Field(default=128, ge=1)
    """How many requests a client may have in progress on a connection of HTTP/2."""
    max_header_count: Count = Field(default=100, ge=1)
    """How many header fields a request may have."""
    trusted_proxies: TrustedProxies | None = None
    """The proxies whose word on clients' addresses counts; absent: nobody's, and the client is who
    opened the connection."""
    lingering_time: Duration = 30.0
    """How long what a refused client still sends is read and dropped."""
    lingering_timeout: Duration = 5.0
    """How long such a client may pause."""
    tcp_nodelay: Flag = True
    """Whether small packets are sent at once."""
    splice: Flag = True
    """Whether large bodies between plain sockets are moved inside the kernel instead of copied, on
    Linux (HAProxy ``option splice-auto``)."""
    server_tokens: Flag = True
    """Whether the version is shown in answers made here."""
    gzip: Gzip = Gzip()
    """Compression of answers; its types and bounds hold for the other codings too."""
    zstd: Zstd = Zstd()
    """Preferred to brotli and gzip where the client likes them equally well."""
    brotli: Brotli = Brotli()
    """Preferred to gzip where the client likes both equally well."""
    cors_preflight: Flag = False
    """Whether OPTIONS for what browsers may ask of Synapse (below ``/_matrix/`` and
    ``/_synapse/client/``) is answered here, as Synapse would; a route that names OPTIONS in its
    ``methods`` and is a closer match goes first."""
    request_id: Annotated[RequestId | None, BeforeValidator(_off_as_none)] = None
    """An id for each request; absent: none, unless ``$request_id`` is used somewhere."""


NextUpstream = Literal["error", "timeout", "invalid_header", "non_idempotent"]


class ProxySettings(Section):
    """How a route is forwarded (nginx ``proxy_*``). Every field may be overridden per route."""

    connect_timeout: Duration = 2.0
    """How long a connection to a server may take to come up."""
    send_timeout: Duration = 120.0
    """How long a server may pause while it reads a request."""
    read_timeout: Duration = 3600.0
    """How long a server may pause while it answers; a held /sync counts as a pause."""
    socket_keepalive: Flag = True
    """Whether SO_KEEPALIVE is set on TCP connections to servers."""
    set_header: dict[str, Template] = {
        "Accept-Encoding": "",
        "Host": "$host",
        "X-Forwarded-For": "$remote_addr",
        "X-Forwarded-Proto": "$scheme",
        "Connection": "$connection_upgrade",
        "Upgrade": "$http_upgrade",
    }
    """Fields that replace the client's; an empty value removes the field."""
    hide_header: tuple[str, ...] = ()
    """Fields of the server's answer that clients do not get."""
    next_upstream: Annotated[tuple[NextUpstream, ...], BeforeValidator(_off_as_nothing)] = (
        "error",
        "timeout",
    )
    """When a request is tried on another server; ``off`` means never."""
    next_upstream_tries: Count = Field(default=0, ge=0)
    """How many servers are tried; 0: as many as there are."""
    next_upstream_timeout: Duration = 0.0
    """How long other servers are tried; 0: no limit."""
    ignore_client_abort: Flag = False
    """Whether a request goes on at the server when its client has gone."""
    deadline_margin: Duration = 0.0
    """A GET, or a POST to ``.../sync`` (sliding sync), with ``timeout=`` (milliseconds) in its
    query is waited for this much longer than it asks, instead of ``read_timeout``; 0: the query
    says nothing."""
    client_max_body_size: Size | None = None
    """The largest request body; absent: as in the http section."""


class ProxyOverrides(Section):
    """The settings of ``proxy`` that one route changes; what is absent stays."""

    connect_timeout: Duration | None = None
    send_timeout: Duration | None = None
    read_timeout: Duration | None = None
    socket_keepalive: Flag | None = None
    set_header: dict[str, Template] | None = None
    """Replaces the whole table, as ``proxy_set_header`` does in an inner nginx block."""
    hide_header: tuple[str, ...] | None = None
    next_upstream: Annotated[tuple[NextUpstream, ...], BeforeValidator(_off_as_nothing)] | None = (
        None
    )
    next_upstream_tries: Count | None = Field(default=None, ge=0)
    next_upstream_timeout: Duration | None = None
    ignore_client_abort: Flag | None = None
    deadline_margin: Duration | None = None
    client_max_body_size: Size | None = None


class AccessRule(Section):
    """One ``allow`` or ``deny``; exactly one of the two is given.

    The value is ``all``, ``unix:``, an address, or a network in CIDR form.
    """

    allow: str | None = None
    """Who may (nginx ``allow``)."""
    deny: str | None = None
    """Who may not (nginx ``deny``)."""


class Allowlist(Section):
    """Rules tried in order, the first that matches decides; without a match: allowed (nginx).

    May be written as a bare list of rules.
    """

    shorthand: ClassVar[str | None] = "rules"

    rules: tuple[AccessRule, ...]
    """Each is ``allow: ADDRESS`` or ``deny: ADDRESS``."""


class Map(Section):
    """nginx ``map``: ``source`` is looked up in ``values``.

    Keys: an exact string (compared without case), ``~regex`` or ``~*regex``. Values may hold
    variables and the named groups of the regex that matched.
    """

    source: Template
    """What is looked up, usually one variable."""
    values: dict[str, Template] = {}
    """What each key is turned into."""
    default: Template = ""
    """The result when no key matches."""


class HashBalance(Section):
    """nginx ``hash KEY consistent`` (``ketama``) or rendezvous hashing over xxh3."""

    hash: Template
    """The key; requests with an empty key are spread by round robin."""
    method: Literal["ketama", "rendezvous"] = "ketama"
    """``ketama`` chooses the servers that nginx chooses; ``rendezvous`` spreads more evenly."""


class Server(Section):
    """One Synapse process (nginx ``server`` inside ``upstream``). May be a bare address."""

    shorthand: ClassVar[str | None] = "address"

    address: str
    """``unix:/path`` or ``host:port``; with ``resolve`` also an SRV name."""
    resolve: Annotated[Flag, AfterValidator(_installed("dns", extra="dns"))] = False
    """Whether the name is looked up in DNS again and again, and each of its addresses is a server
    (nginx ``server ... resolve``). A name such as ``_synapse._tcp.example.org`` is one of SRV
    records, which have ports, weights and priorities."""
    weight: Count = Field(default=1, ge=1)
    """The server's share."""
    max_fails: Count = Field(default=0, ge=0)
    """Failures within ``fail_timeout`` that take the server out; 0: never."""
    fail_timeout: Duration = 10.0
    """The span in which failures are counted, and how long the server is then left out."""
    max_conns: Count = Field(default=0, ge=0)
    """The most requests at the same time; 0: no limit."""
    backup: Flag = False
    """Used only when the others are out."""
    down: Flag = False
    """Never used, but keeps its place in the hash ring."""


Balance = Annotated[
    Annotated[Literal["round_robin", "least_conn"], Tag("<name>")]
    | Annotated[HashBalance, Tag("<hash>")],
    Discriminator(_balance_kind),
]


class HealthCheck(Section):
    """Questions to each server of a pool (HAProxy ``option httpchk``, nginx Plus
    ``health_check``). May be ``on`` or ``off``.
    """

    path: str = "/health"
    """What is asked for; any answer from 200 to 399 is good."""
    interval: Interval = 5.0
    """How long from one question to the next, give or take a tenth."""
    timeout: Interval = 2.0
    """How long a server may take to answer."""
    rise: Count = Field(default=2, ge=1)
    """So many good answers in a row bring a server back."""
    fall: Count = Field(default=3, ge=1)
    """So many failures in a row take a server out. A socket that refuses does so at once."""


class Queue(Section):
    """Requests that wait while servers are at ``max_conns`` (nginx Plus ``queue``).

    May be written as a bare number.
    """

    shorthand: ClassVar[str | None] = "number"

    number: Count = Field(default=1000, ge=1)
    """How many may wait, over all servers."""
    timeout: Interval = 5.0
    """How long each may wait; then it is answered with 429."""


class UpstreamTls(Section):
    """TLS to the servers of a pool (nginx ``proxy_ssl_*``). May be ``on``."""

    verify: Flag = True
    """Whether the server's certificate must be good and have its name
    (nginx ``proxy_ssl_verify``, which is off unless told otherwise)."""
    ca: FilePath | None = None
    """The authorities to trust, a PEM file; absent: those of the system."""
    server_name: str | None = None
    """The name that is asked for and verified (nginx ``proxy_ssl_name``); absent: the host in the
    server's address."""


class Pool(Section):
    """A group of servers (nginx ``upstream``). A server may be written as a bare address."""

    servers: tuple[Server, ...] = Field(min_length=1)
    """The processes of the group (nginx ``server``); at least one."""
    balance: Balance = "round_robin"
    """How a server is chosen: round_robin, least_conn, or a mapping with ``hash``."""
    keepalive: Count = Field(default=32, ge=0)
    """Idle connections kept, over all servers."""
    keepalive_timeout: Duration = 60.0
    """How long an idle connection is kept; shorter than the server's own limit."""
    keepalive_requests: Count = Field(default=1000, ge=1)
    """How many requests a connection may carry."""
    keepalive_time: Duration = 3600.0
    """How old a connection may become."""
    health_check: Annotated[HealthCheck | None, BeforeValidator(_off_as_none)] = None
    """How servers are watched; absent: not at all."""
    restart_hold: Duration = 0.0
    """How long requests wait for a server whose socket refuses, since it may be restarting; 0:
    not at all."""
    fallback: str | None = None
    """The pool that takes over while no server of this one is usable; it may have its own."""
    queue: Annotated[Queue | None, BeforeValidator(_off_as_none)] = None
    """Where requests wait while servers are at ``max_conns``; absent: they do not."""
    unrecognized: str | None = None
    """The pool that is asked once more when a server of this one answers 404 or 405 with
    M_UNRECOGNIZED: it has no such endpoint."""
    tls: Annotated[UpstreamTls | None, BeforeValidator(_off_as_none)] = None
    """TLS to servers with a TCP address; absent: plain."""
    send_proxy_protocol: Annotated[Literal["off", "v2"], BeforeValidator(_off_as_text)] = "off"
    """Whether each connection to a server begins with a PROXY protocol header that has the client's
    address (HAProxy ``send-proxy-v2``). A connection is then used for one request, so that it is
    never another client's; ``keepalive`` does not count. Synapse itself reads no such header."""


class Resolver(Section):
    """How the names of servers with ``resolve`` are looked up (nginx ``resolver``)."""

    nameservers: tuple[str, ...] = ()
    """IP addresses, with a port if it is not 53; absent: those of /etc/resolv.conf, whose search
    list counts too."""
    valid: Interval | None = None
    """How long an answer holds (nginx ``resolver ... valid=``); absent: as long as it says itself
    (its TTL), but at least 1 s and at most 1 h."""
    timeout: Interval = 5.0
    """How long a look-up may take (nginx ``resolver_timeout``)."""
    ipv6: Flag = True
    """Whether IPv6 addresses are looked up, too (nginx ``resolver ... ipv6=``)."""


class Respond(Section):
    """An answer made by synproxy itself (nginx ``return``), as a Matrix JSON error from 400 up."""

    status: Count = Field(ge=200, le=599)
    """The status code."""
    errcode: str | None = None
    """The Matrix error code, such as M_FORBIDDEN."""
    error: str | None = None
    """The text for people."""
    retry_after: Duration = 0.0
    """When to come again, for 429 and 503: the Retry-After field and `retry_after_ms`; 0: nothing
    is said about it."""


class Route(Section):
    """nginx ``location``: what matches, who may, and where it goes.

    ``location`` is written as in nginx: ``/prefix``, ``= /exact``, ``^~ /prefix``, ``~ regex``
    or ``~* regex``. Exactly one of ``pool`` and ``respond`` is given.
    """

    name: str
    """Shown in logs and by ``explain``; unique."""
    location: str
    """``/prefix``, ``= /exact``, ``^~ /prefix``, ``~ regex`` or ``~* regex``."""
    methods: tuple[str, ...] = ()
    """Only these request methods; absent: every method."""
    pool: Template | None = None
    """A pool's name, or a map that gives one, such as ``$sync``."""
    respond: Respond | None = None
    """The answer, for a route that is not forwarded."""
    allowlists: tuple[str, ...] = ()
    """Names of the lists that decide who may (nginx ``allow`` and ``deny``)."""
    satisfy: Literal["all", "any"] = "all"
    """Whether every list must agree, or one is enough."""
    proxy: ProxyOverrides = ProxyOverrides()
    """What this route changes in ``proxy``."""
    maintenance: Flag = False
    """Whether all requests are answered with 503, as ``maintenance`` of the whole file says."""


class Synapse(Section):
    """What synproxy asks Synapse itself."""

    whoami: str | None = None
    """The pool that is asked, once, whose an access token is that does not say so itself: those of
    matrix-authentication-service, application services and guests; absent: nobody is asked, and
    ``$synapse_user`` is a hash of such a token."""
    whoami_entries: Count = Field(default=10_000, ge=2)
    """How many such tokens are known at most, under a hash of each."""
    whoami_ttl: Duration = 3600.0
    """How long an answer holds, unless Synapse answers 401 to the token before."""


class WellKnown(Section):
    """Documents served below ``/.well-known/matrix/``, written as their JSON."""

    client: dict[str, Any] | None = None
    """How clients find the homeserver: ``m.homeserver`` with its ``base_url``, and more."""
    server: dict[str, Any] | None = None
    """How other homeservers find it: ``m.server``, a host and a port."""
    support: dict[str, Any] | None = None
    """Whom to write to: ``contacts`` and ``support_page``."""
    max_age: Duration = 3600.0
    """How long others may keep them (``Cache-Control``)."""


LOG_PRESETS = ("combined", "combined_upstream", "json")


def _log_format(text: str) -> str:
    if text in LOG_PRESETS:
        return text
    if "$" not in text:
        raise ValueError(
            f"expected {', '.join(LOG_PRESETS)}, or a format of your own such as"
            " '$remote_addr $request $status'"
        )
    for name in variable_names_in(text):
        if name not in LOG_VARIABLES:
            raise ValueError(
                f"there is no variable ${name} in a log format; there are"
                f" {', '.join(f'${known}' for known in sorted(LOG_VARIABLES))}"
            )
    return text


class AccessLog(Section):
    """Where and how finished requests are logged. May be written as a bare path or ``off``."""

    shorthand: ClassVar[str | None] = "path"

    path: Annotated[str, BeforeValidator(_off_as_text)] = "-"
    """A file, ``-`` (standard output) or ``off``."""
    format: Annotated[
        str,
        AfterValidator(_log_format),
        WithJsonSchema({"anyOf": [{"enum": [*LOG_PRESETS]}, {"type": "string", "pattern": r"\$"}]}),
    ] = "combined_upstream"
    """``combined``, ``combined_upstream``, ``json``, or a format of your own with variables (nginx
    ``log_format``)."""
    escape: Literal["default", "json"] = "default"
    """How values are escaped in a format of your own (nginx ``log_format ... escape=``)."""
    sample: Count = Field(default=1, ge=1)
    """Of the requests of each route that end well, one in so many is logged, in each child; every
    other request always is: a status from 400 up, an end that is not ``ok`` or ``local``, more than
    one attempt."""
    flush: Duration = 1.0
    """How long a line may wait to be written."""


class Maintenance(Section):
    """The answer of routes under maintenance: 503 (Service Unavailable)."""

    retry_after: Interval = 60.0
    """When clients may come again (``Retry-After``), in whole seconds."""
    error: str = "This server is under maintenance"
    """The text for people."""


class Limits(Section):
    """How many client connections each child has at a time."""

    connections: Count = Field(default=0, ge=0)
    """In all (nginx ``worker_connections``, HAProxy ``maxconn``); beyond, idle ones are closed, and
    if none is, new ones wait in the kernel until there is room. 0: as many as there are
    descriptors, of which each may need a second one."""
    connections_per_address: Count = Field(default=0, ge=0)
    """From one address, or one IPv6 network of 64 bits (nginx ``limit_conn``); others are closed
    after a 503. 0: no limit."""
    exempt: tuple[str, ...] = ()
    """Addresses and networks in CIDR form that ``connections_per_address`` does not bind. Those
    in ``trusted_proxies`` and ``proxy_protocol`` never are, and neither are UNIX sockets."""


class AdminTls(Section):
    """TLS at the admin listener, for other machines."""

    certificate: FilePath
    """The certificate, and after it those that lead to its authority."""
    key: FilePath
    """Its private key, without a passphrase."""
    client_ca: FilePath
    """The authorities whose certificates clients must show (nginx ``ssl_client_certificate`` with
    ``ssl_verify_client on``); nobody else may read, and those who may also change things."""


class Admin(Section):
    """Where the main process tells what synproxy does. May be written as a bare address.

    Who can connect may read; of a UNIX socket only our user and root can. They may also drain
    servers and begin maintenance, which over TCP needs a client certificate.
    """

    shorthand: ClassVar[str | None] = "listen"

    listen: Annotated[str, BeforeValidator(_port_as_text)]
    """``unix:/run/synproxy/admin.sock`` or ``127.0.0.1:9109``: the status page, GET /metrics and
    more (docs/status.md)."""
    tls: AdminTls | None = None
    """Certificates, of both sides; absent: plain http."""
    synapse: tuple[FilePath, ...] = ()
    """Synapse's own files, or directories of them: GET /http_sd tells Prometheus where main and
    the workers have their metrics (http_sd_configs). Read at each request."""


class Config(Section):
    """A whole configuration file."""

    listeners: tuple[Listener, ...] = Field(min_length=1)
    """Where clients connect."""
    http: Http = Http()
    """The client side."""
    proxy: ProxySettings = ProxySettings()
    """How requests are forwarded."""
    allowlists: dict[str, Allowlist] = {}
    """Lists of addresses by name, for routes."""
    maps: dict[str, Map] = {}
    """Variables made from others, by name without ``$``."""
    pools: dict[str, Pool] = {}
    """Groups of servers by name."""
    resolver: Resolver = Resolver()
    """How names in pools are looked up again and again."""
    routes: tuple[Route, ...] = ()
    """What goes where."""
    synapse: Synapse = Synapse()
    """Questions to Synapse."""
    well_known: WellKnown = WellKnown()
    """Documents by which clients and other homeservers find this one."""
    maintenance: Maintenance = Maintenance()
    """What routes with ``maintenance: on`` answer."""
    access_log: AccessLog = AccessLog()
    """One line for each finished request."""
    limits: Limits = Limits()
    """How many clients may be connected."""
    admin: Admin | None = None
    """Metrics and status; absent: neither is counted."""
    shutdown_timeout: Duration = 60.0
    """How long open exchanges may still take after SIGTERM."""
    reload_grace: Duration = 0.0
    """How long open exchanges may still follow a configuration that a reload has replaced (nginx
    ``worker_shutdown_timeout``); 0: as long as they take."""
    children: Annotated[int, BeforeValidator(_children)] = 0
    """How many processes serve (nginx ``worker_processes``); ``auto``: one for each core. Limits
    such as ``max_conns`` hold in each of them."""
    cpu_affinity: Annotated[Literal["off", "auto"], BeforeValidator(_off_as_text)] = "off"
    """Whether each child is bound to a core of its own (nginx ``worker_cpu_affinity``)."""
    user: str | None = None
    """Whom the children run as when synproxy is started by root (nginx ``user``)."""
    group: str | None = None
    """The same for the group; absent: the user's."""
    pid: Annotated[str, BeforeValidator(_off_as_text)] = "off"
    """A file for the number of the main process (nginx ``pid``), or ``off``."""
    control_socket: Annotated[str, BeforeValidator(_off_as_text)] = "auto"
    """Where ``synproxy reload`` and other commands reach the main process: a path, ``off``, or
    ``auto``: ``control.sock`` in the RuntimeDirectory that systemd made, and nowhere without."""
