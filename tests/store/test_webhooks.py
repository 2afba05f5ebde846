"""What the platform's webhooks bring about in the store: one wake-up each, and runs of our conversations."""

import asyncio

import pytest

from tests.store.harness import OpenRig, Rig
from worker.errors import RequestRefused
from worker.model import RunRef, RunState, ThreadRule


@pytest.fixture
async def sessions(open_rig: OpenRig) -> Rig:
    """A store of the platform where the run is the thread."""
    made = await open_rig(owner=True, platform="agents", thread=ThreadRule.IS_THE_RUN)
    await made.conversation("c1", thread_id="sess_1")
    return made


@pytest.fixture
async def chains(open_rig: OpenRig) -> Rig:
    """A store of the platform where a run may belong to a thread."""
    made = await open_rig(owner=True, platform="responses", thread=ThreadRule.OPTIONAL)
    await made.conversation("c1", thread_id="conv_1")
    return made


async def test_a_watched_run_is_woken_once_for_each_webhook(chains: Rig) -> None:
    await chains.announce("c1", "resp_1", None)
    told = [await chains.store.webhooks.record(each, "resp_1") for each in ("wh_1", "wh_1", "wh_2")]
    assert told == [True, None, True]
    assert (await chains.row("runs")).wake == 2


async def test_a_webhook_counts_once_over_all_processes(chains: Rig, open_rig: OpenRig) -> None:
    other = await open_rig("other", platform="responses", thread=ThreadRule.OPTIONAL)
    await chains.announce("c1", "resp_1", None)
    told = await asyncio.gather(
        *(rig.store.webhooks.record("wh_1", "resp_1") for rig in (chains, other, chains, other))
    )
    assert sorted(told, key=str) == [None, None, None, True]
    assert (await chains.row("runs")).wake == 1


async def test_a_webhook_whose_wake_up_was_not_written_is_not_remembered(
    chains: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object) -> bool:
        raise RuntimeError

    monkeypatch.setattr(chains.store.webhooks._arrivals, "wake_or_watch", breaks)
    with pytest.raises(RuntimeError):
        await chains.store.webhooks.record("wh_1", "resp_1")
    assert await chains.rows("webhook_ids") == []


async def test_an_unknown_run_becomes_one_only_in_a_conversation_of_ours(chains: Rig) -> None:
    webhooks = chains.store.webhooks
    assert await webhooks.record("wh_1", "resp_1") is False
    assert await webhooks.watch("resp_1", "conv_of_others") is False
    assert await chains.rows("runs") == []
    assert await webhooks.watch("resp_1", "conv_1") is True
    run = await chains.claimed("resp_1")
    assert (run.conversation_id, run.ref) == ("c1", RunRef("resp_1", "conv_1"))


async def test_an_unknown_run_is_not_that_of_a_conversation_without_a_thread(chains: Rig) -> None:
    await chains.conversation("sem_thread", thread_id=None)
    assert await chains.store.webhooks.record("wh_1", "resp_alheia") is False
    with pytest.raises(RequestRefused):
        await chains.store.records.run("resp_alheia")


async def test_a_response_that_has_ended_stays_ended(chains: Rig) -> None:
    run = await chains.run("resp_1")
    await chains.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    assert await chains.store.webhooks.record("wh_1", "resp_1") is True
    row = await chains.row("runs")
    assert (row.state, row.wake) == ("ended", 0)


async def test_a_session_that_has_ended_is_at_work_again(sessions: Rig) -> None:
    run = await sessions.run("sess_1")
    await sessions.store.runs.close(run, RunState.ENDED, "ociosa", "idle")
    assert await sessions.store.webhooks.record("wh_1", "sess_1") is True
    assert (await sessions.claimed("sess_1")).rounds == 0


async def test_an_unannounced_session_of_a_conversation_is_watched_at_once(sessions: Rig) -> None:
    assert await sessions.store.webhooks.record("wh_1", "sess_1") is True
    assert (await sessions.claimed("sess_1")).conversation_id == "c1"


async def test_a_session_without_owner_or_with_another_owner_is_left_alone(sessions: Rig) -> None:
    assert await sessions.store.webhooks.record("wh_1", "sess_9") is False
    assert await sessions.store.webhooks.watch("sess_9", "sess_9") is False
    run = await sessions.run("sess_1")
    await sessions.store.runs.close(run, RunState.ENDED, "ociosa", "idle")
    await sessions.conversation("c1", thread_id="sess_2")
    assert await sessions.store.webhooks.record("wh_2", "sess_1") is False
    await sessions.conversation("c2", thread_id="sess_1")
    assert await sessions.store.webhooks.record("wh_3", "sess_1") is False
    assert [row.state for row in await sessions.rows("runs")] == ["ended"]


async def test_a_response_lost_by_404s_alone_is_watched_again_when_a_webhook_names_it(chains: Rig) -> None:
    run = await chains.run("resp_1")
    await chains.store.runs.close(run, RunState.LOST, "nao_encontrada", None)
    assert await chains.store.webhooks.record("wh_1", "resp_1") is True
    assert (await chains.row("runs")).state == "watching"
    run = await chains.claimed("resp_1")
    await chains.store.runs.close(run, RunState.LOST, "cancelada", "cancelled")
    assert await chains.store.webhooks.record("wh_2", "resp_1") is True
    assert (await chains.row("runs")).state == "lost"
