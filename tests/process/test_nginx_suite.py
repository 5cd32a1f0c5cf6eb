"""The runner of nginx's own tests leaves no process behind, however a test ends."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.integration.harness import becomes_true
from tests.nginx_suite.__main__ import in_a_group
from tests.process.test_supervisor import alive


@pytest.mark.parametrize("last", ["wait", "exit 0", "kill -KILL $$"])
async def test_what_a_test_has_started_ends_with_it(tmp_path: Path, last: str) -> None:
    script = f"trap '' TERM; sleep 60 >/dev/null & echo $!; {last}"
    command = ["sh", "-c", script]
    output = await asyncio.to_thread(in_a_group, command, tmp_path, dict(os.environ), 0.5)
    await becomes_true(lambda: not alive(int(output)))
