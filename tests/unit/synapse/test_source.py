"""What `synproxy run --synapse` serves is looked at as a file would be."""

from __future__ import annotations

import pytest

from synproxy.errors import ConfigError
from synproxy.synapse.source import SynapseSource

TEXT = """\
listeners: [{listen: "8443", tls: {certificates: [{certificate: /none.pem, key: /none.key}]}}]
routes: [{name: all, location: /, respond: {status: 404}}]
"""


class Made(SynapseSource):
    def text(self) -> str:
        return TEXT


def test_certificates_are_looked_into_where_the_configuration_is_served() -> None:
    assert Made(()).config().listeners[0].tls is not None
    with pytest.raises(ConfigError, match=r"certificate: it cannot be read"):
        Made(()).config(files=True)
