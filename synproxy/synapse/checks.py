"""What is wrong with a deployment although every single setting is well-formed.

Must not know how a configuration of synproxy is written.
"""

from __future__ import annotations

from synproxy.config.wording import quoted
from synproxy.synapse.catalogue import Catalogue
from synproxy.synapse.deployment import Deployment
from synproxy.synapse.processes import Process

_ROUTABLE = ("client", "federation", "media")


def check_deployment(catalogue: Catalogue, deployment: Deployment) -> None:
    """Report what keeps requests from being served, each mistake in the file that has it."""
    _check_main(deployment)
    _check_writers(catalogue, deployment)
    _check_media(deployment)
    _check_single(catalogue, deployment)


def check_reached(catalogue: Catalogue, deployment: Deployment, reached: set[str]) -> None:
    """Report workers that listen for requests and get none. ``reached``: those that get some."""
    for worker in deployment.workers:
        role = deployment.roles[worker.name]
        if worker.name in reached or role.busy or not worker.offers & set(_ROUTABLE):
            continue
        if not role.kinds and deployment.misnamed_writers:
            continue  # it may be the writer that is meant
        message = f"no route reaches {quoted(worker.name)}"
        lacking = {
            kind: catalogue.kinds[kind].resource
            for kind in role.kinds
            if kind in catalogue.kinds and catalogue.kinds[kind].resource not in worker.offers
        }
        if not role.kinds:
            message += f": {role.because} says that it serves no requests"
        elif lacking:
            kind, resource = next(iter(lacking.items()))
            message += f": {kind} ({role.because}) needs a listener with {quoted(resource)}"
        else:
            message += f": nothing here is for {' or '.join(role.kinds)} ({role.because})"
        hint = f"--assign {worker.name}=KIND says what else it is for, =none that this is meant"
        worker.listeners_node().report_key(message, hint)


def _check_main(deployment: Deployment) -> None:
    main = deployment.main
    node = main.settings.get("listeners")
    if node is None:
        main.settings.root.report_key('"listeners" is missing', "where is main to be asked?")
    elif not main.address("client"):
        encrypted = any("client" in one.resources for one in main.listeners)
        hint = (
            "with TLS synproxy cannot ask it: add one without, on a UNIX socket or on 127.0.0.1"
            if encrypted
            else ""
        )
        node.report_key('main has no HTTP listener with the resource "client"', hint)


def _check_writers(catalogue: Catalogue, deployment: Deployment) -> None:
    workers = {worker.name: worker for worker in deployment.workers}
    told: set[tuple[str, str]] = set()
    for stream, names in deployment.writers.items():
        kind = catalogue.kinds.get(catalogue.streams.get(stream, ""))
        wanted = ["replication"] + ([kind.resource] if kind and kind.resource else [])
        for name in names:
            for resource in wanted:
                if resource in workers[name].offers or (name, resource) in told:
                    continue
                told.add((name, resource))
                message = (
                    f"{quoted(name)} writes the stream {quoted(stream)} and has no listener with "
                    f"the resource {quoted(resource)}"
                )
                hint = (
                    "the other processes reach it there"
                    if resource == "replication"
                    else "clients reach it there, through synproxy"
                )
                workers[name].listeners_node().report_key(message, hint)
            _check_instance(deployment, workers[name])


def _check_instance(deployment: Deployment, worker: Process) -> None:
    """A writer on a UNIX socket must listen where instance_map says it does."""
    instances = deployment.settings.get("instance_map")
    instance = instances.get(worker.name) if instances else None
    path = instance.get("path") if instance else None
    text = path.text() if path else None
    listener = worker.listener("replication")
    if path is None or text is None or listener is None:
        return
    places = [one.address for one in worker.listeners if "replication" in one.resources]
    if f"unix:{text}" not in places:
        hint = f"it listens on {', '.join(places)} ({listener.node.place})"
        path.report(f"{quoted(worker.name)} does not listen here for replication", hint)


def _check_media(deployment: Deployment) -> None:
    setting = deployment.settings.get("enable_media_repo")
    main_serves = deployment.main.loads_media
    for worker in deployment.workers:
        listener = worker.listener("media")
        if listener is None or not main_serves:
            continue
        listener.resources["media"].report(
            f"{quoted(worker.name)} serves media, and so does main",
            'set "enable_media_repo: false" in homeserver.yaml and "true" in this file, or take '
            '"media" out of this listener',
        )
    if not main_serves and not deployment.media_worker and setting is not None:
        message = "media is switched off on main, and no worker serves it"
        hint = 'a media worker has "enable_media_repo: true" and a listener with "media"'
        setting.report(message, hint)


def _check_single(catalogue: Catalogue, deployment: Deployment) -> None:
    """Kinds of which there must be one process, and that no stream_writers bounds."""
    for name, kind in catalogue.kinds.items():
        if not kind.single or kind.stream:
            continue
        chosen = [
            worker for worker in deployment.workers if name in deployment.roles[worker.name].kinds
        ]
        for worker in chosen[1:]:
            message = f"{quoted(worker.name)} is the second worker for {name}: there can be one"
            hint = f"{chosen[0].name} is the first; --assign {worker.name}=KIND for another kind"
            (worker.root.get("worker_name") or worker.root).report(message, hint)
