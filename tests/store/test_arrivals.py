"""How runs become known where a run needs its thread, may have one, or is it, on both databases."""

from dataclasses import replace

import pytest

from tests.store.harness import OpenRig, Rig
from worker.errors import RequestRefused
from worker.model import Run, RunRef, RunState, ThreadRule


async def _refused(rig: Rig, conversation: str, run_id: str, thread: str | None) -> str:
    before = await rig.rows("runs"), await rig.rows("conversations")
    with pytest.raises(RequestRefused) as refused:
        await rig.announce(conversation, run_id, thread)
    assert before == (await rig.rows("runs"), await rig.rows("conversations"))
    return refused.value.code


# ------------------------------------------------------------------------------------ a thread is required


async def test_a_run_that_needs_a_thread_is_not_watched_without_one(rig: Rig) -> None:
    await rig.conversation("bare", thread_id=None)
    assert await _refused(rig, "bare", "run_1", None) == "thread_ausente"
    assert await rig.announce("bare", "run_1", "thread_new") is True
    assert await rig.announce("bare", "run_2", None) is True
    runs = await rig.rows("runs")
    assert [(row.run_id, row.thread_id) for row in runs] == [("run_1", "thread_new"), ("run_2", "thread_new")]


async def test_an_announcement_is_answered_with_the_run_and_its_calls_as_they_then_are(rig: Rig) -> None:
    register, run = rig.store.records.register_run, rig.store.records.run
    assert await register("c1", "run_1", None) == (await run("run_1"), True)
    record = await rig.admit(await rig.claimed())
    view, new = await register("c1", "run_1", None)
    assert (view, new) == (await run("run_1"), False)
    assert [call.call_id for call in view.calls] == [record.call_id]
    await rig.store.runs.close(await rig.run("run_2"), RunState.ENDED, "concluida", "completed")
    view, new = await register("c1", "run_2", None)
    assert (view, view.state, view.reason, new) == (await run("run_2"), RunState.WATCHING, None, True)


async def test_a_conversation_without_a_thread_takes_the_first_free_one_that_names_it(rig: Rig) -> None:
    await rig.conversation("bare", thread_id=None)
    assert await rig.store.arrivals.any_without_thread(900.0)
    named = [
        ("c1", "thread_other"),
        ("nobody", "thread_nobody"),
        ("bare", "thread_c1"),
        ("bare", "thread_new"),
        ("bare", "thread_old"),
    ]
    await rig.store.arrivals.adopt_threads(named)
    threads = {row.conversation_id: row.thread_id for row in await rig.rows("conversations")}
    assert threads == {"c1": "thread_c1", "bare": "thread_new"}
    assert ("bare", "thread_new") in await rig.store.arrivals.claim_conversations(10, 10.0, 900.0)
    assert not await rig.store.arrivals.any_without_thread(900.0)


async def test_a_conversation_silent_for_long_waits_for_no_thread(rig: Rig) -> None:
    await rig.conversation("bare", thread_id=None)
    await rig.ago(901.0, "conversations", "active_at", conversation_id="bare")
    assert not await rig.store.arrivals.any_without_thread(900.0)


# ------------------------------------------------------------------------------------- a thread is optional


@pytest.fixture
async def chaining(open_rig: OpenRig) -> Rig:
    """A process on a platform whose runs may do without a thread; `bare` has none, `c1` one."""
    rig = await open_rig(owner=True, thread=ThreadRule.OPTIONAL)
    await rig.conversation()
    await rig.conversation("bare", thread_id=None)
    return rig


async def test_a_run_without_a_thread_is_watched_where_it_needs_none(chaining: Rig) -> None:
    assert await chaining.announce("bare", "resp_1", None) is True
    run = await chaining.claimed("resp_1")
    assert run.ref == RunRef("resp_1", None)
    assert (await chaining.row("conversations", conversation_id="bare")).thread_id is None
    assert (await chaining.admit(run)).conversation_id == "bare"
    assert await chaining.announce("bare", "resp_1", None) is False


async def test_where_no_thread_is_needed_a_known_one_still_counts(chaining: Rig) -> None:
    register = chaining.announce
    assert await register("c1", "resp_1", None) is True
    assert (await chaining.claimed("resp_1")).ref.thread_id == "thread_c1"
    assert await _refused(chaining, "c1", "resp_2", "thread_other") == "thread_diferente"
    assert await _refused(chaining, "bare", "resp_2", "thread_c1") == "thread_em_uso"
    assert await register("bare", "resp_2", "thread_new") is True
    assert (await chaining.row("conversations", conversation_id="bare")).thread_id == "thread_new"


async def test_a_run_of_no_thread_is_refused_once_its_conversation_has_one(chaining: Rig) -> None:
    await chaining.announce("bare", "resp_1", None)
    await chaining.conversation("bare", thread_id="thread_new")
    assert await _refused(chaining, "bare", "resp_1", None) == "thread_diferente"


async def _continued(rig: Rig, old: str, new: str) -> Run:
    run = await rig.claimed(old) if old == "resp_1" else Run(RunRef(old, None), "bare", 1, 0, 0.0)
    went_on = await rig.store.runs.continued(run, [], "completed", RunRef(new, None), owner=rig.name)
    assert went_on is not None
    return went_on


async def test_a_run_that_goes_on_under_another_id_is_not_watched_again_but_the_newest_is_woken(
    chaining: Rig,
) -> None:
    register, runs = chaining.announce, chaining.store.runs
    await register("bare", "resp_1", None)
    await _continued(chaining, "resp_1", "resp_2")
    newest = await _continued(chaining, "resp_2", "resp_3")
    assert await register("bare", "resp_1", None) is False
    states = {row.run_id: (row.state, row.continues_as) for row in await chaining.rows("runs")}
    assert states == {
        "resp_1": ("ended", "resp_2"),
        "resp_2": ("ended", "resp_3"),
        "resp_3": ("watching", None),
    }
    assert await runs.renew("me", ["resp_3"]) == {"resp_3": newest.wake_count + 1}
    await runs.close(
        replace(newest, wake_count=newest.wake_count + 1), RunState.LOST, "plataforma_recusou", None
    )
    assert await register("bare", "resp_1", None) is True
    assert [row.run_id for row in await chaining.rows("runs", state="watching")] == ["resp_3"]


async def test_a_run_whose_continuation_failed_may_be_answered_again(chaining: Rig) -> None:
    register, runs = chaining.announce, chaining.store.runs
    await register("bare", "resp_1", None)
    await _continued(chaining, "resp_1", "resp_2")
    failed = await _continued(chaining, "resp_2", "resp_3")
    await runs.close(failed, RunState.ENDED, "falhou", "failed")
    assert await register("bare", "resp_1", None) is True
    states = {row.run_id: (row.state, row.continues_as) for row in await chaining.rows("runs")}
    assert states == {
        "resp_1": ("ended", "resp_2"),
        "resp_2": ("watching", None),
        "resp_3": ("ended", None),
    }


async def test_a_run_watched_again_remembers_that_a_submit_was_begun(chaining: Rig) -> None:
    await chaining.announce("bare", "resp_1", None)
    run = await chaining.claimed("resp_1")
    assert await chaining.store.runs.begin_submit(run) is False
    await chaining.lost(run)
    assert await chaining.announce("bare", "resp_1", None) is True
    assert await chaining.store.runs.begin_submit(await chaining.claimed("resp_1")) is True


async def test_an_heir_that_is_another_conversations_is_left_alone(chaining: Rig) -> None:
    await chaining.announce("bare", "resp_1", None)
    await chaining.lost(await chaining.claimed("resp_1"))
    await chaining.run("resp_9", "c1")
    await chaining.change("runs", {"continues_as": "resp_9"}, run_id="resp_1")
    assert await chaining.announce("bare", "resp_1", None) is True
    assert (await chaining.row("runs", run_id="resp_9")).conversation_id == "c1"


async def test_a_run_found_in_a_thread_that_has_moved_on_is_left_to_its_new_conversation(
    rig: Rig,
) -> None:
    await rig.conversation("c1", thread_id="thread_new")
    await rig.conversation("c2", thread_id="thread_c1")
    assert not await rig.store.arrivals.watch_discovered("c1", RunRef("run_1", "thread_c1"))
    assert await rig.announce("c2", "run_1", None)


@pytest.mark.parametrize(("reason", "again"), [("nao_encontrada", True), ("cancelada", False)])
async def test_discovery_takes_up_a_run_that_was_lost_by_404s_alone(
    rig: Rig, reason: str, again: bool
) -> None:
    run = await rig.run("run_1")
    await rig.store.runs.close(run, RunState.LOST, reason, None)
    assert await rig.store.arrivals.watch_discovered("c1", run.ref) is again
    await rig.conversation("c2", thread_id="thread_c2")
    assert not await rig.store.arrivals.watch_discovered("c2", RunRef("run_1", "thread_c2"))


# ------------------------------------------------------------------------------------- the run is the thread


@pytest.fixture
async def in_sessions(open_rig: OpenRig) -> Rig:
    """A process on a platform whose runs are sessions: `c1` has one, `bare` has none."""
    rig = await open_rig(owner=True, thread=ThreadRule.IS_THE_RUN)
    await rig.conversation("c1", thread_id="sess_1")
    await rig.conversation("bare", thread_id=None)
    return rig


@pytest.mark.parametrize("thread", [None, "sess_2"])
async def test_a_session_becomes_its_conversations_thread(in_sessions: Rig, thread: str | None) -> None:
    assert await in_sessions.announce("bare", "sess_2", thread) is True
    assert (await in_sessions.row("conversations", conversation_id="bare")).thread_id == "sess_2"
    assert (await in_sessions.claimed("sess_2")).ref == RunRef("sess_2", "sess_2")


@pytest.mark.parametrize(
    ("conversation", "run_id", "thread", "code"),
    [
        ("c1", "sess_1", "sess_2", "thread_diferente"),
        ("c1", "sess_2", None, "thread_diferente"),
        ("bare", "sess_1", None, "thread_em_uso"),
        ("nobody", "sess_2", None, "conversa_desconhecida"),
    ],
)
async def test_a_session_that_does_not_fit_is_refused(
    in_sessions: Rig, conversation: str, run_id: str, thread: str | None, code: str
) -> None:
    assert await _refused(in_sessions, conversation, run_id, thread) == code


@pytest.mark.parametrize("state", [RunState.ENDED, RunState.LOST])
async def test_a_session_found_at_work_again_is_watched_again(in_sessions: Rig, state: RunState) -> None:
    ref = RunRef("sess_1", "sess_1")
    assert await in_sessions.store.arrivals.watch_discovered("c1", ref) is True
    run = await in_sessions.claimed("sess_1")
    await in_sessions.store.runs.close(run, state, "ociosa", "idle")
    assert await in_sessions.store.arrivals.watch_discovered("c1", ref) is True
    again = await in_sessions.claimed("sess_1")
    assert (again.epoch, again.rounds) == (run.epoch + 1, 0)


async def test_a_session_found_while_it_is_watched_is_only_woken(in_sessions: Rig) -> None:
    run = await in_sessions.run("sess_1")
    assert await in_sessions.store.arrivals.watch_discovered("c1", run.ref) is False
    assert await in_sessions.store.runs.renew("me", ["sess_1"]) == {"sess_1": run.wake_count + 1}


async def test_a_session_of_another_conversation_is_not_found_for_this_one(in_sessions: Rig) -> None:
    run = await in_sessions.run("sess_1")
    await in_sessions.lost(run)
    assert await in_sessions.store.arrivals.watch_discovered("bare", run.ref) is False
    row = await in_sessions.row("runs")
    assert (row.state, row.conversation_id) == ("lost", "c1")
