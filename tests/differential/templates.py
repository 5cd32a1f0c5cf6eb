"""The templates of Synapse's image and of matrix-docker-ansible-deploy's companion, rendered,
imported, and compared with nginx over the whole corpus of requests.

``python -m tests.differential.templates --synapse DIRECTORY --playbook DIRECTORY``, clones of
https://github.com/element-hq/synapse and
https://github.com/spantaleev/matrix-docker-ansible-deploy. Both are under the AGPL: nothing of them
is here, and what is rendered goes to a temporary directory.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, StrictUndefined, meta
from jinja2.nativetypes import NativeEnvironment

from tests.differential.corpus import build_corpus
from tests.differential.imported import route_alike
from tests.support.nginx import SCRATCH

_LOG: Final = "log_format case '$http_x_case $proxy_host'; access_log @RUN@/access.log case;"
_MAIN: Final = (
    "daemon off; master_process off; pid @RUN@/nginx.pid;\nevents { worker_connections 1024; }\n"
    f"http {{ {_LOG} {SCRATCH} include conf.d/*.conf; }}\n"
)


def of_the_image(synapse: Path) -> dict[str, str]:
    """With a worker of each type that has endpoints, and two of some."""
    known = _constants(synapse / "docker/configure_workers_and_start.py")
    locations: dict[str, str] = {}
    upstreams = ""
    for kind, settings in sorted(known["WORKERS_CONFIG"].items()):
        if not settings["endpoint_patterns"]:
            continue
        locations |= dict.fromkeys(settings["endpoint_patterns"], f"http://{kind}")
        count = 2 if kind in ("synchrotron", "federation_inbound", "generic_worker") else 1
        upstreams += known["NGINX_UPSTREAM_CONFIG_BLOCK"].format(
            upstream_worker_base_name=kind,
            body="".join(f"server 127.0.0.1:@{kind}{n}@;\n" for n in range(1, count + 1)),
        )
    block = known["NGINX_LOCATION_REGEX_CONFIG_BLOCK"]
    made = (
        Environment(undefined=StrictUndefined)
        .from_string((synapse / "docker/conf-workers/nginx.conf.j2").read_text())
        .render(
            upstream_directives=upstreams,
            worker_locations="".join(
                block.format(endpoint=endpoint, upstream=upstream)
                for endpoint, upstream in locations.items()
            ),
            tls_cert_path=None,
            tls_key_path=None,
            using_unix_sockets=False,
            nginx_prometheus_metrics_service_discovery="",
        )
    )
    return {
        "nginx.conf": _MAIN,
        "conf.d/matrix-synapse.conf": made.replace("listen 8008;", "listen 127.0.0.1:@PORT@;")
        .replace("listen [::]:8008;", "listen [::1]:@PORT@;")
        .replace("http://localhost:8080", "http://127.0.0.1:@main@"),
    }


def _constants(script: Path) -> dict[str, Any]:
    """Those that it assigns at its top; nothing else of it is run."""
    known: dict[str, Any] = {"Any": object}
    for one in ast.parse(script.read_text()).body:
        if isinstance(one, ast.Assign | ast.AnnAssign):
            target = one.target if isinstance(one, ast.AnnAssign) else one.targets[0]
            if isinstance(target, ast.Name) and target.id.isupper():
                exec(compile(ast.Module([one], []), str(script), "exec"), known)
    return known


def of_the_companion(playbook: Path) -> dict[str, str]:
    """With workers as one of the playbook's presets has them. nginx 1.22 knows no ``resolve`` of a
    server; its sync workers need a module for JavaScript, and are left out."""
    role = playbook / "roles/custom/matrix-synapse"
    variables = _Variables([role / "defaults/main.yml", role / "vars/main.yml"])
    counts = {
        "room_worker": 2,
        "client_reader": 2,
        "federation_reader": 2,
        "media_repository": 1,
        "user_dir": 1,
    }
    streams = [
        "typing",
        "to_device",
        "account_data",
        "receipts",
        "presence",
        "push_rules",
        "device_lists",
    ]
    prefix = "matrix_synapse_reverse_proxy_companion_"
    variables.told |= {
        "matrix_synapse_workers_enabled": True,
        "matrix_synapse_workers_enabled_list": [
            {"type": kind, "name": "127.0.0.1", "port": f"@{kind}{number}@"}
            for kind, count in counts.items()
            for number in range(1, count + 1)
        ]
        + [
            {
                "type": "stream_writer",
                "stream_writer_stream": stream,
                "name": "127.0.0.1",
                "port": f"@{stream}1@",
            }
            for stream in streams
        ],
        f"{prefix}client_api_addr": "127.0.0.1:@main@",
        f"{prefix}federation_api_addr": "127.0.0.1:@federation@",
        f"{prefix}worker_processes": 1,
    }
    templates = role / "templates/reverse_proxy_companion/nginx"
    name = "conf.d/matrix-synapse-reverse-proxy-companion.conf"
    files = {
        "nginx.conf": "daemon off; master_process off;\n",
        "conf.d/nginx-http.conf": "",
        name: "",
    }
    for file in files:
        files[file] += variables.render((templates / f"{file}.j2").read_text())
    main = files["nginx.conf"]
    for old, new in (
        ("/etc/nginx/conf.d", "conf.d"),
        ("include /etc/nginx/mime.types;", ""),
        ("/tmp/", "@RUN@/"),
        ("/var/log/nginx/error.log", "@RUN@/error.log"),
    ):
        main = main.replace(old, new)
    files["nginx.conf"] = re.sub(r"access_log /var/log/nginx/access.log \w+;", _LOG, main)
    served = files[name].replace(" resolve;", ";")
    served = re.sub(r"(zone \w+ 64k;.*?)\n\s*resolver [^;]*;", r"\1", served, flags=re.DOTALL)
    served = served.replace("listen 8008;", "listen 127.0.0.1:@PORT@; listen [::1]:@PORT@;")
    files[name] = served.replace("listen 8048;", "listen 127.0.0.1:@FEDERATION@;")
    return files


class _Variables:
    """Those of a role, as far as templates need them: Ansible's are templates themselves."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.told: dict[str, Any] = {}
        """What an admin has set."""
        self._defaults: dict[str, Any] = {}
        for file in files:
            self._defaults |= yaml.safe_load(file.read_text()) or {}
        self._values: dict[str, Any] = {}
        self._native = NativeEnvironment(undefined=StrictUndefined)
        self._native.filters |= _FILTERS
        self._native.tests["match"] = lambda text, regex: re.match(regex, text) is not None
        self._plain = Environment(lstrip_blocks=True, trim_blocks=True, undefined=StrictUndefined)

    def render(self, template: str) -> str:
        template = template.removeprefix("#jinja2: lstrip_blocks: True\n")
        self._need(meta.find_undeclared_variables(self._plain.parse(template)))
        return self._plain.from_string(template).render(self._values)

    def _need(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._values or name not in self._defaults | self.told:
                continue
            value = self.told.get(name, self._defaults.get(name))
            self._values[name] = value if name in self.told else self._resolve(value)

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, str) and "{{" in value:
            self._need(meta.find_undeclared_variables(self._native.parse(value)))
            return self._native.from_string(value).render(self._values)
        if isinstance(value, list):
            return [self._resolve(one) for one in value]
        if isinstance(value, dict):
            return {key: self._resolve(one) for key, one in value.items()}
        return value


_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "bool": bool,
    "difference": lambda left, right: [one for one in left if one not in right],
    "flatten": lambda lists: [
        one for some in lists for one in (some if isinstance(some, list) else [some])
    ],
    "regex_replace": lambda text, regex, by: re.sub(regex, by, text),
    "regex_search": lambda text, regex: (re.search(regex, text) or [None])[0],
    "union": lambda left, right: [*left, *(one for one in right if one not in left)],
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make templates")
    parser.add_argument("--synapse", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--playbook", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--every", type=int, default=1, help="of the corpus, only every nth")
    options = parser.parse_args()
    cases = build_corpus()[:: options.every]
    failed = False
    for name, files, hashed in (
        ("Synapse's image", of_the_image(options.synapse), ()),
        ("the companion", of_the_companion(options.playbook), ("room", "sync")),
    ):
        verdict = route_alike(files, hashed, cases)
        wrong = len(verdict.wrong)
        print(
            f"{name}: {verdict.compared - wrong:,} of {verdict.compared:,} requests alike; ", end=""
        )
        print("servers never reached:", ", ".join(sorted(verdict.unreached)) or "none")
        for one in verdict.wrong[:10]:
            print(one)
        failed |= bool(wrong)
    return failed


if __name__ == "__main__":
    sys.exit(main())
