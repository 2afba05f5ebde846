"""Delivers the events of the outbox to the bot, signed and in order per conversation (contract §5)."""

import asyncio
import time

from worker import logs, metrics
from worker.errors import StoreError
from worker.model import Event
from worker.outbound import client
from worker.ports import Clock
from worker.store.ledger.outbox import Outbox

_LEASE_S = 30.0
_TIMEOUT_S = 10.0
_AT_ONCE = 16
_IDLE_S = 1.0
_FIRST_RETRY_S, _LAST_RETRY_S = 5.0, 3600.0
_GIVE_UP_S = 72 * 3600.0
_GONE = "http_410"


class BotHealth:
    """Logs the beginning, each new cause and the end of the bot's refusals once, and keeps the metrics."""

    def __init__(self) -> None:
        self._cause: str | None = None
        #: When the current outage began, seconds since the epoch.
        self._began = 0.0
        metrics.bot_up.set(1)
        metrics.bot_outage.clear()

    def record(self, result: str) -> None:
        """Record the result of a delivery: a short code."""
        if result.startswith("http_2"):
            self._accepted()
        else:
            metrics.bot_errors.labels(result).inc()
            self._refused(result)

    def _accepted(self) -> None:
        if self._cause is not None:
            self._cause = None
            metrics.bot_up.set(1)
            metrics.bot_outage.clear()
            logs.event("✅ o bot voltou a receber eventos")

    def _refused(self, cause: str) -> None:
        if self._cause == cause:
            return
        if self._cause is None:
            self._began = time.time()
        self._cause = cause
        metrics.bot_up.set(0)
        metrics.bot_outage.clear()
        metrics.bot_outage.labels(cause).set(self._began)
        logs.event("! o bot não recebe os eventos; eles esperam | code={code}", level="WARNING", code=cause)


class EventDelivery:
    """Delivers the events of the outbox. A slow or dead bot never delays the run loop.

    `timeout_s`: the limit of one delivery, and so of the delay that one event causes to others.
    """

    def __init__(
        self,
        outbox: Outbox,
        owner: str,
        url: str,
        secret: str,
        clock: Clock,
        *,
        timeout_s: float = _TIMEOUT_S,
        health: BotHealth | None = None,
    ) -> None:
        self._outbox = outbox
        self._owner = owner
        self._url = url
        self._secret = secret
        self._clock = clock
        self._timeout_s = timeout_s
        self._http = client.client(url, timeout_s)
        self._health = health or BotHealth()
        #: The bot answered 410: nothing is sent until a restart.
        self._off = False

    async def run(self) -> None:
        """Deliver until cancelled, or until the bot answers 410. After that only a restart resumes."""
        async with self._http:
            while not self._off:
                due = await self._outbox.claim(self._owner, _AT_ONCE, _LEASE_S)
                async with asyncio.TaskGroup() as tries:
                    for event in due:
                        tries.create_task(self._contained(event))
                if not due:
                    await self._clock.sleep(_IDLE_S)

    async def _contained(self, event: Event) -> None:
        """Deliver an event and contain its defects: it is tried again as if the bot had refused it."""
        try:
            await self._deliver(event)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  # the other events go on after any defect
            metrics.defects.labels("event").inc()
            logs.failure("defeito ao entregar um evento: fica para depois", error)
            await self._outbox.retry(event, "defect", _wait_s(event.tries))

    async def _deliver(self, event: Event) -> None:
        result = await self._post(event)
        self._health.record(result)
        if result.startswith("http_2"):
            await self._outbox.delivered(event, result)
        elif _tried_s(event.tries) >= _GIVE_UP_S:
            await self._outbox.give_up(event, result)
            logs.event(
                "! evento não entregue em 72 h: precisa de uma pessoa | code={code}",
                level="ERROR",
                code=result,
            )
        else:
            await self._outbox.retry(event, result, _wait_s(event.tries))
        if result == _GONE and not self._off:
            self._off = True
            logs.event("! o bot respondeu 410: entrega de eventos desligada até reiniciar", level="ERROR")

    async def _post(self, event: Event) -> str:
        """Send once; returns a short code of the result. A redirect is a failure: it may lead anywhere."""
        body = event.body.encode()
        headers = client.signed(self._secret, event.event_id, body)
        trying = self._http.stream("POST", self._url, content=body, headers=headers)
        result = None
        try:
            async with asyncio.timeout(self._timeout_s), trying as answer:
                result = f"http_{answer.status_code}"
                async for _ in answer.aiter_raw():
                    pass  # to its end, so that the connection can be used again
        except Exception as error:  # noqa: BLE001  # httpx lets some pass (ssl.SSLError); the next try may do
            return result or client.code(error)
        return result


def _wait_s(tries: int) -> float:
    """Seconds until the next try, after `tries` earlier ones have failed as well."""
    return min(_LAST_RETRY_S, _FIRST_RETRY_S * 2.0**tries)


def _tried_s(tries: int) -> float:
    """For how many seconds an event has been tried: the sum of the waits between its tries.

    Its age would count time in which the bot could not accept it: while no daemon ran, or while another event
    came first.
    """
    return sum(map(_wait_s, range(tries)))
