"""Reporting of schemas that drifted."""

import asyncio
from collections.abc import Callable

from worker import metrics
from worker.background import schema_drift
from worker.settings import Settings
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.server import serve


class Once:
    """A clock whose first wait is the last thing that happens."""

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise asyncio.CancelledError


async def compare(settings: Settings) -> None:
    task = asyncio.ensure_future(schema_drift.keep_compared(settings, Once()))
    await asyncio.wait({task})


async def test_drifted_schemas_are_told_in_the_metric(make_settings: Callable[..., Settings]) -> None:
    simulator = AssistantsSimulator()
    assistant = next(iter(simulator.registry.assistants))
    async with serve(simulator.app) as url:
        await compare(make_settings(OPENAI_BASE_URL=f"{url}/v1", FINANCEIRO_ASSISTANT_ID=assistant))
    shown = metrics.exposition().decode()
    assert 'ticket_worker_schema_drift{assistant="FINANCEIRO"} 1.0' in shown


async def test_where_no_assistant_is_stored_there_is_nothing_to_compare(
    make_settings: Callable[..., Settings],
) -> None:
    await schema_drift.keep_compared(make_settings(PLATFORM="responses"), Once())
