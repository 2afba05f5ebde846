"""The bench runs, and measures everything it says it does. What it measures is no matter here."""

import asyncio
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

ROOT = Path(__file__).parents[2]


def made_row(contender: str, figure: float, runs: int = 20) -> Any:
    """A row at 1,000 runs whose figures of one run are all the same."""
    from bench.measuring import Row

    measured = dict.fromkeys(("cpu_ms", "reads", "lag_p50_ms", "lag_p90_ms", "lag_p99_ms"), figure)
    load = dict.fromkeys(("load", "rss_mb", "platform_load", "crm_load", "runs_per_s"), 1.0)
    names = {"measure": "steady", "contender": contender, "slots": 1_000, "processes": 1}
    return Row(**names, runs=runs, calls=runs, refused=0, database_ms=math.nan, **load, **measured)


def test_the_bench_of_replies_has_a_line_for_each_length(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench import replies

    monkeypatch.setattr(replies, "TEXTS", 3)
    monkeypatch.setattr(replies, "LENGTHS", (10, 1_234))
    assert [len(text) for text in replies.texts("abc", 7)] == [7, 7, 7]
    replies.main()
    shown = capsys.readouterr().out
    assert "│ 10 " in shown
    assert "│ 1,234 " in shown


async def test_the_bench_measures_every_scene_and_leaves_its_figures_and_its_picture(
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
    contenders: dict[str, set[str]] = {}
    for row in found["rows"]:
        contenders.setdefault(row["measure"], set()).add(row["contender"])
    workers = {"worker sqlite", "worker postgresql"}
    assert contenders == {  # the other contenders differ from these by an argument
        "cold": {"sdk, every 0.25 s", *workers},
        "steady": {"sdk httpx2", *workers},
        "unbound": {"worker sqlite"},
        "webhooks": {"worker agents", "worker responses"},
        "saturated": {"sockets"},
        "watched": {"worker sqlite"},
    }
    assert not any(row["refused"] for row in found["rows"])
    for row in found["rows"]:
        measured = row["contender"] == "worker postgresql" and row["runs"] > 0
        assert (row["database_ms"] is not None) == measured
        assert not measured or row["database_ms"] >= 0  # the system counts in hundredths of a second
    assert {old["database"] for old in found["old_rows"]} == {"sqlite", "postgresql"}
    assert len(found["targets"]) == 13
    assert found["soak"]
    for picture in ("waiting.svg", "bench.svg"):
        assert (tmp_path / picture).read_text(encoding="utf-8").startswith("<?xml")


BURN = "import time\nwhile time.process_time() < 0.25: pass\n"
"""A program that uses a quarter of a second of CPU."""


def test_a_gauge_measures_a_process_and_its_children_that_have_ended() -> None:
    from bench.machine import Gauge

    program = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}], check=True)\n"
    program += BURN + "print(flush=True)\ninput()\n"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        gauge = Gauge([process.pid])
        assert gauge.cpu_s() >= 0.45
        assert gauge.rss_mb() > 1
        process.communicate(b"\n")


def test_the_load_of_postgresql_grows_with_what_it_is_asked(postgres: str) -> None:
    from bench.world import Postgres

    with psycopg.connect(postgres) as connection:
        server = psutil.Process(connection.info.backend_pid).ppid()
        load = Postgres(postgres, server).load
        before = load.cpu_s()
        connection.execute("select count(*) from generate_series(1, 2000000)")
        assert load.cpu_s() > before


def test_an_overrun_contender_has_no_figures_and_is_drawn_and_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    from bench import plot, report

    rows = [made_row("worker sqlite", 12.0), made_row("sdk httpx2", math.nan, runs=0)]
    for shown in (rows, rows[1:]):
        plot.waiting(shown, tmp_path / "waiting.svg")
        plot.costs(shown, tmp_path / "bench.svg")
        assert "<!-- no run ended -->" in (tmp_path / "waiting.svg").read_text(encoding="utf-8")
        assert report.table(shown).row_count == len(shown)
    assert rows[1].as_json()["cpu_ms"] is None


def test_the_median_of_the_rounds_counts_and_a_round_without_figures_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    from bench.measuring import medians

    rounds = [made_row("sockets", figure) for figure in (30.0, 10.0, math.nan)]
    rounds += [made_row("sdk httpx2", figure) for figure in (5.0, math.nan, math.nan)]
    sockets, sdk = medians(rounds)
    assert (sockets.contender, sockets.lag_p50_ms, sdk.contender) == ("sockets", 20.0, "sdk httpx2")
    assert math.isnan(sdk.lag_p50_ms)
