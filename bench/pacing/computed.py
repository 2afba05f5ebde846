"""What other pacing would bring: fixed intervals, and the best schedule for times known beforehand."""

import bisect
import math
from collections.abc import Callable, Iterator, Sequence

from bench.pacing.result import MAXIMUM_S, MINIMUM_S, Result
from worker.engine.arrival_times import Bounds, plan

FIXED_S = (0.25, 0.5, 1.0, 2.0, 5.0)


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


def best_of(parts: Sequence[Sequence[float]], reads: float) -> Result:
    """The best schedule there is for times that are known beforehand, with so many reads.

    Where times change, one schedule for each part, at one price of a read.
    """
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
