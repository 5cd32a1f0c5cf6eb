"""A configuration of synproxy straight from Synapse's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from synproxy.config.loader import loads
from synproxy.config.model import Config
from synproxy.synapse.catalogue import load_catalogue
from synproxy.synapse.deployment import Deployment, read_deployment
from synproxy.synapse.notes import notes
from synproxy.synapse.plan import make_plan
from synproxy.synapse.render import Choices, render
from synproxy.synapse.version import Version

MADE_UP = "(made from Synapse's files)"
"""The name, in messages, of a configuration that is in no file."""


@dataclass(frozen=True, slots=True)
class SynapseSource:
    """Where Synapse's files are, and what they do not say."""

    paths: tuple[Path, ...]
    version: Version | None = None
    assigned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    choices: Choices = field(default_factory=Choices)

    def deployment(self) -> Deployment:
        """What the files say; raises ConfigError for what leaves nothing to read."""
        return read_deployment(load_catalogue(), self.paths, self.version, self.assigned)

    def text(self) -> str:
        """The configuration as YAML. Raises ConfigError with every mistake in Synapse's files."""
        return self.text_for(self.deployment())

    def config(self, *, files: bool = False) -> Config:
        """What :meth:`text` means; raises ConfigError as it does. ``files``: also look into the
        certificates that it names."""
        return loads(self.text(), MADE_UP, files=files)

    def text_for(self, deployment: Deployment) -> str:
        catalogue = load_catalogue()
        plan = make_plan(catalogue, deployment)
        return render(plan, self.choices, notes(catalogue, plan))
