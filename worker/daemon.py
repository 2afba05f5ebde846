"""The daemon's life: start, serve, stop. Owns the signals; `wiring` builds the parts."""

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from worker import __version__, logs, wiring
from worker.background import gauges, log_ids, overdue_handoffs, presence, schema_drift, systemd
from worker.background.containment import keep_going
from worker.background.event_delivery import EventDelivery
from worker.background.retention import PersonalDataTasks
from worker.catalog import Catalog
from worker.engine.lease import Lease
from worker.engine.loop import Worker
from worker.errors import StoreError, StoreUnavailable
from worker.platforms import connect
from worker.ports import Clock, Platform
from worker.process import forbid_core_dumps, raise_descriptor_limit
from worker.settings import Settings
from worker.store.patience import patient
from worker.store.store import Store
from worker.times import SystemClock
from worker.web.server import serve

_YOUNG = 20_000
"""New objects between two garbage collections. Python's default of 700 took 5 % of the CPU."""

_OPEN_AGAIN_S = 1.0
"""Seconds between two attempts to open a database that does not answer."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the loop and the side tasks share."""

    settings: Settings
    store: Store
    worker: Worker
    lease: Lease
    clock: Clock

    def stop(self) -> None:
        """Stop the loop. After the grace period nothing waits for the database any longer."""
        self.worker.stop()
        lose_patience = self.store.database.availability.lose_patience
        asyncio.get_running_loop().call_later(self.settings.SHUTDOWN_GRACE_S, lose_patience)


async def run(settings: Settings, warnings: Sequence[str]) -> None:
    """Run the daemon until the first signal, then stop gracefully. A second signal ends the process at once.

    Raises `ConfigError` and `PlatformGone` (nothing was started), and in an `ExceptionGroup` the error of a
    side task.
    """
    forbid_core_dumps()
    raise_descriptor_limit()
    catalog = Catalog.configured(settings)
    _start_logs(settings, catalog)
    asyncio.get_running_loop().set_exception_handler(logs.loop_exception_handler)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_log_store_errors())
        platform = connect(settings)
        stack.push_async_callback(platform.aclose)
        for warning in [*warnings, *await platform.probe()]:
            logs.event("! {problem}", level="WARNING", problem=warning)
        store = await _open_store(settings, platform)
        stack.push_async_callback(store.close)
        logs.use_hasher(store.database.hasher)
        clock, lease = SystemClock(), Lease()
        tools = wiring.build_tools(settings, catalog, clock, stack)
        worker = wiring.build_worker(settings, platform, store, tools, lease=lease, clock=clock)
        await _work_and_serve(_Parts(settings, store, worker, lease, clock))


@contextlib.contextmanager
def _log_store_errors() -> Iterator[None]:
    """Log a database failure that ends the daemon, for operators who do not see stderr."""
    try:
        yield
    except* StoreError as errors:
        leaf: BaseException = errors
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        logs.event(
            "■ o banco deixou de gravar: o worker encerra | {problem}", level="CRITICAL", problem=str(leaf)
        )
        raise


async def _open_store(settings: Settings, platform: Platform) -> Store:
    """Open the database, waiting for a PostgreSQL that does not answer yet.

    Raises `ConfigError`, and `StoreUnavailable` when it did not answer for DATABASE_GRACE_S.
    """
    began = time.monotonic()
    while True:
        try:
            return await Store.open(settings, platform.name, owner=True, thread=platform.traits.thread)
        except StoreUnavailable as error:
            if time.monotonic() - began > settings.DATABASE_GRACE_S:
                raise
            logs.event(
                "! aguardando o banco de dados para iniciar | {problem}",
                level="WARNING",
                throttled=True,
                problem=str(error),
            )
        await asyncio.sleep(_OPEN_AGAIN_S)


async def _work_and_serve(parts: _Parts) -> None:
    """Run the loop and the side tasks. The daemon ends with the loop."""
    gc.freeze()  # the parts stay: collecting them again and again took 6 % of the CPU
    gc.set_threshold(_YOUNG)
    _watch_disks(parts.settings, parts.store)
    if not parts.settings.HTTP_PORT:
        systemd.notify(systemd.READY)
    with _signals(parts.stop):
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(_run_beside(side, parts.worker)) for side in _side_tasks(parts)]
            await parts.worker.run()
            for task in beside:
                task.cancel()
    logs.event("■ ticket-worker encerrado")


async def _run_beside(side: Coroutine[Any, Any, None], worker: Worker) -> None:
    """Run a side task. One that finds no database while the daemon stops has nothing left to do."""
    try:
        await side
    except* StoreUnavailable:
        if not worker.stopping:
            raise


def _watch_disks(settings: Settings, store: Store) -> None:
    if store.database.file is not None:
        gauges.watch_disk("database", store.database.file.parent)
    if settings.LOG_DIR != "-":
        gauges.watch_disk("log", Path(settings.LOG_DIR))


def _side_tasks(parts: _Parts) -> Iterator[Coroutine[Any, Any, None]]:
    """What runs beside the loop. A defect ends the daemon, except in what `keep_going` repeats."""
    settings, store, worker, clock = parts.settings, parts.store, parts.worker, parts.clock
    availability = store.database.availability
    records, handoffs = patient(store.records, availability), patient(store.handoffs, availability)
    daemons, ids = patient(store.daemons, availability), patient(store.log_ids, availability)
    upkeep = _upkeep(parts)

    yield store.database.listen(worker.wake)
    yield store.database.keep_probing(settings.DATABASE_GRACE_S)
    yield presence.keep_reported(daemons, parts.lease.owner, settings.data_keys, clock)
    # A process that waits for the database is not hung, and a new one would wait as well.
    yield systemd.keep_watchdog(lambda: worker.alive() or availability.refusal is not None, clock)
    yield keep_going("schema_drift", lambda: schema_drift.keep_compared(settings, clock), clock)
    yield keep_going("gauges", lambda: gauges.keep_refreshed(records, clock), clock)
    yield keep_going("handoffs", lambda: overdue_handoffs.keep_recorded(handoffs, clock), clock)
    yield keep_going("upkeep", upkeep.run, clock)
    yield keep_going("log_ids", lambda: log_ids.fill(ids, clock), clock)
    if settings.HTTP_PORT:
        yield _serve(settings, store, worker)
    if settings.BOT_WEBHOOK_URL and settings.BOT_WEBHOOK_SECRET:
        secret = settings.BOT_WEBHOOK_SECRET.get_secret_value()
        outbox = patient(store.outbox, availability)
        yield EventDelivery(outbox, parts.lease.owner, settings.BOT_WEBHOOK_URL, secret, clock).run()


def _upkeep(parts: _Parts) -> PersonalDataTasks:
    availability = parts.store.database.availability
    return PersonalDataTasks(
        patient(parts.store.erasures, availability),
        patient(parts.store.retention, availability),
        ZoneInfo(parts.settings.TIMEZONE),
        parts.clock,
        lambda: datetime.now(UTC),
    )


async def _serve(settings: Settings, store: Store, worker: Worker) -> None:
    webhooks = wiring.build_webhooks(settings, store, worker)
    api = wiring.build_api(settings, store, worker, webhooks)
    async with asyncio.TaskGroup() as tasks:
        if webhooks is not None:
            tasks.create_task(webhooks.run())
        await serve(api, settings.HTTP_HOST, settings.HTTP_PORT, on_started=_started)


def _started(url: str) -> None:
    systemd.notify(systemd.READY)
    logs.event("▶ ticket-worker {version} atende em {url}", version=__version__, url=url)


def _start_logs(settings: Settings, catalog: Catalog) -> None:
    logs.setup(
        level=settings.LOG_LEVEL,
        fmt=settings.LOG_FORMAT,
        directory=None if settings.LOG_DIR == "-" else Path(settings.LOG_DIR),
        words=catalog.words(),
        zone=ZoneInfo(settings.TIMEZONE),
    )


@contextlib.contextmanager
def _signals(on_first: Callable[[], None]) -> Iterator[None]:
    """Stop gracefully on the first SIGTERM or SIGINT. The second one ends the process, as by default."""
    loop = asyncio.get_running_loop()
    handled = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        systemd.notify(systemd.STOPPING)
        logs.event("■ encerrando: nenhuma tentativa nova; aguardando as que estão em andamento")
        restore()
        on_first()

    def restore() -> None:
        for number in handled:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in handled:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        restore()
