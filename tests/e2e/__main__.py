"""``make lab``: the lab with synproxy in front, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.configuration import observed, shipped
from tests.support.lab import Lab, LabError
from tests.support.synproxy import Synproxy

TEXT = """\
Synapse with {count} workers is up, synproxy listens on {url}

  directory  {directory}   (homeserver.yaml, workers/, one .log for each process)
  sockets    {directory}/inbound_NAME.sock   NAME: {names}
  synproxy   {configuration}
  where requests went: tail -f {access_log}

  curl {url}/_matrix/client/versions
  curl {url}/_matrix/client/v3/register -d \
'{{"username": "alice", "password": "secret", "auth": {{"type": "m.login.dummy"}}}}'
  curl --unix-socket {directory}/inbound_main.sock http://lab/health
  kill a worker: its process id is in {directory}/NAME.pid

Ctrl-C ends all of it{removed}.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make lab", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the directory when it ends")
    parser.add_argument("--config", type=Path, help="synproxy's configuration, unchanged")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("starting PostgreSQL, Redis and Synapse ...", flush=True)
    try:
        with Lab(keep=options.keep) as lab:
            directory = lab.directory / "synproxy"
            directory.mkdir()
            text = options.config.read_text() if options.config else observed(shipped(lab))
            with Synproxy(directory, text) as proxy:
                _explain(lab, proxy, options.keep)
                threading.Event().wait()
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _explain(lab: Lab, proxy: Synproxy, keep: bool) -> None:
    print(
        TEXT.format(
            count=len(lab.workers),
            url=f"http://127.0.0.1:{proxy.port}",
            directory=lab.directory,
            names=", ".join(lab.processes),
            configuration=proxy.file,
            access_log=proxy.directory / "access.log",
            removed="" if keep else " and removes the directory",
        ),
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
