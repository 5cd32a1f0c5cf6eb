"""Debian packages installed and upgraded under a systemd that has booted, while clients ask.

``make deb-upgrade`` builds two, the second compiled, and shows what happened. Needs root; the
machine is a copy that is thrown away (``tests/support/booted.py``).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.support.booted import Machine, booted

_CONFIG = """\
listeners: ["127.0.0.1:8008"]
access_log: "off"
pools: {main: {servers: ["unix:/run/worker.sock"]}}
routes: [{name: all, location: /, pool: main}]
"""
_WORKER = """\
import asyncio

async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            if b"/held" in head:
                while not __import__("os").path.exists("/run/news"):
                    await asyncio.sleep(0.1)
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_unix_server(serve, "/run/worker.sock")
    __import__("os").chmod("/run/worker.sock", 0o666)
    await server.serve_forever()

asyncio.run(main())
"""
_CLIENTS = """\
import http.client, os, threading

def ask(path):
    client = http.client.HTTPConnection("127.0.0.1", 8008, timeout=60)
    try:
        client.request("GET", path)
        return client.getresponse().status
    except OSError as error:
        return repr(error)
    finally:
        client.close()

found = []
held = threading.Thread(target=lambda: found.append(ask("/held")))
held.start()
while not os.path.exists("/run/news"):
    found.append(ask("/versions"))
held.join()
print(len(found), sorted({str(one) for one in found if one != 200}))
"""


def version(machine: Machine) -> str:
    """Of the package, as dpkg has it."""
    return machine.output("dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}", "synproxy")


def compiled(machine: Machine) -> bool:
    """Whether the children of the service run what mypyc has compiled."""
    main = machine.show("synproxy", "MainPID")
    children = machine.output("cat", f"/proc/{main}/task/{main}/children").split()
    maps = [machine.output("cat", f"/proc/{child}/maps") for child in children]
    assert maps
    return all("__mypyc." in one and "/synproxy/proxy/exchange.cpython" in one for one in maps)


def unit(machine: Machine) -> str:
    facts = ("ActiveState", "UnitFileState", "NRestarts")
    return ", ".join(f"{name}={machine.show('synproxy', name)}" for name in facts)


def copy(machine: Machine, package: Path, name: str) -> str:
    """Put a file of this system into the machine."""
    target = f"/proc/{machine.pid}/root/tmp/{name}.deb"
    Path(target).write_bytes(package.read_bytes())
    return f"/tmp/{name}.deb"


def main(old: Path, new: Path, *, faster: bool) -> None:
    """Install ``old``, serve, upgrade to ``new``, remove; raises AssertionError.

    ``faster``: whether the new one is compiled, and the old one is not.
    """
    with tempfile.TemporaryDirectory() as directory, booted(Path(directory)) as machine:
        machine.output("rm", "-f", "/usr/local/bin/synproxy", "/usr/sbin/policy-rc.d")
        for number, package in enumerate((old, new)):
            copy(machine, package, str(number))
        machine.output("dpkg", "-i", "/tmp/0.deb")
        print(f"installed {version(machine)}: {unit(machine)}")
        assert machine.show("synproxy", "ActiveState") == "inactive"  # no configuration yet
        machine.write("/etc/synproxy/synproxy.yaml", _CONFIG)
        machine.write("/run/worker.py", _WORKER)
        machine.write("/run/clients.py", _CLIENTS)
        python = "/usr/bin/python3"
        machine.output("systemd-run", "--quiet", "--unit=worker", python, "/run/worker.py")
        machine.output("systemctl", "enable", "--now", "synproxy")
        before = machine.show("synproxy", "MainPID")
        print(f"started as process {before}: {unit(machine)}")
        assert not compiled(machine)
        run = ["systemd-run", "--quiet", "--unit=clients", "-p", "StandardOutput=file:/run/said"]
        machine.output(*run, "-p", "RemainAfterExit=yes", python, "/run/clients.py")
        machine.output("sleep", "0.5")
        machine.output("dpkg", "-i", "/tmp/1.deb")
        after = machine.show("synproxy", "MainPID")
        print(f"upgraded to {version(machine)}, process {after}: {unit(machine)}")
        assert after not in ("0", before)
        machine.output("sleep", "0.5")
        machine.output("touch", "/run/news")
        machine.output("sh", "-c", "while ! test -s /run/said; do sleep 0.1; done")
        said = machine.output("cat", "/run/said").strip()
        print(f"requests meanwhile, one of them held, and what was not 200: {said}")
        assert said.endswith(" []")
        assert compiled(machine) == faster
        print(f"its children run {'compiled' if faster else 'plain'} modules")
        assert machine.output("cat", "/etc/synproxy/synproxy.yaml") == _CONFIG
        machine.write("/etc/synproxy/synproxy.yaml", "nonsense: true\n")
        script = "/var/lib/dpkg/info/synproxy.postinst"
        refused = machine.run(script, "configure", "0.1.0")
        assert refused.returncode == 0, refused.stderr
        assert "goes on as it was" in refused.stderr
        assert machine.show("synproxy", "MainPID") == after
        print("configured while the configuration does not load: the old process serves on")
        machine.output("dpkg", "--remove", "synproxy")
        print(f"removed: {unit(machine)}")
        assert machine.show("synproxy", "ActiveState") == "inactive"
        machine.output("dpkg", "--purge", "synproxy")
        machine.output("test", "-e", "/etc/synproxy/synproxy.yaml")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main(Path(sys.argv[1]), Path(sys.argv[2]), faster=True)
