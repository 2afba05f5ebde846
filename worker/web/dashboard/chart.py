"""Tickets and errors over time, as places on an SVG canvas; the template only writes them down. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import accumulate, pairwise

from worker.views import Hour

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Period:
    """`since` as `GET /v1/kpis` takes it; a bar stands for an hour, or for a day of the operator's zone."""

    since: str
    title: str
    bars: int
    daily: bool

    @property
    def seconds(self) -> float:
        return self.bars * (24 if self.daily else 1) * _HOUR_S


PERIODS = {
    period.since: period
    for period in (
        Period("24h", "24 horas", 24, daily=False),
        Period("7d", "7 dias", 7, daily=True),
        Period("30d", "30 dias", 30, daily=True),
    )
}


@dataclass(frozen=True, slots=True)
class Slot:
    """One bar's time and counts. `short` is written under the bar, `long` in the table."""

    short: str
    long: str
    opened: int = 0
    failed: int = 0
    unsure: int = 0
    rejected: int = 0

    @property
    def errors(self) -> int:
        return self.failed + self.unsure + self.rejected

    def counts(self, kinds: Iterable[str]) -> Iterator[int]:
        """The counts of these names."""
        return (getattr(self, kind) for kind in kinds)


def begins(period: Period, now: float, zone: tzinfo) -> list[float]:
    """When each bar's time begins, seconds since the epoch; the last one is still running."""
    here = datetime.fromtimestamp(now, zone)
    if period.daily:
        midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
        return [(midnight - timedelta(days=back)).timestamp() for back in range(period.bars - 1, -1, -1)]
    hour = here.replace(minute=0, second=0, microsecond=0).timestamp()
    return [hour - back * _HOUR_S for back in range(period.bars - 1, -1, -1)]


def slots(hours: Sequence[Hour], starts: Sequence[float], period: Period, zone: tzinfo) -> list[Slot]:
    """The hours put together in bars; bars in which nothing happened are there too."""
    filled: list[list[Hour]] = [[] for _ in starts]
    for hour in hours:
        filled[bisect_right(starts, hour.begin) - 1].append(hour)
    return [_slot(*each, period, zone) for each in zip(starts, filled, strict=True)]


def _slot(begin: float, hours: Sequence[Hour], period: Period, zone: tzinfo) -> Slot:
    then = datetime.fromtimestamp(begin, zone)
    short, long = (then.strftime("%d/%m"),) * 2 if period.daily else (f"{then:%H}h", f"{then:%d/%m, %H}h")
    return Slot(
        short,
        long,
        opened=sum(hour.opened for hour in hours),
        failed=sum(hour.failed for hour in hours),
        unsure=sum(hour.unsure for hour in hours),
        rejected=sum(hour.rejected for hour in hours),
    )


# ------------------------------------------------------------------------------------------------ drawing


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle; `kind` is the `Slot` count it stands for."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes. `ticks`: a y and the number there, nought first."""

    title: str
    top: float
    ticks: Sequence[tuple[float, int]]
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything to be written down. `labels`: an x and the time there; `columns`: x, width and slot."""

    name: str
    width: float
    height: float
    left: float
    panels: Sequence[Panel]
    labels: Sequence[tuple[float, str]]
    columns: Sequence[tuple[float, float, Slot]]


_LEFT, _RIGHT, _TITLE, _AXIS = 40.0, 4.0, 36.0, 26.0
_PANELS = (("Tickets abertos", ("opened",), 132.0), ("Erros", ("failed", "unsure", "rejected"), 84.0))
_LABEL = 46.0  # the least width between two times under the bars


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where a panel's columns (`step` wide) and counts (`highest` at the top) are."""

    step: float
    top: float
    floor: float
    highest: int

    def y(self, count: int) -> float:
        return _tenth(self.floor - count * (self.floor - self.top) / self.highest)


def draw(slots: Sequence[Slot], name: str, width: float) -> Chart:
    """Tickets above, errors below on a scale of their own: few errors beside many tickets stay visible."""
    step = (width - _LEFT - _RIGHT) / len(slots)
    panels, top = [], 0.0
    for title, kinds, height in _PANELS:
        top += _TITLE
        highest = ceiling(max(sum(slot.counts(kinds)) for slot in slots))
        panels.append(_panel(slots, title, kinds, _Axes(step, top, top + height, highest)))
        top += height
    every = next(n for n in (1, 2, 3, 6, 12) if n * step >= _LABEL or n == 12)
    marked = [nth for nth in range(len(slots)) if (len(slots) - 1 - nth) % every == 0]  # the newest always is
    return Chart(
        name=name,
        width=width,
        height=top + _AXIS,
        left=_LEFT,
        panels=panels,
        labels=[(_tenth(_LEFT + (nth + 0.5) * step), slots[nth].short) for nth in marked],
        columns=[(_tenth(_LEFT + nth * step), _tenth(step), slot) for nth, slot in enumerate(slots)],
    )


def _panel(slots: Sequence[Slot], title: str, kinds: Sequence[str], axes: _Axes) -> Panel:
    bars = [bar for nth, slot in enumerate(slots) for bar in _stack(slot, kinds, nth, axes)]
    ticks = [(axes.y(value), value) for value in (0, axes.highest // 2, axes.highest)]
    return Panel(title, axes.top, ticks, bars)


def _stack(slot: Slot, kinds: Sequence[str], nth: int, axes: _Axes) -> Iterator[Bar]:
    """A slot's counts upon each other."""
    width = min(axes.step * 0.72, 34.0)
    x = _tenth(_LEFT + nth * axes.step + (axes.step - width) / 2)
    edges = [axes.y(count) for count in accumulate(slot.counts(kinds), initial=0)]
    for kind, (low, high) in zip(kinds, pairwise(edges), strict=True):
        if high < low:
            yield Bar(kind, x, high, _tenth(width), _tenth(low - high))


def ceiling(highest: int) -> int:
    """A round number for the top of an axis, with a whole half."""
    power = 1
    while True:
        for lead in (2, 4, 6, 8, 10):
            if lead * power >= highest:
                return lead * power
        power *= 10


def _tenth(place: float) -> float:
    return round(place, 1)
