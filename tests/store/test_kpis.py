"""The KPIs of contract §7 on ledgers counted by hand, on both databases."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.fakes import call
from tests.store.harness import (
    AMBIGUOUS,
    DONE,
    HANDOFF,
    NO_PROTOCOL,
    REFUSED,
    REJECTION,
    TICKET,
    UNKNOWN,
    Decision,
    Rig,
    many_rows,
)
from worker.kpis import Durations, Kpis
from worker.model import CallRecord, Intent, Outcome, Rejection, Run, ToolKind
from worker.personal import Personal

DAY_S = 86_400.0


def about(resumo: str, setor: str = "FINANCEIRO", motivo: str = "PAGAMENTO", **changes: bool) -> Intent:
    """A ticket that no other is equal to, unless it is about the same."""
    words = (setor, motivo, resumo, "52998224725")
    return replace(TICKET, equal_on=words, setor=setor, motivo=motivo, **changes)


class Shift:
    """One run whose assistant calls functions one after another."""

    def __init__(self, rig: Rig, run: Run) -> None:
        self.rig = rig
        self.run = run
        self.number = 0

    async def asks(self, decision: Decision, tool: str = "abrir_ticket_crm") -> CallRecord:
        self.number += 1
        kind = ToolKind.TICKET if tool == "abrir_ticket_crm" else ToolKind.OTHER
        return await self.rig.decided(self.run, call(self.number, tool), lambda _: decision, kind)

    async def ticket(self, intent: Intent, outcome: Outcome, failed: Sequence[bool] = ()) -> CallRecord:
        """Sent once more than it `failed` (surely or not), and decided."""
        record = await self.asks(intent)
        for certain in failed:
            record = await self.rig.attempted(record, certain=certain)
        return await self.rig.settled(await self.rig.attempted(record), outcome)

    async def kpis(self) -> Kpis:
        return await self.rig.store.records.kpis(await self.rig.time() - DAY_S, None)


@pytest.fixture
async def shift(rig: Rig) -> Shift:
    return Shift(rig, await rig.run())


def _done(protocolo: str) -> Outcome:
    return replace(DONE, protocolo=protocolo)


async def _timed(rig: Rig, record: CallRecord, crm_s: float | None, end_to_end_s: float | None) -> None:
    """As if it had come in at 1000, and its only attempt and its way back had taken so long."""
    submitted_at = None if end_to_end_s is None else 1000.0 + end_to_end_s
    times = {"received_at": 1000.0, "submitted_at": submitted_at}
    await rig.change("calls", times, call_id=record.call_id)
    if crm_s is not None:
        attempt = {"begun_at": 1001.0, "ended_at": 1001.0 + crm_s}
        await rig.change("attempts", attempt, call_id=record.call_id)


# -------------------------------------------------------------------------------------------------- counts


async def test_an_empty_database_has_counts_of_zero_and_nothing_to_divide_by(rig: Rig) -> None:
    kpis = await rig.store.records.kpis(0.0, None)
    assert kpis == Kpis()
    assert (kpis.success_rate, kpis.invalid_rate_raw, kpis.invalid_rate) == (None, None, None)
    assert kpis.crm_ms == Durations(None, None, None, None)


async def test_a_busy_day_comes_out_as_counted_by_hand(shift: Shift) -> None:
    await shift.ticket(about("a"), _done("10000001"))
    await shift.ticket(about("b", motivo="DESBLOQUEIO", exact=False), _done("10000002"), failed=[True, False])
    await shift.ticket(about("c", "SUPORTE", "SEM INTERNET"), _done("10000003"))
    await shift.ticket(about("d"), REFUSED)
    await shift.ticket(about("e"), AMBIGUOUS, failed=[False, False])
    await shift.ticket(about("f"), UNKNOWN)
    await shift.ticket(about("g"), NO_PROTOCOL)
    await shift.asks(about("still open"))
    await shift.asks(REJECTION)
    await shift.asks(Rejection("setor_invalido", Personal("{}"), exact=False))
    await shift.asks(Rejection("documento_ausente", Personal("{}"), "SUPORTE", exact=True))
    await shift.asks(Rejection("parametros_faltando", Personal("{}")))
    await shift.asks(HANDOFF, "transferir_para_humano")
    await shift.asks(
        replace(HANDOFF, equal_on=("x",), departamento="suporte geral"), "transferir_para_humano"
    )
    await shift.asks(replace(HANDOFF, equal_on=("y",)), "transferir_para_humano")
    kpis = await shift.kpis()
    assert (kpis.tickets_opened, kpis.valid_requests) == (3, 7)
    assert kpis.success_rate == pytest.approx(3 / 7)
    # Both present: seven decided, one open, three rejected of which one only for want of a document.
    assert (kpis.pairs_given, kpis.pairs_inexact, kpis.pairs_invalid) == (11, 3, 2)
    assert kpis.invalid_rate_raw == pytest.approx(3 / 11)
    assert kpis.invalid_rate == pytest.approx(2 / 11)
    assert (kpis.without_protocol, kpis.unknown) == (1, 1)
    assert (kpis.retries, kpis.duplicates_avoided) == (4, 0)
    assert kpis.handoffs == {"financeiro": 2, "suporte geral": 1}
    assert kpis.by_setor == {"FINANCEIRO": 2, "SUPORTE": 1}
    assert kpis.by_motivo == {"PAGAMENTO": 1, "DESBLOQUEIO": 1, "SEM INTERNET": 1}


async def test_one_motivo_of_two_setores_is_counted_together(shift: Shift) -> None:
    await shift.ticket(about("a", "SUPORTE", "LENTIDÃO"), _done("10000001"))
    await shift.ticket(about("b", "TÉCNICO", "LENTIDÃO"), _done("10000002"))
    kpis = await shift.kpis()
    assert kpis.by_motivo == {"LENTIDÃO": 2}
    assert kpis.by_setor == {"SUPORTE": 1, "TÉCNICO": 1}


async def test_calls_of_other_tools_are_no_ticket_requests(shift: Shift) -> None:
    record = await shift.asks(replace(TICKET, exact=False), "consultar_plano")
    record = await shift.rig.attempted(record, certain=True)
    await shift.rig.settled(await shift.rig.attempted(record), DONE)
    await shift.asks(Rejection("setor_invalido", Personal("{}"), exact=False), "consultar_plano")
    assert await shift.kpis() == Kpis()


async def test_a_defect_while_judging_a_call_is_no_valid_request(shift: Shift) -> None:
    await shift.asks(replace(REJECTION, code="erro_interno", state="failed", exact=None))
    kpis = await shift.kpis()
    assert (kpis.valid_requests, kpis.pairs_given, kpis.success_rate) == (0, 0, None)


# -------------------------------------------------------------------------------------------- equal calls


async def test_an_equal_call_that_sent_nothing_is_a_duplicate_avoided_and_no_request(shift: Shift) -> None:
    await shift.ticket(about("a"), DONE)
    equal = await shift.asks(about("a"))
    assert (await shift.kpis()).duplicates_avoided == 0  # nobody has decided yet
    await shift.rig.settled(equal, DONE)
    kpis = await shift.kpis()
    assert (kpis.tickets_opened, kpis.valid_requests, kpis.duplicates_avoided) == (1, 1, 1)
    assert (kpis.pairs_given, kpis.retries) == (2, 0)


async def test_an_equal_hand_off_is_a_duplicate_avoided_too(shift: Shift) -> None:
    await shift.asks(HANDOFF, "transferir_para_humano")
    equal = await shift.asks(HANDOFF, "transferir_para_humano")
    await shift.rig.settled(equal, Outcome(DONE.state))
    kpis = await shift.kpis()
    assert (kpis.duplicates_avoided, kpis.handoffs) == (1, {"financeiro": 1})


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [(DONE, (1, 0, 0)), (UNKNOWN, (0, 1, 0)), (NO_PROTOCOL, (0, 0, 1)), (AMBIGUOUS, (0, 0, 0))],
)
async def test_a_failed_ticket_that_an_equal_call_carried_on_counts_once_as_it_ended(
    shift: Shift, outcome: Outcome, counted: tuple[int, int, int]
) -> None:
    await shift.ticket(about("a"), REFUSED)
    await shift.ticket(about("a"), outcome)
    kpis = await shift.kpis()
    assert (kpis.tickets_opened, kpis.unknown, kpis.without_protocol) == counted
    assert (kpis.valid_requests, kpis.duplicates_avoided) == (1, 0)
    assert kpis.success_rate == counted[0]
    assert sum(kpis.by_setor.values()) == counted[0]


async def test_a_failed_ticket_that_is_being_tried_again_is_not_open_yet(shift: Shift) -> None:
    await shift.ticket(about("a"), REFUSED)
    await shift.rig.attempted(await shift.asks(about("a")))
    assert (await shift.kpis()).success_rate == 0.0


# -------------------------------------------------------------------------------------------------- period


async def test_a_period_holds_its_beginning_and_not_its_end(shift: Shift) -> None:
    for number, at in enumerate([999.0, 1000.0, 1999.0, 2000.0]):
        record = await shift.ticket(about(str(number)), _done(f"1000000{number}"))
        await shift.rig.change("calls", {"received_at": at}, call_id=record.call_id)
        handoff = await shift.asks(replace(HANDOFF, equal_on=(str(number),)), "transferir_para_humano")
        await shift.rig.change("calls", {"received_at": at}, call_id=handoff.call_id)
        await shift.rig.change("handoffs", {"requested_at": at}, call_id=handoff.call_id)
    between = await shift.rig.store.records.kpis(1000.0, 2000.0)
    assert (between.tickets_opened, between.handoffs) == (2, {"financeiro": 2})
    open_ended = await shift.rig.store.records.kpis(1000.0, None)
    assert (open_ended.tickets_opened, open_ended.handoffs) == (3, {"financeiro": 3})
    assert await shift.rig.store.records.kpis(3000.0, 4000.0) == Kpis()


# --------------------------------------------------------------------------------------------------- times


async def test_percentiles_are_times_that_were_seen(shift: Shift) -> None:
    for number in range(1, 21):
        record = await shift.ticket(about(str(number)), _done(f"{10_000_000 + number}"))
        await _timed(shift.rig, record, number / 8, number / 4)
    kpis = await shift.rig.store.records.kpis(0.0, None)
    # Nearest rank of twenty: the 10th, the 19th and the 20th.
    assert kpis.crm_ms == Durations(mean=1312.5, p50=1250.0, p95=2375.0, p99=2500.0)
    assert kpis.end_to_end_ms == Durations(mean=2625.0, p50=2500.0, p95=4750.0, p99=5000.0)


async def test_one_time_is_its_own_mean_and_percentiles(shift: Shift) -> None:
    record = await shift.ticket(about("a"), DONE)
    await _timed(shift.rig, record, 0.25, None)
    kpis = await shift.rig.store.records.kpis(0.0, None)
    assert kpis.crm_ms == Durations(250.0, 250.0, 250.0, 250.0)
    assert kpis.end_to_end_ms == Durations()


async def test_the_crm_is_timed_by_its_successes_only(shift: Shift) -> None:
    for intent, outcome in [(about("a"), REFUSED), (about("b"), UNKNOWN), (about("c"), NO_PROTOCOL)]:
        await _timed(shift.rig, await shift.ticket(intent, outcome), 9.0, None)
    record = await shift.ticket(about("d"), DONE, failed=[False])
    await shift.rig.change(
        "attempts", {"begun_at": 10.0, "ended_at": 19.0}, call_id=record.call_id, attempt=1
    )
    await shift.rig.change(
        "attempts", {"begun_at": 20.0, "ended_at": 20.5}, call_id=record.call_id, attempt=2
    )
    other = await shift.rig.attempted(await shift.asks(about("e"), "consultar_plano"))
    await _timed(shift.rig, await shift.rig.settled(other, DONE), 9.0, None)
    assert (await shift.rig.store.records.kpis(0.0, None)).crm_ms == Durations(500.0, 500.0, 500.0, 500.0)


async def test_end_to_end_is_timed_over_valid_requests_that_were_answered(shift: Shift) -> None:
    first = await shift.ticket(about("a"), DONE)
    equal = await shift.rig.settled(await shift.asks(about("a")), DONE)
    await _timed(shift.rig, first, None, 2.0)
    await _timed(shift.rig, equal, None, 8.0)
    await _timed(shift.rig, await shift.ticket(about("b"), REFUSED), None, 4.0)
    await _timed(shift.rig, await shift.asks(REJECTION), None, 16.0)
    kpis = await shift.rig.store.records.kpis(0.0, None)
    assert kpis.end_to_end_ms == Durations(mean=3000.0, p50=2000.0, p95=4000.0, p99=4000.0)


# ----------------------------------------------------------------------------------------------- the index


async def test_a_period_is_read_by_its_index_whatever_is_counted(rig: Rig) -> None:
    if not rig.store.database.sqlite:
        await many_rows(rig)
    statements: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    engine = rig.store.database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    await rig.store.records.kpis(1_700_000_100.0, 1_700_000_150.0)
    event.remove(engine, "before_cursor_execute", note)
    plans = [await _plan(rig, *each) for each in statements if each[0].startswith(("SELECT", "WITH"))]
    assert len(plans) == 5
    assert ["ix_calls_received_at" in plan for plan in plans].count(True) == 3
    assert ["ix_handoffs_requested_at" in plan for plan in plans].count(True) == 1
    assert ["ix_reply_checks_checked_at" in plan for plan in plans].count(True) == 1
    by_call = "SEARCH attempts USING INDEX" if rig.store.database.sqlite else "pk_attempts"
    assert [by_call in plan for plan in plans].count(True) == 1


async def _plan(rig: Rig, statement: str, parameters: Any) -> str:
    sqlite = rig.store.database.sqlite
    async with rig.store.database.write() as connection:
        if not sqlite:
            await connection.execute(text("set local enable_seqscan = off"))  # so few rows need no index
        explain = "explain query plan" if sqlite else "explain"
        return str((await connection.exec_driver_sql(f"{explain} {statement}", parameters)).all())
