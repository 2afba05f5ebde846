"""The bench as one picture: what a run costs and how long it waits, beside the SDK's helper and the floor."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from bench.measuring import Row

mpl.use("svg")

from matplotlib import pyplot  # after the backend
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, StrMethodFormatter

_COLOURS = {"sdk": "#b0b7c3", "sockets": "#6b7280", "worker": "#2563eb"}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Three panels of the steady scenes as SVG: CPU and reads per run, and lag (p50 to p99)."""
    steady = [row for row in rows if row.measure == "steady"]
    mpl.rcParams["svg.hashsalt"] = "bench"
    figure, panels = pyplot.subplots(1, 3, figsize=(13, 0.45 * len(steady) + 1.6), sharey=True)
    names = [f"{row.contender}, {row.slots} runs" for row in steady]
    colours = [_COLOURS[row.contender.split()[0]] for row in steady]
    for panel, title, values in (
        (panels[0], "CPU per run, ms", [row.cpu_ms if row.runs else 0.0 for row in steady]),
        (panels[1], "platform reads per run", [row.reads if row.runs else 0.0 for row in steady]),
    ):
        bars = panel.barh(names, values, color=colours)
        panel.bar_label(bars, fmt=lambda value: f"{value:.1f}" if value else "–", padding=3)
        panel.set_title(title)
        panel.margins(x=0.15)
    costs = [row.cpu_ms for row in steady if row.runs and row.cpu_ms > 0]
    _logarithmic(panels[0], min(costs, default=1.0) / 4, max(costs, default=1.0) * 10)
    _lag(panels[2], steady, colours)
    panels[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _lag(panel: Axes, rows: Sequence[Row], colours: Sequence[str]) -> None:
    """From the median to the 99th percentile, on a logarithmic axis."""
    seen = [lag for row in rows for lag in (row.lag_p50_ms, row.lag_p99_ms) if lag >= 1.0] or [1.0]
    left, right = min(seen) / 2, max(seen) * 40  # room for the figures
    for at, (row, colour) in enumerate(zip(rows, colours, strict=True)):
        if math.isnan(row.lag_p99_ms):
            panel.annotate("none to tell", (left, at), (6, -3), textcoords="offset points")
            continue
        line = [max(1.0, lag) for lag in (row.lag_p50_ms, row.lag_p90_ms, row.lag_p99_ms)]
        panel.plot(line, [at] * 3, color=colour, linewidth=4, marker="|")
        shown = f"{row.lag_p50_ms:,.0f} … {row.lag_p99_ms:,.0f}"
        panel.annotate(shown, (line[-1], at), (6, -3), textcoords="offset points")
    _logarithmic(panel, left, right)
    panel.set_title("lag, ms: p50 … p99")


def _logarithmic(panel: Axes, left: float, right: float) -> None:
    panel.set_xlim(left, right)  # first: a logarithmic axis finds no limits where there are no figures
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
