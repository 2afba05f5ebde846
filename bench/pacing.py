"""Lag × reads of ways to pace looks, on times that are known, in virtual time (`python -m bench.pacing`).

Prints the tables of docs/pacing.md. Seeded: every run prints the same. What is measured is `worker.pacing`
itself; only time, the platform and what other pacing would do are played.
"""

import asyncio
import bisect
import heapq
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from worker.learning import Bounds, plan
from worker.model import Run, RunRef
from worker.pacing import Agenda, Pace, TokenBucket, Wait, wait_for

MINIMUM_S, MAXIMUM_S = 0.25, 5.0
FIXED_S = (0.25, 0.5, 1.0, 2.0, 5.0)
RUNS = 6_000
ARRIVALS = 5.0
"""Runs begin at this rate a second, so that many are under way while others are learned from."""

_LEARNT = 500
"""Runs that are not counted: what is measured is a worker that has been at work for a while."""

Next = Callable[[float], float]
"""The age of the next look, after one at this age that found nothing."""


# ----------------------------------------------------------------------------------------- how long runs take


def _tight(rng: random.Random, _: float) -> float:
    return max(0.3, rng.gauss(4.0, 0.3))


def _long_tail(rng: random.Random, _: float) -> float:
    return rng.lognormvariate(math.log(3.0), 0.9)


def _two_kinds(rng: random.Random, _: float) -> float:
    slow = rng.random() < 0.2
    return rng.lognormvariate(math.log(25.0), 0.4) if slow else rng.lognormvariate(math.log(2.0), 0.3)


def _drifting(rng: random.Random, progress: float) -> float:
    return rng.lognormvariate(math.log(_median(progress)), 0.2)


def _median(progress: float) -> float:
    """From 2 s to 8 s and slowly back, then suddenly 6 s."""
    return 6.0 if progress > 0.8 else 5.0 - 3.0 * math.cos(2 * math.pi * progress / 0.8)


def _memoryless(rng: random.Random, _: float) -> float:
    return rng.expovariate(1 / 3.0)


def _random(*seed: object) -> random.Random:
    return random.Random(str(seed))  # noqa: S311  # a simulation, no secret


DISTRIBUTIONS = {
    "tight": (_tight, "normal, mean 4 s, deviation 0.3 s"),
    "long tail": (_long_tail, "lognormal, median 3 s, σ 0.9 (p99 24 s)"),
    "two kinds": (_two_kinds, "four in five about 2 s, one in five about 25 s (it searches files first)"),
    "drifting": (_drifting, "lognormal, σ 0.2, median from 2 s to 8 s and back, then suddenly 6 s"),
    "memoryless": (
        _memoryless,
        "exponential, mean 3 s: having waited tells nothing, so a fixed interval is best",
    ),
}


def times(name: str, runs: int = RUNS, seed: int = 7) -> list[float]:
    """How long each of so many runs takes to want something. Seconds."""
    draw, _ = DISTRIBUTIONS[name]
    rng = _random(name, seed)
    return [draw(rng, number / runs) for number in range(runs)]


# ------------------------------------------------------------------------------------------- what comes of it


class Result:
    """Seconds from when a run wanted something to the look that saw it, and looks a run."""

    def __init__(self, lags: Sequence[float], reads: float) -> None:
        self.lags = sorted(lags)
        self.reads = reads / len(lags)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.lags)

    def quantile(self, share: float) -> float:
        """The lag that this share of all runs stays under."""
        return self.lags[int(len(self.lags) * share)]


def fixed(durations: Sequence[float], interval: float) -> Result:
    """A look every `interval` s; none when the run has only begun, which favours these."""
    looks = [max(1, math.ceil(each / interval)) for each in durations]
    lags = [n * interval - each for n, each in zip(looks, durations, strict=True)]
    return Result(lags, sum(looks))


def fixed_with_reads(durations: Sequence[float], reads: float) -> Result:
    """The fixed interval that needs as many reads."""
    return fixed(durations, _solve(lambda interval: fixed(durations, interval).reads > reads))


def fixed_with_lag(durations: Sequence[float], mean: float) -> Result:
    """The fixed interval that lags as much."""
    return fixed(durations, _solve(lambda interval: fixed(durations, interval).mean < mean))


def _solve(too_small: Callable[[float], bool]) -> float:
    low, high = 0.001, 60.0
    for _ in range(24):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if too_small(middle) else (low, middle)
    return high


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


def best(durations: Sequence[float], reads: float) -> Result:
    """The best schedule there is for times that are known beforehand, with so many reads."""
    return best_of([durations], reads)


def best_of(parts: Sequence[Sequence[float]], reads: float) -> Result:
    """The same where times change: a schedule for each part, at one price of a read."""
    price = _solve(lambda price: _known(parts, price).reads > reads)
    return _known(parts, price)


def _known(parts: Sequence[Sequence[float]], price: float) -> Result:
    lags, looks = [], 0
    for durations in parts:
        edges = [0.0]
        while edges[-1] < max(durations):
            edges.append(max(edges[-1] + 0.03, edges[-1] * 1.01))
        mass = [0.0] * (len(edges) - 1)
        for each in durations:
            mass[min(bisect.bisect_right(edges, each), len(mass)) - 1] += 1
        following = plan(edges, mass, Bounds(MINIMUM_S, MAXIMUM_S, price))
        schedule = list(_chain(edges, following))
        for each in durations:
            seen = bisect.bisect_left(schedule, each)
            lags.append(schedule[min(seen, len(schedule) - 1)] - each)
            looks += seen + 1
    return Result(lags, looks)


def _chain(edges: Sequence[float], following: Sequence[float]) -> Iterator[float]:
    at = 0
    while at < len(edges) - 1:
        yield following[at]
        at = bisect.bisect_left(edges, following[at])


# -------------------------------------------------------------------------------------------- what is learned


def _begun(now: float) -> Wait:
    run = Run(RunRef("run", None), "conversation", epoch=1, rounds=0, known_s=0.0)
    return wait_for(run, now)


def learned(
    durations: Sequence[float], skip: int = _LEARNT, seed: int = 1, minimum: float = MINIMUM_S
) -> Result:
    """The worker's own pacing, which begins knowing nothing."""
    pace = Pace(minimum, MAXIMUM_S, _random("jitter", seed))
    return _play(durations, pace.first_delay, pace.delay, pace.found, skip=skip, seed=seed)


def cold(durations: Sequence[float], runs: int = 20) -> Result:
    """The first runs of a worker that has just been started, over many starts."""
    starts = range(0, len(durations) - runs, runs)
    parts = [learned(durations[at : at + runs], 0, at) for at in starts[:: max(1, len(starts) // 25)]]
    lags = [lag for part in parts for lag in part.lags]
    return Result(lags, sum(part.reads * runs for part in parts))


def before(durations: Sequence[float], skip: int = _LEARNT, seed: int = 1) -> Result:
    """The worker's pacing before it learned: a look at once, then ever later."""
    following = geometric(_random("jitter", seed))

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
) -> Result:
    """Runs that begin one after another and are looked at when they are due: no read ever waits."""
    rng, now = _random("arrivals", seed), 0.0
    agenda: list[tuple[float, int, Wait | None]] = []
    for number in range(len(durations)):
        now += rng.expovariate(ARRIVALS)
        agenda.append((now, number, None))
    lags, reads = [], 0
    while agenda:
        now, number, wait = heapq.heappop(agenda)
        if wait is None:
            wait = _begun(now)
            heapq.heappush(agenda, (now + first(wait, now), number, wait))
            continue
        reads += number >= skip
        if now - wait.since < durations[number]:
            wait.looked = now - wait.since
            heapq.heappush(agenda, (now + delay(wait, now), number, wait))
            continue
        found(wait, now)
        if number >= skip:
            lags.append(now - wait.since - durations[number])
    return Result(lags, reads)


# ---------------------------------------------------------------------------------------------- too many runs


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
    rng, clock = _random("runs"), VirtualClock()
    agenda, bucket = Agenda(clock), TokenBucket(rate, clock)
    pace = Pace(MINIMUM_S, MAXIMUM_S, _random("jitter"))
    waits: dict[str, tuple[Wait, float, float]] = {}
    late: dict[str, list[float]] = {str(number): [] for number in range(runs)}
    lags, reads = [], 0

    def put(name: str, wait: Wait, lasts: float, delay: float) -> None:
        waits[name] = wait, lasts, clock.now + delay
        agenda.put(name, delay)

    def begin(name: str) -> None:
        wait = _begun(clock.now)
        put(name, wait, _two_kinds(rng, 0.0), pace.first_delay(wait, clock.now))

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


# ------------------------------------------------------------------------------------------------- the tables


def _lines() -> Iterator[str]:
    for name, (_, what) in DISTRIBUTIONS.items():
        yield from _distribution(name, what)
    yield from _dial()
    yield from _overloads()
    yield from ("", _cost())


def _distribution(name: str, what: str) -> Iterator[str]:
    durations = times(name)
    counted = durations[_LEARNT:]
    ours = learned(durations)
    parts = 20 if name == "drifting" else 1
    size = math.ceil(len(counted) / parts)
    optimum = best_of([counted[at : at + size] for at in range(0, len(counted), size)], ours.reads)
    yield from ("", f"**{name}**: {what}", "")
    yield from ("| pacing | lag mean | p50 | p99 | reads a run |", "|---|---|---|---|---|")
    for interval in FIXED_S:
        yield _row(f"every {interval:g} s", fixed(counted, interval))
    helper = fixed(counted, 1.0)
    helper = Result(helper.lags, (helper.reads + 1) * len(counted))
    yield _row("the SDK's helper (at once, then 1 s)", helper)
    yield _row("before: at once, then 1.5 times longer", before(durations))
    yield _row("**learned**", ours)
    yield _row("learned, a start's first 20 runs", cold(durations))
    yield _row("best possible, times known, as many reads at most", optimum)
    reads, lag = fixed_with_reads(counted, ours.reads), fixed_with_lag(counted, ours.mean)
    yield ""
    tail = _less(ours.quantile(0.99), reads.quantile(0.99))
    yield (
        f"Beside the fixed interval with as many reads, learned lags {_less(ours.mean, reads.mean)} "
        f"(p99: {tail}); beside the one with as much lag, it reads {_less(ours.reads, lag.reads)}."
    )


def _row(name: str, result: Result) -> str:
    lag = f"{result.mean:.2f} s | {result.quantile(0.5):.2f} | {result.quantile(0.99):.2f}"
    return f"| {name} | {lag} | {result.reads:.2f} |"


def _less(ours: float, theirs: float) -> str:
    share = 1 - ours / theirs
    return f"{abs(share):.0%} {'less' if share >= 0 else 'more'}"


def _dial() -> Iterator[str]:
    yield from ("", "**`POLL_MIN_S`** sets what a read is worth: learned, on the long tail", "")
    yield from ("| `POLL_MIN_S` | lag mean | p50 | p99 | reads a run |", "|---|---|---|---|---|")
    for minimum in (0.1, 0.25, 0.5, 1.0):
        yield _row(f"{minimum:g}", learned(times("long tail"), minimum=minimum))


def _overloads() -> Iterator[str]:
    free = asyncio.run(overload(1e9))
    wish = free.reads_a_second
    yield from (
        "",
        f"**overload**: 200 runs at once, two kinds, that would like {wish:.0f} reads a second",
        "",
    )
    yield "| `POLL_RATE` | looks a second | late by (median run) | latest run ÷ median | Gini | lag mean |"
    yield "|---|---|---|---|---|---|"
    half, fifth = (asyncio.run(overload(wish / less)) for less in (2, 5))
    for name, load in (("does not bind", free), ("a half of that", half), ("a fifth of that", fifth)):
        late = statistics.median(load.late)
        even = f"{load.unevenness:.2f} | {load.gini:.3f}" if late else "- | -"
        yield f"| {name} | {load.reads_a_second:.0f} | {late:.2f} s | {even} | {load.lags.mean:.2f} s |"


def _cost() -> str:
    """CPU of deciding: the one figure that varies from machine to machine."""
    pace, looks = Pace(MINIMUM_S, MAXIMUM_S, _random("jitter")), 4
    durations = times("long tail", 2000)
    begun = time.process_time()
    for lasts in durations:
        wait = _begun(0.0)
        pace.first_delay(wait, 0.0)
        for look in range(looks):
            wait.looked = lasts * look / looks
            pace.delay(wait, wait.looked)
        pace.found(wait, lasts)
    spent = (time.process_time() - begun) / len(durations)
    return (
        f"CPU a run, its {looks} decisions and what is learned from it: {spent * 1e6:.0f} µs on this machine."
    )


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in _lines())
