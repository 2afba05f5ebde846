"""`make bench`: everything measured in one run. `BENCH=quick` takes eight minutes, `BENCH=long` soaks too."""

import asyncio
import json
import os
import sys
from pathlib import Path

from rich.console import Console

from bench import plot, report
from bench.machine import CORES
from bench.measuring import Row
from bench.scenes import PLANS, Bench, Report
from bench.world import postgres, world


async def _measured(mode: str, console: Console) -> Report:
    def say(row: Row) -> None:
        console.print(
            f"{row.measure:10}{row.slots:6} {row.contender:18} ×{row.processes}  "
            f"lag {row.lag_p50_ms:6.0f} … {row.lag_p99_ms:6.0f} ms "
            f"{row.reads:6.1f} reads/run {row.cpu_ms:7.1f} ms CPU/run {row.database_ms:5.1f} in PostgreSQL "
            f"{row.runs_per_s:7.1f} runs/s {row.load:5.2f} cores {row.rss_mb:5.0f} MB"
        )

    with postgres() as server:
        async with world() as servers:
            return await Bench(PLANS[mode], servers, server, say).run()


def main(folder: Path) -> None:
    """Measure as `BENCH` says, show it, and leave `bench.json` and two pictures in `folder`."""
    mode = os.environ.get("BENCH") or "full"
    if mode not in PLANS:
        sys.exit(f"BENCH={mode}? {', '.join(PLANS)}")
    console = Console(width=180)
    load = os.getloadavg()[0]
    console.print(f"BENCH={mode}, {CORES} cores (load {load:.1f})")
    measured = asyncio.run(_measured(mode, console))
    report.show(measured, console)
    folder.mkdir(parents=True, exist_ok=True)
    written = json.dumps(report.as_json(measured, mode) | {"load_before": load}, indent=1, ensure_ascii=False)
    (folder / "bench.json").write_text(written + "\n", encoding="utf-8")
    plot.waiting(measured.rows, folder / "waiting.svg")
    plot.costs(measured.rows, folder / "bench.svg")
    console.print(f"{folder}: bench.json, waiting.svg, bench.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/img"))
