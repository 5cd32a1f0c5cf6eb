"""Mistakes in Synapse's files are shown at their place, all at once, and say what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from synproxy.errors import ConfigError
from synproxy.synapse.source import SynapseSource
from tests.support.synapse_files import GENERIC, SynapseFiles, http, socket

Change = Callable[[SynapseFiles], object]


def mistakes(files: SynapseFiles, *extra: Path, **options: object) -> list[str]:
    """``file:line:column: message (hint)`` of every mistake; file names without the directory."""
    with pytest.raises(ConfigError) as caught:
        SynapseSource((*files.write(), *extra), **options).text()  # type: ignore[arg-type]
    directory = f"{files.directory}/"
    return [str(problem).replace(directory, "") for problem in caught.value.problems]


def writer(files: SynapseFiles, stream: str, *names: str) -> None:
    files.writers(stream)
    files.shared["stream_writers"][stream] = list(names)


def without_replication(files: SynapseFiles) -> None:
    files.writers("typing")
    files.workers["typing_writer1"]["worker_listeners"].pop()


def replication_only(files: SynapseFiles) -> None:
    files.writers("typing")
    files.workers["typing_writer1"]["worker_listeners"].pop(0)


def persister(files: SynapseFiles) -> None:
    files.worker("persister1").set(stream_writers={"events": ["persister1"]})
    files.shared["instance_map"]["persister1"] = {"host": "localhost", "port": 9094}


def unmapped(files: SynapseFiles) -> None:
    files.writers("typing")
    del files.shared["instance_map"]["typing_writer1"]


def mapped_elsewhere(files: SynapseFiles) -> None:
    files.writers("typing")
    files.shared["instance_map"]["typing_writer1"] = {"path": "/run/elsewhere.sock"}


def main_listener(files: SynapseFiles, **changes: object) -> None:
    files.shared["listeners"][0].update(changes)


CASES: dict[str, tuple[Change, str]] = {
    "two writers for a stream that can have one": (
        lambda f: writer(f.worker("b", "client"), "typing", "typing_writer1", "typing_writer1"),
        'homeserver.yaml:22:5: the stream "typing" can have one writer only '
        '("typing_writer1" writes it already)',
    ),
    "a writer without a listener for clients": (
        replication_only,
        'workers/typing_writer1.yaml:3:1: "typing_writer1" writes the stream "typing" and has no '
        'listener with the resource "client" (clients reach it there, through synproxy)',
    ),
    "a writer without a listener for replication": (
        without_replication,
        'workers/typing_writer1.yaml:3:1: "typing_writer1" writes the stream "typing" and has no '
        'listener with the resource "replication" (the other processes reach it there)',
    ),
    "a persister without a listener for replication": (
        persister,
        'workers/persister1.yaml:3:1: "persister1" writes the stream "events" and has no listener '
        'with the resource "replication" (the other processes reach it there)',
    ),
    "a writer that instance_map does not know": (
        unmapped,
        'homeserver.yaml:19:5: "typing_writer1" writes a stream and is missing in instance_map '
        "(the other processes would not find it)",
    ),
    "a writer that listens elsewhere": (
        mapped_elsewhere,
        'homeserver.yaml:18:11: "typing_writer1" does not listen here for replication (it listens '
        "on unix:/run/matrix-synapse/typing_writer1_replication.sock "
        "(workers/typing_writer1.yaml:9))",
    ),
    "a writer that does not exist": (
        lambda f: writer(f, "typing", "typing_writer2"),
        'homeserver.yaml:21:5: no worker is named "typing_writer2" (did you mean '
        '"typing_writer1"?)',
    ),
    "main under the wrong name": (
        lambda f: f.set(stream_writers={"typing": "main"}),
        'homeserver.yaml:18:11: no worker is named "main" (main is called "master" here)',
    ),
    "a stream that does not exist": (
        lambda f: f.set(stream_writers={"presense": "master"}),
        'homeserver.yaml:18:3: Synapse has no stream "presense" (did you mean "presence"?)',
    ),
    "a media worker while main serves media": (
        lambda f: f.media("media1").set(enable_media_repo=True),
        'workers/media1.yaml:8:7: "media1" serves media, and so does main (set "enable_media_repo: '
        'false" in homeserver.yaml and "true" in this file, or take "media" out of this listener)',
    ),
    "media that nobody serves": (
        lambda f: f.media(),
        "homeserver.yaml:17:20: media is switched off on main, and no worker serves it (a media "
        'worker has "enable_media_repo: true" and a listener with "media")',
    ),
    "a socket path that is too long": (
        lambda f: f.worker("a" * 100, "client"),
        f"workers/{'a' * 100}.yaml:5:9: the socket path has 125 bytes, the kernel allows 107 "
        "(choose a shorter directory, such as /run/matrix-synapse)",
    ),
    "a worker that no route reaches": (
        lambda f: f.worker("pusher1", "client"),
        'workers/pusher1.yaml:3:1: no route reaches "pusher1": its name says that it serves no '
        "requests (--assign pusher1=KIND says what else it is for, =none that this is meant)",
    ),
    "a worker without the listener for what it is": (
        lambda f: f.worker("federation_reader1", "client"),
        'workers/federation_reader1.yaml:3:1: no route reaches "federation_reader1": '
        'federation_reader (its name) needs a listener with "federation" (--assign '
        "federation_reader1=KIND says what else it is for, =none that this is meant)",
    ),
    "a worker for what is not configured": (
        lambda f: f.worker("sso1", "client"),
        'workers/sso1.yaml:3:1: no route reaches "sso1": nothing here is for sso (its name) '
        "(--assign sso1=KIND says what else it is for, =none that this is meant)",
    ),
    "two workers for a login that stays in memory": (
        lambda f: (
            f.worker("sso1", "client")
            .worker("sso2", "client")
            .set(oidc_providers=[{"idp_id": "x"}])
        ),
        'workers/sso2.yaml:2:14: "sso2" is the second worker for sso: there can be one (sso1 is '
        "the first; --assign sso2=KIND for another kind)",
    ),
    "two processes on one socket": (
        lambda f: f.worker("a", "client").worker(
            "b", worker_listeners=[http(socket("a"), "client")]
        ),
        'workers/b.yaml:4:3: "unix:/run/matrix-synapse/a.sock" is listened on twice (see '
        "workers/a.yaml:4)",
    ),
    "two processes on one port": (
        lambda f: [
            f.worker(
                name,
                worker_listeners=[
                    {"type": "http", "port": 8083, "resources": [{"names": ["client"]}], **bound}
                ],
            )
            for name, bound in (("a", {}), ("b", {"bind_addresses": ["127.0.0.1"]}))
        ],
        'workers/b.yaml:4:3: "127.0.0.1:8083" is listened on twice (see workers/a.yaml:4; what '
        "runs on another host is named in instance_map)",
    ),
    "two workers of one name": (
        lambda f: f.worker("a", "client").worker("b", worker_name="a"),
        'workers/b.yaml:2:14: two workers are named "a" (the other one is in workers/a.yaml:2)',
    ),
    "a worker with main's name": (
        lambda f: f.worker("a", "client", worker_name="master"),
        "workers/a.yaml:2:14: \"master\" is main's name, and cannot be a worker's",
    ),
    "main without a listener for clients": (
        lambda f: f.shared["listeners"].pop(0),
        'homeserver.yaml:2:1: main has no HTTP listener with the resource "client"',
    ),
    "main with TLS only": (
        lambda f: main_listener(f, tls=True),
        'homeserver.yaml:2:1: main has no HTTP listener with the resource "client" (with TLS '
        "synproxy cannot ask it: add one without, on a UNIX socket or on 127.0.0.1)",
    ),
    "no listeners at all": (
        lambda f: f.shared.pop("listeners"),
        'homeserver.yaml:1:1: "listeners" is missing (where is main to be asked?)',
    ),
    "a listener without an address": (
        lambda f: f.shared["listeners"][1].pop("path"),
        'homeserver.yaml:9:3: a listener needs one of "path" and "port"',
    ),
    "a listener without a type": (
        lambda f: f.shared["listeners"][1].pop("type"),
        'homeserver.yaml:9:3: "type" is missing in this listener (Synapse needs it: type: http)',
    ),
    "a relative socket path": (
        lambda f: f.worker("a", worker_listeners=[http("a.sock", "client")]),
        'workers/a.yaml:5:9: the socket path "a.sock" is not absolute',
    ),
    "a port in quotes": (
        lambda f: f.worker("a", worker_listeners=[{"type": "http", "port": "8083"}]),
        'workers/a.yaml:5:9: port: expected a whole number, got "8083"',
    ),
    "a port that is none": (
        lambda f: f.worker("a", worker_listeners=[{"type": "http", "port": 80083}]),
        "workers/a.yaml:5:9: expected a port from 1 to 65535, got 80083",
    ),
    "a resource that does not exist": (
        lambda f: f.worker("a", "client", "federatoin"),
        'workers/a.yaml:9:7: Synapse has no resource "federatoin" (did you mean "federation"?)',
    ),
    "an upload size that is none": (
        lambda f: f.set(max_upload_size="much"),
        'homeserver.yaml:17:18: max_upload_size: expected a size such as 50M, got "much"',
    ),
    "a setting of the wrong type": (
        lambda f: f.set(stream_writers=["typing"]),
        "homeserver.yaml:18:1: stream_writers: expected a mapping, got a list",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_shown_where_it_is(tmp_path: Path, name: str) -> None:
    change, expected = CASES[name]
    files = SynapseFiles(tmp_path)
    change(files)
    assert mistakes(files) == [expected]


def test_all_mistakes_of_all_files_are_shown_at_once(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path)
    for name in (
        "a writer that does not exist",
        "an upload size that is none",
        "a worker without the listener for what it is",
        "a port in quotes",
    ):
        CASES[name][0](files)
    found = mistakes(files)
    assert [line.split(":")[0] for line in found] == [
        "homeserver.yaml",
        "homeserver.yaml",
        "workers/a.yaml",
        "workers/federation_reader1.yaml",
    ]


def test_files_that_cannot_be_read_and_broken_ones_are_shown_together(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("worker_name: a\nworker_listeners:\n  - {type: http\n    path: /x}\n")
    twice = tmp_path / "twice.yaml"
    twice.write_text("worker_name: a\nworker_name: b\n")
    empty = tmp_path / "none"
    empty.mkdir()
    other = tmp_path / "synproxy.yaml"
    other.write_text("listeners: []\nroutes: []\n")
    found = mistakes(SynapseFiles(tmp_path), tmp_path / "missing.yaml", broken, twice, empty, other)
    assert found == [
        "none:1:1: there is no *.yaml in this directory",
        "missing.yaml:1:1: the file cannot be read: No such file or directory",
        'broken.yaml:4:9: a "," or a "}" is missing',
        'twice.yaml:2:1: the key "worker_name" is written twice (it stands in line 1 already)',
        "synproxy.yaml:1:1: this is a configuration of synproxy",
    ]


def test_files_without_a_homeserver_are_not_enough(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).worker("a", "client")
    files.write()
    with pytest.raises(ConfigError, match=r"none of these files is homeserver.yaml"):
        SynapseSource((tmp_path / "workers",)).text()


def test_a_server_name_is_needed(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path)
    del files.shared["server_name"]
    assert mistakes(files) == [
        'homeserver.yaml:1:1: "server_name" is missing (Synapse does not start without)'
    ]


def test_an_assignment_to_nobody_is_a_mistake(tmp_path: Path) -> None:
    files = SynapseFiles(tmp_path).several(GENERIC)
    assert mistakes(files, assigned={"generic_worker3": ("login",)}) == [
        '--assign generic_worker3: no worker is named "generic_worker3" (did you mean '
        '"generic_worker2"?)'
    ]


def test_yaml_is_taken_as_synapse_takes_it(tmp_path: Path) -> None:
    """What is a trap in our own file is everyday life in Synapse's."""
    files = SynapseFiles(tmp_path)
    files.write()
    with files.homeserver.open("a") as stream:
        stream.write(
            "media_store_path: ~\nsome_mode: 0660\nempty:\ndate: 2024-01-01\n1: 2\nno: yes\n"
        )
        stream.write("template: |\n  several\n  lines\n")
    worker = tmp_path / "empty.yaml"
    worker.write_text("# nothing\n")
    text = SynapseSource((files.homeserver, worker)).text()
    assert "# synproxy for example.org" in text
