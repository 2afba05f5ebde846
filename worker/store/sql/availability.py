"""Whether PostgreSQL answers: outages begin with the first failure, and end when a probe succeeds."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from worker.errors import StoreError, StoreUnavailable
from worker.store.sql.refusals import Refusal

PROBE_S = 0.5
"""Delay between two probes of an unavailable server, and before a statement is retried."""


class Availability:
    """Whether this process can reach its PostgreSQL. Never used for SQLite: a failed disk does not return."""

    def __init__(self) -> None:
        self._answers = asyncio.Event()
        self._answers.set()
        self._failing = asyncio.Event()
        self._patient = True
        #: A probe of this process watches for the end of an outage, so nothing else has to.
        self.probed = False
        self._refusal: Refusal | None = None
        #: Start of the current outage: monotonic seconds, and seconds since the epoch.
        self._began = 0.0
        self.since: float | None = None

    @property
    def refusal(self) -> Refusal | None:
        """The cause of the current outage; None without one."""
        return self._refusal

    def failed(self, refusal: Refusal) -> None:
        """Record a failure of the server. The first one begins an outage."""
        previous, self._refusal = self._refusal, refusal
        if previous is None:
            self._began, self.since = time.monotonic(), time.time()
            self._answers.clear()
            self._failing.set()
        if self.probed:  # a command reports the failure itself
            from worker.store.sql import outage_report  # noqa: PLC0415  # commands do without log and metrics

            outage_report.failed(refusal, previous, self.since)

    def recovered(self) -> None:
        """Record that a probe succeeded, which ends an outage."""
        if self._refusal is None:
            return
        self._refusal = self.since = None
        self._failing.clear()
        self._answers.set()
        if self.probed:
            from worker.store.sql import outage_report  # noqa: PLC0415  # as in `failed`

            outage_report.recovered(self.lasted_s)

    @property
    def lasted_s(self) -> float:
        """Duration of the latest outage until now, in seconds."""
        return time.monotonic() - self._began

    async def wait(self) -> None:
        """Wait until the database answers, at least `PROBE_S / 2`.

        Raises `StoreUnavailable` after `lose_patience`.
        """
        await asyncio.sleep(PROBE_S / 2)
        if not self._patient:
            raise StoreUnavailable("o banco de dados não atende")
        await self._answers.wait()
        if not self._patient:
            raise StoreUnavailable("o banco de dados não atende")

    def lose_patience(self) -> None:
        """Refuse every current and later `wait`: the process is about to end."""
        self._patient = False
        self._answers.set()

    async def keep_probing(self, probe: Callable[[], Awaitable[None]], grace_s: float) -> None:
        """Probe the database during outages, for ever. Raises `StoreError` when one exceeds `grace_s`."""
        from worker.store.sql import outage_report  # noqa: PLC0415  # as in `failed`

        self.probed = True
        outage_report.started(self._refusal, self.since)
        while True:
            await self._failing.wait()
            try:
                await probe()
            except StoreUnavailable:
                if self.lasted_s > grace_s:
                    self.lose_patience()
                    raise StoreError(f"fora há mais de {grace_s:g} s, DATABASE_GRACE_S") from None
                await asyncio.sleep(PROBE_S)
            else:
                self.recovered()
