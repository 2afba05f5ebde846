"""One scenario, played once: the customer speaks, the worker answers the calls, the reply is checked."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from worker.model import Image, RunRef, RunState, Utterance
from worker.ports import Dialogue
from worker.rehearsal.judging import Happened, judge
from worker.rehearsal.metering import MeteredPlatform
from worker.rehearsal.results import Attempt, MadeCall
from worker.rehearsal.scenarios import MEDIA_TYPES, Scenario, Turn
from worker.rehearsal.stage import Stage
from worker.views import CallView, RunView

_NORMAL_ENDS = {"concluida", "ociosa"}
"""Reasons of runs that ended as they should."""


class Conversation:
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
        """Play all turns, up to the first whose run does not end as it should."""
        document = self._scenario.document
        for turn in self._scenario.turns:
            document = turn.document or document
            about = {"assistant": self._scenario.assistant, "client_document": document}
            await self._turn(turn, about)
            if self._end is not None:
                return

    async def attempt(self, seconds: float, *, show: bool) -> Attempt:
        """The result, compared with the expectation."""
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
        """Delete what the platform keeps of it. Returns the names of what is left."""
        chains = [await self._stage.chain(run_id) for run_id in self._announced]
        return await self._dialogue.delete(dict.fromkeys(run_id for chain in chains for run_id in chain))

    async def _turn(self, turn: Turn, about: Mapping[str, object]) -> None:
        ref = await self._dialogue.say(_utterance(turn))
        self._thread_id = ref.thread_id
        await self._stage.announce(self._id, ref, about)
        self._announced.append(ref.run_id)
        run = await self._stage.ended(ref.run_id, lambda: self._platform.check(ref.thread_id))
        self._runs += await self._stage.chain(ref.run_id)
        self._end = _abnormal_end(run)
        await self._read(run)

    async def _read(self, run: RunView) -> None:
        """Read the assistant's reply and check it."""
        spoken = await self._dialogue.reply(_ref(run))
        self._end = self._end or spoken.failure
        self._replies.append(spoken.text)
        if spoken.text is not None:
            self._findings += await self._stage.findings(self._id, run.run_id, spoken.text)


# ------------------------------------------------------------------------------------- reading what happened


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
