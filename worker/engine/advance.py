"""Moves one run one poll further: reads its state, answers its calls, submits the answers, or closes it.

Platform errors are handled here and nowhere else. Each becomes the delay before the next poll.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from worker import logs, metrics
from worker.engine.dispatch import Dispatcher, Limits
from worker.engine.lease import Lease
from worker.engine.pacing import LoopLimits, Pace
from worker.engine.platform_health import PlatformHealth, Request
from worker.engine.watched_runs import SubmittedAnswer, WatchedRun, WatchedRuns
from worker.errors import (
    InternalError,
    Isolated,
    PlatformError,
    PlatformRefused,
    RunGone,
    StoreError,
    Withdrawn,
)
from worker.model import Answer, CallRecord, Run, RunSnapshot, RunState, RunStatus, ToolCall
from worker.personal import Personal
from worker.ports import Clock, Platform, RunStore

GONE_S = 30.0
"""A run is lost after 404 for this long: the bot can be quicker than the platform, and a proxy may err."""

EXPIRY_MARGIN_S = 30.0
"""Answers are ready this long before the platform gives the run up (contract §2, CALL_DEADLINE_S)."""

APPLY_S = 5.0
"""If the platform still asks for an accepted answer after this many seconds, submit the same bytes again."""

_LONGEST_ASIDE_S = 300.0
"""Longest delay after a defect. Seconds."""

_WITHDRAWN_S = 1.0
"""Delay of the poll after one whose calls may not go on, such as during a lapsed lease. Seconds."""

MAX_CALLS = 128
"""Calls of one round that are worked on; the others are answered with an error."""

REFUSAL_LIMIT_S = 600.0
"""A run is lost when the platform has refused the key for this many seconds: no run lives longer."""


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
        ended: Callable[[Run, Personal | None], None] | None = None,
    ) -> None:
        """`ended`: called when a run has ended, with the assistant's reply if the run itself holds it."""
        self._ended = ended
        self._platform = platform
        self._traits = platform.traits
        self._runs = runs
        self._dispatcher = dispatcher
        self._watched = watched
        self._lease = lease
        self._pace = pace
        self._limits = limits
        self._clock = clock
        self._health = PlatformHealth(clock)

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
            self._health.answered(Request.POLL)
            watched.gone_since = None
            watched.platform_status = snapshot.platform_status
            self._record_source(watched, snapshot, woken=woken)
            await self._follow(watched, snapshot)
            watched.defects = 0
        except (StoreError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001  # one run's defect is that run's alone
            await self._handle(watched, error)

    async def _handle(self, watched: WatchedRun, error: Exception) -> None:
        """Close a run whose poll failed, or schedule its next poll."""
        if not isinstance(error, RunGone):
            watched.gone_since = None
        if isinstance(error, RunGone):
            self._health.failed(Request.POLL, error)
            await self._gone(watched)
        elif isinstance(error, PlatformError):
            self._health.failed(Request.POLL, error)
            await self._failed(watched, error)
        elif isinstance(error, Isolated):
            await self._close(watched, RunState.LOST, "isolamento", None)
        elif isinstance(error, Withdrawn):
            # If another process has taken the run over, the next heartbeat ends it here.
            self._watched.poll_at(watched, self._clock.monotonic() + _WITHDRAWN_S)
        else:
            self._put_aside(watched, error)

    def _put_aside(self, watched: WatchedRun, error: Exception) -> None:
        """Log a defect of the worker or of the platform's answer, and poll again after a growing delay."""
        watched.defects += 1
        metrics.defects.labels("run").inc()
        logs.failure(
            "defeito ao acompanhar uma execução: fica para depois",
            error,
            run_id=watched.run_id,
            conversation_id=watched.run.conversation_id,
        )
        delay = min(_LONGEST_ASIDE_S, 2.0**watched.defects)
        self._watched.poll_at(watched, self._clock.monotonic() + delay)

    def _record_source(self, watched: WatchedRun, snapshot: RunSnapshot, *, woken: bool) -> None:
        """Record whether a poll or a wake-up found this call. The first poll proves neither."""
        if snapshot.status is RunStatus.REQUIRES_ACTION and watched.polls:
            self._pace.record_source(wake_up=woken)
        if woken:
            watched.polls = 0

    def _log_unanswerable(self, watched: WatchedRun, snapshot: RunSnapshot) -> None:
        """Log once a run that some calls cannot be answered. The run waits for them until it expires."""
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
            reason = snapshot.reason or snapshot.platform_status
            closed = await self._close(watched, RunState.ENDED, reason, snapshot.platform_status)
            if closed and self._ended is not None:
                self._ended(watched.run, snapshot.reply)
        elif snapshot.expires_in_s is None and known_s > self._traits.life_s:
            await self._close(watched, RunState.LOST, "prazo_esgotado", snapshot.platform_status)
        elif snapshot.status is RunStatus.REQUIRES_ACTION:
            await self._act(watched, snapshot)
        else:
            watched.deadline = None
            self._poll_later(watched, snapshot)

    def _poll_later(self, watched: WatchedRun, snapshot: RunSnapshot) -> None:
        watched.polls += 1
        watched.failures, watched.refused_since = 0, None
        now = self._clock.monotonic()
        self._watched.poll_at(watched, self._pace.next_poll(watched.polled_at, now, snapshot.poll_after_s))

    # ----------------------------------------------------------------------------------- answer and submit

    async def _act(self, watched: WatchedRun, snapshot: RunSnapshot) -> None:
        """Answer every call of a run and submit the answers: all at once, or one by one."""
        if watched.run.rounds >= self._limits.max_rounds:
            await self._close(watched, RunState.LOST, "rodadas_demais", snapshot.platform_status)
            return
        watched.deadline = watched.deadline or self._deadline(snapshot)
        batches = self._batches(watched, snapshot)
        results = await asyncio.gather(*(self._answer(watched, snapshot, batch) for batch in batches))
        errors = [error for error in results if error is not None]
        if errors:
            await self._failed(watched, errors[0])
            return
        if batches:
            watched.count_round()
        self._poll_later(watched, snapshot)

    def _batches(self, watched: WatchedRun, snapshot: RunSnapshot) -> list[list[ToolCall]]:
        """The calls to answer now, by the submit they go into."""
        calls = [call for call in snapshot.calls if not self._just_accepted(watched, call)]
        watched.excess = frozenset(call.identity for call in snapshot.calls[MAX_CALLS:])
        if watched.excess:
            logs.event(
                "! chamadas demais numa rodada: as que excedem são respondidas com erro_interno | "
                "count={count} run_id={run_id} conversationId={conversation_id}",
                level="WARNING",
                count=len(watched.excess),
                run_id=watched.run_id,
                conversation_id=watched.run.conversation_id,
            )
        if not self._traits.one_by_one:
            return [calls] if calls else []
        excess = [call for call in calls if call.identity in watched.excess]
        return [[call] for call in calls if call.identity not in watched.excess] + (
            [excess] if excess else []
        )

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
        run = _with_thread(watched.run, snapshot)
        answered = await asyncio.gather(*(self._answered(watched, run, call) for call in calls))
        if not self._lease.holds():
            raise Withdrawn("the lease has lapsed")
        records = [record for record, _ in answered if record is not None]
        for call, (record, _) in zip(calls, answered, strict=True):
            watched.submitted[call.identity] = SubmittedAnswer(record.call_id if record else None)
        answers = [answer for _, answer in answered]
        try:
            await self._submit(watched, snapshot, answers, [record.call_id for record in records])
        except PlatformError as error:
            self._health.failed(Request.SUBMIT, error)
            return error
        self._health.answered(Request.SUBMIT)
        for call in calls:
            watched.submitted[call.identity].accepted_at = self._clock.monotonic()
        return None

    async def _answered(
        self, watched: WatchedRun, run: Run, call: ToolCall
    ) -> tuple[CallRecord | None, Answer]:
        """A call's record and answer. A call in excess of the round's limit has no record."""
        if call.identity in watched.excess:
            return None, _answer(call, _TOO_MANY, success=False)
        limits = Limits(watched.deadline or 0.0, self._limits.call_deadline_s)
        record = await self._dispatcher.answer(run, call, limits)
        if record.answer is None:
            raise RuntimeError("an answered call has no answer")
        return record, _answer(call, record.answer, success=record.answered_success)

    async def _submit(
        self, watched: WatchedRun, snapshot: RunSnapshot, answers: Sequence[Answer], call_ids: Sequence[str]
    ) -> None:
        """Submit answers. Where a submit creates a new run, record it before and watch the new run after."""
        run = watched.run
        again = self._traits.new_run_per_round and await self._runs.begin_submit(run)
        ref = await self._platform.submit(run.ref, answers, again=again)
        if ref is None:
            await self._runs.submitted(run, call_ids, snapshot.platform_status)
            watched.recorded_status = snapshot.platform_status
            return
        new = await self._runs.continued(
            run, call_ids, snapshot.platform_status, ref, owner=self._lease.owner
        )
        self._watched.end(watched.run_id)
        if new is not None:
            self._watched.begin(new)

    async def _confirm_submitted(self, watched: WatchedRun, snapshot: RunSnapshot) -> None:
        """A submit without a clear response was accepted if the run no longer asks for those calls."""
        pending = {call.identity for call in snapshot.calls}
        gone = [watched.submitted.pop(each) for each in list(watched.submitted) if each not in pending]
        unsure = [answer.call_id for answer in gone if answer.accepted_at is None and answer.call_id]
        if unsure and snapshot.status is not RunStatus.LOST:
            await self._runs.submitted(watched.run, unsure, snapshot.platform_status)
            watched.recorded_status = snapshot.platform_status
            watched.count_round()

    # ------------------------------------------------------------------------------------ ends and failures

    async def _close(self, watched: WatchedRun, state: RunState, reason: str, status: str | None) -> bool:
        """Close a run; whether it is closed.

        If a wake-up came after this poll began, the run stays open and is claimed again.
        """
        self._watched.end(watched.run_id)
        closed = await self._runs.close(
            replace(watched.run, wake_count=watched.wakes_seen), state, reason, status
        )
        if closed:
            metrics.runs_closed.labels(state, reason).inc()
            logs.event(
                "● execução encerrada | state={state} reason={reason} conversationId={conversation_id}",
                level="INFO" if state is RunState.ENDED else "WARNING",
                state=state,
                reason=reason,
                conversation_id=watched.run.conversation_id,
                run_id=watched.run_id,
            )
        return closed

    async def _gone(self, watched: WatchedRun) -> None:
        """Close a run as lost after 30 s of 404s. A proxy or a lagging replica may answer 404 once."""
        now = self._clock.monotonic()
        watched.gone_since = watched.gone_since or now
        if min(self._watched.known_s(watched), now - watched.gone_since) < GONE_S:
            watched.failures += 1
            self._poll_after_failure(watched)
        else:
            await self._close(watched, RunState.LOST, "nao_encontrada", None)

    async def _failed(self, watched: WatchedRun, error: PlatformError) -> None:
        """Poll again later, with a growing delay."""
        now = self._clock.monotonic()
        watched.failures += 1
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


_TOO_MANY = Personal.json(InternalError().answer())


def _answer(call: ToolCall, output: Personal, *, success: bool) -> Answer:
    return Answer(
        platform_call_id=call.platform_call_id,
        output=output,
        success=success,
        turn_id=call.turn_id,
        content=call.content,
    )
