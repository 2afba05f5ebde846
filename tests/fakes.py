"""Stand-ins for the world outside: a scripted platform, and tools that do as they are told."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from worker.errors import PlatformUnavailable
from worker.model import (
    Answer,
    CallRecord,
    CallState,
    Conversation,
    Intent,
    Outcome,
    Rejection,
    RunRef,
    RunSnapshot,
    RunStatus,
    Spoken,
    ThreadRule,
    ToolCall,
    ToolKind,
    Traits,
    Utterance,
)
from worker.personal import Personal
from worker.ports import Attempts
from worker.times import SystemClock

WORKING = RunSnapshot(RunStatus.WORKING, "in_progress")
COMPLETED = RunSnapshot(RunStatus.ENDED, "completed", reason="concluida")
EXPIRED = RunSnapshot(RunStatus.LOST, "expired", reason="expirada")


def call(number: int = 1, tool: str = "echo", arguments: object = None) -> ToolCall:
    """A function call of the model."""
    return ToolCall(f"call_{number}", tool, Personal(json.dumps(arguments or {"text": f"oi {number}"})))


def asks(*calls: ToolCall, expires_in_s: float | None = 600.0) -> RunSnapshot:
    """A look that finds the run waiting for these calls."""
    return RunSnapshot(RunStatus.REQUIRES_ACTION, "requires_action", calls, expires_in_s=expires_in_s)


class JumpingClock(SystemClock):
    """The real clock, which a test moves on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s

    async def sleep(self, seconds: float) -> None:
        until = self.monotonic() + seconds
        while self.monotonic() < until:  # noqa: ASYNC110  # a test moves the clock while this waits
            await asyncio.sleep(min(0.005, seconds))


class FakePlatform:
    """Each run plays its looks one after another; a waiting one is seen again until it is answered.

    An exception among the looks is raised instead. `submit_faults` are raised by submits, one each, after
    (`taken=True`) or before the answers count.
    """

    name = "assistants"
    traits = Traits(ThreadRule.REQUIRED)

    def __init__(self) -> None:
        self.scripts: dict[str, deque[RunSnapshot | Exception]] = {}
        self.submitted: list[tuple[str, tuple[Answer, ...]]] = []
        self.submit_faults: deque[tuple[Exception, bool]] = deque()
        self.newest: dict[str, RunRef] = {}
        self.looks: list[str] = []
        self.before_answer: Callable[[str], None] = lambda _: None
        self.named: list[tuple[str, str]] | None = []
        self.listings = 0
        self.said: dict[str, str | Exception] = {}
        self.reads: list[str] = []
        self.dialogues: list[FakeDialogue] = []

    def script(self, run_id: str, *looks: RunSnapshot | Exception) -> None:
        self.scripts[run_id] = deque(looks)

    async def probe(self) -> Sequence[str]:
        return ()

    async def inspect(self, ref: RunRef) -> RunSnapshot:
        self.looks.append(ref.run_id)
        looks = self.scripts[ref.run_id]
        waiting = isinstance(looks[0], RunSnapshot) and looks[0].status is RunStatus.REQUIRES_ACTION
        look = looks[0] if waiting or len(looks) == 1 else looks.popleft()
        self.before_answer(ref.run_id)
        if isinstance(look, Exception):
            raise look
        return look

    async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> None:
        fault, taken = self.submit_faults.popleft() if self.submit_faults else (None, True)
        if taken:
            self.submitted.append((ref.run_id, tuple(answers)))
            self.scripts[ref.run_id].popleft()
        if fault:
            raise fault

    async def discover(self, thread_id: str) -> RunRef | None:
        return self.newest.get(thread_id)

    async def listed(self) -> Sequence[tuple[str, str]]:
        self.listings += 1
        if self.named is None:
            raise PlatformUnavailable
        return self.named

    async def reply(self, ref: RunRef) -> Spoken:
        self.reads.append(ref.run_id)
        said = self.said.get(ref.run_id)
        if isinstance(said, Exception):
            raise said
        return Spoken(said)

    def converse(self, assistant: object) -> "FakeDialogue":
        self.dialogues.append(FakeDialogue(self))
        return self.dialogues[-1]

    async def aclose(self) -> None:
        pass

    def outputs(self, run_id: str) -> list[dict[str, object]]:
        """What the model of this run was told, in order."""
        return [
            json.loads(answer.output.reveal())
            for submitted, answers in self.submitted
            if submitted == run_id
            for answer in answers
        ]


class FakeDialogue:
    """Each message starts the next scripted run of its platform; the reply repeats the last answer."""

    def __init__(self, platform: FakePlatform) -> None:
        self.messages: list[Utterance] = []
        self.deleted = False
        self._platform = platform

    async def say(self, utterance: Utterance) -> RunRef:
        run_id = list(self._platform.scripts)[len(self.messages)]
        self.messages.append(utterance)
        return RunRef(run_id, "thread_1")

    async def reply(self, ref: RunRef) -> Spoken:
        outputs = self._platform.outputs(ref.run_id)
        return Spoken(str(outputs[-1].get("mensagem")) if outputs else "Olá!")

    async def delete(self, run_ids: Iterable[str] = ()) -> Sequence[str]:
        self.deleted = True
        return ()


Performance = Callable[[CallRecord, Attempts], Awaitable[Outcome]]


async def opens_at_once(call: CallRecord, attempts: Attempts) -> Outcome:
    """One attempt, one protocolo."""
    await attempts.begin()
    return Outcome(CallState.DONE, protocolo="2510271534789012")


class FakeTool:
    """A tool whose performance the test writes; equal arguments are equal calls."""

    name = "echo"
    kind = ToolKind.TICKET
    schema: str | None = None

    def __init__(self, perform: Performance = opens_at_once) -> None:
        self.performance = perform
        self.performed: list[CallRecord] = []

    def plan(self, arguments: Personal, conversation: Conversation | None) -> Intent | Rejection:
        return Intent(equal_on=(arguments.reveal(),), body=arguments, setor="FINANCEIRO", motivo="PAGAMENTO")

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        self.performed.append(call)
        return await self.performance(call, attempts)

    async def recheck(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        return None

    def success(self, call: CallRecord) -> Personal:
        return Personal.json({"success": True, "protocolo": call.protocolo})


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is bound to happen; the suite's timeout is the judge of what is not."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # what is awaited has no event to wait for
            await asyncio.sleep(0.005)
