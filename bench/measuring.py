"""One figure at a time: what a contender used and did between two marks, import and start-up left out."""

import asyncio
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from bench.machine import Gauge, pin
from bench.world import Ready, World

_PATIENCE = 2
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
    runs: float
    calls: float
    runs_per_s: float
    #: CPU of the contender's processes per run.
    cpu_ms: float
    #: CPU of PostgreSQL's processes per run; NaN where there is none.
    database_ms: float
    reads: float
    lag_p50_ms: float
    lag_p90_ms: float
    lag_p99_ms: float
    load: float
    rss_mb: float
    platform_load: float
    crm_load: float
    refused: float

    @property
    def key(self) -> tuple[str, int, str, int]:
        """What is the same in every round."""
        return self.measure, self.slots, self.contender, self.processes

    def as_json(self) -> dict[str, Any]:
        return {name: _rounded(value) for name, value in asdict(self).items()}


def medians(rows: Sequence[Row]) -> list[Row]:
    """One row for all rounds of a contender in a scene: the median of each figure."""
    groups: dict[tuple[str, int, str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    return [_median(group) for group in groups.values()]


def _median(rows: Sequence[Row]) -> Row:
    figures: dict[str, Any] = {
        each.name: _middle([getattr(row, each.name) for row in rows])
        for each in fields(Row)
        if each.name not in _NAMES
    }
    return replace(rows[0], **figures)


_NAMES = {"measure", "contender", "slots", "processes"}


def _middle(values: Sequence[float]) -> float:
    """The median of what is known; NaN where most rounds have no figure."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if 2 * len(known) > len(values) else math.nan


async def cold(world: World, started: Ready, database: Gauge | None, *, window_s: float, **names: Any) -> Row:
    """What happens in the first `window_s` after a contender got its runs."""
    _pin(started)
    gauges = _gauges(world, started, database)
    await world.mark()
    began, before = time.monotonic(), [gauge.cpu_s() for gauge in gauges]
    await started.begin()
    await asyncio.sleep(window_s)
    return await _measured(world, started, gauges, before, began, **names)


async def steady(
    world: World,
    started: Ready,
    database: Gauge | None,
    *,
    warm_s: float,
    warm_runs: int,
    window_s: float,
    **names: Any,
) -> Row:
    """What happens in `window_s`, after at least `warm_s` and so many runs."""
    _pin(started)
    await _warm(world, warm_s, warm_runs)
    gauges = _gauges(world, started, database)
    await world.mark()
    began, before = time.monotonic(), [gauge.cpu_s() for gauge in gauges]
    await asyncio.sleep(window_s)
    return await _measured(world, started, gauges, before, began, **names)


def _pin(started: Ready) -> None:
    if len(started.children) == 1:
        pin(started.children[0].pid, contender=True)


def _gauges(world: World, started: Ready, database: Gauge | None) -> list[Gauge]:
    own = Gauge([one.pid for one in started.children])
    return [own, world.platform_load, world.crm_load, *([database] if database else [])]


async def _measured(
    world: World,
    started: Ready,
    gauges: Sequence[Gauge],
    before: Sequence[float],
    began: float,
    **names: Any,
) -> Row:
    seen = await world.mark()
    used = [gauge.cpu_s() - start for gauge, start in zip(gauges, before, strict=True)]
    for one in started.children:
        one.check()
    held = {"rss_mb": gauges[0].rss_mb(), "processes": len(started.children)}
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
        calls=len(seen["lags"]),
        runs_per_s=seen["ended"] / took_s,
        cpu_ms=1000 * used[0] / runs,
        database_ms=1000 * used[3] / runs if len(used) > 3 else math.nan,
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
