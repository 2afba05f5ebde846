"""What webhooks bring about in a real store, and what they save: reads of the platform."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from sqlalchemy import text

from tests.contract.platform_harness import Harness as PlatformHarness
from tests.contract.platform_harness import agents, assistants, responses
from tests.fakes import COMPLETED as ENDED
from tests.fakes import WORKING, FakePlatform, asks, call, until
from tests.unit.fake_records import calling
from tests.unit.loop_harness import Harness
from tests.unit.store_harness import Desk, OpenDesk
from tests.unit.webhook_sender import SECRET, send
from tests.web import api_over
from worker.clock import SystemClock
from worker.errors import RequestRefused, RunGone
from worker.model import Look, RunRef, RunState, ThreadRule
from worker.pacing import Pace, Wait
from worker.simulator.scripts import Say
from worker.store.store import Store
from worker.watches import Watches
from worker.web.webhooks import Doorbell


@pytest.fixture
async def sessions(open_desk: OpenDesk) -> Desk:
    """A store of the platform where the run is the thread."""
    made = await open_desk(owner=True, platform="agents", thread=ThreadRule.IS_THE_RUN)
    await made.conversation("c1", thread_id="sess_1")
    return made


@pytest.fixture
async def chains(open_desk: OpenDesk) -> Desk:
    """A store of the platform where a run may belong to a thread."""
    made = await open_desk(owner=True, platform="responses", thread=ThreadRule.OPTIONAL)
    await made.conversation("c1", thread_id="conv_1")
    return made


# -------------------------------------------------------------------------------------------- what is written


async def test_a_watched_run_is_woken_once_for_each_webhook(chains: Desk) -> None:
    await chains.store.records.register_run("c1", "resp_1", None)
    told = [await chains.store.webhooks.told(each, "resp_1") for each in ("wh_1", "wh_1", "wh_2")]
    assert told == [True, None, True]
    assert (await chains.row("runs")).wake == 2


async def test_a_webhook_counts_once_over_all_processes(chains: Desk, open_desk: OpenDesk) -> None:
    other = await open_desk("other", platform="responses", thread=ThreadRule.OPTIONAL)
    await chains.store.records.register_run("c1", "resp_1", None)
    told = await asyncio.gather(
        *(desk.store.webhooks.told("wh_1", "resp_1") for desk in (chains, other, chains, other))
    )
    assert sorted(told, key=str) == [None, None, None, True]
    assert (await chains.row("runs")).wake == 1


async def test_a_webhook_whose_wake_up_was_not_written_is_not_remembered(
    chains: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object) -> bool:
        raise RuntimeError

    monkeypatch.setattr(chains.store.webhooks._arrivals, "told", breaks)
    with pytest.raises(RuntimeError):
        await chains.store.webhooks.told("wh_1", "resp_1")
    assert await chains.rows("webhook_ids") == []


async def test_an_unknown_run_becomes_one_only_in_a_conversation_of_ours(chains: Desk) -> None:
    webhooks = chains.store.webhooks
    assert await webhooks.told("wh_1", "resp_1") is False
    assert await webhooks.found("resp_1", "conv_of_others") is False
    assert await chains.rows("runs") == []
    assert await webhooks.found("resp_1", "conv_1") is True
    run = await chains.claimed("resp_1")
    assert (run.conversation_id, run.ref) == ("c1", RunRef("resp_1", "conv_1"))


async def test_an_unknown_run_is_not_that_of_a_conversation_without_a_thread(chains: Desk) -> None:
    await chains.conversation("sem_thread", thread_id=None)
    assert await chains.store.webhooks.told("wh_1", "resp_alheia") is False
    with pytest.raises(RequestRefused):
        await chains.store.records.run("resp_alheia")


async def test_a_response_that_has_ended_stays_ended(chains: Desk) -> None:
    run = await chains.run("resp_1")
    await chains.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    assert await chains.store.webhooks.told("wh_1", "resp_1") is True
    row = await chains.row("runs")
    assert (row.state, row.wake) == ("ended", 0)


async def test_a_session_that_has_ended_is_at_work_again(sessions: Desk) -> None:
    run = await sessions.run("sess_1")
    await sessions.store.runs.close(run, RunState.ENDED, "ociosa", "idle")
    assert await sessions.store.webhooks.told("wh_1", "sess_1") is True
    assert (await sessions.claimed("sess_1")).rounds == 0


async def test_an_unannounced_session_of_a_conversation_is_watched_at_once(sessions: Desk) -> None:
    assert await sessions.store.webhooks.told("wh_1", "sess_1") is True
    assert (await sessions.claimed("sess_1")).conversation_id == "c1"


async def test_a_session_nobody_has_or_another_has_by_now_is_left_alone(sessions: Desk) -> None:
    assert await sessions.store.webhooks.told("wh_1", "sess_9") is False
    assert await sessions.store.webhooks.found("sess_9", "sess_9") is False
    run = await sessions.run("sess_1")
    await sessions.store.runs.close(run, RunState.ENDED, "ociosa", "idle")
    await sessions.conversation("c1", thread_id="sess_2")
    assert await sessions.store.webhooks.told("wh_2", "sess_1") is False
    await sessions.conversation("c2", thread_id="sess_1")
    assert await sessions.store.webhooks.told("wh_3", "sess_1") is False
    assert [row.state for row in await sessions.rows("runs")] == ["ended"]


# ---------------------------------------------------------------------------------------- the platform's part


@pytest.mark.parametrize("platform", [assistants, agents, responses], ids=lambda each: each.__name__)
async def test_an_adapter_tells_the_thread_of_a_run_that_is_known_by_its_id_only(
    platform: Callable[[], AbstractAsyncContextManager[PlatformHarness]],
) -> None:
    async with platform() as harness:
        ref = await harness.start(Say("Pronto."))
        expected = None if platform is assistants else ref.thread_id
        assert await harness.platform.thread_of(ref.run_id) == expected


async def test_a_response_that_is_gone_has_no_thread() -> None:
    async with responses() as harness:
        with pytest.raises(RunGone):
            await harness.platform.thread_of("resp_desconhecida")


# --------------------------------------------------------------------------------------- what it is good for


class Ringing:
    """A worker at work, its API, and a platform that tells what happens."""

    def __init__(self, store: Store, pace: Pace) -> None:
        self.harness = Harness(store)
        self.platform = self.harness.platform
        self.worker = self.harness.worker()
        self.worker._steps._pace = pace
        self.bell = Doorbell(
            SECRET,
            store.webhooks,
            platform="responses",
            thread_of=self.worker.thread_of,
            wake=self._wake,
            clock=SystemClock(),
        )
        app = api_over(store, webhooks=self.bell, wake=self.worker.wake, alive=self.worker.alive)
        self.api = calling(app)
        self._next: dict[str, tuple[Look, ...]] = {}
        self._webhooks = 0

    async def announce(self, run_id: str) -> None:
        """A run at work, which has been looked at."""
        self.platform.script(run_id, WORKING)
        answer = await self.api.post("/v1/runs", json={"conversation_id": "c1", "run_id": run_id})
        assert answer.status_code == 202
        await until(lambda: self.looks(run_id) >= 1)

    async def ring(self, run_id: str, *looks: Look) -> None:
        """Something has happened to the run, as these looks will show, and the platform says so."""
        self._next[run_id] = looks
        self._webhooks += 1
        assert (await send(self.api, run_id, f"wh_{self._webhooks}")).status_code == 204

    def _wake(self, run_id: str) -> None:
        self.platform.script(run_id, *self._next.pop(run_id))
        self.worker.wake(run_id)

    def looks(self, run_id: str) -> int:
        return self.platform.looks.count(run_id)

    async def ended(self, run_id: str) -> None:
        await until(lambda: run_id not in self.worker._watches.run_ids)
        # The worker lets go of a run just before its end is written.
        while (await self.harness.store.records.run(run_id)).state is not RunState.ENDED:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0)


@asynccontextmanager
async def ringing(store: Store, pace: Pace) -> AsyncIterator[Ringing]:
    it = Ringing(store, pace)
    await it.harness.conversation()
    serving = [asyncio.create_task(work) for work in (it.worker.run(), it.bell.run())]
    try:
        async with it.api, asyncio.timeout(20):
            yield it
    finally:
        it.worker.stop()
        serving[1].cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def test_while_webhooks_arrive_a_run_costs_the_reads_that_fetch_its_calls_and_no_more(
    store: Store,
) -> None:
    async with ringing(store, Pace(0.001, 3600.0, told=True)) as it:
        await it.announce("run_0")
        await until(lambda: it.looks("run_0") > 5)  # nobody has told anything: it is looked at all the time
        await it.ring("run_0", asks(call(0)), WORKING)
        for number in range(1, 6):
            run_id = f"run_{number}"
            await until(lambda answered=number: len(it.platform.submitted) == answered)
            await it.announce(run_id)
            await it.ring(run_id, asks(call(number)), WORKING)
        await until(lambda: len(it.platform.submitted) == 6)
        for number in range(1, 6):
            await it.ring(f"run_{number}", ENDED)
            await it.ended(f"run_{number}")
        # One look finds each at work, one fetches its calls, one sees it ended.
        assert [it.looks(f"run_{number}") for number in range(1, 6)] == [3] * 5


def test_when_webhooks_stop_runs_are_looked_at_as_often_as_before() -> None:
    pace = Pace(0.25, 5.0, random.Random(1), told=True)
    wait = Wait(since=0.0, first=True)
    eager = pace.delay(wait, 0.0)
    pace.learn(told=True)
    assert pace.delay(wait, 0.0) >= 4.0
    for _ in range(9):
        pace.learn(told=False)
    assert pace.delay(wait, 0.0) >= 4.0
    pace.learn(told=False)
    assert pace.delay(wait, 0.0) < 1.0 > eager
    pace.learn(told=False)
    assert pace.delay(wait, 0.0) < 1.0


async def test_a_run_nobody_announced_is_answered_after_its_webhook(store: Store) -> None:
    async def thread_of(run_id: str) -> str | None:
        return "thread_c1"

    async with ringing(store, Pace(0.001, 0.01, told=True)) as it:
        it.platform.thread_of = thread_of
        await it.ring("resp_new", asks(call(1)), ENDED)
        await until(lambda: len(it.platform.submitted) == 1)
        await it.ended("resp_new")


async def test_a_wake_up_is_heard_once_directly_or_by_the_heartbeat(store: Store) -> None:
    harness = Harness(store)
    await harness.conversation()
    await harness.announce("run_1")
    (run,) = await store.runs.claim("me", 10, 10.0)
    watches = Watches(SystemClock(), Pace(0.25, 5.0, told=True))
    watches.begin(run)
    watch = watches.next_due()
    assert watch is not None

    def asked() -> bool:
        told, watch.told = watch.told, False
        return told

    watches.announced("run_1")
    assert asked()
    watches.renewed("run_1", 1)  # the one it has heard of
    assert not asked()
    watches.renewed("run_1", 2)  # one that another process was told of
    assert asked()
    watches.renewed("run_1", 2)
    assert not asked()


async def test_what_is_said_of_a_run_while_it_is_looked_at_makes_the_next_look_immediate(
    store: Store,
) -> None:
    class Slow(FakePlatform):
        def __init__(self) -> None:
            super().__init__()
            self.looking, self.go_on = asyncio.Event(), asyncio.Event()

        async def inspect(self, ref: RunRef) -> Look:
            look = await super().inspect(ref)
            self.looking.set()
            await self.go_on.wait()
            return look

    harness = Harness(store)
    harness.platform = slow = Slow()
    await harness.conversation()
    slow.script("run_1", WORKING, ENDED)
    await harness.announce("run_1")
    worker = harness.worker()
    worker._steps._pace = Pace(3600.0, 3600.0)
    working = asyncio.create_task(worker.run_until_idle())
    await slow.looking.wait()
    worker.wake("run_1")
    slow.go_on.set()
    await working
    assert slow.looks == ["run_1", "run_1"]


@pytest.mark.parametrize("shared_database", ["postgresql"], indirect=True)
async def test_processes_hear_of_each_other_and_not_of_themselves(chains: Desk, open_desk: OpenDesk) -> None:
    other = await open_desk("other", platform="responses", thread=ThreadRule.OPTIONAL)
    heard: dict[str, list[str]] = {"me": [], "other": []}
    ears = [
        asyncio.create_task(desk.store.database.listen(heard[desk.name].append)) for desk in (chains, other)
    ]
    listening = text("select count(*) from pg_stat_activity where query = 'listen ticket_worker'")
    async with asyncio.timeout(20):
        count = 0
        while count < 2:
            async with chains.store.database.read() as connection:
                count = (await connection.execute(listening)).scalar_one()
    await chains.store.records.register_run("c1", "resp_1", None)
    await other.store.webhooks.told("wh_1", "resp_1")
    await until(lambda: bool(heard["me"] and heard["other"]))
    assert heard == {"me": ["resp_1"], "other": ["resp_1"]}
    for ear in ears:
        ear.cancel()
    await asyncio.gather(*ears, return_exceptions=True)
