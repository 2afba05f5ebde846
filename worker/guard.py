"""retry(breaker(one POST)): the only file that knows backoff and aiobreaker (contract §4).

`Guard.post` repeats `_attempt`, which takes a slot, asks the breaker and tells the ledger before `_send`
posts once (`worker/posting.py`). Whatever is not a readable 2xx becomes one `_Failed`, which says what it
means for the ticket.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, cast

import backoff
from aiobreaker import CircuitBreaker, CircuitBreakerError

from worker.errors import Withdrawn
from worker.ports import Attempts, Clock
from worker.posting import Answer, Poster, Unanswered

_RETRY_AFTER_MAX_S = 60.0  # asked to wait longer, we give up: better a plain "not now" than an hour open


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """The CRM_* settings that rule sending. `resend_ambiguous`: CRM_IDEMPOTENT, and no lookup to ask."""

    timeout_s: float
    max_attempts: int
    backoff_base_s: float
    backoff_max_s: float
    breaker_failures: int
    breaker_reset_s: float
    concurrency: int
    resend_ambiguous: bool


@dataclass(frozen=True, slots=True)
class Delivered:
    """A 2xx whose body was read to its end. What it says is the tool's to judge."""

    status: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Undelivered:
    """No readable 2xx. `refused`: a 3xx, or a 4xx that repeating cannot change; never send it again.

    `certain`: every attempt of this `post` surely opened nothing (also when none was begun).
    """

    refused: bool
    certain: bool


@dataclass(eq=False)
class _Failed(Exception):
    """One attempt brought no readable 2xx. `strike`: the breaker counts it against the CRM."""

    detail: str
    certain: bool
    refused: bool = False
    strike: bool = True
    retry_after_s: float | None = None


class _Fenced(BaseException):
    """The ledger withdrew its permission right before the request was written.

    Not an `Exception`, so that it passes aiobreaker as a cancellation does: it says nothing about the CRM.
    """


_Result = Delivered | _Failed | None
_Send = Callable[[float], Awaitable[Delivered]]


class Guard:
    """Posts with retries behind one breaker, with at most `concurrency` requests under way. One for life."""

    def __init__(self, policy: GuardPolicy, clock: Clock) -> None:
        self._policy = policy
        self._slots = asyncio.Semaphore(policy.concurrency)
        self._breaker = _Breaker(policy.breaker_failures, policy.breaker_reset_s, clock)
        self._poster = Poster(policy.timeout_s)

    @property
    def breaker_state(self) -> str:
        """`closed`, `open` or `half_open`; an open one turns half-open with the next attempt, not alone."""
        return self._breaker.state

    async def aclose(self) -> None:
        """Close the idle connections. Nothing is sent afterwards."""
        await self._poster.aclose()

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], attempts: Attempts
    ) -> Delivered | Undelivered:
        """Send until a 2xx is read or the rules end it; `attempts` keeps the record, over restarts too.

        Raises `Withdrawn` when the ledger does not let this process send (any more), and whatever it raises.
        """
        left = self._policy.max_attempts - attempts.used
        if left < 1:
            return Undelivered(refused=False, certain=True)
        failures: list[_Failed] = []
        # Without a logger: backoff would log the values it retries on.
        repeat = backoff.on_predicate(
            _waits, self._may_repeat, max_tries=left, jitter=None, logger=None, policy=self._policy
        )

        @repeat
        async def attempt() -> _Result:
            result = await self._attempt(attempts, partial(self._send, url, body, headers, attempts.alive))
            if isinstance(result, _Failed):
                failures.append(result)
            return result

        last = await attempt()
        if isinstance(last, Delivered):
            return last
        return Undelivered(refused=any(f.refused for f in failures), certain=all(f.certain for f in failures))

    def _may_repeat(self, result: _Result) -> bool:
        if not isinstance(result, _Failed) or result.refused or self._breaker.state == "open":
            return False
        return result.certain or self._policy.resend_ambiguous

    async def _attempt(self, attempts: Attempts, send: _Send) -> _Result:
        """One attempt; its failure is recorded before anyone acts on it. None: the breaker is open."""
        try:
            async with self._slots:
                with self._breaker.admission() as judged:
                    if judged is None:
                        return None
                    # Counted from before the ledger's own reckoning, which relies on CRM_TIMEOUT_S.
                    deadline = time.monotonic() + self._policy.timeout_s
                    await attempts.begin()
                    return await judged(send, deadline)
        except _Fenced:
            await attempts.end(certain=True, detail="sem_posse")
            raise Withdrawn("sem_posse") from None
        except _Failed as failure:
            await attempts.end(certain=failure.certain, detail=failure.detail)
            return failure

    async def _send(
        self, url: str, body: bytes, headers: Mapping[str, str], alive: Callable[[], bool], deadline: float
    ) -> Delivered:
        """The POST. Raises `_Failed` and nothing else, or `_Fenced`; `deadline` is monotonic time."""

        def last_look() -> None:
            if not alive():
                raise _Fenced
            # Frozen until now, the connection may go on before its time-out is heard of. Not the loop's time:
            # some loops read the clock once a turn.
            if time.monotonic() >= deadline:
                raise _Failed("timeout", certain=True)

        try:
            answer = await self._poster.post(url, body, headers, last_look, deadline)
        except Unanswered as failure:
            raise _Failed(failure.code, certain=not failure.written) from None
        return _judged(answer)


class _Breaker:
    """aiobreaker's circuit by a monotonic clock, with exactly one trial at a time.

    aiobreaker half-opens by the wall clock, in two time zones, and then lets every call through; so here it
    only counts and keeps the state, and its own open state is never called.
    """

    def __init__(self, failures: int, reset_s: float, clock: Clock) -> None:
        self._circuit = CircuitBreaker(fail_max=failures, exclude=[lambda failed: not failed.strike])
        self._reset_s = reset_s
        self._clock = clock
        self._reset_at = 0.0
        self._on_trial = False

    @property
    def state(self) -> str:
        name: str = self._circuit.current_state.name
        return name.lower()

    @contextmanager
    def admission(self) -> Iterator[Callable[[_Send, float], Awaitable[Delivered]] | None]:
        """Let one attempt in: yields what runs its POST and judges it, or None when nothing may be begun.

        A trial that ends without a verdict (cancelled, withdrawn) leaves its place to the next attempt.
        """
        if self.state == "open" and self._clock.monotonic() >= self._reset_at:
            self._circuit.half_open()
        trial = self.state == "half_open" and not self._on_trial
        if self.state != "closed" and not trial:
            yield None
            return
        self._on_trial = trial
        try:
            # The state of now: who was let in is judged by it, even if others open the breaker meanwhile.
            yield partial(self._judged, self._circuit.state)
        finally:
            if trial:
                self._on_trial = False

    async def _judged(self, state: Any, send: _Send, deadline: float) -> Delivered:
        try:
            return cast(Delivered, await state.call_async(send, deadline))
        except CircuitBreakerError as opened:  # by this failure, so it was sent, and has a cause
            self._reset_at = self._clock.monotonic() + self._reset_s
            raise opened.__cause__ from None


def _judged(answer: Answer) -> Delivered:
    """Raises what an answer that is no readable 2xx means (contract §4)."""
    status = answer.status
    if answer.body is None:
        raise _Failed("body_too_large", certain=False, strike=False)
    if 200 <= status < 300:
        return Delivered(status, answer.body)
    certain = 300 <= status < 500 and status != 408
    raise _Failed(
        f"http_{status}",
        certain=certain,
        refused=certain and status not in {425, 429},
        strike=status in {408, 429} or status >= 500,
        retry_after_s=_retry_after(answer.headers),
    )


def _waits(policy: GuardPolicy) -> Generator[float, Any, None]:
    """Seconds to wait after each failure sent in: full jitter, unless the CRM named its own time.

    Ends, and with it the attempts, when the CRM asks for more than `_RETRY_AFTER_MAX_S`.
    """
    steps = backoff.expo(factor=policy.backoff_base_s, max_value=policy.backoff_max_s)
    failure: _Failed = yield next(steps)  # both generators begin with an empty step
    while (asked := failure.retry_after_s) is None or asked <= _RETRY_AFTER_MAX_S:
        step = next(steps)
        failure = yield backoff.full_jitter(step) if asked is None else asked


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of `Retry-After`; a date counts from the answer's own `Date`, else from our clock."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked)
    until = _http_date(asked)
    if until is None:
        return None
    now = _http_date(headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
