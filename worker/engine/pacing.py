"""When to look at which run next: reads are the cost, so looks are spaced, shared out and bounded."""

import asyncio
import heapq
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from worker.engine.arrival_times import Bounds, Habits
from worker.model import Run
from worker.ports import Clock

_LONGEST = 60.0
"""No failure and no wish of the platform keeps a run unseen for longer. Seconds."""

_TRUST = 10
"""So many finds of our own, in a row, before we no longer count on being told."""

_JITTER = 0.05
"""Delays vary by this share, so that runs which began together do not stay together."""

_TICK_S = 0.05
"""Looks begin together, so long after each other: one by one, each would find the processor cold."""

_FRESH_S = 1.0
"""A run past its first round and known for longer was answered by another process, some unknown time ago."""


def tick(due: float) -> float:
    """When a look that is due is begun: with all that have come due since the last tick. Monotonic time."""
    return math.ceil(due / _TICK_S) * _TICK_S


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """Bounds of the loop, from the settings (contract §2). Seconds and counts."""

    max_runs: int
    max_rounds: int
    call_deadline_s: float
    discover_interval_s: float
    discover_window_s: float
    shutdown_grace_s: float


@dataclass(slots=True)
class Wait:
    """One wait for a run to want something: `first`, since it is known; else since it was answered.

    `since`: monotonic clock. `looked`: the age at the last look that found nothing. `over`: this wait has
    nothing (more) to teach.
    """

    since: float
    first: bool
    assistant: str | None = None
    looked: float = 0.0
    over: bool = False


def wait_for(run: Run, now: float) -> Wait:
    """The wait that a claimed run is in."""
    known = just_announced(run)
    return Wait(now - run.known_s if known else now, first=run.rounds == 0, over=not known)


def just_announced(run: Run) -> bool:
    """No round of a claimed run can have been answered since it was announced (anew)."""
    return run.rounds == 0 or run.known_s < _FRESH_S


class Pace:
    """The delay before the next look at one run: learned, jittered, bounded. Seconds.

    Where webhooks tell of runs that want something (`told`), looking unasked finds nothing while they arrive:
    then it is left at the maximum. A look is worth a quarter of the minimum of waiting, so that a
    run that is certain to want something within the minimum is looked at as often as may be.
    """

    def __init__(
        self, minimum: float, maximum: float, rng: random.Random | None = None, *, told: bool = False
    ) -> None:
        self._told = told
        self._minimum = minimum
        self._maximum = maximum
        self._rng = rng or random.Random()  # noqa: S311  # jitter, no secret
        self._trust = 0
        self._habits = Habits(Bounds(minimum, maximum, price=minimum / 4))

    def learn(self, *, told: bool) -> None:
        """A run was found to want something: because we were told to look, or because we looked."""
        if self._told:
            self._trust = _TRUST if told else max(0, self._trust - 1)

    def found(self, wait: Wait, now: float) -> None:
        """What was waited for has come, since the last look that found nothing; the first time counts."""
        if not wait.over:
            self._habits.observe(wait.assistant, wait.looked, now - wait.since, first=wait.first)
            wait.over = True

    def first_delay(self, wait: Wait, now: float) -> float:
        """Before the first look at a run: none where a webhook may have come before the run was watched."""
        if self._told or wait.over:
            return 0.0
        due = self._habits.of(wait.assistant, first=wait.first).next_look(0.0)
        return max(0.0, self._jittered(due) - (now - wait.since))

    def delay(self, wait: Wait, now: float, hint: float | None = None) -> float:
        """After a look that found nothing; the platform's hint is a floor, above the maximum too."""
        delay = self._maximum
        if not self._trust:
            age = max(0.0, now - wait.since)
            delay = self._habits.of(wait.assistant, first=wait.first).next_look(age) - age
        return max(self._jittered(delay), min(hint or 0.0, _LONGEST))

    def delay_after_failure(self, failures: int, retry_after: float | None = None) -> float:
        """After `failures` failed looks in a row: doubling, to a minute; the platform's wish is a floor."""
        # The exponent is bounded because 2 ** 2000 overflows a float.
        grown = min(_LONGEST, self._minimum * 2.0 ** min(failures, 20))
        return max(grown * self._rng.uniform(1 - _JITTER, 1.0), min(retry_after or 0.0, _LONGEST))

    def _jittered(self, delay: float) -> float:
        jittered = delay * self._rng.uniform(1 - _JITTER, 1 + _JITTER)
        return max(self._minimum, min(self._maximum, jittered))


class TokenBucket:
    """At most `rate` platform reads a second for this process, in bursts of at most a tenth of that."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self.rate = rate
        self._burst = max(1.0, rate / 10)
        self._clock = clock
        self._tokens = self._burst
        self._filled = clock.monotonic()

    async def take(self) -> None:
        """Wait for one token. Waiters are served in the order they came."""
        self._refill()
        self._tokens -= 1
        if self._tokens < 0:
            await self._clock.sleep(-self._tokens / self.rate)

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self.rate)
        self._filled = now


class Agenda:
    """Which run is looked at when: earliest due first, so that overload delays every run evenly."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, str]] = []
        self._due: dict[str, float] = {}
        self._order: Iterator[int] = itertools.count()
        self._changed = asyncio.Event()

    def put(self, run_id: str, delay: float) -> None:
        """Look at this run after `delay` seconds, instead of whenever was planned."""
        due = self._clock.monotonic() + delay
        self._due[run_id] = due
        heapq.heappush(self._heap, (due, next(self._order), run_id))
        if self._heap[0][0] == due:  # else there is an earlier one to wait for
            self._changed.set()

    def hurry(self, run_id: str) -> None:
        """Look now, if a look is planned at all (one under way will plan its own next)."""
        if run_id in self._due:
            self.put(run_id, 0.0)

    def drop(self, run_id: str) -> None:
        """Plan no further look at this run."""
        self._due.pop(run_id, None)

    async def ready(self) -> None:
        """Wait until some run is due, and its tick has come."""
        while True:
            self._changed.clear()
            self._forget_replaced()
            wait = tick(self._heap[0][0]) - self._clock.monotonic() if self._heap else None
            if wait is not None and wait <= 0:
                return
            await self._change_or(wait)

    def pop(self) -> str | None:
        """The run due the longest; None when the one that was due has been dropped meanwhile."""
        self._forget_replaced()
        if not self._heap or self._heap[0][0] > self._clock.monotonic():
            return None
        _, _, run_id = heapq.heappop(self._heap)
        del self._due[run_id]
        return run_id

    def _forget_replaced(self) -> None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    async def _change_or(self, wait: float | None) -> None:
        changed = asyncio.ensure_future(self._changed.wait())
        timer = asyncio.ensure_future(self._clock.sleep(wait)) if wait is not None else None
        waits = [task for task in (changed, timer) if task]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
