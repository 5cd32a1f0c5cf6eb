"""The certificates of all listeners as the supervisor holds them: read, looked at again, given out.

Children get what was in the files, for the user that they run as need not be able to read keys
(docs/adr/0022). Must not know how children use them.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Final

from synproxy.config.certificates import (
    CertificateError,
    Pair,
    load_pair,
    read_pems,
    server_context,
)
from synproxy.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from synproxy.config.model import Certificate, Config

LOOK: Final = 10.0
"""Seconds between two looks at the files."""
WARN_DAYS: Final = 14
"""certbot renews 30 days before the end; at 14 something is wrong with it."""
_DAY: Final = 86_400

_log = logging.getLogger("synproxy.tls")


class Credentials:
    """What the files held when they were read; each pair has been tried out.

    :raises ConfigError: a certificate cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self.state = _state(config)
        self.pems: dict[str, str] = {}
        """Contents by path."""
        self.pairs: dict[str, list[Pair]] = {}
        """By listener."""
        for listener in config.listeners:
            if (tls := listener.tls) is None:
                continue
            try:
                self.pems |= read_pems(tls.certificates)
                self.pairs[listener.listen] = [
                    load_pair(server_context(tls), files, self.pems) for files in tls.certificates
                ]
            except CertificateError as error:
                message = f"{error.field}: {error.reason}"
                raise ConfigError([Problem(error.file, 0, 0, message)]) from None


class Looks:
    """Sees that files change, and that certificates end."""

    def __init__(self) -> None:
        self._current: Credentials | None = None
        self._seen: object = None
        self._warned = 0.0

    def use(self, credentials: Credentials) -> None:
        """These are in use from now on."""
        before, self._current = self._current, credentials
        self._seen = credentials.state
        now = time.time()
        if before is not None:
            for listener, pairs in credentials.pairs.items():
                if any(before.pems.get(path) != credentials.pems[path] for path in _paths(pairs)):
                    _log.info("new certificates for %s: %s", listener, _told(pairs, now))
        self.warn(now)

    def renewed(self, config: Config) -> Credentials | None:
        """Those to use from now on, if files have changed; what cannot be used is told once, and
        leaves the old ones."""
        self.warn(time.time())
        state = _state(config)
        if state == self._seen:
            return None
        self._seen = state
        try:
            credentials = Credentials(config)
        except ConfigError as error:
            _log.error("the old certificates stay: %s", error)
            return None
        self.use(credentials)
        return credentials

    def warn(self, now: float) -> None:
        """Once a day, say which certificates end soon; ``now`` is a unix time."""
        if self._current is None or now - self._warned < _DAY:
            return
        pairs = {pair.files: pair for each in self._current.pairs.values() for pair in each}
        for files, pair in pairs.items():
            left = days_left(pair, now)
            if left < WARN_DAYS:
                self._warned = now
                _log.warning("%s: %s", files.certificate, _ending(left))


def days_left(pair: Pair, now: float) -> float:
    """Days until a certificate ends, at a unix time; negative: it has ended."""
    return (pair.not_after - now) / _DAY


def _told(pairs: Iterable[Pair], now: float) -> str:
    return "; ".join(
        f"{', '.join(sorted(pair.names)) or 'no name'}: {_ending(days_left(pair, now))}"
        for pair in pairs
    )


def _ending(days: float) -> str:
    return f"ends in {days:.0f} days" if days >= 0 else f"has ended {-days:.0f} days ago"


def _paths(pairs: Iterable[Pair]) -> list[str]:
    return [path for pair in pairs for path in _files(pair.files)]


def _files(certificate: Certificate) -> tuple[str, str]:
    return certificate.certificate, certificate.key


def _state(config: Config) -> object:
    """Equal as long as no file was replaced or written; certbot moves a symlink."""
    return {
        path: _stat(path)
        for listener in config.listeners
        if listener.tls is not None
        for pair in listener.tls.certificates
        for path in _files(pair)
    }


def _stat(path: str) -> object:
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
