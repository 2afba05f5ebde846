"""Builds the parts from the settings and connects them: the only module that knows all of them."""

import contextlib
import re
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from starlette.types import ASGIApp

from worker import metrics, platforms, tools
from worker.catalog import Catalog
from worker.engine.dispatch import Dispatcher
from worker.engine.lease import Lease
from worker.engine.loop import Worker
from worker.engine.pacing import LoopLimits, Pace, TokenBucket
from worker.engine.reply_check import EndedReplies, ReplyCheck
from worker.outbound.guard import Guard, GuardPolicy
from worker.ports import Clock, Platform, Tool
from worker.settings import Settings
from worker.store.patience import patient
from worker.store.store import Store
from worker.times import SystemClock
from worker.tools.crm import Crm, CrmSettings
from worker.tools.forward import Forward, ForwardSettings
from worker.tools.lookup import Lookup, LookupSettings
from worker.tools.parts import ToolParts
from worker.web.app import create_api
from worker.web.dependencies import Services, Setup
from worker.web.webhooks import WebhookReceiver


def build_tools(
    settings: Settings, catalog: Catalog, clock: Clock, stack: contextlib.AsyncExitStack
) -> list[Tool]:
    """The functions that the model may call. The stack closes their connections."""
    guard = Guard(_policy(settings), clock)
    stack.push_async_callback(guard.aclose)
    metrics.breaker_open.set_function(lambda: guard.breaker_state != "closed")
    metrics.breaker_paused_seconds.set_function(lambda: guard.paused_s)
    crm = Crm(guard, _crm(settings), _lookup(settings, stack))
    parts = ToolParts(settings, catalog, crm)
    built: list[Tool] = [tool.build(parts) for tool in tools.TOOLS]
    if settings.TOOL_FORWARD_URL and settings.BOT_WEBHOOK_SECRET:
        secret = settings.BOT_WEBHOOK_SECRET.get_secret_value()
        to_bot = Guard(_policy(settings, timeout_s=settings.TOOL_TIMEOUT_S, resend_ambiguous=True), clock)
        stack.push_async_callback(to_bot.aclose)
        built.append(Forward(to_bot, ForwardSettings(settings.TOOL_FORWARD_URL, secret)))
    return built


def _policy(
    settings: Settings, *, timeout_s: float | None = None, resend_ambiguous: bool | None = None
) -> GuardPolicy:
    """The policy for POSTs to the CRM, or to the bot if `timeout_s` is given."""
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
        name="crm" if timeout_s is None else "bot",
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
    """The loop and its parts."""
    availability = store.database.availability
    send_window_s = settings.CRM_TIMEOUT_S + settings.CRM_SETTLE_S
    reads = TokenBucket(settings.POLL_RATE, clock)
    return Worker(
        platform=platform,
        runs=patient(store.runs, availability),
        arrivals=patient(store.arrivals, availability),
        dispatcher=Dispatcher(
            tools,
            patient(store.calls, availability),
            lease,
            send_window_s=send_window_s,
            clock=clock,
            share=max(1, settings.CRM_CONCURRENCY // 4),
        ),
        lease=lease,
        pace=Pace(
            settings.POLL_MIN_S, settings.POLL_MAX_S, webhooks=settings.OPENAI_WEBHOOK_SECRET is not None
        ),
        reads=reads,
        replies=EndedReplies(platform, store.replies, reads, clock, enabled=settings.REPLY_CHECK == "on"),
        limits=_loop_limits(settings),
        clock=clock,
    )


def _loop_limits(settings: Settings) -> LoopLimits:
    return LoopLimits(
        max_runs=settings.MAX_RUNS,
        max_rounds=settings.MAX_ROUNDS,
        call_deadline_s=settings.CALL_DEADLINE_S,
        discover_interval_s=settings.DISCOVER_INTERVAL_S,
        discover_window_s=settings.DISCOVER_WINDOW_S,
        shutdown_grace_s=settings.SHUTDOWN_GRACE_S,
    )


def build_api(settings: Settings, store: Store, worker: Worker, webhooks: WebhookReceiver | None) -> ASGIApp:
    """The HTTP API and the dashboard."""
    services = Services(
        store=store,
        platform=settings.PLATFORM or "",
        zone=ZoneInfo(settings.TIMEZONE),
        protocolo=re.compile(settings.CRM_PROTOCOL_PATTERN, re.ASCII),
        wake=worker.wake,
        alive=worker.alive,
        replies=ReplyCheck(store.replies),
        webhooks=webhooks,
        setup=Setup(
            platform_key=settings.OPENAI_API_KEY is not None or settings.OPENAI_AUTH == "entra",
            crm=settings.CRM_WEBHOOK_URL is not None,
            lookup=settings.CRM_LOOKUP_URL is not None,
            bot=settings.BOT_WEBHOOK_URL is not None,
            stores_assistants=platforms.spec(settings).stored is not None,
            assistants=tuple(settings.assistant_ids),
            conversation_url=settings.CONVERSATION_URL,
        ),
    )
    return create_api(
        services,
        token=settings.API_TOKEN.get_secret_value() if settings.API_TOKEN else None,
        trusted_proxies=settings.trusted_proxies,
    )


def build_webhooks(settings: Settings, store: Store, worker: Worker) -> WebhookReceiver | None:
    if settings.OPENAI_WEBHOOK_SECRET is None:
        return None
    return WebhookReceiver(
        settings.OPENAI_WEBHOOK_SECRET.get_secret_value(),
        store.webhooks,
        wake_event=platforms.spec(settings).wake_event,
        thread_of=worker.thread_of,
        wake=worker.wake_by_webhook,
        clock=SystemClock(),
    )
