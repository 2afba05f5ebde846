"""Webhooks as OpenAI sends them (Standard Webhooks): thin, signed, and retried until the receiver accepts."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from functools import cached_property
from typing import Any

import httpx
from starlette.applications import Starlette

from worker.simulator.assistants.runs import new_id
from worker.simulator.clock import Clock
from worker.simulator.faults import Sleep

Json = dict[str, Any]

_RETRY_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Delay before each attempt. The real platform retries for 72 hours."""

_ADVANCE_INTERVAL_S = 0.02


class Webhooks:
    """Sends events to `url`; sends nothing without one. `url` and `secret` may be set at any time."""

    def __init__(
        self, clock: Clock, *, url: str | None = None, secret: str | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.url = url
        self.secret = secret
        self._clock = clock
        self._sleep = sleep
        self._deliveries: set[asyncio.Task[None]] = set()

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        """The trusted certificates, loaded once: loading takes longer than a delivery."""
        return httpx.create_ssl_context(trust_env=False)

    def send(self, kind: str, data: Json) -> None:
        """Send one event in the background. All attempts carry the same `webhook-id`."""
        if self.url:
            event = {"id": new_id("evt"), "object": "event", "type": kind, "data": data}
            body = json.dumps({**event, "created_at": int(self._clock.now())}).encode()
            delivery = asyncio.get_running_loop().create_task(self._deliver(self.url, body))
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._deliveries.discard)

    def lifespan(
        self, advance: Callable[[], None]
    ) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
        """The app's lifespan: calls `advance` regularly, so that due events are sent without a request."""

        @contextlib.asynccontextmanager
        async def advancing(_app: Starlette) -> AsyncIterator[None]:
            advance_task = asyncio.create_task(self._advance_repeatedly(advance))
            try:
                yield
            finally:
                tasks = [advance_task, *self._deliveries]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        return advancing

    async def _advance_repeatedly(self, advance: Callable[[], None]) -> None:
        while True:
            if self.url:
                advance()
            await asyncio.sleep(_ADVANCE_INTERVAL_S)

    async def _deliver(self, url: str, body: bytes) -> None:
        webhook_id = new_id("wh")
        async with httpx.AsyncClient(timeout=5.0, trust_env=False, verify=self._tls_context) as http:
            for delay_s in _RETRY_DELAYS_S:
                await self._sleep(delay_s)
                with contextlib.suppress(httpx.HTTPError):
                    response = await http.post(url, content=body, headers=self._signed(webhook_id, body))
                    if response.is_success:
                        return

    def _signed(self, webhook_id: str, body: bytes) -> dict[str, str]:
        """Headers of one attempt. The time is the machine's: the receiver compares it with its own clock."""
        timestamp = str(int(time.time()))
        key = base64.b64decode((self.secret or "").removeprefix("whsec_"))
        mac = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
        return {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{base64.b64encode(mac.digest()).decode()}",
        }
