"""What each worker is for: its kinds, from Synapse's configuration, its name, or the administrator.

Must not know endpoints or addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from synproxy.synapse.catalogue import Catalogue
from synproxy.synapse.processes import Process

GENERIC = "generic"
"""A worker of no particular kind: it stands in wherever its listeners let it."""

NONE = "none"
"""A worker that no request goes to, on purpose."""

BY_NAME: Mapping[str, tuple[str, ...]] = {
    # docs/workers.md, docker/configure_workers_and_start.py, matrix-docker-ansible-deploy, ess-helm
    "generic_worker": (GENERIC,),
    "generic": (GENERIC,),
    "synchrotron": ("normal_sync",),
    "sync_worker": ("normal_sync",),
    "sync": ("normal_sync",),
    "initial_synchrotron": ("initial_sync",),
    "initial_sync": ("initial_sync",),
    "sync_initial": ("initial_sync",),
    "normal_sync": ("normal_sync",),
    "sync_normal": ("normal_sync",),
    "sliding_sync": ("sliding_sync",),
    "client_reader": ("client_reader",),
    "client": ("client_reader",),
    "encryption": ("encryption",),
    "keys": ("encryption",),
    "frontend_proxy": ("encryption",),
    "event_creator": ("event_creator",),
    "room_worker": ("event_creator", "room"),
    "room": ("event_creator", "room"),
    "messages": ("room",),
    "federation_reader": ("federation_reader",),
    "fed_reader": ("federation_reader",),
    "federation_requests": ("federation_reader",),
    "federation": ("federation_reader",),
    "federation_inbound": ("federation_inbound",),
    "fed_inbound": ("federation_inbound",),
    "media_repository": ("media_repository",),
    "media_repo": ("media_repository",),
    "media": ("media_repository",),
    "user_dir": ("user_dir",),
    "user_directory": ("user_dir",),
    "login": ("login",),
    "registration": ("login",),
    "register": ("login",),
    "sso_login": ("sso",),
    "sso": ("sso",),
    "mas_helper": ("mas_helper",),
    # These serve no requests of their own, or only those of the streams they write.
    "federation_sender": (),
    "fed_sender": (),
    "pusher": (),
    "appservice": (),
    "background_worker": (),
    "background": (),
    "event_persister": (),
    "persister": (),
    "stream_writer": (),
    "stream_writers": (),
    "typing": (),
    "to_device": (),
    "account_data": (),
    "receipts": (),
    "receipts_account": (),
    "presence": (),
    "presence_writer": (),
    "push_rules": (),
    "device_lists": (),
    "thread_subscriptions": (),
    "quarantined_media_changes": (),
}
"""Kinds by what is found in a name; the longest phrase counts, several add up."""

_LONGEST = max(phrase.count("_") + 1 for phrase in BY_NAME)

# Settings that name workers with work of their own, for which no request need reach them.
DUTIES = (
    "federation_sender_instances",
    "pusher_instances",
    "notify_appservices_from_worker",
    "run_background_tasks_on",
    "update_user_directory_from_worker",
    "outbound_federation_restricted_to",
)


@dataclass(frozen=True, slots=True)
class Role:
    """The kinds of one worker, and how they are known."""

    kinds: tuple[str, ...]
    because: str
    busy: bool = False
    """It has work that no request brings it."""


def kinds_in_name(name: str) -> tuple[str, ...] | None:
    """The kinds that a name speaks of; None if it says nothing that is known here."""
    words = [word.strip("0123456789") for word in re.split(r"[^a-z0-9]+", name.lower())]
    words = [word for word in words if word]
    found: list[str] = []
    known = False
    position = 0
    while position < len(words):
        for length in range(min(_LONGEST, len(words) - position), 0, -1):
            phrase = "_".join(words[position : position + length])
            if phrase in BY_NAME:
                known = True
                found += BY_NAME[phrase]
                position += length
                break
        else:
            position += 1
    return tuple(dict.fromkeys(found)) if known else None


def roles(
    catalogue: Catalogue,
    workers: Iterable[Process],
    writers: Mapping[str, tuple[str, ...]],
    assigned: Mapping[str, tuple[str, ...]],
) -> dict[str, Role]:
    """The role of each worker by its name.

    ``writers``: who writes each stream. ``assigned``: what the administrator says, which takes the
    place of what names say.
    """
    return {
        worker.name: _role(catalogue, worker, writers, assigned.get(worker.name))
        for worker in workers
    }


def _role(
    catalogue: Catalogue,
    worker: Process,
    writers: Mapping[str, tuple[str, ...]],
    assigned: tuple[str, ...] | None,
) -> Role:
    streams = [stream for stream, names in writers.items() if worker.name in names]
    kinds = [catalogue.streams[stream] for stream in streams if stream in catalogue.streams]
    because = ["stream_writers"] if streams else []
    duties = [key for key in DUTIES if worker.name in worker.settings.names(key)]
    media = "media" in worker.offers
    if media:
        kinds.append("media_repository")
        because.append("its media listener")
    if assigned is not None:
        kinds += [kind for kind in assigned if kind != NONE]
        because.append("--assign")
    elif (named := _named(worker)) is not None:
        text, found = named
        found = tuple(kind for kind in found if kind != "media_repository")
        kinds += found
        because += [text] if found or not because else []
    elif not (kinds or streams or duties) and worker.offers & {"client", "federation"}:
        kinds.append(GENERIC)
        because.append("it is of no particular kind")
    if "update_user_directory_from_worker" in duties and "client" in worker.offers:
        kinds.append("user_dir")
        because.append("update_user_directory_from_worker")
    busy = bool(streams or duties) or assigned == (NONE,)
    return Role(tuple(dict.fromkeys(kinds)), ", ".join(because or duties) or "its name", busy)


def _named(worker: Process) -> tuple[str, tuple[str, ...]] | None:
    """What the application, the name or the file of a worker says, whichever says something."""
    app = worker.app.removeprefix("synapse.app.")
    candidates: Iterator[tuple[str, str]] = iter(
        (
            ("worker_app", "" if app == "generic_worker" else app),
            ("its name", worker.name if worker.name != worker.app else ""),
            ("its file's name", PurePath(worker.own.file).stem),
        )
    )
    for source, text in candidates:
        if (kinds := kinds_in_name(text)) is not None:
            return source, kinds
    return None
