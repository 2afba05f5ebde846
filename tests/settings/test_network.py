"""The environment's proxies and authorities: what is used, and what is refused before the start."""

from pathlib import Path

import pytest

from worker.errors import ConfigError
from worker.settings import load, network

NOWHERE = Path("/nonexistent/.env")
PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "https://crm.example/", None),
        ({"HTTPS_PROXY": PROXY}, "https://crm.example/", PROXY),
        ({"https_proxy": "proxy.example:3128"}, "https://crm.example/", PROXY),
        ({"HTTPS_PROXY": PROXY}, "http://crm.example/", None),
        ({"ALL_PROXY": PROXY}, "http://crm.example/", PROXY),
        ({"ALL_PROXY": PROXY, "NO_PROXY": "crm.example"}, "http://u:p@crm.example/", None),
        ({"ALL_PROXY": PROXY, "NO_PROXY": "crm.example:81"}, "http://crm.example/", PROXY),
        ({"ALL_PROXY": PROXY, "NO_PROXY": "*"}, "http://crm.example/", None),
        ({"ALL_PROXY": PROXY}, "http://[", None),
    ],
)
def test_requests_go_by_the_proxy_that_the_environment_names_for_them(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert network.proxy_for(url) == proxy


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "crm.localhost", "127.0.0.1", "127.8.9.1", "[::1]"]
)
def test_nothing_on_this_machine_goes_by_a_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    assert network.proxy_for(f"http://user:password@{host}:8080/x") is None


@pytest.mark.parametrize("host", ["localhost.example", "notlocalhost", "128.0.0.1", "10.0.0.1", "0x7f"])
def test_what_only_looks_like_this_machine_goes_by_the_proxy(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    assert network.proxy_for(f"http://{host}/x") == PROXY


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value",
    [
        "http://proxy:porta",
        "http://proxy:99999",
        "http://proxy:0",
        "http://segredo@",
        "https://",
        "http://[",
        "http://pro xy:1",
        "http://proxy:1\n",
        "socks5://127.0.0.1:1080",
        "ftp://proxy",
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_configuration_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        load(env_file=NOWHERE)
    (problem,) = refused.value.problems
    assert problem.startswith(name)
    assert value not in problem
    assert "segredo" not in problem


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("made", ["nothing", "no certificate", "a secret\0"])
def test_authorities_that_cannot_be_read_are_a_configuration_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, made: str
) -> None:
    path = tmp_path / "segredo.pem"
    if made != "nothing":
        path.write_text(made)
    monkeypatch.setenv(name, str(path))
    with pytest.raises(ConfigError) as refused:
        load(env_file=NOWHERE)
    (problem,) = refused.value.problems
    assert problem.startswith(name)
    assert "segredo" not in problem


def test_all_problems_of_the_environment_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:porta")
    monkeypatch.setenv("HTTP_PROXY", "socks4://proxy")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    with pytest.raises(ConfigError) as refused:
        load(env_file=NOWHERE)
    assert len(refused.value.problems) == 3


def test_a_directory_of_authorities_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", f"/nonexistent:{tmp_path}")
    assert network.trusted_authorities() is not None


def test_without_authorities_of_the_operators_each_library_uses_its_own() -> None:
    assert network.trusted_authorities() is None
