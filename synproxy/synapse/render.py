"""A plan as a configuration file that people read: YAML with comments, the same one every time.

Must not decide where anything goes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from synproxy.synapse.catalogue import Group
from synproxy.synapse.deployment import MAX_REQUEST_SIZE
from synproxy.synapse.plan import MAS, SYNC, Plan, PlannedGroup, PlannedPool, PlannedRoute
from synproxy.synapse.processes import MAIN

WIDTH = 100
PRIVATE = "private"

RESTART_HOLD = "10s"
"""How long a request waits for a worker that `systemctl restart` has taken away."""

RESTART_HOLD_ALONE = "30s"
"""The same where no other process can serve it, so that giving up is an error for the client."""

QUEUE = "{number: 1000, timeout: 60s}"
"""Where requests wait while every server has as many as it should."""

KEEPALIVE = "50s"
"""How long an idle connection is kept: Synapse closes it after 60 s."""

DEADLINE_MARGIN = "10m"
"""How much longer than its own timeout= a sync is waited for. A large first one takes minutes to be
made, whatever its timeout= says; what takes longer is a worker that hangs."""

_KEYS = {"user": "$synapse_user", "room": "$room_id", "origin": "$x_matrix_origin"}
"""The variable for each key of the catalogue."""

POOLS_HEAD = """\
# keepalive_timeout: Synapse closes idle connections after 60 s, and a POST that meets that fails.
# restart_hold: a request waits so long for a worker that is being restarted.
# fallback: the pool that takes over while no server is up. Where none is written, none can.
# unrecognized: the pool that is asked once more when a worker does not know an endpoint.
# queue: where requests wait, by turns of users, while every server has max_conns of them.
pools:
"""

_PLAIN = re.compile(r"[A-Za-z0-9_/$.][A-Za-z0-9_./:@$+-]*")


@dataclass(frozen=True, slots=True)
class Choices:
    """What Synapse's files do not say."""

    listen: tuple[str, ...] = ()
    """Where clients connect."""
    allow: tuple[str, ...] = ()
    """Addresses and networks that may administer Synapse."""


def render(plan: Plan, choices: Choices, notes: Sequence[str] = ()) -> str:
    """The text of the configuration."""
    sections = [
        _head(plan, notes),
        _listeners(plan, choices),
        _http(plan),
        _PROXY,
        _allowlists(choices),
        _maps(plan),
        _pools(plan),
        _whoami(plan),
        _routes(plan),
        _well_known(plan),
    ]
    return "\n".join(section for section in sections if section)


def scalar(text: str) -> str:
    """``text`` as YAML reads it back, in quotes where it has to be; also inside brackets."""
    if _PLAIN.fullmatch(text) and not text.endswith(":") and yaml.safe_load(text) == text:
        return text
    return "'" + text.replace("'", "''") + "'"


# The head


def _head(plan: Plan, notes: Sequence[str]) -> str:
    deployment = plan.deployment
    files = [document.file for document in deployment.files.all]
    lines = [
        f"# synproxy for {deployment.server_name}, made by `synproxy init` for Synapse "
        f"{deployment.version} from",
        "#",
        *(f"#   {file}" for file in files),
        "#",
        *_comment(
            "Change it as you like: `synproxy check` shows every mistake, `synproxy lint` what is "
            "risky, `synproxy explain GET /_matrix/...` where a request goes. Or make it again "
            "when the workers change. `synproxy run --synapse ...` does without this file."
        ),
    ]
    if deployment.workers:
        lines += ["#", *_worker_table(plan)]
    for note in notes:
        lines += ["#", *_comment(f"Note: {note}")]
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str = "") -> list[str]:
    width = WIDTH - len(indent) - 2
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return [f"{indent}# {line}" for line in lines]


def _worker_table(plan: Plan) -> list[str]:
    """What each worker is, and why."""
    roles = plan.deployment.roles
    width = max(map(len, roles))
    lines = []
    for worker in plan.deployment.workers:
        role = roles[worker.name]
        text = f"{', '.join(role.kinds) or 'nothing'} ({role.because})"
        first, *more = textwrap.wrap(text, WIDTH - width - 6)
        lines.append(f"#   {worker.name.ljust(width)}  {first}")
        lines += [f"#   {' ' * width}  {line}" for line in more]
    return lines


# What Synapse does not say


def _listeners(plan: Plan, choices: Choices) -> str:
    listen = choices.listen or _free_listeners(plan)
    return "\n".join(["listeners:", *(f'  - "{text}"' for text in listen)]) + "\n"


def _free_listeners(plan: Plan) -> tuple[str, ...]:
    """Port 8008 on all addresses, or the first one after it that Synapse does not use."""
    processes = (plan.deployment.main, *plan.deployment.workers)
    used = {one.address.rpartition(":")[2] for p in processes for one in p.listeners}
    port = next(port for port in range(8008, 65536) if str(port) not in used)
    return str(port), f"[::]:{port}"


def _http(plan: Plan) -> str:
    listener = plan.deployment.main.listener("client")
    header = listener.request_id_header if listener else ""
    request_id = (
        f"  request_id: {scalar(header)}  # as request_id_header there: the id in Synapse's log is"
        " that in ours\n"
        if header
        else ""
    )
    return f"""\
http:
  client_max_body_size: {_size(MAX_REQUEST_SIZE)}  # Synapse's own bound outside media
  large_client_header_buffers: 4 16k  # Synapse closes at longer lines, without an answer
  keepalive_timeout: 65
  server_tokens: off
  cors_preflight: on  # OPTIONS is answered here, as Synapse would
  gzip:
    enabled: on
    comp_level: 2
    min_length: 1000
    types: [application/json, text/plain]
{request_id}"""


_PROXY = f"""\
proxy:
  deadline_margin: {DEADLINE_MARGIN}  # a sync is waited for so much longer than it asks (timeout=)
"""


def _allowlists(choices: Choices) -> str:
    lines = [
        "allowlists:",
        f"  {PRIVATE}:  # who may administer Synapse",
    ]
    if choices.allow:
        lines += [f"    - allow: {scalar(text)}" for text in choices.allow]
    else:
        lines += [
            "    # Nobody yet. With a proxy on this machine in front of this one, such as for TLS,",
            "    # 127.0.0.1 would be every client.",
            "    # - allow: 192.0.2.1",
        ]
    return "\n".join([*lines, "    - deny: all"]) + "\n"


# Maps and pools


def _maps(plan: Plan) -> str:
    if not plan.sync:
        return ""
    return f"""\
maps:
  # The first sync of a session has no "since" and costs far more than the later ones, and so does
  # one that asks for everything again.
  {SYNC}:
    source: $arg_since/$arg_full_state
    values:
      '~^/': {plan.sync["initial"]}
      '~/true$': {plan.sync["initial"]}
    default: {plan.sync["later"]}
"""


def _pools(plan: Plan) -> str:
    anchors = _anchors(plan)
    written: set[tuple[str, ...]] = set()
    parts = []
    for pool in plan.pools.values():
        lines = [*_comment(_about(pool), "  "), f"  {pool.name}:"]
        if len(pool.servers) > 1 or pool.key:
            balance = f"{{hash: {_KEYS[pool.key]}}}" if pool.key else "least_conn"
            lines.append(f"    balance: {balance}")
        if pool.workers != (MAS,):
            lines += [f"    keepalive_timeout: {KEEPALIVE}", "    health_check: on"]
        hold = RESTART_HOLD if pool.fallback else RESTART_HOLD_ALONE
        lines.append(f"    restart_hold: {hold}")
        if pool.fallback:
            lines.append(f"    fallback: {pool.fallback}")
        if pool.unrecognized:
            lines.append(f"    unrecognized: {pool.unrecognized}")
        if pool.limit:
            lines.append(f"    queue: {QUEUE}")
        if not pool.limit and pool.servers in written and pool.servers in anchors:
            lines.append(f"    servers: *{anchors[pool.servers]}")
        else:
            named = pool.servers in anchors and not pool.limit
            anchor = f" &{anchors[pool.servers]}" if named else ""
            lines.append(f"    servers:{anchor}")
            lines += [f"      - {_server(server, pool.limit)}" for server in pool.servers]
        if not pool.limit:
            written.add(pool.servers)
        parts.append("\n".join(lines) + "\n")
    return POOLS_HEAD + "\n".join(parts)


def _server(address: str, limit: int) -> str:
    if not limit:
        return scalar(address)
    return f"{{address: {scalar(address)}, max_conns: {limit}}}"


def _whoami(plan: Plan) -> str:
    """Which pool says whose a token is, if anything depends on it."""
    if not any(pool.key == "user" for pool in plan.pools.values()):
        return ""
    routes = [route for group in plan.groups for route in group.routes]
    pool = next((route.pool for route in routes if route.endpoint.name == "whoami"), MAIN)
    return f"""\
# Asked once for each token that does not say whose it is (MAS, bridges, guests); no request waits.
synapse:
  whoami: {pool}
"""


def _anchors(plan: Plan) -> dict[tuple[str, ...], str]:
    """A name for each list of several servers that stands in more than one pool."""
    first: dict[tuple[str, ...], str] = {}
    repeated: dict[tuple[str, ...], str] = {}
    for pool in plan.pools.values():
        if pool.limit:
            continue
        if pool.servers in first and len(pool.servers) > 1:
            repeated[pool.servers] = f"{first[pool.servers]}_servers"
        first.setdefault(pool.servers, pool.name.partition("_by_")[0])
    return repeated


_ABOUT_KEY = {
    "user": "each user stays with one of them, which has what they need in memory",
    "room": "each room stays with one of them",
    "origin": "each server that sends stays with one of them",
}


def _about(pool: PlannedPool) -> str:
    if pool.workers == (MAIN,):
        return "Synapse itself, for all that no worker takes"
    if pool.workers == (MAS,):
        return "the Matrix Authentication Service (matrix_authentication_service.endpoint)"
    names = ", ".join(pool.workers)
    return f"{names}: {_ABOUT_KEY[pool.key]}" if pool.key and len(pool.servers) > 1 else names


# Routes


def _routes(plan: Plan) -> str:
    head = "# Tried in this order; what no route takes is main's, at the end.\nroutes:\n"
    if plan.left_to_main:
        text = f"No worker is for {', '.join(plan.left_to_main)}: main serves that, at the end."
        head += "\n".join(_comment(text, "  ")) + "\n\n"
    uploads = _size(plan.deployment.max_upload_size)
    parts = [_group(group, uploads) for group in plan.groups]
    lines = ["  # Everything else"]
    for prefix, pool in plan.prefixes.items():
        name = MAIN if prefix == "/" else prefix.strip("/_").replace("/", "_")
        lines.append(f"  - {{name: {name}, pool: {pool}, location: {prefix}}}")
    return head + "\n\n".join([*parts, "\n".join(lines)]) + "\n"


def _group(planned: PlannedGroup, uploads: str) -> str:
    """One line for each endpoint, with the locations below each other."""
    group = planned.group
    rows = [
        (", ".join(_fields(group, route, uploads)) + ",", scalar(f"~ {route.endpoint.path}"))
        for route in planned.routes
    ]
    width = max(len(fields) for fields, _ in rows)
    lines = [f"  - {{{fields.ljust(width)} location: {location}}}" for fields, location in rows]
    return "\n".join([*_comment(group.title, "  "), *lines])


def _fields(group: Group, route: PlannedRoute, uploads: str) -> Iterator[str]:
    yield f"name: {route.endpoint.name}"
    yield f"pool: {route.pool}"
    if route.endpoint.methods:
        yield f"methods: [{', '.join(route.endpoint.methods)}]"
    if group.private:
        yield f"allowlists: [{PRIVATE}]"
    if group.upload:
        yield f"proxy: {{client_max_body_size: {uploads}}}"


def _well_known(plan: Plan) -> str:
    base = plan.deployment.public_baseurl
    if not base:
        return ""
    host = re.sub(r"^https?://|/.*$", "", base)
    port = "" if ":" in host else ":443"
    return f"""\
# Main answers below /.well-known/matrix/. To answer there with Synapse down, too:
#
# well_known:
#   client:
#     m.homeserver: {{base_url: {scalar(base)}}}
#   server:
#     m.server: {scalar(host + port)}
"""


def _size(size: int) -> str:
    """Bytes as nginx writes them."""
    for unit, factor in (("g", 1 << 30), ("M", 1 << 20), ("k", 1 << 10)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
