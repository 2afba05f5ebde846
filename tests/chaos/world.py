"""What the workers work against: a platform and a CRM in bad weather, and a bot that keeps them busy."""

import asyncio
import itertools
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from validate_docbr import CPF

from worker.errors import StoreError
from worker.personal import Personal
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.assistants.runs import Timings
from worker.simulator.crm import CrmSimulator, Ticket
from worker.simulator.faults import Fault
from worker.simulator.pairs import PAIRS
from worker.simulator.script import Call, CustomerMessage, FunctionCalls, Move, Reply, Rounds
from worker.store.queries.records import Records

CRM_TIMEOUT_S, CRM_SETTLE_S = 1.0, 3.0
LATENCY_S = 0.1

TURNS = 2
"""Runs of each conversation, one after the other."""

_LATE_S = (0.3, 1.5)
"""How long after hanging up, or after the worker gave up, the CRM commits: well within `CRM_SETTLE_S`."""

_Read = TypeVar("_Read")
_arrived: ContextVar[float] = ContextVar("arrived")
"""When the request that this task answers came in: the simulators answer each in a task of its own."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A kind of CRM: what it can do, and what the worker is told of it."""

    name: str
    idempotent: bool
    lookup: bool

    def settings(self, crm_url: str) -> dict[str, str]:
        found = {"CRM_LOOKUP_URL": crm_url + CrmSimulator.lookup} if self.lookup else {}
        return {"CRM_IDEMPOTENT": str(self.idempotent).lower(), **found}


IDEMPOTENT = Mode("idempotente", idempotent=True, lookup=False)
LOOKUP = Mode("com consulta", idempotent=False, lookup=True)
NEITHER = Mode("nenhum dos dois", idempotent=False, lookup=False)


class Weather:
    """Which fault the next request meets: rolled for each."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def at_the_crm(self, operation: str) -> Fault | None:
        kinds = {"abrir_ticket": self._opening(), "consultar": self._looking_up()}
        return self._rolled(0.35 if operation == "abrir_ticket" else 0.2, kinds.get(operation, ()))

    def at_the_platform(self, operation: str) -> Fault | None:
        kinds = {"retrieve_run": _LOOKS, "submit_tool_outputs": _SUBMITS}
        return self._rolled(0.1, kinds.get(operation, ()))

    def _rolled(self, chance: float, kinds: Sequence[Fault]) -> Fault | None:
        if not kinds or self._rng.random() > chance:
            return None
        return self._rng.choice(kinds)

    def _opening(self) -> Sequence[Fault]:
        late = self._rng.uniform(*_LATE_S)
        return (
            Fault(drop=True, commit_after_s=0),
            Fault(drop=True, commit_after_s=late),
            Fault(status=504, commit_after_s=late),
            Fault(status=500, commit_after_s=0),
            Fault(delay_s=CRM_TIMEOUT_S + late),
            Fault(drop=True),
            Fault(status=503),
            Fault(status=422),
            Fault(status=429, headers={"retry-after": "0"}),
        )

    def _looking_up(self) -> Sequence[Fault]:
        return (Fault(drop=True), Fault(status=503), Fault(delay_s=CRM_TIMEOUT_S + 0.5))


_LOOKS = (
    Fault(status=429, headers={"retry-after": "1"}),
    Fault(status=500),
    Fault(drop=True),
    Fault(body='{"id": "run_', content_type="application/json"),
)
_SUBMITS = (
    Fault(status=429, headers={"retry-after": "1"}),
    Fault(status=503),
    Fault(drop=True),
    Fault(drop=True, commit_after_s=0),
    Fault(status=500, commit_after_s=0),
)


class Crm(CrmSimulator):
    """Tells when a ticket is asked for, and how long after that each one was opened."""

    def __init__(self, weather: Weather, *, idempotent: bool) -> None:
        super().__init__(idempotent=idempotent, latency_s=LATENCY_S)
        self.asked = asyncio.Event()
        self.opened_after_s: list[float] = []
        self._weather = weather
        self.faults.take = self._take  # type: ignore[method-assign]  # the weather, instead of a list

    def _take(self, operation: str) -> Fault | None:
        _arrived.set(self.clock.now())
        if operation == "abrir_ticket":
            self.asked.set()
        return self._weather.at_the_crm(operation)

    def _ticket(self, body: dict[str, Any], key: str | None) -> Ticket:
        self.opened_after_s.append(self.clock.now() - _arrived.get())
        return super()._ticket(body, key)


def _script(said: Sequence[CustomerMessage], rounds: Rounds) -> Move:
    """The last message names the calls, one a line; whatever they answer, the run completes."""
    if rounds:
        return Reply("Feito.")
    return FunctionCalls(tuple(Call("abrir_ticket_crm", line) for line in said[-1].text.splitlines()))


class World:
    """Both simulators and the bot. `records`: where the bot announces its runs, as through any worker."""

    def __init__(self, mode: Mode, rng: random.Random, records: Records) -> None:
        weather = Weather(rng)
        timings = Timings(queued_s=0.02, thinking_s=0.05, poll_after_ms=None)
        self.platform = AssistantsSimulator(script=_script, timings=timings)
        self.platform.faults.take = weather.at_the_platform  # type: ignore[method-assign]  # as in Crm
        self.crm = Crm(weather, idempotent=mode.idempotent)
        self._rng = rng
        self._records = records
        transport = httpx.ASGITransport(self.platform.app)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://platform/v1")

    async def converse(self, number: int) -> None:
        """One customer: `TURNS` runs, each with one or two tickets."""
        thread_id = await self._create("/threads", {})
        name, document = f"conversa-{number}", Personal(CPF().generate())
        known = {"thread_id": thread_id, "client_document": document}
        await _insistently(lambda: self._records.put_conversation(name, known))
        pairs = itertools.cycle(sorted(PAIRS))
        for turn in range(TURNS):
            calls = [
                {"resumo": f"#{number}-{turn}-{k}#", "setor": setor, "motivo": motivo}
                for k, (setor, motivo) in enumerate(itertools.islice(pairs, self._rng.choice((1, 1, 2))))
            ]
            await self._one_run(name, thread_id, "\n".join(json.dumps(each) for each in calls))

    async def _one_run(self, name: str, thread_id: str, text: str) -> None:
        await self._create(f"/threads/{thread_id}/messages", {"role": "user", "content": text})
        assistant = {"assistant_id": ASSISTANTS["FINANCEIRO"]}
        run_id = await self._create(f"/threads/{thread_id}/runs", assistant)
        await _insistently(lambda: self._records.register_run(name, run_id, None))
        thread = self.platform.conversations.threads[thread_id]
        while thread.active_run(self.platform.clock.now()):  # noqa: ASYNC110  # the simulator has no event
            await asyncio.sleep(0.1)

    async def _create(self, path: str, body: dict[str, str]) -> str:
        answer = await self._http.post(path, json=body)
        return str(answer.raise_for_status().json()["id"])


async def _insistently(ask: Callable[[], Awaitable[_Read]]) -> _Read:
    """As a bot does while its database, or the worker's, is away."""
    while True:
        try:
            return await ask()
        except StoreError:
            await asyncio.sleep(0.2)
