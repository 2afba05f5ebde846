"""What the service manager is told: ready, alive, stopping (systemd's notification protocol).

Where nobody listens (`NOTIFY_SOCKET` unset: a terminal, a container) nothing is said.
"""

import contextlib
import os
import socket
from collections.abc import Callable

from worker.ports import Clock

READY = "READY=1"
STOPPING = "STOPPING=1"
_ALIVE = "WATCHDOG=1"


def tell(state: str) -> None:
    """One datagram to the service manager, which may well be gone: then nobody needs it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux' abstract namespace
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(address)
        manager.send(state.encode())


async def keep_watchdog(alive: Callable[[], bool], clock: Clock) -> None:
    """Say twice a watchdog period that the loop is alive; when it is not, the silence has us restarted."""
    period_s = int(os.environ.get("WATCHDOG_USEC") or 0) / 1e6
    while period_s:
        if alive():
            tell(_ALIVE)
        await clock.sleep(period_s / 2)
