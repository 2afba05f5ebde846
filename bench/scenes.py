"""What is measured: each contender in each scene, on an otherwise quiet machine, in several rounds."""

import asyncio
import contextlib
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bench import growth, webhooks
from bench.machine import CORES, Gauge, child
from bench.measuring import Row, cold, medians, steady
from bench.world import (
    NONE,
    THINKS,
    UNBOUND,
    WORKS,
    Draw,
    Postgres,
    Ready,
    Scene,
    World,
    floor,
    helper,
    ready,
    sqlite,
    worker_settings,
    workers,
)

Contender = Callable[[World, Scene], contextlib.AbstractAsyncContextManager[Ready]]

SDK = ("sdk httpx2", "sdk aiohttp")
FIXED = "sdk, every 0.25 s"
FLOOR = "sockets"
SQLITE, POSTGRESQL = WORKER = ("worker sqlite", "worker postgresql")


def at_once(slots: int) -> Scene:
    """Nobody thinks, so that the contender alone says how many runs there are a second."""
    return Scene(slots, NONE, NONE, crm_s=0.005)


def never(slots: int) -> Scene:
    """Runs that are only watched."""
    return Scene(slots, Draw(1e9, 1e9), NONE)


@dataclass(frozen=True)
class Plan:
    """How much is measured; 0 leaves a measure out."""

    #: Repetitions of the scenes that users have (cold, 300 at once, webhooks); the medians count.
    rounds: int
    #: Runs at once right after a start, and for how long they are measured.
    cold_slots: Sequence[int]
    cold_s: float
    #: Runs at once of a worker at work.
    slots: Sequence[int]
    warm_s: float
    window_s: float
    saturated_slots: int
    #: Who is measured cold, at work, and without waiting.
    cold: Sequence[str] = (*SDK, FIXED, FLOOR, *WORKER)
    steady: Sequence[str] = (*SDK, FIXED, FLOOR, *WORKER)
    saturated: Sequence[str] = (*SDK, FLOOR, *WORKER)
    #: Conversations at once whose platform sends webhooks.
    webhook_slots: int = 0
    #: Runs that are only watched.
    watched: int = 0
    #: Processes side by side on PostgreSQL.
    processes: Sequence[int] = ()
    #: Finished runs over which memory and cost must stay flat.
    soak: int = 0
    #: Old runs and calls among which due ones are claimed.
    old_rows: int = 0
    starts: int = 0
    thinks: Draw = THINKS
    works: Draw = WORKS


PLANS = {
    "smoke": Plan(
        rounds=1,
        cold_slots=(3,),
        cold_s=1.5,
        slots=(5,),
        warm_s=0.2,
        window_s=0.5,
        saturated_slots=5,
        cold=(FIXED, *WORKER),
        steady=("sdk httpx2", *WORKER),
        saturated=(FLOOR,),
        webhook_slots=2,
        watched=20,
        soak=10,
        old_rows=1_000,
        starts=1,
        thinks=Draw(0.1, 0.3),
        works=Draw(0.1, 0.2),
    ),
    "quick": Plan(1, (5, 20), 16, (300,), 7, 7, 300, webhook_slots=20),
    "full": Plan(3, (5, 20), 16, (300,), 7, 7, 300, webhook_slots=20),
    "long": Plan(
        rounds=3,
        cold_slots=(5, 20),
        cold_s=20,
        slots=(300, 1_000),
        warm_s=15,
        window_s=20,
        saturated_slots=300,
        webhook_slots=20,
        watched=10_000,
        processes=(1, 2, 4),
        soak=100_000,
        old_rows=1_000_000,
        starts=3,
    ),
}


@dataclass(frozen=True)
class Report:
    """All that was measured."""

    #: Every row of every round.
    rounds: Sequence[Row]
    soak: Sequence[Row]
    starts: Sequence[dict[str, float | str]]
    old_rows: Sequence[growth.Old]

    @property
    def rows(self) -> list[Row]:
        """The medians of all rounds."""
        return medians(self.rounds)


class Bench:
    """Runs the scenes of one plan; `say` is called with each row as it comes."""

    def __init__(self, plan: Plan, world: World, postgres: Postgres, say: Callable[[Row], None]) -> None:
        self._plan = plan
        self._world = world
        self._postgres = postgres
        self._say = say

    async def run(self) -> Report:
        """Everything, first what users have."""
        rows = [row for _ in range(self._plan.rounds) async for row in self._round()]
        rows += [row async for row in self._once()]
        return Report(
            rows,
            await self._soak() if self._plan.soak else (),
            [await self._start(name) for name in ("worker", "sdk") if self._plan.starts],
            [await growth.measure(url, self._plan.old_rows) for url in self._databases()]
            if self._plan.old_rows
            else (),
        )

    async def _round(self) -> AsyncIterator[Row]:
        contenders = self._contenders()
        for slots in self._plan.cold_slots:
            scene = Scene(slots, self._plan.thinks, self._plan.works)
            for name in self._plan.cold:
                yield await self._cold(name, contenders[name], scene)
        for slots in self._plan.slots:
            scene = Scene(slots, self._plan.thinks, self._plan.works)
            for name in self._plan.steady:
                yield await self._measure("steady", name, contenders[name], scene)
            unbound = partial(self._on_sqlite, settings=UNBOUND)
            yield await self._measure("unbound", SQLITE, unbound, scene)
        if self._plan.webhook_slots:
            for platform in webhooks.PLATFORMS:
                row = await webhooks.measure(self._world, platform, self._plan.webhook_slots)
                self._say(row)
                yield row

    async def _once(self) -> AsyncIterator[Row]:
        scene = at_once(self._plan.saturated_slots)
        contenders = self._contenders() | self._workers(UNBOUND)
        for name in self._plan.saturated:
            yield await self._measure("saturated", name, contenders[name], scene)
        for size in self._plan.processes:
            contender = partial(self._on_postgres, size=size, settings=UNBOUND)
            yield await self._measure("scaling", POSTGRESQL, contender, scene)
        if self._plan.watched:
            yield await self._measure("watched", SQLITE, self._on_sqlite, never(self._plan.watched))

    def _contenders(self) -> dict[str, Contender]:
        """Everyone, the worker with its default settings."""
        helpers: dict[str, Contender] = {name: partial(helper, transport=name.split()[1]) for name in SDK}
        fixed = partial(helper, transport="aiohttp", interval_ms=250)
        return {**helpers, FIXED: fixed, FLOOR: floor, **self._workers()}

    def _workers(self, settings: dict[str, str] | None = None) -> dict[str, Contender]:
        return {
            SQLITE: partial(self._on_sqlite, settings=settings),
            POSTGRESQL: partial(self._on_postgres, settings=settings),
        }

    def _on_sqlite(
        self, world: World, scene: Scene, settings: dict[str, str] | None = None
    ) -> contextlib.AbstractAsyncContextManager[Ready]:
        return workers(world, scene, sqlite(world), settings)

    def _on_postgres(
        self, world: World, scene: Scene, settings: dict[str, str] | None = None, *, size: int = 1
    ) -> contextlib.AbstractAsyncContextManager[Ready]:
        return workers(world, scene, self._postgres.empty(), settings, size=size)

    def _database(self, contender: str) -> Gauge | None:
        return self._postgres.load if contender == POSTGRESQL else None

    async def _cold(self, name: str, contender: Contender, scene: Scene) -> Row:
        await self._world.play(scene)
        async with contender(self._world, scene) as started:
            row = await cold(
                self._world,
                started,
                self._database(name),
                window_s=self._plan.cold_s,
                measure="cold",
                contender=name,
                slots=scene.slots,
            )
        self._say(row)
        return row

    async def _measure(self, measure: str, name: str, contender: Contender, scene: Scene) -> Row:
        await self._world.play(scene)
        async with contender(self._world, scene) as started:
            await started.begin()
            row = await steady(
                self._world,
                started,
                self._database(name),
                warm_s=self._plan.warm_s,
                warm_runs=0 if measure == "watched" else scene.slots,
                window_s=self._plan.window_s,
                measure=measure,
                contender=name,
                slots=scene.slots,
            )
        self._say(row)
        return row

    async def _soak(self) -> list[Row]:
        """One worker's figures, a while at a time: both cost and memory stay where they are."""
        scene = at_once(self._plan.saturated_slots)
        await self._world.play(scene)
        rows: list[Row] = []
        async with self._on_sqlite(self._world, scene, UNBOUND) as started:
            await started.begin()
            while sum(row.runs for row in rows) < self._plan.soak:
                row = steady(
                    self._world,
                    started,
                    None,
                    warm_s=0,
                    warm_runs=0,
                    window_s=self._plan.window_s,
                    measure="soak",
                    contender=SQLITE,
                    slots=scene.slots,
                )
                rows.append(await row)
                self._say(rows[-1])
        return rows

    def _databases(self) -> list[str]:
        return [sqlite(self._world), self._postgres.empty()]

    async def _start(self, name: str) -> dict[str, float | str]:
        """The quickest of some starts: CPU and wall time until the worker serves, or the SDK is imported."""
        took = [await self._started(name) for _ in range(self._plan.starts)]
        cpu_s, wall_s = min(took)
        return {"contender": name, "cpu_s": round(cpu_s, 2), "wall_s": round(wall_s, 2)}

    async def _started(self, name: str) -> tuple[float, float]:
        began = time.monotonic()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        if name == "worker":
            port, environ = worker_settings(self._world, sqlite(self._world))
            async with child(self._world.folder, "-m", "worker", "run", settings=environ) as one:
                await ready(one, port)
                wall_s = time.monotonic() - began
        else:
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import openai, httpx")
            await process.wait()
            wall_s = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s


def too_few_cores(processes: int) -> bool:
    """Whether this many workers must share cores with each other, or with the servers."""
    return processes + 1 > CORES
