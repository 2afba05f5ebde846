"""Plays scenarios, several conversations at once, and deletes everything, however it ends."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from worker.catalog import Catalog, fold
from worker.errors import PlatformUnavailable
from worker.ports import Clock, Platform
from worker.rehearsal import words
from worker.rehearsal.conversation import Conversation
from worker.rehearsal.metering import MeteredPlatform
from worker.rehearsal.results import Attempt, Results, ScenarioResult
from worker.rehearsal.scenarios import CrmState, Scenario
from worker.rehearsal.stage import Stage, open_stage
from worker.settings import Settings
from worker.times import SystemClock

_TRIES = 4
"""How often a conversation is begun again after `PlatformUnavailable`. Only a complete one counts."""

_AGAIN_AFTER_S = 2.0
"""Delay before the second try, then doubled. A `Retry-After` replaces it."""

Assistants = Mapping[str, str | Mapping[str, object]]
"""Each assistant's id, or its request on `responses`, by its folded name."""


@dataclass(frozen=True, slots=True)
class Order:
    """The scenarios to play, and how."""

    scenarios: Sequence[Scenario]
    assistants: Assistants
    repeat: int = 1
    at_once: int = 4
    minimum: float = 1.0
    #: Keep the last reply of each conversation in the results.
    show: bool = False

    @property
    def runs(self) -> int:
        """Least number of runs: one for each message."""
        return self.repeat * sum(len(scenario.turns) for scenario in self.scenarios)


@dataclass(slots=True)
class Rehearsal:
    """The results so far, which can be read at any time, also after an interruption."""

    order: Order
    platform: str
    started_at: datetime
    #: By the scenario's number, in the order in which they ended.
    attempts: dict[int, list[Attempt]] = field(default_factory=dict)
    not_deleted: list[str] = field(default_factory=list)

    def results(self) -> Results:
        """The scenarios that were played at least once."""
        return Results(
            platform=self.platform,
            started_at=self.started_at.isoformat(timespec="seconds"),
            repeat=self.order.repeat,
            minimum=self.order.minimum,
            scenarios=tuple(
                _result(scenario, self.attempts[number])
                for number, scenario in enumerate(self.order.scenarios)
                if number in self.attempts
            ),
            not_deleted=tuple(self.not_deleted),
        )


def _result(scenario: Scenario, attempts: Sequence[Attempt]) -> ScenarioResult:
    return ScenarioResult(
        name=scenario.name,
        assistant=scenario.assistant,
        source=scenario.source,
        expected=words.expectation(scenario.expected),
        attempts=tuple(attempts),
    )


async def rehearse(
    settings: Settings,
    platform: Platform,
    catalog: Catalog,
    rehearsal: Rehearsal,
    *,
    on_played: Callable[[], None] = lambda: None,
) -> None:
    """Play all scenarios and record the results in `rehearsal`. Always deletes what was created.

    Raises the `PlatformError` that ends it: the platform refuses, or stays unavailable.
    """
    clock = SystemClock()
    metered = MeteredPlatform(platform, clock)
    with tempfile.TemporaryDirectory(prefix="ticket-worker-ensaio-") as folder:
        async with _stages(settings, metered, catalog, rehearsal.order, Path(folder)) as stages:
            players = _Players(rehearsal, metered, stages, clock, on_played)
            await players.play()


@contextlib.asynccontextmanager
async def _stages(
    settings: Settings, platform: Platform, catalog: Catalog, order: Order, folder: Path
) -> AsyncIterator[Mapping[CrmState, Stage]]:
    """A stage for each state of the CRM that the scenarios need. Each has its own circuit breaker."""
    async with contextlib.AsyncExitStack() as stack:
        states = sorted({scenario.crm for scenario in order.scenarios})
        yield {
            state: await stack.enter_async_context(open_stage(settings, platform, catalog, state, folder))
            for state in states
        }


class _Players:
    """Plays several conversations at once. If one fails, the loops stop and all conversations are deleted."""

    def __init__(
        self,
        rehearsal: Rehearsal,
        platform: MeteredPlatform,
        stages: Mapping[CrmState, Stage],
        clock: Clock,
        on_played: Callable[[], None],
    ) -> None:
        self._rehearsal = rehearsal
        self._platform = platform
        self._stages = stages
        self._clock = clock
        self._on_played = on_played
        self._slots = asyncio.Semaphore(rehearsal.order.at_once)
        self._conversations = 0

    async def play(self) -> None:
        order = self._rehearsal.order
        # Round by round, so that an interrupted rehearsal has played every scenario about as often.
        numbers = [number for _ in range(order.repeat) for number in range(len(order.scenarios))]
        playing = {asyncio.create_task(self._play(number)) for number in numbers}
        loops = {stage.running for stage in self._stages.values()}
        try:
            await _until_done(playing, loops)
        finally:
            if not all(task.done() for task in playing):
                # A loop that goes on would answer calls of conversations that are being deleted.
                await asyncio.gather(*(stage.stop() for stage in self._stages.values()))
                for task in playing:
                    task.cancel()
                await asyncio.wait(playing)

    async def _play(self, number: int) -> None:
        scenario = self._rehearsal.order.scenarios[number]
        async with self._slots:
            attempt = await self._persistently(scenario)
        self._rehearsal.attempts.setdefault(number, []).append(attempt)
        self._on_played()

    async def _persistently(self, scenario: Scenario) -> Attempt:
        """Play from the beginning until it is complete. Raises the last `PlatformUnavailable`."""
        for tried in range(_TRIES - 1):
            try:
                return await self._once(scenario)
            except PlatformUnavailable as failure:
                wait_s = failure.retry_after_s
                await self._clock.sleep(_AGAIN_AFTER_S * 2**tried if wait_s is None else wait_s)
        return await self._once(scenario)

    async def _once(self, scenario: Scenario) -> Attempt:
        self._conversations += 1
        who = self._rehearsal.order.assistants[fold(scenario.assistant)]
        conversation = Conversation(
            scenario,
            f"ensaio-{self._conversations}",
            self._platform.converse(who),
            self._platform,
            self._stages[scenario.crm],
        )
        began = self._clock.monotonic()
        try:
            await conversation.play()
            seconds = self._clock.monotonic() - began
            return await conversation.attempt(seconds, show=self._rehearsal.order.show)
        finally:
            await _finish(asyncio.create_task(self._delete(conversation)))

    async def _delete(self, conversation: Conversation) -> None:
        self._rehearsal.not_deleted += await conversation.delete()


async def _finish(task: asyncio.Task[None]) -> None:
    """Wait for the end of a task, even if the caller is cancelled meanwhile."""
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _until_done(playing: set[asyncio.Task[None]], loops: set[asyncio.Task[None]]) -> None:
    """Wait until all have played. Raises the first error of a conversation or a loop."""
    waiting = set(playing)
    while waiting:
        done, _ = await asyncio.wait({*waiting, *loops}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        waiting -= done
