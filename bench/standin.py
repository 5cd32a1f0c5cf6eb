"""Runs the stand-in for the Synapse workers: ``standin.py DIRECTORY NAME...``."""

from __future__ import annotations

import argparse
import gc
import resource

import uvloop

from bench.lib import standin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory")
    parser.add_argument("names", nargs="+", help="a UNIX socket NAME.sock is made for each")
    parser.add_argument("--sizes", default="1024", help="of sync answers, bytes: 1024,1024,8192")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sizes = [int(size) for size in options.sizes.split(",")]
    gc.freeze()
    uvloop.run(standin.serve(options.directory, options.names, sizes))


if __name__ == "__main__":
    main()
