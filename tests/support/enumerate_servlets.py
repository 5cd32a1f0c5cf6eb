"""What each process of an installed Synapse registers: run by the Python that has it.

    VENV/bin/python tests/support/enumerate_servlets.py > v1.163.json

prints, for several configurations, the (method, regex) of main, a generic worker and a media
worker. ``python -m tests.support.merge_servlets`` makes synproxy's data from several such files.
Knows nothing of synproxy; imports Synapse and the standard library only.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

EXPERIMENTAL = (
    *("msc1763", "msc2654", "msc2666", "msc2815", "msc3026", "msc3266", "msc3391", "msc3575"),
    *("msc3720", "msc3814", "msc3881", "msc3916", "msc4076", "msc4108", "msc4133", "msc4143"),
    *("msc4151", "msc4155", "msc4156", "msc4169", "msc4210", "msc4306", "msc4370", "msc4446"),
    *("msc4450", "msc4452", "msc4491", "msc4502", "msc4512"),
)
SECRET = "enumerated"


def configurations(directory: Path) -> dict[str, dict[str, Any]]:
    """homeserver.yaml by name: plain, experimental, with MAS, with a media worker."""
    base = {
        "server_name": "example.org",
        "public_baseurl": "https://example.org/",
        "signing_key_path": str(directory / "key"),
        "log_config": str(directory / "log.yaml"),
        "media_store_path": str(directory / "media"),
        "pid_file": str(directory / "pid"),
        "database": {"name": "sqlite3", "args": {"database": str(directory / "db")}},
        "redis": {"enabled": True},
        "instance_map": {"main": {"host": "127.0.0.1", "port": 9}},
        "listeners": [http_listener("client", "federation")],
        "report_stats": False,
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        **dict.fromkeys(
            ("macaroon_secret_key", "form_secret", "worker_replication_secret"), SECRET
        ),
    }
    mas = {
        "matrix_authentication_service": {"enabled": True, "secret": SECRET},
        "password_config": {"enabled": False},
    }
    features = {f"{name}_enabled": True for name in EXPERIMENTAL}
    # Of the two kinds of dehydrated devices, Synapse takes one; the older one was on by default.
    features["msc2697_enabled"] = False
    if not knows_mas():
        features["msc4108_enabled"] = False  # it would need MAS
    experimental = {"experimental_features": features, "max_event_delay_duration": "1d"}
    found = {
        "default": base,
        "experimental": {**base, **(mas if knows_mas() else {}), **experimental},
        "split": {**base, "enable_media_repo": False},
    }
    return {**found, "mas": {**base, **mas}} if knows_mas() else found


def knows_mas() -> bool:
    """Whether this version has matrix_authentication_service (v1.136)."""
    return find_spec("synapse.config.mas") is not None


def workers(directory: Path) -> dict[str, dict[str, Any]]:
    generic = {
        "worker_app": "synapse.app.generic_worker",
        "worker_name": "worker1",
        "worker_log_config": str(directory / "log.yaml"),
        "worker_listeners": [http_listener("client", "federation")],
    }
    media = {"enable_media_repo": True, "worker_listeners": [http_listener("media")]}
    return {"worker": generic, "media": {**generic, "worker_name": "media1", **media}}


def http_listener(*resources: str) -> dict[str, Any]:
    return {"type": "http", "port": 8008, "resources": [{"names": list(resources)}]}


def enumerate_all() -> dict[str, Any]:
    import synapse.util
    from signedjson.key import generate_signing_key, write_signing_keys

    found: dict[str, Any] = {"version": synapse.util.SYNAPSE_VERSION, "configurations": {}}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with (directory / "key").open("w") as stream:
            write_signing_keys(stream, [generate_signing_key("a")])
        write(directory / "log.yaml", {"version": 1, "root": {"level": "ERROR"}})
        for worker, settings in workers(directory).items():
            write(directory / f"{worker}.yaml", settings)
        for configuration, settings in configurations(directory).items():
            shared = directory / f"{configuration}.yaml"
            write(shared, settings)
            processes = {"main": [shared], "worker": [shared, directory / "worker.yaml"]}
            if configuration == "split":
                processes["media"] = [shared, directory / "media.yaml"]
            found["configurations"][configuration] = {
                process: in_another_process(files) for process, files in processes.items()
            }
    return found


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))  # which is YAML too


def in_another_process(files: list[Path]) -> Any:
    """Synapse keeps state in modules, so each of its processes gets one of ours."""
    command = [sys.executable, __file__, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def registered(files: list[str]) -> list[tuple[str, str]]:
    """The (method, regex) of one process of Synapse; nothing is listened on."""
    from synapse.app import _base, generic_worker, homeserver
    from synapse.config.homeserver import HomeServerConfig
    from twisted.internet import reactor
    from twisted.web.resource import IResource

    is_main = len(files) == 1
    options = [option for file in files for option in ("-c", file)]
    config = HomeServerConfig.load_config("enumeration", options)
    kind = homeserver.SynapseHomeServer if is_main else generic_worker.GenericWorkerServer
    process = kind(config.server.server_name, config=config, reactor=reactor)
    process.setup()
    roots: list[Any] = []

    def catch(*arguments: Any, **named: Any) -> list[Any]:
        roots.extend(a for a in (*arguments, *named.values()) if IResource.providedBy(a))
        return []

    homeserver.listen_http = _base.listen_http = catch
    if is_main:
        for listener in config.server.listeners:
            process._listener_http(config, listener)
    else:
        for listener in config.worker.worker_listeners:
            process._listen_http(listener)
    return sorted({row for root in roots for row in rows(root, "")})


def rows(resource: Any, path: str) -> list[tuple[str, str]]:
    """What a tree of Twisted's resources answers."""
    from synapse.http.server import JsonResource

    if isinstance(resource, JsonResource):
        return list(servlets(resource))
    found = []
    methods = {
        match[1] for name in dir(resource) if (match := re.fullmatch(r".*render_([A-Z]+)", name))
    }
    name = type(resource).__name__
    if path and name not in ("OptionsResource", "UnrecognizedRequestResource", "StaticResource"):
        tail = "(/.*)?$" if resource.isLeaf else "$"
        regex = f"^{re.escape(path).replace('/', '/')}{tail}"
        found += [(method, regex) for method in methods - {"HEAD", "OPTIONS"}]
    for segment, child in getattr(resource, "children", {}).items():
        found += rows(child, f"{path}/{segment.decode()}")
    return found


def servlets(resource: Any) -> list[tuple[str, str]]:
    routes = resource._routes
    return [
        (
            method.decode(),
            pattern.pattern if pattern.pattern.startswith("^") else "^" + pattern.pattern,
        )
        for pattern, methods in routes.items()
        for method in methods
    ]


if __name__ == "__main__":
    answer = registered(sys.argv[1:]) if len(sys.argv) > 1 else enumerate_all()
    print(json.dumps(answer))
