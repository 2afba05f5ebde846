"""The run loop: claim → inspect → answer → submit.

The database is the queue. A claimed run stays with this process until it ends; looks are not written down.
Only this module turns errors into scheduling.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace

from worker import logs
from worker.dispatch import Dispatcher
from worker.errors import Isolated, PlatformError, PlatformRefused, RunGone, StoreError, Withdrawn
from worker.lease import HEARTBEAT_S, LEASE_S, Lease, boottime
from worker.model import Answer, CallRecord, Look, Run, RunState, Sight, ToolCall
from worker.pacing import Agenda, Pace, TokenBucket
from worker.ports import Clock, Platform, RunStore

CLAIM_S = 1.0
"""Longest between two claims; a registration wakes the loop sooner."""

READS_IN_FLIGHT = 20
"""More platform reads at once cost more CPU each, not less time."""

NEW_RUN_GRACE_S = 30.0
"""A run just announced may be a 404 this long: the bot can be quicker than the platform."""

EXPIRY_MARGIN_S = 30.0
"""Answers are ready this long before the platform gives the run up (contract §2, CALL_DEADLINE_S)."""

REFUSAL_LIMIT_S = 600.0
"""A platform that refuses us longer than a run lives has nothing left to answer."""


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """Bounds of the loop, from the settings. Seconds and counts."""

    max_runs: int
    max_rounds: int
    call_deadline_s: float
    discover_interval_s: float
    discover_window_s: float
    shutdown_grace_s: float


@dataclass(slots=True)
class _Watch:
    """A claimed run, and what this process remembers of it between two looks."""

    run: Run
    since: float
    looks: int = 0
    failures: int = 0
    refused_since: float | None = None
    deadline: float | None = None
    handed: dict[str, str] = field(default_factory=dict)
    """Platform call id → call id of what was submitted without a clear answer."""


class Worker:
    """Watches the runs of one platform. `run()` serves until `stop()`; `run_until_idle()` ends by itself."""

    def __init__(
        self,
        *,
        platform: Platform,
        runs: RunStore,
        dispatcher: Dispatcher,
        lease: Lease,
        pace: Pace,
        reads: TokenBucket,
        limits: LoopLimits,
        clock: Clock,
    ) -> None:
        self._platform = platform
        self._runs = runs
        self._dispatcher = dispatcher
        self._lease = lease
        self._pace = pace
        self._reads = reads
        self._limits = limits
        self._clock = clock
        self._agenda = Agenda(clock)
        self._watches: dict[str, _Watch] = {}
        self._advancing: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(READS_IN_FLIGHT)
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ticked = clock.monotonic()
        self._platform_ok = True

    # ------------------------------------------------------------------------------------ a worker's life

    async def run(self, *, until_idle: bool = False) -> None:
        """Claim, watch and answer until stopped; then finish what is in flight and give the leases back.

        Raises (in an `ExceptionGroup`) whatever a side task died of: nothing here dies quietly.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._dispatcher.start(tasks)
                sides = [tasks.create_task(side) for side in self._side_tasks(tasks, until_idle=until_idle)]
                await self._stopping.wait()
                await self._wind_down(sides)
        finally:
            await self._dispatcher.flush()
            with contextlib.suppress(StoreError):
                await self._runs.release(self._lease.owner)

    async def run_until_idle(self) -> None:
        """Work until no run is watched and none is due."""
        await self.run(until_idle=True)

    def stop(self) -> None:
        """No new claim, no new look, no new attempt. `run()` returns once what is in flight has ended."""
        self._dispatcher.stop()
        self._stopping.set()

    def wake(self, run_id: str) -> None:
        """Something happened to this run: claim it, or look at it, now."""
        self._agenda.hurry(run_id)
        self._woken.set()

    def alive(self) -> bool:
        """The claiming loop has ticked lately (readiness)."""
        return self._clock.monotonic() - self._ticked < 10 * CLAIM_S

    def _side_tasks(self, tasks: asyncio.TaskGroup, *, until_idle: bool) -> list[Coroutine[None, None, None]]:
        sides = [self._keep_claiming(until_idle=until_idle), self._keep_leases(), self._keep_looking(tasks)]
        return [*sides, self._keep_discovering()] if self._limits.discover_interval_s else sides

    async def _wind_down(self, sides: Sequence[asyncio.Task[None]]) -> None:
        """Wait for attempts in flight, and for submits of what they brought, at most the grace period."""
        heartbeat = sides[1]
        for side in sides:
            if side is not heartbeat:
                side.cancel()
        under_way = {*self._advancing, *self._dispatcher.working}
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=self._limits.shutdown_grace_s)
            for task in late:
                task.cancel()
        heartbeat.cancel()

    # -------------------------------------------------------------------------------------------- claiming

    async def _keep_claiming(self, *, until_idle: bool) -> None:
        while True:
            self._ticked = self._clock.monotonic()
            self._woken.clear()
            free = self._limits.max_runs - len(self._watches)
            claimed = await self._runs.claim(self._lease.owner, free, LEASE_S) if free > 0 else ()
            for run in claimed:
                self._watches[run.ref.run_id] = _Watch(run, since=self._clock.monotonic())
                self._agenda.put(run.ref.run_id, 0.0)
            if until_idle and not self._watches and not self._dispatcher.working:
                self.stop()
            await self._woken_or(CLAIM_S)

    async def _woken_or(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def _keep_leases(self) -> None:
        """Renew the leases of watched runs; a run that is another's by now is let go."""
        while True:
            taken = boottime()
            watched = set(self._watches)
            kept = await self._runs.renew(self._lease.owner, watched, LEASE_S)
            self._lease.renewed(taken)
            for run_id in watched - kept:
                self._forget(run_id)
            await self._clock.sleep(HEARTBEAT_S)

    def _forget(self, run_id: str) -> None:
        if self._watches.pop(run_id, None):
            self._agenda.drop(run_id)
            self._woken.set()

    # --------------------------------------------------------------------------------------------- looking

    async def _keep_looking(self, tasks: asyncio.TaskGroup) -> None:
        """Earliest due first, under one read budget, with a bounded number of reads in flight."""
        while True:
            await self._agenda.ready()
            await self._slots.acquire()
            await self._reads.take()
            run_id = self._agenda.pop()
            watch = self._watches.get(run_id) if run_id else None
            if watch is None:
                self._slots.release()
                continue
            task = tasks.create_task(self._advance(watch))
            self._advancing.add(task)
            task.add_done_callback(self._advancing.discard)

    async def _advance(self, watch: _Watch) -> None:
        """One step of one run: look, and do what the look asks for."""
        try:
            await self._follow(watch, await self._look(watch))
        except RunGone:
            await self._gone(watch)
        except PlatformError as error:
            await self._failed(watch, error)
        except Isolated:
            await self._close(watch, RunState.LOST, "isolamento", None)
        except Withdrawn:
            self._forget(watch.run.ref.run_id)

    async def _look(self, watch: _Watch) -> Look:
        try:
            return await self._platform.inspect(watch.run.ref)
        finally:
            self._slots.release()

    async def _follow(self, watch: _Watch, look: Look) -> None:
        await self._confirm_handed(watch, look)
        match look.sight:
            case Sight.WORKING:
                watch.deadline = None
                self._look_later(watch, look)
            case Sight.REQUIRES_ACTION:
                await self._act(watch, look)
            case Sight.ENDED:
                await self._close(watch, RunState.ENDED, look.reason or look.status, look.status)
            case Sight.LOST:
                await self._close(watch, RunState.LOST, look.reason or look.status, look.status)

    def _look_later(self, watch: _Watch, look: Look) -> None:
        watch.looks += 1
        self._went_well(watch)
        self._agenda.put(watch.run.ref.run_id, self._pace.delay(watch.looks, look.poll_after_s))

    def _went_well(self, watch: _Watch) -> None:
        watch.failures = 0
        watch.refused_since = None
        if not self._platform_ok:
            self._platform_ok = True
            logs.event("✅ plataforma voltou a atender")

    # ----------------------------------------------------------------------------------- answer and submit

    async def _act(self, watch: _Watch, look: Look) -> None:
        """Answer every call of a run, then hand all answers over at once."""
        if watch.run.rounds >= self._limits.max_rounds:
            await self._close(watch, RunState.LOST, "rodadas_demais", look.status)
            return
        watch.deadline = watch.deadline or self._deadline(look)
        records = await self._answers(watch, look.calls)
        if not self._lease.holds():
            raise Withdrawn("the lease has lapsed")
        answers = [_answer(call, record) for call, record in zip(look.calls, records, strict=True)]
        watch.handed = {
            call.platform_call_id: record.call_id for call, record in zip(look.calls, records, strict=True)
        }
        try:
            await self._platform.submit(watch.run.ref, answers)
        except PlatformError as error:
            # Whatever it was (a 404 included: some servers say so to a second submit), the next look tells.
            await self._failed(watch, error)
            return
        await self._submitted(watch, look.status)
        watch.looks = 0
        self._look_later(watch, look)

    async def _answers(self, watch: _Watch, calls: Sequence[ToolCall]) -> list[CallRecord]:
        """The calls of a run side by side; one withdrawn ends the wait, work already begun goes on."""
        deadline = watch.deadline or 0.0
        waits = [self._dispatcher.answer(watch.run, call, deadline) for call in calls]
        return list(await asyncio.gather(*waits))

    def _deadline(self, look: Look) -> float:
        limit = self._limits.call_deadline_s
        if look.expires_in_s is not None:
            limit = min(limit, look.expires_in_s - EXPIRY_MARGIN_S)
        return self._clock.monotonic() + limit

    async def _confirm_handed(self, watch: _Watch, look: Look) -> None:
        """A submit without a clear answer was taken if the run no longer asks for those calls."""
        asked = {call.platform_call_id for call in look.calls}
        if watch.handed and look.sight is not Sight.LOST and not asked & set(watch.handed):
            await self._submitted(watch, look.status)

    async def _submitted(self, watch: _Watch, status: str) -> None:
        await self._runs.submitted(watch.run, list(watch.handed.values()), status)
        watch.handed = {}
        watch.deadline = None
        watch.run = replace(watch.run, rounds=watch.run.rounds + 1)

    # ------------------------------------------------------------------------------------ ends and failures

    async def _close(self, watch: _Watch, state: RunState, reason: str, status: str | None) -> None:
        run = watch.run
        if await self._runs.close(run, state, reason, status):
            logs.event(
                "● execução encerrada | state={state} reason={reason} conversationId={conversation_id}",
                level="INFO" if state is RunState.ENDED else "WARNING",
                state=state,
                reason=reason,
                conversation_id=run.conversation_id,
                run_id=run.ref.run_id,
            )
        self._forget(run.ref.run_id)

    async def _gone(self, watch: _Watch) -> None:
        known_s = watch.run.known_s + self._clock.monotonic() - watch.since
        if known_s < NEW_RUN_GRACE_S:
            watch.failures += 1
            self._agenda.put(watch.run.ref.run_id, self._pace.delay(watch.failures))
        else:
            await self._close(watch, RunState.LOST, "nao_encontrada", None)

    async def _failed(self, watch: _Watch, error: PlatformError) -> None:
        """Look again later, and ever later; the log hears of the first failure and of the recovery only."""
        now = self._clock.monotonic()
        watch.failures += 1
        if isinstance(error, PlatformRefused):
            watch.refused_since = watch.refused_since or now
            if now - watch.refused_since > REFUSAL_LIMIT_S:
                await self._close(watch, RunState.LOST, "plataforma_recusou", None)
                return
        if self._platform_ok:
            self._platform_ok = False
            logs.failure("plataforma não atende", error)
        self._agenda.put(
            watch.run.ref.run_id, self._pace.delay_after_failure(watch.failures, error.retry_after_s)
        )

    # ------------------------------------------------------------------------------------------- discovery

    async def _keep_discovering(self) -> None:
        """Look for unannounced runs in conversations active lately, on a fifth of the read budget."""
        share = TokenBucket(self._reads.rate / 5, self._clock)
        while True:
            found = False
            for conversation_id, thread_id in await self._discoverable():
                await share.take()
                await self._reads.take()
                found |= await self._discover(conversation_id, thread_id)
            if found:
                self._woken.set()
            await self._clock.sleep(min(1.0, self._limits.discover_interval_s))

    async def _discoverable(self) -> Sequence[tuple[str, str]]:
        """Conversations due for a look, few at a time, so that a claim is not long past when it is used."""
        limits = self._limits
        return await self._runs.discoverable(
            READS_IN_FLIGHT, limits.discover_interval_s, limits.discover_window_s
        )

    async def _discover(self, conversation_id: str, thread_id: str) -> bool:
        try:
            ref = await self._platform.discover(thread_id)
        except PlatformError:
            return False
        return ref is not None and await self._runs.found(conversation_id, ref)


def _answer(call: ToolCall, record: CallRecord) -> Answer:
    if record.answer is None:
        raise StoreError("an answered call has no answer")
    return Answer(
        platform_call_id=call.platform_call_id,
        output=record.answer,
        success=record.answered_success,
        turn_id=call.turn_id,
    )
