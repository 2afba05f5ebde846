"""Repeats POSTs behind a circuit breaker (contract §4). The only module that uses backoff and aiobreaker.

`Guard.post` repeats `_attempt`, which takes a slot, asks the breaker and the ledger for permission and then
sends once (`worker/outbound/post.py`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import backoff
from aiobreaker import CircuitBreaker, CircuitBreakerError

from worker import logs
from worker.errors import Withdrawn
from worker.outbound.post import Delivered, Failed, LeaseLost, Sender
from worker.ports import Attempts, Clock

_RETRY_AFTER_MAX_S = 60.0
"""If the CRM asks for a longer wait, the call fails: the customer should not wait for an hour."""


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """The CRM_* settings that rule sending."""

    #: Seconds of one attempt, from asking the ledger to the end of the answer.
    timeout_s: float
    #: Attempts of one call, over restarts too.
    max_attempts: int
    backoff_base_s: float
    backoff_max_s: float
    #: Failures in a row that open the breaker, and seconds that it stays open.
    breaker_failures: int
    breaker_reset_s: float
    #: Requests under way at most.
    concurrency: int
    #: Send again a request that may have arrived: with CRM_IDEMPOTENT and without a lookup.
    resend_ambiguous: bool
    #: The receiver's name in log lines about the breaker.
    name: str = "crm"


@dataclass(frozen=True, slots=True)
class Undelivered:
    """No readable 2xx, after all attempts."""

    #: One answer was a 3xx, or a 4xx that repeating cannot change: never send it again.
    refused: bool
    #: Every attempt of this `post` surely opened nothing (also when none was begun).
    certain: bool


_Result = Delivered | Failed | None
_Send = Callable[[float], Awaitable[Delivered]]


class Guard:
    """Posts with retries behind one breaker, with at most `concurrency` requests under way. One for life."""

    def __init__(self, policy: GuardPolicy, clock: Clock) -> None:
        self._policy = policy
        self._slots = asyncio.Semaphore(policy.concurrency)
        self._breaker = _Breaker(policy, clock)
        self._sender = Sender(policy.timeout_s)

    @property
    def paused_s(self) -> float:
        """Seconds until an open breaker lets a trial through; 0 unless it is open."""
        return self._breaker.paused_s

    @property
    def breaker_state(self) -> str:
        """`closed`, `open` or `half_open`; an open breaker turns half-open with the next attempt."""
        return self._breaker.state

    async def aclose(self) -> None:
        """Close the idle connections. Nothing is sent afterwards."""
        await self._sender.aclose()

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], attempts: Attempts
    ) -> Delivered | Undelivered:
        """Send until a 2xx is read or the rules end it; `attempts` keeps the record, over restarts too.

        Raises `Withdrawn` when this process may no longer send, and whatever the ledger raises.
        """
        left = self._policy.max_attempts - attempts.used
        if left < 1:
            return Undelivered(refused=False, certain=True)
        failures: list[Failed] = []
        # Without a logger: backoff would log the values it retries on.
        repeat = backoff.on_predicate(
            _waits, self._may_repeat, max_tries=left, jitter=None, logger=None, policy=self._policy
        )

        @repeat
        async def attempt() -> _Result:
            result = await self._attempt(attempts, partial(self._send, url, body, headers, attempts.alive))
            if isinstance(result, Failed):
                failures.append(result)
            return result

        last = await attempt()
        if isinstance(last, Delivered):
            return last
        return Undelivered(refused=any(f.refused for f in failures), certain=all(f.certain for f in failures))

    def _may_repeat(self, result: _Result) -> bool:
        if not isinstance(result, Failed) or result.refused or self._breaker.state == "open":
            return False
        return result.certain or self._policy.resend_ambiguous

    async def _attempt(self, attempts: Attempts, send: _Send) -> _Result:
        """Make one attempt and record its failure. None: the breaker is open."""
        try:
            async with self._slots:
                await self._breaker.trial_ended()
                with self._breaker.admission() as counted:
                    if counted is None:
                        return None
                    # Counted from before the ledger's own reckoning, which relies on CRM_TIMEOUT_S.
                    deadline = time.monotonic() + self._policy.timeout_s
                    await attempts.begin()
                    return await counted(send, deadline)
        except LeaseLost as lost:
            await attempts.end(certain=lost.certain, detail="sem_posse")
            raise Withdrawn("sem_posse") from None
        except Failed as failure:
            await attempts.end(certain=failure.certain, detail=failure.code)
            return failure

    async def _send(
        self, url: str, body: bytes, headers: Mapping[str, str], alive: Callable[[], bool], deadline: float
    ) -> Delivered:
        """The POST. Raises `Failed` and nothing else, or `LeaseLost`; `deadline` is monotonic time."""

        def before_send() -> None:
            if not alive():
                raise LeaseLost

        return await self._sender.post(url, body, headers, before_send, deadline)


class _Breaker:
    """aiobreaker's circuit by a monotonic clock, with exactly one trial at a time; others wait for its end.

    aiobreaker half-opens by the wall clock, in two time zones, and then lets every call through. So it only
    counts and keeps the state here; its own open state is never called.
    """

    def __init__(self, policy: GuardPolicy, clock: Clock) -> None:
        self._circuit = CircuitBreaker(
            fail_max=policy.breaker_failures, exclude=[lambda failed: not failed.strike]
        )
        self._name = policy.name
        self._reset_s = policy.breaker_reset_s
        self._clock = clock
        #: When an open breaker lets a trial through, by the clock's monotonic seconds.
        self._reset_at = 0.0
        #: Set while no trial is under way.
        self._no_trial = asyncio.Event()
        self._no_trial.set()

    @property
    def state(self) -> str:
        name: str = self._circuit.current_state.name
        return name.lower()

    @property
    def paused_s(self) -> float:
        """Seconds until a trial is let through; 0 unless the breaker is open."""
        return max(0.0, self._reset_at - self._clock.monotonic()) if self.state == "open" else 0.0

    async def trial_ended(self) -> None:
        """Wait while a trial is under way: what it finds decides whether the next attempt is sent or refused.

        Refused at once, all but one of the tickets that an operator retries after an outage would fail again.
        """
        while self.state == "half_open" and not self._no_trial.is_set():
            await self._no_trial.wait()

    @contextmanager
    def admission(self) -> Iterator[Callable[[_Send, float], Awaitable[Delivered]] | None]:
        """Let one attempt in: yields what sends it and counts its result, or None when nothing may be sent.

        A trial that ends without a verdict (cancelled, withdrawn) leaves its place to the next attempt.
        """
        if self.state == "open" and self._clock.monotonic() >= self._reset_at:
            self._circuit.half_open()
        trial = self.state == "half_open" and self._no_trial.is_set()
        if self.state != "closed" and not trial:
            yield None
            return
        if trial:
            self._no_trial.clear()
        try:
            # The present state: what was let in is sent, even if others open the breaker meanwhile.
            yield partial(self._counted, self._circuit.state)
        finally:
            if trial:
                self._no_trial.set()

    async def _counted(self, state: Any, send: _Send, deadline: float) -> Delivered:
        was = self.state
        try:
            return cast(Delivered, await state.call_async(send, deadline))
        except CircuitBreakerError as opened:  # this failure opened it: it was sent, and is the cause
            self._reset_at = self._clock.monotonic() + self._reset_s
            logs.event(
                "! envios pausados: falhas seguidas | name={name} seconds={seconds}",
                level="WARNING",
                name=self._name,
                seconds=self._reset_s,
            )
            raise opened.__cause__ from None
        finally:
            if was != "closed" and self.state == "closed":
                logs.event("✅ envios retomados | name={name}", name=self._name)


def _waits(policy: GuardPolicy) -> Generator[float, Any, None]:
    """Seconds to wait after each failure sent in: full jitter, unless the CRM named its own time.

    Ends, and with it the attempts, when the CRM asks for more than `_RETRY_AFTER_MAX_S`.
    """
    steps = backoff.expo(factor=policy.backoff_base_s, max_value=policy.backoff_max_s)
    failure: Failed = yield next(steps)  # both generators begin with an empty step
    while (named := failure.retry_after_s) is None or named <= _RETRY_AFTER_MAX_S:
        step = next(steps)
        failure = yield backoff.full_jitter(step) if named is None else named
