"""The life of a hand-off, on both databases: overdue, accepted, closed or returned, and the bot's events."""

import asyncio
from dataclasses import replace

import pytest

from tests.store.harness import BOT, HANDOFF, OpenRig, Rig, refusal_code
from worker.model import Attendance, CallState
from worker.views import HandoffState


async def _requested(rig: Rig) -> str:
    """A customer who has waited for 100 seconds."""
    await rig.admit(await rig.run(), 1, HANDOFF)
    await rig.ago(100.0, "handoffs", "requested_at")
    handoff_id: str = (await rig.row("handoffs")).handoff_id
    return handoff_id


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
    assert await refusal_code(rig.store.handoffs.accept(handoff_id)) == "estado_incompativel"
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
    assert await refusal_code(rig.store.handoffs.accept(handoff_id)) == "estado_incompativel"


async def test_what_is_not_there_is_neither_accepted_nor_closed(rig: Rig) -> None:
    assert await refusal_code(rig.store.handoffs.accept("ho_none")) == "nao_encontrado"
    assert await refusal_code(rig.store.handoffs.close("ho_none")) == "nao_encontrado"


async def test_the_bot_is_told_of_each_change_once_and_of_nothing_personal(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    handoff_id = await _requested(rig)
    await rig.store.handoffs.accept(handoff_id)
    await refusal_code(rig.store.handoffs.accept(handoff_id))
    await rig.store.handoffs.close(handoff_id)
    await rig.store.handoffs.close(handoff_id)
    events = await rig.events()
    assert [kind for kind, _ in events] == ["handoff.requested", "handoff.accepted", "handoff.closed"]
    assert events[0][1] == events[1][1] | {"opens_at": None} == events[2][1] | {"opens_at": None}
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


# ------------------------------------------------------------------------------------ hours and a deadline


async def _due_in(rig: Rig, seconds: float, *, number: int = 1, opens_in: float | None = None) -> str:
    """A hand-off whose deadline is so many seconds away; below 0, it has passed."""
    requested_at = await rig.time()
    attendance = Attendance(
        requested_at, None if opens_in is None else requested_at + opens_in, requested_at + seconds
    )
    wanted = replace(HANDOFF, equal_on=(f"financeiro {number}",), attendance=attendance)
    run = await rig.run(f"run_{number}")
    await rig.admit(run, number, wanted)
    (row,) = [row for row in await rig.rows("handoffs") if row.due_at == attendance.due_at]
    return str(row.handoff_id)


async def test_a_handoff_keeps_its_opening_and_its_deadline_as_they_were_computed(rig: Rig) -> None:
    await _due_in(rig, 900.0, opens_in=300.0)
    (view,), _ = await rig.store.records.handoffs()
    assert view.opens_at is not None
    assert view.due_at is not None
    assert (view.opens_at - view.requested_at, view.due_at - view.requested_at) == pytest.approx(
        (300.0, 900.0)
    )
    assert (view.overdue, view.returned_at) == (False, None)


async def test_the_request_tells_the_bot_when_attendance_resumes_in_timezone(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, TIMEZONE="America/Manaus", **BOT)
    await rig.conversation()
    run = await rig.run()
    await rig.admit(run, 1, replace(HANDOFF, attendance=Attendance(1_796_000_000.0, 1_796_036_400.0)))
    ((kind, data),) = await rig.events()
    assert (kind, data["opens_at"]) == ("handoff.requested", "2026-11-30T07:00:00-04:00")


async def test_a_handoff_past_its_deadline_is_recorded_and_told_once(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    late = await _due_in(rig, -1.0)
    await _due_in(rig, 900.0, number=2)
    (view,) = await rig.store.handoffs.record_overdue()
    assert (view.handoff_id, view.overdue, view.state) == (late, True, HandoffState.REQUESTED)
    assert await rig.store.handoffs.record_overdue() == ()
    kinds = [(kind, data["handoff_id"]) for kind, data in await rig.events() if kind == "handoff.overdue"]
    assert kinds == [("handoff.overdue", late)]
    assert (await rig.store.records.waiting()).overdue_handoffs == 1


async def test_of_several_processes_one_records_a_deadline(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    others = [await open_rig(owner=False, name=f"other_{n}", **BOT) for n in range(2)]
    await rig.conversation()
    for number in range(1, 9):
        await _due_in(rig, -float(number), number=number)
    everyone = [rig, *others] * 3
    found = await asyncio.gather(*(each.store.handoffs.record_overdue() for each in everyone))
    found.append(await rig.store.handoffs.record_overdue())
    recorded = [view.handoff_id for views in found for view in views]
    assert len(recorded) == 8 == len(set(recorded))
    events = [data["handoff_id"] for kind, data in await rig.events() if kind == "handoff.overdue"]
    assert sorted(events) == sorted(recorded)


async def test_a_deadline_that_passed_just_before_a_person_acts_is_told_first(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    view = await rig.store.handoffs.accept(await _due_in(rig, -1.0))
    assert (view.state, view.overdue) == (HandoffState.ACCEPTED, True)
    assert await rig.store.handoffs.record_overdue() == ()
    await rig.store.handoffs.close(view.handoff_id)
    kinds = [kind for kind, _ in await rig.events()]
    assert kinds == ["handoff.requested", "handoff.overdue", "handoff.accepted", "handoff.closed"]


async def test_whoever_is_accepted_or_closed_in_time_is_never_overdue(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    accepted = await rig.store.handoffs.accept(await _due_in(rig, 5.0))
    closed = await rig.store.handoffs.close(await _due_in(rig, 5.0, number=2))
    await rig.ago(-5.0, "handoffs", "due_at")  # keep both ahead
    assert (accepted.overdue, closed.overdue) == (False, False)
    await rig.change("handoffs", {"due_at": (accepted.accepted_at or 0.0) + 0.001})
    assert await rig.store.handoffs.record_overdue() == ()
    assert "handoff.overdue" not in [kind for kind, _ in await rig.events()]


# ------------------------------------------------------------------------------------------- the way back


async def test_an_accepted_handoff_is_returned_to_the_bot(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    handoff_id = await _requested(rig)
    accepted = await rig.store.handoffs.accept(handoff_id)
    returned = await rig.store.handoffs.give_back(handoff_id)
    assert (returned.state, returned.accepted_at) == (HandoffState.RETURNED, accepted.accepted_at)
    assert returned.returned_at is not None
    assert returned.waiting_s == pytest.approx(accepted.waiting_s)
    (*_, (kind, data)) = await rig.events()
    assert (kind, data["handoff_id"], data["run_id"]) == ("handoff.returned", handoff_id, "run_1")


async def test_only_what_a_person_attends_to_is_returned(rig: Rig) -> None:
    handoff_id = await _requested(rig)
    assert await refusal_code(rig.store.handoffs.give_back(handoff_id)) == "estado_incompativel"
    await rig.store.handoffs.accept(handoff_id)
    await rig.store.handoffs.give_back(handoff_id)
    changes = rig.store.handoffs.accept, rig.store.handoffs.give_back, rig.store.handoffs.close
    assert [await refusal_code(change(handoff_id)) for change in changes] == ["estado_incompativel"] * 3
    assert await refusal_code(rig.store.handoffs.give_back("ho_none")) == "nao_encontrado"


@pytest.mark.parametrize("ending", ["close", "give_back"])
async def test_a_handoff_that_is_over_is_no_equal_of_a_new_one(rig: Rig, ending: str) -> None:
    handoff_id = await _requested(rig)
    equal = await rig.admit(await rig.run("run_2"), 1, HANDOFF)
    assert equal.waits
    await rig.store.handoffs.accept(handoff_id)
    while_attended = await rig.admit(await rig.run("run_3"), 1, HANDOFF)
    assert while_attended.waits
    await getattr(rig.store.handoffs, ending)(handoff_id)
    again = await rig.admit(await rig.run("run_4"), 1, HANDOFF)
    assert (again.equal_to, again.state) == (None, CallState.DONE)
    waiting, _ = await rig.store.records.handoffs(state=HandoffState.REQUESTED)
    assert [view.call_id for view in waiting] == [again.call_id]
