"""The supervisor and its children: start, commands, privileges, upgrade, and what crashes leave."""

from __future__ import annotations

import asyncio
import os
import pwd
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.harness import Peer, ScriptedServer, becomes_true
from tests.process.endurance import ask, until
from tests.support.synproxy import Synproxy

CONFIG = """\
listeners: ["127.0.0.1:@PORT@"]
access_log: @LOG@
children: 2
control_socket: @RUN@/control.sock
pid: @RUN@/synproxy.pid
pools:
  sync: {servers: ["unix:@RUN@/sync.sock"]}
routes:
  - {name: sync, location: /sync, pool: sync}
  - {name: version, location: /version, respond: {status: 404}}
"""
GET = b"GET %b HTTP/1.1\r\nHost: example.org\r\n\r\n"


def synproxy(sockets: Path, config: str = CONFIG, log: str = '"off"') -> Synproxy:
    return Synproxy(sockets, config, {"@LOG@": log})


async def get(proxy: Synproxy, path: bytes = b"/version") -> int:
    peer = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    await peer.send(GET % path)
    status, _ = await peer.received()
    peer.writer.close()
    await peer.writer.wait_closed()
    return status


async def command(
    proxy: Synproxy, name: str, *, socket: Path | None = None
) -> tuple[int, str, str]:
    """What ``synproxy NAME`` says: status, output, errors. With ``socket`` it is told where to ask,
    and need not read the configuration."""
    where = ["--socket", str(socket)] if socket is not None else ["--config", str(proxy.file)]
    result = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "synproxy", name, *where],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.returncode, result.stdout, result.stderr


def pid_in(file: Path) -> int:
    with suppress(OSError, ValueError):
        return int(file.read_text())
    return 0


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def test_a_bad_configuration_is_refused_with_its_reason_and_status(sockets: Path) -> None:
    with synproxy(sockets) as proxy:
        await until(lambda state: len(state["children"]) == 2, sockets / "control.sock")
        good = proxy.file.read_text()
        proxy.file.write_text(good + "nonsense: true\n")
        status, _, errors = await command(proxy, "reload")
        assert status == 1
        assert 'unknown key "nonsense"' in errors
        assert "--socket" in errors
        proxy.file.write_text(good.replace("/version, respond", "version, respond"))
        status, _, errors = await command(proxy, "reload", socket=sockets / "control.sock")
        assert status == 1
        assert "location" in errors
        assert await get(proxy) == 404
        proxy.file.write_text(good.replace("status: 404", "status: 410"))
        assert await command(proxy, "reload") == (0, "reload: done, 2 children\n", "")
        assert await get(proxy) == 410
        state = await ask(sockets / "control.sock", "status")
        assert (state["reloads"], state["failed_reloads"]) == (1, 1)


async def test_stop_returns_when_all_processes_have_ended(sockets: Path) -> None:
    with synproxy(sockets) as proxy:
        state = await until(lambda state: len(state["children"]) == 2, sockets / "control.sock")
        assert pid_in(sockets / "synproxy.pid") == proxy.pid
        assert (await command(proxy, "stop"))[0] == 0
        await becomes_true(lambda: not any(map(alive, state["children"])))
        assert await asyncio.to_thread(proxy.wait) == 0
    assert not (sockets / "synproxy.pid").exists()
    assert not (sockets / "control.sock").exists()


async def test_children_that_cannot_start_make_the_start_fail(sockets: Path) -> None:
    proxy = synproxy(sockets, log=str(sockets / "missing" / "access.log"))
    result = await asyncio.to_thread(
        subprocess.run, proxy.command(), capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert "cannot start: [Errno 2] No such file or directory" in result.stderr
    assert not (sockets / "control.sock").exists()


async def test_children_import_nothing_from_the_directory_they_were_started_in(
    sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("uvloop", "synproxy"):
        (sockets / f"{module}.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(sockets)
    proxy = synproxy(sockets)
    script = str(Path(sys.executable).with_name("synproxy"))
    started = [script, "run", "--config", str(proxy.file)]
    monkeypatch.setattr(proxy, "command", lambda: started)
    with proxy:
        await until(lambda state: len(state["children"]) == 2, sockets / "control.sock")
        assert await get(proxy) == 404


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_children_of_root_run_as_the_user(sockets: Path) -> None:
    os.chmod(sockets, 0o755)
    log = sockets / "access.log"
    with synproxy(sockets, CONFIG + "user: nobody\n", str(log)) as proxy:
        state = await until(lambda state: len(state["children"]) == 2, sockets / "control.sock")
        uid = pwd.getpwnam("nobody").pw_uid
        for child in state["children"]:
            status = status_of(child)
            assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
        assert log.stat().st_uid == uid
        assert await get(proxy) == 404


async def test_children_have_a_core_each_and_all_descriptors_there_are(sockets: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    try:
        with synproxy(sockets, CONFIG + "cpu_affinity: auto\n"):
            state = await until(lambda state: len(state["children"]) == 2, sockets / "control.sock")
            cores = [os.sched_getaffinity(child) for child in state["children"]]
            assert [len(some) for some in cores] == [1, 1]
            assert cores[0] | cores[1] == set(sorted(os.sched_getaffinity(0))[:2])
            for child in state["children"]:
                assert resource.prlimit(child, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_reload_keeps_idle_connections_to_servers_that_stay(sockets: Path) -> None:
    config = CONFIG.replace("children: 2", "children: 1")
    async with ScriptedServer(sockets / "sync.sock") as server:
        with synproxy(sockets, config) as proxy:
            asked = asyncio.create_task(get(proxy, b"/sync"))
            worker, _ = await server.request()
            await worker.answer(b"events")
            assert await asked == 200
            proxy.file.write_text(proxy.file.read_text().replace("status: 404", "status: 410"))
            assert (await command(proxy, "reload"))[0] == 0
            assert await get(proxy) == 410
            state = await ask(sockets / "control.sock", "status")
            assert state["each"][0]["idle"] == {"sync": 1}
            asked = asyncio.create_task(get(proxy, b"/sync"))
            await worker.head()
            await worker.answer(b"events")
            assert await asked == 200


async def test_a_replaced_configuration_is_followed_no_longer_than_reload_grace(
    sockets: Path,
) -> None:
    config = CONFIG.replace("children: 2", "children: 1\nreload_grace: 100ms")
    async with ScriptedServer(sockets / "sync.sock") as server:
        with synproxy(sockets, config) as proxy:
            held = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
            await held.send(GET % b"/sync")
            await server.request()
            assert (await command(proxy, "reload"))[0] == 0
            assert await held.ended()
            held.writer.close()


async def test_the_number_of_children_changes_by_a_reload(sockets: Path) -> None:
    path = sockets / "control.sock"
    with synproxy(sockets) as proxy:
        await until(lambda state: len(state["children"]) == 2, path)
        text = proxy.file.read_text()
        proxy.file.write_text(text.replace("children: 2", "children: 3"))
        assert await command(proxy, "reload") == (0, "reload: done, 3 children\n", "")
        assert await get(proxy) == 404


async def test_nginx_s_procedure_replaces_the_program(sockets: Path) -> None:
    path, pid = sockets / "control.sock", sockets / "synproxy.pid"
    with synproxy(sockets) as proxy:
        await until(lambda state: len(state["children"]) == 2, path)
        os.kill(proxy.pid, signal.SIGUSR2)
        await becomes_true(lambda: pid_in(pid) not in (0, proxy.pid))
        assert pid_in(sockets / "synproxy.pid.oldbin") == proxy.pid
        new = pid_in(pid)
        try:
            await until(lambda state: state["pid"] == new, path)
            os.kill(proxy.pid, signal.SIGWINCH)
            assert await get(proxy) == 404
            os.kill(proxy.pid, signal.SIGQUIT)
            assert await asyncio.to_thread(proxy.wait) == 0
            assert await get(proxy) == 404
            assert not (sockets / "synproxy.pid.oldbin").exists()
        finally:
            os.kill(new, signal.SIGTERM)
            await becomes_true(lambda: not alive(new))
    assert not pid.exists()


async def test_who_drains_long_stays_out_of_the_way_of_later_upgrades(sockets: Path) -> None:
    """Its own successor ends before it does, for that has been replaced as well."""
    control = sockets / "control.sock"
    async with ScriptedServer(sockets / "sync.sock") as server:
        with synproxy(sockets) as proxy:
            await until(lambda state: len(state["children"]) == 2, control)
            held = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
            await held.send(GET % b"/sync")
            worker, _ = await server.request()
            pids = [proxy.pid]
            for _ in range(2):
                assert (await command(proxy, "upgrade"))[0] == 0
                pids.append((await ask(control, "status"))["pid"])
            assert len(set(pids)) == 3
            await becomes_true(lambda: not alive(pids[1]))
            assert alive(pids[0])
            await worker.answer(b"events")
            assert await held.received() == (200, b"events")
            held.close()
            await becomes_true(lambda: not alive(pids[0]))
            assert pid_in(sockets / "synproxy.pid") == pids[2]
            assert (await ask(control, "status"))["pid"] == pids[2]
            assert (await command(proxy, "stop"))[0] == 0
            await becomes_true(lambda: not alive(pids[2]))


async def test_a_new_program_that_does_not_start_changes_nothing(sockets: Path) -> None:
    path = sockets / "control.sock"
    with synproxy(sockets) as proxy:
        await until(lambda state: len(state["children"]) == 2, path)
        good = proxy.file.read_text()
        proxy.file.write_text("nonsense")
        assert (await command(proxy, "reload", socket=path))[0] == 1
        status, _, errors = await command(proxy, "upgrade", socket=path)
        assert status == 1
        assert "could not start" in errors
        proxy.file.write_text(good)
        assert await get(proxy) == 404
        assert pid_in(sockets / "synproxy.pid") == proxy.pid
        assert (await command(proxy, "reload"))[0] == 0


async def test_children_do_not_outlive_their_supervisor(sockets: Path) -> None:
    proxy = synproxy(sockets)
    proxy.start()
    state = await until(lambda state: len(state["children"]) == 2, sockets / "control.sock")
    os.kill(proxy.pid, signal.SIGKILL)
    await becomes_true(lambda: not any(map(alive, state["children"])))
    proxy.stop()
