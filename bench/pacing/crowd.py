"""Learned pacing beside equal sharing, at the same number of reads: `python -m bench.pacing.crowd`.

So many slots, each with one run after the other: a wait for the call, then a wait for the end. Virtual time.
"""

import asyncio
import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bench.pacing.durations import DISTRIBUTIONS, seeded
from bench.pacing.overload import VirtualClock
from bench.pacing.played import begun
from bench.pacing.result import MAXIMUM_S, MINIMUM_S, Result
from worker.engine.arrival_times import Bounds, Habits
from worker.engine.pacing import Agenda, Pace, TokenBucket, Wait

RATE = 200.0
"""POLL_RATE as it is by default."""

SECONDS = 120.0
"""Virtual time that is measured, after as much again to learn in."""

_CRM_S = 0.05
_LONGEST_S = 60.0

Draw = Callable[[random.Random, float], float]


class Pacing(Protocol):
    """What a way of pacing decides."""

    def first_delay(self, wait: Wait, now: float) -> float: ...
    def delay(self, wait: Wait, now: float) -> float: ...
    def found(self, wait: Wait, now: float) -> None: ...


class EqualSharing:
    """Every run is due again after POLL_MIN_S; the read budget makes all of them wait their turn."""

    def first_delay(self, wait: Wait, now: float) -> float:
        return MINIMUM_S

    def delay(self, wait: Wait, now: float) -> float:
        return MINIMUM_S

    def found(self, wait: Wait, now: float) -> None:
        pass


def learned() -> Pace:
    """The worker's pacing as it is."""
    return Pace(MINIMUM_S, MAXIMUM_S, seeded("jitter"))


def learned_at(price: float) -> Pace:
    """The same, at another price of a read and without an upper bound that the budget could not keep."""
    pace = Pace(MINIMUM_S, _LONGEST_S, seeded("jitter"))
    pace._habits = Habits(Bounds(MINIMUM_S, _LONGEST_S, price))  # noqa: SLF001  # the price is no setting
    return pace


@dataclass(frozen=True)
class Crowd:
    """Lag of the calls, reads a second, and lag of each slot's first call right after the start."""

    warm: Result
    reads_a_second: float
    cold: Result


def _two_to_eight(rng: random.Random, _: float) -> float:
    return rng.uniform(2.0, 8.0)


def _model(rng: random.Random, _: float) -> float:
    return rng.lognormvariate(math.log(3.0), 0.4)


SCENES: dict[str, Draw] = {
    "2 to 8 s": _two_to_eight,
    "around 3 s (lognormal, σ 0.4)": _model,
    **{name: draw for name, (draw, _) in DISTRIBUTIONS.items()},
}


async def crowd(
    pacing: Pacing, draw: Draw, slots: int, rate: float = RATE, seconds: float = SECONDS
) -> Crowd:
    """Play so many slots at `rate` reads a second."""
    rng, clock = seeded("runs"), VirtualClock()
    agenda, bucket = Agenda(clock), TokenBucket(rate, clock)
    waits: dict[str, tuple[Wait, float]] = {}
    warm, cold, reads = [], [], 0

    def begin(name: str, wait: Wait, lasts: float) -> None:
        waits[name] = wait, lasts
        agenda.put(name, pacing.first_delay(wait, clock.now))

    def first(name: str) -> None:
        begin(name, begun(clock.now), draw(rng, min(1.0, clock.now / (2 * seconds))))

    for number in range(slots):
        first(f"{number}")
    not_seen = set(waits)
    while clock.now < 2 * seconds:
        await agenda.ready()
        await bucket.take()
        name = agenda.pop()
        if name is None:  # its tick comes a rounding error later
            continue
        wait, lasts = waits[name]
        reads += (counted := clock.now > seconds)
        age = clock.now - wait.since
        if age < lasts:
            wait.looked = max(0.0, age)
            agenda.put(name, pacing.delay(wait, clock.now))
            continue
        pacing.found(wait, clock.now)
        if not wait.first:
            first(name)
            continue
        if name in not_seen:
            not_seen.remove(name)
            cold.append(age - lasts)
        if counted:
            warm.append(age - lasts)
        begin(name, Wait(clock.now + _CRM_S, first=False), rng.lognormvariate(math.log(1.2), 0.3))
    return Crowd(Result(warm, reads), reads / seconds, Result(cold or [math.nan], 0))


async def at_the_budget(draw: Draw, slots: int) -> Crowd:
    """Learned pacing at the price that spends the budget and no more."""
    low, high = 0.001, 100.0
    for _ in range(9):
        price = math.sqrt(low * high)
        free = await crowd(learned_at(price), draw, slots, 1e9, 40.0)
        low, high = (price, high) if free.reads_a_second > RATE else (low, price)
    return await crowd(learned_at(high), draw, slots)


async def main() -> None:
    out = sys.stdout.write
    out("| times to the call | runs | pacing | reads/s | lag mean | p50 | p99 | cold mean | mean ÷ equal |\n")
    out("|---|---|---|---|---|---|---|---|---|\n")
    for name, draw in SCENES.items():
        for slots in (300, 1000):
            equal = await crowd(EqualSharing(), draw, slots)
            for pacing, it in (
                ("equal", equal),
                ("learned", await crowd(learned(), draw, slots)),
                ("learned, price from the budget", await at_the_budget(draw, slots)),
            ):
                out(
                    f"| {name} | {slots} | {pacing} | {it.reads_a_second:.0f} | {it.warm.mean:.2f} | "
                    f"{it.warm.quantile(0.5):.2f} | {it.warm.quantile(0.99):.2f} | {it.cold.mean:.2f} | "
                    f"{it.warm.mean / equal.warm.mean:.2f} |\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
