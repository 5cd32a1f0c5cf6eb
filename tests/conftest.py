"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# The time of an example says more about what else the machine does than about the code.
settings.register_profile("synproxy", deadline=None)
settings.load_profile("synproxy")
