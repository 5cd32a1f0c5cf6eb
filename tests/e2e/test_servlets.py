"""The installed Synapse registers what synproxy/synapse/data/servlets.txt says of its version."""

from __future__ import annotations

import json
import subprocess

from synproxy.synapse.servlets import servlets_at
from synproxy.synapse.version import parse_version
from tests.support.lab.tools import synapse_python
from tests.support.merge_servlets import facts, merged
from tests.support.paths import ROOT


def test_the_list_of_servlets_is_that_of_the_installed_synapse() -> None:
    """If not: enumerate this version, merge it into the list, and look at what is new."""
    command = [str(synapse_python()), str(ROOT / "tests/support/enumerate_servlets.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    content = json.loads(printed)
    version = parse_version(content["version"])
    registered = {
        tuple(line.split(maxsplit=5)[index] for index in (0, 1, 4, 5))
        for line in merged([(version, facts(content["configurations"]))])
    }
    assert registered == {servlet.facts for servlet in servlets_at(version)}
