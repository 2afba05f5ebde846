"""The simulators' clock. It can be moved forward, so that minutes pass without waiting."""

import time
from collections.abc import Callable
from email.utils import formatdate


class Clock:
    """Seconds since the epoch plus the seconds skipped. Tests pass a frozen `base` to control time."""

    def __init__(self, base: Callable[[], float] = time.time) -> None:
        self._base = base
        self.skipped_s = 0.0

    def now(self) -> float:
        return self._base() + self.skipped_s

    def skip(self, seconds: float) -> None:
        """Let `seconds` pass at once, for example a run's ten minutes."""
        self.skipped_s += seconds

    def http_date(self) -> str:
        """The value of the `Date` header."""
        return formatdate(self.now(), usegmt=True)
