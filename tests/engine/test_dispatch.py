"""The dispatcher by itself on a real store: one worker, once, and what is known is recorded."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.fakes import FakeTool, call, opens_at_once, until
from tests.store.harness import AMBIGUOUS, LATE, PROTOCOLO, UNKNOWN, OpenRig, Rig
from worker.engine import dispatch
from worker.engine.dispatch import Dispatcher, Limits
from worker.engine.lease import Lease
from worker.errors import StoreError, Withdrawn
from worker.model import CallRecord, CallState, Outcome, Run, ToolKind
from worker.personal import Personal
from worker.ports import Attempts
from worker.times import SystemClock

SAME = {"text": "o mesmo"}
FAR = Limits(deadline=float("inf"), longest_s=1000.0)
NOW = Limits(deadline=float("-inf"), longest_s=1000.0)

Perform = Callable[[CallRecord, Attempts], Awaitable[Outcome]]


class Bench:
    """A dispatcher, its tools and a claimed run."""

    def __init__(self, rig: Rig, dispatcher: Dispatcher, lease: Lease, tool: FakeTool, run: Run) -> None:
        self.rig = rig
        self.dispatcher = dispatcher
        self.lease = lease
        self.tool = tool
        self.run = run

    async def answer(self, number: int = 1, limits: Limits = FAR, **changes: Any) -> CallRecord:
        return await self.dispatcher.answer(self.run, call(number, **changes), limits)


@contextlib.asynccontextmanager
async def _benched(rig: Rig, *others: FakeTool) -> AsyncIterator[Bench]:
    lease, tool = Lease(), FakeTool()
    dispatcher = Dispatcher([tool, *others], rig.store.calls, lease, send_window_s=30.0, clock=SystemClock())
    run = await rig.run()
    async with asyncio.TaskGroup() as tasks:
        dispatcher.start(tasks)
        yield Bench(rig, dispatcher, lease, tool, run)
        for work in dispatcher.working:
            work.cancel()


@pytest.fixture
async def bench(rig: Rig) -> AsyncIterator[Bench]:
    async with _benched(rig) as made:
        yield made


def _performs(bench: Bench, perform: Perform) -> None:
    bench.tool.performance = perform


def _until_told(may_end: asyncio.Event, outcome: Outcome | None = None) -> Perform:
    async def perform(record: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        await may_end.wait()
        return outcome or Outcome(CallState.DONE, protocolo=PROTOCOLO)

    return perform


# ------------------------------------------------------------------------------------------ one worker, once


async def test_a_call_that_another_process_works_on_is_left_to_it_until_the_deadline(bench: Bench) -> None:
    await bench.rig.admit(bench.run, decision=bench.tool.plan(call(1).arguments, None))
    answered = await bench.answer(limits=NOW)
    assert (answered.answered, answered.owner) == (True, None)
    assert bench.tool.performed == []


async def test_a_call_that_another_process_works_on_is_waited_for_no_longer_than_its_deadline(
    bench: Bench,
) -> None:
    await bench.rig.admit(bench.run, decision=bench.tool.plan(call(1).arguments, None))
    soon = Limits(deadline=SystemClock().monotonic() + 0.1, longest_s=1000.0)
    async with asyncio.timeout(10):
        assert (await bench.answer(limits=soon)).error == "crm_indisponivel"


async def test_a_call_that_is_asked_for_twice_at_once_is_performed_once(bench: Bench) -> None:
    may_end = asyncio.Event()
    _performs(bench, _until_told(may_end))
    asking = [asyncio.create_task(bench.answer()) for _ in range(2)]
    await until(lambda: bool(bench.tool.performed))
    await asyncio.sleep(0.05)
    may_end.set()
    first, second = await asyncio.gather(*asking)
    assert first.answer == second.answer
    assert len(bench.tool.performed) == 1


async def test_work_that_lost_its_call_records_no_failure(bench: Bench) -> None:
    async def perform(record: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        await bench.rig.change("calls", {"owner": "other"})
        return Outcome(CallState.FAILED, "crm_indisponivel", certain=False)

    _performs(bench, perform)
    soon = Limits(deadline=SystemClock().monotonic() + 0.5, longest_s=1000.0)
    with contextlib.suppress(Exception):
        await bench.answer(limits=soon)
    assert (await bench.rig.row("calls")).state == CallState.RUNNING


async def test_a_function_of_the_bot_whose_attempt_meets_a_defect_has_failed_and_opens_no_ticket(
    bench: Bench,
) -> None:
    async def perform(record: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        raise TypeError

    bench.tool.kind = ToolKind.OTHER
    _performs(bench, perform)
    answered = await bench.answer(limits=FAR)
    assert answered.answer is not None
    assert json.loads(answered.answer.reveal())["error"] == answered.error == "ferramenta_falhou"


async def test_without_the_lease_no_attempt_is_recorded(bench: Bench) -> None:
    withdrawn: list[bool] = []

    async def perform(record: CallRecord, attempts: Attempts) -> Outcome:
        bench.lease.renewed(float("-inf"))
        try:
            await attempts.begin()
        except Withdrawn:
            withdrawn.append(True)
            raise
        return Outcome(CallState.DONE, protocolo=PROTOCOLO)

    _performs(bench, perform)
    with pytest.raises(Withdrawn):
        await bench.answer()
    assert (withdrawn, (await bench.rig.row("calls")).attempts) == ([True], 0)


async def test_after_a_retry_the_attempts_are_counted_from_there(bench: Bench) -> None:
    used: list[int] = []

    async def perform(record: CallRecord, attempts: Attempts) -> Outcome:
        used.append(attempts.used)
        await attempts.begin()
        await attempts.end(certain=True, detail="connect")
        return Outcome(CallState.FAILED, "crm_indisponivel")

    _performs(bench, perform)
    failed = await bench.answer()
    await bench.rig.store.operators.retry(failed.call_id)
    await bench.dispatcher.reconcile()
    await asyncio.gather(*bench.dispatcher.working)
    assert (used, (await bench.rig.row("calls")).attempts) == ([0, 0], 2)


async def test_the_leases_of_calls_under_way_are_renewed(bench: Bench) -> None:
    may_end = asyncio.Event()
    _performs(bench, _until_told(may_end))
    asking = asyncio.create_task(bench.answer())
    await until(lambda: bool(bench.tool.performed))
    await bench.rig.ago(1.0, "calls", "lease_until")
    await bench.dispatcher.keep_leases()
    assert (await bench.rig.row("calls")).lease_until > await bench.rig.time() + 5.0
    may_end.set()
    await asking


# --------------------------------------------------------------------------------------------- the reconciler


async def _stranded(bench: Bench, count: int) -> None:
    for number in range(count):
        intent = bench.tool.plan(Personal(f'{{"n": {number}}}'), None)
        record = await bench.rig.admit(bench.run, number, intent)
        await bench.rig.attempted(record)
        await bench.rig.died(record)
    await bench.rig.lost(bench.run)


async def test_no_more_calls_without_an_owner_are_taken_up_than_may_be(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "MAX_RECONCILED", 3)
    may_end = asyncio.Event()
    _performs(bench, _until_told(may_end))
    await _stranded(bench, 5)
    await bench.dispatcher.reconcile()
    await bench.dispatcher.reconcile()
    assert len(bench.dispatcher.working) == 3
    may_end.set()
    await until(lambda: not bench.dispatcher.working)
    await bench.dispatcher.reconcile()
    assert len(bench.dispatcher.working) == 2


async def test_calls_of_runs_do_not_keep_those_without_an_owner_from_being_taken_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "MAX_RECONCILED", 1)
    async with _benched(rig) as bench:
        may_end = asyncio.Event()
        _performs(bench, _until_told(may_end))
        asking = [asyncio.create_task(bench.answer(number)) for number in (1, 2)]
        await until(lambda: len(bench.tool.performed) == 2)
        other = await rig.admit(await rig.run("run_2"), 9, bench.tool.plan(Personal('{"n": 9}'), None))
        await rig.attempted(other)
        await rig.died(other)
        await bench.dispatcher.reconcile()
        assert len(bench.dispatcher.working) == 3
        may_end.set()
        await asyncio.gather(*asking)
        await until(lambda: not bench.dispatcher.working)


async def test_a_stopping_dispatcher_takes_nothing_up(bench: Bench) -> None:
    await _stranded(bench, 1)
    bench.dispatcher.stop()
    await bench.dispatcher.reconcile()
    assert (await bench.rig.row("calls")).owner == "me"


class InquiredTool(FakeTool):
    """A tool whose tickets can be looked up."""

    def __init__(self, found: Outcome | Exception | None) -> None:
        super().__init__(opens_at_once)
        self.name = "asked"
        self.found = found
        self.rechecked = 0

    async def recheck(self, record: CallRecord, attempts: Attempts) -> Outcome | None:
        self.rechecked += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@contextlib.asynccontextmanager
async def _in_doubt(open_rig: OpenRig, tool: InquiredTool) -> AsyncIterator[Bench]:
    """A call whose outcome is unknown, due to be looked up."""
    rig = await open_rig(owner=True, CRM_LOOKUP_URL="http://127.0.0.1:9/lookup")
    await rig.conversation()
    async with _benched(rig, tool) as bench:
        asked = call(1, tool="asked")
        record = await rig.decided(bench.run, asked, lambda c: tool.plan(asked.arguments, c))
        await rig.settled(await rig.attempted(record), UNKNOWN, LATE)
        await rig.ago(1.0, "calls", "due")
        yield bench


async def test_a_ticket_in_doubt_is_looked_up_and_not_performed_again(open_rig: OpenRig) -> None:
    tool = InquiredTool(Outcome(CallState.FAILED, "crm_indisponivel", certain=False))
    async with _in_doubt(open_rig, tool) as bench:
        await bench.dispatcher.reconcile()
        await until(lambda: not bench.dispatcher.working)
        assert (tool.rechecked, tool.performed) == (1, [])
        assert (await bench.rig.row("calls")).state == CallState.FAILED


@pytest.mark.parametrize("found", [None, ZeroDivisionError()])
async def test_what_a_lookup_does_not_know_is_asked_again_later(
    open_rig: OpenRig, found: Exception | None
) -> None:
    async with _in_doubt(open_rig, InquiredTool(found)) as bench:
        await bench.dispatcher.reconcile()
        await until(lambda: not bench.dispatcher.working)
        row = await bench.rig.row("calls")
        assert (row.state, row.checks, row.owner) == (CallState.UNKNOWN, 1, None)
        assert row.due > await bench.rig.time() + 60


async def test_a_database_that_fails_during_a_lookup_is_no_defect_of_the_tool(open_rig: OpenRig) -> None:
    async def look_up() -> None:
        async with _in_doubt(open_rig, InquiredTool(StoreError("cannot record"))) as bench:
            await bench.dispatcher.reconcile()
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as died:
        await look_up()
    assert died.group_contains(StoreError)


# -------------------------------------------------------------------------------------------- names and plans


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("consultar", "consultar"),
        ("functions.consultar", "consultar"),
        ("default_api.consultar", "consultar"),
        ("multi_tool_use.parallel", "-"),
        ("functions.functions.x", "-"),
        ("consultar saldo", "-"),
        ("*", "-"),
    ],
)
async def test_a_name_of_the_bots_is_forwarded_and_the_models_own_text_is_not(
    rig: Rig, name: str, kept: str
) -> None:
    forward = FakeTool()
    forward.name = "*"
    async with _benched(rig, forward) as bench:
        record = await bench.answer(tool=name)
    assert record.tool == kept
    assert len(forward.performed) == (kept != "-")
    assert record.error == (None if kept != "-" else "ferramenta_desconhecida")


async def test_a_defect_while_judging_a_call_is_a_failure_that_the_model_cannot_mend(bench: Bench) -> None:
    def plan(arguments: Personal, conversation: object) -> Any:
        raise KeyError("what nobody expected")

    bench.tool.plan = plan  # type: ignore[method-assign]
    record = await bench.answer()
    assert (record.state, record.error) == (CallState.FAILED, "erro_interno")


# ------------------------------------------------------------------------------------------------- outcomes


async def test_a_defect_after_an_attempt_began_leaves_the_outcome_unknown(bench: Bench) -> None:
    async def perform(record: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        raise ZeroDivisionError

    _performs(bench, perform)
    record = await bench.answer()
    assert (record.state, record.error, record.maybe_sent) == (CallState.UNKNOWN, "em_confirmacao", True)
    assert (await bench.rig.row("attempts")).certain is False


async def test_a_defect_before_anything_is_sent_of_what_may_have_been_sent_is_unknown(bench: Bench) -> None:
    async def perform(record: CallRecord, attempts: Attempts) -> Outcome:
        raise ZeroDivisionError

    _performs(bench, perform)
    sent = await bench.rig.admit(bench.run, decision=bench.tool.plan(call(1).arguments, None))
    await bench.rig.attempted(sent)
    await bench.rig.died(sent)
    assert (await bench.answer()).state is CallState.UNKNOWN


async def test_a_defect_before_anything_was_sent_is_a_failure(bench: Bench) -> None:
    async def perform(record: CallRecord, attempts: Attempts) -> Outcome:
        raise ZeroDivisionError

    _performs(bench, perform)
    assert (await bench.answer()).state is CallState.FAILED


async def test_an_equal_call_gets_the_output_of_the_first_one(bench: Bench) -> None:
    may_end = asyncio.Event()
    outcome = Outcome(CallState.DONE, certain=False, output=Personal("saldo: 42"))
    _performs(bench, _until_told(may_end, outcome))
    asking = [asyncio.create_task(bench.answer(number, arguments=SAME)) for number in (1, 2)]
    await until(lambda: bool(bench.tool.performed))
    may_end.set()
    first, second = await asyncio.gather(*asking)
    assert first.answer == second.answer == Personal("saldo: 42")
    assert len(bench.tool.performed) == 1


async def test_an_equal_call_of_one_that_was_answered_before_its_outcome_gets_the_outcome(
    bench: Bench,
) -> None:
    may_end = asyncio.Event()
    _performs(bench, _until_told(may_end))
    soon = Limits(deadline=SystemClock().monotonic() + 0.2, longest_s=1000.0)
    assert (await bench.answer(1, limits=soon, arguments=SAME)).answered_success is False
    asking = asyncio.create_task(bench.answer(2, arguments=SAME))
    may_end.set()
    second = await asking
    assert second.answered_success is True
    assert second.answer == Personal.json({"success": True, "protocolo": PROTOCOLO})


async def test_an_equal_call_of_one_that_failed_gets_the_error_and_no_output(bench: Bench) -> None:
    may_end = asyncio.Event()
    _performs(bench, _until_told(may_end, AMBIGUOUS))
    asking = [asyncio.create_task(bench.answer(number, arguments=SAME)) for number in (1, 2)]
    await until(lambda: bool(bench.tool.performed))
    may_end.set()
    first, second = await asyncio.gather(*asking)
    assert [each.error for each in (first, second)] == 2 * ["crm_indisponivel"]
    assert [each.answered_success for each in (first, second)] == [False, False]


async def test_an_outcome_is_recorded_though_its_work_is_cancelled_and_flush_waits_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = bench.rig.store.calls.settle
    writing, may_write = asyncio.Event(), asyncio.Event()

    async def slow(*args: Any, **kwargs: Any) -> CallRecord:
        writing.set()
        await may_write.wait()
        return await settle(*args, **kwargs)

    monkeypatch.setattr(bench.rig.store.calls, "settle", slow)
    asking = asyncio.create_task(bench.answer())
    await writing.wait()
    for work in bench.dispatcher.working:
        work.cancel()
    flushing = asyncio.create_task(bench.dispatcher.flush())
    await asyncio.sleep(0.01)
    assert not flushing.done()
    may_write.set()
    await flushing
    assert (await bench.rig.row("calls")).protocolo == PROTOCOLO
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking


async def test_flush_does_not_raise_the_error_of_a_withdrawn_write(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, may_write = asyncio.Event(), asyncio.Event()

    async def withdrawn(*args: Any, **kwargs: Any) -> CallRecord:
        writing.set()
        await may_write.wait()
        raise dispatch.Withdrawn("another owner")

    monkeypatch.setattr(bench.rig.store.calls, "settle", withdrawn)
    asking = asyncio.create_task(bench.answer())
    await writing.wait()
    flushing = asyncio.create_task(bench.dispatcher.flush())
    await asyncio.sleep(0.01)
    may_write.set()
    await flushing
    with pytest.raises(dispatch.Withdrawn):
        await asking
