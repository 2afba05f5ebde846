"""The tables of docs/pacing.md."""

import asyncio
import math
import statistics
import sys
import time
from collections.abc import Iterator

from bench.pacing.computed import FIXED_S, best_of, fixed, fixed_with_lag, fixed_with_reads
from bench.pacing.durations import DISTRIBUTIONS, seeded, times
from bench.pacing.overload import overload
from bench.pacing.played import LEARNT, before, begun, cold, learned
from bench.pacing.result import MAXIMUM_S, MINIMUM_S, Result
from worker.engine.pacing import Pace


def _lines() -> Iterator[str]:
    for name, (_, what) in DISTRIBUTIONS.items():
        yield from _distribution(name, what)
    yield from _dial()
    yield from _overloads()
    yield from ("", _cost())


def _distribution(name: str, what: str) -> Iterator[str]:
    durations = times(name)
    counted = durations[LEARNT:]
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
    pace, looks = Pace(MINIMUM_S, MAXIMUM_S, seeded("jitter")), 4
    durations = times("long tail", 2000)
    started = time.process_time()
    for lasts in durations:
        wait = begun(0.0)
        pace.first_delay(wait, 0.0)
        for look in range(looks):
            wait.looked = lasts * look / looks
            pace.delay(wait, wait.looked)
        pace.found(wait, lasts)
    spent = (time.process_time() - started) / len(durations)
    return (
        f"CPU a run, its {looks} decisions and what is learned from it: {spent * 1e6:.0f} µs on this machine."
    )


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in _lines())
