"""What is measured: each contender in each scene, one after the other on an otherwise quiet machine."""

import asyncio
import contextlib
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bench import growth
from bench.machine import CORES, Child, child
from bench.measuring import Row, steady
from bench.world import (
    THINKS,
    WORKS,
    Draw,
    Postgres,
    Scene,
    World,
    floor,
    helper,
    ready,
    sqlite,
    worker_settings,
    workers,
)

Contender = Callable[[World, Scene], contextlib.AbstractAsyncContextManager[list[Child]]]


SDK = ("sdk httpx2", "sdk aiohttp")
FLOOR = "sockets"
WORKER = ("worker sqlite", "worker postgresql")


def at_once(slots: int) -> Scene:
    """Nobody thinks, so that the contender alone says how many runs there are a second."""
    return Scene(slots, Draw(0.0), Draw(0.0), crm_s=0.005)


def never(slots: int) -> Scene:
    """Runs that are only watched."""
    return Scene(slots, Draw(1e9), Draw(0.0))


@dataclass(frozen=True)
class Plan:
    """How much of it. `soak`: finished runs over which memory and cost must stay flat."""

    slots: Sequence[int]
    warm_s: float
    window_s: float
    saturated_slots: int
    watched: int
    processes: Sequence[int]
    soak: int
    old_rows: int
    starts: int
    saturated: Sequence[str] = (*SDK, FLOOR, *WORKER)
    thinks: Draw = THINKS
    works: Draw = WORKS


PLANS = {
    "smoke": Plan((5,), 0.2, 0.5, 5, 20, (), 10, 1_000, 1, (FLOOR,), Draw(0.2), Draw(0.1)),
    "quick": Plan((300,), 8, 10, 300, 10_000, (1, 2), 10_000, 100_000, 2),
    "full": Plan((300, 1_000), 15, 20, 300, 10_000, (1, 2, 4), 10_000, 1_000_000, 3),
    "long": Plan((300, 1_000), 15, 20, 300, 10_000, (1, 2, 4), 100_000, 1_000_000, 3),
}


@dataclass(frozen=True)
class Report:
    """All that was measured."""

    rows: Sequence[Row]
    soak: Sequence[Row]
    starts: Sequence[dict[str, float | str]]
    old_rows: Sequence[growth.Old]


class Bench:
    """Runs the scenes of one plan; `say` hears of each row as it comes."""

    def __init__(self, plan: Plan, world: World, postgres: Postgres, say: Callable[[Row], None]) -> None:
        self._plan = plan
        self._world = world
        self._postgres = postgres
        self._say = say

    async def run(self) -> Report:
        """Everything, (a) to (f)."""
        rows = [row async for row in self._rows()]
        return Report(
            rows,
            await self._soak(),
            [await self._start(name) for name in ("worker", "sdk")],
            [await growth.measure(url, self._plan.old_rows) for url in self._databases()],
        )

    async def _rows(self) -> AsyncIterator[Row]:
        for slots in self._plan.slots:
            for name, contender in self._contenders().items():
                yield await self._measure("steady", name, contender, self._scene(slots))
        for name in self._plan.saturated:
            scene = at_once(self._plan.saturated_slots)
            yield await self._measure("saturated", name, self._contenders()[name], scene)
        for size in self._plan.processes:
            scene = at_once(self._plan.saturated_slots)
            contender = partial(self._on_postgres, size=size)
            yield await self._measure("scaling", WORKER[1], contender, scene)
        default = partial(self._on_sqlite, settings={"POLL_RATE": "200"})
        yield await self._measure("watched", WORKER[0], default, never(self._plan.watched))

    def _scene(self, slots: int) -> Scene:
        return Scene(slots, self._plan.thinks, self._plan.works)

    def _contenders(self) -> dict[str, Contender]:
        made: list[Contender] = [partial(helper, transport=name.split()[1]) for name in SDK]
        made += [floor, self._on_sqlite, self._on_postgres]
        return dict(zip((*SDK, FLOOR, *WORKER), made, strict=True))

    def _on_sqlite(
        self, world: World, scene: Scene, settings: dict[str, str] | None = None
    ) -> contextlib.AbstractAsyncContextManager[list[Child]]:
        return workers(world, scene, sqlite(world), settings)

    def _on_postgres(
        self, world: World, scene: Scene, *, size: int = 1
    ) -> contextlib.AbstractAsyncContextManager[list[Child]]:
        return workers(world, scene, self._postgres.empty(), size=size)

    async def _measure(self, measure: str, name: str, contender: Contender, scene: Scene) -> Row:
        await self._world.play(scene)
        async with contender(self._world, scene) as children:
            row = await steady(
                self._world,
                children,
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
        async with self._on_sqlite(self._world, scene) as children:
            while sum(row.runs for row in rows) < self._plan.soak:
                row = steady(
                    self._world,
                    children,
                    warm_s=0,
                    warm_runs=0,
                    window_s=self._plan.window_s,
                    measure="soak",
                    contender=WORKER[0],
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
