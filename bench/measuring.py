"""One figure at a time: what a contender used and did between two marks, import and start-up left out."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.machine import Child, Gauge, pin
from bench.world import World

_PATIENCE = 6
"""A contender that is overrun has not finished a run of each slot after so many times `warm_s`, either."""


@dataclass(frozen=True)
class Row:
    """Figures of one contender in one scene; times in milliseconds, loads in cores.

    What is per run is NaN where no run ended: a contender that is overrun.
    """

    measure: str
    contender: str
    slots: int
    processes: int
    runs: int
    runs_per_s: float
    cpu_ms: float
    reads: float
    lag_p50_ms: float
    lag_p90_ms: float
    lag_p99_ms: float
    load: float
    rss_mb: float
    platform_load: float
    crm_load: float
    refused: int

    def as_json(self) -> dict[str, Any]:
        return {name: _rounded(value) for name, value in asdict(self).items()}


async def steady(
    world: World, children: Sequence[Child], *, warm_s: float, warm_runs: int, window_s: float, **names: Any
) -> Row:
    """What happens in `window_s`, after at least `warm_s` and so many runs."""
    if len(children) == 1:
        pin(children[0].pid, contender=True)
    await _warm(world, warm_s, warm_runs)
    gauges = Gauge([one.pid for one in children]), world.platform_load, world.crm_load
    await world.mark()
    began, before = time.monotonic(), [gauge.cpu_s() for gauge in gauges]
    await asyncio.sleep(window_s)
    seen = await world.mark()
    used = [gauge.cpu_s() - start for gauge, start in zip(gauges, before, strict=True)]
    for one in children:
        one.check()
    held = {"rss_mb": gauges[0].rss_mb(), "processes": len(children)}
    return _row(seen, used, time.monotonic() - began, **held, **names)


async def _warm(world: World, warm_s: float, runs: int) -> None:
    began, ended = time.monotonic(), 0
    while (gone := time.monotonic() - began) < warm_s or (ended < runs and gone < _PATIENCE * warm_s):
        await asyncio.sleep(min(1.0, warm_s))
        ended += (await world.mark())["ended"]


def _row(seen: dict[str, Any], used: Sequence[float], took_s: float, **known: Any) -> Row:
    runs = seen["ended"] or math.nan
    return Row(
        runs=seen["ended"],
        runs_per_s=seen["ended"] / took_s,
        cpu_ms=1000 * used[0] / runs,
        reads=seen["reads"] / runs,
        lag_p50_ms=quantile(seen["lags"], 0.5),
        lag_p90_ms=quantile(seen["lags"], 0.9),
        lag_p99_ms=quantile(seen["lags"], 0.99),
        load=used[0] / took_s,
        platform_load=used[1] / took_s,
        crm_load=used[2] / took_s,
        refused=seen["refused"],
        **known,
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 3)
    return value


def quantile(values: Sequence[float], share: float) -> float:
    """Milliseconds of sorted seconds."""
    return 1000 * values[min(len(values) - 1, int(share * len(values)))] if values else math.nan
