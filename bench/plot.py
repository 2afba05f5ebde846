"""The bench as one picture: what a run costs and how long it waits, beside the SDK's helper and the floor."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from bench.measuring import Row

mpl.use("svg")

from matplotlib import pyplot  # after the backend
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

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
    _lag(panels[2], steady, colours)
    panels[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _lag(panel: Axes, rows: Sequence[Row], colours: Sequence[str]) -> None:
    """From the median to the 99th percentile, on a logarithmic axis."""
    for at, (row, colour) in enumerate(zip(rows, colours, strict=True)):
        if not row.runs:
            panel.annotate("no run ended", (1.0, at), (6, -3), textcoords="offset points")
            continue
        lags = (row.lag_p50_ms, row.lag_p90_ms, row.lag_p99_ms)
        panel.plot([max(1.0, lag) for lag in lags], [at] * 3, color=colour, linewidth=4, marker="|")
        panel.annotate(
            f"{lags[0]:.0f} … {lags[2]:.0f}", (max(1.0, lags[2]), at), (6, -3), textcoords="offset points"
        )
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_title("lag, ms: p50 … p99")
    panel.margins(x=0.3)
