"""Where requests go with the configuration that `init` writes, by the data path's own code."""

from __future__ import annotations

from pathlib import Path

from synproxy.config.loader import loads
from synproxy.explain.offline import Offline, imagine
from synproxy.synapse.source import SynapseSource
from synproxy.synapse.version import Version
from tests.support.synapse_files import SynapseFiles

SOMEBODY = "203.0.113.7"  # TEST-NET-3, RFC 5737


class Routed:
    """One deployment, and the configuration made from its files."""

    def __init__(self, files: SynapseFiles, version: Version) -> None:
        self.files = files
        text = SynapseSource(tuple(files.write()), version).text()
        self._offline = Offline(loads(text, "synproxy.yaml"))

    def processes(self, method: str, path: str) -> list[str]:
        """The names of all processes that the request may reach; MAS is called by its address."""
        decision = self._offline.generation.decide(path.encode(), method.encode())
        assert decision.route is not None, path
        target = decision.route.choose(imagine(method, path, (), SOMEBODY))
        assert target is not None, path
        servers = target.pool.settings.servers
        return [Path(server.address.removeprefix("unix:")).stem for server in servers]

    def resources(self, process: str) -> set[str]:
        """What a worker's listeners offer."""
        return {
            resource
            for listener in self.files.workers[process]["worker_listeners"]
            for entry in listener["resources"]
            for resource in entry["names"]
        }

    def writer(self, stream: str) -> str:
        """The process that writes a stream."""
        name = f"{stream}_writer1"
        return name if name in self.files.workers else "main"
