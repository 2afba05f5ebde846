"""The simulators' time: it can be moved, so that minutes pass without anybody waiting."""

import time
from collections.abc import Callable
from email.utils import formatdate


class Clock:
    """Seconds since the epoch, plus what was skipped. Pass a frozen `base` to own time altogether."""

    def __init__(self, base: Callable[[], float] = time.time) -> None:
        self._base = base
        self.skipped_s = 0.0

    def now(self) -> float:
        return self._base() + self.skipped_s

    def skip(self, seconds: float) -> None:
        """Let `seconds` pass at once (a run's ten minutes, say)."""
        self.skipped_s += seconds

    def http_date(self) -> str:
        """What the `Date` header says."""
        return formatdate(self.now(), usegmt=True)
