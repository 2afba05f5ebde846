"""Answers one call: the ledger decides what to do, the tool does it, and the model always gets an answer.

Only this module turns errors into answers. Only this module and the reconciler send.
"""

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from worker import logs, metrics
from worker.engine.attempts import CallAttempts, Sending
from worker.engine.instrumentation import Instrumentation
from worker.engine.lease import Lease
from worker.errors import (
    OUTCOME_ERRORS,
    BeingConfirmed,
    CrmUnavailable,
    Erased,
    InternalError,
    RunEnded,
    StoreError,
    ToolError,
    ToolFailed,
    UnknownConversation,
    UnknownTool,
    Withdrawn,
    WrappedTool,
)
from worker.model import (
    CallRecord,
    CallState,
    Conversation,
    Intent,
    Outcome,
    Rejection,
    Run,
    ToolCall,
    ToolKind,
)
from worker.personal import Personal
from worker.ports import Clock, Ledger, Tool
from worker.privacy import readable

_FOLLOW_S = 0.25
"""Seconds between two looks at the equal call that a call waits for."""

MAX_RECONCILED = 64
"""At most this many calls that lost their process or run are worked on at a time."""

_NO_TOOL = "-"
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PREFIX = re.compile(r"\A(?:functions|default_api)\.")
"""Prefixes of models, which the bot's own functions may get too: their names are not known here."""
_PLAIN_NAME = re.compile(r"(?!.*[0-9]{2})[A-Za-z_][A-Za-z0-9_]{0,63}")
"""A function's name that may be shown. Digits in a row could be a customer's number."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a call must be answered."""

    #: Monotonic seconds: the run waits no longer.
    deadline: float
    #: Seconds since the ledger received the call, whichever process did.
    longest_s: float


_WorkResult = CallRecord | Exception | None
"""The result of the work on a call: its record, a defect, or None if this process may not go on."""


class Dispatcher:
    """Answers calls from the ledger. The work runs in tasks of the process; a deadline ends only the wait.

    `send_window_s`: how long after an attempt began its effect may still appear at the CRM (contract §4).
    `share`: calls of one conversation that are performed at a time.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        ledger: Ledger,
        lease: Lease,
        *,
        send_window_s: float,
        clock: Clock,
        share: int = 8,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._other = self._tools.pop("*", None)
        self._ledger = ledger
        self._lease = lease
        self._clock = clock
        self._instrumentation = Instrumentation(self._tools.keys() - {"*"})
        self._sending = Sending(ledger, lease, clock, send_window_s, self._instrumentation)
        self._share = share
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._work: dict[str, asyncio.Task[_WorkResult]] = {}
        #: Of the work under way, the calls that were claimed without a run.
        self._reconciled: set[str] = set()
        self._writes: set[asyncio.Task[CallRecord]] = set()
        self._tasks: asyncio.TaskGroup | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Run the work in this group. A failure to record ends the group, and the daemon with it."""
        self._tasks = tasks

    def stop(self) -> None:
        """Begin no further attempt. Attempts in flight go on."""
        self._sending.stopping = True

    @property
    def working(self) -> frozenset[asyncio.Task[_WorkResult]]:
        """The work under way, including that of calls whose deadline has passed."""
        return frozenset(self._work.values())

    async def flush(self) -> None:
        """Wait for outcomes that are being recorded, even if their work was cancelled."""
        for write in list(self._writes):
            with contextlib.suppress(Withdrawn):
                await write

    async def answer(self, run: Run, call: ToolCall, limits: Limits) -> CallRecord:
        """The ledger's record of this call, its answer set within these limits.

        Raises `Withdrawn` when this process may not go on (the next owner does), `Isolated`, `StoreError`.
        """
        record, left_s = await self._admit(run, call, limits)
        if record.answered or not record.state.open:
            self._instrumentation.replayed(record)
            return await self._with_answer(record)
        if record.owner != self._lease.owner:
            return await self._answer_at_deadline(record)
        work = self._begin(record)
        await asyncio.wait({work}, timeout=max(0.0, left_s))
        if not work.done():
            return await self._answer_at_deadline(record)
        settled = work.result()
        if isinstance(settled, Exception):
            raise settled
        return await self._with_answer(settled or await self._reread(record))

    async def reconcile(self) -> None:
        """Go on with calls that lost their process or run, and with those that an operator retries."""
        self._reconciled &= self._work.keys()
        free = MAX_RECONCILED - len(self._reconciled)
        if free > 0 and not self._sending.stopping:
            for record in await self._ledger.claim(self._lease.owner, free):
                self._reconciled.add(record.call_id)
                self._begin(record)

    async def keep_leases(self) -> None:
        """Renew the leases of the calls that this process works on."""
        await self._ledger.renew(self._lease.owner, list(self._work))

    async def release(self) -> None:
        """Release the leases of unfinished calls."""
        await self._ledger.release(self._lease.owner)

    async def _admit(self, run: Run, call: ToolCall, limits: Limits) -> tuple[CallRecord, float]:
        """The call once it is answered or held by this process, and the seconds left until its deadline.

        At the deadline another process may still hold it.
        """
        call = self._with_tool_name(call)
        tool = self._tool_named(call.tool)
        while True:
            record = await self._ledger.admit(
                run,
                call,
                lambda conversation: self._decide(run, call, conversation),
                kind=ToolKind.OTHER if tool is None else tool.kind,
                owner=self._lease.owner,
            )
            left_s = min(limits.deadline - self._clock.monotonic(), limits.longest_s - record.age_s)
            if record.answered or record.owner == self._lease.owner or left_s <= 0:
                return record, left_s
            await self._sending.pause(_FOLLOW_S)

    async def _answer_at_deadline(self, record: CallRecord) -> CallRecord:
        record = await self._ledger.answer_at_deadline(
            record.call_id, sent=_error_answer(BeingConfirmed()), unsent=_error_answer(CrmUnavailable())
        )
        code = BeingConfirmed.code if record.state.open else record.error
        self._instrumentation.refused(record, code)
        return await self._with_answer(record)

    async def _reread(self, record: CallRecord) -> CallRecord:
        """The record after the work was withdrawn. Raises `Withdrawn` if the call is still undecided."""
        record = await self._ledger.get(record.call_id)
        if record.state.open and not record.answered:
            raise Withdrawn("left to the next owner")
        return record

    async def _with_answer(self, record: CallRecord) -> CallRecord:
        """A call with its answer. A call that a person decided gets its answer now, if it has none."""
        if not record.answered:
            outcome = Outcome(record.state, record.error, record.protocolo)
            record = await self._record(record, record, outcome)
        return self._with_answer_text(record)

    def _with_answer_text(self, record: CallRecord) -> CallRecord:
        """A call with the text of its answer, rebuilt from the record if it is no longer stored."""
        if readable(record.answer) is not None:
            return record
        outcome = Outcome(record.state, record.error, record.protocolo)
        answer, success = self._answer_for(record, outcome)
        return dataclasses.replace(record, answer=answer, answered_success=success)

    # ---------------------------------------------------------------------------------------- admission

    def _with_tool_name(self, call: ToolCall) -> ToolCall:
        """The call under its tool's name. Models write prefixes such as `functions.` before it.

        A name without a tool is the model's own text. It is kept if it has the form of a function name: an
        operator sees then which one is missing.
        """
        name, own = _NO_TOOL, call.tool.rpartition(".")[2]
        unprefixed = _PREFIX.sub("", call.tool)
        if own in self._tools:
            name = own
        elif self._other is not None and _TOOL_NAME.fullmatch(unprefixed):
            name = unprefixed
        elif _PLAIN_NAME.fullmatch(call.tool):
            name = call.tool
        return call if name == call.tool else dataclasses.replace(call, tool=name, written_name=call.tool)

    def _tool_named(self, name: str) -> Tool | None:
        return None if name == _NO_TOOL else self._tools.get(name, self._other)

    def _decide(self, run: Run, call: ToolCall, conversation: Conversation | None) -> Intent | Rejection:
        """The tool's decision on a call. A defect of the tool becomes an answer and is not raised."""
        tool = self._tool_named(call.tool)
        kind = ToolKind.OTHER if tool is None else tool.kind
        self._instrumentation.received(run, call, kind, conversation)
        try:
            decision = tool.plan(call.arguments, conversation) if tool else self._reject_unknown(call)
        except Exception as error:  # noqa: BLE001  # whatever a tool does, the model gets an answer
            logs.failure(
                "defeito ao avaliar uma chamada",
                error,
                run_id=run.ref.run_id,
                platform_call_id=call.platform_call_id,
            )
            decision = Rejection.of(InternalError(), state=CallState.FAILED)
        if isinstance(decision, Rejection):
            self._instrumentation.rejected(run, call, kind, decision)
        return decision

    def _reject_unknown(self, call: ToolCall) -> Rejection:
        """The rejection of an unknown function. Some models put a call of a tool into another's arguments."""
        arguments = call.arguments.reveal()
        wrapped = [name for name in self._tools if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", arguments)]
        return Rejection.of(WrappedTool(wrapped[0]) if wrapped else UnknownTool())

    # ----------------------------------------------------------------------------------------- the work

    def _begin(self, record: CallRecord) -> asyncio.Task[_WorkResult]:
        if self._tasks is None:
            raise RuntimeError("Dispatcher.start comes first")
        if record.call_id in self._work:
            return self._work[record.call_id]
        task = self._tasks.create_task(self._contained(record))
        self._work[record.call_id] = task
        task.add_done_callback(lambda _: self._work.pop(record.call_id, None))
        return task

    async def _contained(self, record: CallRecord) -> _WorkResult:
        """Settle a call and contain its defects. Only a database that cannot record ends the daemon."""
        try:
            return await self._settle(record)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  # the other calls go on after any defect
            metrics.defects.labels("call").inc()
            logs.failure(
                "defeito ao concluir uma chamada: fica para depois",
                error,
                run_id=record.run_id,
                call_id=record.call_id,
            )
            await self._ledger.check_later(record)
            return error

    async def _settle(self, record: CallRecord) -> CallRecord | None:
        """Get a call's outcome and record it with its answer; None when this process may not go on."""
        began = self._clock.monotonic()
        try:
            source, outcome = await self._outcome(record)
            if outcome is None:
                await self._ledger.check_later(record)
                return record
            settled, outcome = await self._record_or_fallback(record, source, outcome)
        except Withdrawn:
            return None
        self._instrumentation.settled(
            settled, outcome, duration_ms=round(1000 * (self._clock.monotonic() - began))
        )
        return settled

    async def _outcome(self, record: CallRecord) -> tuple[CallRecord, Outcome | None]:
        """The call that the answer is about, and the outcome; None while the outcome is unknown."""
        if record.waits:
            return await self._follow_equal_call(record)
        if not record.state.open:
            return record, await self._recheck(record)
        if record.orphaned:
            return record, Outcome(CallState.FAILED, RunEnded.code)
        if record.body is None:
            return record, _erased_outcome(record)
        async with self._share_of(record.conversation_id):
            return record, await self._perform(record)

    def _share_of(self, conversation_id: str) -> asyncio.Semaphore:
        """Limits one customer's calls under way, so that the calls of others go on."""
        # Held by those who wait for it, and gone with the last of them.
        share = self._shares.get(conversation_id) or asyncio.Semaphore(self._share)
        self._shares[conversation_id] = share
        return share

    async def _follow_equal_call(self, record: CallRecord) -> tuple[CallRecord, Outcome | None]:
        """The outcome of the earlier equal call. If that one ended unsent, this call is sent instead."""
        while (first := await self._ledger.get(record.equal_to or "")).state.open:
            await self._sending.pause(_FOLLOW_S)
        if first.unsent and (heir := await self._ledger.inherit(record.call_id)) != record:
            return await self._outcome(heir)
        output = readable(first.answer) if first.answered_success else None
        return first, Outcome(first.state, first.error, first.protocolo, output=output)

    def _tool(self, record: CallRecord) -> Tool:
        """Raises `UnknownTool` for a tool of another version, or of other settings."""
        tool = self._tools.get(record.tool, self._other)
        if tool is None:
            raise UnknownTool
        return tool

    async def _perform(self, record: CallRecord) -> Outcome:
        attempts = CallAttempts(record, self._sending)
        try:
            return await self._tool(record).perform(record, attempts)
        except Erased:
            return _erased_outcome(record)
        except (Withdrawn, StoreError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever a tool does, the model gets an answer
            logs.failure(
                "defeito ao executar uma chamada", error, run_id=record.run_id, call_id=record.call_id
            )
            if record.maybe_sent or attempts.begun:
                return _in_doubt(record)
            return Outcome(CallState.FAILED, InternalError.code)

    async def _recheck(self, record: CallRecord) -> Outcome | None:
        try:
            return await self._tool(record).recheck(record, CallAttempts(record, self._sending))
        except (Withdrawn, StoreError):
            raise
        except Exception as error:  # noqa: BLE001  # one call's defect is no reason to leave the others
            logs.failure(
                "defeito ao consultar uma chamada", error, run_id=record.run_id, call_id=record.call_id
            )
            return None

    def _answer_for(self, record: CallRecord, outcome: Outcome) -> tuple[Personal, bool]:
        """The model's answer for an outcome, and whether it is a success."""
        if outcome.state is CallState.DONE:
            done = dataclasses.replace(record, protocolo=outcome.protocolo)
            try:
                return outcome.output or self._tool(record).success(done), True
            except UnknownTool as unknown:
                return _error_answer(unknown), False
        error = OUTCOME_ERRORS.get(outcome.error or "", InternalError)
        return _error_answer(error()), False

    async def _record_or_fallback(
        self, record: CallRecord, source: CallRecord, outcome: Outcome
    ) -> tuple[CallRecord, Outcome]:
        """Record an outcome, or its fallback; returns the call and the recorded outcome."""
        try:
            return await self._record(record, source, outcome), outcome
        except Withdrawn:
            if outcome.fallback is None:
                raise
        return await self._record(record, source, outcome.fallback), outcome.fallback

    async def _record(self, record: CallRecord, source: CallRecord, outcome: Outcome) -> CallRecord:
        """Record an outcome, even if the caller is cancelled meanwhile. Raises as `Ledger.settle` does."""
        answer, success = self._answer_for(source, outcome)
        task = asyncio.create_task(
            self._ledger.settle(
                record.call_id,
                outcome,
                answer,
                success=success,
                checked=not record.state.open,
                owner=self._lease.owner,
            )
        )
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)


def _error_answer(error: ToolError) -> Personal:
    return Personal.json(error.answer())


def _in_doubt(record: CallRecord) -> Outcome:
    """The outcome of a call that may have been sent, while nothing shows its result."""
    if record.kind is ToolKind.OTHER:
        return Outcome(CallState.FAILED, ToolFailed.code, certain=False)
    return Outcome(CallState.UNKNOWN, BeingConfirmed.code, certain=False)


def _erased_outcome(record: CallRecord) -> Outcome:
    """The outcome of a call whose body was erased. An earlier attempt may have opened the ticket."""
    if record.maybe_sent:
        return _in_doubt(record)
    return Outcome(CallState.FAILED, UnknownConversation.code)
