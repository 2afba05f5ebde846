"""What Prometheus is told of the ledger."""

import asyncio
import math
from pathlib import Path

import pytest

from worker import metrics
from worker.background import gauges
from worker.kpis import KPIS, Durations, Kpis
from worker.store.store import Store
from worker.views import Waiting


class Twice:
    """A clock whose second wait is the last thing that happens."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if len(self.waits) == 2:
            raise asyncio.CancelledError


def shown(name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"ticket_worker_{name}", labels)


async def test_every_kpi_is_exported_beside_its_target(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def kpis(since: float, until: float | None) -> Kpis:
        return Kpis(tickets_opened=9, valid_requests=10, crm_ms=Durations(mean=620.0))

    monkeypatch.setattr(sqlite_store.records, "kpis", kpis)
    await gauges.refresh(sqlite_store.records)
    assert shown("kpi", kpi="success_rate") == 0.9
    assert shown("kpi", kpi="crm_ms.mean") == 620.0
    assert shown("kpi_target", kpi="crm_ms.mean") == 500.0
    assert all(shown("kpi", kpi=kpi.name) is not None for kpi in KPIS)


async def test_a_rate_of_nothing_is_no_number_so_that_no_alert_fires(sqlite_store: Store) -> None:
    await gauges.refresh(sqlite_store.records)
    value = shown("kpi", kpi="success_rate")
    assert value is not None
    assert math.isnan(value)


async def test_the_gauges_count_what_waits(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def waiting() -> Waiting:
        return Waiting(12.0, 2, 3, 45.0, 1)

    monkeypatch.setattr(sqlite_store.records, "waiting", waiting)
    await gauges.refresh(sqlite_store.records)
    names = (
        "events_oldest_seconds",
        "events_stuck",
        "handoffs_waiting",
        "handoffs_oldest_seconds",
        "handoffs_overdue",
    )
    assert [shown(name) for name in names] == [12.0, 2.0, 3.0, 45.0, 1.0]


async def test_the_figures_are_taken_again_each_minute(sqlite_store: Store) -> None:
    clock = Twice()
    with pytest.raises(asyncio.CancelledError):
        await gauges.keep_refreshed(sqlite_store.records, clock)
    assert clock.waits == [gauges.REFRESH_S] * 2


def test_free_space_is_shown_where_the_worker_writes_and_unknown_where_nothing_is(tmp_path: Path) -> None:
    gauges.watch_disk("database", tmp_path)
    gauges.watch_disk("log", tmp_path / "nenhuma")
    (family,) = metrics.disk_free_bytes.collect()
    shown = {one.labels["place"]: one.value for one in family.samples}
    assert shown["database"] > 0
    assert math.isnan(shown["log"])
