"""`check` says what is wrong and what to do, and leaves everything as it was."""

import asyncio
import io
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner, Result

from tests.fakes import FakePlatform
from tests.raw_server import listening
from worker import platforms
from worker.catalog.opening_hours import DAYS
from worker.cli import doctor
from worker.cli.doctor import Finding, Level, local
from worker.cli.main import cli
from worker.errors import PlatformGone
from worker.settings import Settings
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.clock import Clock
from worker.simulator.crm import CrmSimulator
from worker.simulator.responses.app import ResponsesSimulator
from worker.simulator.server import serve
from worker.store.store import Store

Make = Callable[..., Settings]
ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9"


async def found(settings: Settings, code: str) -> list[Finding]:
    """What the one check that has this code finds."""
    check = "utf8" if code in {"utf8_output", "utf8_log"} else code.removeprefix("utf8_")
    findings = await doctor._guarded(check, doctor._CHECKS[check], settings)
    return [each for each in findings if each.code == code]


async def only(settings: Settings, code: str) -> tuple[Level, str]:
    (finding,) = await found(settings, code)
    return finding.level, finding.message


def files(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


async def created(settings: Settings) -> Settings:
    """The daemon has been here."""
    await (await Store.open(settings, "assistants", owner=True)).close()
    return settings


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def platform() -> AssistantsSimulator:
    return AssistantsSimulator()


@pytest.fixture
async def url(platform: AssistantsSimulator) -> AsyncIterator[str]:
    async with serve(platform.app) as url:
        yield url


# ----------------------------------------------------------------------------------------------- the whole


class Shell:
    """A shell configured for a platform and a CRM that are both there."""

    def __init__(self, settings: Settings, platform: AssistantsSimulator, crm: CrmSimulator) -> None:
        self.platform, self.crm = platform, crm
        assert settings.DATA_KEYS
        self.env = {
            "PLATFORM": "assistants",
            "OPENAI_BASE_URL": settings.OPENAI_BASE_URL,
            "OPENAI_API_KEY": "key",
            "FINANCEIRO_ASSISTANT_ID": ASSISTANTS["FINANCEIRO"],
            "CRM_WEBHOOK_URL": settings.CRM_WEBHOOK_URL,
            "DATABASE_URL": settings.DATABASE_URL,
            "DATA_KEYS": settings.DATA_KEYS.get_secret_value(),
        }

    async def run(self, *words: str, **env: str | None) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, cli, words, env={**self.env, **env}, catch_exceptions=False
        )


@pytest.fixture
async def shell(make_settings: Make, platform: AssistantsSimulator, url: str) -> AsyncIterator[Shell]:
    crm = CrmSimulator()
    async with serve(crm.app) as crm_url:
        settings = make_settings(OPENAI_BASE_URL=url, CRM_WEBHOOK_URL=f"{crm_url}/webhook/abrir_ticket")
        yield Shell(await created(settings), platform, crm)


async def test_when_all_is_well_every_line_says_so_and_nothing_was_changed_anywhere(
    shell: Shell, tmp_path: Path
) -> None:
    await shell.run("sync-schema")
    shell.platform.requests.clear()
    before = files(tmp_path)
    checked = await shell.run("check")
    assert checked.exit_code == 0
    assert {line[0] for line in checked.stdout.splitlines() if "nenhum em execução" not in line} == {"✓"}
    assert files(tmp_path) == before
    assert {each.method for each in shell.platform.requests} == {"GET"}
    assert not shell.crm.requests
    with sqlite3.connect(tmp_path / "worker.db") as database:
        assert database.execute("select count(*) from conversations").fetchone() == (0,)


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("SSL_CERT_FILE", "/nonexistent/segredo.pem"), ("HTTPS_PROXY", "http://segredo@proxy:porta")],
)
async def test_an_environment_that_no_request_can_be_sent_in_is_a_wrong_configuration(
    shell: Shell, command: str, name: str, value: str
) -> None:
    refused = await shell.run(command, **{name: value})
    assert refused.exit_code == 2
    assert name in refused.output
    assert "segredo" not in refused.output


async def test_it_works_beside_a_daemon_that_holds_the_database(shell: Shell, make_settings: Make) -> None:
    daemon = await Store.open(make_settings(), "assistants", owner=True)
    checked = await shell.run("check")
    await daemon.close()
    assert checked.exit_code == 0
    assert "banco: aberto e gravável" in checked.stdout


async def test_for_programs_there_are_codes_and_levels(shell: Shell) -> None:
    shell.crm.faults.preset("down")
    checked = await shell.run("check", "--json")
    report = json.loads(checked.stdout)
    assert (checked.exit_code, report["ok"]) == (0, True)
    assert {"code": "schemas", "level": "warning"}.items() <= next(
        each.items() for each in report["findings"] if each["level"] != "ok"
    )
    codes = [each["code"] for each in report["findings"]]
    assert codes == [
        "settings",
        "catalog",
        "hours",
        "database",
        "utf8_database",
        "disk",
        "disk",
        "platform",
        "clock",
        "schemas",
        "discovery",
        "crm",
        "daemon",
        "utf8_output",
        "utf8_log",
    ]


async def test_one_thing_that_is_wrong_exits_1(shell: Shell) -> None:
    checked = await shell.run("check", CRM_WEBHOOK_URL=NOBODY)
    assert checked.exit_code == 1
    assert "✗ CRM: não foi possível conectar a 127.0.0.1: a conexão foi recusada" in checked.stdout
    assert json.loads((await shell.run("check", "--json", CRM_WEBHOOK_URL=NOBODY)).stdout)["ok"] is False


async def test_settings_that_cannot_be_used_are_all_reported_and_exit_2(shell: Shell) -> None:
    broken = {"DATA_KEYS": "", "POLL_RATE": "-1", "MAX_RUMS": "1"}
    checked = await shell.run("check", **broken)
    assert checked.exit_code == 2
    assert [line.split()[:2] for line in sorted(checked.stdout.splitlines())] == [
        ["✗", "DATA_KEYS"],
        ["✗", "MAX_RUMS"],
        ["✗", "POLL_RATE"],
    ]
    report = json.loads((await shell.run("check", "--json", **broken)).stdout)
    assert {each["code"] for each in report["findings"]} == {"settings"}


async def test_warnings_of_the_settings_are_passed_on(make_settings: Make) -> None:
    findings = await doctor.examine(make_settings(OPENAI_BASE_URL=NOBODY), ["API_X não é conhecida"])
    assert findings[1] == Finding("settings", Level.WARNING, "API_X não é conhecida")
    assert str(findings[1]) == "! API_X não é conhecida"


async def test_a_refusal_to_start_is_predicted_in_the_words_of_the_refusing_part(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity.aio", None)
    level, message = await only(make_settings(OPENAI_AUTH="entra"), "platform")
    assert level is Level.ERROR
    assert "azure-identity" in message


async def test_a_check_that_breaks_or_hangs_is_a_finding_and_the_others_go_on(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(settings: Settings) -> Sequence[Finding]:
        raise ZeroDivisionError("Maria 529.982.247-25")

    async def hangs(settings: Settings) -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    async def works(settings: Settings) -> Sequence[Finding]:
        return [Finding("works", Level.OK, "funciona")]

    monkeypatch.setattr(doctor, "_CHECKS", {"a": breaks, "b": hangs, "c": works})
    monkeypatch.setattr(doctor, "_LIMIT_S", 0.01)
    findings = (await doctor.examine(make_settings()))[1:]
    assert [(each.code, each.level) for each in findings] == [
        ("a", Level.ERROR),
        ("b", Level.ERROR),
        ("works", Level.OK),
    ]
    assert "Maria" not in str(findings[0])


# ----------------------------------------------------------------------------------------------- database


async def test_a_database_that_is_not_there_yet_is_not_created(
    make_settings: Make, unmade_database_url: str, tmp_path: Path
) -> None:
    settings = make_settings(DATABASE_URL=unmade_database_url, OPENAI_BASE_URL=NOBODY)
    level, message = await only(settings, "database")
    assert level is Level.WARNING
    assert "inicie o worker" in message
    assert not (tmp_path / "worker.db").exists()


async def test_texts_keep_their_accents_in_both_databases(make_settings: Make, database_url: str) -> None:
    settings = await created(make_settings(DATABASE_URL=database_url, OPENAI_BASE_URL=NOBODY))
    assert (await only(settings, "database"))[0] is Level.OK
    assert (await only(settings, "utf8_database"))[0] is Level.OK


@pytest.mark.parametrize(
    ("trigger", "code", "says"),
    [
        ("after insert on conversations begin update conversations set assistant = '?'; end", 1, "recrie"),
        ("before insert on conversations begin select raise(abort, 'x'); end", 0, "não grava"),
    ],
)
async def test_a_database_that_loses_accents_or_cannot_write_is_reported(
    make_settings: Make, tmp_path: Path, trigger: str, code: int, says: str
) -> None:
    settings = await created(make_settings(OPENAI_BASE_URL=NOBODY))
    with sqlite3.connect(tmp_path / "worker.db") as database:
        database.execute(f"create trigger t {trigger}")
    level, message = await only(settings, ["database", "utf8_database"][code])
    assert level is Level.ERROR
    assert says in message


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("key", "DATA_KEYS não abre"),
        ("file", "não é um banco SQLite íntegro"),
        ("newer", "mais nova que a desta versão"),
    ],
)
async def test_a_database_the_daemon_would_refuse_is_refused(
    make_settings: Make, tmp_path: Path, broken: str, says: str
) -> None:
    settings = await created(make_settings(OPENAI_BASE_URL=NOBODY))
    if broken == "key":
        settings = make_settings(OPENAI_BASE_URL=NOBODY, DATA_KEYS=Fernet.generate_key().decode())
    elif broken == "file":
        (tmp_path / "worker.db").write_bytes(b"not a database " * 100)
    else:
        with sqlite3.connect(tmp_path / "worker.db") as database:
            database.execute("update alembic_version set version_num = '9999'")
    level, message = await only(settings, "database")
    assert level is Level.ERROR
    assert says in message


# ------------------------------------------------------------------------------------- platform and clock


async def test_a_refused_key_is_an_error(
    make_settings: Make, platform: AssistantsSimulator, url: str
) -> None:
    platform.faults.preset("unauthorized", times=None)
    level, message = await only(make_settings(OPENAI_BASE_URL=url), "platform")
    assert level is Level.ERROR
    assert "OPENAI_API_KEY" in message


async def test_an_address_that_does_not_serve_the_protocol_is_distinguished_from_a_wrong_id(
    make_settings: Make, platform: AssistantsSimulator, url: str
) -> None:
    settings = make_settings(OPENAI_BASE_URL=url, SUPORTE_ASSISTANT_ID="asst_errado")
    assert "/assistants/asst_errado" in (await only(settings, "platform"))[1]
    assert "não conhece este id" in (await only(settings, "schemas"))[1]
    platform.faults.preset("gone")
    level, message = await only(settings, "platform")
    assert level is Level.ERROR
    assert "127.0.0.1 não atende o protocolo de PLATFORM=assistants" in message


async def test_openai_itself_no_longer_serves_assistants(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(FakePlatform):
        async def probe(self) -> Sequence[str]:
            raise PlatformGone(404)

    monkeypatch.setattr(platforms, "connect", lambda settings: Gone())
    assert await only(make_settings(OPENAI_BASE_URL=NOBODY), "platform") == (
        Level.ERROR,
        PlatformGone.sentence,
    )


async def test_a_platform_that_is_not_there_is_an_error_and_has_no_clock(make_settings: Make) -> None:
    settings = make_settings(OPENAI_BASE_URL=NOBODY)
    assert (await only(settings, "platform"))[0] is Level.ERROR
    assert (await only(settings, "clock"))[0] is Level.WARNING


@pytest.mark.parametrize(
    ("platform_ahead_s", "level", "says"),
    [
        (60, Level.WARNING, "atrasado"),
        (-60, Level.WARNING, "adiantado"),
        (3600, Level.ERROR, "atrasado"),
        (-3600, Level.ERROR, "adiantado"),
    ],
)
async def test_a_wrong_clock_is_reported(
    make_settings: Make, platform_ahead_s: float, level: Level, says: str
) -> None:
    clock = Clock()
    clock.skip(platform_ahead_s)
    async with serve(AssistantsSimulator(clock=clock).app) as url:
        (finding,) = await found(make_settings(OPENAI_BASE_URL=url), "clock")
    assert finding.level is level
    assert says in finding.message


async def test_check_says_what_responses_does_not_have(make_settings: Make) -> None:
    async with serve(ResponsesSimulator().app) as url:
        findings = await doctor.examine(make_settings(PLATFORM="responses", OPENAI_BASE_URL=url))
        unserved = await only(make_settings(PLATFORM="responses", OPENAI_BASE_URL=f"{url}/x"), "platform")
    said = {each.code: each for each in findings}
    assert said["platform"].level is Level.OK
    assert said["discovery"].level is Level.WARNING
    assert "não existe na plataforma responses" in said["discovery"].message
    assert "sync-schema --out" in said["schemas"].message
    assert unserved[0] is Level.ERROR


@pytest.mark.parametrize(("interval_s", "level"), [(0, Level.WARNING), (10, Level.OK)])
async def test_check_says_that_discovery_is_switched_off(
    make_settings: Make, interval_s: float, level: Level
) -> None:
    settings = make_settings(OPENAI_BASE_URL=NOBODY, DISCOVER_INTERVAL_S=interval_s)
    assert (await only(settings, "discovery"))[0] is level


# ----------------------------------------------------------------------------------------- schemas and CRM


async def test_each_assistants_functions_are_compared(
    make_settings: Make, platform: AssistantsSimulator, url: str
) -> None:
    ids = {f"{name}_ASSISTANT_ID": ASSISTANTS[name] for name in ("FINANCEIRO", "SUPORTE")}
    findings = await found(make_settings(OPENAI_BASE_URL=url, **ids), "schemas")
    assert [each.level for each in findings] == [Level.WARNING, Level.WARNING]
    assert "funções de SUPORTE: abrir_ticket_crm: falta" in findings[1].message
    assert (await only(make_settings(OPENAI_BASE_URL=url), "schemas"))[0] is Level.WARNING


@pytest.mark.parametrize(
    ("free", "level"), [(5_000_000_000, Level.OK), (900_000_000, Level.WARNING), (0, Level.ERROR)]
)
async def test_the_free_space_is_reported_where_the_worker_writes(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, level: Level
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    findings = await found(make_settings(LOG_DIR=str(tmp_path / "a" / "logs")), "disk")
    assert [each.level for each in findings] == [level, level]
    assert f"{free / 1e9:.1f} GB livres em {tmp_path} (log)".replace(".", ",", 1) in findings[0].message
    assert len(await found(make_settings(DATABASE_URL="postgresql://a/b"), "disk")) == 0


async def test_a_platform_without_connection_is_reported_as_the_crm_is(make_settings: Make) -> None:
    settings = make_settings(OPENAI_BASE_URL=NOBODY)
    assert await only(settings, "platform") == (
        Level.ERROR,
        "plataforma: não foi possível conectar a 127.0.0.1: a conexão foi recusada; confira "
        "OPENAI_BASE_URL e a saída desta máquina para a internet",
    )
    ids = {"FINANCEIRO_ASSISTANT_ID": ASSISTANTS["FINANCEIRO"]}
    level, message = await only(make_settings(OPENAI_BASE_URL=NOBODY, **ids), "schemas")
    assert level is Level.ERROR
    assert "a plataforma não respondeu: confira OPENAI_BASE_URL" in message


async def test_the_bot_is_reached_without_sending_it_an_event(make_settings: Make) -> None:
    async with listening() as bot:
        settings = make_settings(
            OPENAI_BASE_URL=NOBODY, BOT_WEBHOOK_URL=bot.url, BOT_WEBHOOK_SECRET="whsec_c2VncmVkbw=="
        )
        assert await only(settings, "bot") == (Level.OK, "bot: 127.0.0.1 aceita conexões (nada foi enviado)")
        assert not bot.requests
    settings = make_settings(
        OPENAI_BASE_URL=NOBODY, BOT_WEBHOOK_URL=NOBODY, BOT_WEBHOOK_SECRET="whsec_c2VncmVkbw=="
    )
    level, message = await only(settings, "bot")
    assert (level, "a conexão foi recusada" in message) == (Level.ERROR, True)
    assert await found(make_settings(OPENAI_BASE_URL=NOBODY), "bot") == []


async def test_the_lookup_is_reached_like_the_crm(make_settings: Make) -> None:
    crm = CrmSimulator()
    async with serve(crm.app) as url:
        settings = make_settings(OPENAI_BASE_URL=NOBODY, CRM_WEBHOOK_URL=url, CRM_LOOKUP_URL=NOBODY)
        levels = [each.level for each in await found(settings, "crm")]
    assert levels == [Level.OK, Level.ERROR]
    assert not crm.requests


async def test_a_crm_is_sent_nothing_at_all(make_settings: Make) -> None:
    told = bytearray()
    ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.extend(await reader.read())
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = make_settings(OPENAI_BASE_URL=NOBODY, CRM_WEBHOOK_URL=f"http://127.0.0.1:{port}/abrir")
        assert (await only(settings, "crm"))[0] is Level.OK
        await asyncio.wait_for(ended.wait(), 20)
    assert not told


async def test_a_crm_without_tls_where_tls_is_expected_is_an_error(make_settings: Make) -> None:
    async with serve(CrmSimulator().app) as url:
        settings = make_settings(CRM_WEBHOOK_URL=url.replace("http:", "https:"))
        assert "o certificado TLS não foi aceito" in (await only(settings, "crm"))[1]


async def test_a_crm_that_stays_silent_is_not_waited_for_longer_than_a_ticket_would(
    make_settings: Make,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = make_settings(CRM_WEBHOOK_URL=f"https://127.0.0.1:{port}/abrir", CRM_TIMEOUT_S=0.2)
        level, message = await only(settings, "crm")
    assert level is Level.ERROR
    assert "não respondeu a tempo" in message


async def test_behind_a_proxy_only_the_tunnel_is_asked_for(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening() as proxy:
        proxy.says({}, status=403)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        settings = make_settings(OPENAI_BASE_URL=NOBODY, CRM_WEBHOOK_URL="https://crm.example/abrir")
        level, message = await only(settings, "crm")
    assert [(each.method, each.target) for each in proxy.requests] == [("CONNECT", "crm.example:443")]
    assert level is Level.ERROR
    assert "o proxy recusou" in message


# -------------------------------------------------------------------------------------------------- UTF-8


@pytest.mark.parametrize(
    ("encoding", "level"),
    [("utf-8", Level.OK), ("latin-1", Level.WARNING), ("ascii", Level.WARNING), (None, Level.WARNING)],
)
async def test_the_encoding_of_the_terminal_is_reported(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch, encoding: str | None, level: Level
) -> None:
    stream: Any = io.TextIOWrapper(io.BytesIO(), encoding) if encoding else SimpleNamespace(encoding=None)
    monkeypatch.setattr(sys, "stdout", stream)
    assert (await only(make_settings(OPENAI_BASE_URL=NOBODY), "utf8_output"))[0] is level


def test_a_terminal_without_our_letters_gets_the_report_all_the_same() -> None:
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "PLATFORM": "", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "worker", "check", "--json"]
    ended = subprocess.run(command, env=environ, capture_output=True, check=False)
    assert ended.returncode == 2
    assert "n?o est? definida" in json.loads(ended.stdout)["findings"][0]["message"]


async def test_the_log_is_tried_where_it_is_or_will_be_and_nothing_stays(
    make_settings: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logs, new = tmp_path / "logs", tmp_path / "a" / "b"
    logs.mkdir()
    for folder in (logs, new):
        settings = make_settings(OPENAI_BASE_URL=NOBODY, LOG_DIR=str(folder))
        assert (await only(settings, "utf8_log"))[0] is Level.OK
    assert files(tmp_path) == ["logs"]
    assert "ÇÃÉ" not in capfd.readouterr().err


async def test_a_log_folder_that_cannot_be_used_is_an_error(make_settings: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = make_settings(OPENAI_BASE_URL=NOBODY, LOG_DIR=str(tmp_path / "file"))
    assert (await only(settings, "utf8_log"))[0] is Level.ERROR


async def test_a_log_that_loses_accents_is_an_error(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.logs.event", lambda message: None)
    settings = make_settings(OPENAI_BASE_URL=NOBODY, LOG_DIR=str(tmp_path))
    assert (await only(settings, "utf8_log"))[0] is Level.ERROR


async def test_the_next_opening_is_listed_once_for_departamentos_that_open_together(
    make_settings: Make, tmp_path: Path
) -> None:
    path = tmp_path / "nosso.yaml"
    weekday = (datetime.now(ZoneInfo("America/Sao_Paulo")).weekday() + 2) % 7
    hours = f"{DAYS[weekday]} 08:00-18:00"
    path.write_text(
        "setores: {OBRAS: [PODA, POSTE]}\n"
        "departamentos: [obras, rua, plantão]\n"
        f'atendimento: {{obras: ["{hours}"], rua: ["{hours}"]}}\n',
        "utf-8",
    )
    catalog, closed, always = await local.hours(make_settings(CATALOG_FILE=str(path)))
    assert catalog.message == f"catálogo: {path}, 1 setores, 2 motivos"
    assert re.fullmatch(r"atendimento: abre [a-zçá-]+, \d\d/\d\d, às 08:00: obras, rua", closed.message)
    assert always.message == "atendimento: aberto agora: plantão"


async def test_a_catalogue_that_cannot_be_used_is_reported_with_every_problem(
    make_settings: Make, tmp_path: Path
) -> None:
    path = tmp_path / "nosso.json"
    path.write_text('{"setores": {}, "departamentos": []}', "utf-8")
    findings = await doctor.examine(make_settings(CATALOG_FILE=str(path)))
    wrong = [each.message for each in findings if each.message.startswith(str(path))]
    assert [message.partition(": ")[2].partition(":")[0] for message in wrong] == ["setores", "departamentos"]


async def test_a_postgresql_that_does_not_answer_is_named_with_its_address(make_settings: Make) -> None:
    settings = make_settings(DATABASE_URL="postgresql://u:p@127.0.0.1:1/x")
    assert await only(settings, "database") == (
        Level.ERROR,
        "banco: O PostgreSQL (127.0.0.1, porta 1) não pôde ser aberto: ninguém atende nesta porta; "
        "confira DATABASE_URL e o servidor",
    )
