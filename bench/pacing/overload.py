"""More runs than POLL_RATE bears: how late looks are, and whether all runs are equally late."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.pacing.durations import seeded, two_kinds
from bench.pacing.played import begun
from bench.pacing.result import MAXIMUM_S, MINIMUM_S, Result
from worker.engine.pacing import Agenda, Pace, TokenBucket, Wait


class VirtualClock:
    """Time passes only by waiting for it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)


@dataclass(frozen=True)
class Load:
    """Looks a second, and how late they were: each watched run's mean lateness, beside the others'."""

    reads_a_second: float
    late: Sequence[float]
    lags: Result

    @property
    def unevenness(self) -> float:
        """The latest run's lateness over the median run's."""
        return max(self.late) / statistics.median(self.late)

    @property
    def gini(self) -> float:
        """0: all equally late; 1: one bears it all."""
        ordered, n = sorted(self.late), len(self.late)
        return sum((2 * i - n + 1) * each for i, each in enumerate(ordered)) / (n * sum(ordered))


async def overload(rate: float, runs: int = 200, seconds: float = 200.0) -> Load:
    """So many runs, each followed at once by another, two kinds of them, at `rate` reads a second."""
    rng, clock = seeded("runs"), VirtualClock()
    agenda, bucket = Agenda(clock), TokenBucket(rate, clock)
    pace = Pace(MINIMUM_S, MAXIMUM_S, seeded("jitter"))
    waits: dict[str, tuple[Wait, float, float]] = {}
    late: dict[str, list[float]] = {str(number): [] for number in range(runs)}
    lags, reads = [], 0

    def put(name: str, wait: Wait, lasts: float, delay: float) -> None:
        waits[name] = wait, lasts, clock.now + delay
        agenda.put(name, delay)

    def begin(name: str) -> None:
        wait = begun(clock.now)
        put(name, wait, two_kinds(rng, 0.0), pace.first_delay(wait, clock.now))

    for name in late:
        begin(name)
    while clock.now < 2 * seconds:
        await agenda.ready()
        await bucket.take()
        name = agenda.pop() or ""
        wait, lasts, due = waits[name]
        age = clock.now - wait.since
        if counted := clock.now > seconds:
            reads += 1
            late[name].append(clock.now - due)
        if age < lasts:
            wait.looked = age
            put(name, wait, lasts, pace.delay(wait, clock.now))
            continue
        pace.found(wait, clock.now)
        if counted:
            lags.append(age - lasts)
        begin(name)
    return Load(reads / seconds, [statistics.fmean(each) for each in late.values()], Result(lags, reads))
