"""Main and the workers: their names, and where each of them listens for what.

Must not know what a process is good for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from synproxy.config.addresses import MAX_UNIX_PATH, host_and_port
from synproxy.config.document import Document
from synproxy.config.wording import did_you_mean, quoted
from synproxy.synapse.node import Node, Settings

MAIN = "main"
MASTER = "master"
"""What stream_writers calls main."""

RESOURCES = frozenset(
    {"client", "consent", "federation", "health", "keys"}
    | {"media", "metrics", "openid", "replication", "static"}
)
"""Synapse's KNOWN_RESOURCES (synapse/config/server.py)."""

_ANY = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 -- addresses to look for
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Bound:
    """What a listener takes for itself: a path, or a port of some addresses on some host."""

    path: str = ""
    host: str = ""
    port: int = 0
    addresses: frozenset[str] = frozenset()
    """No address means all of them."""

    def clashes(self, other: Bound) -> bool:
        """Whether both cannot listen at the same time."""
        if self.path or other.path:
            return self.path == other.path
        if (self.host, self.port) != (other.host, other.port):
            return False
        both = self.addresses & other.addresses
        return bool(both) or not self.addresses or not other.addresses


@dataclass(frozen=True, slots=True)
class Listener:
    """One HTTP listener of one process."""

    node: Node
    address: str
    """As a pool of synproxy names it: ``unix:/path`` or ``host:port``."""
    resources: Mapping[str, Node]
    bound: Bound
    tls: bool = False
    forwarded: bool = True
    """Whether Synapse believes X-Forwarded-For here."""
    request_id_header: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of Synapse."""

    name: str
    settings: Settings
    own: Document
    """The file of a worker; homeserver.yaml for main."""
    listeners: tuple[Listener, ...]
    metrics: tuple[str, ...] = ()
    """``host:port`` of its listeners for nothing but metrics."""

    @property
    def root(self) -> Node:
        return Node(self.own, (), self.own.value)

    def listener(self, resource: str) -> Listener | None:
        """Where this process can be asked for a resource: a UNIX socket if it has one."""
        usable = [one for one in self.listeners if resource in one.resources and not one.tls]
        return min(usable, key=lambda one: not one.address.startswith("unix:"), default=None)

    def address(self, resource: str) -> str:
        """The address of :meth:`listener`, or nothing."""
        listener = self.listener(resource)
        return listener.address if listener else ""

    @property
    def offers(self) -> frozenset[str]:
        """The resources that can be asked for at some listener."""
        found = {
            name for listener in self.listeners if not listener.tls for name in listener.resources
        }
        if not self.loads_media:
            found.discard("media")  # Synapse ignores it then, with a warning in its log
        return frozenset(found)

    @property
    def loads_media(self) -> bool:
        """Whether Synapse would serve media in this process (config/repository.py there)."""
        enabled = self.settings.flag("enable_media_repo", True)
        return enabled or self.app == "synapse.app.media_repository"

    @property
    def app(self) -> str:
        return self.settings.text("worker_app") or ""

    def listeners_node(self) -> Node:
        """Where a mistake about all listeners of this process is shown."""
        key = "listeners" if self.name == MAIN else "worker_listeners"
        return self.root.get(key) or self.settings.get(key) or self.root


def read_processes(
    shared: tuple[Document, ...], workers: tuple[Document, ...]
) -> tuple[Process, list[Process]]:
    """Main, and the workers in the order of their names; mistakes are reported in their files."""
    settings = Settings(shared)
    hosts = dict(_hosts(settings))
    main = Process(
        MAIN,
        settings,
        shared[0],
        tuple(_listeners(settings.get("listeners"), hosts.get(MAIN, ""))),
        tuple(_metrics(settings.get("listeners"), hosts.get(MAIN, ""))),
    )
    found: dict[str, Process] = {}
    for document in workers:
        own = Settings((*shared, document))
        root = Node(document, (), document.value)
        node = root.get("worker_name")
        name = (node.text() if node else None) or own.text("worker_app") or "worker"
        if name in found:
            other = found[name].root.get("worker_name") or found[name].root
            (node or root).report(
                f"two workers are named {quoted(name)}", f"the other one is in {other.place}"
            )
            continue
        if name in (MAIN, MASTER):
            (node or root).report(f"{quoted(name)} is main's name, and cannot be a worker's")
        node, host = root.get("worker_listeners"), hosts.get(name, "")
        listeners, metrics = tuple(_listeners(node, host)), tuple(_metrics(node, host))
        found[name] = Process(name, own, document, listeners, metrics)
    _report_duplicates([main, *found.values()])
    return main, sorted(found.values(), key=lambda process: natural(process.name))


def natural(name: str) -> list[tuple[int, str | int]]:
    """Sorts sync2 before sync10."""
    key: list[tuple[int, str | int]] = []
    word = ""
    for character in name + "\0":
        if word and character.isdecimal() != word.isdecimal():
            key.append((0, int(word)) if word.isdecimal() else (1, word))
            word = ""
        word += character
    return key


def _hosts(settings: Settings) -> Iterator[tuple[str, str]]:
    """The hosts that instance_map names, except this one."""
    instances = settings.get("instance_map")
    for name, instance in instances.members() if instances else ():
        host = instance.get("host")
        text = host.text() if host else None
        if text and text not in _HERE:
            yield name, text


def _listeners(listeners: Node | None, host: str) -> Iterator[Listener]:
    for node in listeners.items() if listeners else ():
        if not node.mapping():
            continue
        kind = node.get("type")
        if kind is None:
            node.report('"type" is missing in this listener', "Synapse needs it: type: http")
        elif kind.text() == "http" and (listener := _listener(node, host)):
            yield listener


def _metrics(listeners: Node | None, host: str) -> Iterator[str]:
    for node in listeners.items() if listeners else ():
        kind, port = node.get("type"), node.get("port")
        if kind is not None and kind.value == "metrics" and port is not None:
            found = _tcp(node, port, host)
            if found is not None:
                yield found[0]


def _listener(node: Node, host: str) -> Listener | None:
    path, port = node.get("path"), node.get("port")
    if (path is None) == (port is None):
        node.report('a listener needs one of "path" and "port"')
        return None
    if path is not None:
        found = _unix(path)
    else:
        assert port is not None
        found = _tcp(node, port, host)
    if found is None:
        return None
    tls, forwarded = node.get("tls"), node.get("x_forwarded")
    header = node.get("request_id_header")
    return Listener(
        node,
        found[0],
        dict(_resources(node)),
        found[1],
        tls.flag() if tls else False,
        forwarded.flag() if forwarded else path is not None,
        (header.text() if header else None) or "",
    )


def _unix(path: Node) -> tuple[str, Bound] | None:
    text = path.text()
    if text is None:
        return None
    length = len(text.encode())
    if not text.startswith("/"):
        path.report(f"the socket path {quoted(text)} is not absolute")
        return None
    if length > MAX_UNIX_PATH:
        path.report(
            f"the socket path has {length} bytes, the kernel allows {MAX_UNIX_PATH}",
            "choose a shorter directory, such as /run/matrix-synapse",
        )
        return None
    return f"unix:{text}", Bound(path=text)


def _tcp(node: Node, port: Node, host: str) -> tuple[str, Bound] | None:
    number = port.number()
    if number is None:
        return None
    if not 1 <= number <= 65535:
        port.report(f"expected a port from 1 to 65535, got {number}")
        return None
    addresses = []
    for key in ("bind_addresses", "bind_address"):
        if (written := node.get(key)) is not None:
            addresses += [text for text, _ in written.names()]
    addresses = ["127.0.0.1" if text == "localhost" else text for text in addresses]
    narrow = [text for text in addresses if text not in _ANY]
    chosen = (narrow or [host or "127.0.0.1"])[0]
    bound = Bound(
        host=host,
        port=number,
        addresses=frozenset(narrow) if len(narrow) == len(addresses) else frozenset(),
    )
    return host_and_port(chosen, number), bound


def _resources(node: Node) -> Iterator[tuple[str, Node]]:
    resources = node.get("resources")
    for entry in resources.items() if resources else ():
        if not entry.mapping() or (names := entry.get("names")) is None:
            continue
        for name, place in names.names():
            if name not in RESOURCES:
                hint = did_you_mean(name, RESOURCES)
                place.report(f"Synapse has no resource {quoted(name)}", hint)
            yield name, place


def _report_duplicates(processes: list[Process]) -> None:
    seen: list[Listener] = []
    for process in processes:
        for listener in process.listeners:
            other = next((one for one in seen if one.bound.clashes(listener.bound)), None)
            if other is not None:
                hint = f"see {other.node.place}"
                if listener.bound.port:
                    hint += "; what runs on another host is named in instance_map"
                listener.node.report(f"{quoted(listener.address)} is listened on twice", hint)
            seen.append(listener)
