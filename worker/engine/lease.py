"""The time for which this process may act on its claims, known without asking the database."""

import os
import secrets
import socket
import time

from worker.ports import LEASE_S

HEARTBEAT_S = LEASE_S / 3

_MARGIN_S = 1.0
# Counts time asleep too (Linux): a suspended machine must not wake up believing that it still owns its runs.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds on the clock of the leases."""
    return time.clock_gettime(_CLOCK)


class Lease:
    """This process's name in the database, and whether its claims still hold."""

    def __init__(self) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._taken = boottime()

    def renewed(self, taken: float) -> None:
        """A heartbeat went through; `taken` is `boottime()` read *before* it was sent."""
        self._taken = taken

    def holds(self) -> bool:
        """Whether no other process can have taken over yet."""
        return boottime() < self._taken + LEASE_S - _MARGIN_S
