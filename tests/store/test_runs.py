"""Runs with leases, on both databases."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import update

from tests.store.harness import REJECTION, OpenRig, Rig, postgresql, until_one_waits
from worker.errors import RequestRefused, Withdrawn
from worker.model import Run, RunRef, RunState
from worker.store.sql import leases

# ---------------------------------------------------------------------------------------------- claiming


async def test_an_announced_run_is_claimed_once_with_a_new_epoch(rig: Rig) -> None:
    assert await rig.announce("c1", "run_1", None) is True
    (run,) = await rig.store.runs.claim("me", 10)
    assert (run.ref, run.conversation_id) == (RunRef("run_1", "thread_c1"), "c1")
    assert (run.epoch, run.rounds) == (1, 0)
    assert 0 <= run.known_s < 60
    assert await rig.store.runs.claim("other", 10) == []


async def test_runs_are_claimed_earliest_due_first_and_never_more_than_asked_for(rig: Rig) -> None:
    for run_id, seconds in {"run_b": 20.0, "run_a": 10.0, "run_c": 30.0, "run_d": 5.0}.items():
        await rig.announce("c1", run_id, None)
        await rig.ago(seconds, "runs", "due", run_id=run_id)
    first = await rig.store.runs.claim("me", 3)
    assert [run.ref.run_id for run in first] == ["run_c", "run_b", "run_a"]
    assert [run.ref.run_id for run in await rig.store.runs.claim("me", 3)] == ["run_d"]


async def test_a_run_is_not_claimed_before_it_is_due(rig: Rig) -> None:
    await rig.announce("c1", "run_1", None)
    await rig.ago(-60.0, "runs", "due")
    assert await rig.store.runs.claim("me", 10) == []


async def test_an_expired_lease_is_taken_over_with_the_next_epoch(rig: Rig) -> None:
    await rig.run()
    await rig.ago(1.0, "runs", "lease_until")
    (taken,) = await rig.store.runs.claim("other", 10)
    assert taken.epoch == 2
    assert (await rig.row("runs")).owner == "other"


async def test_the_runs_of_another_platform_are_left_alone(rig: Rig, open_rig: OpenRig) -> None:
    await rig.announce("c1", "run_1", None)
    elsewhere = await open_rig(platform="agents")
    assert await elsewhere.store.runs.claim("me", 10) == []


async def test_workers_that_claim_side_by_side_never_share_a_run(rig: Rig, neighbour: Rig) -> None:
    for number in range(60):
        await rig.announce("c1", f"run_{number}", None)

    async def claim_all(worker: Rig, owner: str) -> list[str]:
        mine: list[str] = []
        while some := await worker.store.runs.claim(owner, 5):
            mine += [run.ref.run_id for run in some]
        return mine

    claims = [claim_all(worker, f"{n}") for n in range(4) for worker in (rig, neighbour)]
    claimed = [run_id for mine in await asyncio.gather(*claims) for run_id in mine]
    assert len(claimed) == len(set(claimed))
    # A claimer that saw only rows somebody was taking leaves them to that one.
    assert len(claimed) == 60
    assert {row.lease_epoch for row in await rig.rows("runs")} == {1}


@postgresql
async def test_a_claim_does_not_wait_for_a_row_that_another_worker_is_taking(rig: Rig) -> None:
    for run_id in ("run_1", "run_2"):
        await rig.announce("c1", run_id, None)
    runs = rig.store.database.tables.runs
    async with rig.store.database.write() as taking:
        await taking.execute(update(runs).where(runs.c.run_id == "run_1").values(owner="other"))
        async with asyncio.timeout(20):  # what would wait here would wait for this very block
            (run,) = await rig.store.runs.claim("me", 10)
    assert run.ref.run_id == "run_2"


# ------------------------------------------------------------------------------------- renewing, releasing


async def test_only_what_is_still_ours_is_renewed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_BATCH", 2)
    mine = [await rig.run(f"run_{number}") for number in range(5)]
    await rig.ago(1.0, "runs", "lease_until")
    await rig.change("runs", {"owner": "other"}, run_id="run_1")
    await rig.store.runs.close(mine[2], RunState.ENDED, "concluida", "completed")
    await rig.announce("c1", "run_3", None)
    kept = await rig.store.runs.renew("me", [*(run.ref.run_id for run in mine), "run_unknown"])
    assert kept == {"run_0": 0, "run_3": 1, "run_4": 0}
    assert await rig.store.runs.renew("me", []) == {}
    (taken,) = await rig.store.runs.claim("third", 10)
    assert taken.ref.run_id == "run_1"


async def test_released_runs_are_due_at_once_and_those_of_others_stay_theirs(rig: Rig) -> None:
    await rig.run("run_1")
    await rig.run("run_2")
    await rig.ago(-60.0, "runs", "due", run_id="run_1")
    await rig.change("runs", {"owner": "other"}, run_id="run_2")
    await rig.store.runs.release("me")
    (run,) = await rig.store.runs.claim("next", 10)
    assert run.ref.run_id == "run_1"
    assert (await rig.row("runs", run_id="run_2")).owner == "other"


# ------------------------------------------------------------------------------------- closing, submitting


async def test_a_closed_run_keeps_why_and_is_claimed_no_more(rig: Rig) -> None:
    run = await rig.run()
    assert await rig.store.runs.close(run, RunState.LOST, "expirada", "expired")
    row = await rig.row("runs")
    assert (row.state, row.reason, row.platform_status) == ("lost", "expirada", "expired")
    assert (row.owner, row.lease_until) == (None, 0)
    assert row.closed_at >= row.registered_at
    assert await rig.store.runs.claim("next", 10) == []
    assert not await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")


async def test_a_run_taken_over_is_not_closed_by_its_former_owner(rig: Rig) -> None:
    run = await rig.run()
    await rig.admit(run, decision=REJECTION)
    await rig.ago(1.0, "runs", "lease_until")
    await rig.claimed()
    assert not await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    assert (await rig.row("runs")).state == "watching"
    assert (await rig.row("calls")).submitted_at is None


async def test_an_ended_run_took_its_answers_and_only_those(rig: Rig) -> None:
    run = await rig.run()
    answered = await rig.admit(run, 1, REJECTION)
    unanswered = await rig.admit(run, 2)
    elsewhere = await rig.admit(await rig.run("run_2"), 1, REJECTION)
    await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    assert (await rig.row("calls", call_id=answered.call_id)).submitted_at is not None
    assert (await rig.row("calls", call_id=unanswered.call_id)).submitted_at is None
    assert (await rig.row("calls", call_id=elsewhere.call_id)).submitted_at is None


async def test_a_lost_run_took_no_answer(rig: Rig) -> None:
    run = await rig.run()
    await rig.admit(run, decision=REJECTION)
    await rig.lost(run)
    assert (await rig.row("calls")).submitted_at is None


async def test_every_submit_is_a_round_and_its_answers_are_marked_once(rig: Rig) -> None:
    run = await rig.run()
    first, second = await rig.admit(run, 1, REJECTION), await rig.admit(run, 2, REJECTION)
    await rig.store.runs.submitted(run, [first.call_id], "requires_action")
    await rig.ago(100.0, "calls", "submitted_at", call_id=first.call_id)
    marked = (await rig.row("calls", call_id=first.call_id)).submitted_at
    await rig.store.runs.submitted(run, [first.call_id], "requires_action")
    assert (await rig.row("runs")).rounds == 1
    next_round = replace(run, rounds=1)
    await rig.store.runs.submitted(next_round, [first.call_id, second.call_id], "queued")
    row = await rig.row("runs")
    assert (row.rounds, row.platform_status) == (2, "queued")
    assert (await rig.row("calls", call_id=first.call_id)).submitted_at == marked
    assert (await rig.row("calls", call_id=second.call_id)).submitted_at > marked
    await rig.ago(1.0, "runs", "lease_until")
    assert (await rig.claimed()).rounds == 2


async def test_the_status_of_the_last_poll_is_kept_for_runs_that_are_still_ours(rig: Rig) -> None:
    for number in (1, 2, 3):
        await rig.run(f"run_{number}")
    await rig.change("runs", {"owner": "other"}, run_id="run_3")
    statuses = {"run_1": "queued", "run_2": "in_progress", "run_3": "queued"}
    await rig.store.runs.record_statuses("me", statuses)
    kept = {row.run_id: row.platform_status for row in await rig.rows("runs")}
    assert kept == {"run_1": "queued", "run_2": "in_progress", "run_3": None}


async def test_answers_a_former_owner_saw_taken_are_marked_but_the_rounds_are_not_its_own(
    rig: Rig,
) -> None:
    run = await rig.run()
    record = await rig.admit(run, decision=REJECTION)
    await rig.ago(1.0, "runs", "lease_until")
    await rig.claimed()
    await rig.store.runs.submitted(run, [record.call_id], "requires_action")
    assert (await rig.row("runs")).rounds == 0
    assert (await rig.row("calls")).submitted_at is not None


@postgresql
async def test_two_processes_that_know_of_one_submit_do_not_wait_crosswise(rig: Rig) -> None:
    run = await rig.run()
    record = await rig.admit(run, decision=REJECTION)
    tables = rig.store.database.tables
    async with rig.store.database.write() as closing:
        await closing.execute(update(tables.runs).values(platform_status="completed"))
        submitting = asyncio.create_task(rig.store.runs.submitted(run, [record.call_id], "queued"))
        await until_one_waits(rig)
        await closing.execute(update(tables.calls).values(submitted_at=1.0))
    await submitting
    assert (await rig.row("calls")).submitted_at == 1.0


# ---------------------------------------------------------------------------------------------- announcing


@pytest.mark.parametrize(
    ("conversation", "run_id", "thread", "code"),
    [
        ("nobody", "run_2", None, "conversa_desconhecida"),
        ("nobody", "run_2", "thread_new", "conversa_desconhecida"),
        ("c1", "run_2", "thread_new", "thread_diferente"),
        ("c2", "run_1", None, "execucao_de_outra_conversa"),
        ("bare", "run_2", None, "thread_ausente"),
        ("bare", "run_2", "thread_c1", "thread_em_uso"),
    ],
)
async def test_what_does_not_fit_is_refused_with_its_code_and_changes_nothing(
    rig: Rig, conversation: str, run_id: str, thread: str | None, code: str
) -> None:
    await rig.conversation("c2")
    await rig.conversation("bare", thread_id=None)
    await rig.announce("c1", "run_1", None)
    before = await rig.rows("runs"), await rig.rows("conversations", conversation_id="bare")
    with pytest.raises(RequestRefused) as refused:
        await rig.announce(conversation, run_id, thread)
    assert refused.value.code == code
    assert before == (await rig.rows("runs"), await rig.rows("conversations", conversation_id="bare"))


async def test_a_known_run_of_a_conversation_that_moved_to_another_thread_is_refused(rig: Rig) -> None:
    await rig.announce("c1", "run_1", None)
    await rig.conversation(thread_id="thread_new")
    with pytest.raises(RequestRefused, match="thread_diferente"):
        await rig.announce("c1", "run_1", None)


async def test_a_conversation_without_a_thread_takes_the_announced_one(rig: Rig) -> None:
    await rig.conversation("bare", thread_id=None)
    assert await rig.announce("bare", "run_1", "thread_new")
    assert (await rig.store.records.conversation("bare", reader="test")).thread_id == "thread_new"
    assert (await rig.store.records.run("run_1")).thread_id == "thread_new"


async def test_a_watched_run_announced_again_is_woken_and_stays_with_its_owner(rig: Rig) -> None:
    run = await rig.run()
    await rig.ago(-60.0, "runs", "due")
    assert await rig.announce("c1", "run_1", "thread_c1") is False
    row = await rig.row("runs")
    assert (row.owner, row.lease_epoch, row.wake) == ("me", run.epoch, 1)
    await rig.ago(1.0, "runs", "lease_until")
    assert (await rig.claimed()).wake_count == 1


async def test_a_run_announced_after_it_was_polled_does_not_end_until_it_is_polled_again(rig: Rig) -> None:
    run = await rig.run()
    await rig.announce("c1", "run_1", "thread_c1")
    assert not await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    again = await rig.claimed()
    assert (again.epoch, again.wake_count) == (run.epoch + 1, 1)
    assert await rig.store.runs.close(again, RunState.ENDED, "concluida", "completed")


@pytest.mark.parametrize("state", [RunState.ENDED, RunState.LOST])
async def test_a_run_announced_again_after_its_end_is_watched_as_if_new(rig: Rig, state: RunState) -> None:
    run = await rig.run()
    await rig.store.runs.submitted(run, [], "queued")
    await rig.ago(1000.0, "runs", "registered_at")
    await rig.store.runs.close(run, state, "expirada", "expired")
    assert await rig.announce("c1", "run_1", None) is True
    again = await rig.claimed()
    assert (again.epoch, again.rounds) == (run.epoch + 1, 0)
    assert again.known_s < 60
    row = await rig.row("runs")
    assert (row.state, row.reason, row.closed_at) == ("watching", None, None)


async def test_an_announcement_makes_its_conversation_active(rig: Rig) -> None:
    await rig.ago(5000.0, "conversations", "active_at")
    await rig.lost(await rig.run())
    assert await rig.store.arrivals.claim_conversations(10, 10.0, 900.0) == [("c1", "thread_c1")]


async def test_a_run_announced_side_by_side_is_new_once(rig: Rig, neighbour: Rig) -> None:
    for number in range(10):
        run_id = f"run_{number}"
        announcements = [d.announce("c1", run_id, None) for d in (rig, neighbour)]
        assert sorted(await asyncio.gather(*announcements)) == [False, True]


async def test_a_run_announced_side_by_side_belongs_to_one_conversation(rig: Rig, neighbour: Rig) -> None:
    await rig.conversation("c2")
    for number in range(10):
        first = rig.announce("c1", f"run_{number}", None)
        second = neighbour.announce("c2", f"run_{number}", None)
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
        assert sorted(map(_told, outcomes)) == ["True", "execucao_de_outra_conversa"]


async def test_a_thread_adopted_side_by_side_belongs_to_one_conversation(rig: Rig, neighbour: Rig) -> None:
    for number in range(10):
        for name in ("a", "b"):
            await rig.conversation(f"{name}{number}", thread_id=None)
        first = rig.announce(f"a{number}", f"run_a{number}", f"thread_{number}")
        second = neighbour.announce(f"b{number}", f"run_b{number}", f"thread_{number}")
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
        assert sorted(map(_told, outcomes)) == ["True", "thread_em_uso"]


def _told(outcome: object) -> str:
    """A refusal's code; any other error is shown as it is, and fails the comparison."""
    return outcome.code if isinstance(outcome, RequestRefused) else repr(outcome)


# ---------------------------------------------------------------------------------------------- discovery


async def test_an_active_conversation_is_looked_into_once_an_interval(rig: Rig) -> None:
    assert await rig.store.arrivals.claim_conversations(10, 10.0, 900.0) == [("c1", "thread_c1")]
    assert await rig.store.arrivals.claim_conversations(10, 10.0, 900.0) == []
    await rig.ago(1.0, "conversations", "discover_due")
    assert await rig.store.arrivals.claim_conversations(10, 10.0, 900.0) == [("c1", "thread_c1")]


async def test_a_conversation_is_looked_into_only_while_active_and_on_a_thread(rig: Rig) -> None:
    await rig.conversation("bare", thread_id=None)
    await rig.ago(901.0, "conversations", "active_at", conversation_id="c1")
    assert await rig.store.arrivals.claim_conversations(10, 10.0, 900.0) == []


async def test_a_conversation_whose_run_is_watched_is_not_looked_into(rig: Rig) -> None:
    run = await rig.run()
    assert await rig.store.arrivals.claim_conversations(10, 10.0, 900.0) == []
    await rig.lost(run)
    assert await rig.store.arrivals.claim_conversations(10, 10.0, 900.0) == [("c1", "thread_c1")]


async def test_no_more_conversations_are_looked_into_than_asked_for_longest_due_first(rig: Rig) -> None:
    for name in ("c2", "c3"):
        await rig.conversation(name)
    await rig.ago(50.0, "conversations", "discover_due", conversation_id="c3")
    assert await rig.store.arrivals.claim_conversations(1, 10.0, 900.0) == [("c3", "thread_c3")]
    assert len(await rig.store.arrivals.claim_conversations(10, 10.0, 900.0)) == 2


async def test_a_conversation_is_looked_into_by_one_process(rig: Rig, neighbour: Rig) -> None:
    for number in range(40):
        await rig.conversation(f"d{number}")

    async def look_into_all(worker: Rig) -> list[str]:
        mine: list[str] = []
        while some := await worker.store.arrivals.claim_conversations(3, 600.0, 900.0):
            mine += [conversation for conversation, _ in some]
        return mine

    workers = [look_into_all(worker) for _ in range(4) for worker in (rig, neighbour)]
    looked_into = [name for mine in await asyncio.gather(*workers) for name in mine]
    assert len(looked_into) == len(set(looked_into)) == 41


async def test_a_found_run_is_watched_unless_it_is_known_already(rig: Rig) -> None:
    ref = RunRef("run_1", "thread_c1")
    assert await rig.store.arrivals.watch_discovered("c1", ref) is True
    assert await rig.store.arrivals.watch_discovered("c1", ref) is False
    await rig.lost(await rig.claimed())
    assert await rig.store.arrivals.watch_discovered("c1", ref) is False
    assert (await rig.row("runs")).state == "lost"


async def test_a_run_found_side_by_side_is_new_once(rig: Rig, neighbour: Rig) -> None:
    for number in range(10):
        ref = RunRef(f"run_{number}", "thread_c1")
        finds = [worker.store.arrivals.watch_discovered("c1", ref) for worker in (rig, neighbour)]
        assert sorted(await asyncio.gather(*finds)) == [False, True]


# ------------------------------------------------------------------------------------------------ submits


async def test_a_submit_is_on_record_before_it_is_made(rig: Rig) -> None:
    run = await rig.run()
    assert await rig.store.runs.begin_submit(run) is False
    assert (await rig.row("runs")).submit_begun_at is not None
    assert await rig.store.runs.begin_submit(run) is True


async def test_the_next_owner_knows_of_a_submit_that_was_begun(rig: Rig) -> None:
    await rig.store.runs.begin_submit(await rig.run())
    await rig.ago(1.0, "runs", "lease_until")
    assert await rig.store.runs.begin_submit(await rig.claimed()) is True


async def test_who_no_longer_owns_a_run_begins_no_submit(rig: Rig) -> None:
    former = await rig.run()
    await rig.ago(1.0, "runs", "lease_until")
    run = await rig.claimed()
    with pytest.raises(Withdrawn):
        await rig.store.runs.begin_submit(former)
    assert (await rig.row("runs")).submit_begun_at is None
    await rig.lost(run)
    with pytest.raises(Withdrawn):
        await rig.store.runs.begin_submit(run)


async def test_of_two_owners_that_begin_a_submit_side_by_side_one_is_refused(
    rig: Rig, neighbour: Rig
) -> None:
    for number in range(5):
        former = await rig.run(f"run_{number}")
        await rig.ago(1.0, "runs", "lease_until", run_id=f"run_{number}")
        run = await neighbour.claimed(f"run_{number}")
        both = [d.store.runs.begin_submit(r) for d, r in ((rig, former), (neighbour, run))]
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert [repr(outcome)[:9] for outcome in outcomes] == ["Withdrawn", "False"]


# -------------------------------------------------------------------------------- going on under a new id

GOES_ON = RunRef("resp_2", "thread_c1")


async def _continued(rig: Rig, run: Run, *call_ids: str) -> Run | None:
    return await rig.store.runs.continued(run, call_ids, "completed", GOES_ON, owner=rig.name)


async def test_a_conversation_that_goes_on_is_watched_under_its_new_id_by_the_same_process(
    rig: Rig, neighbour: Rig
) -> None:
    run = replace(await rig.run(), rounds=3, known_s=200.0)
    told, untold = await rig.admit(run, 1, REJECTION), await rig.admit(run, 2, REJECTION)
    new = await _continued(rig, run, told.call_id)
    assert new is not None
    assert (new.ref, new.conversation_id, new.rounds) == (GOES_ON, "c1", 4)
    assert new.known_s < 60
    old = await rig.row("runs", run_id="run_1")
    assert (old.state, old.reason, old.platform_status) == ("ended", "continua", "completed")
    assert (old.continues_as, old.owner) == ("resp_2", None)
    assert (await rig.row("calls", call_id=told.call_id)).submitted_at is not None
    assert (await rig.row("calls", call_id=untold.call_id)).submitted_at is None
    assert await neighbour.store.runs.claim("other", 10) == []
    assert await rig.store.runs.renew("me", ["resp_2"]) == {"resp_2": new.wake_count}
    assert (await rig.admit(new, 1, REJECTION)).run_id == "resp_2"
    await rig.ago(1.0, "runs", "lease_until")
    taken = await neighbour.claimed("resp_2")
    assert (taken.rounds, taken.epoch) == (4, new.epoch + 1)


async def test_who_no_longer_owns_a_run_does_not_go_on_with_it(rig: Rig) -> None:
    former = await rig.run()
    record = await rig.admit(former, decision=REJECTION)
    await rig.ago(1.0, "runs", "lease_until")
    await rig.claimed()
    assert await _continued(rig, former, record.call_id) is None
    assert [(row.run_id, row.state) for row in await rig.rows("runs")] == [("run_1", "watching")]
    assert (await rig.row("calls")).submitted_at is None


@pytest.mark.parametrize("told_by", ["announcement", "discovery"])
async def test_a_new_id_that_somebody_else_told_of_sooner_is_gone_on_with(rig: Rig, told_by: str) -> None:
    run = await rig.run()
    if told_by == "announcement":
        await rig.announce("c1", "resp_2", None)
    else:
        await rig.store.arrivals.watch_discovered("c1", GOES_ON)
    new = await _continued(rig, replace(run, rounds=3))
    assert new is not None
    assert (new.ref, new.rounds, new.epoch) == (GOES_ON, 4, 1)
    assert (await rig.row("runs", run_id="resp_2")).owner == "me"


async def test_a_new_id_that_another_process_watches_already_is_left_to_it(rig: Rig, neighbour: Rig) -> None:
    run = await rig.run()
    record = await rig.admit(run, decision=REJECTION)
    theirs = await neighbour.run("resp_2")
    assert await _continued(rig, run, record.call_id) is None
    assert (await rig.row("runs", run_id="run_1")).continues_as == "resp_2"
    assert (await rig.row("calls")).submitted_at is not None
    row = await rig.row("runs", run_id="resp_2")
    assert (row.owner, row.lease_epoch) == ("other", theirs.epoch)


async def test_a_new_id_that_is_over_or_another_conversations_is_left_alone(rig: Rig) -> None:
    await rig.conversation("c2")
    one, two = await rig.run("run_1"), await rig.run("run_2")
    await rig.lost(await rig.run("resp_2"))
    assert await _continued(rig, one) is None
    await rig.change("runs", {"state": RunState.WATCHING, "conversation_id": "c2"}, run_id="resp_2")
    assert await _continued(rig, two) is None
    assert (await rig.row("runs", run_id="resp_2")).owner is None


async def test_an_id_told_of_and_gone_on_with_side_by_side_is_one_run(rig: Rig, neighbour: Rig) -> None:
    for number in range(8):
        run, ref = await rig.run(f"run_{number}"), RunRef(f"resp_{number}", "thread_c1")
        new, _ = await asyncio.gather(
            rig.store.runs.continued(run, [], "completed", ref, owner="me"),
            neighbour.announce("c1", ref.run_id, None),
        )
        assert new is not None
        assert (await rig.row("runs", run_id=ref.run_id)).owner == "me"
