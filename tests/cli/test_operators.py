"""What an operator finds and finishes at a shell (contract §14), beside a daemon's database."""

import csv
import io
import json
from dataclasses import replace

import pytest

from tests.cli.rig import CliRig, daemon_lives
from tests.fakes import call as model_call
from tests.store.harness import REFUSED, Rig, seeing
from tests.store.test_board import ended
from tests.store.test_lists import stuck_event
from tests.system.personal_values import leaks
from worker.cli import database
from worker.log_fields import hidden_call_id, hidden_run_id
from worker.model import CallState, EventState, RunState
from worker.views import HandoffState
from worker.web.dashboard.words import state_word


def a_day(cli_rig: CliRig) -> dict[str, str]:
    """One done and two failed tickets, a lost run and a stuck event, by the names of their ids."""

    async def happen(rig: Rig) -> dict[str, str]:
        event = await stuck_event(rig, 1)
        run = await rig.run("run_9")
        failed, other = await ended(rig, run, 2, REFUSED), await ended(rig, run, 3, REFUSED)
        await rig.change("calls", {"setor": "SUPORTE"}, call_id=other.call_id)
        await rig.lost(await rig.run("run_lost"))
        return {"event": event, "failed": failed.call_id, "other": other.call_id}

    return cli_rig.daemon(happen)


def listed(cli_rig: CliRig, *words: str) -> list[dict[str, object]]:
    shown = cli_rig.run(*words, "--json")
    assert shown.exit_code == 0, shown.stderr
    items: list[dict[str, object]] = json.loads(shown.stdout)["items"]
    return items


def test_calls_are_found_by_each_filter_and_exported_without_a_limit(cli_rig: CliRig) -> None:
    day = a_day(cli_rig)
    (only,) = listed(cli_rig, "calls", "list", "--setor", "SUPORTE")
    assert only["call_id"] == day["other"]
    assert len(listed(cli_rig, "calls", "list", "--run", "run_9", "--motivo", "PAGAMENTO")) == 2
    assert listed(cli_rig, "calls", "list", "--until", "2020-01-01") == []
    (done,) = listed(cli_rig, "calls", "list", "--protocolo", "10000001")
    assert done["state"] == "done"
    exported = cli_rig.run("calls", "list", "--format", "csv", "--state", "failed")
    assert {row["call_id"] for row in csv.DictReader(io.StringIO(exported.stdout))} == {
        day["failed"],
        day["other"],
    }
    assert leaks(exported.stdout) == set()


def test_what_the_log_writes_instead_of_an_id_finds_the_call_and_dismisses_the_run(cli_rig: CliRig) -> None:
    async def happen(rig: Rig) -> tuple[str, str | None, str | None]:
        hasher = rig.store.database.hasher
        run = await rig.run("run_5524998765432")
        call = await rig.decided(run, replace(model_call(1), platform_call_id="52998224725"), seeing([]))
        await rig.lost(run)
        run_hash = hidden_run_id(hasher, "run_5524998765432")
        return call.call_id, hidden_call_id(hasher, "52998224725"), run_hash

    call_id, call_hash, run_hash = cli_rig.daemon(happen)
    assert call_hash is not None
    assert run_hash is not None
    (call,) = listed(cli_rig, "calls", "list", "--platform-call", call_hash)
    assert call["call_id"] == call_id
    assert listed(cli_rig, "calls", "list", "--platform-call", "call_1") == []
    dismissed = cli_rig.run("runs", "dismiss", run_hash)
    assert (dismissed.exit_code, dismissed.stderr) == (0, "")
    assert cli_rig.run("runs", "dismiss", run_hash, "--undo").exit_code == 0


def test_many_calls_are_retried_by_what_they_have_in_common(
    cli_rig: CliRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WITHIN_S", 0.0)
    day = a_day(cli_rig)
    words = ("calls", "retry", "--state", "failed", "--since", "2h", "--setor", "SUPORTE")
    preview = cli_rig.run(*words, "--dry-run")
    assert (preview.exit_code, "Nada foi enviado. 1 chamada seria tentada de novo." in preview.stdout) == (
        0,
        True,
    )
    assert listed(cli_rig, "calls", "list", "--state", "received") == []
    accepted = cli_rig.run(*words)
    assert (accepted.exit_code, "nenhum worker está em execução" in accepted.stdout) == (4, True)
    (again,) = listed(cli_rig, "calls", "list", "--state", "received")
    assert again["call_id"] == day["other"]
    cli_rig.daemon(daemon_lives)
    taken = cli_rig.run("calls", "retry", "--state", "failed", "--since", "2h")
    assert (taken.exit_code, taken.stdout.splitlines()) == (
        0,
        ["✓ 1 nova tentativa pedida", "… 1 ainda não tem resultado; acompanhe: ticket-worker calls list"],
    )


def test_a_retry_of_many_leaves_out_what_a_person_has_dismissed(cli_rig: CliRig) -> None:
    day = a_day(cli_rig)
    assert cli_rig.run("calls", "dismiss", day["failed"], "--reason", "duplicado").exit_code == 0
    words = ("calls", "retry", "--state", "failed", "--since", "2h")
    preview = cli_rig.run(*words, "--dry-run")
    assert (day["failed"] in preview.stdout, day["other"] in preview.stdout) == (False, True)
    assert "✓ 1 nova tentativa pedida" in cli_rig.run(*words).stdout
    assert [call["call_id"] for call in listed(cli_rig, "calls", "list", "--state", "failed")] == [
        day["failed"]
    ]


@pytest.mark.parametrize(
    "words",
    [[], ["--state", "failed"], ["--since", "1h"], ["tc_1", "--state", "failed"], ["--state", "done"]],
)
def test_a_retry_of_one_call_or_of_many_but_not_of_both_or_none(cli_rig: CliRig, words: list[str]) -> None:
    a_day(cli_rig)
    assert cli_rig.run("calls", "retry", *words).exit_code == 2


def test_a_call_is_dismissed_and_taken_back(cli_rig: CliRig) -> None:
    failed = a_day(cli_rig)["failed"]
    done = cli_rig.run("calls", "dismiss", failed, "--reason", "cliente_desistiu")
    assert (done.exit_code, "dispensada" in done.stdout) == (0, True)
    shown = json.loads(cli_rig.run("calls", "show", failed, "--json").stdout)
    assert shown["dismissed"]["reason"] == "cliente_desistiu"
    assert shown["dismissed"]["by"].endswith("@cli")
    assert "Falhou (failed), dispensada" in cli_rig.run("calls", "list", "--state", "failed").stdout
    again = cli_rig.run("calls", "dismiss", failed)
    assert (again.exit_code, "(estado_incompativel)" in again.stderr) == (1, True)
    assert cli_rig.run("calls", "dismiss", failed, "--undo").exit_code == 0
    assert json.loads(cli_rig.run("calls", "show", failed, "--json").stdout)["dismissed"] is None
    assert cli_rig.run("calls", "dismiss", failed, "--reason", "preguiça").exit_code == 2


def test_a_payload_is_shown_only_when_asked_for_and_put_on_record(cli_rig: CliRig) -> None:
    record = cli_rig.ticket()
    assert "52998224725" not in cli_rig.run("calls", "show", record.call_id).stdout
    shown = cli_rig.run("calls", "show", record.call_id, "--reveal")
    assert (shown.exit_code, "52998224725" in shown.stdout) == (0, True)
    assert [line.split()[0] for line in shown.stdout.splitlines()[:3]] == ["setor", "motivo", "recebida"]
    as_json = json.loads(cli_rig.run("calls", "show", record.call_id, "--reveal", "--json").stdout)
    assert as_json["document"] == "52998224725"

    async def readings(rig: Rig) -> list[tuple[str, str]]:
        entries = await rig.store.accesses.entries()
        return [(entry.reader.rpartition("@")[2], entry.subject) for entry in entries]

    assert cli_rig.daemon(readings) == [("cli", record.call_id)] * 2


def test_lost_runs_are_listed_shown_dismissed_and_taken_back(cli_rig: CliRig) -> None:
    a_day(cli_rig)
    (lost,) = listed(cli_rig, "runs", "list", "--state", "lost", "--since", "1h")
    assert (lost["run_id"], lost["reason"]) == ("run_lost", "cancelada")
    assert "cancelada" in cli_rig.run("runs", "list", "--reason", "cancelada").stdout
    shown = cli_rig.run("runs", "show", "run_9")
    assert (shown.exit_code, shown.stdout.count("crm_recusou")) == (0, 2)
    assert json.loads(cli_rig.run("runs", "show", "run_lost", "--json").stdout)["state"] == "lost"
    assert cli_rig.run("runs", "dismiss", "run_lost", "--reason", "resolvido_por_fora").exit_code == 0
    refused = cli_rig.run("runs", "dismiss", "run_9")
    assert (refused.exit_code, "Só uma execução perdida" in refused.stderr) == (1, True)
    assert cli_rig.run("runs", "dismiss", "run_lost", "--undo").exit_code == 0
    missing = cli_rig.run("runs", "show", "run_none")
    assert (missing.exit_code, "(nao_encontrado)" in missing.stderr) == (1, True)


def test_stuck_events_are_listed_delivered_after_all_and_discarded(cli_rig: CliRig) -> None:
    event = a_day(cli_rig)["event"]
    (stuck,) = listed(cli_rig, "events", "list", "--stuck")
    assert (stuck["event_id"], stuck["result"]) == (event, "http_500")
    assert event in cli_rig.run("events", "list").stdout
    retried = cli_rig.run("events", "retry", event)
    assert (retried.exit_code, "1 aviso será entregue de novo" in retried.stdout) == (4, True)
    refused = cli_rig.run("events", "discard", event)
    assert (refused.exit_code, "Este aviso não está parado" in refused.stderr) == (1, True)

    async def stuck_again(rig: Rig) -> None:
        await rig.change("outbox", {"state": "stuck"}, event_id=event)

    cli_rig.daemon(stuck_again)
    assert "1 aviso será" in cli_rig.run("events", "retry", "--all").stdout
    cli_rig.daemon(stuck_again)
    assert cli_rig.run("events", "discard", event).exit_code == 0
    assert listed(cli_rig, "events", "list", "--stuck") == []
    assert cli_rig.run("events", "retry").exit_code == 2
    assert cli_rig.run("events", "retry", event, "--all").exit_code == 2


def test_a_state_has_one_name_on_the_dashboard_and_in_the_commands(cli_rig: CliRig) -> None:
    day = a_day(cli_rig)
    assert "Falhou (failed)" in cli_rig.run("calls", "list").stdout
    assert "Falhou (failed)" in cli_rig.run("calls", "show", day["failed"]).stdout
    assert "Perdida (lost)" in cli_rig.run("runs", "list").stdout
    assert "Não entregue (stuck)" in cli_rig.run("events", "list").stdout
    for state in (*CallState, *RunState, *EventState, *HandoffState):
        assert state_word(state)
