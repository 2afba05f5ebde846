"""A call's permission to send: each attempt is recorded before it begins and checked before it is written."""

from dataclasses import dataclass

from worker.engine.instrumentation import Instrumentation
from worker.engine.lease import Lease
from worker.errors import Withdrawn
from worker.model import CallRecord, Sent
from worker.ports import Clock, Ledger

_CUT_OFF_FREE = 3
"""Attempts cut off by the end of a process that do not count towards `CRM_MAX_ATTEMPTS`."""


@dataclass(slots=True)
class Sending:
    """What all attempts of a process share."""

    ledger: Ledger
    lease: Lease
    clock: Clock
    #: Seconds after its begin for which an attempt may still take effect.
    window_s: float
    instrumentation: Instrumentation
    #: The process is stopping: no attempt begins.
    stopping: bool = False

    async def pause(self, seconds: float) -> None:
        """Wait, but not while stopping. Raises `Withdrawn`."""
        if self.stopping:
            raise Withdrawn("stopping")
        await self.clock.sleep(seconds)


class CallAttempts:
    """Implements `ports.Attempts` for one call."""

    def __init__(self, call: CallRecord, sending: Sending) -> None:
        self._call = call
        self._sending = sending
        self._last = call.attempts

    @property
    def used(self) -> int:
        """Attempts since the last retry. Up to three that the end of a process cut off do not count."""
        return self._last - self._call.retry_from - min(self._call.cut_off, _CUT_OFF_FREE)

    @property
    def begun(self) -> bool:
        """Whether this process has begun an attempt of the call."""
        return self._last > self._call.attempts

    def alive(self) -> bool:
        return self._sending.lease.holds()

    async def begin(self) -> None:
        if self._sending.stopping or not self.alive():
            raise Withdrawn("this process no longer sends")
        begun = await self._sending.ledger.begin_attempt(
            self._call,
            self._last + 1,
            owner=self._sending.lease.owner,
            send_window_s=self._sending.window_s,
        )
        if not begun:
            raise Withdrawn("the call went on without us")
        self._last += 1
        if self._last == 1:
            self._sending.instrumentation.sending(self._call)

    async def end(self, *, certain: bool, detail: str) -> None:
        self._sending.instrumentation.attempt_failed(self._call, self._last, detail, certain=certain)
        await self._sending.ledger.end_attempt(self._call.call_id, self._last, certain=certain, detail=detail)

    async def sent(self) -> Sent:
        return await self._sending.ledger.sent(self._call.call_id)

    async def settled(self) -> None:
        while (wait := (await self.sent()).settles_in_s) > 0:
            await self._sending.pause(min(wait, 1.0))

    async def held_by_another(self, protocolo: str) -> bool:
        return await self._sending.ledger.held_by_another(self._call, protocolo)

    async def first_try(self) -> CallRecord:
        return await self._sending.ledger.first_try(self._call)
