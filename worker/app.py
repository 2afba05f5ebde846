"""The composition root: builds everything, runs it in one TaskGroup, owns the signals."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from worker import __version__, logs
from worker.catalog import Catalog
from worker.clock import SystemClock
from worker.dispatch import Dispatcher
from worker.guard import Guard, GuardPolicy
from worker.lease import Lease
from worker.loop import LoopLimits, Worker
from worker.pacing import Pace, TokenBucket
from worker.platforms.assistants import AssistantsPlatform
from worker.ports import Clock, Platform, Tool
from worker.settings import Settings
from worker.store.store import Store
from worker.tools.abrir_ticket_crm import AbrirTicketCrm, CrmSettings
from worker.tools.transferir_para_humano import TransferirParaHumano
from worker.web.api import create_api
from worker.web.server import serve


async def run(settings: Settings, warnings: list[str]) -> None:
    """The daemon: until the first signal, then gracefully; the second signal ends the process at once.

    Raises `ConfigError` (nothing was started), and in an `ExceptionGroup` whatever a side task died of.
    """
    platform = build_platform(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(platform.aclose)
        store = await Store.open(settings, platform.name, owner=True)
        stack.push_async_callback(store.close)
        catalog = Catalog.load()
        _start_logs(settings, store, catalog)
        asyncio.get_running_loop().set_exception_handler(logs.loop_exception_handler)
        for warning in [*warnings, *await platform.probe()]:
            logs.event("! {problem}", level="WARNING", problem=warning)
        clock = SystemClock()
        guard = build_guard(settings, clock)
        stack.push_async_callback(guard.aclose)
        tools = build_tools(settings, catalog, guard)
        worker = build_worker(settings, platform, store, tools, clock)
        await _serve_and_work(settings, store, worker)


async def _serve_and_work(settings: Settings, store: Store, worker: Worker) -> None:
    """The loop and the HTTP API side by side; when the loop has ended, so has the daemon."""
    with _signals(worker):
        async with asyncio.TaskGroup() as tasks:
            api = tasks.create_task(_serve(settings, store, worker)) if settings.HTTP_PORT else None
            await worker.run()
            if api is not None:
                api.cancel()
    logs.event("■ ticket-worker encerrado")


async def _serve(settings: Settings, store: Store, worker: Worker) -> None:
    app = create_api(
        store.records,
        token=settings.API_TOKEN.get_secret_value() if settings.API_TOKEN else None,
        platform=store.runs.platform,
        wake=worker.wake,
        alive=worker.alive,
        timezone=settings.TIMEZONE,
    )
    await serve(app, settings.HTTP_HOST, settings.HTTP_PORT, on_started=_log_started)


def _log_started(url: str) -> None:
    logs.event("▶ ticket-worker {version} atende em {url}", version=__version__, url=url)


def _start_logs(settings: Settings, store: Store, catalog: Catalog) -> None:
    logs.setup(
        level=settings.LOG_LEVEL,
        fmt=settings.LOG_FORMAT,
        directory=None if settings.LOG_DIR == "-" else Path(settings.LOG_DIR),
        hasher=store.database.hasher,
        words=catalog.words(),
    )


@contextlib.contextmanager
def _signals(worker: Worker) -> Iterator[None]:
    """The first SIGTERM or SIGINT stops gracefully; then the default is back, so the second one ends us."""
    loop = asyncio.get_running_loop()
    handled = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
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


def build_platform(settings: Settings) -> Platform:
    """The platform that `PLATFORM` names."""
    key = settings.OPENAI_API_KEY.get_secret_value() if settings.OPENAI_API_KEY else ""
    return AssistantsPlatform(
        api_key=key,
        base_url=settings.OPENAI_BASE_URL,
        api_version=settings.OPENAI_API_VERSION,
        assistant_ids=settings.assistant_ids.values(),
    )


def build_guard(settings: Settings, clock: Clock) -> Guard:
    """The one way to the CRM."""
    return Guard(
        policy=GuardPolicy(
            timeout_s=settings.CRM_TIMEOUT_S,
            max_attempts=settings.CRM_MAX_ATTEMPTS,
            backoff_base_s=settings.CRM_BACKOFF_BASE_S,
            backoff_max_s=settings.CRM_BACKOFF_MAX_S,
            breaker_failures=settings.CRM_BREAKER_FAILURES,
            breaker_reset_s=settings.CRM_BREAKER_RESET_S,
            concurrency=settings.CRM_CONCURRENCY,
            resend_ambiguous=settings.CRM_IDEMPOTENT,
        ),
        clock=clock,
    )


def build_tools(settings: Settings, catalog: Catalog, guard: Guard) -> list[Tool]:
    """The functions the model may call: a new one is a file, a schema and a line here."""
    return [AbrirTicketCrm(catalog, guard, _crm(settings)), TransferirParaHumano(catalog)]


def _crm(settings: Settings) -> CrmSettings:
    header = settings.CRM_AUTH_HEADER.get_secret_value() if settings.CRM_AUTH_HEADER else ""
    name, _, value = header.partition(":")
    return CrmSettings(
        url=settings.CRM_WEBHOOK_URL or "",
        auth_header=(name, value.strip()) if header else None,
        protocol_pattern=settings.CRM_PROTOCOL_PATTERN,
        idempotent=settings.CRM_IDEMPOTENT,
    )


def build_worker(
    settings: Settings, platform: Platform, store: Store, tools: Sequence[Tool], clock: Clock
) -> Worker:
    """The loop with everything it stands on."""
    lease = Lease()
    dispatcher = Dispatcher(
        tools,
        store.calls,
        lease,
        send_window_s=settings.CRM_TIMEOUT_S + settings.CRM_SETTLE_S,
        clock=clock,
    )
    return Worker(
        platform=platform,
        runs=store.runs,
        dispatcher=dispatcher,
        lease=lease,
        pace=Pace(settings.POLL_MIN_S, settings.POLL_MAX_S),
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
