"""Writes the figures of docs/img/bench.json into docs/performance.md: `python -m bench.tables`."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "img" / "bench.json"
PAGE = ROOT / "docs" / "performance.md"

Figures = Mapping[str, Any]
Row = Mapping[str, Any]

_CONTENDERS = {
    "sdk httpx2": "SDK `poll` (httpx2)",
    "sdk aiohttp": "SDK `poll` (aiohttp)",
    "sdk, every 0.25 s": "SDK `poll`, every 0.25 s",
    "sockets": "bare sockets, every 1 s",
    "worker sqlite": "**worker, SQLite**",
    "worker postgresql": "**worker, PostgreSQL**",
    "worker agents": "**worker, `agents`**",
    "worker responses": "**worker, `responses`**",
}
_SCENES = {
    "cold": "{} at once, right after a start",
    "steady": "{} at once",
    "unbound": "{} at once, `POLL_RATE=10000`",
    "webhooks": "{} at once, webhooks",
    "saturated": "{} at once, no waiting",
}
_BLOCK = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(page: str, figures: Figures) -> str:
    """The page with the figures' tables. Raises `KeyError` for a marker that names no table."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_lines(TABLES[block[2]](figures))}\n{block[3]}", page)


def _lines(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _conditions(figures: Figures) -> Iterator[str]:
    rounds = max(_rounds(figures).values(), default=0)
    yield (
        f"`BENCH={figures['mode']}`, {figures['cores']} cores, load {figures['load_before']:.1f} before the "
        f'start; medians of {rounds} round{"s" if rounds > 1 else ""}, "no waiting" in one.'
    )


def _rounds(figures: Figures) -> dict[tuple[str, int, str], int]:
    counts: dict[tuple[str, int, str], int] = {}
    for row in figures["rounds"]:
        key = row["measure"], row["slots"], row["contender"]
        counts[key] = counts.get(key, 0) + 1
    return counts


def _waiting(figures: Figures) -> Iterator[str]:
    yield "| scene | contender | lag p50 | p99 | reads |"
    yield "|---|---|---|---|---|"
    for row in _of(figures, "cold", "steady", "unbound", "webhooks"):
        lags = f"{_whole(row['lag_p50_ms'])} ms | {_whole(row['lag_p99_ms'])} ms"
        yield f"| {_scene(row)} | {_CONTENDERS[row['contender']]} | {lags} | {_tenths(row['reads'])} |"


def _costs(figures: Figures) -> Iterator[str]:
    yield "| scene | contender | CPU per run | ÷ SDK (httpx2) | PostgreSQL's CPU | runs/s (cores used) |"
    yield "|---|---|---|---|---|---|"
    for row in _of(figures, "steady", "unbound", "saturated"):
        beside = _row(figures, "saturated" if row["measure"] == "saturated" else "steady", "sdk httpx2")
        cells = (
            _scene(row),
            _CONTENDERS[row["contender"]],
            f"{_tenths(row['cpu_ms'])} ms",
            _ratio(row, beside),
            f"{_tenths(row['database_ms'])} ms" if row["database_ms"] else "",
            f"{row['runs_per_s']:,.0f} ({row['load']:.2f})",
        )
        yield f"| {' | '.join(cells)} |"


def _targets(figures: Figures) -> Iterator[str]:
    yield "| target | at most | measured | |"
    yield "|---|---|---|---|"
    for target in figures["targets"]:
        limit, measured = target.get("at_most"), target["measured"]
        if limit is None:
            continue
        met = "" if measured is None else "yes" if measured <= limit else "**no**"
        yield f"| {target['target']} | {limit:,g} | {_number(measured)} | {met} |"


def _database(figures: Figures) -> Iterator[str]:
    yield "| scene | its CPU per run | runs/s per core of it | worker's CPU per run | workers it feeds |"
    yield "|---|---|---|---|---|"
    for row in _of(figures, "steady", "unbound", "saturated"):
        if row["database_ms"] and row["cpu_ms"]:
            carried = f"{1000 / row['database_ms']:,.0f}"
            fed = f"{row['cpu_ms'] / row['database_ms']:.1f}"
            own, database = _tenths(row["cpu_ms"]), _tenths(row["database_ms"])
            yield f"| {_scene(row)} | {database} ms | {carried} | {own} ms | {fed} |"


TABLES: Mapping[str, Callable[[Figures], Iterator[str]]] = {
    "conditions": _conditions,
    "waiting": _waiting,
    "costs": _costs,
    "targets": _targets,
    "database": _database,
}


def _of(figures: Figures, *measures: str) -> Sequence[Row]:
    """The rows of these scenes, scene by scene."""
    rows: Sequence[Row] = figures["rows"]
    slots = sorted({row["slots"] for row in rows})
    return [
        row
        for measure in measures
        for size in slots
        for row in rows
        if (row["measure"], row["slots"]) == (measure, size)
    ]


def _row(figures: Figures, measure: str, contender: str) -> Row | None:
    named = (row for row in figures["rows"] if (row["measure"], row["contender"]) == (measure, contender))
    return next(named, None)


def _scene(row: Row) -> str:
    return _SCENES[row["measure"]].format(f"{row['slots']:,}")


def _ratio(row: Row, other: Row | None) -> str:
    return f"{row['cpu_ms'] / other['cpu_ms']:.2f}" if other and other["cpu_ms"] and row["cpu_ms"] else ""


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _tenths(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    found = json.loads(FIGURES.read_text(encoding="utf-8"))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
