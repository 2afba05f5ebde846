"""What webhooks save a worker at work: looks at runs that want nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.asgi import api_over, calling
from tests.engine.harness import Harness
from tests.fakes import COMPLETED as ENDED
from tests.fakes import WORKING, FakePlatform, asks, call, until
from tests.web.webhook_sender import SECRET, send
from worker.engine.pacing import Pace
from worker.engine.watched_runs import WatchedRuns
from worker.model import RunRef, RunSnapshot, RunState
from worker.store.store import Store
from worker.times import SystemClock
from worker.web.webhooks import WebhookReceiver


class Ringing:
    """A worker at work, its API, and a platform that tells what happens."""

    def __init__(self, store: Store, pace: Pace) -> None:
        self.harness = Harness(store)
        self.platform = self.harness.platform
        self.worker = self.harness.worker()
        self.worker._driver._pace = self.worker._watched._pace = pace
        self.bell = WebhookReceiver(
            SECRET,
            store.webhooks,
            wake_event="response.completed",
            thread_of=self.worker.thread_of,
            wake=self._wake,
            clock=SystemClock(),
        )
        app = api_over(store, webhooks=self.bell, wake=self.worker.wake, alive=self.worker.alive)
        self.api = calling(app)
        self._next: dict[str, tuple[RunSnapshot, ...]] = {}
        self._webhooks = 0

    async def announce(self, run_id: str) -> None:
        """A run at work, which is watched."""
        self.platform.script(run_id, WORKING)
        answer = await self.api.post("/v1/runs", json={"conversation_id": "c1", "run_id": run_id})
        assert answer.status_code == 202
        await until(lambda: any(run_id == each.run_id for each in self.worker._watched.all))

    async def ring(self, run_id: str, *looks: RunSnapshot) -> None:
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
        await until(lambda: all(run_id != each.run_id for each in self.worker._watched.all))
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
    async with ringing(store, Pace(0.001, 3600.0, webhooks=True)) as it:
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
        # One poll fetches its calls, one sees it ended.
        assert [it.looks(f"run_{number}") for number in range(1, 6)] == [2] * 5


async def test_a_run_nobody_announced_is_answered_after_its_webhook(store: Store) -> None:
    async def thread_of(run_id: str) -> str | None:
        return "thread_c1"

    async with ringing(store, Pace(0.001, 0.01, webhooks=True)) as it:
        it.platform.thread_of = thread_of
        await it.ring("resp_new", asks(call(1)), ENDED)
        await until(lambda: len(it.platform.submitted) == 1)
        await it.ended("resp_new")


async def test_a_wake_up_counts_once_directly_or_by_the_heartbeat(store: Store) -> None:
    harness = Harness(store)
    await harness.conversation()
    await harness.announce("run_1")
    (run,) = await store.runs.claim("me", 10)
    watched = WatchedRuns(SystemClock(), Pace(0.25, 5.0, webhooks=True))
    watched.begin(run)
    (watched_run,) = watched.all

    def asked() -> bool:
        told, watched_run.wake_pending = watched_run.wake_pending, False
        return told

    watched.wake("run_1")
    assert asked()
    watched.renewed(watched_run, 1)  # the one it has heard of
    assert not asked()
    watched.renewed(watched_run, 2)  # one that another process was told of
    assert asked()
    watched.renewed(watched_run, 2)
    assert not asked()


async def test_what_is_said_of_a_run_while_it_is_looked_at_makes_the_next_look_immediate(
    store: Store,
) -> None:
    class Slow(FakePlatform):
        def __init__(self) -> None:
            super().__init__()
            self.looking, self.go_on = asyncio.Event(), asyncio.Event()

        async def inspect(self, ref: RunRef) -> RunSnapshot:
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
    worker._driver._pace = Pace(3600.0, 3600.0)
    working = asyncio.create_task(worker.run_until_idle())
    await slow.looking.wait()
    worker.wake("run_1")
    slow.go_on.set()
    await working
    assert slow.looks == ["run_1", "run_1"]
