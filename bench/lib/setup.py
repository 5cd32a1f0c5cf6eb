"""What a workload asks of every proxy: routes, servers, compression, TLS, processes. Pure."""

from __future__ import annotations

import itertools
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """A location, and the pool behind it; ``$sync`` means by ``since``."""

    name: str
    regex: str
    pool: str


@dataclass(frozen=True, slots=True)
class Setup:
    """How every proxy is configured for one workload."""

    gzip: bool = False
    routes: int = 10
    sync_servers: int = 3
    tls: bool = False
    http2: bool = False
    processes: int = 1

    def table(self) -> list[Route]:
        """The routes in order; what is beyond ten is put before and behind the sync route."""
        more = list(itertools.islice(_others(), self.routes - len(_TEN)))
        half = len(more) // 2
        return [*_TEN[:1], *more[:half], *_TEN[1:], *more[half:]]

    def pools(self) -> dict[str, list[str]]:
        """The names of each pool's servers."""
        sizes = {
            "login": 1,
            "initial_sync": 2,
            "normal_sync": self.sync_servers,
            "media": 1,
            "federation": 1,
            "events": 1,
            "client": 1,
            "main": 1,
        }
        return {
            pool: [f"{pool}{number}" for number in range(1, size + 1)]
            for pool, size in sizes.items()
        }

    def servers(self) -> list[str]:
        return [server for servers in self.pools().values() for server in servers]


PLAIN = Setup()

_LOGIN = (
    "^(/_matrix/client/(api/v1|r0|v3|unstable)/login"
    "|/_matrix/client/(r0|v3|unstable)/register"
    "|/_matrix/client/(r0|v3|unstable)/register/available"
    "|/_matrix/client/v1/register/m.login.registration_token/validity"
    "|/_matrix/client/(r0|v3|unstable)/password_policy)$"
)
_INITIAL = (
    "^(/_matrix/client/(api/v1|r0|v3)/initialSync"
    "|/_matrix/client/(api/v1|r0|v3)/rooms/[^/]+/initialSync)$"
)
_READ = "^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/[^/]+/(messages|members|context)"
_SEND = "^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/[^/]+/(send|redact|state)/"

_TEN = (
    Route("login", _LOGIN, "login"),
    Route("sync", "^/_matrix/client/(r0|v3)/sync$", "$sync"),
    Route("events", "^/_matrix/client/(api/v1|r0|v3)/events$", "normal_sync"),
    Route("initial-sync", _INITIAL, "initial_sync"),
    Route("send", _SEND, "events"),
    Route("read", _READ, "client"),
    Route(
        "media", "^(/_matrix/((client|federation)/[^/]+/)media/|/_matrix/media/v3/upload)", "media"
    ),
    Route("federation-send", "^/_matrix/federation/v1/send/", "federation"),
    Route("federation", "^/_matrix/(federation|key)/", "federation"),
    Route("rest", "^/", "main"),
)


def _others() -> list[Route]:
    """Locations like those of Synapse's worker documentation, one for each endpoint."""
    places = {
        "/_matrix/client/(api/v1|r0|v3|unstable)": (
            *("createRoom", "publicRooms", "joined_rooms", "search", "keys/query", "keys/changes"),
            *("keys/upload", "keys/claim", "room_keys/", "devices", "pushers", "pushrules/"),
            *("notifications", "capabilities", "account/3pid", "account/whoami", "voip/turnServer"),
            *("user_directory/search", "sendToDevice/", "directory/room/", "delete_devices"),
        ),
        "/_matrix/client/(api/v1|r0|v3|unstable)/rooms/[^/]+": (
            *("joined_members", "event/", "aliases", "hierarchy", "relations/", "threads"),
            *("timestamp_to_event", "typing/", "receipt/", "read_markers", "join", "invite"),
            *("leave", "ban", "unban", "kick", "forget", "upgrade", "report", "tags"),
        ),
        "/_matrix/client/(api/v1|r0|v3|unstable)/user/[^/]+": (
            *("filter", "account_data/", "openid/", "rooms/[^/]+/tags", "rooms/[^/]+/account_data"),
        ),
        "/_matrix/federation/(v1|v2)": (
            *("event/", "state/", "state_ids/", "backfill/", "get_missing_events/", "publicRooms"),
            *("query/", "make_join/", "make_leave/", "send_join/", "send_leave/", "make_knock/"),
            *("send_knock/", "invite/", "event_auth/", "timestamp_to_event/", "user/devices/"),
            *("exchange_third_party_invite/", "hierarchy/", "openid/", "get_groups_publicised"),
        ),
        "/_synapse/(admin|client)/(v1|v2)": (
            *("users/", "rooms/", "media/", "room/", "register", "server_version", "federation/"),
            *("background_updates/", "event_reports", "statistics/", "registration_tokens/"),
            *("password_reset/", "saml2/", "oidc/", "pick_idp", "pick_username", "new_user"),
        ),
        "/_matrix/client/unstable/org.matrix.msc[0-9]+": (
            *("im.nheko/", "sync", "summary/", "thumbnail", "delayed_events", "rendezvous/"),
            *("dehydrated_device", "profile/", "policies", "widgets/", "presence", "report"),
        ),
        "/_matrix/app/v[0-9]+": ("transactions/", "rooms/", "users/", "ping", "thirdparty/"),
        "/_matrix/push/v1/[a-z]+": ("notify", "gcm", "apns", "web"),
    }
    return [
        Route(f"other-{place}-{tail}-{number}", f"^{prefix}/{ending}{end}", "client")
        for place, (prefix, endings) in enumerate(places.items())
        for tail, ending in enumerate(endings)
        for number, end in enumerate(("$", "/[^/]+$"))
    ]
