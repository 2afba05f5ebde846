"""A worker on a real store, with a scripted platform and a tool the test performs."""

import random

from tests.fakes import FakePlatform, FakeTool
from worker.engine.dispatch import Dispatcher
from worker.engine.lease import Lease
from worker.engine.loop import Worker
from worker.engine.pacing import LoopLimits, Pace, TokenBucket
from worker.engine.reply_check import EndedReplies
from worker.personal import Personal
from worker.ports import Clock, Tool
from worker.store.store import Store
from worker.times import SystemClock

LIMITS = LoopLimits(
    max_runs=100,
    max_rounds=25,
    call_deadline_s=20.0,
    discover_interval_s=0.0,
    discover_window_s=900.0,
    shutdown_grace_s=5.0,
)


class Harness:
    """Builds workers that share one store and one platform, as restarts and several machines do."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.platform = FakePlatform()
        self.tool = FakeTool()
        self.lease = Lease()
        self.clock: Clock = SystemClock()

    def worker(
        self,
        *,
        limits: LoopLimits = LIMITS,
        tools: list[Tool] | None = None,
        share: int = 8,
        head_start_s: float | None = None,
    ) -> Worker:
        """`head_start_s`: the bot's before a reply is checked; None: no reply is."""
        clock = self.clock
        self.lease = Lease()
        self.dispatcher = Dispatcher(
            tools or [self.tool], self.store.calls, self.lease, send_window_s=30.0, clock=clock, share=share
        )
        reads = TokenBucket(10_000.0, clock)
        replies = None
        if head_start_s is not None:
            replies = EndedReplies(self.platform, self.store.replies, reads, clock, head_start_s=head_start_s)
        return Worker(
            platform=self.platform,
            runs=self.store.runs,
            arrivals=self.store.arrivals,
            dispatcher=self.dispatcher,
            lease=self.lease,
            pace=Pace(0.001, 0.01, random.Random(1)),
            reads=reads,
            replies=replies,
            limits=limits,
            clock=clock,
        )

    async def conversation(self, name: str = "c1", **changes: object) -> str:
        known = {"thread_id": f"thread_{name}", "client_document": Personal("52998224725")}
        await self.store.records.put_conversation(name, known | changes)
        return name

    async def announce(self, run_id: str = "run_1", conversation: str = "c1") -> None:
        await self.store.records.register_run(conversation, run_id, None)
