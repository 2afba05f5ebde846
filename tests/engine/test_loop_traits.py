"""The same loop on platforms of other kinds, and calls that outlive their process."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import worker
from tests.engine.harness import Harness
from tests.fakes import COMPLETED, WORKING, FakePlatform, asks, call, until
from tests.store.harness import OpenRig, Rig
from worker.engine import advance
from worker.engine.pacing import Pace
from worker.engine.watched_runs import WatchedRuns
from worker.errors import PlatformUnavailable
from worker.model import Answer, CallRecord, CallState, Outcome, RunRef, RunState, ThreadRule, Traits
from worker.personal import Personal
from worker.ports import Attempts
from worker.store.store import Store
from worker.times import SystemClock

PROTOCOLO = "2510271534789012"
SUCCESS = {"success": True, "protocolo": PROTOCOLO}


@pytest.fixture
async def harness(store: Store) -> AsyncIterator[Harness]:
    made = Harness(store)
    await made.conversation()
    return made


def driven(harness: Harness, **traits: object) -> FakePlatform:
    harness.platform.traits = replace(harness.platform.traits, **traits)
    return harness.platform


class Chain(FakePlatform):
    """Each submit makes a new run; the old one goes on showing its calls, whatever was submitted."""

    traits = Traits(ThreadRule.OPTIONAL, new_run_per_round=True)

    def __init__(self) -> None:
        super().__init__()
        self.again: list[bool] = []
        self.made = 0

    async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> RunRef | None:
        self.again.append(again)
        fault, taken = self.submit_faults.popleft() if self.submit_faults else (None, True)
        if taken:
            self.submitted.append((ref.run_id, tuple(answers)))
            self.made += 1
        if fault:
            raise fault
        return RunRef(f"resp_{self.made}", ref.thread_id)


async def test_an_answer_is_submitted_as_soon_as_it_is_known(harness: Harness) -> None:
    slow_may_end = asyncio.Event()

    async def perform(record: CallRecord, attempts: Attempts) -> Outcome:
        if record.body and "oi 1" in record.body.reveal():
            await slow_may_end.wait()
        return Outcome(CallState.DONE, protocolo=PROTOCOLO)

    class Sessions(FakePlatform):
        async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> None:
            self.submitted.append((ref.run_id, tuple(answers)))
            if len(self.submitted) == 2:
                self.scripts[ref.run_id].popleft()

    harness.platform = Sessions()
    driven(harness, one_by_one=True)
    harness.tool.performance = perform
    harness.platform.script("run_1", asks(call(1), call(2)), COMPLETED)
    await harness.announce()
    serving = asyncio.create_task(harness.worker().run_until_idle())
    await until(lambda: len(harness.platform.submitted) == 1)
    assert harness.platform.submitted[0][1][0].platform_call_id == "call_2"
    slow_may_end.set()
    await serving
    assert harness.platform.outputs("run_1") == [SUCCESS, SUCCESS]


async def test_an_accepted_answer_not_yet_applied_is_not_sent_again_at_once(harness: Harness) -> None:
    class Slow(FakePlatform):
        """Accepts, and shows the call five times more before it applies the answer."""

        shown = 0

        async def inspect(self, ref: RunRef):  # type: ignore[no-untyped-def]  # as the fake's own
            if self.submitted:
                self.shown += 1
                if self.shown > 5:
                    return COMPLETED
            return await super().inspect(ref)

        async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> None:
            self.submitted.append((ref.run_id, tuple(answers)))

    harness.platform = Slow()
    harness.platform.script("run_1", asks(call(1)))
    await harness.announce()
    await harness.worker().run_until_idle()
    assert len(harness.platform.submitted) == 1


async def test_an_accepted_answer_that_is_never_applied_is_sent_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advance, "APPLY_S", 0.0)

    class Deaf(FakePlatform):
        async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> None:
            self.submitted.append((ref.run_id, tuple(answers)))
            if len(self.submitted) == 2:
                self.scripts[ref.run_id].popleft()

    harness.platform = Deaf()
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    first, second = harness.platform.submitted
    assert first == second
    assert len(harness.tool.performed) == 1


async def test_an_end_seen_too_soon_after_the_announcement_counts_as_working(harness: Harness) -> None:
    driven(harness, settling_s=15.0)
    harness.platform.script("run_1", COMPLETED)
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await until(lambda: len(harness.platform.looks) > 3)
    assert (await harness.store.records.run("run_1")).state is RunState.WATCHING
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await until(lambda: bool(harness.platform.submitted))
    worker.stop()
    await serving
    await Rig(harness.store).ago(5.0, "runs", "registered_at")
    await harness.worker().run_until_idle()
    assert (await harness.store.records.run("run_1")).state is RunState.ENDED


async def test_the_end_of_the_work_before_counts_as_working_after_a_round_as_well(harness: Harness) -> None:
    driven(harness, settling_s=15.0)
    harness.platform.script("run_1", asks(call(1)), WORKING)
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await until(lambda: len(harness.platform.submitted) == 1)
    await harness.announce()
    worker.wake("run_1")
    harness.platform.script("run_1", COMPLETED)
    seen = len(harness.platform.looks)
    await until(lambda: len(harness.platform.looks) > seen + 3)
    assert (await harness.store.records.run("run_1")).state is RunState.WATCHING
    worker.stop()
    await serving


async def test_a_run_announced_again_while_its_end_is_read_is_polled_again(harness: Harness) -> None:
    class Racing(FakePlatform):
        """The customer's next message comes just after the first look was answered."""

        async def inspect(self, ref: RunRef):  # type: ignore[no-untyped-def]  # as the fake's own
            look = await super().inspect(ref)
            if len(self.looks) == 1:
                await harness.announce()
                self.script("run_1", asks(call(1)), COMPLETED)
            return look

    harness.platform = Racing()
    harness.platform.script("run_1", COMPLETED)
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await until(lambda: len(harness.platform.submitted) == 1)
    worker.stop()
    await serving


async def test_a_heartbeat_that_asked_about_an_earlier_claim_lets_go_of_no_later_one(
    harness: Harness,
) -> None:
    await harness.announce()
    (run,) = await harness.store.runs.claim("me", 10)
    watched = WatchedRuns(SystemClock(), Pace(0.25, 5.0))
    watched.begin(run)
    (asked_about,) = watched.all
    watched.end("run_1")
    watched.begin(run)
    watched.renewed(asked_about, None)
    assert len(watched) == 1


async def test_a_run_that_never_ends_is_lost_after_our_own_deadline(harness: Harness) -> None:
    driven(harness, life_s=0.0)
    harness.platform.script("run_1", WORKING)
    await harness.announce()
    await harness.worker().run_until_idle()
    run = await harness.store.records.run("run_1")
    assert (run.state, run.reason) == (RunState.LOST, "prazo_esgotado")


async def test_the_watch_moves_to_the_new_run_in_one_step(harness: Harness) -> None:
    chain = Chain()
    harness.platform = chain
    chain.script("run_1", WORKING, asks(call(1)))
    chain.script("resp_1", asks(call(2)))
    chain.script("resp_2", COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    seen = [await harness.store.records.run(run_id) for run_id in ("run_1", "resp_1", "resp_2")]
    assert [(run.state, run.reason, run.continues_as) for run in seen] == [
        (RunState.ENDED, "continua", "resp_1"),
        (RunState.ENDED, "continua", "resp_2"),
        (RunState.ENDED, "concluida", None),
    ]
    assert all(call.submitted_at for run in seen for call in run.calls)
    assert chain.again == [False, False]


async def test_a_submit_whose_outcome_is_not_known_is_made_again_and_said_so(harness: Harness) -> None:
    chain = Chain()
    harness.platform = chain
    chain.script("run_1", asks(call(1)))
    chain.script("resp_1", COMPLETED)
    chain.script("resp_2", COMPLETED)
    chain.submit_faults.append((PlatformUnavailable(), True))
    await harness.announce()
    await harness.worker().run_until_idle()
    assert chain.again == [False, True]
    assert len(harness.tool.performed) == 1
    assert (await harness.store.records.run("run_1")).continues_as == "resp_2"


async def test_what_a_continuation_that_nobody_can_name_asks_for_is_answered_in_its_place(
    harness: Harness,
) -> None:
    class Unnamed(Chain):
        async def submit(
            self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False
        ) -> RunRef | None:
            if not again:
                self.submit_faults.append((PlatformUnavailable(), True))
                self.scripts[ref.run_id].popleft()
            return await super().submit(ref, answers, again=again)

    chain = Unnamed()
    harness.platform = chain
    chain.script("run_1", asks(call(1)), asks(call(2)))
    chain.script("resp_2", COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    run = await harness.store.records.run("run_1")
    assert (run.state, run.reason, run.continues_as) == (RunState.ENDED, "continua", "resp_2")
    assert [each.submitted_at is not None for each in run.calls] == [True, True]
    assert [len(answers) for _, answers in chain.submitted] == [1, 1]


async def test_customers_without_a_thread_are_kept_apart(
    harness: Harness, make_settings, database_url
) -> None:  # type: ignore[no-untyped-def]  # fixtures
    await harness.store.close()
    settings = make_settings(DATABASE_URL=database_url)
    store = await Store.open(settings, "responses", owner=True, thread=ThreadRule.OPTIONAL)
    chained = Harness(store)
    chained.platform = chain = Chain()
    for name in ("a", "b"):
        await chained.conversation(name, thread_id=None)
        await chained.announce(f"run_{name}", name)
        chain.script(f"run_{name}", asks(call(1)))
    chain.script("resp_1", COMPLETED)
    chain.script("resp_2", COMPLETED)
    await chained.worker().run_until_idle()
    reasons = [(await store.records.run(f"run_{name}")).reason for name in ("a", "b")]
    await store.close()
    assert reasons == ["continua", "continua"]


async def test_rounds_are_counted_over_the_runs_of_one_conversation(harness: Harness) -> None:
    from tests.engine.harness import LIMITS

    chain = Chain()
    harness.platform = chain
    chain.script("run_1", asks(call(1)))
    chain.script("resp_1", asks(call(2)))
    chain.script("resp_2", asks(call(3)))
    await harness.announce()
    await harness.worker(limits=replace(LIMITS, max_rounds=2)).run_until_idle()
    run = await harness.store.records.run("resp_2")
    assert (run.state, run.reason) == (RunState.LOST, "rodadas_demais")


def test_loop_dispatch_and_tools_have_no_line_that_knows_a_platforms_name() -> None:
    package = Path(worker.__file__).parent
    files = [package / f"{name}.py" for name in ("ports", "model")]
    for folder in ("catalog", "engine", "outbound", "tools", "store"):
        files += [path for path in (package / folder).rglob("*.py") if "migrations" not in path.parts]
    quoted = r"""["'](assistants|agents|responses)["']"""
    names = re.compile(rf"{quoted}|\bPLATFORM\b|import openai|worker\.platforms")
    lines = [f"{file.name}: {line}" for file in files for line in file.read_text("utf-8").splitlines()]
    assert len(files) > 30
    assert [line for line in lines if names.search(line)] == []


async def test_one_ticket_found_for_two_accepted_calls_is_never_that_of_both(harness: Harness) -> None:
    accepted = Outcome(CallState.NO_PROTOCOL, "sem_protocolo", certain=False)
    found = Outcome(CallState.DONE, protocolo=PROTOCOLO, certain=False, from_lookup=True, fallback=accepted)
    finders: list[CallRecord] = []

    async def finds(record: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        finders.append(record)
        await until(lambda: len(finders) == 2)
        return found

    harness.tool.performance = finds
    harness.platform.script("run_1", asks(call(1), call(2)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    calls = (await harness.store.records.run("run_1")).calls
    assert [call.protocolo for call in calls].count(PROTOCOLO) <= 1
    assert CallState.NO_PROTOCOL in {call.state for call in calls}
    assert [answer["success"] for answer in harness.platform.outputs("run_1")].count(True) <= 1


# ------------------------------------------------------------------------------------------ reconciliation


async def dies_and_loses_its_run(harness: Harness, performing: asyncio.Event) -> None:
    """A worker ends abruptly while a tool performs; then its run is lost."""
    dying = asyncio.create_task(harness.worker().run())
    await performing.wait()
    dying.cancel()
    await asyncio.wait({dying})
    runs = harness.store.database.tables.runs
    async with harness.store.database.write() as connection:
        await connection.execute(runs.update().values(state=RunState.LOST))


async def test_a_call_whose_process_died_after_its_run_was_lost_is_brought_to_its_end(
    harness: Harness,
) -> None:
    harness.platform.script("run_1", asks(call(1)))
    await harness.announce()
    sent = asyncio.Event()

    async def never_answers(record: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        sent.set()
        await asyncio.Event().wait()
        raise AssertionError

    harness.tool.performance = never_answers
    await dies_and_loses_its_run(harness, sent)

    async def opens(record: CallRecord, attempts: Attempts) -> Outcome:
        assert record.maybe_sent
        await attempts.begin()
        return Outcome(CallState.DONE, protocolo=PROTOCOLO)

    harness.tool.performance = opens
    await harness.worker().run_until_idle()
    (kept,) = (await harness.store.records.run("run_1")).calls
    assert (kept.state, kept.protocolo, len(kept.attempts)) == (CallState.DONE, PROTOCOLO, 2)


async def test_a_call_never_sent_whose_run_is_gone_fails_and_is_not_sent(harness: Harness) -> None:
    harness.platform.script("run_1", asks(call(1)))
    await harness.announce()
    arrived = asyncio.Event()

    async def hesitates(record: CallRecord, attempts: Attempts) -> Outcome:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    harness.tool.performance = hesitates
    await dies_and_loses_its_run(harness, arrived)
    harness.tool.performed.clear()
    await harness.worker().run_until_idle()
    (kept,) = (await harness.store.records.run("run_1")).calls
    assert (kept.state, kept.error) == (CallState.FAILED, "execucao_encerrada")
    assert harness.tool.performed == []


async def test_another_try_that_an_operator_wants_keeps_the_given_answer(harness: Harness) -> None:
    async def fails(record: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        await attempts.end(certain=True, detail="connect")
        return Outcome(CallState.FAILED, "crm_indisponivel")

    harness.tool.performance = fails
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    await harness.worker().run_until_idle()
    (failed,) = (await harness.store.records.run("run_1")).calls
    used: list[int] = []

    async def opens(record: CallRecord, attempts: Attempts) -> Outcome:
        used.append(attempts.used)
        await attempts.begin()
        return Outcome(CallState.DONE, protocolo=PROTOCOLO)

    harness.tool.performance = opens
    await harness.store.operators.retry(failed.call_id)
    await harness.worker().run_until_idle()
    (kept,) = (await harness.store.records.run("run_1")).calls
    assert (kept.state, kept.protocolo) == (CallState.DONE, PROTOCOLO)
    assert used == [0]
    assert (await harness.store.calls.get(failed.call_id)).answered_success is False


@pytest.mark.parametrize("named", ["thread_c2", "conv_de_ninguem"])
async def test_a_run_announced_without_a_thread_is_not_answered_for_the_conversation_of_another(
    open_rig: OpenRig, named: str
) -> None:
    """The platform says where it is: with another conversation of ours there, the bot was mistaken."""
    rig = await open_rig(owner=True, platform="responses", thread=ThreadRule.OPTIONAL)
    harness = Harness(rig.store)
    harness.platform = Chain()
    await harness.conversation("c2", client_document=Personal("11144477735"))
    await harness.conversation("solta", thread_id=None)
    await harness.store.records.register_run("solta", "run_1", None)
    harness.platform.script("run_1", replace(asks(call()), thread_id=named), COMPLETED)
    harness.platform.script("resp_1", COMPLETED)
    await harness.worker().run_until_idle()
    run = await harness.store.records.run("run_1")
    foreign = named == "thread_c2"
    assert (run.state, run.reason) == (
        (RunState.LOST, "isolamento") if foreign else (RunState.ENDED, "continua")
    )
    assert len(harness.tool.performed) == (0 if foreign else 1)


async def test_a_turn_answered_one_by_one_is_one_round_after_a_restart_as_well(harness: Harness) -> None:
    class Sessions(FakePlatform):
        async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> None:
            self.submitted.append((ref.run_id, tuple(answers)))
            if len(self.submitted) == 26:
                self.scripts[ref.run_id].popleft()

    harness.platform = Sessions()
    driven(harness, one_by_one=True)
    harness.platform.script("run_1", asks(*map(call, range(26))), WORKING)
    await harness.announce()
    first = harness.worker()
    serving = asyncio.create_task(first.run())
    await until(lambda: len(harness.platform.submitted) == 26)
    first.stop()
    await serving
    assert (await Rig(harness.store).row("runs")).rounds == 1
    harness.platform.script("run_1", asks(call(30)), COMPLETED)
    harness.platform.submitted.clear()
    serving = asyncio.create_task(harness.worker().run_until_idle())
    await until(lambda: bool(harness.platform.submitted))
    harness.platform.script("run_1", COMPLETED)
    await serving
    assert (await harness.store.records.run("run_1")).state is RunState.ENDED


async def test_a_run_that_no_platform_ends_is_given_up_after_a_day(harness: Harness) -> None:
    forever = replace(WORKING, expires_in_s=None)
    harness.platform.script("run_1", forever)
    await harness.announce()
    await Rig(harness.store).ago(86_401.0, "runs", "registered_at")
    await harness.worker().run_until_idle()
    run = await harness.store.records.run("run_1")
    assert (run.state, run.reason) == (RunState.LOST, "prazo_esgotado")


async def test_a_run_that_says_when_it_expires_is_watched_until_then(harness: Harness) -> None:
    harness.platform.script("run_1", replace(WORKING, expires_in_s=600.0), COMPLETED)
    await harness.announce()
    await Rig(harness.store).ago(86_401.0, "runs", "registered_at")
    await harness.worker().run_until_idle()
    assert (await harness.store.records.run("run_1")).state is RunState.ENDED
