"""Notifies the service manager: ready, alive, stopping (systemd's notification protocol).

Without `NOTIFY_SOCKET` (a terminal, a container) nothing is sent.
"""

import contextlib
import os
import socket
from collections.abc import Callable

from worker.ports import Clock

READY = "READY=1"
STOPPING = "STOPPING=1"
_ALIVE = "WATCHDOG=1"


def notify(state: str) -> None:
    """Send a state to the service manager. A manager that is gone needs none, so errors are ignored."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux' abstract namespace
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(address)
        manager.send(state.encode())


async def keep_watchdog(alive: Callable[[], bool], clock: Clock) -> None:
    """Notify twice a watchdog period while the loop is alive. Without it systemd restarts the daemon."""
    period_s = int(os.environ.get("WATCHDOG_USEC") or 0) / 1e6
    while period_s:
        if alive():
            notify(_ALIVE)
        await clock.sleep(period_s / 2)
