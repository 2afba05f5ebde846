"""What people do with hand-offs, on both databases: accepted by one of them, closed, and the bot told."""

import asyncio
from collections.abc import Awaitable

import pytest

from tests.store.harness import HANDOFF, OpenRig, Rig
from worker.errors import RequestRefused
from worker.views import HandoffState

BOT = {"BOT_WEBHOOK_URL": "http://127.0.0.1:9/eventos"}


async def _requested(rig: Rig) -> str:
    """A customer who has waited for 100 seconds."""
    await rig.admit(await rig.run(), 1, HANDOFF)
    await rig.ago(100.0, "handoffs", "requested_at")
    handoff_id: str = (await rig.row("handoffs")).handoff_id
    return handoff_id


async def _code(asked: Awaitable[object]) -> str:
    with pytest.raises(RequestRefused) as refused:
        await asked
    return refused.value.code


async def test_accepting_ends_the_wait_at_the_databases_time(rig: Rig) -> None:
    handoff_id = await _requested(rig)
    before = await rig.time()
    view = await rig.store.handoffs.accept(handoff_id)
    assert view.accepted_at is not None
    assert before <= view.accepted_at <= await rig.time()
    assert (view.state, view.closed_at, view.motivo) == (HandoffState.ACCEPTED, None, None)
    assert view.waiting_s == pytest.approx(view.accepted_at - view.requested_at)
    assert [view] == (await rig.store.records.handoffs())[0]


async def test_a_request_is_taken_by_the_first_only(rig: Rig) -> None:
    handoff_id = await _requested(rig)
    first = await rig.store.handoffs.accept(handoff_id)
    assert await _code(rig.store.handoffs.accept(handoff_id)) == "estado_incompativel"
    assert [first] == (await rig.store.records.handoffs())[0]


async def test_of_two_who_accept_at_once_one_is_refused(rig: Rig, neighbour: Rig) -> None:
    handoff_id = await _requested(rig)
    both = [each.store.handoffs.accept(handoff_id) for each in (rig, neighbour)]
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert [repr(each) for each in outcomes if isinstance(each, Exception)] == [
        "RequestRefused('estado_incompativel')"
    ]


async def test_closing_what_was_accepted_leaves_the_wait_as_it_was(rig: Rig) -> None:
    handoff_id = await _requested(rig)
    accepted = await rig.store.handoffs.accept(handoff_id)
    closed = await rig.store.handoffs.close(handoff_id)
    assert (closed.state, closed.accepted_at) == (HandoffState.CLOSED, accepted.accepted_at)
    assert closed.closed_at is not None
    assert closed.waiting_s == pytest.approx(accepted.waiting_s)


async def test_a_request_that_nobody_accepted_can_be_closed_and_waited_until_then(rig: Rig) -> None:
    closed = await rig.store.handoffs.close(await _requested(rig))
    assert (closed.state, closed.accepted_at) == (HandoffState.CLOSED, None)
    assert closed.closed_at is not None
    assert closed.waiting_s == pytest.approx(closed.closed_at - closed.requested_at)


async def test_closing_again_changes_nothing_and_what_is_closed_is_not_accepted(rig: Rig) -> None:
    handoff_id = await _requested(rig)
    closed = await rig.store.handoffs.close(handoff_id)
    await rig.ago(50.0, "handoffs", "closed_at")
    again = await rig.store.handoffs.close(handoff_id)
    assert closed.closed_at is not None
    assert again.closed_at == pytest.approx(closed.closed_at - 50, abs=20)
    assert await _code(rig.store.handoffs.accept(handoff_id)) == "estado_incompativel"


async def test_what_is_not_there_is_neither_accepted_nor_closed(rig: Rig) -> None:
    assert await _code(rig.store.handoffs.accept("ho_none")) == "nao_encontrado"
    assert await _code(rig.store.handoffs.close("ho_none")) == "nao_encontrado"


async def test_the_bot_is_told_of_each_change_once_and_of_nothing_personal(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    handoff_id = await _requested(rig)
    await rig.store.handoffs.accept(handoff_id)
    await _code(rig.store.handoffs.accept(handoff_id))
    await rig.store.handoffs.close(handoff_id)
    await rig.store.handoffs.close(handoff_id)
    events = await rig.events()
    assert [kind for kind, _ in events] == ["handoff.requested", "handoff.accepted", "handoff.closed"]
    assert events[0][1] == events[1][1] == events[2][1]
    assert events[2][1] == {
        "handoff_id": handoff_id,
        "call_id": (await rig.row("calls")).call_id,
        "run_id": "run_1",
        "conversation_id": "c1",
        "departamento": "financeiro",
    }


async def test_without_a_bot_no_event_is_written(rig: Rig) -> None:
    handoff_id = await _requested(rig)
    await rig.store.handoffs.accept(handoff_id)
    await rig.store.handoffs.close(handoff_id)
    assert await rig.rows("outbox") == []
