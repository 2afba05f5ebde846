"""One step of one run: look at it, answer what it asks, submit the answers, or close it.

Only here errors become scheduling: what to do about one is when to look again.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from worker import logs, metrics
from worker.engine.dispatch import Dispatcher
from worker.engine.lease import Lease
from worker.engine.pacing import LoopLimits, Pace
from worker.engine.watched_runs import Handed, Watch, Watches, call_id
from worker.errors import Isolated, PlatformError, PlatformRefused, RunGone, StoreError, Withdrawn
from worker.model import Answer, CallRecord, Look, Run, RunState, Sight, ToolCall
from worker.ports import LEASE_S, Clock, Platform, RunStore

NEW_RUN_GRACE_S = 30.0
"""A run just announced may be a 404 this long: the bot can be quicker than the platform."""

EXPIRY_MARGIN_S = 30.0
"""Answers are ready this long before the platform gives the run up (contract §2, CALL_DEADLINE_S)."""

APPLY_S = 5.0
"""An accepted answer that is still asked for after this long is submitted again, the same bytes."""

REFUSAL_LIMIT_S = 600.0
"""A platform that refuses us longer than a run lives has nothing left to answer."""


class Steps:
    """Brings watched runs forward, one look at a time."""

    def __init__(
        self,
        *,
        platform: Platform,
        runs: RunStore,
        dispatcher: Dispatcher,
        watches: Watches,
        lease: Lease,
        pace: Pace,
        limits: LoopLimits,
        clock: Clock,
    ) -> None:
        self._platform = platform
        self._traits = platform.traits
        self._runs = runs
        self._dispatcher = dispatcher
        self._watches = watches
        self._lease = lease
        self._pace = pace
        self._limits = limits
        self._clock = clock
        self._platform_ok = True

    async def advance(self, watch: Watch, looked: Callable[[], None]) -> None:
        """Look, and do what the look asks for; `looked()` is called as soon as the read is over."""
        told, watch.told = watch.told, False
        watch.heard_of = watch.woken + watch.heard
        asked = self._clock.monotonic()
        try:
            try:
                look = await self._platform.inspect(watch.run.ref)
            finally:
                looked()
            self._learn(watch, look, told=told)
            await self._follow(watch, look, asked)
        except RunGone:
            await self._gone(watch)
        except PlatformError as error:
            await self._failed(watch, error)
        except Isolated:
            await self._close(watch, RunState.LOST, "isolamento", None)
        except Withdrawn:
            self._watches.end(watch.run_id)

    def _learn(self, watch: Watch, look: Look, *, told: bool) -> None:
        """Whether looking unasked finds anything: a first look does not tell."""
        if look.sight is Sight.REQUIRES_ACTION and watch.looks:
            self._pace.learn(told=told)
        if told:
            watch.looks = 0

    async def _follow(self, watch: Watch, look: Look, asked: float) -> None:
        await self._confirm_handed(watch, look)
        known_s = self._watches.known_s(watch)
        settling = not watch.answered and known_s < self._traits.settling_s
        self._time(watch, look, asked, settling=settling)
        if look.sight is Sight.LOST:
            await self._close(watch, RunState.LOST, look.reason or look.status, look.status)
        elif look.sight is Sight.ENDED and not settling:
            await self._close(watch, RunState.ENDED, look.reason or look.status, look.status)
        elif self._traits.life_s is not None and known_s > self._traits.life_s:
            await self._close(watch, RunState.LOST, "prazo_esgotado", look.status)
        elif look.sight is Sight.REQUIRES_ACTION:
            await self._act(watch, look)
        else:
            watch.deadline = None
            self._look_later(watch, look)

    def _time(self, watch: Watch, look: Look, asked: float, *, settling: bool) -> None:
        """What this look tells of how long such runs take: what it saw was so between asking and now."""
        wait = watch.wait
        wait.assistant = look.assistant or wait.assistant
        over = look.sight is Sight.LOST or (look.sight is Sight.ENDED and not settling)
        if over or any(call_id(call) not in watch.handed for call in look.calls):
            self._pace.found(wait, self._clock.monotonic())
        else:
            wait.looked = max(0.0, asked - wait.since)

    def _look_later(self, watch: Watch, look: Look) -> None:
        watch.looks += 1
        watch.failures, watch.refused_since = 0, None
        if not self._platform_ok:
            self._platform_ok = True
            logs.event("✅ plataforma voltou a atender")
        delay = self._pace.delay(watch.wait, self._clock.monotonic(), look.poll_after_s)
        self._watches.later(watch, delay)

    # ----------------------------------------------------------------------------------- answer and submit

    async def _act(self, watch: Watch, look: Look) -> None:
        """Answer every call of a run and hand the answers over, all at once or as they come."""
        if watch.run.rounds >= self._limits.max_rounds:
            await self._close(watch, RunState.LOST, "rodadas_demais", look.status)
            return
        watch.deadline = watch.deadline or self._deadline(look)
        calls = [call for call in look.calls if not self._just_taken(watch, call)]
        batches = [[call] for call in calls] if self._traits.one_by_one else [calls] if calls else []
        results = await asyncio.gather(*(self._answer(watch, look, batch) for batch in batches))
        errors = [error for error in results if error is not None]
        if errors:
            await self._failed(watch, errors[0])
            return
        if batches:
            watch.count_round(self._clock.monotonic())
        self._look_later(watch, look)

    def _deadline(self, look: Look) -> float:
        limit = self._limits.call_deadline_s
        if look.expires_in_s is not None:
            limit = min(limit, look.expires_in_s - EXPIRY_MARGIN_S)
        return self._clock.monotonic() + limit

    def _just_taken(self, watch: Watch, call: ToolCall) -> bool:
        """Accepted a moment ago, and still shown: the platform has not applied it yet."""
        handed = watch.handed.get(call_id(call))
        taken_at = handed.accepted_at if handed else None
        return taken_at is not None and self._clock.monotonic() - taken_at < APPLY_S

    async def _answer(self, watch: Watch, look: Look, calls: Sequence[ToolCall]) -> PlatformError | None:
        """Answer calls side by side, then submit once. A call that is withdrawn ends the wait of all.

        Whatever a submit failed with (a 404 included: some servers say so to a second one), the next look
        tells what became of it.
        """
        deadline = watch.deadline or 0.0
        run = _placed(watch.run, look)
        records = await asyncio.gather(*(self._dispatcher.answer(run, call, deadline) for call in calls))
        if not self._lease.holds():
            raise Withdrawn("the lease has lapsed")
        for call, record in zip(calls, records, strict=True):
            watch.handed[call_id(call)] = Handed(record.call_id)
        answers = [_answer(call, record) for call, record in zip(calls, records, strict=True)]
        try:
            await self._submit(watch, look, answers, [record.call_id for record in records])
        except PlatformError as error:
            return error
        for call in calls:
            watch.handed[call_id(call)].accepted_at = self._clock.monotonic()
        return None

    async def _submit(
        self, watch: Watch, look: Look, answers: Sequence[Answer], call_ids: Sequence[str]
    ) -> None:
        """Hand answers over. Where that makes a new run, it is recorded before, and watched after."""
        run = watch.run
        again = self._traits.new_run_per_round and await self._runs.begin_submit(run)
        ref = await self._platform.submit(run.ref, answers, again=again)
        if ref is None:
            await self._runs.submitted(run, call_ids, look.status)
            return
        new = await self._runs.continued(
            run, call_ids, look.status, ref, owner=self._lease.owner, lease_s=LEASE_S
        )
        self._watches.end(watch.run_id)
        if new is not None:
            self._watches.begin(new)

    async def _confirm_handed(self, watch: Watch, look: Look) -> None:
        """A submit without a clear answer was taken if the run no longer asks for those calls."""
        asked = {call_id(call) for call in look.calls}
        gone = [watch.handed.pop(each) for each in list(watch.handed) if each not in asked]
        unsure = [handed.call_id for handed in gone if handed.accepted_at is None]
        if unsure and look.sight is not Sight.LOST:
            await self._runs.submitted(watch.run, unsure, look.status)
            watch.count_round(self._clock.monotonic(), taught=False)

    # ------------------------------------------------------------------------------------ ends and failures

    async def _close(self, watch: Watch, state: RunState, reason: str, status: str | None) -> None:
        """End a run; one that was announced anew since this look began is claimed, and looked at, again."""
        self._watches.end(watch.run_id)
        if await self._runs.close(replace(watch.run, woken=watch.heard_of), state, reason, status):
            metrics.runs_closed.labels(state, reason).inc()
            logs.event(
                "● execução encerrada | state={state} reason={reason} conversationId={conversation_id}",
                level="INFO" if state is RunState.ENDED else "WARNING",
                state=state,
                reason=reason,
                conversation_id=watch.run.conversation_id,
                run_id=watch.run_id,
            )

    async def _gone(self, watch: Watch) -> None:
        if self._watches.known_s(watch) < NEW_RUN_GRACE_S:
            watch.failures += 1
            self._watches.later(watch, self._pace.delay_after_failure(watch.failures))
        else:
            await self._close(watch, RunState.LOST, "nao_encontrada", None)

    async def _failed(self, watch: Watch, error: PlatformError) -> None:
        """Look again later, and ever later; the log hears of the first failure and of the recovery only."""
        now = self._clock.monotonic()
        watch.failures += 1
        if self._platform_ok:
            self._platform_ok = False
            logs.failure("plataforma não atende", error)
        if isinstance(error, PlatformRefused):
            watch.refused_since = watch.refused_since or now
            if now - watch.refused_since > REFUSAL_LIMIT_S:
                await self._close(watch, RunState.LOST, "plataforma_recusou", None)
                return
        delay = self._pace.delay_after_failure(watch.failures, error.retry_after_s)
        self._watches.later(watch, delay)


def _placed(run: Run, look: Look) -> Run:
    """The run with the thread that the platform names: the ledger knows whether that is another's."""
    return run if look.thread_id is None else replace(run, ref=replace(run.ref, thread_id=look.thread_id))


def _answer(call: ToolCall, record: CallRecord) -> Answer:
    if record.answer is None:
        raise StoreError("an answered call has no answer")
    return Answer(
        platform_call_id=call.platform_call_id,
        output=record.answer,
        success=record.answered_success,
        turn_id=call.turn_id,
    )
