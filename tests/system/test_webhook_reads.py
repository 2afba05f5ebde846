"""What looking costs while the platform's webhooks arrive: reads per run, over real HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from tests.asgi import api_over
from tests.fakes import FakeTool
from worker import wiring
from worker.engine.lease import Lease
from worker.model import RunState
from worker.platforms import connect
from worker.settings import Settings
from worker.simulator.agents.app import AgentsSimulator
from worker.simulator.agents.saved_agents import AGENTS
from worker.simulator.agents.sessions import SessionTimings
from worker.simulator.assistants.runs import Timings
from worker.simulator.responses.app import ResponsesSimulator
from worker.simulator.script import Call, FunctionCalls, Move, Reply, Rounds
from worker.simulator.server import serve
from worker.store.store import Store
from worker.times import SystemClock

SECRET = "whsec_c2VncmVkbyBkZSB0ZXN0ZSBkbyB3b3JrZXI="
Make = Callable[..., Settings]
_THINKING_S = 0.6


def asks_once(told: object, rounds: Rounds) -> Move:
    return Reply("Pronto.") if rounds else FunctionCalls((Call("echo", "{}"),))


class Responses:
    """Background responses, one after the other."""

    def __init__(self, webhook_secret: str | None) -> None:
        timings = Timings(queued_s=0, thinking_s=_THINKING_S)
        self.simulator = ResponsesSimulator(script=asks_once, timings=timings, webhook_secret=webhook_secret)

    async def start(self, http: httpx.AsyncClient) -> str:
        body = {"model": "gpt-4o", "input": "Oi", "background": True}
        return str((await http.post("/responses", json=body)).json()["id"])


class Sessions:
    """Sessions of the Agents API."""

    def __init__(self, webhook_secret: str | None) -> None:
        timings = SessionTimings(queued_s=0, thinking_s=_THINKING_S, registering_s=0, applying_s=0)
        self.simulator = AgentsSimulator(script=asks_once, timings=timings, webhook_secret=webhook_secret)

    async def start(self, http: httpx.AsyncClient) -> str:
        body = {"agent_id": AGENTS["FINANCEIRO"], "environment": {"type": "none"}, "input": "Oi"}
        return str((await http.post("/agents/sessions", json=body)).json()["id"])


class House:
    """A worker with its API beside a simulated platform."""

    def __init__(
        self, side: "Responses | Sessions", store: Store, wake: Callable[[str], None], http: httpx.AsyncClient
    ) -> None:
        self._side = side
        self._store = store
        self._wake = wake
        self._http = http
        self._talks = 0

    async def reads_of_one_run(self) -> int:
        """Platform reads from a run's announcement to the answer the model took."""
        requests = self._side.simulator.requests
        before = sum(each.method == "GET" for each in requests)
        self._talks += 1
        conversation = f"c{self._talks}"
        await self._store.records.put_conversation(conversation, {})
        run_id = await self._side.start(self._http)
        await self._store.records.register_run(conversation, run_id, None)
        self._wake(run_id)
        while not await self._answered(run_id):  # noqa: ASYNC110  # what is awaited has no event to wait for
            await asyncio.sleep(0.02)
        return sum(each.method == "GET" for each in requests) - before

    async def _answered(self, run_id: str) -> bool:
        """Its call was submitted, and where that made a new run, that one has ended."""
        run = await self._store.records.run(run_id)
        if run.continues_as is not None:
            return (await self._store.records.run(run.continues_as)).state is not RunState.WATCHING
        return any(call.submitted_at for call in run.calls) and "resp" not in run_id


@contextlib.asynccontextmanager
async def house(make_settings: Make, name: str, *, told: bool) -> AsyncIterator[House]:
    side = {"responses": Responses, "agents": Sessions}[name](SECRET if told else None)
    async with serve(side.simulator.app) as url, httpx.AsyncClient(base_url=url) as http:
        http.headers["openai-beta"] = "agents=v1"
        settings = make_settings(
            PLATFORM=name,
            OPENAI_BASE_URL=f"{url}/v1",
            OPENAI_WEBHOOK_SECRET=SECRET if told else None,
            POLL_MIN_S=_THINKING_S / 2,
            POLL_MAX_S=60.0 if told else _THINKING_S / 2,
            DISCOVER_INTERVAL_S=0,
        )
        platform = connect(settings)
        store = await Store.open(settings, name, owner=True, thread=platform.traits.thread)
        worker = wiring.build_worker(
            settings, platform, store, [FakeTool()], lease=Lease(), clock=SystemClock()
        )
        doorbell = wiring.build_webhooks(settings, store, worker)
        api: Any = api_over(store, webhooks=doorbell, platform=name, wake=worker.wake, alive=worker.alive)
        async with serve(api) as worker_url:
            side.simulator.webhooks.url = f"{worker_url}/v1/webhooks/openai" if told else None
            running = asyncio.create_task(worker.run())
            yield House(side, store, worker.wake, http)
            worker.stop()
            await running
        await store.close()
        await platform.aclose()


@pytest.mark.parametrize(("name", "needed"), [("responses", 3), ("agents", 1)])
async def test_while_webhooks_arrive_a_run_is_read_when_a_webhook_names_it(
    make_settings: Make, name: str, needed: int
) -> None:
    """On `responses`: soon after the announcement, and for its call; the new one when it ends.

    The first webhook that comes before a poll is what makes the worker rely on them.
    """
    async with house(make_settings, name, told=True) as home:
        for _ in range(5):
            if (reads := await home.reads_of_one_run()) <= needed:
                break
    assert reads <= needed
