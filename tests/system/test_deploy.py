"""What lies in deploy/ speaks of settings, metrics, routes and files that exist."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from prometheus_client.parser import text_string_to_metric_families

from tests.asgi import api_over
from worker import metrics, settings
from worker.background import gauges
from worker.kpis import KPIS
from worker.settings import Settings
from worker.store.store import Store

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
GUIDE = ROOT / "docs" / "operating.pt-BR.md"
OF_OTHERS = {"PATH", "PYTHONUNBUFFERED", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_CACHE_DIR"}

_NAME = re.compile(r"ticket_worker_\w+")
_KPI = re.compile(r'kpi="([^"]+)"')


def read(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(read("alerts.yaml"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def asked_by_grafana() -> list[str]:
    panels = json.loads(read("grafana.json"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def a_setting(name: str) -> bool:
    return name.removesuffix("_FILE") in Settings.model_fields


# ------------------------------------------------------------------------------------------------ metrics


@pytest.fixture
async def exported(sqlite_store: Store) -> set[str]:
    """Every name a scrape may show."""
    await gauges.refresh(sqlite_store.records)
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    names = {sample.name for family in families for sample in family.samples}
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    return names | {family.name + end for family in families for end in suffixes[family.type]}


async def test_alerts_and_dashboard_ask_for_metrics_that_exist(exported: set[str]) -> None:
    for asked in [*(rule["expr"] for rule in rules()), *asked_by_grafana()]:
        assert set(_NAME.findall(asked)) <= exported, asked


def test_alerts_and_dashboard_ask_for_kpis_and_targets_that_exist() -> None:
    known = {kpi.name for kpi in KPIS}
    for asked in [*(rule["expr"] for rule in rules()), *asked_by_grafana()]:
        assert set(_KPI.findall(asked)) <= known, asked
    with_target = {kpi.name for kpi in KPIS if kpi.target is not None}
    judged = " ".join(rule["expr"] for rule in rules())
    assert with_target == set(re.findall(r'kpi_target\{kpi="([^"]+)"', judged))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_the_guide_says_what_to_do_about_each_alert(rule: dict[str, Any]) -> None:
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert ROOT / path == GUIDE
    headings = re.findall(r"^#+ (.+)$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings}
    assert anchor == rule["alert"].lower()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_takes_the_rules() -> None:
    subprocess.run(["promtool", "check", "rules", DEPLOY / "alerts.yaml"], check=True, capture_output=True)


# ------------------------------------------------------------------------------------------- containers


def test_the_containers_are_given_settings_that_exist() -> None:
    compose = yaml.safe_load(read("compose.yaml"))
    given = set(compose["x-worker"]["environment"])
    built = set(re.findall(r"^(?:ENV|   ) ?([A-Z_]+)=", read("Dockerfile"), re.MULTILINE)) - OF_OTHERS
    assert {name for name in given | built if not a_setting(name)} == set()
    assert {"DATABASE_URL", "HTTP_HOST", "LOG_DIR"} <= built


def test_every_secret_that_a_setting_is_read_from_is_mounted() -> None:
    compose = yaml.safe_load(read("compose.yaml"))
    for service in compose["services"].values():
        asked = {Path(value).name for name, value in service["environment"].items() if name.endswith("_FILE")}
        assert asked == set(service["secrets"]) <= set(compose["secrets"])


def test_the_image_is_built_from_files_that_exist_and_are_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", read("Dockerfile"), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources == let_in
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_asks_for_a_health_that_the_api_tells(sqlite_store: Store) -> None:
    (path,) = re.findall(r"127\.0\.0\.1:\{port\}(/\w+)", read("Dockerfile"))
    assert path in api_over(sqlite_store).openapi()["paths"]


@pytest.mark.parametrize(
    ("port", "answers", "healthy"), [(None, True, True), ("0", False, True), (None, False, False)]
)
def test_the_health_check_asks_the_port_that_is_configured(
    port: str | None, answers: bool, healthy: bool
) -> None:
    (code,) = re.findall(r'CMD \["python", "-c", "(.+)"\]', read("Dockerfile"))
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        environ = {"HTTP_PORT": str(listener.getsockname()[1]) if port is None else port}
        if answers:
            pool.submit(_answer_once, listener)
        else:
            listener.close()
        checked = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=False)
    assert (checked.returncode == 0) is healthy


def _answer_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_an_outage_meets_no_limit_of_restarts_and_memory_goes_to_no_disk() -> None:
    unit = read("ticket-worker.service")
    for line in ("StartLimitIntervalSec=0", "RestartPreventExitStatus=2", "LimitCORE=0", "LimitNOFILE=16384"):
        assert f"\n{line}\n" in unit
    (start_s,) = re.findall(r"\nTimeoutStartSec=(\d+)\n", unit)
    assert int(start_s) > Settings().DATABASE_GRACE_S
    compose = yaml.safe_load(read("compose.yaml"))
    assert compose["x-worker"]["ulimits"] == {"core": 0, "nofile": {"soft": 16384, "hard": 16384}}
    assert "--host=127.0.0.1" in compose["services"]["postgres"]["healthcheck"]["test"]


def test_the_proxy_passes_the_host_on_with_its_port_and_only_the_callers_address() -> None:
    proxy = read("nginx.conf")
    assert "proxy_set_header Host $http_host;" in proxy
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in proxy


def test_the_worker_starts_on_what_the_compose_file_and_the_guide_give_it(tmp_path: Path) -> None:
    (line,) = set(
        re.findall(r"^grep -vE '.+' \.env\.example", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    )
    kept = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (tmp_path / "worker.env").write_text(kept)
    (tmp_path / "worker.env").chmod(0o600)  # compose passes its lines on; its mode does not matter there
    given = dict(re.findall(r"^(?:ENV|   ) ?([A-Z_]+)=(\S+)", read("Dockerfile"), re.MULTILINE))
    given |= yaml.safe_load(read("compose.yaml"))["x-worker"]["environment"]
    secrets = {
        "data_keys": Fernet.generate_key().decode(),
        "database_url": "postgresql://worker:x@postgres/worker",
    }
    for name, path in given.items():
        if name.endswith("_FILE"):
            given[name] = str(tmp_path / Path(path).name)
            Path(given[name]).write_text(secrets.get(Path(path).name, "segredo-segredo-segredo-segredo"))
    loaded, warnings = settings.load(given, tmp_path / "worker.env", for_run=True)
    assert (loaded.DATABASE_URL, loaded.HTTP_HOST, warnings) == (secrets["database_url"], "0.0.0.0", [])


# --------------------------------------------------------------------------------------------------- unit


def test_the_unit_gives_settings_that_exist() -> None:
    unit = read("ticket-worker.service")
    given = re.findall(r"^Environment=([A-Z_]+)=(\S+)", unit, re.MULTILINE)
    assert all(a_setting(name) for name, _ in given)
    credentials = set(re.findall(r"^LoadCredential=(\w+):", unit, re.MULTILINE))
    assert {value.removeprefix("%d/") for name, value in given if name.endswith("_FILE")} == credentials


def test_a_command_beside_the_service_has_its_user_settings_and_keys(tmp_path: Path) -> None:
    (tmp_path / "data_keys").touch()
    (tmp_path / "bot_webhook_secret").touch()
    fake = tmp_path / "systemd-run"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o700)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TICKET_WORKER_ETC": str(tmp_path)}
    script = DEPLOY / "ticket-worker-admin"
    words = ["calls", "list", "--setor", "SUPORTE TÉCNICO"]
    ran = subprocess.run([script, *words], env=env, capture_output=True, text=True, check=True)
    given = ran.stdout.splitlines()
    assert given[-5:] == ["/opt/ticket-worker/.venv/bin/ticket-worker", *words]
    assert "--uid=ticket-worker" in given
    assert f"LoadCredential=data_keys:{tmp_path}/data_keys" in given
    assert "Environment=BOT_WEBHOOK_SECRET_FILE=%d/bot_webhook_secret" in given
    assert "Environment=API_TOKEN_FILE=%d/api_token" not in given
    named = {each.split("=")[1].removesuffix("_FILE") for each in given if each.startswith("Environment=")}
    assert named <= {*Settings.model_fields}
    unit = read("ticket-worker.service")
    assert all(each in unit for each in given if each.startswith(("Environment=DATABASE", "Environment=LOG")))


def test_a_stop_waits_longer_than_the_worker_does() -> None:
    (waits,) = re.findall(r"^TimeoutStopSec=(\d+)$", read("ticket-worker.service"), re.MULTILINE)
    assert int(waits) > Settings().SHUTDOWN_GRACE_S


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit_and_finds_it_well_guarded(tmp_path: Path) -> None:
    unit = tmp_path / "ticket-worker.service"
    # Only the program itself is not where the unit says.
    unit.write_text(
        read("ticket-worker.service").replace("/opt/ticket-worker/.venv/bin/ticket-worker", "/bin/true")
    )
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
        check=True,
        capture_output=True,
    )
