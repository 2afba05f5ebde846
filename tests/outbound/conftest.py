"""What the tests of outgoing HTTP ask for: a server certificate, trusted or not."""

import ssl
from pathlib import Path

import pytest

from tests.certificates import server_context, write_certificate


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "crm.pem"
    write_certificate(path)
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """What a server of that certificate serves with."""
    return server_context(certificate)


@pytest.fixture
def trusted_tls(tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The same, and the worker trusts it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return tls
