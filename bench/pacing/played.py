"""The worker's pacing, now and before it learned, played in virtual time on times that are known."""

import bisect
import heapq
import random
from collections.abc import Callable, Sequence

from bench.pacing.durations import seeded
from bench.pacing.result import MAXIMUM_S, MINIMUM_S, Result
from worker.engine.pacing import Pace, Wait, tick, wait_for
from worker.model import Run, RunRef

ARRIVALS = 5.0
"""Runs begin at this rate a second, so that many are under way while others are learned from."""

LEARNT = 500
"""Runs that are not counted: what is measured is a worker that has been at work for a while."""

Next = Callable[[float], float]
"""The age of the next look, after one at this age that found nothing."""


def begun(now: float) -> Wait:
    """A run that nobody knew before."""
    run = Run(RunRef("run", None), "conversation", epoch=1, rounds=0, known_s=0.0)
    return wait_for(run, now)


def learned(
    durations: Sequence[float], skip: int = LEARNT, seed: int = 1, minimum: float = MINIMUM_S
) -> Result:
    """The worker's own pacing, which begins knowing nothing."""
    pace = Pace(minimum, MAXIMUM_S, seeded("jitter", seed))
    return _play(durations, pace.first_delay, pace.delay, pace.found, skip=skip, seed=seed, begun_at=tick)


def cold(durations: Sequence[float], runs: int = 20) -> Result:
    """The first runs of a worker that has just been started, over many starts."""
    starts = range(0, len(durations) - runs, runs)
    parts = [learned(durations[at : at + runs], 0, at) for at in starts[:: max(1, len(starts) // 25)]]
    lags = [lag for part in parts for lag in part.lags]
    return Result(lags, sum(part.reads * runs for part in parts))


def before(durations: Sequence[float], skip: int = LEARNT, seed: int = 1) -> Result:
    """The worker's pacing before it learned: a look at once, then ever later."""
    following = geometric(seeded("jitter", seed))

    def delay(wait: Wait, now: float) -> float:
        age = now - wait.since
        return following(age) - age

    return _play(durations, lambda *_: 0.0, delay, lambda *_: None, skip=skip, seed=seed)


def _play(
    durations: Sequence[float],
    first: Callable[[Wait, float], float],
    delay: Callable[[Wait, float], float],
    found: Callable[[Wait, float], None],
    *,
    skip: int,
    seed: int,
    begun_at: Callable[[float], float] = float,
) -> Result:
    """Runs that begin one after another and are looked at when they are due: no read waits for another."""
    rng, now = seeded("arrivals", seed), 0.0
    agenda: list[tuple[float, int, Wait | None]] = []
    for number in range(len(durations)):
        now += rng.expovariate(ARRIVALS)
        agenda.append((now, number, None))
    lags, reads = [], 0
    while agenda:
        now, number, wait = heapq.heappop(agenda)
        if wait is None:
            wait = begun(now)
            heapq.heappush(agenda, (begun_at(now + first(wait, now)), number, wait))
            continue
        reads += number >= skip
        if now - wait.since < durations[number]:
            wait.looked = now - wait.since
            heapq.heappush(agenda, (begun_at(now + delay(wait, now)), number, wait))
            continue
        found(wait, now)
        if number >= skip:
            lags.append(now - wait.since - durations[number])
    return Result(lags, reads)


def geometric(rng: random.Random) -> Next:
    """What the worker did before it learned: 1.5 times longer each time, ±20 %, between the bounds."""
    ends = [MINIMUM_S * 1.5]
    while len(ends) < 500:
        ends.append(ends[-1] + min(MAXIMUM_S, MINIMUM_S * 1.5 ** (len(ends) + 1)))

    def following(age: float) -> float:
        looks = bisect.bisect_right(ends, age + 0.05 * age)
        delay = min(MAXIMUM_S, MINIMUM_S * 1.5 ** (looks + 1)) * rng.uniform(0.8, 1.2)
        return age + max(MINIMUM_S, min(MAXIMUM_S, delay))

    return following
