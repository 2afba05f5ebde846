"""Each platform adapter beside a simulator it talks to over real HTTP: what the behavioural suite drives."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Protocol

import httpx

from worker.model import RunRef
from worker.platforms.assistants import AssistantsPlatform
from worker.ports import Platform
from worker.simulator.assistants import AssistantsSimulator
from worker.simulator.clock import Clock
from worker.simulator.registry import ASSISTANTS
from worker.simulator.runs import Timings
from worker.simulator.scripts import Heard, Move, Rounds, Said
from worker.simulator.server import serve

NOON = 1795348800
SERVED = ASSISTANTS["FINANCEIRO"]
"""The assistant the adapter is configured with; there are others."""


class Harness(Protocol):
    """One platform seen from its other side: the bot's, the model's and the operator's."""

    platform: Platform
    lifetime_s: float
    """How long a run lives after its start."""

    async def start(self, *moves: Move, assistant_id: str = SERVED) -> RunRef:
        """The bot starts a run on a new thread; it will make these moves, one a round."""

    async def cancel(self, ref: RunRef) -> None: ...

    def pass_time(self, seconds: float = 5.0) -> None:
        """Moves the platform's clock; by default enough for the model to make its next move."""

    def heard(self, ref: RunRef) -> Sequence[Sequence[Heard]]:
        """What the model was given, by round."""

    def weather(self, fault: str) -> AbstractContextManager[None]:
        """While it lasts, every request meets this fault of the simulator's presets."""


class AssistantsHarness:
    lifetime_s = 600.0

    def __init__(self, simulator: AssistantsSimulator, http: httpx.AsyncClient, platform: Platform) -> None:
        self.platform = platform
        self._simulator = simulator
        self._http = http
        self._scripts: dict[str, Sequence[Move]] = {}
        simulator.conversations.script = self._play

    async def start(self, *moves: Move, assistant_id: str = SERVED) -> RunRef:
        text = f"mensagem {len(self._scripts)}"
        self._scripts[text] = moves
        thread = {"messages": [{"role": "user", "content": text}]}
        run = await self._post("/threads/runs", {"assistant_id": assistant_id, "thread": thread})
        return RunRef(run["id"], run["thread_id"])

    async def cancel(self, ref: RunRef) -> None:
        await self._post(f"/threads/{ref.thread_id}/runs/{ref.run_id}/cancel", {})

    def pass_time(self, seconds: float = 5.0) -> None:
        self._simulator.clock.skip(seconds)

    def heard(self, ref: RunRef) -> Sequence[Sequence[Heard]]:
        steps = self._simulator.conversations.run(ref.run_id).steps
        return [step.heard() for step in steps if step.outputs]

    @contextmanager
    def weather(self, fault: str) -> Iterator[None]:
        self._simulator.faults.preset(fault, times=None)
        yield
        self._simulator.faults.clear()

    def _play(self, told: Sequence[Said], rounds: Rounds) -> Move:
        return self._scripts[told[-1].text][len(rounds)]

    async def _post(self, path: str, body: object) -> dict[str, str]:
        answer = await self._http.post(path, json=body)
        answer.raise_for_status()
        values: dict[str, str] = answer.json()
        return values


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
