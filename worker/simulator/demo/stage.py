"""Scenarios played by a bot over HTTP, and what is seen of each from outside."""

import asyncio
import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import httpx

from worker.simulator.assistants.runs import Timings
from worker.simulator.clock import Clock
from worker.simulator.crm import CrmSimulator, Ticket
from worker.simulator.demo.bots import RECEIPT_URL, Json, MakeBot, Peer, Started
from worker.simulator.demo.scenarios import Scenario, Seen
from worker.simulator.demo.worker_process import WorkerProcess

_ENDS_WITHIN_S = 15.0
_LIFETIME_S = Timings().lifetime_s
_OPEN = {"received", "running"}
_SHORT = {"abrir_ticket_crm": "ticket", "transferir_para_humano": "transferência"}


class Stage:
    """A bot between the platform and the worker; it sees only what a bot and the CRM's owner can see."""

    def __init__(
        self,
        platform: Peer,
        platform_clock: Clock,
        make_bot: MakeBot,
        crm: CrmSimulator,
        worker: WorkerProcess,
    ) -> None:
        self._platform = platform
        self._platform_clock = platform_clock
        self._make_bot = make_bot
        self._crm = crm
        self._process = worker
        self._worker = Peer(platform.http, f"{worker.url}/v1")

    async def play(self, scenario: Scenario, conversation_id: str) -> Seen:
        """Raises `WorkerDied` when the worker does not live through it."""
        tickets, requests = len(self._crm.tickets), len(self._crm.requests)
        self._crm.faults.clear()
        for fault in scenario.faults:
            self._crm.faults.add(fault)
        try:
            runs, said, suspect = await self._converse(scenario, conversation_id)
        except httpx.TransportError:
            await asyncio.sleep(0.2)  # a child that has just died is known to be dead a moment later
            self._process.check()
            raise
        opened = self._crm.tickets[tickets:]
        sent, read = list(self._crm.requests)[requests:], [told(each, opened) for each in said]
        return replace(seen(runs, opened, sent, read), suspect=tuple(sorted(suspect)))

    async def kpis(self) -> Json:
        """The KPIs as the worker itself counts them."""
        return await self._worker.ask("GET", "/kpis?since=24h")

    async def _converse(
        self, scenario: Scenario, conversation_id: str
    ) -> tuple[list[Json], list[str], set[str]]:
        """Message and answer by turns: the runs as the worker shows them, the answers, their findings."""
        bot = (scenario.bot or self._make_bot)(self._platform)
        runs: list[Json] = []
        answers: list[str] = []
        suspect: set[str] = set()
        for said, document in scenario.messages():
            started = await bot.send(said)
            known = {"client_document": document} if document else {}
            known |= {"attachment_url": RECEIPT_URL} if said.image else {}
            await self._announce(conversation_id, started, known)
            if scenario.expires:
                await self._let_expire()
            runs += await self._followed(started.run_id)
            answers.append(await bot.answer(runs[-1]["run_id"]))
            suspect |= await self._check(conversation_id, runs[-1]["run_id"], answers[-1])
            if runs[-1]["state"] != "ended":
                break  # what a customer would say next, nobody would hear
        return runs, answers, suspect

    async def _check(self, conversation_id: str, run_id: str, text: str) -> set[str]:
        """The codes of what the worker does not bear out, asked for as a bot does before it sends."""
        if not text:
            return set()
        reply = {"conversation_id": conversation_id, "run_id": run_id, "text": text}
        verdict = await self._worker.ask("POST", "/replies", reply)
        return {finding["code"] for finding in verdict["findings"]}

    async def _announce(self, conversation_id: str, started: Started, known: Json) -> None:
        thread = {"thread_id": started.thread_id} if started.thread_id else {}
        about = {**thread, **known, "assistant": "FINANCEIRO", "contact": "5524900000000"}
        await self._worker.ask("PUT", f"/conversations/{conversation_id}", about)
        run = {"conversation_id": conversation_id, "run_id": started.run_id}
        await self._worker.ask("POST", "/runs", run)

    async def _let_expire(self) -> None:
        """The run's time is up once the CRM has opened the ticket."""
        tickets = len(self._crm.tickets)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_WITHIN_S):
                while len(self._crm.tickets) == tickets:  # noqa: ASYNC110  # the CRM is looked at, it tells nobody
                    await asyncio.sleep(0.01)
        self._platform_clock.skip(_LIFETIME_S)

    async def _followed(self, run_id: str | None) -> list[Json]:
        """The run, and those it went on as."""
        runs = []
        while run_id:
            runs.append(await self._settled(run_id))
            run_id = runs[-1]["continues_as"]
        return runs

    async def _settled(self, run_id: str) -> Json:
        """A run as the worker shows it once nothing of it is open, or as it is when patience ends."""
        run = await self._worker.ask("GET", f"/runs/{run_id}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_WITHIN_S):
                while _is_open(run):
                    await asyncio.sleep(0.05)
                    run = await self._worker.ask("GET", f"/runs/{run_id}")
        return run


def _is_open(run: Json) -> bool:
    return run["state"] == "watching" or any(call["state"] in _OPEN for call in run["calls"])


# ------------------------------------------------------------------------------------------- what was seen


def seen(
    runs: Sequence[Json], tickets: Sequence[Ticket], requests: Sequence[Any], read: Sequence[str]
) -> Seen:
    """What came of a scenario. A session's run is shown once a turn, with the calls of all turns."""
    calls = {call["call_id"]: call for run in runs for call in run["calls"]}.values()
    protocolos = {call["protocolo"] for call in calls}
    return Seen(
        calls=tuple(sorted(f"{_SHORT.get(call['tool'], call['tool'])} {call['state']}" for call in calls)),
        tickets=tuple(sorted(_ticket(ticket, protocolos) for ticket in tickets)),
        sends=len(requests),
        keys=len({request.headers.get("idempotency-key") for request in requests}),
        told=" → ".join(read),
        run=runs[-1]["state"],
    )


def _ticket(ticket: Ticket, recorded: Iterable[str]) -> str:
    receipt = " com comprovante" if RECEIPT_URL in ticket.resumo else ""
    unrecorded = "" if ticket.protocolo in recorded else " SEM REGISTRO NO WORKER"
    return f"{ticket.setor} / {ticket.motivo}{receipt}{unrecorded}"


def told(said: str, tickets: Sequence[Ticket]) -> str:
    """What the customer read, in a word or two."""
    if tickets and all(ticket.protocolo in said for ticket in tickets):
        return "protocolo"
    if re.search(r"\d{8,}", said):
        return "um número que não é o do CRM"
    for words, meaning in _MEANINGS:
        if words in said:
            return meaning
    return "outra coisa" if said else "nada"


_MEANINGS = (
    ("CPF ou CNPJ", "pedido de CPF ou CNPJ"),
    ("sendo confirmado", "registro em confirmação"),
    ("transferir", "transferência"),
    ("atendimento volta", "quando o atendimento volta"),
)
