"""When each run is polled next, within the read budget.

While the budget (`POLL_RATE`) is not used up, every run is polled every `POLL_MIN_S`. When more polls are due
than the budget allows, the run that is due the longest comes first, so all runs wait proportionally longer.
"""

import asyncio
import heapq
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from worker.model import Run
from worker.ports import Clock

_LONGEST = 60.0
"""No failure and no hint of the platform delays a poll for longer. Seconds."""

_TRUST = 10
"""After so many calls in a row that polls found before a webhook, webhooks are no longer relied on."""

_JITTER = 0.05
"""Delays after failures vary by this share, so that runs that failed together do not stay together."""

_TICK_S = 0.05
"""Polls begin in groups, this far apart: one by one, each would find the processor's caches cold."""

_FRESH_S = 1.0
"""A run past its first round and announced longer ago was answered by another process, at an unknown time."""

_ROUNDING = 1e-6
"""Ticks that floating-point rounding may shift a moment by."""

_BEFORE_ALL = 0.0
"""Due before every other run: monotonic time is positive."""


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """Bounds of the run loop, from the settings (contract §2)."""

    #: Runs watched at once (`MAX_RUNS`).
    max_runs: int
    #: Answered rounds of one run, after which it is lost (`MAX_ROUNDS`).
    max_rounds: int
    #: Seconds that a call may keep its run waiting (`CALL_DEADLINE_S`).
    call_deadline_s: float
    #: Seconds between two looks for unannounced runs in one conversation; 0 for none (`DISCOVER_INTERVAL_S`).
    discover_interval_s: float
    #: Seconds that a conversation counts as active (`DISCOVER_WINDOW_S`).
    discover_window_s: float
    #: Seconds that a stop waits for attempts in flight (`SHUTDOWN_GRACE_S`).
    shutdown_grace_s: float


def just_announced(run: Run) -> bool:
    """Whether no round of a claimed run can have been answered since its latest announcement."""
    return run.rounds == 0 or run.known_s < _FRESH_S


class Pace:
    """Decides when a run is polled next. Times are monotonic seconds.

    `minimum` and `maximum` are `POLL_MIN_S` and `POLL_MAX_S`. With `webhooks`, polls are only the safety net
    while webhooks arrive: then `maximum` lies between two polls of a run.
    """

    def __init__(
        self, minimum: float, maximum: float, rng: random.Random | None = None, *, webhooks: bool = False
    ) -> None:
        self._webhooks = webhooks
        self._minimum = minimum
        self._maximum = maximum
        self._rng = rng or random.Random()  # noqa: S311  # jitter, no secret
        #: Calls that polls may still find before webhooks are no longer relied on.
        self._trust = 0

    def webhook_arrived(self) -> None:
        """Record that a webhook named a run, whether or not a poll was quicker."""
        if self._webhooks:
            self._trust = _TRUST

    def record_source(self, *, wake_up: bool) -> None:
        """Record whether a wake-up led to the poll that found a call, or a poll found it unprompted.

        A webhook may have reached another process than the one that watches the run: this one sees a wake-up.
        """
        if self._webhooks:
            self._trust = _TRUST if wake_up else max(0, self._trust - 1)

    def first_poll(self, run: Run, now: float) -> float:
        """When to poll a run that has just been claimed.

        At a random moment of its first interval, so that runs that began together are polled apart; at once
        if a wake-up came before the claim.
        """
        if run.wake_count:
            return now
        # A webhook for an unknown run without a thread is lost if it comes before the announcement.
        certain_to_arrive = run.ref.thread_id is not None or run.rounds > 0
        relies_on_webhooks = self._trust and certain_to_arrive
        interval = self._maximum if relies_on_webhooks else self._minimum * self._rng.random()
        return now + max(0.0, interval - run.known_s)

    def next_poll(self, polled_at: float, now: float, hint: float | None = None) -> float:
        """When to poll again after a poll that began at `polled_at`. The platform's hint is a floor."""
        interval = self._maximum if self._trust else self._minimum
        # Polls begin on ticks: counted from the tick, a delay of some ticks is kept to the millisecond.
        return max(_tick_before(polled_at) + interval, now + min(hint or 0.0, _LONGEST))

    def delay_after_failure(self, failures: int, retry_after: float | None = None) -> float:
        """Seconds to wait after failed polls in a row: doubling, to a minute; `Retry-After` is a floor."""
        # The exponent is bounded because 2 ** 2000 overflows a float.
        grown = min(_LONGEST, self._minimum * 2.0 ** min(failures, 20))
        return max(grown * self._rng.uniform(1 - _JITTER, 1.0), min(retry_after or 0.0, _LONGEST))


class TokenBucket:
    """At most `rate` platform reads a second for this process, in bursts of at most a tenth of that."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self.rate = rate
        self._burst = max(1.0, rate / 10)
        self._clock = clock
        #: Reads that may begin now; below zero while callers wait.
        self._tokens = self._burst
        #: When `_tokens` was last brought up to date.
        self._filled_at = clock.monotonic()

    async def take(self) -> None:
        """Wait for one token. Waiters are served in the order they came."""
        self._refill()
        self._tokens -= 1
        if self._tokens < 0:
            await self._clock.sleep(-self._tokens / self.rate)

    async def take_spare(self) -> None:
        """Wait for a token that nobody who calls `take` wants: behind every waiter, and those that come."""
        self._refill()
        while self._tokens < 1:
            await self._clock.sleep((1 - self._tokens) / self.rate)
            self._refill()
        self._tokens -= 1

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now


class Agenda:
    """The next poll of every watched run, earliest due first, so that overload delays all runs evenly."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: (due, order of insertion, run id); an entry that was replaced or cancelled stays until it surfaces.
        self._heap: list[tuple[float, int, str]] = []
        #: The due time that counts, for each run with a planned poll.
        self._due: dict[str, float] = {}
        self._order: Iterator[int] = itertools.count()
        #: Set when the earliest entry has changed.
        self._changed = asyncio.Event()

    def schedule(self, run_id: str, due: float) -> None:
        """Poll this run at `due` (monotonic seconds), instead of whenever was planned."""
        self._due[run_id] = due
        heapq.heappush(self._heap, (due, next(self._order), run_id))
        if self._heap[0][0] == due:  # else there is an earlier one to wait for
            self._changed.set()

    def schedule_first(self, run_id: str) -> None:
        """Poll this run before all others, however many are overdue."""
        self.schedule(run_id, _BEFORE_ALL)

    def is_scheduled(self, run_id: str) -> bool:
        """Whether a poll is planned; not while one is under way."""
        return run_id in self._due

    def cancel(self, run_id: str) -> None:
        """Plan no further poll of this run."""
        self._due.pop(run_id, None)

    async def ready(self) -> None:
        """Wait until a run is due and its tick has come."""
        while True:
            self._changed.clear()
            self._discard_replaced()
            wait = _tick_after(self._heap[0][0]) - self._clock.monotonic() if self._heap else None
            if wait is not None and wait <= 0:
                return
            await self._change_or(wait)

    def pop(self) -> str | None:
        """The run that has been due the longest; None if the one that was due has been cancelled."""
        self._discard_replaced()
        if not self._heap or self._heap[0][0] > self._clock.monotonic():
            return None
        _, _, run_id = heapq.heappop(self._heap)
        del self._due[run_id]
        return run_id

    def _discard_replaced(self) -> None:
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


def _tick_before(moment: float) -> float:
    return math.floor(moment / _TICK_S + _ROUNDING) * _TICK_S


def _tick_after(moment: float) -> float:
    return math.ceil(moment / _TICK_S - _ROUNDING) * _TICK_S
