"""The two proxies over the servers of the HTTP semantics tests, and those servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.differential.deployment import SEED
from tests.support.nginx import Nginx
from tests.support.recorder import Recorder
from tests.support.synproxy import Synproxy

HERE = Path(__file__).parent / "semantics"
LIVE = ("one.sock", "first.sock", "second.sock", "kept.sock")
SNIPPETS = {
    "slow": ("proxy_read_timeout 3600s", "proxy_read_timeout 300ms"),
    "small": ("client_max_body_size 50M", "client_max_body_size 1000"),
    "kept": ("Connection $connection_upgrade", 'Connection ""'),
}


def nginx(directory: Path, sockets: Path, timeouts: str = "") -> Nginx:
    """nginx with semantics/nginx.conf and the seed's files that it includes."""
    files = {"nginx.conf": (HERE / "nginx.conf").read_text()}
    for name in ("conf.d/conn_optimize.conf", "conf.d/proxy_optimize.conf", "conf.d/maps.conf"):
        files[name] = (SEED / name).read_text()
    for name in ("snippets/proxy.conf", "snippets/private.conf"):
        files[name] = (SEED / name).read_text()
    for name, (old, new) in SNIPPETS.items():
        files[f"snippets/proxy_{name}.conf"] = files["snippets/proxy.conf"].replace(old, new)
    return Nginx(directory, files, {"SOCKETS": str(sockets), "TIMEOUTS": timeouts})


def synproxy(
    directory: Path, sockets: Path, loop: str, values: Mapping[str, str] | None = None
) -> Synproxy:
    """synproxy with semantics/synproxy.yaml, in which ``values`` are replaced."""
    text = (HERE / "synproxy.yaml").read_text()
    return Synproxy(directory, text, {"@SOCKETS@": str(sockets), **(values or {})}, loop)


@contextmanager
def servers(directory: Path) -> Iterator[Recorder]:
    """The live servers, and one socket file that nobody listens on."""
    with Recorder(directory) as recorder:
        recorder.listen(LIVE)
        recorder.leave_behind("refusing.sock")
        yield recorder
