"""Webhooks as OpenAI sends them (Standard Webhooks): thin, signed, sent again until somebody takes them."""

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

_WAITS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Before each try. The real platform goes on for 72 hours."""

_PULSE_S = 0.02


class Webhooks:
    """Tells `url` what happened; silent without one. `url` and `secret` may be set at any time."""

    def __init__(
        self, clock: Clock, *, url: str | None = None, secret: str | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.url = url
        self.secret = secret
        self._clock = clock
        self._sleep = sleep
        self._deliveries: set[asyncio.Task[None]] = set()

    @cached_property
    def _authorities(self) -> ssl.SSLContext:
        """Loaded once: that takes longer than a delivery."""
        return httpx.create_ssl_context(trust_env=False)

    def tell(self, kind: str, data: Json) -> None:
        """Send one event, in the background and under one `webhook-id` however often it takes."""
        if self.url:
            event = {"id": new_id("evt"), "object": "event", "type": kind, "data": data}
            body = json.dumps({**event, "created_at": int(self._clock.now())}).encode()
            delivery = asyncio.get_running_loop().create_task(self._deliver(self.url, body))
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._deliveries.discard)

    def lifespan(
        self, advance: Callable[[], None]
    ) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
        """For the app: while it serves, `advance` lets happen what is due, though nobody looks."""

        @contextlib.asynccontextmanager
        async def pulsing(_app: Starlette) -> AsyncIterator[None]:
            pulse = asyncio.create_task(self._pulse(advance))
            try:
                yield
            finally:
                tasks = [pulse, *self._deliveries]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        return pulsing

    async def _pulse(self, advance: Callable[[], None]) -> None:
        while True:
            if self.url:
                advance()
            await asyncio.sleep(_PULSE_S)

    async def _deliver(self, url: str, body: bytes) -> None:
        webhook_id = new_id("wh")
        async with httpx.AsyncClient(timeout=5.0, trust_env=False, verify=self._authorities) as http:
            for wait_s in _WAITS_S:
                await self._sleep(wait_s)
                with contextlib.suppress(httpx.HTTPError):
                    response = await http.post(url, content=body, headers=self._signed(webhook_id, body))
                    if response.is_success:
                        return

    def _signed(self, webhook_id: str, body: bytes) -> dict[str, str]:
        """Headers of one try. Its time is the machine's: the receiver judges it by its own clock."""
        timestamp = str(int(time.time()))
        key = base64.b64decode((self.secret or "").removeprefix("whsec_"))
        mac = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
        return {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{base64.b64encode(mac.digest()).decode()}",
        }
