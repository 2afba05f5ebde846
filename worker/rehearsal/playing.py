"""Plays scenarios: says what the customer says, lets the worker answer the calls, and judges what came of it."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

from worker.catalog import Catalog, fold
from worker.errors import PlatformUnavailable
from worker.model import CallState, Image, RunRef, RunState, Utterance
from worker.ports import Clock, Dialogue, Platform
from worker.rehearsal import words
from worker.rehearsal.judging import Happened, judge
from worker.rehearsal.metering import MeteredPlatform
from worker.rehearsal.results import Attempt, MadeCall, Results, ScenarioResult
from worker.rehearsal.scenarios import MEDIA_TYPES, CrmState, Scenario, Turn
from worker.rehearsal.stage import Stage, open_stage
from worker.replies.findings import Facts
from worker.replies.reading import read_reply
from worker.settings import Settings
from worker.times import SystemClock
from worker.views import CallView, RunView

_NORMAL_ENDS = {"concluida", "ociosa"}
"""Why a run ended that did what it was to do."""

_TRIES = 4
"""How often a conversation is begun whose platform was unavailable: nothing of it counts until it is whole."""

_AGAIN_AFTER_S = 2.0
"""Wait before the second try; it doubles. A `Retry-After` wins."""

Assistants = Mapping[str, str | Mapping[str, object]]
"""Who plays: an id or a request, by the assistant's folded name."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be played, and how."""

    scenarios: Sequence[Scenario]
    assistants: Assistants
    repeat: int = 1
    at_once: int = 4
    minimum: float = 1.0
    #: Keep the last reply of each conversation in the results.
    show: bool = False

    @property
    def runs(self) -> int:
        """Runs that are started at least: a message each."""
        return self.repeat * sum(len(scenario.turns) for scenario in self.scenarios)


@dataclass(slots=True)
class Rehearsal:
    """What has been played so far: readable at any time, after an interruption too."""

    order: Order
    platform: str
    started_at: datetime
    #: By the scenario's number, in the order in which they ended.
    attempts: dict[int, list[Attempt]] = field(default_factory=dict)
    not_deleted: list[str] = field(default_factory=list)

    def results(self) -> Results:
        """The scenarios that were played at least once."""
        return Results(
            platform=self.platform,
            started_at=self.started_at.isoformat(timespec="seconds"),
            repeat=self.order.repeat,
            minimum=self.order.minimum,
            scenarios=tuple(
                _result(scenario, self.attempts[number])
                for number, scenario in enumerate(self.order.scenarios)
                if number in self.attempts
            ),
            not_deleted=tuple(self.not_deleted),
        )


def _result(scenario: Scenario, attempts: Sequence[Attempt]) -> ScenarioResult:
    return ScenarioResult(
        name=scenario.name,
        assistant=scenario.assistant,
        source=scenario.source,
        expected=words.expectation(scenario.expected),
        attempts=tuple(attempts),
    )


async def rehearse(
    settings: Settings,
    platform: Platform,
    catalog: Catalog,
    rehearsal: Rehearsal,
    *,
    on_played: Callable[[], None] = lambda: None,
) -> None:
    """Play everything; what came of it is in `rehearsal`. Whatever happens, everything made is deleted.

    Raises the `PlatformError` that ends it: the platform refuses, or stays away.
    """
    metered = MeteredPlatform(platform)
    with tempfile.TemporaryDirectory(prefix="ticket-worker-ensaio-") as folder:
        async with _stages(settings, metered, catalog, rehearsal.order, Path(folder)) as stages:
            players = _Players(rehearsal, metered, stages, SystemClock(), on_played)
            await players.play()


@contextlib.asynccontextmanager
async def _stages(
    settings: Settings, platform: Platform, catalog: Catalog, order: Order, folder: Path
) -> AsyncIterator[Mapping[CrmState, Stage]]:
    """A stage for each state of the CRM that some scenario needs: each has a breaker of its own."""
    async with contextlib.AsyncExitStack() as stack:
        states = sorted({scenario.crm for scenario in order.scenarios})
        yield {
            state: await stack.enter_async_context(open_stage(settings, platform, catalog, state, folder))
            for state in states
        }


class _Players:
    """Several conversations at once. When one cannot go on, none does: the loops stop first, then they delete."""

    def __init__(
        self,
        rehearsal: Rehearsal,
        platform: MeteredPlatform,
        stages: Mapping[CrmState, Stage],
        clock: Clock,
        on_played: Callable[[], None],
    ) -> None:
        self._rehearsal = rehearsal
        self._platform = platform
        self._stages = stages
        self._clock = clock
        self._on_played = on_played
        self._slots = asyncio.Semaphore(rehearsal.order.at_once)
        self._conversations = 0

    async def play(self) -> None:
        order = self._rehearsal.order
        # Round by round, so that an interrupted rehearsal has played every scenario about as often.
        numbers = [number for _ in range(order.repeat) for number in range(len(order.scenarios))]
        playing = {asyncio.create_task(self._play(number)) for number in numbers}
        loops = {stage.running for stage in self._stages.values()}
        try:
            await _until_done(playing, loops)
        finally:
            if not all(task.done() for task in playing):
                # A loop that goes on would answer calls of conversations that are being deleted.
                await asyncio.gather(*(stage.stop() for stage in self._stages.values()))
                for task in playing:
                    task.cancel()
                await asyncio.wait(playing)

    async def _play(self, number: int) -> None:
        scenario = self._rehearsal.order.scenarios[number]
        async with self._slots:
            attempt = await self._persistently(scenario)
        self._rehearsal.attempts.setdefault(number, []).append(attempt)
        self._on_played()

    async def _persistently(self, scenario: Scenario) -> Attempt:
        """Play from the beginning until it is whole. Raises the last `PlatformUnavailable`."""
        for tried in range(_TRIES - 1):
            try:
                return await self._once(scenario)
            except PlatformUnavailable as failure:
                wait_s = failure.retry_after_s
                await self._clock.sleep(_AGAIN_AFTER_S * 2**tried if wait_s is None else wait_s)
        return await self._once(scenario)

    async def _once(self, scenario: Scenario) -> Attempt:
        self._conversations += 1
        who = self._rehearsal.order.assistants[fold(scenario.assistant)]
        conversation = _Conversation(
            scenario,
            f"ensaio-{self._conversations}",
            self._platform.converse(who),
            self._platform,
            self._stages[scenario.crm],
        )
        began = self._clock.monotonic()
        try:
            await conversation.play()
            seconds = self._clock.monotonic() - began
            return await conversation.attempt(seconds, show=self._rehearsal.order.show)
        finally:
            self._rehearsal.not_deleted += await conversation.delete()


async def _until_done(playing: set[asyncio.Task[None]], loops: set[asyncio.Task[None]]) -> None:
    """Until all have played. Raises what the first of them, or a loop, has died of."""
    waiting = set(playing)
    while waiting:
        done, _ = await asyncio.wait({*waiting, *loops}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        waiting -= done


class _Conversation:
    """One scenario, played once."""

    def __init__(
        self,
        scenario: Scenario,
        conversation_id: str,
        dialogue: Dialogue,
        platform: MeteredPlatform,
        stage: Stage,
    ) -> None:
        self._scenario = scenario
        self._id = conversation_id
        self._dialogue = dialogue
        self._platform = platform
        self._stage = stage
        self._thread_id: str | None = None
        self._announced: list[str] = []
        self._runs: list[str] = []
        self._replies: list[str | None] = []
        self._findings: list[str] = []
        self._end: str | None = None

    async def play(self) -> None:
        """All turns; after a run that did not end as it should the customer says nothing more."""
        document = self._scenario.document
        for turn in self._scenario.turns:
            document = turn.document or document
            about = {"assistant": self._scenario.assistant, "client_document": document}
            await self._turn(turn, about)
            if self._end is not None:
                return

    async def attempt(self, seconds: float, *, show: bool) -> Attempt:
        """What came of it, judged."""
        calls = await self._stage.calls(self._id)
        last = self._replies[-1] if self._replies else None
        happened = Happened(
            calls=[_made(call) for call in calls],
            reply=last,
            findings=self._findings,
            protocolos=_protocolos(calls),
            end=self._end,
        )
        mistakes, checks = judge(self._scenario.expected, happened)
        return Attempt(
            mistakes=mistakes,
            calls=tuple(happened.calls),
            checks=checks,
            findings=tuple(self._findings),
            replies=sum(reply is not None for reply in self._replies),
            end=self._end,
            seconds=round(seconds, 3),
            tokens=self._platform.tokens(self._thread_id),
            runs=len(self._runs),
            reads=self._platform.reads(self._thread_id),
            reply=last if show else None,
        )

    async def delete(self) -> Sequence[str]:
        """Everything that the platform keeps of it; what is left, by name."""
        chains = [await self._stage.chain(run_id) for run_id in self._announced]
        return await self._dialogue.delete(dict.fromkeys(run_id for chain in chains for run_id in chain))

    async def _turn(self, turn: Turn, about: Mapping[str, object]) -> None:
        ref = await self._dialogue.say(_utterance(turn))
        self._thread_id = ref.thread_id
        await self._stage.announce(self._id, ref, about)
        self._announced.append(ref.run_id)
        run = await self._stage.ended(ref.run_id)
        self._runs += await self._stage.chain(ref.run_id)
        self._end = _abnormal_end(run)
        await self._read(run)

    async def _read(self, run: RunView) -> None:
        """What the assistant said, and whether it is true."""
        spoken = await self._dialogue.reply(_ref(run))
        self._end = self._end or spoken.failure
        self._replies.append(spoken.text)
        if spoken.text is not None:
            calls = await self._stage.calls(self._id)
            self._findings += findings(spoken.text, calls)


# ------------------------------------------------------------------------------------- reading what happened


def findings(text: str, calls: Sequence[CallView]) -> list[str]:
    """What a reply claims that these calls do not bear out: the check of contract §10."""
    done = {call.tool for call in calls if call.state is CallState.DONE}
    facts = Facts(
        protocolos=frozenset(_protocolos(calls)),
        ticket_opened="abrir_ticket_crm" in done,
        handoff_requested="transferir_para_humano" in done,
    )
    return [finding.code for finding in read_reply(text).findings(facts)]


def _protocolos(calls: Iterable[CallView]) -> list[str]:
    return [call.protocolo for call in calls if call.protocolo]


def _made(call: CallView) -> MadeCall:
    return MadeCall(
        function=call.tool,
        state=call.state,
        setor=call.setor,
        motivo=call.motivo,
        departamento=call.departamento,
        error=call.error,
    )


def _abnormal_end(run: RunView) -> str | None:
    if run.state is RunState.WATCHING:
        return "prazo_esgotado"
    reason = run.reason or run.platform_status or "?"
    return None if run.state is RunState.ENDED and reason in _NORMAL_ENDS else reason


def _ref(run: RunView) -> RunRef:
    return RunRef(run.run_id, run.thread_id)


def _utterance(turn: Turn) -> Utterance:
    return Utterance(turn.text, _image(turn.image) if turn.image else None)


@cache
def _image(path: Path) -> Image:
    return Image(path.name, MEDIA_TYPES[path.suffix.lower()], path.read_bytes())
