"""The figures as people and programs read them: a table with ratios, JSON, and what became of the targets."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import CORES
from bench.measuring import Row
from bench.scenes import Report, too_few_cores
from bench.world import POLL_RATE

_BESIDE = "sdk httpx2"
_FLOOR = "sockets"
_COLUMNS: Sequence[tuple[str, Callable[[Row], str]]] = (
    ("CPU ms/run", lambda row: f"{row.cpu_ms:.1f}"),
    ("reads/run", lambda row: f"{row.reads:.1f}"),
    ("lag p50", lambda row: f"{row.lag_p50_ms:.0f}"),
    ("p90", lambda row: f"{row.lag_p90_ms:.0f}"),
    ("p99 ms", lambda row: f"{row.lag_p99_ms:.0f}"),
    ("runs/s", lambda row: f"{row.runs_per_s:.1f}"),
    ("cores", lambda row: f"{row.load:.2f}"),
    ("RSS MB", lambda row: f"{row.rss_mb:.0f}"),
    ("platform, CRM cores", lambda row: f"{row.platform_load:.2f} {row.crm_load:.2f}"),
)


def table(rows: Sequence[Row]) -> Table:
    """Every row, with its CPU as a ratio to the SDK helper's and to the floor's in the same scene."""
    made = Table("scene", "runs", "contender", *(name for name, _ in _COLUMNS), "CPU ÷ sdk", "CPU ÷ floor")
    for row in rows:
        contender = row.contender + (f" ×{row.processes}" if row.measure == "scaling" else "")
        beside = [_ratio(row, _other(rows, row, name)) for name in (_BESIDE, _FLOOR)]
        made.add_row(row.measure, str(row.slots), contender, *(show(row) for _, show in _COLUMNS), *beside)
    return made


def _other(rows: Sequence[Row], row: Row, contender: str) -> Row | None:
    wanted = (row.measure, row.slots, contender)
    return next((each for each in rows if (each.measure, each.slots, each.contender) == wanted), None)


def _ratio(row: Row, other: Row | None) -> str:
    return f"{row.cpu_ms / other.cpu_ms:.2f}" if other and other.runs and row.runs else ""


def targets(report: Report) -> list[dict[str, Any]]:
    """What was aimed at, and what was measured; None where it was not."""
    first = min((row.slots for row in report.rows if row.measure == "steady"), default=0)
    mine, sdk, bare = (
        _row(report, "steady", name, slots=first) for name in ("worker sqlite", _BESIDE, _FLOOR)
    )
    watched = _row(report, "watched", "worker sqlite")
    slots, held = (watched.slots, watched.rss_mb) if watched else (0, None)
    scaling = {row.processes: row for row in report.rows if row.measure == "scaling"}
    found: list[tuple[str, float, float | None]] = [
        (f"CPU per run at {first} ÷ SDK helper", 0.25, _share(mine, sdk, "cpu_ms")),
        ("lag p50 ÷ SDK helper", 0.2, _share(mine, sdk, "lag_p50_ms")),
        ("lag p99 ÷ SDK helper", 0.2, _share(mine, sdk, "lag_p99_ms")),
        ("reads per run ÷ SDK helper", 1.1, _share(mine, sdk, "reads")),
        ("CPU per run ÷ bare sockets", 8.0, _share(mine, bare, "cpu_ms")),
        (f"MB with {slots} watched runs", 300.0, held),
    ]
    told = [
        {"target": name, "at_most": limit, "measured": None if value is None else round(value, 3)}
        for name, limit, value in found
    ]
    if 2 in scaling and 1 in scaling:
        gain = scaling[2].runs_per_s / scaling[1].runs_per_s if scaling[1].runs_per_s else None
        cores = f"; {CORES} cores are too few to tell" if too_few_cores(2) else ""
        name = f"2 processes ÷ 1 on PostgreSQL{cores}"
        told.append({"target": name, "at_least": 1.8, "measured": gain and round(gain, 2)})
    return told


def _row(report: Report, measure: str, contender: str, *, slots: int | None = None) -> Row | None:
    for row in report.rows:
        if (row.measure, row.contender) == (measure, contender) and slots in (None, row.slots):
            return row
    return None


def _share(row: Row | None, other: Row | None, name: str) -> float | None:
    if row is None or other is None or not (row.runs and other.runs and getattr(other, name)):
        return None
    return float(getattr(row, name) / getattr(other, name))


def as_json(report: Report, mode: str) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "mode": mode,
        "cores": CORES,
        "POLL_RATE": POLL_RATE,
        "targets": targets(report),
        "rows": [row.as_json() for row in report.rows],
        "soak": [row.as_json() for row in report.soak],
        "starts": list(report.starts),
        "old_rows": [old.as_json() for old in report.old_rows],
    }


def show(report: Report, console: Console) -> None:
    """All of it on the terminal."""
    console.print(table(report.rows))
    for told in targets(report):
        console.print(told)
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
