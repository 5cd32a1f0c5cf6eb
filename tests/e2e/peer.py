"""A stand-in for another homeserver: it publishes its key over TLS and signs requests with it.

Its name is an address with a port, so Synapse finds it without DNS and .well-known.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

from canonicaljson import encode_canonical_json
from signedjson.key import (
    encode_verify_key_base64,
    generate_signing_key,
    get_verify_key,
)
from signedjson.sign import sign_json

from tests.support.lab import Lab

KEY_VALID = 3600.0


class Peer:
    """A homeserver that Synapse in ``lab`` can verify. Use it as a context manager."""

    def __init__(self, lab: Lab) -> None:
        self._destination = lab.server_name
        self._key = generate_signing_key("lab")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _KeyHandler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = lab.places.peer_certificate
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.name = f"127.0.0.1:{self._server.server_port}"
        _KeyHandler.answers[self._server.server_port] = encode_canonical_json(self._published())
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def authorization(self, method: str, target: str, content: object = None) -> str:
        """The Authorization field for a request (Matrix server-server API, "Request
        Authentication"); ``target`` is signed as it stands, path and query."""
        request: dict[str, Any] = {
            "method": method,
            "uri": target,
            "origin": self.name,
            "destination": self._destination,
        }
        if content is not None:
            request["content"] = content
        signatures = sign_json(request, self.name, self._key)["signatures"][self.name]
        key_id, signature = next(iter(signatures.items()))
        return (
            f'X-Matrix origin="{self.name}",destination="{self._destination}"'
            f',key="{key_id}",sig="{signature}"'
        )

    def transaction(self) -> dict[str, Any]:
        """The content of PUT /_matrix/federation/v1/send/ without news."""
        now = int(time.time() * 1000)
        return {"origin": self.name, "origin_server_ts": now, "pdus": [], "edus": []}

    def _published(self) -> dict[str, Any]:
        key_id = f"{self._key.alg}:{self._key.version}"
        keys = {
            "server_name": self.name,
            "valid_until_ts": int((time.time() + KEY_VALID) * 1000),
            "verify_keys": {key_id: {"key": encode_verify_key_base64(get_verify_key(self._key))}},
            "old_verify_keys": {},
        }
        return dict(sign_json(keys, self.name, self._key))


class _KeyHandler(BaseHTTPRequestHandler):
    """GET /_matrix/key/v2/server, nothing else."""

    answers: ClassVar[dict[int, bytes]] = {}
    """By port."""

    def do_GET(self) -> None:
        assert isinstance(self.server, ThreadingHTTPServer)
        known = self.path.partition("?")[0].rstrip("/") == "/_matrix/key/v2/server"
        body = self.answers[self.server.server_port] if known else json.dumps({}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: pytest shows what goes wrong."""
