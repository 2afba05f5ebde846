"""What a check of a reply costs: `python -m bench.replies`, CPU time of one process, median of many replies.

The texts are made of the labelled replies of `tests/replies/corpus.jsonl`: honest ones, lies and numbers as
customers read them, without anything of a ledger.
"""

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.machine import CORES
from worker.replies.reading import read_reply

LENGTHS = (100, 1_000, 10_000)
"""Characters of the replies that are read."""

TEXTS = 200
"""Different texts of each length."""

_STEP = 97
"""Characters between the beginnings of two texts: a prime, so that they begin anywhere in a reply."""


def texts(corpus: str, length: int) -> Iterator[str]:
    """So many different texts of this length, cut out of the corpus, which is repeated where it ends."""
    endless = corpus * (2 + length // len(corpus))
    for number in range(TEXTS):
        start = number * _STEP % len(corpus)
        yield endless[start : start + length]


def cpu_ms(text: str) -> float:
    """Milliseconds of CPU that reading this text takes."""
    before = time.process_time_ns()
    read_reply(text)
    return (time.process_time_ns() - before) / 1e6


def main(file: Path = Path("tests/replies/corpus.jsonl")) -> None:
    """Measure and print a line for each length."""
    rows = map(json.loads, file.read_text("utf-8").splitlines())
    corpus = "\n".join(row["text"] for row in rows)
    table = Table("characters", "median (ms CPU)", "99th percentile (ms CPU)", title=f"{CORES} cores")
    for length in LENGTHS:
        times = [cpu_ms(text) for text in texts(corpus, length)]
        percentile = statistics.quantiles(times, n=100)[98]
        table.add_row(f"{length:,}", f"{statistics.median(times):.2f}", f"{percentile:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
