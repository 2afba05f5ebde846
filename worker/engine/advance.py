"""Moves one run one poll further: reads its state, answers its calls, submits the answers, or closes it.

Platform errors are handled here and nowhere else. Each becomes the delay before the next poll.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from worker import logs, metrics
from worker.engine.dispatch import Dispatcher
from worker.engine.lease import Lease
from worker.engine.pacing import LoopLimits, Pace
from worker.engine.watched_runs import SubmittedAnswer, WatchedRun, WatchedRuns
from worker.errors import Isolated, PlatformError, PlatformRefused, RunGone, StoreError, Withdrawn
from worker.model import Answer, CallRecord, Run, RunSnapshot, RunState, RunStatus, ToolCall
from worker.ports import LEASE_S, Clock, Platform, RunStore

NEW_RUN_GRACE_S = 30.0
"""A run that was just announced may be a 404 for this long: the bot can be quicker than the platform."""

EXPIRY_MARGIN_S = 30.0
"""Answers are ready this long before the platform gives the run up (contract §2, CALL_DEADLINE_S)."""

APPLY_S = 5.0
"""If the platform still asks for an accepted answer after this many seconds, submit the same bytes again."""

REFUSAL_LIMIT_S = 600.0
"""A run is lost when the platform has refused our key for this many seconds: no run lives longer."""


class RunDriver:
    """Drives watched runs, one poll at a time."""

    def __init__(
        self,
        *,
        platform: Platform,
        runs: RunStore,
        dispatcher: Dispatcher,
        watched: WatchedRuns,
        lease: Lease,
        pace: Pace,
        limits: LoopLimits,
        clock: Clock,
    ) -> None:
        self._platform = platform
        self._traits = platform.traits
        self._runs = runs
        self._dispatcher = dispatcher
        self._watched = watched
        self._lease = lease
        self._pace = pace
        self._limits = limits
        self._clock = clock
        self._platform_ok = True

    async def advance(self, watched: WatchedRun, on_read: Callable[[], None]) -> None:
        """Poll the run once and do what it needs.

        Calls `on_read` when the platform has answered, so that the next poll can start.
        """
        woken, watched.wake_pending = watched.wake_pending, False
        watched.wakes_seen = watched.wake_count + watched.local_wakes
        watched.polled_at = self._clock.monotonic()
        try:
            try:
                snapshot = await self._platform.inspect(watched.run.ref)
            finally:
                on_read()
            self._record_source(watched, snapshot, woken=woken)
            await self._follow(watched, snapshot)
        except RunGone:
            await self._gone(watched)
        except PlatformError as error:
            await self._failed(watched, error)
        except Isolated:
            await self._close(watched, RunState.LOST, "isolamento", None)
        except Withdrawn:
            self._watched.end(watched.run_id)

    def _record_source(self, watched: WatchedRun, snapshot: RunSnapshot, *, woken: bool) -> None:
        """Record whether a poll or a wake-up found this call. The first poll proves neither."""
        if snapshot.status is RunStatus.REQUIRES_ACTION and watched.polls:
            self._pace.record_source(wake_up=woken)
        if woken:
            watched.polls = 0

    def _log_unanswerable(self, watched: WatchedRun, snapshot: RunSnapshot) -> None:
        """Once a run: calls that no answer can be sent to keep the run waiting until it expires."""
        if snapshot.unanswerable and not watched.unanswerable_logged:
            watched.unanswerable_logged = True
            logs.event(
                "! chamada de função sem id utilizável: não há como responder a ela | count={count} "
                "run_id={run_id} conversationId={conversation_id}",
                level="WARNING",
                count=snapshot.unanswerable,
                run_id=watched.run_id,
                conversation_id=watched.run.conversation_id,
            )

    async def _follow(self, watched: WatchedRun, snapshot: RunSnapshot) -> None:
        self._log_unanswerable(watched, snapshot)
        await self._confirm_submitted(watched, snapshot)
        known_s = self._watched.known_s(watched)
        settling = not watched.answered_since_announced and known_s < self._traits.settling_s
        if snapshot.status is RunStatus.LOST:
            await self._close(
                watched, RunState.LOST, snapshot.reason or snapshot.platform_status, snapshot.platform_status
            )
        elif snapshot.status is RunStatus.ENDED and not settling:
            await self._close(
                watched, RunState.ENDED, snapshot.reason or snapshot.platform_status, snapshot.platform_status
            )
        elif self._traits.life_s is not None and known_s > self._traits.life_s:
            await self._close(watched, RunState.LOST, "prazo_esgotado", snapshot.platform_status)
        elif snapshot.status is RunStatus.REQUIRES_ACTION:
            await self._act(watched, snapshot)
        else:
            watched.deadline = None
            self._poll_later(watched, snapshot)

    def _poll_later(self, watched: WatchedRun, snapshot: RunSnapshot) -> None:
        watched.polls += 1
        watched.failures, watched.refused_since = 0, None
        metrics.platform_failing.set(0)
        if not self._platform_ok:
            self._platform_ok = True
            logs.event("✅ plataforma voltou a atender")
        now = self._clock.monotonic()
        self._watched.poll_at(watched, self._pace.next_poll(watched.polled_at, now, snapshot.poll_after_s))

    # ----------------------------------------------------------------------------------- answer and submit

    async def _act(self, watched: WatchedRun, snapshot: RunSnapshot) -> None:
        """Answer every call of a run and submit the answers: all at once, or one by one."""
        if watched.run.rounds >= self._limits.max_rounds:
            await self._close(watched, RunState.LOST, "rodadas_demais", snapshot.platform_status)
            return
        watched.deadline = watched.deadline or self._deadline(snapshot)
        calls = [call for call in snapshot.calls if not self._just_accepted(watched, call)]
        batches = [[call] for call in calls] if self._traits.one_by_one else [calls] if calls else []
        results = await asyncio.gather(*(self._answer(watched, snapshot, batch) for batch in batches))
        errors = [error for error in results if error is not None]
        if errors:
            await self._failed(watched, errors[0])
            return
        if batches:
            watched.count_round()
        self._poll_later(watched, snapshot)

    def _deadline(self, snapshot: RunSnapshot) -> float:
        limit = self._limits.call_deadline_s
        if snapshot.expires_in_s is not None:
            limit = min(limit, snapshot.expires_in_s - EXPIRY_MARGIN_S)
        return self._clock.monotonic() + limit

    def _just_accepted(self, watched: WatchedRun, call: ToolCall) -> bool:
        """The platform accepted the answer a moment ago, and has not applied it yet."""
        answer = watched.submitted.get(call.identity)
        accepted_at = answer.accepted_at if answer else None
        return accepted_at is not None and self._clock.monotonic() - accepted_at < APPLY_S

    async def _answer(
        self, watched: WatchedRun, snapshot: RunSnapshot, calls: Sequence[ToolCall]
    ) -> PlatformError | None:
        """Answer calls side by side, then submit once. Raises `Withdrawn` if one call is withdrawn.

        Returns the error of a failed submit. The next poll shows whether it was accepted after all, whatever
        the error was: some servers answer a second submit with 404.
        """
        deadline = watched.deadline or 0.0
        run = _with_thread(watched.run, snapshot)
        records = await asyncio.gather(*(self._dispatcher.answer(run, call, deadline) for call in calls))
        if not self._lease.holds():
            raise Withdrawn("the lease has lapsed")
        for call, record in zip(calls, records, strict=True):
            watched.submitted[call.identity] = SubmittedAnswer(record.call_id)
        answers = [_answer(call, record) for call, record in zip(calls, records, strict=True)]
        try:
            await self._submit(watched, snapshot, answers, [record.call_id for record in records])
        except PlatformError as error:
            return error
        for call in calls:
            watched.submitted[call.identity].accepted_at = self._clock.monotonic()
        return None

    async def _submit(
        self, watched: WatchedRun, snapshot: RunSnapshot, answers: Sequence[Answer], call_ids: Sequence[str]
    ) -> None:
        """Submit answers. Where a submit creates a new run, record it before and watch the new run after."""
        run = watched.run
        again = self._traits.new_run_per_round and await self._runs.begin_submit(run)
        ref = await self._platform.submit(run.ref, answers, again=again)
        if ref is None:
            await self._runs.submitted(run, call_ids, snapshot.platform_status)
            return
        new = await self._runs.continued(
            run, call_ids, snapshot.platform_status, ref, owner=self._lease.owner, lease_s=LEASE_S
        )
        self._watched.end(watched.run_id)
        if new is not None:
            self._watched.begin(new)

    async def _confirm_submitted(self, watched: WatchedRun, snapshot: RunSnapshot) -> None:
        """A submit without a clear response was accepted if the run no longer asks for those calls."""
        pending = {call.identity for call in snapshot.calls}
        gone = [watched.submitted.pop(each) for each in list(watched.submitted) if each not in pending]
        unsure = [answer.call_id for answer in gone if answer.accepted_at is None]
        if unsure and snapshot.status is not RunStatus.LOST:
            await self._runs.submitted(watched.run, unsure, snapshot.platform_status)
            watched.count_round()

    # ------------------------------------------------------------------------------------ ends and failures

    async def _close(self, watched: WatchedRun, state: RunState, reason: str, status: str | None) -> None:
        """Close a run. If a wake-up came after this poll began, the run stays open and is claimed again."""
        self._watched.end(watched.run_id)
        if await self._runs.close(replace(watched.run, woken=watched.wakes_seen), state, reason, status):
            metrics.runs_closed.labels(state, reason).inc()
            logs.event(
                "● execução encerrada | state={state} reason={reason} conversationId={conversation_id}",
                level="INFO" if state is RunState.ENDED else "WARNING",
                state=state,
                reason=reason,
                conversation_id=watched.run.conversation_id,
                run_id=watched.run_id,
            )

    async def _gone(self, watched: WatchedRun) -> None:
        if self._watched.known_s(watched) < NEW_RUN_GRACE_S:
            watched.failures += 1
            self._poll_after_failure(watched)
        else:
            await self._close(watched, RunState.LOST, "nao_encontrada", None)

    async def _failed(self, watched: WatchedRun, error: PlatformError) -> None:
        """Poll again later, with a growing delay. Only the first failure and the recovery are logged."""
        now = self._clock.monotonic()
        watched.failures += 1
        metrics.platform_failing.set(1)
        if self._platform_ok:
            self._platform_ok = False
            logs.failure("plataforma não atende", error)
        if isinstance(error, PlatformRefused):
            watched.refused_since = watched.refused_since or now
            if now - watched.refused_since > REFUSAL_LIMIT_S:
                await self._close(watched, RunState.LOST, "plataforma_recusou", None)
                return
        self._poll_after_failure(watched, error.retry_after_s)

    def _poll_after_failure(self, watched: WatchedRun, retry_after_s: float | None = None) -> None:
        delay = self._pace.delay_after_failure(watched.failures, retry_after_s)
        self._watched.poll_at(watched, self._clock.monotonic() + delay)


def _with_thread(run: Run, snapshot: RunSnapshot) -> Run:
    """The run with the thread that the platform names; the ledger checks whose thread that is."""
    return (
        run
        if snapshot.thread_id is None
        else replace(run, ref=replace(run.ref, thread_id=snapshot.thread_id))
    )


def _answer(call: ToolCall, record: CallRecord) -> Answer:
    if record.answer is None:
        raise StoreError("an answered call has no answer")
    return Answer(
        platform_call_id=call.platform_call_id,
        output=record.answer,
        success=record.answered_success,
        turn_id=call.turn_id,
        content=call.content,
    )
