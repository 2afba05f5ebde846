"""Lists on both databases: what each filter finds, and the index that serves it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from tests.fakes import call
from tests.store.harness import (
    AMBIGUOUS,
    BOT,
    DONE,
    HANDOFF,
    REFUSED,
    REJECTION,
    OpenRig,
    Rig,
    many_rows,
    seeing,
)
from tests.store.test_board import about, ended
from worker.errors import RequestRefused
from worker.log_fields import hidden_call_id, hidden_id, hidden_run_id
from worker.model import CallState, EventState, ReplySource, RunState
from worker.personal import Personal
from worker.views import CallFilter, DismissReason, RunFilter


async def calls(rig: Rig, **which: Any) -> set[str]:
    found, _ = await rig.store.records.calls(CallFilter(**which))
    return {call.call_id for call in found}


async def runs(rig: Rig, **which: Any) -> set[str]:
    found, _ = await rig.store.records.runs(RunFilter(**which))
    return {run.run_id for run in found}


# ------------------------------------------------------------------------------------------------- filters


async def test_each_filter_of_calls_finds_what_has_its_value(rig: Rig) -> None:
    run, other = await rig.run(), await rig.run("run_2")
    done = await ended(rig, run, 1, DONE)
    failed = await ended(rig, other, 2, REFUSED)
    refused = await rig.admit(run, 3, REJECTION)
    transfer = await rig.admit(run, 4, HANDOFF)
    await rig.change("calls", {"tool": "consultar", "received_at": 1000.0}, call_id=refused.call_id)
    await rig.change("calls", {"setor": "SUPORTE", "motivo": "SEM CONEXÃO"}, call_id=failed.call_id)
    everything = {record.call_id for record in (done, failed, refused, transfer)}
    assert await calls(rig) == everything
    assert await calls(rig, protocolo="10000001") == {done.call_id}
    assert await calls(rig, run_id="run_2") == {failed.call_id}
    assert await calls(rig, tool="consultar") == {refused.call_id}
    assert await calls(rig, setor="SUPORTE") == {failed.call_id}
    assert await calls(rig, motivo="SEM CONEXÃO") == {failed.call_id}
    assert await calls(rig, until=1000.5) == {refused.call_id}
    assert await calls(rig, until=1000.0) == set()
    for state, record in {
        CallState.DONE: done,
        CallState.FAILED: failed,
        CallState.REJECTED: refused,
    }.items():
        assert record.call_id in await calls(rig, state=state)
    assert await calls(rig, state=CallState.RUNNING) == set()
    assert await calls(rig, state=CallState.FAILED, setor="FINANCEIRO") == set()


async def test_the_second_protocolo_of_a_duplicate_ticket_finds_its_call(rig: Rig) -> None:
    done = await ended(rig, await rig.run(), 1, DONE)
    await rig.change("calls", {"extra_protocolo": "20000001,20000002"}, call_id=done.call_id)
    assert await calls(rig, protocolo="20000002") == {done.call_id}
    assert await calls(rig, protocolo="2000000") == set()


async def test_runs_are_found_by_state_reason_time_and_conversation(rig: Rig) -> None:
    await rig.conversation("c2")
    await rig.lost(await rig.run("run_1"))
    await rig.run("run_2", "c2")
    await rig.change("runs", {"registered_at": 1000.0}, run_id="run_1")
    assert await runs(rig) == {"run_1", "run_2"}
    assert await runs(rig, state=RunState.LOST) == {"run_1"}
    assert await runs(rig, state=RunState.WATCHING) == {"run_2"}
    assert await runs(rig, state=RunState.ENDED) == set()
    assert await runs(rig, reason="cancelada") == {"run_1"}
    assert await runs(rig, reason="expirada") == set()
    assert await runs(rig, conversation_id="c2") == {"run_2"}
    assert (await runs(rig, since=1000.5), await runs(rig, until=1000.5)) == ({"run_2"}, {"run_1"})


async def test_pages_follow_each_other_and_miss_nothing_also_where_times_are_equal(rig: Rig) -> None:
    run = await rig.run()
    ids = {(await rig.admit(run, number, REJECTION)).call_id for number in range(7)}
    await rig.change("calls", {"received_at": 1000.0})
    found: list[str] = []
    cursor = None
    while True:
        page, cursor = await rig.store.records.calls(limit=2, cursor=cursor)
        found += [call.call_id for call in page]
        if cursor is None:
            break
    assert (len(found), set(found)) == (7, ids)


async def test_an_export_brings_every_call_of_the_filter(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.store.queries.records._EXPORTED_AT_ONCE", 2)
    run = await rig.run()
    ids = {(await rig.admit(run, number, REJECTION)).call_id for number in range(5)}
    await rig.admit(run, 9)
    which = CallFilter(state=CallState.REJECTED)
    portions = [portion async for portion in rig.store.records.every_call(which)]
    assert [len(portion) for portion in portions] == [2, 2, 1]
    assert {call.call_id for portion in portions for call in portion} == ids


async def test_a_conversation_is_found_by_what_the_log_writes_for_it(rig: Rig) -> None:
    phone = "whatsapp-5524900000000"
    await rig.conversation(phone)
    hidden = hidden_id(rig.store.database.hasher, phone)
    assert hidden is not None
    assert await rig.store.records.conversation_id(hidden) == phone
    assert await rig.store.records.conversation_id("c1") == "c1"
    with pytest.raises(RequestRefused, match="conversa_desconhecida"):
        await rig.store.records.conversation_id("conv-0000000000")


async def test_a_run_and_its_calls_are_found_by_what_the_log_writes_for_the_run(rig: Rig) -> None:
    phone = "run_5524998765432"
    call = await rig.admit(await rig.run(phone), 1)
    hidden = hidden_run_id(rig.store.database.hasher, phone)
    assert hidden is not None
    assert (await rig.store.records.run(hidden)).run_id == phone
    assert (await rig.store.records.run_summary(hidden)).run_id == phone
    calls, _ = await rig.store.records.calls(CallFilter(run_id=hidden))
    assert [each.call_id for each in calls] == [call.call_id]
    with pytest.raises(RequestRefused, match="nao_encontrado"):
        await rig.store.records.run("run-0000000000")


async def test_a_conversations_calls_runs_and_events_are_found_by_what_the_log_writes_for_it(
    open_rig: OpenRig,
) -> None:
    rig = await open_rig(owner=True, **BOT)
    phone = await rig.conversation("whatsapp-5524900000000")
    done = await ended(rig, await rig.run("run_1", phone), 1, DONE)
    hidden = hidden_id(rig.store.database.hasher, phone)
    assert hidden is not None
    assert await calls(rig, conversation_id=hidden) == {done.call_id}
    assert await runs(rig, conversation_id=hidden) == {"run_1"}
    (opened,), _ = await rig.store.events.list(conversation_id=hidden)
    assert opened.conversation_id == phone
    assert (await rig.store.records.conversation(hidden, reader="ana@cli")).conversation_id == phone


async def test_a_call_is_found_by_the_platforms_id_and_by_what_the_log_writes_for_it(rig: Rig) -> None:
    run = await rig.run()
    clear = await rig.decided(run, replace(call(1), platform_call_id="call_abc"), seeing([]))
    document = await rig.decided(run, replace(call(2), platform_call_id="52998224725"), seeing([]))
    endless = await rig.decided(run, replace(call(3), platform_call_id="call_" + "x" * 5000), seeing([]))
    hasher = rig.store.database.hasher
    assert await calls(rig, platform_call_id="call_abc") == {clear.call_id}
    for found, platform_id in ((document, "52998224725"), (endless, "call_" + "x" * 5000)):
        hidden = hidden_call_id(hasher, platform_id)
        assert hidden is not None
        assert await calls(rig, platform_call_id=hidden) == {found.call_id}
    assert await calls(rig, platform_call_id="52998224725") == {document.call_id}
    assert await calls(rig, platform_call_id="call-0000000000") == set()
    stored = {row.call_id: row.log_id for row in await rig.rows("calls")}
    assert stored[clear.call_id] is None  # only a hashed id has a stored hash


async def test_a_lost_run_is_dismissed_by_what_the_log_writes_for_it(rig: Rig) -> None:
    phone = "run_5524998765432"
    await rig.lost(await rig.run(phone))
    hidden = hidden_run_id(rig.store.database.hasher, phone)
    assert hidden is not None
    operators = rig.store.operators
    await operators.dismiss_run(hidden, DismissReason.OUTRO, by="ana@cli")
    assert (await rig.row("runs")).dismissed_by == "ana@cli"
    await operators.restore_run(hidden)
    assert (await rig.row("runs")).dismissed_by is None
    with pytest.raises(RequestRefused, match="nao_encontrado"):
        await operators.dismiss_run("run-0000000000", DismissReason.OUTRO, by="ana@cli")


async def test_a_run_whose_id_looks_like_a_hash_is_found_by_its_id(rig: Rig) -> None:
    await rig.run("run-0123456789")
    assert (await rig.store.records.run("run-0123456789")).run_id == "run-0123456789"


# -------------------------------------------------------------------------------- a conversation's history


async def test_a_history_has_everything_of_one_conversation_newest_first(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    await rig.conversation("c2")
    await rig.admit(await rig.run("run_2", "c2"), 1)
    run = await rig.run()
    await ended(rig, run, 1, DONE)
    await rig.admit(run, 2, HANDOFF)
    await rig.store.replies.record("c1", "run_1", ReplySource.RUN, [])
    await rig.store.replies.record("c2", None, ReplySource.API, [])
    found, following = await rig.store.histories.of("c1")
    kinds = [type(each.what) for each in found]
    assert sorted(kind.__name__ for kind in kinds) == [
        "CallView",
        "CallView",
        "EventView",
        "EventView",
        "HandoffView",
        "ReplyView",
        "RunSummary",
    ]
    assert [each.at for each in found] == sorted((each.at for each in found), reverse=True)
    assert following is None
    pages, cursor = [], None
    for _ in range(7):
        page, cursor = await rig.store.histories.of("c1", limit=1, cursor=cursor)
        pages += page
    assert ([each.key for each in pages], cursor) == ([each.key for each in found], None)


# ------------------------------------------------------------------------------------------------ payloads


async def test_a_payload_is_shown_as_stored_and_its_reading_recorded(rig: Rig) -> None:
    await rig.conversation(contact=Personal("5524900000000"), attachment_url=Personal("https://a.example/r"))
    body = Personal.json({"documento": "52998224725", "resumo": "Maria pagou", "setor": "FINANCEIRO"})
    record = await rig.admit(await rig.run(), 1, about("x", body=body))
    shown = await rig.store.records.payload(record.call_id, reader="ana@cli")
    assert shown.document == Personal("52998224725")
    assert shown.resumo == Personal("Maria pagou")
    assert shown.contact == Personal("5524900000000")
    assert shown.receipt == Personal("https://a.example/r")
    (entry,) = await rig.store.accesses.entries()
    assert (entry.reader, entry.subject) == ("ana@cli", record.call_id)


async def test_what_is_gone_is_not_shown_and_nothing_is_recorded(rig: Rig) -> None:
    record = await rig.admit(await rig.run(), 1)
    await rig.change("calls", {"body": None}, call_id=record.call_id)
    with pytest.raises(RequestRefused, match="payload_expirado"):
        await rig.store.records.payload(record.call_id, reader="ana@cli")
    with pytest.raises(RequestRefused, match="nao_encontrado"):
        await rig.store.records.payload("tc_9", reader="ana@cli")
    assert await rig.store.accesses.entries() == []


# ------------------------------------------------------------------------------------- dismissals and lost


async def test_a_dismissed_call_needs_no_person_until_it_is_taken_back(rig: Rig) -> None:
    failed = await ended(rig, await rig.run(), 1, REFUSED)
    operators = rig.store.operators
    await operators.dismiss(failed.call_id, DismissReason.CLIENTE_DESISTIU, by="ana@cli")
    view = await rig.store.records.call(failed.call_id)
    assert view.dismissal is not None
    assert (view.state, view.dismissal.reason, view.dismissal.by) == ("failed", "cliente_desistiu", "ana@cli")
    assert (await rig.store.board.backlog(10)).dead.count == 0
    with pytest.raises(RequestRefused, match="estado_incompativel"):
        await operators.dismiss(failed.call_id, DismissReason.OUTRO, by="rui@cli")
    assert (await rig.store.records.call(failed.call_id)).dismissal == view.dismissal
    await operators.restore(failed.call_id)
    assert (await rig.store.board.backlog(10)).dead.count == 1
    with pytest.raises(RequestRefused, match="estado_incompativel"):
        await operators.restore(failed.call_id)


@pytest.mark.parametrize("outcome", [DONE, None])
async def test_what_came_to_something_or_is_under_way_cannot_be_dismissed(rig: Rig, outcome: Any) -> None:
    run = await rig.run()
    record = await rig.admit(run, 1) if outcome is None else await ended(rig, run, 1, outcome)
    with pytest.raises(RequestRefused, match="estado_incompativel"):
        await rig.store.operators.dismiss(record.call_id, DismissReason.OUTRO, by="ana@cli")
    with pytest.raises(RequestRefused, match="nao_encontrado"):
        await rig.store.operators.dismiss("tc_9", DismissReason.OUTRO, by="ana@cli")


async def test_another_try_ends_a_dismissal(rig: Rig) -> None:
    failed = await ended(rig, await rig.run(), 1, REFUSED)
    await rig.store.operators.dismiss(failed.call_id, DismissReason.OUTRO, by="ana@cli")
    await rig.store.operators.retry(failed.call_id)
    assert (await rig.store.records.call(failed.call_id)).dismissal is None


async def test_a_lost_run_needs_a_person_unless_its_conversation_went_on(rig: Rig) -> None:
    await rig.conversation("c2")
    await rig.lost(await rig.run("run_1"))
    await rig.lost(await rig.run("run_2", "c2"))
    await rig.ago(60.0, "runs", "registered_at")
    await rig.run("run_3", "c2")
    lost = (await rig.store.board.backlog(10)).lost
    assert ([run.run_id for run in lost.items], lost.count) == (["run_1"], 1)
    await rig.ago(73 * 3600.0, "runs", "registered_at", run_id="run_1")
    assert (await rig.store.board.backlog(10)).lost.count == 0


async def test_a_lost_run_can_be_dismissed_and_taken_back_and_forgets_it_when_watched_again(
    rig: Rig,
) -> None:
    await rig.lost(await rig.run("run_1"))
    await rig.run("run_2")
    operators = rig.store.operators
    with pytest.raises(RequestRefused, match="estado_incompativel"):
        await operators.dismiss_run("run_2", DismissReason.OUTRO, by="ana@cli")
    with pytest.raises(RequestRefused, match="nao_encontrado"):
        await operators.dismiss_run("run_9", DismissReason.OUTRO, by="ana@cli")
    await operators.dismiss_run("run_1", DismissReason.RESOLVIDO_POR_FORA, by="ana@cli")
    assert (await rig.store.records.run_summary("run_1")).dismissal is not None
    await operators.restore_run("run_1")
    assert (await rig.store.records.run_summary("run_1")).dismissal is None
    await operators.dismiss_run("run_1", DismissReason.OUTRO, by="ana@cli")
    await rig.announce("c1", "run_1", None)
    assert (await rig.store.records.run_summary("run_1")).dismissal is None


# -------------------------------------------------------------------------------------------- many at once


async def test_many_are_retried_at_once_and_each_refusal_is_named(rig: Rig) -> None:
    run = await rig.run()
    first, second = await ended(rig, run, 1, REFUSED), await ended(rig, run, 2, AMBIGUOUS)
    old, gone = await ended(rig, run, 3, REFUSED), await ended(rig, run, 4, REFUSED)
    dismissed = await ended(rig, run, 5, REFUSED)
    await rig.store.operators.dismiss(dismissed.call_id, DismissReason.DUPLICADO, by="ana@cli")
    await rig.change("calls", {"received_at": 1000.0}, call_id=old.call_id)
    await rig.change("calls", {"body": None}, call_id=gone.call_id)
    which = CallFilter(state=CallState.FAILED, since=2000.0)
    woken, refused = await rig.store.operators.retry_many(which)
    assert woken == dict.fromkeys((first.call_id, second.call_id), "run_1")
    assert list(refused) == [(gone.call_id, "payload_expirado")]
    assert await calls(rig, state=CallState.RECEIVED) == {first.call_id, second.call_id}
    assert await calls(rig, state=CallState.FAILED) == {old.call_id, gone.call_id, dismissed.call_id}


# -------------------------------------------------------------------------------------------------- events


async def stuck_event(rig: Rig, number: int = 1) -> str:
    await ended(rig, await rig.run(f"run_{number}"), number, DONE)
    (claimed,) = await rig.store.outbox.claim("me", 10, 10.0)
    await rig.store.outbox.give_up(claimed, "http_500")
    return claimed.event_id


async def test_a_stuck_event_is_delivered_after_all_or_discarded(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    first = await stuck_event(rig)
    events = rig.store.events
    (shown,), _ = await events.list(state=EventState.STUCK)
    assert (shown.event_id, shown.kind, shown.result, shown.due) == (first, "ticket.opened", "http_500", None)
    again = await events.retry(first)
    assert (again.state, again.tries) == ("pending", 0)
    (claimed,) = await rig.store.outbox.claim("me", 10, 10.0)
    assert claimed.event_id == first
    with pytest.raises(RequestRefused, match="estado_incompativel"):
        await events.discard(first)
    await rig.store.outbox.give_up(claimed, "http_410")
    assert (await events.discard(first)).state == "discarded"
    assert await rig.store.outbox.claim("me", 10, 10.0) == []
    with pytest.raises(RequestRefused, match="nao_encontrado"):
        await events.retry("msg_9")
    assert [each.event_id for each in (await events.list(state=EventState.DISCARDED))[0]] == [first]


async def test_all_stuck_events_are_delivered_after_all(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    ids = {await stuck_event(rig, number) for number in (1, 2)}
    assert await rig.store.events.retry_all() == 2
    found, _ = await rig.store.events.list(state=EventState.PENDING, conversation_id="c1")
    assert {each.event_id for each in found} == ids
    assert await rig.store.events.retry_all() == 0


async def test_events_that_wait_for_their_next_try_are_delivered_at_once(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    await ended(rig, await rig.run(), 1, DONE)
    (event,) = await rig.store.outbox.claim("me", 10, 10.0)
    assert await rig.store.events.retry_all() == 0  # under way
    await rig.store.outbox.retry(event, "connect", 3600.0)
    assert await rig.store.outbox.claim("me", 10, 10.0) == []
    assert await rig.store.events.retry_all() == 1
    (again,) = await rig.store.outbox.claim("me", 10, 10.0)
    assert (again.event_id, again.tries) == (event.event_id, 1)


# --------------------------------------------------------------------------------------------- the indexes

FILTERS: list[tuple[str, Any, tuple[str, ...]]] = [
    ("calls", {}, ("ix_calls_received_at",)),
    ("calls", {"since": 1.0, "until": 2.0}, ("ix_calls_received_at",)),
    ("calls", {"state": CallState.FAILED}, ("ix_calls_dead", "ix_calls_needs_person")),
    ("calls", {"state": CallState.RUNNING}, ("ix_calls_open",)),
    ("calls", {"state": CallState.REJECTED}, ("ix_calls_rejected",)),
    ("calls", {"state": CallState.DONE}, ("ix_calls_received_at",)),
    ("calls", {"conversation_id": "c1"}, ("ix_calls_conversation",)),
    ("calls", {"run_id": "run_1"}, ("ix_calls_run_id",)),
    ("calls", {"platform_call_id": "call_1"}, ("ix_calls_platform_call_id",)),
    ("calls", {"platform_call_id": "call-0123456789"}, ("ix_calls_log_id",)),
    ("calls", {"tool": "consultar"}, ("ix_calls_tool",)),
    ("calls", {"setor": "SUPORTE"}, ("ix_calls_setor",)),
    ("calls", {"motivo": "SEM CONEXÃO"}, ("ix_calls_motivo",)),
    ("calls", {"protocolo": "1"}, ("ix_calls_protocolo",)),
    ("runs", {}, ("ix_runs_registered_at",)),
    ("runs", {"state": RunState.LOST}, ("ix_runs_lost",)),
    ("runs", {"state": RunState.WATCHING}, ("ix_runs_watching",)),
    ("runs", {"reason": "expirada"}, ("ix_runs_reason",)),
    ("runs", {"conversation_id": "c1"}, ("ix_runs_conversation_id",)),
    ("events", {}, ("ix_outbox_created_at",)),
    ("events", {"state": EventState.STUCK}, ("ix_outbox_stuck",)),
    ("events", {"state": EventState.PENDING}, ("ix_outbox_waiting", "ix_outbox_pending", "ix_outbox_due")),
    ("events", {"state": EventState.DISCARDED}, ("ix_outbox_discarded",)),
    ("events", {"conversation_id": "c1"}, ("ix_outbox_conversation",)),
    ("history", {"conversation_id": "c1"}, ("conversation",)),
]


@pytest.mark.parametrize("cursor", [None, (1700004000.0, "x")], ids=["first", "next"])
async def test_every_filter_is_served_by_an_index(rig: Rig, cursor: Any) -> None:
    """Each page walks an index to its limit: 100,000 rows cost it no more than 100."""
    if not rig.store.database.sqlite:
        await many_rows(rig)
    wrong: list[str] = []
    for what, which, indexes in FILTERS:
        statement, parameters = await _first_statement(rig, what, which, cursor)
        plan = await _plan(rig, statement, parameters)
        print(f"{what} {which}: {plan}")  # noqa: T201  # shown by -s
        if not any(index in plan for index in indexes) or "Seq Scan" in plan:
            wrong.append(f"{what} {which}: {plan}")
    assert wrong == []


async def _first_statement(rig: Rig, what: str, which: dict[str, Any], cursor: Any) -> tuple[str, Any]:
    statements: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    engine = rig.store.database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    match what:
        case "calls":
            await rig.store.records.calls(CallFilter(**which), cursor=cursor)
        case "runs":
            await rig.store.records.runs(RunFilter(**which), cursor=cursor)
        case "events":
            await rig.store.events.list(**which, cursor=cursor)
        case _:
            await rig.store.histories.of(which["conversation_id"], cursor=cursor)
    event.remove(engine, "before_cursor_execute", note)
    return next(each for each in statements if each[0].startswith("SELECT"))


async def _plan(rig: Rig, statement: str, parameters: Any) -> str:
    sqlite = rig.store.database.sqlite
    async with rig.store.database.write() as connection:
        explain = "explain query plan" if sqlite else "explain"
        rows = (await connection.exec_driver_sql(f"{explain} {statement}", parameters)).all()
    return json.dumps([str(row[-1]) for row in rows], ensure_ascii=False)
