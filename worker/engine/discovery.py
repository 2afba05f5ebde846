"""Finds runs that were not announced, in recently active conversations (contract §2, DISCOVER_*).

The bot usually registers a conversation's thread. On a platform that lists threads, it may name the
conversation in the thread's metadata instead.
"""

import contextlib
from collections.abc import Callable, Iterator

from worker import logs, metrics
from worker.engine.pacing import LoopLimits, TokenBucket
from worker.errors import PlatformError, StoreError
from worker.ports import Arrivals, Clock, Platform

_AT_ONCE = 20
_SHARE = 5
"""Discovery gets one in five platform reads, and only those that watched runs leave."""


class Discovery:
    """Looks for unannounced runs in conversations without a watched run, one process in each."""

    def __init__(
        self, platform: Platform, arrivals: Arrivals, reads: TokenBucket, limits: LoopLimits, clock: Clock
    ) -> None:
        self._platform = platform
        self._arrivals = arrivals
        self._reads = reads
        self._share = TokenBucket(reads.rate / _SHARE, clock)
        self._limits = limits
        self._clock = clock
        self._list_due = clock.monotonic()

    async def run(self, on_found: Callable[[], None]) -> None:
        """Look for ever; calls `on_found` when there is a run to claim."""
        every, window = self._limits.discover_interval_s, self._limits.discover_window_s
        while every:
            await self._adopt(every, window)
            for conversation_id, thread_id in await self._arrivals.claim_conversations(
                _AT_ONCE, every, window
            ):
                await self._share.take()
                await self._reads.take()
                if await self._look(conversation_id, thread_id):
                    on_found()
            await self._clock.sleep(min(1.0, every))

    async def _adopt(self, every_s: float, window_s: float) -> None:
        """List threads once an interval, and give them to the conversations that have none."""
        now = self._clock.monotonic()
        if now < self._list_due:
            return
        self._list_due = now + every_s
        if not await self._arrivals.any_without_thread(window_s):
            return
        await self._share.take()
        await self._reads.take()
        with _contained():
            await self._arrivals.adopt_threads(await self._platform.listed())

    async def _look(self, conversation_id: str, thread_id: str) -> bool:
        with _contained():
            ref = await self._platform.discover(thread_id)
            return ref is not None and await self._arrivals.watch_discovered(conversation_id, ref)
        return False


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Suppress platform errors and defects: the conversation waits for its next turn."""
    try:
        yield
    except StoreError:
        raise
    except PlatformError:
        pass
    except Exception as error:  # noqa: BLE001  # one conversation's defect keeps no other from being found
        metrics.defects.labels("discovery").inc()
        logs.failure("defeito na descoberta de execuções", error)
