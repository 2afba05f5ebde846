"""The bench runs, and measures everything it says it does. What it measures is no matter here."""

import asyncio
import json
import os
import sys
from pathlib import Path

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
