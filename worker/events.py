"""Events to the bot: a durable outbox, signed, in order per conversation (contract §5)."""

import asyncio
from datetime import UTC, datetime

import httpx
from standardwebhooks import Webhook

from worker import logs
from worker.model import Event
from worker.ports import Clock, Outbox

_LEASE_S = 30.0
_TIMEOUT_S = 10.0
_AT_ONCE = 16
_FIRST_RETRY_S, _LAST_RETRY_S = 5.0, 3600.0
_GIVE_UP_S = 72 * 3600.0
_GONE = 410


class Courier:
    """Delivers what the outbox holds. A slow or dead bot never delays the run loop."""

    def __init__(self, outbox: Outbox, owner: str, url: str, secret: str, clock: Clock) -> None:
        self._outbox = outbox
        self._owner = owner
        self._url = url
        self._signer = Webhook(secret)
        self._clock = clock
        self._client = httpx.AsyncClient(follow_redirects=False, timeout=_TIMEOUT_S)
        self._off = False

    async def run(self) -> None:
        """Deliver until cancelled, or until the bot answers 410: then not before a restart."""
        async with self._client:
            while not self._off:
                due = await self._outbox.claim(self._owner, _AT_ONCE, _LEASE_S)
                await asyncio.gather(*map(self._deliver, due))
                if not due:
                    await self._clock.sleep(1.0)

    async def _deliver(self, event: Event) -> None:
        result = await self._post(event)
        if result.startswith("http_2"):
            await self._outbox.delivered(event, result)
        elif event.age_s > _GIVE_UP_S:
            await self._outbox.give_up(event, result)
            logs.event(
                "! evento não entregue em 72 h: precisa de uma pessoa | code={code}",
                level="ERROR",
                code=result,
            )
        else:
            await self._outbox.retry(
                event, result, min(_LAST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(event.tries, 20))
            )
        if result == f"http_{_GONE}" and not self._off:
            self._off = True
            logs.event("! o bot respondeu 410: entrega de eventos desligada até reiniciar", level="ERROR")

    async def _post(self, event: Event) -> str:
        """One try; a short code of what came back. A redirect is a failure: it may lead anywhere."""
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "webhook-id": event.event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(event.event_id, now, event.body),
        }
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await self._client.post(self._url, content=event.body.encode(), headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            return type(error).__name__
        return f"http_{answer.status_code}"
