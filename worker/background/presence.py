"""Reports every few seconds that this daemon lives, and its state, for the commands (contract §14)."""

import contextlib
from collections.abc import Sequence

from worker import __version__, metrics
from worker.errors import StoreError
from worker.ports import Clock
from worker.store.queries.daemons import REPORT_S, Daemons
from worker.views import DaemonReport


async def keep_reported(daemons: Daemons, owner: str, data_keys: Sequence[str], clock: Clock) -> None:
    """Report until cancelled, then remove the report. Raises `StoreError`."""
    keys = daemons.key_hashes(data_keys)
    try:
        while True:
            await daemons.report(_report(owner, keys))
            await clock.sleep(REPORT_S)
    finally:
        with contextlib.suppress(StoreError):  # the report expires a little later
            await daemons.leave(owner)


def _report(owner: str, keys: tuple[str, ...]) -> DaemonReport:
    vitals = metrics.vitals()
    return DaemonReport(
        owner=owner,
        version=__version__,
        keys=keys,
        breaker_open=vitals.breaker_open,
        platform_failing=vitals.platform_failing,
    )
