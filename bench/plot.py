"""Two pictures: how long a call waits in the scenes that users have, and what a run costs."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from bench.measuring import Row

mpl.use("svg")

from matplotlib import pyplot  # after the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

_COLOURS = {"sdk": "#b0b7c3", "sockets": "#6b7280", "worker": "#2563eb"}
_LEFT_OUT = {"sockets", "sdk aiohttp", "worker postgresql"}
_SCENES = {"cold": "right after a start", "steady": "at work", "webhooks": "with webhooks"}


def waiting(rows: Sequence[Row], path: Path) -> None:
    """Lag from the median to the 99th percentile, scene by scene, of the contenders people choose from."""
    shown = [row for row in rows if row.measure in _SCENES and row.contender not in _LEFT_OUT]
    _style()
    figure, panel = pyplot.subplots(figsize=(8, 0.28 * len(shown) + 1.2))
    names = [f"{row.contender} · {row.slots} runs {_SCENES[row.measure]}" for row in shown]
    _lag(panel, shown)
    panel.set_yticks(range(len(shown)), names)
    panel.invert_yaxis()
    panel.set_title("how long a call waits, ms: p50 … p99")
    _save(figure, path)


def costs(rows: Sequence[Row], path: Path) -> None:
    """CPU and reads per run, of many runs at once."""
    shown = [row for row in rows if row.measure in ("steady", "unbound")]
    _style()
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 0.36 * len(shown) + 1.4), sharey=True)
    names = [
        f"{row.contender}, {row.slots} runs" + (", no budget" if row.measure == "unbound" else "")
        for row in shown
    ]
    for panel, title, values in (
        (panels[0], "CPU per run, ms", [row.cpu_ms if row.runs else 0.0 for row in shown]),
        (panels[1], "platform reads per run", [row.reads if row.runs else 0.0 for row in shown]),
    ):
        bars = panel.barh(names, values, color=[_colour(row) for row in shown])
        panel.bar_label(bars, fmt=lambda value: f"{value:.1f}" if value else "–", padding=3)
        panel.set_title(title)
        panel.margins(x=0.15)
    known = [row.cpu_ms for row in shown if row.runs and row.cpu_ms > 0]
    _logarithmic(panels[0], min(known, default=1.0) / 4, max(known, default=1.0) * 10)
    panels[0].invert_yaxis()
    _save(figure, path)


def _style() -> None:
    mpl.rcParams["svg.hashsalt"] = "bench"


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _colour(row: Row) -> str:
    return _COLOURS[row.contender.replace(",", " ").split()[0]]


def _lag(panel: Axes, rows: Sequence[Row]) -> None:
    """From the median to the 99th percentile, on a logarithmic axis."""
    seen = [lag for row in rows for lag in (row.lag_p50_ms, row.lag_p99_ms) if lag >= 1.0] or [1.0]
    left, right = min(seen) / 2, max(seen) * 10  # room for the figures
    for at, row in enumerate(rows):
        if math.isnan(row.lag_p99_ms):
            panel.annotate("no run ended", (left, at), (6, -3), textcoords="offset points")
            continue
        line = [max(1.0, lag) for lag in (row.lag_p50_ms, row.lag_p90_ms, row.lag_p99_ms)]
        panel.plot(line, [at] * 3, color=_colour(row), linewidth=4, marker="|")
        figures = f"{row.lag_p50_ms:,.0f} … {row.lag_p99_ms:,.0f}"
        panel.annotate(figures, (line[-1], at), (6, -3), textcoords="offset points")
    _logarithmic(panel, left, right)


def _logarithmic(panel: Axes, left: float, right: float) -> None:
    panel.set_xlim(left, right)  # first: a logarithmic axis finds no limits where there are no figures
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
