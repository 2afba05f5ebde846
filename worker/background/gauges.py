"""Gauges of the ledger, refreshed each minute (contract §7). They are the same in every process."""

import math
import shutil
import time
from pathlib import Path

from worker import kpis, metrics
from worker.ports import Clock
from worker.store.queries.records import Records

REFRESH_S = 60.0
_WINDOW_S = 24 * 3600.0


def watch_disk(place: str, folder: Path) -> None:
    """Report the free space at `folder` at each scrape; NaN if it cannot be read."""
    metrics.disk_free_bytes.labels(place).set_function(lambda: _free_bytes(folder))


def _free_bytes(folder: Path) -> float:
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:
        return math.nan


async def keep_refreshed(records: Records, clock: Clock) -> None:
    """Until cancelled. Raises `StoreError`: without a database nothing may go on."""
    while True:
        await refresh(records)
        await clock.sleep(REFRESH_S)


async def refresh(records: Records) -> None:
    """Set the KPIs of the last 24 h and what waits. A KPI without data is NaN, which raises no alert."""
    figures = await records.kpis(time.time() - _WINDOW_S, None)
    for kpi in kpis.KPIS:
        value = kpi.value(figures)
        metrics.kpi.labels(kpi.name).set(math.nan if value is None else value)
    waiting = await records.waiting()
    metrics.events_oldest_seconds.set(waiting.oldest_event_s)
    metrics.events_stuck.set(waiting.stuck_events)
    metrics.handoffs_waiting.set(waiting.handoffs)
    metrics.handoffs_oldest_seconds.set(waiting.oldest_handoff_s)
    metrics.handoffs_overdue.set(waiting.overdue_handoffs)
