"""Run nginx's own tests through the shim, and through nginx itself, and write docs/nginx-tests.md.

``python -m tests.nginx_suite DIRECTORY [FILE.t ...]``; DIRECTORY is a clone of nginx/nginx-tests.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.nginx_suite.reasons import CHOSEN, REASONS
from tests.support.nginx import find_nginx, nginx_version
from tests.support.paths import ROOT

TIMEOUT = 90  # seconds for one file
_RESULT = re.compile(r"^(not )?ok (\d+)(?: - (.*?))?(?: # (skip|TODO).*)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Run:
    """What became of the tests of one file; ``planned`` is 0 if it did not begin."""

    planned: int
    passed: int
    failed: tuple[str, ...]
    skipped: str = ""


def run(directory: Path, file: str, binary: str, notes: Path | None = None) -> Run:
    """One file with this binary as nginx."""
    environment = {**os.environ, "TEST_NGINX_BINARY": binary, "PYTHONPATH": str(ROOT)}
    environment.pop("TEST_NGINX_UNSAFE", None)
    if os.getuid() == 0:  # workers may read the test's directory
        environment["TEST_NGINX_GLOBALS"] = "user root;"
    if notes is not None:
        environment["SYNPROXY_SHIM_NOTES"] = str(notes)
    output = in_a_group(["perl", f"-I{directory}/lib", file], directory, environment, TIMEOUT)
    planned, passed, failed, skipped = 0, 0, [], ""
    for line in output.splitlines():
        if plan := re.match(r"1\.\.(\d+)(?: # SKIP (.*))?", line, re.IGNORECASE):
            planned, skipped = int(plan[1]), plan[2] or ""
        elif found := _RESULT.match(line):
            if found[1] and (found[4] or "").lower() != "todo":
                failed.append(found[3] or found[2])
            else:
                passed += 1
    return Run(planned, passed, tuple(failed), skipped)


def in_a_group(
    command: list[str], directory: Path, environment: dict[str, str], limit: float
) -> str:
    """What a command writes within so many seconds. Of what it has started nothing is left."""
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    output = ""
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace")
    finally:
        with suppress(ProcessLookupError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    return output


def translated(source: Path, target: Path) -> None:
    """A copy in which every request and every answer ends its lines in CRLF: many of the tests
    send a bare LF, which synproxy refuses."""
    for path in [*source.glob("*.t"), *source.glob("lib/**/*.pm")]:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_bytes().decode("latin-1")
        text = _HERE.sub(_with_crlf, text)
        if path.name == "Nginx.pm":
            text = text.replace(_SEND, _SEND + _CRLF_IN_HEAD)
            text = text.replace("for (1 .. 50)", "for (1 .. 300)")  # tenths of a second to start in
        copy.write_bytes(text.encode("latin-1"))


_SEND = """sub http_start($;%) {
	my ($request, %extra) = @_;
"""
_CRLF_IN_HEAD = r"""
	$request =~ s{\A(.*?\n\r?\n)}{ my $head = $1; $head =~ s/\r?\n/\r\n/g; $head }se;
"""
"""For heads that a test puts together."""
_HERE = re.compile(r"(<<['\"]?([A-Z]+)['\"]?[^\n]*\n)(.*?\n)(\2\n)", re.DOTALL)
_MESSAGE = re.compile(r"HTTP/1\.|[A-Z]+ \S.* HTTP/1\.")


def _with_crlf(found: re.Match[str]) -> str:
    """Perl drops a CR at the end of a line of its source, so it is written as an escape."""
    opening, word, body, closing = found.groups()
    if not _MESSAGE.match(body):
        return found[0]
    if f"'{word}'" in opening:
        opening = opening.replace(f"'{word}'", f'"{word}"')
        body = re.sub(r"([\\$@])", r"\\\1", body)
    lines = body.split("\n")
    end = lines.index("") if "" in lines else len(lines)
    lines = [line + "\\r" if at <= end else line for at, line in enumerate(lines[:-1])]
    return opening + "\n".join(lines) + "\n" + closing


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.nginx_suite")
    parser.add_argument("directory", type=Path)
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    rows, details = [], []
    with tempfile.TemporaryDirectory() as scratch:
        shim = Path(scratch) / "nginx"
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.nginx_suite.shim "$@"\n')
        shim.chmod(0o755)
        plain = Path(scratch) / "plain"
        # The tests would load the dynamic modules that -V names from beside the binary.
        plain.write_text(
            f'#!/bin/sh\nif [ "$1" = -V ]; then {find_nginx()} -V 2>&1 | '
            f"sed 's/--with-[^ ]*=dynamic//g'; else exec {find_nginx()} \"$@\"; fi\n"
        )
        plain.chmod(0o755)
        os.environ["TEST_NGINX_PLAIN"] = str(plain)
        copy = Path(scratch) / "tests"
        translated(args.directory, copy)
        for file in args.files or CHOSEN:
            if not (copy / file).is_file():
                continue
            notes = Path(scratch) / f"{file}.notes"
            notes.touch()
            nginx = run(copy, file, str(plain))
            ours = run(copy, file, str(shim), notes)
            print(f"{file}: nginx {nginx.passed}, synproxy {ours.passed} of {ours.planned}")
            gone = Counter(notes.read_text().splitlines())
            rows.append(_row(file, nginx, ours))
            details += _details(file, nginx, ours, [text for text, _ in gone.most_common()])
    if not args.files:
        revision = _revision(args.directory)
        text = _HEAD.format(revision=revision, version=nginx_version())
        text += "\n".join(rows) + "\n\n## What fails\n\n" + "\n".join(details)
        (ROOT / "docs" / "nginx-tests.md").write_text(text.rstrip("\n") + "\n")
    return 0


def _row(file: str, nginx: Run, ours: Run) -> str:
    if nginx.skipped:
        return f"| `{file}` | - | - | skips itself: {nginx.skipped} |"
    why = "; ".join(REASONS.get(file, ("not looked into",)))
    if ours.skipped:
        return f"| `{file}` | {nginx.passed} of {nginx.planned} | - | {why} |"
    if ours.planned and not ours.failed and ours.passed == ours.planned:
        why = ""
    total = ours.planned or nginx.planned
    return f"| `{file}` | {nginx.passed} of {total} | {ours.passed} of {total} | {why} |"


def _details(file: str, nginx: Run, ours: Run, gone: list[str]) -> list[str]:
    if nginx.skipped or ours.skipped or (ours.planned and ours.passed == ours.planned):
        return []
    lines = [f"### {file}", ""]
    if gone:
        lines += ["Not carried over, or otherwise:", "", *(f"- {text}" for text in gone), ""]
    if both := [name for name in ours.failed if name in nginx.failed]:
        lines += [f"Fails with this nginx too: {', '.join(both)}.", ""]
    alone = [name for name in ours.failed if name not in nginx.failed]
    if alone:
        lines += [f"Fails with synproxy only: {', '.join(alone)}.", ""]
    elif ours.passed + len(ours.failed) < ours.planned:
        lines += ["It ends before its last test.", ""]
    return lines


def _revision(directory: Path) -> str:
    found = subprocess.run(
        ["git", "-C", str(directory), "log", "-1", "--format=%h of %cs"],
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or "an unknown revision"


_HEAD = """\
# nginx's own tests

Written by `make nginx-tests NGINX_TESTS=DIRECTORY`, where DIRECTORY is a clone of
https://github.com/nginx/nginx-tests ({revision}). None of its files is here.

The tests start the binary in TEST_NGINX_BINARY, here a shim (`tests/nginx_suite/shim.py`). Server
blocks that proxy are imported as `synproxy import-nginx` does and served by synproxy, the others by
nginx {version}. Where no block proxies, all are imported. They run from a copy in which requests
and answers end their lines in CRLF: many have a bare LF, which synproxy refuses
(`bare-lf-in-request`, `bare-lf-in-answer` in nginx-differences.md). The two last tests of each
file look for alerts in a log.

| file | nginx {version} | synproxy | why some fail |
| --- | --- | --- | --- |
"""


if __name__ == "__main__":
    sys.exit(main())
