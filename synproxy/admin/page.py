"""The status page: one document with its style and script inside, complete without the script.

What changes is inside elements with ``data-live``; the script asks for the same page again and
takes those over. Must not know where the overview comes from.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from synproxy.admin.amounts import amount, duration, each_second, span
from synproxy.admin.html import Html, el
from synproxy.admin.sankey import sankey, spark
from synproxy.admin.tables import SIGNS, error_tables, pools_table, routes_table, sign

REFRESH: Final = 5
"""Seconds until the page is loaded again where there is no script."""

_HERE: Final = files("synproxy.admin")
STYLE: Final = Html((_HERE / "page.css").read_text())
SCRIPT: Final = Html((_HERE / "page.js").read_text())
_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH")

_WORDS: Final = {
    "good": "Everything is up",
    "notice": "Everything is up",
    "warning": "Needs a look",
    "critical": "Something is broken",
}


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(STYLE)}",
        f"script-src {_hash(SCRIPT)}",
        "connect-src 'self'",
        "img-src data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content-Security-Policy: nothing is loaded, and no style or script runs but ours."""


def page(
    shown: Mapping[str, Any], asked: Mapping[str, str], answer: Sequence[tuple[str, str]] | str
) -> str:
    """The document. ``asked``: ``method`` and ``url`` of the request to explain; ``answer``: rows
    of its explanation, or what is wrong with it; empty: nothing was asked."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{SIGNS[shown['level']]} {shown['host']} · synproxy"),
        el("link", rel="icon", href="data:,"),
        el("style", STYLE),
        el("noscript", el("meta", http_equiv="refresh", content=REFRESH)),
    )
    body = el(
        "body",
        el("a", "Skip to pools", href="#pools", class_="skip"),
        _banner(shown),
        el(
            "main",
            _live("numbers", _numbers(shown)),
            _section("flow", "Where requests go", _live("sankey", sankey(shown))),
            _section("pools", "Pools and servers", _live("pool-table", pools_table(shown))),
            _section("routes", "Routes", _live("route-table", routes_table(shown))),
            _section("errors", "Recent errors", _live("error-tables", error_tables(shown))),
            _explain(asked, answer),
        ),
        _footer(shown),
        el("script", SCRIPT),
    )
    return f"<!doctype html>{el('html', head, body, lang='en')}\n"


def _section(name: str, title: str, *children: object) -> Html:
    return el("section", el("h2", title, id=name), *children, aria_labelledby=name)


def _live(name: str, *children: object) -> Html:
    return el("div", *children, id=name, data_live=True)


# --- the line at the top


def _banner(shown: Mapping[str, Any]) -> Html:
    level = shown["level"]
    servers = [server for pool in shown["pools"] for server in pool["servers"]]
    up = sum(server["state"] == "up" for server in servers)
    told = (
        f"{up} of {len(servers)} servers in {len(shown['pools'])} pools are up · "
        f"{each_second(shown['traffic']['rate'])} requests/s"
    )
    notes = [
        el("li", sign(note["level"]), note["text"], class_=note["level"]) for note in shown["notes"]
    ]
    return el(
        "header",
        el(
            "div",
            el("h1", el("b", "synproxy"), " ", shown["host"]),
            el("p", el("span", "reloads every 5 s", id="pulse"), class_="pulse"),
            class_="title",
        ),
        _live(
            "health",
            el(
                "p",
                sign(level),
                el("strong", _WORDS[level]),
                el("span", told),
                class_=f"verdict {level}",
            ),
            el("ul", *notes, class_="notes") if notes else None,
        ),
        # Only the verdict is read out when it changes, not every number.
        el("p", _WORDS[level], id="spoken", class_="hidden", aria_live="polite"),
    )


# --- numbers


def _numbers(shown: Mapping[str, Any]) -> Html:
    traffic, connections = shown["traffic"], shown["connections"]
    minutes = len(traffic["trend"]) * traffic["trend_interval"] / 60
    trend = spark(
        ((all_, bad) for all_, bad in traffic["trend"]),
        60,
        f"requests a second in the last {minutes:.0f} minutes",
    )
    open_ = sum(connections.values())
    waiting = sum(pool["held"] + pool["queued"] for pool in shown["pools"])
    return el(
        "dl",
        _number(
            "Requests/s",
            each_second(traffic["rate"]),
            f"trend: {minutes:.0f} min" if minutes >= 1 else "over the last seconds",
            trend,
        ),
        _number(
            "In flight",
            amount(shown["in_flight"]),
            f"{amount(shown['polls'])} held syncs",
        ),
        _number("Waiting here", amount(waiting), "for a restart or a place"),
        _number("Median", duration(traffic["p50"]), "held syncs included"),
        _number("99th percentile", duration(traffic["p99"]), "of the last minute"),
        _number(
            "Failed",
            amount(traffic["errors"]),
            f"of {amount(traffic['requests'])} in the last minute",
            state="bad" if traffic["errors"] else "",
        ),
        _number(
            "Connections",
            amount(open_),
            f"{amount(connections.get('waiting', 0))} idle",
        ),
        class_="numbers",
    )


def _number(name: str, value: str, note: str, picture: Html | None = None, state: str = "") -> Html:
    return el(
        "div",
        el("dt", name),
        el("dd", el("span", value, class_=f"value {state}"), picture, el("small", note)),
        class_="wide" if picture is not None else None,
    )


# --- explain


def _explain(asked: Mapping[str, str], answer: Sequence[tuple[str, str]] | str) -> Html:
    form = el(
        "form",
        el("label", "Method", for_="method"),
        el(
            "select",
            *(el("option", name, selected=name == asked.get("method", "GET")) for name in _METHODS),
            id="method",
            name="method",
        ),
        el("label", "URL or path", for_="url"),
        el(
            "input",
            id="url",
            name="url",
            type="text",
            value=asked.get("url", ""),
            placeholder="/_matrix/client/v3/sync?since=s1",
            autocomplete="off",
            spellcheck="false",
            required=True,
        ),
        el("label", "From", for_="from"),
        el(
            "input",
            id="from",
            name="from",
            type="text",
            size="16",
            value=asked.get("from", ""),
            placeholder="client's address",
            autocomplete="off",
        ),
        el("button", "Explain"),
        method="get",
        action="#explain",
        role="search",
    )
    result: Html | None = None
    if isinstance(answer, str):
        result = el("p", answer, class_="mistake", role="alert") if answer else None
    else:
        entries: list[tuple[str, list[str]]] = []
        for label, text in answer:
            if label or not entries:
                entries.append((label, []))
            entries[-1][1].append(text)
        result = el(
            "dl",
            *(
                el("div", el("dt", label), [el("dd", text) for text in texts])
                for label, texts in entries
            ),
            class_="explanation",
        )
    return el(
        "section",
        el("h2", "Where would a request go?", id="explain"),
        form,
        result,
        aria_labelledby="explain",
    )


def _footer(shown: Mapping[str, Any]) -> Html:
    children = ", ".join(map(str, shown["children"]))
    return el(
        "footer",
        _live(
            "process",
            f"synproxy {shown['version']} · up {span(shown['time'] - shown['started'])} · "
            f"process {shown['pid']}, children {children or 'none'} · "
            f"{shown['restarts']} restarted · {shown['reloads']} reloads, "
            f"{shown['failed_reloads']} failed",
        ),
        el(
            "nav",
            *(el("a", name, href=name) for name in ("/status", "/metrics", "/stub_status")),
            aria_label="Other views",
        ),
    )
