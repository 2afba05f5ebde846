"""Checks an assistant's replies: on request, and after each run has ended (contract §10).

Nothing here delays an answer or ends a run: a reply that cannot be read is skipped and counted.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from worker import logs, metrics
from worker.engine.pacing import TokenBucket
from worker.errors import PlatformError, RequestRefused, StoreError
from worker.model import ReplySource, Run
from worker.personal import Personal
from worker.ports import Clock, Platform, ReplyLedger
from worker.replies import Finding
from worker.replies.reading import read_reply

LONG_TEXT = 2_000
"""A longer text (in characters) is read in a thread: milliseconds of CPU would block the loop."""

HEAD_START_S = 5.0
"""Seconds in which the bot may have the reply checked itself, so that it is not checked twice."""

WAITING = 1_000
"""Ended runs that wait for their reply to be read; older ones give way, unread."""


class ReplyCheck:
    """Compares a reply with the ledger, then records and logs the findings."""

    def __init__(self, ledger: ReplyLedger) -> None:
        self._ledger = ledger

    async def check(
        self,
        conversation_id: str,
        text: Personal,
        *,
        source: ReplySource,
        run_id: str | None = None,
        known_numbers: Collection[str] = (),
    ) -> Sequence[Finding]:
        """The statements that the ledger does not support. Raises `RequestRefused` (`conversa_desconhecida`).

        `known_numbers`: numbers that the bot vouches for.
        """
        written = text.reveal()
        long = len(written) > LONG_TEXT
        reading = await asyncio.to_thread(read_reply, written) if long else read_reply(written)
        facts = await self._ledger.facts(conversation_id, reading.candidates)
        findings = reading.findings(facts.vouching_for(known_numbers))
        codes = sorted({finding.code for finding in findings})
        await self._ledger.record(conversation_id, run_id, source, codes)
        metrics.replies.labels("suspect" if codes else "ok").inc()
        if codes:
            logs.event(
                "⚠️ [AI Tool Handler] Resposta sem lastro | codes={codes} conversationId={conversation_id}",
                level="WARNING",
                codes=",".join(codes),
                conversation_id=conversation_id,
                run_id=run_id,
            )
        return findings


@dataclass(frozen=True, slots=True)
class _EndedRun:
    """A run that has ended, and when its reply may be read (monotonic seconds)."""

    run: Run
    due: float
    #: The assistant's reply, where the run itself holds it.
    reply: Personal | None


class EndedReplies:
    """Reads and checks the replies of ended runs, with the platform reads that polls leave.

    Best effort: what waits is kept in memory and lost at a restart. A mark in the ledger would cost each run
    a commit, for a few seconds of runs; a bot that needs every reply checked asks before it sends (contract
    §10).
    """

    def __init__(
        self,
        platform: Platform,
        ledger: ReplyLedger,
        reads: TokenBucket,
        clock: Clock,
        *,
        enabled: bool = True,
        head_start_s: float = HEAD_START_S,
    ) -> None:
        """`enabled`: REPLY_CHECK. `head_start_s`: the bot's, to have the reply checked itself."""
        self._platform = platform
        self._ledger = ledger
        self._check = ReplyCheck(ledger)
        self._reads = reads
        self._clock = clock
        self._enabled = enabled
        self._head_start_s = head_start_s
        self._ended: deque[_EndedRun] = deque()
        self._added = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Ended runs whose reply is still to be read."""
        return len(self._ended)

    def add(self, run: Run, reply: Personal | None) -> None:
        """A run has ended. Returns at once."""
        if not self._enabled:
            return
        if len(self._ended) == WAITING:
            self._ended.popleft()
            metrics.replies.labels("unread").inc()
        self._ended.append(_EndedRun(run, self._clock.monotonic() + self._head_start_s, reply))
        self._added.set()

    async def run(self) -> None:
        """Read and check for ever, one reply after the other."""
        while True:
            while not self._ended:
                self._added.clear()
                await self._added.wait()
            ended = self._ended.popleft()
            await self._clock.sleep(max(0.0, ended.due - self._clock.monotonic()))
            await self._contained(ended)

    async def _contained(self, ended: _EndedRun) -> None:
        """Check a reply and contain its defects: whatever a platform answers, the next reply is checked."""
        try:
            await self._process(ended)
        except (RequestRefused, StoreError):  # the conversation was erased; the database is away
            metrics.replies.labels("unread").inc()
        except Exception as error:  # noqa: BLE001  # one reply's defect is no reason to leave the others
            metrics.replies.labels("unread").inc()
            metrics.defects.labels("reply").inc()
            logs.failure("defeito ao conferir uma resposta", error, run_id=ended.run.ref.run_id)

    async def _process(self, ended: _EndedRun) -> None:
        if await self._ledger.checked_by_bot(ended.run.ref.run_id):
            return
        reply = ended.reply or await self._read(ended.run)
        if reply is None or not reply.reveal().strip():
            metrics.replies.labels("unread").inc()
            return
        run_id = ended.run.ref.run_id
        await self._check.check(ended.run.conversation_id, reply, source=ReplySource.RUN, run_id=run_id)

    async def _read(self, run: Run) -> Personal | None:
        """One read, only when no poll waits for one. None: there is no reply, or it cannot be read."""
        await self._reads.take_spare()
        try:
            spoken = await self._platform.reply(run.ref)
        except PlatformError:
            return None
        return None if spoken.text is None else Personal(spoken.text)
