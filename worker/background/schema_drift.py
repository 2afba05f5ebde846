"""Compares the functions of the assistants with this version's, and reports what differs (contract §8)."""

from worker import logs, metrics, platforms, schema_sync
from worker.catalog import Catalog
from worker.ports import Clock
from worker.settings import Settings
from worker.tools import schema_names

_COMPARE_S = 6 * 3600.0


async def keep_compared(settings: Settings, clock: Clock) -> None:
    """Compare at start and every 6 h; a metric and a log line say which assistant's functions differ."""
    functions = schema_sync.load(schema_names(), catalog=Catalog.configured(settings))
    while (stored := platforms.stored_assistants(settings)) is not None:
        try:
            drift = await schema_sync.drift(stored, settings.assistant_ids, functions)
        finally:
            await stored.aclose()
        for assistant, drifted in drift.items():
            metrics.schema_drift.labels(assistant).set(drifted)
            if drifted:
                logs.event(
                    "! as funções de {name} diferem das nossas: ticket-worker sync-schema --check",
                    level="WARNING",
                    name=assistant,
                )
        await clock.sleep(_COMPARE_S)
