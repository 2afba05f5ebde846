"""What `check`, `rekey` and `backup` know of running daemons and of this machine (contract §14)."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.cli.rig import CliRig
from tests.databases import KEY
from tests.fakes import JumpingClock, call
from tests.store.harness import REFUSED, Rig
from tests.store.test_board import about
from worker import metrics
from worker.background import presence
from worker.cli.doctor import running
from worker.cli.doctor.finding import Level
from worker.settings import Settings
from worker.tools.abrir_ticket_crm import AbrirTicketCrm
from worker.views import DaemonReport

Make = Callable[..., Settings]


async def reports(rig: Rig, **changes: Any) -> None:
    fields = {"owner": "host:7:a", "version": "1.0", "keys": rig.store.daemons.key_hashes([KEY])}
    fields |= {"breaker_open": False, "platform_failing": None}
    await rig.store.daemons.report(DaemonReport(**fields | changes))


async def findings(make_settings: Make, database_url: str) -> dict[str, tuple[Level, str]]:
    found = await running.daemons(make_settings(DATABASE_URL=database_url, DATA_KEYS=KEY))
    return {each.code: (each.level, each.message) for each in found}


async def test_check_says_that_no_daemon_runs(rig: Rig, make_settings: Make, database_url: str) -> None:
    await reports(rig)
    await rig.ago(25.0, "daemons", "seen_at")
    said = await findings(make_settings, database_url)
    assert said["daemon"][0] is Level.WARNING
    assert "nenhum em execução" in said["daemon"][1]


async def test_a_living_daemon_is_listed_with_the_answers_of_crm_and_platform(
    rig: Rig, make_settings: Make, database_url: str
) -> None:
    run = await rig.run()
    for number in (1, 2):
        decision = about(f"ticket {number}")
        record = await rig.decided(run, call(number, AbrirTicketCrm.name), lambda _, each=decision: each)
        await rig.attempted(record, certain=True)
    await rig.change("attempts", {"result": "ok", "ended_at": 1000.0}, call_id=record.call_id)
    await reports(rig, platform_failing=False)
    said = await findings(make_settings, database_url)
    assert said["daemon"] == (
        Level.OK,
        "worker host (7): em execução, versão 1.0, com a primeira de DATA_KEYS",
    )
    assert said["platform_answers"][0] is Level.OK
    assert said["crm_outcomes"][0] is Level.WARNING
    assert "CRM: 1 dos últimos 2 envios tiveram resposta útil" in said["crm_outcomes"][1]
    assert "não teve (connect)" in said["crm_outcomes"][1]
    await reports(rig, breaker_open=True, platform_failing=True)
    said = await findings(make_settings, database_url)
    assert (said["crm_breaker"][0], said["platform_answers"][0]) == (Level.ERROR, Level.ERROR)


async def test_the_last_outcome_at_the_crm_is_the_last_attempt_of_any_ticket(rig: Rig) -> None:
    retried = await rig.attempted(await rig.admit(await rig.run(), 1), certain=True)
    await rig.settled(retried, REFUSED)
    other = await rig.attempted(await rig.admit(await rig.run("run_2"), 2), certain=True)
    await rig.settled(other, REFUSED)
    for table, column in (("attempts", "ended_at"), ("calls", "finished_at")):
        await rig.ago(60.0, table, column, call_id=other.call_id)
    await rig.change("attempts", {"result": "http_503"}, call_id=retried.call_id)
    await rig.decided(await rig.run("run_3"), call(3, AbrirTicketCrm.name), lambda _: about("another"))
    (newest,) = await rig.store.daemons.crm_outcomes(1)
    assert newest.result == "http_503"
    for record in (retried, other):
        await rig.change("calls", {"body": None, "answer": None}, call_id=record.call_id)
    assert len(await rig.store.daemons.crm_outcomes(5)) == 2


async def test_what_was_never_asked_is_not_called_good(
    rig: Rig, make_settings: Make, database_url: str
) -> None:
    await reports(rig)
    said = await findings(make_settings, database_url)
    assert "platform_answers" not in said
    assert "nenhum ticket foi enviado ainda" in said["crm_outcomes"][1]


async def test_a_daemon_without_the_first_key_is_reported_and_keeps_rekey_from_beginning(
    rig: Rig, make_settings: Make, database_url: str
) -> None:
    await reports(rig, keys=rig.store.daemons.key_hashes([Fernet.generate_key().decode()]))
    said = await findings(make_settings, database_url)
    assert said["daemon"][0] is Level.ERROR
    assert "reinicie-o antes de usar rekey" in said["daemon"][1]


def test_rekey_refuses_while_a_daemon_lacks_the_first_key(cli_rig: CliRig) -> None:
    cli_rig.ticket(REFUSED)
    cli_rig.daemon(reports)
    new = Fernet.generate_key().decode()
    refused = cli_rig.run("rekey", DATA_KEYS=f"{new},{KEY}")
    assert (refused.exit_code, "Nada foi mudado" in refused.stdout) == (1, True)

    async def restarted(rig: Rig) -> None:
        await reports(rig, keys=rig.store.daemons.key_hashes([new, KEY]))

    cli_rig.daemon(restarted)
    done = cli_rig.run("rekey", DATA_KEYS=f"{new},{KEY}")
    assert (done.exit_code, "Nenhum valor depende das outras chaves" in done.stdout) == (0, True)


async def test_a_daemon_reports_until_it_ends_and_is_forgotten_then(rig: Rig) -> None:
    metrics.breaker_open.set_function(lambda: True)
    seen: list[tuple[str, bool]] = []

    class Once(JumpingClock):
        async def sleep(self, seconds: float) -> None:
            (living,) = await rig.store.daemons.living()
            seen.append((living.report.owner, living.report.breaker_open))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await presence.keep_reported(rig.store.daemons, "host:1:x", [KEY], Once())
    metrics.breaker_open.set_function(lambda: False)
    assert seen == [("host:1:x", True)]
    assert await rig.store.daemons.living() == []


# ------------------------------------------------------------------------------------------------- backups


def test_a_backup_is_whole_private_and_never_written_over(cli_rig: CliRig, tmp_path: Path) -> None:
    record = cli_rig.ticket()
    target = tmp_path / "copia.db"
    done = cli_rig.run("backup", str(target))
    assert done.exit_code == 0
    assert re.search(r"✓ Banco copiado para .*/copia\.db \(\d,\d MB\)\.", done.stdout)
    assert target.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(target) as copy:
        assert copy.execute("select call_id from calls").fetchall() == [(record.call_id,)]
        assert copy.execute("pragma integrity_check").fetchone() == ("ok",)
    again = cli_rig.run("backup", str(target))
    assert (again.exit_code, "já existe" in again.stderr) == (2, True)
    nowhere = cli_rig.run("backup", str(tmp_path / "none" / "copia.db"))
    assert (nowhere.exit_code, nowhere.stderr) == (
        2,
        f"✗ A pasta {tmp_path}/none não existe; crie-a, ou dê outro nome à cópia\n",
    )
    (tmp_path / "lixo.db").write_text("não é um banco, " * 500)
    broken = cli_rig.run("backup", f"{target}.2", DATABASE_URL=f"sqlite:///{tmp_path}/lixo.db")
    assert (broken.exit_code, "não pôde ser copiado" in broken.stderr) == (2, True)


def test_a_backup_of_postgresql_is_pg_dumps(cli_rig: CliRig, tmp_path: Path) -> None:
    refused = cli_rig.run("backup", str(tmp_path / "copia.db"), DATABASE_URL="postgresql://localhost/worker")
    assert (refused.exit_code, "pg_dump" in refused.stderr) == (2, True)
