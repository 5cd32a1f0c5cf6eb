"""What is deployed: the workers, and the files that Synapse reads. Writes nothing.

The files are what an administrator would write after Synapse's docs/workers.md; sockets are named
as in the shipped configuration. Rate limits are lifted, password hashing is cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER_NAME = "lab.test"
BRIDGE_TOKEN = "bridge"
BRIDGED = "_bridge_"
"""What the names of the bridge's users begin with."""
MAX_SOCKET_PATH = 107  # sun_path in unix(7), less the NUL


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker. ``kinds``: what it is for, in the words of the shared endpoint table's pools."""

    name: str
    kinds: tuple[str, ...]
    resources: tuple[str, ...] = ("client",)
    writes: tuple[str, ...] = ()
    """The streams of which it is the writer."""


SINGLE_WRITERS = ("typing", "to_device", "account_data", "presence", "push_rules")
WRITERS = (*SINGLE_WRITERS, "receipts", "device_lists")

WORKERS = (
    Worker("login", ("login",)),
    Worker("initial_sync1", ("initial_sync",)),
    Worker("normal_sync1", ("sync", "sliding_sync")),
    Worker("normal_sync2", ("sync", "sliding_sync")),
    Worker("client_reader1", ("client_reader", "encryption", "room", "user_dir")),
    Worker("event_creator1", ("event_creator",)),
    Worker("federation_reader1", ("federation_reader", "federation_inbound"), ("federation",)),
    Worker("media_repository1", ("media_repository",), ("media",)),
    Worker("stream_writer1", WRITERS, writes=WRITERS),
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the lab's files are."""

    root: Path

    def __post_init__(self) -> None:
        longest = max((self.inbound(worker.name) for worker in WORKERS), key=lambda p: len(str(p)))
        if len(str(longest)) > MAX_SOCKET_PATH:
            raise ValueError(f"longer than {MAX_SOCKET_PATH} bytes for a UNIX socket: {longest}")

    def inbound(self, name: str) -> Path:
        """The socket of a process for clients, peers and media."""
        return self.root / f"inbound_{name}.sock"

    def replication(self, name: str) -> Path:
        return self.root / f"replication_{name}.sock"

    @property
    def homeserver(self) -> Path:
        return self.root / "homeserver.yaml"

    def worker(self, name: str) -> Path:
        return self.root / "workers" / f"{name}.yaml"

    def log_config(self, name: str) -> Path:
        return self.root / f"{name}.log.config"

    def log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    def output(self, name: str) -> Path:
        return self.root / f"{name}.out"

    @property
    def signing_key(self) -> Path:
        return self.root / f"{SERVER_NAME}.signing.key"

    @property
    def appservice(self) -> Path:
        """The registration of a bridge, which acts for users of its own."""
        return self.root / "appservice.yaml"

    @property
    def peer_certificate(self) -> Path:
        """The certificate that a stand-in for another homeserver may show (tests/e2e/peer.py)."""
        return self.root / "peer.pem"


def homeserver(
    places: Places, workers: Sequence[Worker], database: Path, redis: Path, base_url: str
) -> dict[str, Any]:
    """homeserver.yaml; ``database`` is the directory of PostgreSQL's socket."""
    media = [worker.name for worker in workers if "media" in worker.resources]
    writers = {
        stream: [worker.name for worker in workers if stream in worker.writes] for stream in WRITERS
    }
    return {
        "server_name": SERVER_NAME,
        "public_baseurl": base_url,
        "report_stats": False,
        "pid_file": str(places.root / "main.pid"),
        "signing_key_path": str(places.signing_key),
        "macaroon_secret_key": "lab",
        "form_secret": "lab",
        "registration_shared_secret": "lab",
        "worker_replication_secret": "lab",
        "media_store_path": str(places.root / "media"),
        "log_config": str(places.log_config("main")),
        "max_upload_size": "50M",
        "database": {
            "name": "psycopg2",
            "args": {
                "user": "synapse",
                "dbname": "synapse",
                "host": str(database),
                "cp_min": 1,
                "cp_max": 5,
            },
        },
        "redis": {"enabled": True, "path": str(redis)},
        "instance_map": {
            "main": {"path": str(places.replication("main"))},
            **{
                worker.name: {"path": str(places.replication(worker.name))}
                for worker in workers
                if worker.writes
            },
        },
        "stream_writers": {stream: names for stream, names in writers.items() if names},
        **(
            {"enable_media_repo": False, "media_instance_running_background_jobs": media[0]}
            if media
            else {}
        ),
        "listeners": [
            _public(places.inbound("main"), ("client", "federation")),
            _replication(places.replication("main")),
        ],
        "app_service_config_files": [str(places.appservice)],
        "allow_guest_access": True,
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "bcrypt_rounds": 4,
        # Peers are stand-ins on loopback with a certificate of the lab.
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "ip_range_blacklist": [],
        "federation_custom_ca_list": [str(places.peer_certificate)],
        **_no_rate_limits(),
    }


def worker_file(places: Places, worker: Worker) -> dict[str, Any]:
    """The file of one worker."""
    return {
        "worker_app": "synapse.app.generic_worker",
        "worker_name": worker.name,
        "worker_pid_file": str(places.root / f"{worker.name}.pid"),
        "worker_log_config": str(places.log_config(worker.name)),
        "worker_listeners": [
            _public(places.inbound(worker.name), worker.resources),
            *([_replication(places.replication(worker.name))] if worker.writes else []),
        ],
        **({"enable_media_repo": True} if "media" in worker.resources else {}),
    }


def appservice() -> dict[str, Any]:
    """The bridge as Synapse reads it; Synapse pushes nothing to it."""
    namespace = {"exclusive": True, "regex": f"@{BRIDGED}.*"}
    return {
        "id": "bridge",
        "url": None,
        "as_token": BRIDGE_TOKEN,
        "hs_token": "unused",
        "sender_localpart": "bridge",
        "rate_limited": False,
        "namespaces": {"users": [namespace], "aliases": [], "rooms": []},
    }


def log_config(places: Places, name: str) -> dict[str, Any]:
    """Python's logging configuration for one process: one file, the request id in each line."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "precise": {
                "format": "%(asctime)s - %(name)s - %(lineno)d - %(levelname)s"
                " - %(request)s - %(message)s"
            }
        },
        "handlers": {
            "file": {
                "class": "logging.FileHandler",
                "formatter": "precise",
                "filename": str(places.log(name)),
            }
        },
        "root": {"level": "INFO", "handlers": ["file"]},
    }


def _public(socket: Path, resources: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "http",
        "path": str(socket),
        "mode": 0o666,
        "x_forwarded": True,
        "request_id_header": "X-Request-Id",
        "resources": [{"names": list(resources), "compress": False}],
    }


def _replication(socket: Path) -> dict[str, Any]:
    return {"type": "http", "path": str(socket), "resources": [{"names": ["replication"]}]}


def _no_rate_limits() -> dict[str, Any]:
    limit = {"per_second": 100_000, "burst_count": 100_000}
    return {
        "rc_message": limit,
        "rc_registration": limit,
        "rc_login": {"address": limit, "account": limit, "failed_attempts": limit},
        "rc_joins": {"local": limit, "remote": limit},
        "rc_joins_per_room": limit,
        "rc_invites": {"per_room": limit, "per_user": limit, "per_issuer": limit},
        "rc_room_creation": limit,
        "rc_media_create": limit,
        "rc_presence": {"per_user": limit},
        "rc_profile": limit,
        "rc_user_directory": limit,
        "rc_key_requests": limit,
        "rc_federation": {
            "window_size": 1000,
            "sleep_limit": 100_000,
            "sleep_delay": 1,
            "reject_limit": 100_000,
            "concurrent": 100,
        },
    }
