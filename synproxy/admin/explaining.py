"""``synproxy explain`` for the status page: the same code over the configuration in use."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from synproxy.errors import DownstreamError
from synproxy.runtime.interventions import Interventions

if TYPE_CHECKING:
    from synproxy.config.model import Config
    from synproxy.explain.offline import Offline

NONE: Final = Interventions()
SOMEBODY: Final = "203.0.113.7"
"""TEST-NET-3, RFC 5737: on nobody's allowlist."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Explainer:
    """Keeps the configuration compiled from one question to the next."""

    def __init__(self) -> None:
        self._offline: Offline | None = None

    def rows(
        self,
        config: Config,
        method: str,
        url: str,
        sender: str,
        interventions: Interventions = NONE,
    ) -> list[tuple[str, str]] | str:
        """Labels and texts, or what is wrong with the question."""
        # The data path's modules, which the supervisor does without until somebody asks.
        from synproxy.explain.explanation import explain
        from synproxy.explain.offline import Offline, imagine
        from synproxy.explain.rows import rows

        if method not in _METHODS:
            return "The method is one of those in the list."
        if not url.isascii() or not url.isprintable():
            return "A URL has ASCII characters only; the others are written as %C3%A4."
        try:
            address = str(ipaddress.ip_address(sender)) if sender else SOMEBODY
        except ValueError:
            return f"{sender!r} is no IP address."
        if self._offline is None or self._offline.config is not config:
            self._offline = Offline(config)
        answer = interventions.answer(config.maintenance)
        self._offline.generation.intervene(interventions.drained, answer)
        explanation: dict[str, object] = {"from": {"address": address, "assumed": False}}
        try:
            request = imagine(method, url, [], address, config.http.max_header_count)
            explanation |= explain(self._offline, request)
        except DownstreamError as error:
            explanation["answer"] = {"status": error.status, "reason": error.reason}
        except ValueError:
            return "This is no URL."
        return list(rows(explanation))
