"""Hand-offs past their deadline are recorded, logged without anything personal, and told once."""

import asyncio
from dataclasses import replace

import pytest

from tests.store.harness import BOT, HANDOFF, OpenRig, Rig
from worker import logs
from worker.background import overdue_handoffs
from worker.model import Attendance


async def _late(rig: Rig) -> None:
    """A customer who should have been attended to 100 seconds ago."""
    await rig.conversation()
    time = await rig.time()
    intent = replace(HANDOFF, attendance=Attendance(time - 1000.0, None, time - 100.0))
    await rig.admit(await rig.run(), 1, intent)


async def test_a_deadline_is_announced_once_over_restarts_also_when_no_daemon_saw_it_pass(
    open_rig: OpenRig,
) -> None:
    rig = await open_rig(owner=True, **BOT)
    await _late(rig)
    for _ in range(2):
        await rig.store.close()
        rig = await open_rig(owner=True, **BOT)
        await overdue_handoffs.record(rig.store.handoffs)
        assert [kind for kind, _ in await rig.events()] == ["handoff.requested", "handoff.overdue"]


async def test_the_log_names_the_handoff_and_nothing_the_model_wrote(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.setup(words={"departamento": ["financeiro"]})
    try:
        await _late(rig)
        await overdue_handoffs.record(rig.store.handoffs)
    finally:
        logs.shutdown()
    (line,) = (line for line in capfd.readouterr().err.splitlines() if "fora do prazo" in line)
    assert "departamento=financeiro" in line
    assert "conversationId=c1" in line
    assert "Maria" not in line


class _Ticks:
    """A clock on which `end` waits are waited; the next one is cancelled."""

    def __init__(self, end: int) -> None:
        self.waits: list[float] = []
        self._end = end

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if len(self.waits) == self._end:
            raise asyncio.CancelledError


async def test_deadlines_are_looked_at_every_second(rig: Rig) -> None:
    await _late(rig)
    clock = _Ticks(3)
    with pytest.raises(asyncio.CancelledError):
        await overdue_handoffs.keep_recorded(rig.store.handoffs, clock)
    assert clock.waits == [1.0] * 3
    assert (await rig.row("handoffs")).overdue_at is not None
