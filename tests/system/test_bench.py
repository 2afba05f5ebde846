"""The bench runs, and measures everything it says it does. What it measures is no matter here."""

import asyncio
import json
import math
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


async def test_the_bench_measures_every_contender_and_leaves_its_figures_and_its_picture(
    tmp_path: Path,
) -> None:
    environ = {**os.environ, "BENCH": "smoke", "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(tmp_path)}
    bench = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench",
        str(tmp_path),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await bench.communicate()
    assert bench.returncode == 0, said.decode()
    found = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    steady = {row["contender"]: row for row in found["rows"] if row["measure"] == "steady"}
    assert steady.keys() == {"sdk httpx2", "sdk aiohttp", "sockets", "worker sqlite", "worker postgresql"}
    assert not any(row["refused"] for row in found["rows"])
    assert {row["measure"] for row in found["rows"]} == {"steady", "saturated", "watched"}
    assert {old["database"] for old in found["old_rows"]} == {"sqlite", "postgresql"}
    assert len(found["targets"]) == 6
    assert found["soak"]
    assert (tmp_path / "bench.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_who_is_overrun_has_no_figures_and_is_drawn_and_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    from bench import plot, report
    from bench.measuring import Row

    told = dict.fromkeys(("cpu_ms", "reads", "lag_p50_ms", "lag_p90_ms", "lag_p99_ms"), 12.0)
    load = dict.fromkeys(("load", "rss_mb", "platform_load", "crm_load"), 1.0)
    scene = {"measure": "steady", "slots": 1_000, "processes": 1, "refused": 0, **load}
    ended = Row(contender="worker sqlite", runs=20, runs_per_s=1.0, **scene, **told)
    overrun = Row(contender="sdk httpx2", runs=0, runs_per_s=0.0, **scene, **dict.fromkeys(told, math.nan))
    for rows in ([ended, overrun], [overrun]):
        plot.draw(rows, tmp_path / "bench.svg")
        assert "<!-- none to tell -->" in (tmp_path / "bench.svg").read_text(encoding="utf-8")
        assert report.table(rows).row_count == len(rows)
    assert overrun.as_json()["cpu_ms"] is None
