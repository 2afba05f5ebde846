"""The figures as people and programs read them: a table with ratios, JSON, and the targets."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import CORES
from bench.measuring import Row
from bench.scenes import FIXED, FLOOR, POSTGRESQL, SDK, SQLITE, Report, too_few_cores

_BESIDE = SDK[0]
_COLUMNS: Sequence[tuple[str, Callable[[Row], str]]] = (
    ("lag p50", lambda row: f"{row.lag_p50_ms:.0f}"),
    ("p90", lambda row: f"{row.lag_p90_ms:.0f}"),
    ("p99 ms", lambda row: f"{row.lag_p99_ms:.0f}"),
    ("reads/run", lambda row: f"{row.reads:.1f}"),
    ("CPU ms/run", lambda row: f"{row.cpu_ms:.1f}"),
    ("PostgreSQL ms/run", lambda row: _known(row.database_ms)),
    ("runs/s", lambda row: f"{row.runs_per_s:.1f}"),
    ("cores", lambda row: f"{row.load:.2f}"),
    ("RSS MB", lambda row: f"{row.rss_mb:.0f}"),
    ("calls", lambda row: f"{row.calls:.0f}"),
)


def _known(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"


def table(rows: Sequence[Row]) -> Table:
    """Every row, with its CPU as a ratio to the SDK helper's and to the floor's at as many runs."""
    made = Table("scene", "runs", "contender", *(name for name, _ in _COLUMNS), "CPU ÷ sdk", "CPU ÷ floor")
    for row in rows:
        contender = row.contender + (f" ×{row.processes}" if row.measure == "scaling" else "")
        beside = [_ratio(row, _other(rows, row, name)) for name in (_BESIDE, FLOOR)]
        made.add_row(row.measure, str(row.slots), contender, *(show(row) for _, show in _COLUMNS), *beside)
    return made


def _other(rows: Sequence[Row], row: Row, contender: str) -> Row | None:
    """The other's row of the same scene; only the worker has one with and one without a budget."""
    measure = "steady" if row.measure == "unbound" else row.measure
    wanted = (measure, row.slots, contender)
    return next((each for each in rows if (each.measure, each.slots, each.contender) == wanted), None)


def _ratio(row: Row, other: Row | None) -> str:
    return f"{row.cpu_ms / other.cpu_ms:.2f}" if other and other.runs and row.runs else ""


class _Targets:
    """What was aimed at, beside the medians that were measured."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.told: list[dict[str, Any]] = []

    def row(self, measure: str, contender: str, slots: int | None = None) -> Row | None:
        for row in self._rows:
            if (row.measure, row.contender) == (measure, contender) and slots in (None, row.slots):
                return row
        return None

    def lag(self, name: str, row: Row | None, p50_ms: float, p99_ms: float | None = None) -> None:
        if row is None:
            return
        self.at_most(f"{name}: lag p50, ms", p50_ms, row.lag_p50_ms)
        if p99_ms is not None:
            self.at_most(f"{name}: lag p99, ms", p99_ms, row.lag_p99_ms)

    def ratio(self, name: str, limit: float, row: Row | None, other: Row | None, figure: str) -> None:
        if row is not None and other is not None and getattr(other, figure):
            self.at_most(name, limit, getattr(row, figure) / getattr(other, figure))

    def at_most(self, name: str, limit: float, measured: float) -> None:
        known = None if math.isnan(measured) else round(measured, 3)
        self.told.append({"target": name, "at_most": limit, "measured": known})


def targets(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The targets of each scene that was measured; `measured` is None where nothing ended."""
    it = _Targets(rows)
    for slots in sorted({row.slots for row in rows if row.measure == "cold"}):
        worker, fixed = it.row("cold", SQLITE, slots), it.row("cold", FIXED, slots)
        it.lag(f"{slots} at once, cold", worker, 150, 350)
        it.ratio(f"{slots} at once, cold: reads ÷ every 0.25 s", 1.0, worker, fixed, "reads")
    many = min((row.slots for row in rows if row.measure == "steady"), default=0)
    it.lag(f"{many} at once, defaults", it.row("steady", SQLITE, many), 800, 1_700)
    unbound, sdk = it.row("unbound", SQLITE, many), it.row("steady", _BESIDE, many)
    it.lag(f"{many} at once, POLL_RATE not binding", unbound, 200)
    it.ratio(f"{many} at once, POLL_RATE not binding: CPU ÷ SDK helper", 0.5, unbound, sdk, "cpu_ms")
    few = max((row.slots for row in rows if row.measure == "cold"), default=0)
    postgresql, own = it.row("cold", POSTGRESQL, few), it.row("cold", SQLITE, few)
    it.ratio(f"PostgreSQL ÷ SQLite, {few} at once: lag p50", 1.2, postgresql, own, "lag_p50_ms")
    postgresql, own = it.row("steady", POSTGRESQL, many), it.row("steady", SQLITE, many)
    it.ratio(f"PostgreSQL ÷ SQLite, {many} at once: CPU", 1.5, postgresql, own, "cpu_ms")
    for row in (row for row in rows if row.measure == "webhooks"):
        it.lag(f"webhooks, {row.contender}", row, 100)
        it.at_most(f"webhooks, {row.contender}: reads until a call is answered", 1.3, row.reads)
    return [*it.told, *_scaling(rows)]


def _scaling(rows: Sequence[Row]) -> list[dict[str, Any]]:
    scaling = {row.processes: row for row in rows if row.measure == "scaling"}
    if not {1, 2} <= scaling.keys() or not scaling[1].runs_per_s:
        return []
    gain = scaling[2].runs_per_s / scaling[1].runs_per_s
    cores = f"; {CORES} cores are too few to tell" if too_few_cores(2) else ""
    return [{"target": f"2 processes ÷ 1 on PostgreSQL{cores}", "at_least": 1.8, "measured": round(gain, 2)}]


def as_json(report: Report, mode: str) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "mode": mode,
        "cores": CORES,
        "targets": targets(report.rows),
        "rows": [row.as_json() for row in report.rows],
        "rounds": [row.as_json() for row in report.rounds],
        "soak": [row.as_json() for row in report.soak],
        "starts": list(report.starts),
        "old_rows": [old.as_json() for old in report.old_rows],
    }


def show(report: Report, console: Console) -> None:
    """All of it on the terminal."""
    console.print(table(report.rows))
    for told in targets(report.rows):
        console.print(told)
    if report.soak:
        first, last = report.soak[0], report.soak[-1]
        runs = sum(row.runs for row in report.soak)
        console.print(
            f"{runs} runs one after the other: {first.cpu_ms:.1f} → {last.cpu_ms:.1f} ms CPU a run, "
            f"{first.rss_mb:.0f} → {last.rss_mb:.0f} MB"
        )
    for start in report.starts:
        console.print(f"start: {start}")
    for old in report.old_rows:
        console.print(
            f"{old.database} with {old.rows} old runs and calls: looking for due runs "
            f"{old.claim_runs_ms} ms, for calls {old.claim_calls_ms} ms, KPIs of a day {old.kpis_24h_ms} ms"
        )
        for plan in old.plans:
            console.print(f"  {plan}", markup=False, highlight=False)
