"""The exchanges by name, and what nginx's side saw of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

from tests.differential.conversation import Seen, play
from tests.differential.exchange import Exchange
from tests.differential.exchanges_answers import ANSWERS
from tests.differential.exchanges_failures import FAILURES
from tests.differential.exchanges_requests import REQUESTS
from tests.support.nginx import Nginx
from tests.support.recorder import Recorder

EXCHANGES = {
    f"{table}: {exchange.name}": replace(exchange, name=f"{table}: {exchange.name}")
    for table, exchanges in (("request", REQUESTS), ("answer", ANSWERS), ("failure", FAILURES))
    for exchange in exchanges
}


class Bench:
    """The servers, and nginx before them; what nginx's side saw is remembered."""

    def __init__(self, directory: Path, recorder: Recorder, nginx: Nginx) -> None:
        self.directory = directory
        self.recorder = recorder
        self.nginx = nginx
        self._cases = count(1)
        self._seen: dict[str, Seen] = {}

    def case(self) -> bytes:
        """A name that no request has had."""
        return b"%d" % next(self._cases)

    def play(self, port: int, exchange: Exchange) -> Seen:
        return play(port, self.recorder, exchange, self.case())

    def nginx_saw(self, name: str) -> Seen:
        if name not in self._seen:
            self._seen[name] = self.play(self.nginx.port, EXCHANGES[name])
        return self._seen[name]
