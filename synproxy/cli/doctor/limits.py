"""Limits that must fit together: body sizes, keep-alive times, descriptors."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

from synproxy.cli.doctor.asking import NoReplyError, ask
from synproxy.cli.doctor.finding import Finding, fail, ok, skip, warn
from synproxy.cli.doctor.holders import Process
from synproxy.cli.doctor.routing import way_of
from synproxy.config.model import Config
from synproxy.explain.offline import Offline

SYNAPSE_IDLE = 60.0
"""Seconds after which Synapse closes an idle connection: Twisted's ``HTTPChannel`` default, which
Synapse has no setting for."""

LARGEST_TRANSACTION = 200 * 65536
"""Bytes; Synapse's ``MAX_REQUEST_SIZE``, which a federation transaction may reach."""

MEDIA_CONFIG = ("/_matrix/client/v1/media/config", "/_matrix/media/v3/config")
_UPLOAD = "/_matrix/media/v3/upload"
_SEND = "/_matrix/federation/v1/send/1"

_OWN_DESCRIPTORS = 64
"""Listeners, logs, the event loop, and some to spare."""


def check_keepalive(config: Config) -> Iterator[Finding]:
    """Idle connections must be given up before Synapse closes them: a POST that meets the close
    is answered with 502, because it may not be sent twice."""
    by_time: dict[float, list[str]] = {}
    for name, pool in config.pools.items():
        if pool.keepalive:
            by_time.setdefault(pool.keepalive_timeout, []).append(name)
    if not by_time:
        yield ok("keepalive", "every pool", "no idle connections are kept")
    for seconds, names in by_time.items():
        pools = f"pool{'s' if len(names) > 1 else ''} {', '.join(names)}"
        what = f"idle for {seconds:g} s at most, Synapse closes after {SYNAPSE_IDLE:g} s"
        if seconds < SYNAPSE_IDLE:
            yield ok("keepalive", pools, what)
        else:
            yield warn(
                "keepalive",
                pools,
                f"{what}: a POST may meet the close, and may not be sent again",
                "keepalive_timeout: 50s in the pool",
            )


def check_transactions(offline: Offline) -> Finding:
    """Whether the largest transaction of another server gets in."""
    way = way_of(offline, "PUT", _SEND)
    if way.route is None or not way.forwarded:
        return skip("federation-size", _SEND, "the configuration forwards no federation traffic")
    limit = way.route.max_body
    if 0 < limit < LARGEST_TRANSACTION:
        return fail(
            "federation-size",
            f"route {way.route.name}",
            f"client_max_body_size is {size(limit)}, a transaction may have"
            f" {size(LARGEST_TRANSACTION)}: other servers' messages would be lost",
            "client_max_body_size: 50M in the proxy section of the route",
        )
    return ok("federation-size", f"route {way.route.name}", f"bodies of {_at_most(limit)}")


async def check_upload(
    offline: Offline, where: str | None, token: str, stated: int | None, patience: float
) -> Finding:
    """The same upload limit on both sides. ``where``: who is asked, None if nobody answers;
    ``stated``: what Synapse's files say, for those who have no token to ask with."""
    way = way_of(offline, "POST", _UPLOAD)
    if way.route is None or not way.forwarded:
        return fail(
            "upload", _UPLOAD, "the configuration forwards no uploads", "a route for /_matrix/media"
        )
    ours, route = way.route.max_body, f"route {way.route.name}"
    theirs, source = stated, "Synapse's files"
    if where is not None and token:
        try:
            theirs, source = await _synapse_limit(where, token, patience), "Synapse"
        except (NoReplyError, ValueError) as error:
            return skip("upload", route, f"takes {_at_most(ours)}; Synapse's limit: {error}")
    if theirs is None:
        why = "nobody answers" if where is None else "Synapse tells its own limit to its users only"
        return skip(
            "upload",
            route,
            f"takes {_at_most(ours)}; {why}",
            "--synapse homeserver.yaml, or --token-file FILE with an access token in it",
        )
    if ours == theirs:
        return ok("upload", route, f"{size(ours)} here and in {source}")
    numbers = f"{_at_most(ours)} here, {size(theirs)} in {source} (max_upload_size)"
    remedy = f"client_max_body_size: {_as_written(theirs)} for this route, or the same in Synapse"
    if 0 < ours < theirs:
        return fail("upload", route, f"{numbers}: uploads that Synapse allows are refused", remedy)
    return warn("upload", route, f"{numbers}: more is sent on than Synapse takes", remedy)


async def _synapse_limit(where: str, token: str, patience: float) -> int:
    """``m.upload.size`` in bytes.

    :raises ValueError: Synapse does not say.
    """
    status = 0
    for target in MEDIA_CONFIG:
        reply = await ask(where, target, patience, {"Authorization": f"Bearer {token}"})
        limit = reply.json().get("m.upload.size")
        if reply.status == 200 and isinstance(limit, int):
            return limit
        status = reply.status
        if status == 401:
            raise ValueError("the access token is not valid (401)")
    raise ValueError(f"{status} to GET {MEDIA_CONFIG[-1]}")


def check_descriptors(
    config: Config, clients: int, process: Process | None, unit: dict[str, str]
) -> Finding:
    """Two descriptors for each exchange, and the idle connections, within the limit."""
    limit, whose = _descriptor_limit(process, unit)
    idle = sum(pool.keepalive for pool in config.pools.values())
    needed = 2 * clients + idle + _OWN_DESCRIPTORS
    carries = (limit - idle - _OWN_DESCRIPTORS) // 2
    if limit >= needed:
        return ok("descriptors", whose, f"{limit} carry {carries} requests at the same time")
    return fail(
        "descriptors",
        whose,
        f"{limit} carry {max(carries, 0)} requests at the same time, not {clients} (--clients)",
        f"LimitNOFILE={_round_up(needed)} in synproxy.service (systemctl edit synproxy)",
    )


def _descriptor_limit(process: Process | None, unit: dict[str, str]) -> tuple[int, str]:
    if process is not None:
        soft = _soft_limit(Path(f"/proc/{process.pid}/limits"))
        if soft is not None:
            return soft, f"running {process}"
    if unit.get("LimitNOFILE", "").isdigit():
        return int(unit["LimitNOFILE"]), "LimitNOFILE of synproxy.service"
    # synproxy raises its own limit to the hard one.
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1], "hard limit of this shell"


def _soft_limit(table: Path) -> int | None:
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("Max open files"):
            return int(line.split()[3])
    return None


def _round_up(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _at_most(limit: int) -> str:
    return f"at most {size(limit)}" if limit else "any size"


def size(count: int) -> str:
    """Bytes for people, never rounded: two limits that differ must look different."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count and count % factor == 0:
            return f"{count // factor} {unit}"
    return f"{count} bytes"


def _as_written(count: int) -> str:
    """A size as the configuration file takes it."""
    for suffix, factor in (("g", 1 << 30), ("M", 1 << 20), ("k", 1 << 10)):
        if count and count % factor == 0:
            return f"{count // factor}{suffix}"
    return str(count)
