"""What an administrator should know about a deployment, although nothing is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

from synproxy.synapse.catalogue import Catalogue
from synproxy.synapse.plan import MAS, Plan
from synproxy.synapse.processes import Process
from synproxy.synapse.version import Version

_MAS_LOCATION = "~ ^/_matrix/client/(api/v1|r0|v3|unstable)/(login|logout|refresh)(/|$)"
_ROUTABLE = {"client", "federation", "media"}


def notes(catalogue: Catalogue, plan: Plan) -> list[str]:
    """Sentences, the most important ones first."""
    return [*_version(catalogue, plan), *_access(plan), *_media(plan), *_processes(plan)]


def _version(catalogue: Catalogue, plan: Plan) -> Iterator[str]:
    version = plan.deployment.version
    for known, word, beyond in (
        (catalogue.newest, "newer", version > catalogue.newest),
        (catalogue.oldest, "older", version < catalogue.oldest),
    ):
        if beyond:
            yield (
                f"Synapse {version} is {word} than what is known here: the endpoints below are "
                f"those of {known}."
            )


def _media(plan: Plan) -> Iterator[str]:
    """Media has been below /client/v1/ since v1.111; the resource "media" has it since v1.114."""
    deployment = plan.deployment
    if not Version(1, 111) <= deployment.version < Version(1, 114):
        return
    for worker in deployment.workers:
        if "media_repository" in deployment.roles[worker.name].kinds:
            for resource in sorted({"client", "federation"} - worker.offers):
                yield (
                    f'{worker.name} needs "{resource}" in its listener, next to "media": before '
                    "v1.114 Synapse does not serve authenticated media without it."
                )


def _access(plan: Plan) -> Iterator[str]:
    deployment = plan.deployment
    if "mas" in deployment.conditions and MAS not in plan.pools:
        yield (
            "Login, logout and refresh are the Matrix Authentication Service's, and Synapse's "
            "files do not say where it is asked without TLS. Add a pool for it, and a route before "
            f"all others with the location '{_MAS_LOCATION}'."
        )
    if not deployment.main.address("federation"):
        yield "Main has no listener for federation: other servers get 404."
    if deployment.settings.get("federation_domain_whitelist") is not None:
        yield "Synapse itself refuses the servers that federation_domain_whitelist does not name."


def _processes(plan: Plan) -> Iterator[str]:
    deployment = plan.deployment
    for process in (deployment.main, *deployment.workers):
        yield from _listeners(process)
    if deployment.files.skipped:
        yield f"Read and of no use here: {', '.join(deployment.files.skipped)}."


def _listeners(process: Process) -> Iterator[str]:
    for listener in process.listeners:
        if _ROUTABLE & set(listener.resources) and not listener.forwarded and not listener.tls:
            yield (
                f'Set "x_forwarded: true" for the listener in {listener.node.place}: without it '
                f"{process.name} takes all clients for one, and limits their rates together."
            )
    if process.listener("media") and not process.loads_media:
        yield (
            f'{process.name} has a listener for media and no "enable_media_repo: true", so Synapse '
            "ignores the listener."
        )
