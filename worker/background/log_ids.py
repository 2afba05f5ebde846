"""Gives rows of older versions the hash that the log writes for their id, after an upgrade."""

from worker.ports import Clock
from worker.store.log_ids import LogIds

_PAUSE_S = 0.05
"""Seconds between two batches, for other writers and the loop."""


async def fill(log_ids: LogIds, clock: Clock) -> None:
    """Walk all rows once after a migration, then return. An interrupted walk begins again at the next start.

    Raises `StoreError`.
    """
    if not await log_ids.pending():
        return
    for table in log_ids.tables:
        last: str | None = ""
        while last is not None:
            last = await log_ids.fill(table, after=last)
            await clock.sleep(_PAUSE_S)
    await log_ids.finish()
