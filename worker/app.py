"""The composition root: builds everything, runs it in one TaskGroup, owns the signals."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from worker import __version__, gauges, logs, metrics, schema_sync, service
from worker.catalog import Catalog
from worker.clock import SystemClock
from worker.dispatch import Dispatcher
from worker.events import Courier
from worker.guard import Guard, GuardPolicy
from worker.lease import Lease
from worker.loop import Worker
from worker.pacing import LoopLimits, Pace, TokenBucket
from worker.platforms import connect, definitions
from worker.ports import Clock, Platform, Tool
from worker.settings import Settings
from worker.store.store import Store
from worker.tools.abrir_ticket_crm import AbrirTicketCrm
from worker.tools.crm import Crm, CrmSettings
from worker.tools.forward import Forward, ForwardSettings
from worker.tools.lookup import Lookup, LookupSettings
from worker.tools.transferir_para_humano import TransferirParaHumano
from worker.upkeep import Upkeep
from worker.web.api import create_api
from worker.web.server import serve
from worker.web.webhooks import Doorbell

_COMPARE_S = 6 * 3600.0

_YOUNG = 20_000
"""New objects after which cycles are looked for: after Python's 700, that was 5 % of the CPU."""


async def run(settings: Settings, warnings: Sequence[str]) -> None:
    """The daemon: until the first signal, then gracefully; the second signal ends the process at once.

    Raises `ConfigError` and `PlatformGone` (nothing was started), and in an `ExceptionGroup` whatever a side
    task died of.
    """
    catalog = Catalog.load()
    _start_logs(settings, catalog)
    asyncio.get_running_loop().set_exception_handler(logs.loop_exception_handler)
    async with contextlib.AsyncExitStack() as stack:
        platform = connect(settings)
        stack.push_async_callback(platform.aclose)
        for warning in [*warnings, *await platform.probe()]:
            logs.event("! {problem}", level="WARNING", problem=warning)
        store = await Store.open(settings, platform.name, owner=True, thread=platform.traits.thread)
        stack.push_async_callback(store.close)
        logs.use_hasher(store.database.hasher)
        clock, lease = SystemClock(), Lease()
        tools = build_tools(settings, catalog, clock, stack)
        worker = build_worker(settings, platform, store, tools, lease=lease, clock=clock)
        await _work_and_serve(settings, store, worker, lease=lease, clock=clock)


async def _work_and_serve(
    settings: Settings, store: Store, worker: Worker, *, lease: Lease, clock: Clock
) -> None:
    """The loop with everything beside it; when the loop has ended, so has the daemon."""
    gc.freeze()  # what was built stays: to look through it again and again was 6 % of the CPU
    gc.set_threshold(_YOUNG)
    with _signals(worker):
        async with asyncio.TaskGroup() as tasks:
            zone = ZoneInfo(settings.TIMEZONE)
            upkeep = Upkeep(store.erasures, store.retention, zone, clock, lambda: datetime.now(UTC))
            sides = [
                store.database.listen(worker.wake),
                _compare_schemas(settings, clock),
                gauges.keep_refreshed(store.records, clock),
                service.keep_watchdog(worker.alive, clock),
                upkeep.run(),
            ]
            if settings.HTTP_PORT:
                sides.append(_serve(settings, store, worker))
            else:
                service.tell(service.READY)
            if settings.BOT_WEBHOOK_URL and settings.BOT_WEBHOOK_SECRET:
                secret = settings.BOT_WEBHOOK_SECRET.get_secret_value()
                courier = Courier(store.outbox, lease.owner, settings.BOT_WEBHOOK_URL, secret, clock)
                sides.append(courier.run())
            beside = [tasks.create_task(side) for side in sides]
            await worker.run()
            for task in beside:
                task.cancel()
    logs.event("■ ticket-worker encerrado")


async def _serve(settings: Settings, store: Store, worker: Worker) -> None:
    webhooks = _doorbell(settings, store, worker)
    app = create_api(
        store.records,
        operators=store.operators,
        handoffs=store.handoffs,
        board=store.board,
        erasures=store.erasures,
        webhooks=webhooks,
        token=settings.API_TOKEN.get_secret_value() if settings.API_TOKEN else None,
        platform=settings.PLATFORM or "",
        protocol_pattern=settings.CRM_PROTOCOL_PATTERN,
        wake=worker.wake,
        alive=worker.alive,
        timezone=settings.TIMEZONE,
    )
    async with asyncio.TaskGroup() as tasks:
        if webhooks is not None:
            tasks.create_task(webhooks.run())
        await serve(app, settings.HTTP_HOST, settings.HTTP_PORT, on_started=_started)


def _doorbell(settings: Settings, store: Store, worker: Worker) -> Doorbell | None:
    if settings.OPENAI_WEBHOOK_SECRET is None:
        return None
    return Doorbell(
        settings.OPENAI_WEBHOOK_SECRET.get_secret_value(),
        store.webhooks,
        platform=settings.PLATFORM or "",
        thread_of=worker.thread_of,
        wake=worker.wake,
        clock=SystemClock(),
    )


async def _compare_schemas(settings: Settings, clock: Clock) -> None:
    """Tell where an assistant's functions differ from ours: at start, and every 6 h (contract §8)."""
    while (stored := definitions.connect(settings)) is not None:
        try:
            found = await schema_sync.drift(stored, settings.assistant_ids)
        finally:
            await stored.aclose()
        for assistant, drifted in found.items():
            metrics.schema_drift.labels(assistant).set(drifted)
            if drifted:
                logs.event(
                    "! as funções de {name} diferem das nossas: ticket-worker sync-schema --check",
                    level="WARNING",
                    name=assistant,
                )
        await clock.sleep(_COMPARE_S)


def _started(url: str) -> None:
    service.tell(service.READY)
    logs.event("▶ ticket-worker {version} atende em {url}", version=__version__, url=url)


def _start_logs(settings: Settings, catalog: Catalog) -> None:
    logs.setup(
        level=settings.LOG_LEVEL,
        fmt=settings.LOG_FORMAT,
        directory=None if settings.LOG_DIR == "-" else Path(settings.LOG_DIR),
        words=catalog.words(),
    )


@contextlib.contextmanager
def _signals(worker: Worker) -> Iterator[None]:
    """The first SIGTERM or SIGINT stops gracefully; then the default is back, so the second one ends us."""
    loop = asyncio.get_running_loop()
    handled = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        service.tell(service.STOPPING)
        logs.event("■ encerrando: nenhuma tentativa nova; aguardando as que estão em andamento")
        restore()
        worker.stop()

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


# ------------------------------------------------------------------------------------------------ the parts


def build_tools(
    settings: Settings, catalog: Catalog, clock: Clock, stack: contextlib.AsyncExitStack
) -> list[Tool]:
    """The functions the model may call: a new one is a file, a schema and a line here.

    What they hold open is closed with the stack.
    """
    guard = Guard(_policy(settings), clock)
    stack.push_async_callback(guard.aclose)
    metrics.breaker_open.set_function(lambda: guard.breaker_state != "closed")
    crm = Crm(guard, _crm(settings), _lookup(settings, stack))
    tools: list[Tool] = [AbrirTicketCrm(catalog, crm), TransferirParaHumano(catalog)]
    if settings.TOOL_FORWARD_URL and settings.BOT_WEBHOOK_SECRET:
        secret = settings.BOT_WEBHOOK_SECRET.get_secret_value()
        to_bot = Guard(_policy(settings, timeout_s=settings.TOOL_TIMEOUT_S, resend_ambiguous=True), clock)
        stack.push_async_callback(to_bot.aclose)
        tools.append(Forward(to_bot, ForwardSettings(settings.TOOL_FORWARD_URL, secret)))
    return tools


def _policy(
    settings: Settings, *, timeout_s: float | None = None, resend_ambiguous: bool | None = None
) -> GuardPolicy:
    """How the CRM is posted to; the bot, with a breaker of its own, likewise."""
    at_once = settings.CRM_IDEMPOTENT and settings.CRM_LOOKUP_URL is None
    return GuardPolicy(
        timeout_s=settings.CRM_TIMEOUT_S if timeout_s is None else timeout_s,
        max_attempts=settings.CRM_MAX_ATTEMPTS,
        backoff_base_s=settings.CRM_BACKOFF_BASE_S,
        backoff_max_s=settings.CRM_BACKOFF_MAX_S,
        breaker_failures=settings.CRM_BREAKER_FAILURES,
        breaker_reset_s=settings.CRM_BREAKER_RESET_S,
        concurrency=settings.CRM_CONCURRENCY,
        resend_ambiguous=at_once if resend_ambiguous is None else resend_ambiguous,
    )


def _crm(settings: Settings) -> CrmSettings:
    return CrmSettings(
        url=settings.CRM_WEBHOOK_URL or "",
        auth_header=_auth_header(settings),
        protocol_pattern=settings.CRM_PROTOCOL_PATTERN,
        idempotent=settings.CRM_IDEMPOTENT,
    )


def _lookup(settings: Settings, stack: contextlib.AsyncExitStack) -> Lookup | None:
    if settings.CRM_LOOKUP_URL is None:
        return None
    lookup = Lookup(
        LookupSettings(
            url=settings.CRM_LOOKUP_URL,
            timeout_s=settings.CRM_TIMEOUT_S,
            timezone=settings.TIMEZONE,
            protocol_pattern=settings.CRM_PROTOCOL_PATTERN,
            auth_header=_auth_header(settings),
        )
    )
    stack.push_async_callback(lookup.aclose)
    return lookup


def _auth_header(settings: Settings) -> tuple[str, str] | None:
    if settings.CRM_AUTH_HEADER is None:
        return None
    name, _, value = settings.CRM_AUTH_HEADER.get_secret_value().partition(":")
    return name, value.strip()


def build_worker(
    settings: Settings, platform: Platform, store: Store, tools: Sequence[Tool], *, lease: Lease, clock: Clock
) -> Worker:
    """The loop with everything it stands on."""
    send_window_s = settings.CRM_TIMEOUT_S + settings.CRM_SETTLE_S
    return Worker(
        platform=platform,
        runs=store.runs,
        dispatcher=Dispatcher(tools, store.calls, lease, send_window_s=send_window_s, clock=clock),
        lease=lease,
        pace=Pace(settings.POLL_MIN_S, settings.POLL_MAX_S, told=settings.OPENAI_WEBHOOK_SECRET is not None),
        reads=TokenBucket(settings.POLL_RATE, clock),
        limits=LoopLimits(
            max_runs=settings.MAX_RUNS,
            max_rounds=settings.MAX_ROUNDS,
            call_deadline_s=settings.CALL_DEADLINE_S,
            discover_interval_s=settings.DISCOVER_INTERVAL_S,
            discover_window_s=settings.DISCOVER_WINDOW_S,
            shutdown_grace_s=settings.SHUTDOWN_GRACE_S,
        ),
        clock=clock,
    )
