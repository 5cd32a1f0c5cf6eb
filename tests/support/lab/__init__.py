"""A real Synapse with workers on UNIX sockets, PostgreSQL and Redis beside it, for one machine.

``with Lab() as lab`` starts everything in a temporary directory and ends it by process id.
``make lab`` (``python -m tests.e2e``) does it for hands and puts synproxy in front.
"""

from tests.support.lab.deployment import WORKERS, Worker
from tests.support.lab.lab import Lab
from tests.support.lab.tools import LabError

__all__ = ["WORKERS", "Lab", "LabError", "Worker"]
