"""The run loop against a scripted platform and a real store: claim → inspect → answer → submit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from tests.engine.harness import LIMITS, Harness
from tests.fakes import (
    COMPLETED,
    EXPIRED,
    WORKING,
    FakePlatform,
    FakeTool,
    JumpingClock,
    asks,
    call,
    opens_at_once,
    until,
)
from tests.store.harness import Rig
from worker.engine import advance
from worker.engine.lease import boottime
from worker.engine.pacing import Pace
from worker.engine.watched_runs import WatchedRun, WatchedRuns
from worker.errors import PlatformRefused, PlatformUnavailable, RunGone, StoreError
from worker.model import Answer, CallRecord, CallState, Outcome, Run, RunRef, RunSnapshot, RunState
from worker.ports import Attempts
from worker.store.store import Store

PROTOCOLO = "2510271534789012"


@pytest.fixture
async def harness(store: Store) -> AsyncIterator[Harness]:
    made = Harness(store)
    await made.conversation()
    return made


async def test_a_run_is_watched_answered_and_ended(harness: Harness) -> None:
    harness.platform.script("run_1", WORKING, asks(call(1)), WORKING, COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    run = await harness.store.records.run("run_1")
    assert (run.state, run.reason, run.platform_status) == (RunState.ENDED, "concluida", "completed")
    assert harness.platform.outputs("run_1") == [{"success": True, "protocolo": PROTOCOLO}]
    (done,) = run.calls
    assert (done.state, done.protocolo) == (CallState.DONE, PROTOCOLO)
    assert done.submitted_at is not None


async def test_all_calls_of_a_run_go_back_in_one_submit(harness: Harness) -> None:
    harness.platform.script("run_1", asks(call(1), call(2)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    ((_, answers),) = harness.platform.submitted
    assert [answer.platform_call_id for answer in answers] == ["call_1", "call_2"]


async def test_an_unknown_tool_is_answered_and_its_name_is_not_kept(harness: Harness) -> None:
    harness.platform.script("run_1", asks(call(1, tool="consultar 52998224725")), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    (answer,) = harness.platform.outputs("run_1")
    assert answer["error"] == "ferramenta_desconhecida"
    (kept,) = (await harness.store.records.run("run_1")).calls
    assert (kept.tool, kept.state) == ("-", CallState.REJECTED)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("consultar_boleto", "consultar_boleto"),
        ("consultarBoleto2", "consultarBoleto2"),
        ("consultar_52", "-"),
        ("ver Maria", "-"),
        ("ver-maria", "-"),
        ("x" * 65, "-"),
    ],
)
async def test_the_name_of_an_unknown_function_is_kept_where_it_is_plainly_one(
    harness: Harness, capsys: pytest.CaptureFixture[str], name: str, kept: str
) -> None:
    harness.platform.script("run_1", asks(call(1, tool=name)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    assert [each.tool for each in (await harness.store.records.run("run_1")).calls] == [kept]
    assert f"Erro na função | tool={kept} code=ferramenta_desconhecida" in capsys.readouterr().err


async def test_a_call_that_repeats_an_earlier_id_with_other_arguments_is_a_new_call(harness: Harness) -> None:
    wrong, right = call(0, arguments={"motivo": "PAGAMENTO"}), call(0, arguments={"motivo": "PIX"})
    harness.platform.script("run_1", asks(wrong), asks(right), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    assert [record.body for record in harness.tool.performed] == [wrong.arguments, right.arguments]
    assert len(harness.platform.outputs("run_1")) == 2


async def test_two_calls_of_one_round_with_one_id_are_both_answered(harness: Harness) -> None:
    both = (call(0, arguments={"motivo": "PAGAMENTO"}), call(0, arguments={"motivo": "PIX"}))
    harness.platform.script("run_1", asks(*both), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    ((_, answers),) = harness.platform.submitted
    assert [answer.platform_call_id for answer in answers] == ["call_0", "call_0"]
    assert len(harness.tool.performed) == 2


@pytest.mark.parametrize("prefix", ["functions.", "default_api.", "a.b."])
async def test_a_name_with_a_prefix_that_models_write_is_that_function(harness: Harness, prefix: str) -> None:
    harness.platform.script("run_1", asks(call(1, tool=f"{prefix}echo")), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    assert harness.platform.outputs("run_1") == [{"success": True, "protocolo": PROTOCOLO}]
    (kept,) = (await harness.store.records.run("run_1")).calls
    assert kept.tool == "echo"


@pytest.mark.parametrize("name", ["functions.", "functions.echo2", "functions.echo.", "xecho", "echo\n", ""])
async def test_a_name_that_only_resembles_a_function_is_none(harness: Harness, name: str) -> None:
    harness.platform.script("run_1", asks(call(1, tool=name)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    (answer,) = harness.platform.outputs("run_1")
    assert answer["error"] == "ferramenta_desconhecida"
    assert "Não chame esta função de novo" in str(answer["instrucao"])


async def test_a_call_wrapped_into_another_function_is_to_be_made_directly(harness: Harness) -> None:
    uses = [{"recipient_name": "functions.echo", "parameters": {"text": "oi"}}]
    wrapped = call(1, tool="multi_tool_use.parallel", arguments={"tool_uses": uses})
    harness.platform.script("run_1", asks(wrapped), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    (answer,) = harness.platform.outputs("run_1")
    assert answer["error"] == "ferramenta_desconhecida"
    assert "Chame a função echo diretamente" in str(answer["instrucao"])


async def test_calls_that_cannot_be_answered_are_logged_once(
    harness: Harness, capfd: pytest.CaptureFixture[str]
) -> None:
    nameless = replace(WORKING, unanswerable=2)
    harness.platform.script("run_1", nameless, nameless, replace(asks(call(1)), unanswerable=2), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    assert len(harness.platform.outputs("run_1")) == 1
    assert capfd.readouterr().err.count("sem id utilizável") == 1


async def test_an_expired_run_is_lost_with_its_reason(harness: Harness) -> None:
    harness.platform.script("run_1", WORKING, EXPIRED)
    await harness.announce()
    await harness.worker().run_until_idle()
    run = await harness.store.records.run("run_1")
    assert (run.state, run.reason) == (RunState.LOST, "expirada")


async def test_a_submit_that_was_taken_but_not_confirmed_is_not_repeated(harness: Harness) -> None:
    harness.platform.script("run_1", asks(call(1)), WORKING, COMPLETED)
    harness.platform.submit_faults.append((PlatformUnavailable(), True))
    await harness.announce()
    await harness.worker().run_until_idle()
    assert len(harness.platform.submitted) == 1
    (done,) = (await harness.store.records.run("run_1")).calls
    assert done.submitted_at is not None


@pytest.mark.parametrize("fault", [PlatformUnavailable(500), RunGone(404), PlatformRefused(400)])
async def test_a_submit_that_was_not_taken_is_sent_again_with_the_same_bytes(
    harness: Harness, fault: Exception
) -> None:
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    harness.platform.submit_faults.append((fault, False))
    await harness.announce()
    await harness.worker().run_until_idle()
    assert harness.platform.outputs("run_1") == [{"success": True, "protocolo": PROTOCOLO}]
    assert len(harness.tool.performed) == 1


async def test_a_platform_that_does_not_answer_is_asked_again(harness: Harness) -> None:
    harness.platform.script("run_1", PlatformUnavailable(500), PlatformRefused(401), asks(call(1)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    assert (await harness.store.records.run("run_1")).state is RunState.ENDED


async def test_a_run_just_announced_may_be_unknown_to_the_platform_for_a_while(harness: Harness) -> None:
    harness.platform.script("run_1", RunGone(404), RunGone(404), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    assert (await harness.store.records.run("run_1")).state is RunState.ENDED


async def test_a_run_long_known_that_the_platform_does_not_know_is_lost(harness: Harness) -> None:
    harness.platform.script("run_1", RunGone(404))
    clock = _jumping(harness, 31.0, at_look=3)
    await harness.announce()
    await Rig(harness.store).ago(31.0, "runs", "registered_at")
    await harness.worker().run_until_idle()
    run = await harness.store.records.run("run_1")
    assert (run.state, run.reason) == (RunState.LOST, "nao_encontrada")
    assert (clock.ahead_s, len(harness.platform.looks) >= 3) == (31.0, True)


@pytest.mark.parametrize("between", [WORKING, PlatformUnavailable(404), PlatformUnavailable(503)])
async def test_a_run_is_lost_only_after_half_a_minute_of_nothing_but_404(
    harness: Harness, between: RunSnapshot | Exception
) -> None:
    harness.platform.script(
        "run_1", WORKING, RunGone(404), between, RunGone(404), RunGone(404), asks(call(1)), COMPLETED
    )
    _jumping(harness, 31.0, at_look=3)
    await harness.announce()
    await Rig(harness.store).ago(300.0, "runs", "registered_at")
    await harness.worker().run_until_idle()
    assert (await harness.store.records.run("run_1")).state is RunState.ENDED


def _jumping(harness: Harness, seconds: float, *, at_look: int) -> JumpingClock:
    """The harness's clock, which jumps while the platform answers this look."""
    harness.clock = clock = JumpingClock()

    def jump(_: str) -> None:
        if len(harness.platform.looks) == at_look:
            clock.ahead_s += seconds

    harness.platform.before_answer = jump
    return clock


async def test_rounds_beyond_the_limit_lose_the_run_unanswered(harness: Harness) -> None:
    harness.platform.script("run_1", asks(call(1)), asks(call(2)), asks(call(3)), COMPLETED)
    await harness.announce()
    await harness.worker(limits=replace(LIMITS, max_rounds=2)).run_until_idle()
    run = await harness.store.records.run("run_1")
    assert (run.state, run.reason) == (RunState.LOST, "rodadas_demais")
    assert len(harness.platform.submitted) == 2


async def test_a_conversation_moved_to_another_thread_is_not_answered_on_the_old_one(
    harness: Harness,
) -> None:
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    await harness.conversation(thread_id="thread_other")
    await harness.worker().run_until_idle()
    run = await harness.store.records.run("run_1")
    assert (run.state, run.reason) == (RunState.LOST, "isolamento")
    assert harness.platform.submitted == []


# ----------------------------------------------------------------------------------- once, whatever happens


async def test_a_call_seen_again_after_a_restart_is_replayed_not_repeated(harness: Harness) -> None:
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    harness.platform.submit_faults.append((PlatformUnavailable(), False))
    await harness.announce()
    first = harness.worker()
    serving = asyncio.create_task(first.run())
    await until(lambda: not harness.platform.submit_faults)
    first.stop()
    await serving
    await harness.worker().run_until_idle()
    assert len(harness.tool.performed) == 1
    assert harness.platform.outputs("run_1") == [{"success": True, "protocolo": PROTOCOLO}]


async def test_an_answer_repeated_for_a_tool_that_no_longer_exists_ends_no_other_run(
    harness: Harness,
) -> None:
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    harness.platform.submit_faults.append((StoreError("the process dies"), False))
    await harness.announce()
    with pytest.raises(ExceptionGroup):
        await harness.worker().run()
    await Rig(harness.store).change("calls", {"answer": None})
    other = FakeTool()
    other.name = "other"
    await harness.worker(tools=[other]).run_until_idle()
    (answer,) = harness.platform.outputs("run_1")
    assert answer["error"] == "ferramenta_desconhecida"
    ((_, (answer,)),) = harness.platform.submitted
    assert answer.success is False


async def test_equal_calls_side_by_side_open_one_ticket_and_both_get_its_protocolo(harness: Harness) -> None:
    same = {"text": "o mesmo"}
    harness.platform.script("run_1", asks(call(1, arguments=same), call(2, arguments=same)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    assert len(harness.tool.performed) == 1
    assert harness.platform.outputs("run_1") == 2 * [{"success": True, "protocolo": PROTOCOLO}]


async def test_a_failed_call_tried_again_keeps_key_and_bytes(harness: Harness) -> None:
    async def fails(call: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        await attempts.end(certain=True, detail="http_503")
        return Outcome(CallState.FAILED, "crm_indisponivel")

    same = {"text": "o mesmo"}
    harness.tool.performance = fails
    harness.platform.script("run_1", asks(call(1, arguments=same)), asks(call(2, arguments=same)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    first, second = harness.tool.performed
    assert (first.idempotency_key, first.body) == (second.idempotency_key, second.body)
    assert [answer["error"] for answer in harness.platform.outputs("run_1")] == 2 * ["crm_indisponivel"]


async def test_a_defect_of_a_tool_is_answered_not_raised(harness: Harness) -> None:
    async def breaks(call: CallRecord, attempts: Attempts) -> Outcome:
        raise ZeroDivisionError

    harness.tool.performance = breaks
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    (answer,) = harness.platform.outputs("run_1")
    assert answer["error"] == "erro_interno"


async def test_a_defect_after_something_was_sent_is_never_called_a_failure(harness: Harness) -> None:
    async def breaks(call: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        raise ZeroDivisionError

    harness.tool.performance = breaks
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    (answer,) = harness.platform.outputs("run_1")
    assert answer["error"] == "em_confirmacao"
    (kept,) = (await harness.store.records.run("run_1")).calls
    assert kept.state is CallState.UNKNOWN


# ----------------------------------------------------------------------------------------------- deadlines


async def test_at_the_deadline_a_sent_call_is_in_confirmation_and_its_protocolo_is_still_recorded(
    harness: Harness,
) -> None:
    answered = asyncio.Event()

    async def slow(call: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        await answered.wait()
        return Outcome(CallState.DONE, protocolo=PROTOCOLO)

    harness.tool.performance = slow
    harness.platform.script("run_1", asks(call(1), expires_in_s=31.0), COMPLETED)
    await harness.announce()
    serving = asyncio.create_task(harness.worker().run_until_idle())
    await until(lambda: bool(harness.platform.submitted))
    assert harness.platform.outputs("run_1")[0]["error"] == "em_confirmacao"
    answered.set()
    await serving
    (kept,) = (await harness.store.records.run("run_1")).calls
    assert (kept.state, kept.protocolo) == (CallState.DONE, PROTOCOLO)


async def test_at_the_deadline_an_unsent_call_fails_and_is_not_sent_afterwards(harness: Harness) -> None:
    released = asyncio.Event()
    begun: list[bool] = []

    async def queued(call: CallRecord, attempts: Attempts) -> Outcome:
        await released.wait()
        await attempts.begin()
        begun.append(True)
        return Outcome(CallState.DONE, protocolo=PROTOCOLO)

    harness.tool.performance = queued
    harness.platform.script("run_1", asks(call(1), expires_in_s=30.2), COMPLETED)
    await harness.announce()
    serving = asyncio.create_task(harness.worker().run_until_idle())
    await until(lambda: bool(harness.platform.submitted))
    released.set()
    await serving
    assert harness.platform.outputs("run_1")[0]["error"] == "crm_indisponivel"
    assert begun == []
    (kept,) = (await harness.store.records.run("run_1")).calls
    assert kept.state is CallState.FAILED


# ------------------------------------------------------------------------------------------------ stopping


async def test_a_stop_waits_for_the_attempt_in_flight_and_submits_what_it_brought(harness: Harness) -> None:
    sent, answered = asyncio.Event(), asyncio.Event()

    async def slow(call: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        sent.set()
        await answered.wait()
        return Outcome(CallState.DONE, protocolo=PROTOCOLO)

    harness.tool.performance = slow
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await sent.wait()
    worker.stop()
    answered.set()
    await serving
    assert harness.platform.outputs("run_1") == [{"success": True, "protocolo": PROTOCOLO}]
    assert (await harness.store.records.run("run_1")).state is RunState.WATCHING


async def test_a_stopping_worker_begins_no_attempt_and_leaves_the_call_to_the_next(harness: Harness) -> None:
    arrived = asyncio.Event()

    async def hesitates(call: CallRecord, attempts: Attempts) -> Outcome:
        arrived.set()
        await until(worker._stopping.is_set)
        await attempts.begin()
        return Outcome(CallState.DONE, protocolo=PROTOCOLO)

    harness.tool.performance = hesitates
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await arrived.wait()
    worker.stop()
    await serving
    (kept,) = (await harness.store.records.run("run_1")).calls
    assert (kept.state, kept.attempts) == (CallState.RECEIVED, ())
    harness.tool.performance = opens
    await harness.worker().run_until_idle()
    assert harness.platform.outputs("run_1") == [{"success": True, "protocolo": PROTOCOLO}]


async def opens(call: CallRecord, attempts: Attempts) -> Outcome:
    await attempts.begin()
    return Outcome(CallState.DONE, protocolo=PROTOCOLO)


async def test_leases_are_given_back_at_the_end(harness: Harness) -> None:
    harness.platform.script("run_1", WORKING)
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await until(lambda: len(harness.platform.looks) > 2)
    worker.stop()
    await serving
    assert len(await harness.store.runs.claim("next", 10)) == 1


async def test_a_side_task_that_dies_ends_the_worker(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> set[str]:
        raise StoreError("disk full")

    monkeypatch.setattr(harness.store.runs, "renew", broken)
    with pytest.RaisesGroup(StoreError):
        await harness.worker().run()


# ------------------------------------------------------------------------------------- waking and finding


async def test_a_run_that_nobody_announced_is_found_in_an_active_conversation(harness: Harness) -> None:
    harness.platform.newest["thread_c1"] = RunRef("run_9", "thread_c1")
    harness.platform.script("run_9", asks(call(1)), COMPLETED)
    worker = harness.worker(limits=replace(LIMITS, discover_interval_s=10.0))
    serving = asyncio.create_task(worker.run())
    await until(lambda: bool(harness.platform.submitted))
    worker.stop()
    await serving
    assert harness.platform.outputs("run_9") == [{"success": True, "protocolo": PROTOCOLO}]


async def test_a_thread_that_names_its_conversation_becomes_its_thread_and_its_run_is_found(
    harness: Harness,
) -> None:
    await harness.conversation("c2", thread_id=None)
    harness.platform.named = [("c2", "thread_new")]
    harness.platform.newest["thread_new"] = RunRef("run_9", "thread_new")
    harness.platform.script("run_9", asks(call(1)), COMPLETED)
    worker = harness.worker(limits=replace(LIMITS, discover_interval_s=600.0))
    serving = asyncio.create_task(worker.run())
    await until(lambda: bool(harness.platform.submitted))
    worker.stop()
    await serving
    assert (await harness.store.records.run("run_9")).conversation_id == "c2"
    assert harness.platform.listings == 1


@pytest.mark.parametrize("thread_id", [None, "thread_c2"])
async def test_threads_are_listed_only_for_conversations_without_one_and_a_failure_is_no_matter(
    harness: Harness, thread_id: str | None
) -> None:
    await harness.conversation("c2", thread_id=thread_id)
    harness.platform.named = None
    harness.platform.newest["thread_c1"] = RunRef("run_9", "thread_c1")
    harness.platform.script("run_9", COMPLETED)
    worker = harness.worker(limits=replace(LIMITS, discover_interval_s=600.0))
    serving = asyncio.create_task(worker.run())
    await until(lambda: bool(harness.platform.looks))
    worker.stop()
    await serving
    assert harness.platform.listings == (thread_id is None)


async def test_no_more_runs_are_watched_than_there_are_slots_for(harness: Harness) -> None:
    for number in range(5):
        harness.platform.script(f"run_{number}", WORKING)
        await harness.announce(f"run_{number}")
    worker = harness.worker(limits=replace(LIMITS, max_runs=2))
    serving = asyncio.create_task(worker.run())
    await until(lambda: len(harness.platform.looks) > 10)
    worker.stop()
    await serving
    assert len(set(harness.platform.looks)) == 2


async def test_a_look_that_ends_nothing_asks_the_database_for_nothing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.platform.script("run_1", WORKING)
    await harness.announce()
    worker = harness.worker()
    claims: list[int] = []
    claim = harness.store.runs.claim

    async def count(owner: str, limit: int) -> Sequence[Run]:
        claims.append(len(harness.platform.looks))
        return await claim(owner, limit)

    monkeypatch.setattr(harness.store.runs, "claim", count)
    serving = asyncio.create_task(worker.run())
    await until(lambda: len(harness.platform.looks) > 50)
    worker.stop()
    await serving
    assert len(claims) < 25


# ------------------------------------------------------------------------------ limits, shares and deadlines


async def test_a_run_never_has_more_than_its_share_under_way_and_others_are_not_kept_waiting(
    harness: Harness,
) -> None:
    under_way, most = 0, 0
    may_end = asyncio.Event()

    async def performs(record: CallRecord, attempts: Attempts) -> Outcome:
        nonlocal under_way, most
        if record.run_id == "run_2":
            return Outcome(CallState.DONE, protocolo=PROTOCOLO)
        under_way += 1
        most = max(most, under_way)
        await may_end.wait()
        under_way -= 1
        return Outcome(CallState.DONE, protocolo=PROTOCOLO)

    harness.tool.performance = performs
    harness.platform.script("run_1", asks(*map(call, range(20))), COMPLETED)
    harness.platform.script("run_2", asks(call(1)), COMPLETED)
    await harness.announce()
    serving = asyncio.create_task(harness.worker(share=3).run_until_idle())
    await until(lambda: under_way == 3)
    await harness.conversation("c2")
    await harness.announce("run_2", "c2")
    await until(lambda: bool(harness.platform.outputs("run_2")))
    may_end.set()
    await serving
    assert (most, len(harness.platform.outputs("run_1"))) == (3, 20)


async def test_calls_beyond_the_most_of_a_round_are_answered_with_an_error_and_logged(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(advance, "MAX_CALLS", 3)
    harness.platform.script("run_1", asks(*map(call, range(5))), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    answers = harness.platform.outputs("run_1")
    assert [answer.get("error") for answer in answers] == [None, None, None, "erro_interno", "erro_interno"]
    assert len((await harness.store.records.run("run_1")).calls) == 3
    assert "chamadas demais numa rodada" in capfd.readouterr().err


async def test_the_deadline_counts_from_when_the_call_was_received_whoever_owned_it(harness: Harness) -> None:
    async def never(record: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        await asyncio.Event().wait()
        raise AssertionError

    harness.tool.performance = never
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    first = harness.worker(limits=replace(LIMITS, shutdown_grace_s=0.0))
    serving = asyncio.create_task(first.run())
    await until(lambda: bool(harness.tool.performed))
    first.stop()
    await serving
    await Rig(harness.store).ago(60.0, "calls", "received_at")
    limits = replace(LIMITS, call_deadline_s=61.0, shutdown_grace_s=0.0)
    serving = asyncio.create_task(harness.worker(limits=limits).run())
    await until(lambda: bool(harness.platform.submitted))
    (answer,) = harness.platform.outputs("run_1")
    assert answer["error"] == "em_confirmacao"
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_attempts_that_our_own_death_cut_off_do_not_use_up_the_crms(harness: Harness) -> None:
    used: list[int] = []

    async def performs(record: CallRecord, attempts: Attempts) -> Outcome:
        used.append(attempts.used)
        await attempts.begin()
        used.append(attempts.used)
        return Outcome(CallState.DONE, protocolo=PROTOCOLO)

    rig = Rig(harness.store)
    record = await rig.admit(await rig.run())
    for _ in range(5):
        record = await rig.attempted(record)
    await rig.died(record)
    await rig.ago(1.0, "runs", "lease_until")
    harness.tool.performance = performs
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.worker().run_until_idle()
    assert used == [2, 3]


async def test_a_call_that_waited_for_one_that_ended_unsent_is_sent_in_its_place(harness: Harness) -> None:
    rig = Rig(harness.store)
    same = {"text": "o mesmo"}
    cancelled = await rig.run("run_1")
    first = await rig.decided(
        cancelled, call(1, arguments=same), lambda c: harness.tool.plan(call(1, arguments=same).arguments, c)
    )
    await rig.lost(cancelled)
    await rig.died(first)
    harness.platform.script("run_2", asks(call(2, arguments=same)), COMPLETED)
    await harness.announce("run_2")
    await harness.worker().run_until_idle()
    (sent,) = harness.tool.performed
    assert (sent.run_id, sent.idempotency_key) == ("run_2", first.idempotency_key)
    assert harness.platform.outputs("run_2") == [{"success": True, "protocolo": PROTOCOLO}]


async def test_a_call_whose_ticket_a_person_resolved_before_it_was_sent_is_answered_and_not_sent(
    harness: Harness,
) -> None:
    rig = Rig(harness.store)
    same = {"text": "o mesmo"}
    intent = harness.tool.plan(call(1, arguments=same).arguments, None)
    failed = await rig.admit(await rig.run("run_1"), decision=intent)
    await rig.settled(await rig.attempted(failed, certain=True), Outcome(CallState.FAILED, "crm_recusou"))
    again = await rig.decided(await rig.run("run_2"), call(2, arguments=same), lambda _: intent)
    assert again.idempotency_key == failed.idempotency_key
    await harness.store.operators.resolve(failed.call_id, PROTOCOLO)
    await rig.ago(1.0, "runs", "lease_until")
    harness.platform.script("run_1", COMPLETED)
    harness.platform.script("run_2", asks(call(2, arguments=same)), COMPLETED)
    await harness.worker().run_until_idle()
    assert harness.tool.performed == []
    assert harness.platform.outputs("run_2") == [{"success": True, "protocolo": PROTOCOLO}]


async def test_a_new_run_may_be_a_404_for_half_a_minute(harness: Harness) -> None:
    harness.platform.script("run_1", RunGone(404), RunGone(404), RunGone(404), COMPLETED)
    _jumping(harness, 25.0, at_look=2)
    await harness.announce()
    await harness.worker().run_until_idle()
    assert (await harness.store.records.run("run_1")).state is RunState.ENDED


@pytest.mark.parametrize(("seconds", "submits"), [(4.0, 1), (6.0, 2)])
async def test_an_accepted_answer_is_given_again_when_it_is_not_applied_for_five_seconds(
    harness: Harness, seconds: float, submits: int
) -> None:
    class Deaf(FakePlatform):
        async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> None:
            self.submitted.append((ref.run_id, tuple(answers)))

    harness.platform = Deaf()
    harness.clock = clock = JumpingClock()
    harness.platform.script("run_1", asks(call(1)))
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await until(lambda: len(harness.platform.submitted) == 1)
    looks = len(harness.platform.looks)
    await until(lambda: len(harness.platform.looks) > looks)  # the acceptance is recorded by then
    clock.ahead_s += seconds
    looks = len(harness.platform.looks)
    await until(lambda: len(harness.platform.looks) > looks + 5)
    assert len(harness.platform.submitted) == submits
    worker.stop()
    await serving


@pytest.mark.parametrize(("seconds", "state"), [(590.0, RunState.ENDED), (610.0, RunState.LOST)])
async def test_a_key_may_be_refused_for_ten_minutes(
    harness: Harness, seconds: float, state: RunState
) -> None:
    refusals = [PlatformRefused(401)] * 3
    harness.platform.script("run_1", *refusals, COMPLETED)
    _jumping(harness, seconds, at_look=2)
    await harness.announce()
    await harness.worker().run_until_idle()
    run = await harness.store.records.run("run_1")
    assert (run.state, run.reason) == (
        state,
        "concluida" if state is RunState.ENDED else "plataforma_recusou",
    )


async def test_a_wake_up_that_came_before_the_last_poll_does_not_keep_the_run_open(harness: Harness) -> None:
    harness.platform.script("run_1", WORKING)
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run_until_idle())
    await until(lambda: bool(harness.platform.looks))
    await harness.announce()
    worker.wake("run_1")
    looks = len(harness.platform.looks)
    await until(lambda: len(harness.platform.looks) > looks + 2)
    harness.platform.script("run_1", COMPLETED)
    await serving
    assert (await Rig(harness.store).row("runs")).lease_epoch == 1


async def test_an_answer_of_a_lapsed_lease_is_submitted_after_the_next_heartbeat(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advance, "_WITHDRAWN_S", 0.01)

    async def performs(record: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        harness.lease.renewed(float("-inf"))
        return Outcome(CallState.DONE, protocolo=PROTOCOLO)

    harness.tool.performance = performs
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    serving = asyncio.create_task(harness.worker().run_until_idle())
    await until(lambda: len(harness.platform.looks) > 2)
    assert harness.platform.submitted == []
    harness.lease.renewed(boottime())
    await serving
    assert harness.platform.outputs("run_1") == [{"success": True, "protocolo": PROTOCOLO}]
    assert (await Rig(harness.store).row("runs")).lease_epoch == 1


async def test_an_attempt_that_a_lapsed_lease_prevented_begins_after_the_next_heartbeat(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advance, "_WITHDRAWN_S", 0.01)

    async def prevented(record: CallRecord, attempts: Attempts) -> Outcome:
        harness.lease.renewed(float("-inf"))
        harness.tool.performance = opens_at_once
        try:
            return await opens_at_once(record, attempts)
        finally:
            harness.lease.renewed(boottime())

    harness.tool.performance = prevented
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    assert len(harness.tool.performed) == 2
    assert harness.platform.outputs("run_1") == [{"success": True, "protocolo": PROTOCOLO}]
    assert (await Rig(harness.store).row("runs")).lease_epoch == 1


def test_a_round_begins_with_no_polls_no_deadline_and_an_answer_given() -> None:
    run = Run(RunRef("run_1", "thread_1"), "c1", epoch=1, rounds=3, known_s=0.0)
    watched = WatchedRun(run, announced_at=0.0, wake_count=0, polls=7, deadline=12.0)
    watched.count_round()
    assert (watched.run.rounds, watched.polls, watched.deadline) == (4, 0, None)
    assert watched.answered_since_announced


def test_an_announcement_that_came_while_a_round_was_answered_still_waits_for_its_own() -> None:
    run = Run(RunRef("run_1", "thread_1"), "c1", epoch=1, rounds=3, known_s=0.0)
    watched = WatchedRun(run, announced_at=0.0, wake_count=0, wake_pending=True)
    watched.count_round()
    assert not watched.answered_since_announced


@pytest.mark.parametrize(
    ("rounds", "known_s", "answered"), [(0, 60.0, False), (1, 60.0, True), (1, 0.5, False)]
)
def test_a_claimed_run_was_answered_if_a_round_was_and_nobody_announced_it_since(
    rounds: int, known_s: float, answered: bool
) -> None:
    runs = WatchedRuns(JumpingClock(), Pace(0.001, 0.01))
    runs.begin(Run(RunRef("run_1", "thread_1"), "c1", epoch=1, rounds=rounds, known_s=known_s))
    (watched,) = runs.all
    assert watched.answered_since_announced is answered


def test_the_turn_tells_calls_of_one_id_and_content_apart() -> None:
    first, second = (replace(call(1), turn_id=turn) for turn in ("turn_1", "turn_2"))
    assert first.identity != second.identity
    assert first.identity == replace(call(1), turn_id="turn_1").identity
