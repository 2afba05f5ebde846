"""The daemon's side task for personal data: when it does what, and what it says of it."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from worker.background.retention import PersonalDataTasks
from worker.model import SweepCounts
from worker.views import Erasure


@dataclass
class Papers:
    """Both halves of the store that upkeep asks: requests that wait, and a night's work that is due."""

    requests: int = 0
    due: bool = False
    planned: list[tuple[float, bool]] = field(default_factory=list)

    async def erase_conversation(self, conversation_id: str, *, by: str) -> Erasure:
        raise NotImplementedError

    async def outcome(self, erasure_id: str) -> Erasure | None:
        raise NotImplementedError

    async def process_next(self) -> bool:
        self.requests -= 1
        return self.requests >= 0

    async def claim(self, lease_s: float) -> bool:
        claimed, self.due = self.due, False
        return claimed

    async def plan(self, wait_s: float, *, first: bool = False) -> None:
        self.planned.append((wait_s, first))

    async def sweep(self) -> SweepCounts:
        return SweepCounts(payloads=12, calls=3)


class Once:
    """A clock on which nobody wakes up again."""

    def __init__(self) -> None:
        self.waiting: set[float] = set()
        self.all_wait = asyncio.Event()

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.waiting.add(seconds)
        if len(self.waiting) == 2:
            self.all_wait.set()
        await asyncio.Event().wait()


async def _one_round(papers: Papers, at: str) -> set[float]:
    clock = Once()
    moment = datetime.fromisoformat(at)
    upkeep = PersonalDataTasks(
        papers, papers, ZoneInfo("America/Sao_Paulo"), clock, lambda: moment.astimezone(UTC)
    )
    task = asyncio.create_task(upkeep.run())
    await clock.all_wait.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return clock.waiting


@pytest.mark.parametrize(
    ("at", "hours"),
    [
        ("2026-11-22T02:00:00-03:00", 1.0),
        ("2026-11-22T03:00:00-03:00", 24.0),
        ("2026-11-22T15:30:00-03:00", 11.5),
        ("2026-11-22T05:00:00+00:00", 1.0),
    ],
)
async def test_the_first_nights_work_is_planned_for_three_in_the_morning_here(at: str, hours: float) -> None:
    papers = Papers()
    assert await _one_round(papers, at) == {1.0, 60.0}
    assert papers.planned == [(hours * 3600, True)]


async def test_what_is_due_is_done_logged_in_one_line_and_planned_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    papers = Papers(due=True)
    await _one_round(papers, "2026-11-22T03:00:30-03:00")
    assert papers.planned[1:] == [(24 * 3600 - 30, False)]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "retenção" in line]
    assert "conteúdo de 12 chamadas e 0 conversas; registros de 3 chamadas, 0 execuções" in line


async def test_every_request_that_waits_is_carried_out(capsys: pytest.CaptureFixture[str]) -> None:
    papers = Papers(requests=2)
    await _one_round(papers, "2026-11-22T12:00:00-03:00")
    assert papers.requests == -1
    assert capsys.readouterr().err.count("apagados a pedido") == 2
