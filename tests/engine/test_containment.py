"""One run, one call, one row, one value of the platform: its defect is its own, and the others go on."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import LargeBinary, literal

from tests.engine.harness import LIMITS, Harness
from tests.fakes import COMPLETED, WORKING, FakePlatform, JumpingClock, asks, call, opens_at_once, until
from tests.store.harness import PROTOCOLO, Rig
from worker.errors import StoreError
from worker.model import CallRecord, CallState, Outcome, RunRef, RunSnapshot, RunState
from worker.personal import Personal
from worker.ports import Attempts
from worker.privacy import Vault
from worker.store.store import Store

SUCCESS = {"success": True, "protocolo": PROTOCOLO}


@pytest.fixture
async def harness(store: Store) -> Harness:
    made = Harness(store)
    await made.conversation()
    await made.conversation("c2")
    return made


async def _beside(harness: Harness) -> None:
    """Another customer's run asks for a ticket, and gets it."""
    harness.platform.script("run_2", asks(call(2)), COMPLETED)
    await harness.announce("run_2", "c2")


async def _until_answered(harness: Harness, run_id: str = "run_2") -> None:
    await until(lambda: bool(harness.platform.outputs(run_id)))
    assert harness.platform.outputs(run_id) == [SUCCESS]


async def test_a_run_that_meets_a_defect_is_put_aside_ever_longer_and_the_others_go_on(
    harness: Harness, capfd: pytest.CaptureFixture[str]
) -> None:
    harness.clock = clock = JumpingClock()
    harness.platform.script("run_1", RecursionError())
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await until(lambda: "run_1" in harness.platform.looks)
    await _beside(harness)
    await _until_answered(harness)
    assert harness.platform.looks.count("run_1") == 1
    clock.ahead_s += 2.5
    await until(lambda: harness.platform.looks.count("run_1") == 2)
    clock.ahead_s += 2.5
    await asyncio.sleep(0.1)
    assert harness.platform.looks.count("run_1") == 2
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    clock.ahead_s += 2.5
    await _until_answered(harness, "run_1")
    worker.stop()
    await serving
    assert capfd.readouterr().err.count("defeito ao acompanhar uma execução") == 2


async def test_a_platform_whose_submit_has_a_defect_harms_one_run_only(harness: Harness) -> None:
    harness.clock = JumpingClock()
    harness.platform.script("run_1", asks(call(1)))
    harness.platform.submit_faults.append((ValueError("circular"), False))
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await until(lambda: not harness.platform.submit_faults)
    await _beside(harness)
    await _until_answered(harness)
    worker.stop()
    await serving


async def test_a_call_that_cannot_be_concluded_harms_no_other(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settle = harness.store.calls.settle

    async def settles(call_id: str, *args: object, **kwargs: object) -> CallRecord:
        record = await harness.store.calls.get(call_id)
        if record.run_id == "run_1":
            raise KeyError("what nobody expected")
        return await settle(call_id, *args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(harness.store.calls, "settle", settles)
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await until(lambda: bool(harness.tool.performed))
    await _beside(harness)
    await _until_answered(harness)
    worker.stop()
    await serving
    assert "defeito ao concluir uma chamada" in capfd.readouterr().err
    (open_call,) = (await harness.store.records.run("run_1")).calls
    assert open_call.state is CallState.RUNNING


async def test_only_a_database_that_cannot_record_ends_the_worker(harness: Harness) -> None:
    async def breaks(call: CallRecord, attempts: Attempts) -> Outcome:
        raise StoreError("cannot record")

    harness.tool.performance = breaks
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    with pytest.raises(ExceptionGroup) as died:
        await harness.worker().run()
    assert died.group_contains(StoreError, depth=2) or died.group_contains(StoreError)


async def test_discovery_that_meets_a_defect_goes_on(
    harness: Harness, capfd: pytest.CaptureFixture[str]
) -> None:
    class Odd(FakePlatform):
        async def discover(self, thread_id: str) -> RunRef | None:
            if thread_id == "thread_c1":
                raise TypeError("a value nobody expected")
            return RunRef("run_2", thread_id)

    harness.platform = Odd()
    harness.platform.script("run_2", asks(call(2)), COMPLETED)
    worker = harness.worker(limits=replace(LIMITS, discover_interval_s=0.05))
    serving = asyncio.create_task(worker.run())
    await _until_answered(harness)
    worker.stop()
    await serving
    assert "defeito na descoberta" in capfd.readouterr().err


# --------------------------------------------------------------------------------- values that no key opens

_FOREIGN = Vault([Fernet.generate_key().decode()]).seal(Personal("x"))


async def _spoil(rig: Rig, table: str, column: str, **where: str) -> None:
    """The value of this column is sealed with a key that nobody has."""
    foreign = literal(_FOREIGN, LargeBinary)
    await rig.change(table, {column: foreign}, **where)


async def test_a_row_whose_payload_no_key_opens_keeps_nobody_else_waiting(harness: Harness) -> None:
    rig = Rig(harness.store)
    stranded = await rig.admit(await rig.run("run_1"))
    await _spoil(rig, "calls", "body", call_id=stranded.call_id)
    await rig.ago(1.0, "calls", "lease_until")
    await rig.ago(1.0, "runs", "lease_until")
    harness.platform.script("run_1", WORKING)
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await _beside(harness)
    await _until_answered(harness)
    worker.stop()
    await serving


async def test_a_document_that_no_key_opens_is_an_error_to_its_own_customer_only(harness: Harness) -> None:
    class Reads(type(harness.tool)):  # type: ignore[misc]  # the harness's tool, reading the document
        def plan(self, arguments, conversation):  # type: ignore[no-untyped-def]
            conversation.document.reveal()
            return super().plan(arguments, conversation)

    harness.tool = Reads(opens_at_once)
    await _spoil(Rig(harness.store), "conversations", "document", conversation_id="c1")
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    await harness.announce()
    await _beside(harness)
    await harness.worker().run_until_idle()
    (answer,) = harness.platform.outputs("run_1")
    assert answer["error"] == "erro_interno"
    assert harness.platform.outputs("run_2") == [SUCCESS]
    assert (await harness.store.records.conversation("c1", reader="test")).document is None


async def test_an_answer_that_no_key_opens_is_written_again_from_the_record(harness: Harness) -> None:
    harness.platform.script("run_1", asks(call(1)), COMPLETED)
    harness.platform.submit_faults.append((StoreError("the process dies"), False))
    await harness.announce()
    with suppress(ExceptionGroup):
        await harness.worker().run()
    await _spoil(Rig(harness.store), "calls", "answer", run_id="run_1")
    await harness.worker().run_until_idle()
    assert harness.platform.outputs("run_1") == [SUCCESS]
    assert (await harness.store.records.run("run_1")).state is RunState.ENDED


async def test_a_failed_ticket_whose_bytes_no_key_opens_goes_on_with_the_next_tries_bytes(
    harness: Harness,
) -> None:
    rig = Rig(harness.store)
    first = await rig.admit(await rig.run("run_1"))
    await rig.settled(await rig.attempted(first, certain=True), Outcome(CallState.FAILED, "crm_recusou"))
    await _spoil(rig, "calls", "body", call_id=first.call_id)
    again = await rig.admit(await rig.run("run_2"), 2)
    assert again.idempotency_key == first.idempotency_key
    assert again.body is not None
    assert again.body.reveal() == '{"resumo": "Maria pagou"}'


async def test_a_snapshot_with_a_value_that_cannot_be_recorded_harms_one_run_only(harness: Harness) -> None:
    harness.platform.script("run_1", RunSnapshot(WORKING.status, None))  # type: ignore[arg-type]
    await harness.announce()
    worker = harness.worker()
    serving = asyncio.create_task(worker.run())
    await _beside(harness)
    await _until_answered(harness)
    worker.stop()
    await serving
