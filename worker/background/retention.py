"""Removes personal data: erasures on request, retention at night."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from worker import logs
from worker.model import SweepCounts
from worker.ports import Clock
from worker.store.personal_data.erasure import Erasures
from worker.store.personal_data.retention import Retention

_REQUESTS_EVERY_S = 1.0
_RETENTION_EVERY_S = 60.0
_LEASE_S = 3600.0
"""The lease on the night's work: after a process dies, another takes over after this many seconds."""

_NIGHT_H = 3


class PersonalDataTasks:
    """Runs erasures and retention. Of several daemons on one database, one does each piece of work."""

    def __init__(
        self,
        erasures: Erasures,
        retention: Retention,
        zone: ZoneInfo,
        clock: Clock,
        now: Callable[[], datetime],
    ) -> None:
        """`zone`: TIMEZONE, in which retention runs at 03:00. `now`: the current time."""
        self._erasures = erasures
        self._retention = retention
        self._zone = zone
        self._clock = clock
        self._now = now

    async def run(self) -> None:
        """Run until cancelled. Raises `StoreError` in an `ExceptionGroup`."""
        await self._retention.plan(self._until_night_s(), first=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(_REQUESTS_EVERY_S, self._process_requests))
            tasks.create_task(self._every(_RETENTION_EVERY_S, self._retain))

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await work()
            await self._clock.sleep(seconds)

    async def _process_requests(self) -> None:
        while await self._erasures.process_next():
            logs.event("● dados pessoais apagados a pedido")

    async def _retain(self) -> None:
        if await self._retention.claim(_LEASE_S):
            _log(await self._retention.sweep())
            await self._retention.plan(self._until_night_s())

    def _until_night_s(self) -> float:
        """Seconds until the next 03:00."""
        local = self._now().astimezone(self._zone)
        night = local.replace(hour=_NIGHT_H, minute=0, second=0, microsecond=0)
        if night <= local:
            night += timedelta(days=1)
        return (night.timestamp() - local.timestamp()) or 86_400.0


def _log(swept: SweepCounts) -> None:
    logs.event(
        "● retenção: conteúdo de {payloads} chamadas e {contacts} conversas; registros de {calls} chamadas, "
        "{runs} execuções, {conversations} conversas, {events} eventos, {webhooks} webhooks, "
        "{accesses} leituras, {erasures} apagamentos, {replies} conferências de respostas",
        payloads=swept.payloads,
        contacts=swept.contacts,
        calls=swept.calls,
        runs=swept.runs,
        conversations=swept.conversations,
        events=swept.events,
        webhooks=swept.webhooks,
        accesses=swept.accesses,
        erasures=swept.erasures,
        replies=swept.replies,
    )
