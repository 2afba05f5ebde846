"""The run loop: claim → poll → answer → submit.

The database is the queue. A claimed run stays with this process until it ends; polls are not recorded.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from worker import metrics
from worker.engine.advance import RunDriver
from worker.engine.discovery import Discovery
from worker.engine.dispatch import Dispatcher
from worker.engine.lease import HEARTBEAT_S, Lease, boottime
from worker.engine.pacing import LoopLimits, Pace, TokenBucket
from worker.engine.reply_check import EndedReplies
from worker.engine.watched_runs import WatchedRun, WatchedRuns
from worker.errors import StoreError
from worker.ports import Arrivals, Clock, Platform, RunStore

CLAIM_S = 1.0
"""Longest time between two claims, in seconds; a wake-up shortens it."""

_GATHER_S = 0.05
"""Announcements this close together are claimed together: a claim costs as much for one as for ten."""

READS_IN_FLIGHT = 64
"""Platform reads at once: 200 a second at 0.3 s each. Submits need some of the 100 connections as well."""


class Worker:
    """Watches the runs of one platform. `run()` ends after `stop()`, `run_until_idle()` when idle."""

    def __init__(
        self,
        *,
        platform: Platform,
        runs: RunStore,
        arrivals: Arrivals,
        dispatcher: Dispatcher,
        lease: Lease,
        pace: Pace,
        reads: TokenBucket,
        limits: LoopLimits,
        clock: Clock,
        replies: EndedReplies | None = None,
    ) -> None:
        """`replies`: checks the replies of ended runs; None: no check."""
        self._platform = platform
        self._runs = runs
        self._dispatcher = dispatcher
        self._lease = lease
        self._reads = reads
        self._limits = limits
        self._clock = clock
        self._pace = pace
        self._watched = WatchedRuns(clock, pace)
        self._driver = RunDriver(
            platform=platform,
            runs=runs,
            dispatcher=dispatcher,
            watched=self._watched,
            lease=lease,
            pace=pace,
            limits=limits,
            clock=clock,
            ended=None if replies is None else replies.add,
        )
        self._replies = replies
        self._discovery = Discovery(platform, arrivals, reads, limits, clock)
        self._advancing: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(READS_IN_FLIGHT)
        self._woken = asyncio.Event()
        self._full = False
        self._stopping = asyncio.Event()
        self._ticked = clock.monotonic()

    async def run(self, *, until_idle: bool = False) -> None:
        """Claim, watch and answer until stopped; then finish what is in flight and give the leases back.

        Raises (in an `ExceptionGroup`) the error of a side task: none fails silently.
        """
        metrics.loop_tick_age_seconds.set_function(self._tick_age_s)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._dispatcher.start(tasks)
                heartbeat = tasks.create_task(self._keep_leases())
                sides = [
                    tasks.create_task(self._keep_claiming(until_idle=until_idle)),
                    tasks.create_task(self._keep_polling(tasks)),
                    tasks.create_task(self._discovery.run(self._woken.set)),
                ]
                if self._replies is not None:
                    sides.append(tasks.create_task(self._replies.run()))
                await self._stopping.wait()
                await self._wind_down(sides)
                heartbeat.cancel()
        finally:
            await self._dispatcher.flush()
            with contextlib.suppress(StoreError):
                await self._dispatcher.release()
                await self._runs.release(self._lease.owner)

    async def run_until_idle(self) -> None:
        """Work until no run is watched and none is due."""
        await self.run(until_idle=True)

    def stop(self) -> None:
        """Begin no claim, poll or attempt. `run()` returns when those in flight have ended."""
        self._dispatcher.stop()
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def wake(self, run_id: str) -> None:
        """Claim or poll this run now: it was announced or woken."""
        self._watched.wake(run_id)
        self._woken.set()

    def wake_by_webhook(self, run_id: str) -> None:
        """A webhook named this run: claim it, or poll it, now."""
        self._pace.webhook_arrived()
        self.wake(run_id)

    async def thread_of(self, run_id: str) -> str | None:
        """The thread of an unannounced run, by one platform read. Raises `PlatformError`s."""
        await self._reads.take()
        return await self._platform.thread_of(run_id)

    def alive(self) -> bool:
        """Whether the claiming loop ran recently (readiness)."""
        return self._tick_age_s() < 10 * CLAIM_S

    def _tick_age_s(self) -> float:
        return self._clock.monotonic() - self._ticked

    async def _keep_claiming(self, *, until_idle: bool) -> None:
        """Claim due runs while slots are free, and calls that no process works on."""
        while True:
            self._ticked = self._clock.monotonic()
            self._woken.clear()
            metrics.runs_watched.set(len(self._watched))
            free = self._limits.max_runs - len(self._watched)
            claimed = await self._runs.claim(self._lease.owner, free) if free > 0 else ()
            for run in claimed:
                self._watched.begin(run)
            self._full = len(claimed) == max(free, 0)
            await self._dispatcher.reconcile()
            if until_idle and not self._watched and not self._dispatcher.working:
                self.stop()
            # Not `wait_for`: until Python 3.12 it can swallow a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLAIM_S):
                    await self._woken.wait()
                    await asyncio.sleep(_GATHER_S)

    async def _keep_leases(self) -> None:
        """Renew the leases of watched runs; stop watching a run that another process has taken over."""
        while True:
            taken = boottime()
            watched = self._watched.all
            run_ids = [watched_run.run_id for watched_run in watched]
            kept = await self._runs.renew(self._lease.owner, run_ids)
            await self._dispatcher.keep_leases()
            self._lease.renewed(taken)
            for watched_run in watched:
                self._watched.renewed(watched_run, kept.get(watched_run.run_id))
            await self._record_statuses()
            if (
                self._lease.holds()
            ):  # otherwise the heartbeat took too long: renew at once, before anything is sent
                await self._clock.sleep(HEARTBEAT_S)

    async def _record_statuses(self) -> None:
        """Record the status of the latest polls, for people. Polls themselves are not recorded."""
        changed = [run for run in self._watched.all if run.platform_status != run.recorded_status]
        statuses = {run.run_id: run.platform_status for run in changed if run.platform_status is not None}
        if statuses:
            await self._runs.record_statuses(self._lease.owner, statuses)
        for run in changed:
            run.recorded_status = statuses.get(run.run_id)

    async def _keep_polling(self, tasks: asyncio.TaskGroup) -> None:
        """Poll the earliest due run first, within the read budget and the limit of reads in flight."""
        while True:
            await self._watched.agenda.ready()
            await self._slots.acquire()
            await self._reads.take()
            watched_run = self._watched.next_due()
            if watched_run is None:
                self._slots.release()
            else:
                self._advance(tasks, watched_run)

    def _advance(self, tasks: asyncio.TaskGroup, watched_run: WatchedRun) -> None:
        task = tasks.create_task(self._driver.advance(watched_run, self._slots.release))
        self._advancing.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """Claim again at once if runs may wait for the slot that an ended run freed, or if no run is left."""
        self._advancing.discard(task)
        if not self._watched or (self._full and len(self._watched) < self._limits.max_runs):
            self._woken.set()

    async def _wind_down(self, sides: Sequence[asyncio.Task[None]]) -> None:
        """Wait for attempts in flight and for the submits of their answers, at most the grace period."""
        for side in sides:
            side.cancel()
        under_way = {*self._advancing, *self._dispatcher.working}
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=self._limits.shutdown_grace_s)
            for task in late:
                task.cancel()
