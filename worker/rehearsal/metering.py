"""The platform as a rehearsal uses it: every poll is counted, by the thread of its conversation."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from worker.errors import PlatformError
from worker.model import Answer, RunRef, RunSnapshot, Spoken
from worker.ports import Clock, Dialogue, Platform

AWAY_S = 60.0
"""If no poll succeeds for so long, the rehearsal ends. The loop alone would wait longer."""


class MeteredPlatform:
    """Implements `ports.Platform` over another one, which it does not own."""

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self.name = platform.name
        # A dialogue returns from `say` when the run has begun: an end is never that of the message before.
        self.traits = replace(platform.traits, settling_s=0.0)
        self._platform = platform
        self._clock = clock
        #: By thread: since when all polls have failed, and the newest failure.
        self._failing: dict[str | None, tuple[float, PlatformError]] = {}
        self._reads: Counter[str | None] = Counter()
        self._tokens: dict[str | None, dict[str, int]] = {}

    def reads(self, thread_id: str | None) -> int:
        """Polls of the runs of this thread so far."""
        return self._reads[thread_id]

    def tokens(self, thread_id: str | None) -> int | None:
        """Tokens that the runs of this thread have used; None if the platform reports none."""
        of_runs = self._tokens.get(thread_id)
        return sum(of_runs.values()) if of_runs else None

    def check(self, thread_id: str | None) -> None:
        """Raises the newest `PlatformError` when no poll of this thread has succeeded for `AWAY_S`."""
        since, error = self._failing.get(thread_id, (0.0, None))
        if error is not None and self._clock.monotonic() - since > AWAY_S:
            raise error

    async def probe(self) -> Sequence[str]:
        return await self._platform.probe()

    async def inspect(self, ref: RunRef) -> RunSnapshot:
        self._reads[ref.thread_id] += 1
        try:
            snapshot = await self._platform.inspect(ref)
        except PlatformError as error:
            since, _ = self._failing.get(ref.thread_id, (self._clock.monotonic(), None))
            self._failing[ref.thread_id] = since, error
            raise
        self._failing.pop(ref.thread_id, None)
        if snapshot.tokens is not None:
            self._tokens.setdefault(ref.thread_id, {})[ref.run_id] = snapshot.tokens
        return snapshot

    async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> RunRef | None:
        return await self._platform.submit(ref, answers, again=again)

    async def discover(self, thread_id: str) -> RunRef | None:
        return await self._platform.discover(thread_id)

    async def listed(self) -> Sequence[tuple[str, str]]:
        return await self._platform.listed()

    async def thread_of(self, run_id: str) -> str | None:
        return await self._platform.thread_of(run_id)

    async def reply(self, ref: RunRef) -> Spoken:
        return await self._platform.reply(ref)

    def converse(self, assistant: str | Mapping[str, object]) -> Dialogue:
        return self._platform.converse(assistant)

    async def aclose(self) -> None:
        """Do nothing: the caller closes the platform that it opened."""
