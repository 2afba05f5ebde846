"""Reporting of schemas that drifted."""

import asyncio
from collections.abc import Callable

from worker import metrics, schema_sync
from worker.background import schema_drift
from worker.catalog import Catalog
from worker.settings import Settings
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.server import serve
from worker.tools import schema_names


class Once:
    """A clock whose first wait is the last thing that happens."""

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise asyncio.CancelledError


async def compare(settings: Settings) -> None:
    task = asyncio.ensure_future(schema_drift.keep_compared(settings, Once()))
    await asyncio.wait({task})


async def test_the_metric_counts_drifted_schemas(make_settings: Callable[..., Settings]) -> None:
    simulator = AssistantsSimulator()
    assistant = next(iter(simulator.registry.assistants))
    async with serve(simulator.app) as url:
        await compare(make_settings(OPENAI_BASE_URL=f"{url}/v1", FINANCEIRO_ASSISTANT_ID=assistant))
    shown = metrics.exposition().decode()
    assert 'ticket_worker_schema_drift{assistant="FINANCEIRO"} 1.0' in shown


class Waits:
    """A clock that notes the seconds of each wait, and does `between` instead of the first."""

    def __init__(self, between: Callable[[], object]) -> None:
        self.seconds: list[float] = []
        self._between = between

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) > 1:
            raise asyncio.CancelledError
        self._between()


async def test_what_differs_or_cannot_be_read_is_compared_again_after_five_minutes(
    make_settings: Callable[..., Settings],
) -> None:
    simulator = AssistantsSimulator()
    (first, *_) = simulator.registry.assistants
    async with serve(simulator.app) as url:
        settings = make_settings(
            OPENAI_BASE_URL=f"{url}/v1", FINANCEIRO_ASSISTANT_ID=first, SUPORTE_ASSISTANT_ID="asst_gone"
        )
        functions = schema_sync.load(schema_names(), catalog=Catalog.configured(settings))
        entries = [{"type": "function", "function": each} for each in functions]
        mended = Waits(lambda: simulator.registry.assistants[first].update(tools=entries))
        task = asyncio.ensure_future(schema_drift.keep_compared(settings, mended))
        await asyncio.wait({task})
        assert mended.seconds == [300.0, 300.0]  # one is gone
        settings = make_settings(OPENAI_BASE_URL=f"{url}/v1", FINANCEIRO_ASSISTANT_ID=first)
        equal = Waits(lambda: None)
        await asyncio.wait({asyncio.ensure_future(schema_drift.keep_compared(settings, equal))})
        assert equal.seconds == [6 * 3600.0] * 2
    assert 'ticket_worker_schema_drift{assistant="FINANCEIRO"} 0.0' in metrics.exposition().decode()


async def test_where_no_assistant_is_stored_there_is_nothing_to_compare(
    make_settings: Callable[..., Settings],
) -> None:
    await schema_drift.keep_compared(make_settings(PLATFORM="responses"), Once())
