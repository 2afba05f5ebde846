"""Platforms that send webhooks: how long a call waits, and how often it is read until it is answered.

The platform is the bundled simulator, in this process. Each conversation has one run with one call. The
first runs are not counted: a worker relies on webhooks once they have found calls.
"""

import asyncio
import contextlib
import itertools
import json
import math
import random
import time
from collections.abc import Sequence
from typing import Any

import httpx

from bench.machine import Gauge, child, pin
from bench.measuring import Row, quantile
from bench.platform import cpf
from bench.world import World, ready, sqlite, worker_settings
from worker.simulator.agents.app import AgentsSimulator
from worker.simulator.agents.saved_agents import AGENTS
from worker.simulator.agents.sessions import SessionTimings
from worker.simulator.assistants.runs import Timings
from worker.simulator.faults import RecordedRequest
from worker.simulator.responses.app import ResponsesSimulator
from worker.simulator.script import CustomerMessage, FunctionCalls, Move, Reply, Rounds, call
from worker.simulator.server import serve

PLATFORMS = ("agents", "responses")

_SECRET = "whsec_c2VncmVkbyBkZSB0ZXN0ZSBkbyB3b3JrZXI="  # noqa: S105  # of the bench alone
_THINKING_S = 2.0
_APART_S = 2.0
"""Runs begin at random moments of so many seconds."""


class _Model:
    """Asks for one ticket, and remembers when (seconds since the epoch), by the customer's message."""

    def __init__(self) -> None:
        self.asked_at: dict[str, float] = {}

    def __call__(self, told: Sequence[CustomerMessage], rounds: Rounds) -> Move:
        if rounds:
            return Reply("Pronto.")
        name = told[0].text
        self.asked_at.setdefault(name, time.time())
        resumo = f"#{name}# Cliente enviou o comprovante de pagamento da fatura do mês."
        ticket = call("abrir_ticket_crm", resumo=resumo, setor="FINANCEIRO", motivo="INFORMAR PAGAMENTO")
        return FunctionCalls((ticket,))


class _Agents:
    """Sessions of the Agents API. A session is the run, and what an answer is sent to."""

    def __init__(self, model: _Model) -> None:
        timings = SessionTimings(queued_s=0, thinking_s=_THINKING_S, registering_s=0, applying_s=0)
        self.simulator = AgentsSimulator(script=model, timings=timings, webhook_secret=_SECRET)

    async def start(self, http: httpx.AsyncClient, name: str) -> tuple[str, str]:
        body = {"agent_id": AGENTS["FINANCEIRO"], "environment": {"type": "none"}, "input": name}
        session_id = (await http.post("/v1/agents/sessions", json=body)).raise_for_status().json()["id"]
        return session_id, session_id

    def answered(self, request: RecordedRequest) -> str | None:
        """The session that this request answers a call of, if it does."""
        return request.path.split("/")[-2] if request.operation == "create_events" else None


class _Responses:
    """Background responses, each in a conversation of its own."""

    def __init__(self, model: _Model) -> None:
        timings = Timings(queued_s=0, thinking_s=_THINKING_S)
        self.simulator = ResponsesSimulator(script=model, timings=timings, webhook_secret=_SECRET)

    async def start(self, http: httpx.AsyncClient, name: str) -> tuple[str, str]:
        thread = (await http.post("/v1/conversations", json={})).raise_for_status().json()["id"]
        body = {"model": "gpt-4o", "input": name, "background": True, "conversation": thread}
        return (await http.post("/v1/responses", json=body)).raise_for_status().json()["id"], thread

    def answered(self, request: RecordedRequest) -> str | None:
        """The conversation that this request answers a call of, if it does."""
        if request.operation != "create_response" or b"function_call_output" not in request.body:
            return None
        conversation = json.loads(request.body)["conversation"]
        return str(conversation["id"] if isinstance(conversation, dict) else conversation)


class _Talks:
    """The bot: begins conversations, announces their runs, and finds out when each call was answered."""

    def __init__(self, side: "_Agents | _Responses", platform_url: str, worker_url: str) -> None:
        self._side = side
        self._platform = httpx.AsyncClient(base_url=platform_url, headers={"openai-beta": "agents=v1"})
        self._worker = httpx.AsyncClient(base_url=worker_url)
        self._numbers = 0
        #: Run and thread of each conversation.
        self.runs: dict[str, tuple[str, str]] = {}
        #: When the first answer of each thread came, of so many requests that were looked through.
        self._answered_at: dict[str, float] = {}
        self._looked_through = 0

    async def many(self, slots: int) -> list[str]:
        """So many conversations; back when each call was answered."""
        return await asyncio.gather(*(self._one() for _ in range(slots)))

    async def aclose(self) -> None:
        await self._platform.aclose()
        await self._worker.aclose()

    async def _one(self) -> str:
        self._numbers += 1
        number, name = self._numbers, f"c{self._numbers}"
        await asyncio.sleep(random.uniform(0, _APART_S))  # noqa: S311  # no secret
        run_id, thread_id = await self._side.start(self._platform, name)
        self.runs[name] = run_id, thread_id
        known = {"thread_id": thread_id, "client_document": cpf(number)}
        (await self._worker.put(f"/v1/conversations/{name}", json=known)).raise_for_status()
        run = {"conversation_id": name, "run_id": run_id}
        (await self._worker.post("/v1/runs", json=run)).raise_for_status()
        async with asyncio.timeout(30):
            while self.answered_at(name) is None:  # noqa: ASYNC110  # the simulator has no event for it
                await asyncio.sleep(0.1)
        return name

    def answered_at(self, name: str) -> float | None:
        """When the conversation's call was answered, seconds since the epoch."""
        requests = self._side.simulator.requests
        for request in itertools.islice(requests, self._looked_through, None):
            if thread_id := self._side.answered(request):
                self._answered_at.setdefault(thread_id, request.at)
        self._looked_through = len(requests)
        return self._answered_at.get(self.runs[name][1])

    def reads(self, name: str) -> int:
        """Reads of the run until its call was answered."""
        run_id, until = self.runs[name][0], self.answered_at(name) or math.inf
        return sum(
            each.method == "GET" and each.path.endswith(run_id) and each.at <= until
            for each in self._side.simulator.requests
        )


async def measure(world: World, platform: str, slots: int) -> Row:
    """So many conversations at once, after as many that are not counted."""
    await world.crm(0.05)
    model = _Model()
    side = _Agents(model) if platform == "agents" else _Responses(model)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve(side.simulator.app))
        port, settings = worker_settings(world, sqlite(world))
        settings |= {
            "PLATFORM": platform,
            "OPENAI_BASE_URL": f"{url}/v1",
            "OPENAI_WEBHOOK_SECRET": _SECRET,
        }
        started = await stack.enter_async_context(
            child(world.folder, "-m", "worker", "run", settings=settings)
        )
        await ready(started, port)
        pin(started.pid, contender=True)
        side.simulator.webhooks.url = f"http://127.0.0.1:{port}/v1/webhooks/openai"
        talks = _Talks(side, url, f"http://127.0.0.1:{port}")
        stack.push_async_callback(talks.aclose)
        await talks.many(slots)
        await world.crm_took()
        gauge = Gauge([started.pid])
        began, before = time.monotonic(), gauge.cpu_s()
        names = await talks.many(slots)
        took_s, used_s = time.monotonic() - began, gauge.cpu_s() - before
        took = await world.crm_took()
        return Row(
            measure="webhooks",
            contender=f"worker {platform}",
            slots=slots,
            runs=slots,
            calls=slots,
            runs_per_s=slots / took_s,
            reads=sum(map(talks.reads, names)) / slots,
            cpu_ms=1000 * used_s / slots,
            load=used_s / took_s,
            rss_mb=gauge.rss_mb(),
            **_quantiles([_lag(talks, model, name, took) for name in names]),
            **_NOT_MEASURED,
        )


def _lag(talks: _Talks, model: _Model, name: str, took: dict[str, float]) -> float:
    return max(0.0, (talks.answered_at(name) or math.nan) - model.asked_at[name] - took[name])


def _quantiles(lags: Sequence[float]) -> dict[str, Any]:
    return {f"lag_p{share}_ms": quantile(sorted(lags), share / 100) for share in (50, 90, 99)}


_NOT_MEASURED: dict[str, Any] = {
    "processes": 1,
    "database_ms": math.nan,
    "platform_load": math.nan,
    "crm_load": math.nan,
    "refused": 0,
}
