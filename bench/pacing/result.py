"""What comes of a way to pace looks: lag and reads."""

import statistics
from collections.abc import Sequence

MINIMUM_S, MAXIMUM_S = 0.25, 5.0
"""The bounds between two looks: POLL_MIN_S and POLL_MAX_S as they are by default."""


class Result:
    """Seconds from when a run wanted something to the look that saw it, and looks a run."""

    def __init__(self, lags: Sequence[float], reads: float) -> None:
        self.lags = sorted(lags)
        self.reads = reads / len(lags)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.lags)

    def quantile(self, share: float) -> float:
        """The lag that this share of all runs stays under."""
        return self.lags[int(len(self.lags) * share)]
