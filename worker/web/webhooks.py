"""Receives the platform's webhooks (contract §3): verified, deduplicated, answered at once.

A webhook is thin and proves nothing but that something happened: it makes the next look immediate. Which
conversation a run belongs to that nobody announced is found out after answering.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

from standardwebhooks import Webhook, WebhookVerificationError

from worker import logs, metrics
from worker.errors import (
    PlatformError,
    PlatformUnavailable,
    RequestRefused,
    StoreError,
    StoreUnavailable,
)
from worker.model import PLATFORM_ID
from worker.ports import Clock
from worker.store.runs.webhooks import Webhooks

_AT_ONCE = 4
_WAITING = 1000
_LONGEST_WAIT_S = 60.0
"""Longest wait that a platform's Retry-After can ask for: waiting webhooks keep others from being handled."""

_WAITS_S = (1.0, 5.0, 25.0)
"""Seconds before each retry of a platform that does not answer: it does not repeat an accepted webhook."""


class WebhookReceiver:
    """Receives webhooks signed with `secret`. `run()` handles those about runs that were not announced.

    `wake_event`: the type that names a run which may need an answer (see `PlatformSpec`). `thread_of` asks
    the platform (see `ports.Platform.thread_of`); `wake(run_id)`: poll this run now.
    """

    def __init__(
        self,
        secret: str,
        store: Webhooks,
        *,
        wake_event: str | None,
        thread_of: Callable[[str], Awaitable[str | None]],
        wake: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._signature = Webhook(secret)
        self._store = store
        self._wake_event = wake_event
        self._thread_of = thread_of
        self._wake = wake
        self._clock = clock
        self._unknown: asyncio.Queue[str] = asyncio.Queue(_WAITING)

    async def receive(self, headers: Mapping[str, str], body: bytes) -> None:
        """Receive one delivery. Raises `RequestRefused`: `assinatura_invalida`, `json_invalido`."""
        run_id = self._run_named(self._verified(headers, body))
        if run_id is None:
            return
        known = await self._store.record(headers["webhook-id"], run_id)
        if known:
            self._wake(run_id)
        elif known is False:
            self._enqueue(run_id)

    async def run(self) -> None:
        """Handle webhooks about runs that were not announced, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(self._handle_queued())

    def _verified(self, headers: Mapping[str, str], body: bytes) -> object:
        try:
            self._signature.verify(body, dict(headers), json_parse=False)
        except (
            WebhookVerificationError,
            ValueError,
        ):  # ValueError: no signature's form
            raise RequestRefused("assinatura_invalida") from None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise RequestRefused("json_invalido") from None

    def _run_named(self, event: object) -> str | None:
        """The run of an event; None for an event of another type."""
        match event:
            case {"type": str(kind), "data": {"id": str(run_id)}}:
                return run_id if kind == self._wake_event and PLATFORM_ID.fullmatch(run_id) else None
        return None

    def _enqueue(self, run_id: str) -> None:
        """Queue a run that is not watched; drop it if the queue is full: a flood comes from other users."""
        if self._unknown.full():
            metrics.webhooks_dropped.inc()
        else:
            self._unknown.put_nowait(run_id)

    async def _handle_queued(self) -> None:
        while True:
            run_id = await self._unknown.get()
            try:
                await self._handle(run_id)
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001  # a defect concerns this webhook alone
                metrics.defects.labels("webhook").inc()
                logs.failure("defeito ao tratar um webhook", error, run_id=run_id)

    async def _handle(self, run_id: str) -> None:
        thread_id = await self._thread(run_id)
        if thread_id is not None and await self._watched(run_id, thread_id):
            self._wake(run_id)
        else:
            metrics.webhooks_dropped.inc()

    async def _watched(self, run_id: str, thread_id: str) -> bool:
        """Watch the run as soon as the database answers: the platform does not repeat an accepted webhook."""
        while True:
            try:
                return await self._store.watch(run_id, thread_id)
            except StoreUnavailable:
                await self._clock.sleep(_WAITS_S[0])

    async def _thread(self, run_id: str) -> str | None:
        for wait_s in (*_WAITS_S, None):
            try:
                return await self._thread_of(run_id)
            except PlatformUnavailable as error:
                if wait_s is not None:
                    await self._clock.sleep(max(wait_s, min(error.retry_after_s or 0.0, _LONGEST_WAIT_S)))
            except PlatformError:
                return None
        logs.event(
            "! webhook sem efeito: a plataforma não disse de que conversa é a execução | run_id={run_id}",
            level="WARNING",
            run_id=run_id,
        )
        return None
