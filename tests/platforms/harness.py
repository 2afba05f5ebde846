"""Each platform adapter beside a simulator it talks to over real HTTP: what the behavioural suite drives."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Generic, Protocol, TypeVar

import httpx

from worker.errors import PlatformError, PlatformRefused, PlatformUnavailable, RunGone
from worker.model import RunRef, RunStatus
from worker.platforms.agents import AgentsPlatform
from worker.platforms.assistants import AssistantsPlatform
from worker.platforms.responses import ResponsesPlatform
from worker.ports import Platform
from worker.simulator.agents.app import AgentsSimulator
from worker.simulator.agents.saved_agents import AGENTS
from worker.simulator.agents.sessions import SessionTimings
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.assistants.runs import Timings
from worker.simulator.clock import Clock
from worker.simulator.responses.app import ResponsesSimulator
from worker.simulator.script import AnsweredCall, CustomerMessage, Move, Rounds
from worker.simulator.server import serve

NOON = 1795348800
SERVED = ASSISTANTS["FINANCEIRO"]
"""The assistant the adapter is configured with; there are others."""

REFUSALS: Sequence[tuple[int, type[PlatformError]]] = [
    *((status, PlatformRefused) for status in (301, 400, 401, 403, 405, 422)),
    *((status, PlatformUnavailable) for status in (408, 409, 429, 500, 503)),
    (404, RunGone),
]
"""HTTP statuses with a JSON body, and the error that each becomes on every platform."""


class Harness(Protocol):
    """One platform seen from its other side: the bot's, the model's and the operator's."""

    platform: Platform
    lifetime_s: float | None
    """How long a run lives after its start; None: as long as it takes."""
    hint_s: float | None
    """When the platform asks to be asked again."""
    endings: Mapping[str, tuple[RunStatus, str]]
    """What a look sees of a run that the model completed or broke, or that was cancelled, and why."""

    async def start(self, *moves: Move, assistant_id: str = SERVED, names: str | None = None) -> RunRef:
        """The bot starts a run on a new thread; it will make these moves, one a round.

        `names`: the conversation that the thread's metadata names.
        """

    assistant: str | Mapping[str, object]
    """Who a conversation of our own is held with."""

    def customer_text(self, moves: Sequence[Move]) -> str:
        """A message of a customer that makes the model make these moves."""

    def kept(self) -> int:
        """How many threads, files, sessions, conversations and responses the platform keeps."""

    def listening(self) -> Sequence[CustomerMessage]:
        """What the model was told last: the customer's messages."""

    async def cancel(self, ref: RunRef) -> None: ...

    def strangers(self, known: RunRef) -> Sequence[RunRef]:
        """Runs that the platform does not know, beside one that it does."""

    def pass_time(self, seconds: float = 5.0) -> None:
        """Moves the platform's clock; by default enough for the model to make its next move."""

    def answered_rounds(self, ref: RunRef) -> Sequence[Sequence[AnsweredCall]]:
        """What the model was given, by round."""

    def weather(self, fault: str) -> AbstractContextManager[None]:
        """While it lasts, every request meets this fault of the simulator's presets."""


def metadata(names: str | None) -> dict[str, str]:
    return {"canal": "whatsapp"} | ({"ticket_worker_conversation": names} if names else {})


_Simulator = TypeVar("_Simulator", AssistantsSimulator, AgentsSimulator, ResponsesSimulator)


class _Played(Generic[_Simulator]):
    """What the harnesses share: a simulated model that makes the moves it is given, by what it is told."""

    def __init__(self, simulator: _Simulator, http: httpx.AsyncClient, platform: Platform) -> None:
        self.platform = platform
        self._simulator: _Simulator = simulator
        self._http = http
        self._scripts: dict[str, Sequence[Move]] = {}
        self._messages: list[CustomerMessage] = []

    def customer_text(self, moves: Sequence[Move]) -> str:
        """A message of a customer that makes the model make these moves."""
        text = f"mensagem {len(self._scripts)}"
        self._scripts[text] = moves
        return text

    def listening(self) -> Sequence[CustomerMessage]:
        return self._messages

    def play(self, messages: Sequence[CustomerMessage], rounds: Rounds) -> Move:
        self._messages = list(messages)
        return self._scripts[messages[-1].text][len(rounds)]

    def pass_time(self, seconds: float = 5.0) -> None:
        self._simulator.clock.skip(seconds)

    @contextmanager
    def weather(self, fault: str) -> Iterator[None]:
        self._simulator.faults.preset(fault, times=None)
        yield
        self._simulator.faults.clear()

    async def _post(self, path: str, body: object) -> dict[str, str]:
        answer = (await self._http.post(path, json=body)).raise_for_status()
        values: dict[str, str] = answer.json() if answer.content else {}
        return values


class AssistantsHarness(_Played[AssistantsSimulator]):
    lifetime_s: float | None = 600.0
    hint_s: float | None = 0.1
    endings: Mapping[str, tuple[RunStatus, str]] = {
        "completed": (RunStatus.ENDED, "concluida"),
        "failed": (RunStatus.ENDED, "falhou"),
        "incomplete": (RunStatus.ENDED, "incompleta"),
        "cancelled": (RunStatus.LOST, "cancelada"),
    }

    def __init__(self, simulator: AssistantsSimulator, http: httpx.AsyncClient, platform: Platform) -> None:
        super().__init__(simulator, http, platform)
        simulator.conversations.script = self.play
        self.assistant: str | Mapping[str, object] = SERVED

    def kept(self) -> int:
        return len(self._simulator.conversations.threads) + len(self._simulator.files.files)

    async def start(self, *moves: Move, assistant_id: str = SERVED, names: str | None = None) -> RunRef:
        text = self.customer_text(moves)
        thread = {"messages": [{"role": "user", "content": text}], "metadata": metadata(names)}
        run = await self._post("/threads/runs", {"assistant_id": assistant_id, "thread": thread})
        return RunRef(run["id"], run["thread_id"])

    async def cancel(self, ref: RunRef) -> None:
        await self._post(f"/threads/{ref.thread_id}/runs/{ref.run_id}/cancel", {})

    def strangers(self, known: RunRef) -> Sequence[RunRef]:
        return RunRef("run_desconhecida", known.thread_id), RunRef(known.run_id, "thread_desconhecida")

    def answered_rounds(self, ref: RunRef) -> Sequence[Sequence[AnsweredCall]]:
        steps = self._simulator.conversations.run(ref.run_id).steps
        return [step.answered_calls() for step in steps if step.outputs]


@asynccontextmanager
async def assistants() -> AsyncIterator[Harness]:
    """The Assistants adapter as it meets Foundry: a path before the protocol's own, and an `api-version`."""
    simulator = AssistantsSimulator(
        timings=Timings(queued_s=1, thinking_s=1, cancelling_s=1),
        clock=Clock(lambda: NOON),
        base="/api/projects/p",
        require_api_version=True,
    )
    async with serve(simulator.app) as url:
        base_url = f"{url}/api/projects/p"
        platform = AssistantsPlatform(
            api_key="key", base_url=base_url, api_version="v1", assistant_ids=[SERVED], timeout_s=20.0
        )
        async with httpx.AsyncClient(base_url=base_url, params={"api-version": "v1"}) as http:
            yield AssistantsHarness(simulator, http, platform)
        await platform.aclose()


class AgentsHarness(_Played[AgentsSimulator]):
    lifetime_s: float | None = None
    hint_s: float | None = None
    endings: Mapping[str, tuple[RunStatus, str]] = {
        "completed": (RunStatus.ENDED, "ociosa"),
        "failed": (RunStatus.ENDED, "falhou"),
        "incomplete": (RunStatus.ENDED, "ociosa"),
        "cancelled": (RunStatus.ENDED, "ociosa"),
    }

    def __init__(self, simulator: AgentsSimulator, http: httpx.AsyncClient, platform: Platform) -> None:
        super().__init__(simulator, http, platform)
        simulator.sessions.script = self.play
        self.assistant: str | Mapping[str, object] = AGENTS["FINANCEIRO"]

    def kept(self) -> int:
        return len(self._simulator.sessions.sessions)

    async def start(self, *moves: Move, assistant_id: str = SERVED, names: str | None = None) -> RunRef:
        text = self.customer_text(moves)
        name = next(name for name, known in ASSISTANTS.items() if known == assistant_id)
        body = {"agent_id": AGENTS[name], "environment": {"type": "none"}, "input": text}
        body |= {"metadata": metadata(names)}
        session = await self._post("/agents/sessions", body)
        return RunRef(session["id"], session["id"])

    async def cancel(self, ref: RunRef) -> None:
        events = [{"type": "agent.session.input.cancel"}]
        await self._post(f"/agents/sessions/{ref.run_id}/events", {"events": events})

    def strangers(self, known: RunRef) -> Sequence[RunRef]:
        return [RunRef("sess_desconhecida", "sess_desconhecida")]

    def answered_rounds(self, ref: RunRef) -> Sequence[Sequence[AnsweredCall]]:
        turns = self._simulator.sessions.session(ref.run_id).turns
        return [answered for turn in turns for each in turn.rounds if (answered := each.answered_calls())]


_AT_ONCE = SessionTimings(queued_s=1, thinking_s=1, registering_s=0, applying_s=0, cancelling_s=1)


@asynccontextmanager
async def agents(timings: SessionTimings = _AT_ONCE) -> AsyncIterator[AgentsHarness]:
    """The Agents adapter; by default the platform knows of a call, and applies its result, at once."""
    simulator = AgentsSimulator(timings=timings, clock=Clock(lambda: NOON))

    async def wait(seconds: float) -> None:
        simulator.clock.skip(seconds)

    async with serve(simulator.app) as url:
        platform = AgentsPlatform(
            api_key="key", base_url=f"{url}/v1", assistant_ids=[AGENTS["FINANCEIRO"]], sleep=wait
        )
        async with httpx.AsyncClient(base_url=url, headers={"openai-beta": "agents=v1"}) as http:
            yield AgentsHarness(simulator, http, platform)
        await platform.aclose()


class ResponsesHarness(_Played[ResponsesSimulator]):
    """Every run in a conversation of its own; what differs on a chain has tests of its own."""

    lifetime_s: float | None = None
    hint_s: float | None = None
    endings: Mapping[str, tuple[RunStatus, str]] = AssistantsHarness.endings

    def __init__(self, simulator: ResponsesSimulator, http: httpx.AsyncClient, platform: Platform) -> None:
        super().__init__(simulator, http, platform)
        simulator.responses.script = self.play
        self.assistant: str | Mapping[str, object] = {"model": "gpt-4o"}

    def kept(self) -> int:
        return len(self._simulator.responses.by_id) + len(self._simulator.conversations.by_id)

    async def start(self, *moves: Move, assistant_id: str = SERVED, names: str | None = None) -> RunRef:
        text = self.customer_text(moves)
        conversation = await self._post("/conversations", {"metadata": metadata(names)})
        body = {"model": "gpt-4o", "input": text, "background": True, "conversation": conversation["id"]}
        return RunRef((await self._post("/responses", body))["id"], conversation["id"])

    async def cancel(self, ref: RunRef) -> None:
        await self._post(f"/responses/{ref.run_id}/cancel", {})

    def strangers(self, known: RunRef) -> Sequence[RunRef]:
        return [RunRef("resp_desconhecida", known.thread_id), RunRef("resp_desconhecida", None)]

    def answered_rounds(self, ref: RunRef) -> Sequence[Sequence[AnsweredCall]]:
        newest = self._simulator.conversations.get(ref.thread_id or "").latest_response
        return newest.rounds() if newest else []


@asynccontextmanager
async def responses() -> AsyncIterator[Harness]:
    """The Responses adapter, where every round is a new response."""
    simulator = ResponsesSimulator(timings=Timings(queued_s=1, thinking_s=1), clock=Clock(lambda: NOON))
    async with serve(simulator.app) as url:
        platform = ResponsesPlatform(api_key="key", base_url=f"{url}/v1")
        async with httpx.AsyncClient(base_url=url) as http:
            yield ResponsesHarness(simulator, http, platform)
        await platform.aclose()
