"""Plays scenarios through a bot over HTTP and collects what each did, as seen from outside the worker."""

import asyncio
import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from worker.simulator.assistants.runs import Timings
from worker.simulator.clock import Clock
from worker.simulator.crm import CrmSimulator, Ticket
from worker.simulator.demo.bots import RECEIPT_URL, Json, JsonClient, MakeBot, StartedRun
from worker.simulator.demo.scenarios import Scenario, ScenarioResult
from worker.simulator.demo.worker_process import WorkerProcess

_ENDS_WITHIN_S = 30.0
"""Longer than a session without calls takes to count as ended (15 s after it was announced)."""

_SELF_CHECK_TRIES, _SELF_CHECK_EVERY_S = 150, 0.1
_LIFETIME_S = Timings().lifetime_s
_UNFINISHED = {"received", "running"}
_LABELS = {"abrir_ticket_crm": "ticket", "transferir_para_humano": "transferência"}


class Stage:
    """A bot between the platform and the worker. It reads only what a bot and the CRM's owner can read."""

    def __init__(
        self,
        platform: JsonClient,
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
        self._worker = JsonClient(platform.http, f"{worker.url}/v1")

    async def play(self, scenario: Scenario, conversation_id: str) -> ScenarioResult:
        """Play one scenario and return its result. Raises `WorkerDied` when the worker ends meanwhile."""
        tickets, requests = len(self._crm.tickets), len(self._crm.requests)
        self._crm.faults.clear()
        for fault in scenario.faults:
            self._crm.faults.add(fault)
        try:
            before = {} if scenario.bot_asks else await self._suspect_by_code()
            runs, replies, findings = await self._converse(scenario, conversation_id)
            if not scenario.bot_asks:
                findings = await self._automatic_findings(before)
        except httpx.TransportError:
            await asyncio.sleep(0.2)  # the exit of a child that has just died is reported a moment later
            self._process.check()
            raise
        opened = self._crm.tickets[tickets:]
        sent = list(self._crm.requests)[requests:]
        summaries = [reply_summary(each, opened) for each in replies]
        return replace(result_of(runs, opened, sent, summaries), findings=tuple(sorted(findings)))

    async def kpis(self) -> Json:
        """The worker's own KPIs of the last 24 hours."""
        return await self._worker.request("GET", "/kpis?since=24h")

    async def _converse(
        self, scenario: Scenario, conversation_id: str
    ) -> tuple[list[Json], list[str], set[str]]:
        """Send every message and read its answer. Returns the worker's runs, the answers, their findings."""
        bot = (scenario.bot or self._make_bot)(self._platform)
        runs: list[Json] = []
        answers: list[str] = []
        findings: set[str] = set()
        for message, document in scenario.messages():
            started = await bot.send(message)
            details = {"client_document": document} if document else {}
            details |= {"attachment_url": RECEIPT_URL} if message.image else {}
            await self._announce(conversation_id, started, details)
            if scenario.expires:
                await self._let_expire()
            runs += await self._settled_chain(started.run_id)
            answers.append(await bot.answer(runs[-1]["run_id"]))
            if scenario.bot_asks:
                findings |= await self._check(conversation_id, runs[-1]["run_id"], answers[-1])
            if runs[-1]["state"] != "ended":
                break  # the platform accepts no further message of the customer
        return runs, answers, findings

    async def _check(self, conversation_id: str, run_id: str, text: str) -> set[str]:
        """The codes of the claims that the worker's reply check finds unsupported."""
        if not text:
            return set()
        reply = {"conversation_id": conversation_id, "run_id": run_id, "text": text}
        verdict = await self._worker.request("POST", "/replies", reply)
        return {finding["code"] for finding in verdict["findings"]}

    async def _automatic_findings(self, before: Mapping[str, int]) -> set[str]:
        """The codes that the worker finds by its own check, some seconds after the run has ended."""
        for _ in range(_SELF_CHECK_TRIES):
            now = await self._suspect_by_code()
            if found := {code for code, count in now.items() if count > before.get(code, 0)}:
                return found
            await asyncio.sleep(_SELF_CHECK_EVERY_S)
        return set()

    async def _suspect_by_code(self) -> Mapping[str, int]:
        by_code: dict[str, int] = (await self.kpis())["by_code"]
        return by_code

    async def _announce(self, conversation_id: str, started: StartedRun, details: Json) -> None:
        thread = {"thread_id": started.thread_id} if started.thread_id else {}
        about = {**thread, **details, "assistant": "FINANCEIRO", "contact": "5524900000000"}
        await self._worker.request("PUT", f"/conversations/{conversation_id}", about)
        run = {"conversation_id": conversation_id, "run_id": started.run_id}
        await self._worker.request("POST", "/runs", run)

    async def _let_expire(self) -> None:
        """Wait until the CRM has opened the ticket, then let the run expire."""
        tickets = len(self._crm.tickets)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_WITHIN_S):
                while len(self._crm.tickets) == tickets:  # noqa: ASYNC110  # the CRM simulator has no event to wait for
                    await asyncio.sleep(0.01)
        self._platform_clock.skip(_LIFETIME_S)

    async def _settled_chain(self, run_id: str | None) -> list[Json]:
        """The run and every run that continues it, each after it has settled."""
        runs = []
        while run_id:
            runs.append(await self._settled_run(run_id))
            run_id = runs[-1]["continues_as"]
        return runs

    async def _settled_run(self, run_id: str) -> Json:
        """The worker's view of a run once it and its calls have ended, or after `_ENDS_WITHIN_S` seconds."""
        run = await self._worker.request("GET", f"/runs/{run_id}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_WITHIN_S):
                while _is_open(run):
                    await asyncio.sleep(0.05)
                    run = await self._worker.request("GET", f"/runs/{run_id}")
        return run


def _is_open(run: Json) -> bool:
    return run["state"] == "watching" or any(call["state"] in _UNFINISHED for call in run["calls"])


# ------------------------------------------------------------------------------------------- the result


def result_of(
    runs: Sequence[Json], tickets: Sequence[Ticket], requests: Sequence[Any], summaries: Sequence[str]
) -> ScenarioResult:
    """The result of a scenario.

    The worker shows a session once for every turn, each time with the calls of all turns.
    """
    calls = {call["call_id"]: call for run in runs for call in run["calls"]}.values()
    protocolos = {call["protocolo"] for call in calls}
    return ScenarioResult(
        calls=tuple(sorted(f"{_LABELS.get(call['tool'], call['tool'])} {call['state']}" for call in calls)),
        tickets=tuple(sorted(_ticket(ticket, protocolos) for ticket in tickets)),
        sends=len(requests),
        keys=len({request.headers.get("idempotency-key") for request in requests}),
        reply=" → ".join(summaries),
        run=runs[-1]["state"],
    )


def _ticket(ticket: Ticket, recorded: Iterable[str]) -> str:
    receipt = " com comprovante" if RECEIPT_URL in ticket.resumo else ""
    unrecorded = "" if ticket.protocolo in recorded else " SEM REGISTRO NO WORKER"
    return f"{ticket.setor} / {ticket.motivo}{receipt}{unrecorded}"


def reply_summary(reply: str, tickets: Sequence[Ticket]) -> str:
    """What the reply tells the customer, in a word or two."""
    if tickets and all(ticket.protocolo in reply for ticket in tickets):
        return "protocolo"
    if re.search(r"\d{8,}", reply):
        return "um número que não é o do CRM"
    for phrase, meaning in _MEANINGS:
        if phrase in reply:
            return meaning
    return "outra coisa" if reply else "nada"


_MEANINGS = (
    ("CPF ou CNPJ", "pedido de CPF ou CNPJ"),
    ("sendo confirmado", "registro em confirmação"),
    ("transferir", "transferência"),
    ("atendimento volta", "quando o atendimento volta"),
)
