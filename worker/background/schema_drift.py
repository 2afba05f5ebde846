"""Compares the functions of the assistants with this version's, and reports what differs (contract §8)."""

from worker import logs, metrics, platforms, schema_sync
from worker.catalog import Catalog
from worker.ports import Clock
from worker.settings import Settings
from worker.tools import schema_names

_COMPARE_S = 6 * 3600.0
_COMPARE_AGAIN_S = 300.0
"""While something differs or cannot be read, so that an operator who runs `sync-schema` sees it end."""


async def keep_compared(settings: Settings, clock: Clock) -> None:
    """Compare at start and every 6 h; every 5 minutes while something differs or cannot be read.

    A metric says which assistant's functions differ, and a log line when an assistant's begin to.
    """
    functions = schema_sync.load(schema_names(), catalog=Catalog.configured(settings))
    latest: dict[str, bool] = {}
    while (stored := platforms.stored_assistants(settings)) is not None:
        try:
            drift = await schema_sync.drift(stored, settings.assistant_ids, functions)
        finally:
            await stored.aclose()
        for assistant, differs in drift.items():
            _report(assistant, differs=differs, before=latest.get(assistant, False))
        latest |= drift
        settled = len(drift) == len(settings.assistant_ids) and not any(drift.values())
        await clock.sleep(_COMPARE_S if settled else _COMPARE_AGAIN_S)


def _report(assistant: str, *, differs: bool, before: bool) -> None:
    metrics.schema_drift.labels(assistant).set(differs)
    if differs and not before:
        logs.event(
            "! as funções de {name} diferem das nossas: ticket-worker sync-schema --check",
            level="WARNING",
            name=assistant,
        )
