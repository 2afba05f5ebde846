"""What the dashboard looks at, on both databases: tickets by the hour, and what waits for a person."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.fakes import call
from tests.store.harness import (
    BOT,
    DONE,
    HANDOFF,
    NO_PROTOCOL,
    REFUSED,
    REJECTION,
    TICKET,
    UNKNOWN,
    Decision,
    OpenRig,
    Rig,
)
from worker.model import Attendance, CallRecord, CallState, Intent, Outcome, Run
from worker.store.queries import board
from worker.tools.abrir_ticket_crm import AbrirTicketCrm
from worker.views import Backlog, DeadLetter, Hour, OpenHandoff, Preview

TOOL = AbrirTicketCrm.name

HOUR_S = 3600.0


def about(resumo: str, **changes: Any) -> Intent:
    """A ticket that no other is equal to, unless it is about the same."""
    return replace(TICKET, equal_on=("FINANCEIRO", "PAGAMENTO", resumo, "52998224725"), **changes)


async def asked(rig: Rig, run: Run, number: int, decision: Decision) -> CallRecord:
    return await rig.decided(run, call(number, TOOL), lambda _: decision)


async def ended(rig: Rig, run: Run, number: int, outcome: Outcome) -> CallRecord:
    """A ticket of its own that ended so."""
    record = await asked(rig, run, number, about(f"ticket {number}"))
    outcome = replace(outcome, protocolo=f"1000000{number}") if outcome.protocolo else outcome
    return await rig.settled(await rig.attempted(record), outcome)


async def at(rig: Rig, record: CallRecord, moment: float) -> CallRecord:
    await rig.change("calls", {"received_at": moment}, call_id=record.call_id)
    return record


async def backlog(rig: Rig, limit: int = 10) -> Backlog:
    return await rig.store.board.backlog(limit)


def ids(some: Preview[DeadLetter]) -> list[str]:
    return [letter.call_id for letter in some.items]


# --------------------------------------------------------------------------------------------------- hours


async def test_in_an_empty_database_nothing_happened_and_nothing_waits(rig: Rig) -> None:
    assert await rig.store.board.hours(0.0) == []
    assert await backlog(rig) == Backlog(*[Preview([])] * 6)


async def test_an_hour_begins_where_it_begins_and_ends_before_the_next(rig: Rig) -> None:
    run, since = await rig.run(), 1000.0
    moments = [since - 0.1, since, since + HOUR_S - 0.1, since + HOUR_S, since + 3 * HOUR_S - 0.001]
    for number, moment in enumerate(moments):
        await at(rig, await ended(rig, run, number, DONE), moment)
    assert await rig.store.board.hours(since) == [
        Hour(since, opened=2),
        Hour(since + HOUR_S, opened=1),
        Hour(since + 2 * HOUR_S, opened=1),
    ]


async def test_each_end_is_counted_as_what_it_is_and_as_the_kpis_count_it(rig: Rig) -> None:
    run = await rig.run()
    for number, outcome in enumerate([DONE, DONE, REFUSED, UNKNOWN, NO_PROTOCOL]):
        await at(rig, await ended(rig, run, number, outcome), 1000.0)
    await at(rig, await asked(rig, run, 5, REJECTION), 1000.0)
    await at(rig, await asked(rig, run, 6, about("open")), 1000.0)
    await at(rig, await asked(rig, run, 7, about("ticket 0")), 1000.0)
    await at(rig, await rig.decided(run, call(8, "transferir_para_humano"), lambda _: HANDOFF), 1000.0)
    (hour,) = await rig.store.board.hours(900.0)
    assert hour == Hour(900.0, opened=2, failed=1, unsure=2, rejected=1)
    kpis = await rig.store.records.kpis(900.0, None)
    assert (hour.opened, hour.unsure) == (kpis.tickets_opened, kpis.unknown + kpis.without_protocol)


async def test_a_failure_that_another_try_made_good_counts_as_opened(rig: Rig) -> None:
    run = await rig.run()
    await at(rig, await ended(rig, run, 1, REFUSED), await rig.time() - 60)
    again = await asked(rig, run, 2, about("ticket 1"))
    await rig.settled(await rig.attempted(again), DONE)
    hours = await rig.store.board.hours(await rig.time() - HOUR_S + 1)
    assert [(hour.opened, hour.failed) for hour in hours] == [(1, 0)]
    assert (await backlog(rig)).dead.items == []


# -------------------------------------------------------------------------------------------- dead letters


async def test_what_goes_no_further_by_itself_waits_for_a_person_newest_first(rig: Rig) -> None:
    run = await rig.run()
    dead = [
        await at(rig, await ended(rig, run, number, outcome), 1000.0 + number)
        for number, outcome in enumerate([REFUSED, UNKNOWN, NO_PROTOCOL])
    ]
    await ended(rig, run, 5, DONE)
    await asked(rig, run, 6, REJECTION)
    await rig.attempted(await asked(rig, run, 7, about("under way")))
    found = (await backlog(rig)).dead
    assert (ids(found), found.count) == ([record.call_id for record in reversed(dead)], 3)
    assert found.items[2] == DeadLetter(
        call_id=dead[0].call_id,
        conversation_id="c1",
        tool=TOOL,
        state=CallState.FAILED,
        error="crm_recusou",
        setor="FINANCEIRO",
        motivo="PAGAMENTO",
        received_at=1000.0,
        retriable=True,
        resolvable=True,
    )


@pytest.mark.parametrize(("idempotent", "unknown_too"), [(True, True), (False, False)])
async def test_retriable_is_what_the_retry_would_take(
    open_rig: OpenRig, idempotent: bool, unknown_too: bool
) -> None:
    rig = await open_rig(owner=True, CRM_IDEMPOTENT=idempotent)
    await rig.conversation()
    run = await rig.run()
    for number, outcome in enumerate([REFUSED, UNKNOWN, NO_PROTOCOL]):
        await at(rig, await ended(rig, run, number, outcome), 1000.0 + number)
    retriable = [letter.retriable for letter in (await backlog(rig)).dead.items]
    assert retriable == [False, unknown_too, True]


async def test_without_its_payload_a_call_can_only_be_resolved(rig: Rig) -> None:
    record = await ended(rig, await rig.run(), 1, REFUSED)
    await rig.change("calls", {"body": None}, call_id=record.call_id)
    (letter,) = (await backlog(rig)).dead.items
    assert (letter.retriable, letter.resolvable) == (False, True)


async def test_of_several_failed_tries_of_one_ticket_the_last_waits(rig: Rig) -> None:
    run = await rig.run()
    await at(rig, await ended(rig, run, 1, REFUSED), await rig.time() - 60)
    again = await asked(rig, run, 2, about("ticket 1"))
    await rig.settled(await rig.attempted(again), REFUSED)
    assert ids((await backlog(rig)).dead) == [again.call_id]


async def test_what_is_tried_again_or_resolved_waits_no_longer(rig: Rig) -> None:
    run = await rig.run()
    first, second = await ended(rig, run, 1, REFUSED), await ended(rig, run, 2, NO_PROTOCOL)
    await rig.store.operators.retry(first.call_id)
    await rig.store.operators.resolve(second.call_id, "2510271534789012")
    assert (await backlog(rig)).dead == Preview([], 0)


async def test_a_long_list_is_cut_and_counted_as_far_as_anybody_cares(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "COUNTED_UP_TO", 3)
    run = await rig.run()
    for number in range(4):
        await at(rig, await ended(rig, run, number, REFUSED), 1000.0 + number)
    found = (await backlog(rig, limit=2)).dead
    assert (len(found.items), found.count) == (2, 3)


# ------------------------------------------------------------------------------------- hand-offs and events


async def test_the_hand_off_that_waits_longest_is_first_and_accepted_ones_are_apart(rig: Rig) -> None:
    run = await rig.run()
    for number, departamento in enumerate(["financeiro", "suporte", "cobrança", "técnico"]):
        intent = replace(HANDOFF, equal_on=(departamento,), departamento=departamento)
        await asked(rig, run, number, intent)
        await rig.ago(100.0 - 10 * number, "handoffs", "requested_at", departamento=departamento)
    await rig.change("handoffs", {"state": "accepted"}, departamento="suporte")
    await rig.ago(30.0, "handoffs", "accepted_at", departamento="suporte")
    await rig.change("handoffs", {"state": "closed"}, departamento="cobrança")
    found = await backlog(rig)
    assert [each.departamento for each in found.requested.items] == ["financeiro", "técnico"]
    (accepted,) = found.accepted.items
    assert accepted == OpenHandoff(accepted.handoff_id, "c1", "suporte", True, accepted.for_s)
    waited = [each.for_s for each in (*found.requested.items, accepted)]
    assert waited == pytest.approx([100.0, 70.0, 30.0], abs=9.0)


async def test_events_on_their_way_are_counted_and_undelivered_ones_shown(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    run = await rig.run()
    await ended(rig, run, 1, DONE)
    await ended(rig, run, 2, REFUSED)
    (first, *_) = await rig.store.outbox.claim("me", 10, 10.0)
    await rig.store.outbox.give_up(first, "http_500")
    found = await backlog(rig)
    assert (found.events, found.stuck.count) == (1, 1)
    (stuck,) = found.stuck.items
    assert (stuck.kind, stuck.conversation_id, stuck.result) == ("ticket.opened", "c1", "http_500")
    assert stuck.event_id == first.event_id


# --------------------------------------------------------------------------------------------- the indexes


async def test_what_waits_is_found_by_indexes_of_its_own(rig: Rig) -> None:
    statements: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    engine = rig.store.database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    await rig.store.board.hours(1000.0)
    await backlog(rig)
    event.remove(engine, "before_cursor_execute", note)
    plans = [await _plan(rig, *each) for each in statements if each[0].startswith("SELECT")]
    expected = (
        "received_at",
        "calls_needs_person" if rig.store.database.sqlite else "calls_",  # of no rows, either is as good
        "handoffs_due",
        "handoffs_accepted",
        "outbox_stuck",
        "runs_lost",
        "ix_reply_checks_",
        "outbox_",
        "handoffs_",
        "handoffs_waiting",
    )
    assert [index for plan, index in zip(plans, expected, strict=True) if index not in plan] == []


async def _plan(rig: Rig, statement: str, parameters: Any) -> str:
    sqlite = rig.store.database.sqlite
    async with rig.store.database.write() as connection:
        if not sqlite:
            await connection.execute(text("set local enable_seqscan = off"))  # so few rows need no index
        explain = "explain query plan" if sqlite else "explain"
        return str((await connection.exec_driver_sql(f"{explain} {statement}", parameters)).all())


# ------------------------------------------------------------------------------------------- the deadline


async def test_who_is_furthest_past_the_deadline_stands_first_and_who_has_none_last(rig: Rig) -> None:
    time = await rig.time()
    dues = {
        "none": None,
        "soon": time + 60.0,
        "late": time - 600.0,
        "later": time + 7200.0,
        "early": time - 60.0,
    }
    for number, (name, due_at) in enumerate(dues.items(), 1):
        attendance = Attendance(time - 1000.0 + number, time + 3600.0 if name == "later" else None, due_at)
        intent = replace(HANDOFF, equal_on=(name,), departamento=name, attendance=attendance)
        await rig.admit(await rig.run(f"run_{number}"), number, intent)
    found = await backlog(rig)
    assert [each.departamento for each in found.requested.items] == ["late", "early", "soon", "later", "none"]
    assert found.overdue == 2
    assert found.longest_wait_s == pytest.approx(999.0, abs=30)
    late, *_, later, none = found.requested.items
    assert late.late_s == pytest.approx(600.0, abs=30)
    assert (late.opens_at, later.opens_at) == (None, time + 3600.0)
    assert (later.late_s, later.due_at) == (0.0, time + 7200.0)
    assert (none.late_s, none.due_at, none.opens_at) == (0.0, None, None)


async def test_an_opening_that_has_come_and_a_deadline_that_was_kept_are_not_shown(rig: Rig) -> None:
    time = await rig.time()
    intent = replace(HANDOFF, attendance=Attendance(time - 100.0, time - 50.0, time - 10.0))
    await rig.admit(await rig.run(), 1, intent)
    (waiting,) = (await backlog(rig)).requested.items
    assert (waiting.opens_at, waiting.late_s) == (None, pytest.approx(10.0, abs=30))
    await rig.store.handoffs.accept(waiting.handoff_id)
    found = await backlog(rig)
    assert (found.overdue, found.longest_wait_s, found.accepted.items[0].late_s) == (0, 0.0, 0.0)
