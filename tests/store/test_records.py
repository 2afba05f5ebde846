"""What the HTTP API reads and changes, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from tests.store.harness import DOCUMENT, DONE, HANDOFF, PROTOCOLO, REJECTION, TICKET, Rig
from worker.errors import RequestRefused
from worker.model import CallState, RunState
from worker.personal import Personal
from worker.views import AttemptView, CallFilter, CallView, Cursor, HandoffState, HandoffView

CONTACT = Personal("5524900000000")
URL = Personal("https://arquivos.example/comprovante.jpg")


def _code(error: pytest.ExceptionInfo[RequestRefused]) -> str:
    return error.value.code


# ------------------------------------------------------------------------------------------ conversations


async def test_a_conversation_is_created_once_and_then_changed(rig: Rig) -> None:
    view, new = await rig.store.records.put_conversation("c2", {"assistant": "FINANCEIRO"})
    assert (new, view.assistant, view.document, view.thread_id) == (True, "FINANCEIRO", None, None)
    changed, new = await rig.store.records.put_conversation("c2", {"contact": CONTACT})
    assert (new, changed.assistant, changed.contact) == (False, "FINANCEIRO", CONTACT)
    assert await rig.store.records.conversation("c2", reader="test") == changed


async def test_only_what_is_given_changes_and_none_clears(rig: Rig) -> None:
    put = rig.store.records.put_conversation
    given = {"assistant": "SUPORTE", "contact": CONTACT, "attachment_url": URL, "attachment_at": 1000.0}
    before, _ = await put("c1", given)
    assert (before.attachment_url, before.attachment_at) == (URL, 1000.0)
    same, _ = await put("c1", {})
    assert replace(same, updated_at=0.0) == replace(before, updated_at=0.0)
    cleared, _ = await put("c1", dict.fromkeys([*given, "thread_id", "client_document"]))
    assert (cleared.assistant, cleared.contact, cleared.attachment_url) == (None, None, None)
    assert (cleared.thread_id, cleared.document, cleared.attachment_at) == (None, None, None)
    assert (await rig.row("conversations")).document_hash is None


async def test_a_receipt_without_a_time_came_now_and_a_time_without_a_receipt_is_ignored(
    rig: Rig,
) -> None:
    view, _ = await rig.store.records.put_conversation("c1", {"attachment_at": 1000.0})
    assert view.attachment_at is None
    view, _ = await rig.store.records.put_conversation("c1", {"attachment_url": URL})
    assert view.attachment_at == pytest.approx(view.updated_at, abs=1.0)


async def test_a_change_is_dated_and_makes_the_conversation_active(rig: Rig) -> None:
    for column in ("created_at", "updated_at", "active_at"):
        await rig.ago(5000.0, "conversations", column)
    view, _ = await rig.store.records.put_conversation("c1", {})
    assert view.updated_at - view.created_at == pytest.approx(5000.0, abs=60)
    assert (await rig.row("conversations")).active_at == pytest.approx(view.updated_at, abs=1.0)


async def test_a_document_can_be_looked_up_by_its_keyed_hash_only(rig: Rig) -> None:
    row = await rig.row("conversations")
    assert row.document == Personal(DOCUMENT)
    assert row.document_hash == rig.store.database.hasher.digest("document", DOCUMENT)
    assert DOCUMENT not in row.document_hash


async def test_a_thread_belongs_to_one_conversation(rig: Rig) -> None:
    with pytest.raises(RequestRefused) as refused:
        await rig.store.records.put_conversation("c2", {"thread_id": "thread_c1", "contact": CONTACT})
    assert _code(refused) == "thread_em_uso"
    assert len(await rig.rows("conversations")) == 1
    await rig.store.records.put_conversation("c1", {"thread_id": "thread_c1"})
    await rig.store.records.put_conversation("c1", {"thread_id": None})
    assert (await rig.store.records.put_conversation("c2", {"thread_id": "thread_c1"}))[1]


async def test_a_thread_claimed_side_by_side_goes_to_one_conversation(rig: Rig, neighbour: Rig) -> None:
    for number in range(10):
        change = {"thread_id": f"thread_{number}"}
        first = rig.store.records.put_conversation(f"a{number}", change)
        second = neighbour.store.records.put_conversation(f"b{number}", change)
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert [repr(error) for error in refused] == ["RequestRefused('thread_em_uso')"]


async def test_a_conversation_created_side_by_side_is_new_once(rig: Rig, neighbour: Rig) -> None:
    for number in range(10):
        puts = [d.store.records.put_conversation(f"n{number}", {}) for d in (rig, neighbour)]
        assert sorted(new for _, new in await asyncio.gather(*puts)) == [False, True]


@pytest.mark.parametrize(
    ("read", "code"),
    [
        (lambda rig: rig.store.records.conversation("x", reader="test"), "conversa_desconhecida"),
        (lambda rig: rig.store.records.run("x"), "nao_encontrado"),
        (lambda rig: rig.store.records.call("x"), "nao_encontrado"),
        (lambda rig: rig.store.records.handoff("x", reader="token"), "nao_encontrado"),
    ],
)
async def test_what_is_not_there_is_refused_with_its_code(
    rig: Rig, read: Callable[[Rig], Awaitable[object]], code: str
) -> None:
    with pytest.raises(RequestRefused) as refused:
        await read(rig)
    assert _code(refused) == code
    assert await rig.rows("access_log") == []


# ------------------------------------------------------------------------------------------ runs and calls


async def test_a_run_is_shown_with_its_calls_in_order(rig: Rig) -> None:
    run = await rig.run()
    first, second = await rig.admit(run, 1, REJECTION), await rig.admit(run, 2)
    await rig.admit(await rig.run("run_2"), 1, REJECTION)
    await rig.ago(5.0, "calls", "received_at", call_id=first.call_id)
    await rig.lost(run)
    view = await rig.store.records.run("run_1")
    assert (view.state, view.reason, view.platform_status) == (RunState.LOST, "cancelada", "cancelled")
    assert (view.conversation_id, view.thread_id, view.continues_as) == ("c1", "thread_c1", None)
    assert [call.call_id for call in view.calls] == [first.call_id, second.call_id]


async def test_a_call_is_shown_with_its_timeline_and_without_its_payload(rig: Rig) -> None:
    run = await rig.run()
    record = await rig.attempted(await rig.admit(run), certain=False)
    record = await rig.settled(await rig.attempted(record), DONE)
    await rig.store.runs.submitted(run, [record.call_id], "queued")
    view = await rig.store.records.call(record.call_id)
    assert (view.run_id, view.conversation_id, view.platform_call_id) == ("run_1", "c1", "call_1")
    assert (view.tool, view.state, view.error) == ("echo", CallState.DONE, None)
    assert (view.protocolo, view.setor, view.motivo) == (PROTOCOLO, "FINANCEIRO", "PAGAMENTO")
    assert [(a.attempt, a.result, a.certain) for a in view.attempts] == [
        (1, "timeout", False),
        (2, "ok", False),
    ]
    times = [view.received_at, view.answered_at, view.finished_at, view.submitted_at]
    assert None not in times
    assert isinstance(view.attempts[0], AttemptView)


async def test_an_equal_call_names_the_first_and_a_hand_off_its_departamento(rig: Rig) -> None:
    run = await rig.run()
    first, second = await rig.admit(run, 1), await rig.admit(run, 2)
    handoff = await rig.admit(run, 3, HANDOFF)
    assert (await rig.store.records.call(second.call_id)).equal_to == first.call_id
    assert (await rig.store.records.call(handoff.call_id)).departamento == "financeiro"


# ---------------------------------------------------------------------------------------------------- lists

Page = tuple[Sequence[CallView | HandoffView], Cursor | None]


async def _pages(ask: Callable[[Cursor | None], Awaitable[Page]]) -> list[list[str]]:
    """The ids of every page, following the cursors to the end."""
    pages: list[list[str]] = []
    cursor: Cursor | None = None
    while True:
        items, cursor = await ask(cursor)
        pages.append([item.call_id for item in items])
        if cursor is None:
            return pages


async def test_calls_are_paged_newest_first_with_none_twice_or_missing(rig: Rig) -> None:
    run = await rig.run()
    ids = [(await rig.admit(run, number, REJECTION)).call_id for number in range(7)]
    for number, call_id in enumerate(ids):
        await rig.change("calls", {"received_at": 1000.0 + number // 3}, call_id=call_id)
    pages = await _pages(lambda cursor: rig.store.records.calls(limit=2, cursor=cursor))
    assert [len(page) for page in pages] == [2, 2, 2, 1]
    seen = [call_id for page in pages for call_id in page]
    assert sorted(seen) == sorted(ids)
    oldest = [ids.index(call_id) // 3 for call_id in seen]
    assert oldest == sorted(oldest, reverse=True)


async def test_a_page_that_holds_exactly_the_rest_is_the_last(rig: Rig) -> None:
    run = await rig.run()
    for number in range(4):
        await rig.admit(run, number, REJECTION)
    pages = await _pages(lambda cursor: rig.store.records.calls(limit=2, cursor=cursor))
    assert [len(page) for page in pages] == [2, 2]


async def test_what_arrives_meanwhile_does_not_shift_the_pages(rig: Rig) -> None:
    run = await rig.run()
    ids = [(await rig.admit(run, number, REJECTION)).call_id for number in range(4)]
    await rig.ago(10.0, "calls", "received_at")
    _, cursor = await rig.store.records.calls(limit=2)
    await rig.admit(run, 9, REJECTION)
    rest, end = await rig.store.records.calls(limit=2, cursor=cursor)
    assert len(rest) == 2
    assert end is None
    assert {call.call_id for call in rest} < set(ids)


async def test_calls_are_filtered_by_state_time_and_conversation(rig: Rig) -> None:
    await rig.conversation("c2")
    run = await rig.run()
    rejected = await rig.admit(run, 1, REJECTION)
    ticket = await rig.admit(run, 2)
    elsewhere = await rig.admit(await rig.run("run_2", "c2"), 1)
    await rig.change("calls", {"received_at": 1000.0}, call_id=rejected.call_id)

    async def ids(**filters: object) -> set[str]:
        items, _ = await rig.store.records.calls(CallFilter(**filters))  # type: ignore[arg-type]  # each test's own
        return {item.call_id for item in items}

    assert await ids() == {rejected.call_id, ticket.call_id, elsewhere.call_id}
    assert await ids(state=CallState.REJECTED) == {rejected.call_id}
    assert await ids(state=CallState.DONE) == set()
    assert await ids(conversation_id="c2") == {elsewhere.call_id}
    assert await ids(since=1000.0) == {rejected.call_id, ticket.call_id, elsewhere.call_id}
    assert await ids(since=1000.5) == {ticket.call_id, elsewhere.call_id}
    assert await ids(since=1000.5, conversation_id="c1", state=CallState.RECEIVED) == {ticket.call_id}


async def test_a_listed_call_brings_its_own_attempts(rig: Rig) -> None:
    run = await rig.run()
    first = await rig.attempted(await rig.admit(run, 1, replace(TICKET, equal_on=("1",))), certain=True)
    second = await rig.admit(run, 2, replace(TICKET, equal_on=("2",)))
    items, _ = await rig.store.records.calls()
    assert {item.call_id: len(item.attempts) for item in items} == {first.call_id: 1, second.call_id: 0}


# ------------------------------------------------------------------------------------------------ hand-offs


async def _handed_off(rig: Rig, count: int) -> list[str]:
    """The calls of that many hand-offs, oldest first, some of one time."""
    run = await rig.run()
    calls = []
    for number in range(count):
        intent = replace(HANDOFF, equal_on=(f"departamento {number}",))
        record = await rig.admit(run, number, intent)
        await rig.change("handoffs", {"requested_at": 1000.0 + number // 2}, call_id=record.call_id)
        calls.append(record.call_id)
    return calls


async def test_hand_offs_are_paged_newest_first_without_their_motivo(rig: Rig) -> None:
    calls = await _handed_off(rig, 5)
    pages = await _pages(lambda cursor: rig.store.records.handoffs(limit=2, cursor=cursor))
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(call_id for page in pages for call_id in page) == sorted(calls)
    items, _ = await rig.store.records.handoffs()
    assert [item.motivo for item in items] == [None] * 5
    assert [item.requested_at for item in items] == [1002.0, 1001.0, 1001.0, 1000.0, 1000.0]
    assert await rig.rows("access_log") == []


async def test_hand_offs_are_filtered_by_state(rig: Rig) -> None:
    calls = await _handed_off(rig, 2)
    await rig.change("handoffs", {"state": HandoffState.ACCEPTED}, call_id=calls[0])
    items, _ = await rig.store.records.handoffs(state=HandoffState.ACCEPTED)
    assert [item.call_id for item in items] == [calls[0]]
    items, _ = await rig.store.records.handoffs(state=HandoffState.CLOSED)
    assert items == []


async def test_reading_one_hand_off_gives_its_motivo_and_is_entered_in_the_access_log(rig: Rig) -> None:
    await _handed_off(rig, 1)
    (listed,), _ = await rig.store.records.handoffs()
    read = await rig.store.records.handoff(listed.handoff_id, reader="token")
    assert read.motivo == HANDOFF.body
    assert replace(read, motivo=None, waiting_s=0.0) == replace(listed, waiting_s=0.0)
    entry = await rig.row("access_log")
    assert (entry.reader, entry.subject) == ("token", listed.handoff_id)
    await rig.store.records.handoff(listed.handoff_id, reader="127.0.0.1")
    assert len(await rig.rows("access_log")) == 2


@pytest.mark.parametrize(
    ("values", "waited"),
    [
        ({"state": HandoffState.ACCEPTED, "accepted_at": 1030.0}, 30.0),
        ({"state": HandoffState.CLOSED, "accepted_at": 1030.0, "closed_at": 1090.0}, 30.0),
        ({"state": HandoffState.CLOSED, "closed_at": 1090.0}, 90.0),
    ],
)
async def test_a_customer_waits_until_somebody_takes_over(
    rig: Rig, values: dict[str, object], waited: float
) -> None:
    await _handed_off(rig, 1)
    await rig.change("handoffs", values)
    (handoff,), _ = await rig.store.records.handoffs()
    assert handoff.waiting_s == waited


async def test_a_customer_nobody_has_taken_yet_is_still_waiting(rig: Rig) -> None:
    await _handed_off(rig, 1)
    await rig.ago(100.0, "handoffs", "requested_at")
    (handoff,), _ = await rig.store.records.handoffs()
    assert handoff.waiting_s == pytest.approx(100.0, abs=60)


# ------------------------------------------------------------------------------------------------ readiness


async def test_a_database_of_this_version_is_ready(rig: Rig) -> None:
    assert await rig.store.records.ready() is True


async def test_a_database_of_another_revision_is_not_ready(rig: Rig) -> None:
    async with rig.store.database.write() as connection:
        await connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    assert await rig.store.records.ready() is False
