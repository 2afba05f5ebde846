"""What of the dashboard costs a pass over a period: counted once for all who look, and never in their way."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from worker.kpis import Kpis
from worker.views import Hour


@dataclass(frozen=True, slots=True)
class Figures:
    """`starts`: when each bar of the chart begins. `at`: when it was counted, in seconds since the epoch."""

    kpis: Kpis
    hours: Sequence[Hour]
    starts: Sequence[float]
    at: float


Count = Callable[[], Awaitable[Figures]]


class ThrottledKpiCache:
    """Counts one period at a time, and for at most a twentieth of the time.

    A caller waits `patience_s` for new figures and then gets the previous ones, or none: the rest of the page
    does not wait until a million calls are counted.
    """

    SHORTEST_S = 2.0

    def __init__(self, clock: Callable[[], float] = time.monotonic, patience_s: float = 1.5) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._one_at_a_time = asyncio.Lock()
        self._kept: dict[str, tuple[float, Figures]] = {}
        self._counting: dict[str, asyncio.Task[None]] = {}

    async def get(self, period: str, count: Count) -> Figures | None:
        """The figures of a period; None while the first count lasts. Raises what `count` does."""
        due, _ = self._kept.get(period, (0.0, None))
        if period not in self._counting and self._clock() >= due:
            self._counting[period] = asyncio.create_task(self._renew(period, count))
        if task := self._counting.get(period):
            await asyncio.wait({task}, timeout=self._patience_s)
            if task.done():
                self._counting.pop(period, None)
                await task
        _, figures = self._kept.get(period, (0.0, None))
        return figures

    async def _renew(self, period: str, count: Count) -> None:
        async with self._one_at_a_time:
            begun = self._clock()
            figures = await count()
            ended = self._clock()
            self._kept[period] = (ended + max(self.SHORTEST_S, 20 * (ended - begun)), figures)
