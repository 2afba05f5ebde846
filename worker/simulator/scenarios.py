"""The mission's scenarios, played by a bot over HTTP, and what is seen of each from outside."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from worker.simulator.assistants import AssistantsSimulator
from worker.simulator.crm import CrmSimulator, Ticket
from worker.simulator.faults import Fault
from worker.simulator.registry import ASSISTANTS
from worker.simulator.worker_process import WorkerProcess

Json = dict[str, Any]
_DOCUMENT = "52998224725"
_RECEIPT_URL = "https://arquivos.example/comprovante.jpg"
_ENDS_WITHIN_S = 15.0
_SHORT = {"abrir_ticket_crm": "ticket", "transferir_para_humano": "transferência"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be seen from outside: expected of a scenario, and what happened.

    `calls`: tool and state as the worker lists them; `sends`: requests at the CRM, `keys`: different
    `Idempotency-Key`s among them; `told`: what the customer read; `run`: state of the run at the worker.
    """

    calls: tuple[str, ...]
    tickets: tuple[str, ...] = ()
    sends: int = 0
    keys: int = 0
    told: str = "protocolo"
    run: str = "ended"

    def __str__(self) -> str:
        """Two that differ read differently; what goes without saying is left out."""
        tickets = " + ".join(self.tickets) or "nenhum ticket"
        if (self.sends, self.keys) != (len(self.tickets), len(self.tickets)):
            tickets += f" em {self.sends} envio(s) de {self.keys} chave(s)"
        run = "" if self.run == "ended" else f"; execução: {self.run}"
        return f"{tickets}; {', '.join(self.calls) or 'nenhuma chamada'}; cliente: {self.told}{run}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the customer says, under which circumstances, and what must come of it."""

    name: str
    says: str
    expected: Seen
    image: bool = False
    document: str | None = _DOCUMENT
    faults: tuple[Fault, ...] = ()
    expires: bool = False
    """The run's time is up as soon as the CRM has opened the ticket, before it answers."""

    def content(self) -> list[Json]:
        """The message as a bot posts it."""
        picture = [{"type": "image_url", "image_url": {"url": _RECEIPT_URL}}] if self.image else []
        return [*picture, {"type": "text", "text": self.says}]


_PAYMENT, _SOLVED = "FINANCEIRO / INFORMAR PAGAMENTO", "SUPORTE / SEM INTERNET"

SCENARIOS = (
    Scenario(
        "Cenário 1: comprovante de pagamento",
        "Acabei de pagar",
        Seen(("ticket done",), (f"{_PAYMENT} com comprovante",), sends=1, keys=1),
        image=True,
    ),
    Scenario(
        "Cenário 2: internet voltou",
        "Minha internet voltou! Obrigado",
        Seen(("ticket done",), (_SOLVED,), sends=1, keys=1),
    ),
    Scenario(
        "Opção B: transferência para humano",
        "Quero que um atendente confira o comprovante",
        Seen(("transferência done",), told="transferência"),
    ),
    Scenario(
        "CRM falha duas vezes e volta",
        "Enviei o comprovante",
        Seen(("ticket done",), (_PAYMENT,), sends=3, keys=1),
        faults=(Fault(status=503, times=2),),
    ),
    Scenario(
        "CRM fora do ar",
        "Enviei o comprovante",
        Seen(("ticket failed", "transferência done"), sends=3, keys=1, told="transferência"),
        faults=(Fault(status=503, times=None),),
    ),
    Scenario(
        "Par inválido, corrigido",
        "Já paguei. Preciso do desbloqueio",
        Seen(("ticket done", "ticket rejected"), ("FINANCEIRO / DESBLOQUEIO",), sends=1, keys=1),
    ),
    Scenario(
        "Sem documento",
        "Enviei o comprovante",
        Seen(("ticket rejected",), told="pedido de CPF ou CNPJ"),
        document=None,
    ),
    Scenario(
        "Duas chamadas em paralelo",
        "Paguei, e a internet voltou",
        Seen(("ticket done", "ticket done"), (_PAYMENT, _SOLVED), sends=2, keys=2),
    ),
    Scenario(
        "Execução expira enquanto o CRM responde",
        "Enviei o comprovante",
        Seen(("ticket done",), (_PAYMENT,), sends=1, keys=1, told="nada", run="lost"),
        faults=(Fault(delay_s=0.5, commit_after_s=0),),
        expires=True,
    ),
)


class Stage:
    """A bot between the platform and the worker; it sees only what a bot and the CRM's owner can see."""

    def __init__(
        self,
        platform: AssistantsSimulator,
        platform_url: str,
        crm: CrmSimulator,
        worker: WorkerProcess,
        http: httpx.AsyncClient,
    ) -> None:
        self._platform = platform
        self._platform_url = platform_url
        self._crm = crm
        self._worker = worker
        self._http = http

    async def play(self, scenario: Scenario, conversation_id: str) -> Seen:
        """Raises `WorkerDied` when the worker does not live through it."""
        tickets, requests = len(self._crm.tickets), len(self._crm.requests)
        self._crm.faults.clear()
        for fault in scenario.faults:
            self._crm.faults.add(fault)
        try:
            thread_id, run_id = await self._customer_writes(scenario)
            await self._announce(scenario, conversation_id, thread_id, run_id)
            if scenario.expires:
                await self._until(lambda: len(self._crm.tickets) > tickets)
                self._platform.clock.skip(self._platform.conversations.timings.lifetime_s)
            run = await self._ended(run_id)
        except httpx.TransportError:
            await asyncio.sleep(0.2)  # a child that has just died is known to be dead a moment later
            self._worker.check()
            raise
        said = await self._said(thread_id, run_id)
        return _seen(run, self._crm.tickets[tickets:], list(self._crm.requests)[requests:], said)

    async def _customer_writes(self, scenario: Scenario) -> tuple[str, str]:
        base = self._platform_url
        thread = await self._call("POST", f"{base}/threads", {})
        message = {"role": "user", "content": scenario.content()}
        await self._call("POST", f"{base}/threads/{thread['id']}/messages", message)
        start = {"assistant_id": ASSISTANTS["FINANCEIRO"]}
        run = await self._call("POST", f"{base}/threads/{thread['id']}/runs", start)
        return thread["id"], run["id"]

    async def _announce(self, scenario: Scenario, conversation_id: str, thread_id: str, run_id: str) -> None:
        known: Json = {"thread_id": thread_id, "assistant": "FINANCEIRO", "contact": "5524900000000"}
        if scenario.document:
            known["client_document"] = scenario.document
        if scenario.image:
            known["attachment_url"] = _RECEIPT_URL
        base = f"{self._worker.url}/v1"
        await self._call("PUT", f"{base}/conversations/{conversation_id}", known)
        await self._call("POST", f"{base}/runs", {"conversation_id": conversation_id, "run_id": run_id})

    async def _ended(self, run_id: str) -> Json:
        """The run as the worker shows it once it watches no more, or as it is when patience ends."""
        run: Json = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_WITHIN_S):
                while run.get("state", "watching") == "watching":
                    await asyncio.sleep(0.05)
                    run = await self._call("GET", f"{self._worker.url}/v1/runs/{run_id}")
        return run

    async def _until(self, happened: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_WITHIN_S):
                while not happened():  # noqa: ASYNC110  # the simulators are looked at, they tell nobody
                    await asyncio.sleep(0.01)

    async def _said(self, thread_id: str, run_id: str) -> str:
        url = f"{self._platform_url}/threads/{thread_id}/messages?run_id={run_id}"
        messages = (await self._call("GET", url))["data"]
        return "\n".join(part["text"]["value"] for message in messages for part in message["content"])

    async def _call(self, method: str, url: str, body: Json | None = None) -> Json:
        response = await self._http.request(method, url, json=body)
        response.raise_for_status()
        answer: Json = response.json()
        return answer

    async def calls(self) -> list[Json]:
        """The worker's own list of all calls."""
        items: list[Json] = (await self._call("GET", f"{self._worker.url}/v1/calls?limit=200"))["items"]
        return items


def _seen(run: Json, tickets: Sequence[Ticket], requests: Sequence[Any], said: str) -> Seen:
    calls = run.get("calls", [])
    recorded = {call["protocolo"] for call in calls}
    return Seen(
        calls=tuple(sorted(f"{_SHORT.get(call['tool'], call['tool'])} {call['state']}" for call in calls)),
        tickets=tuple(sorted(_ticket(ticket, recorded) for ticket in tickets)),
        sends=len(requests),
        keys=len({request.headers.get("idempotency-key") for request in requests}),
        told=_told(said, tickets),
        run=run.get("state", "desconhecida"),
    )


def _ticket(ticket: Ticket, recorded: set[str]) -> str:
    receipt = " com comprovante" if _RECEIPT_URL in ticket.resumo else ""
    unrecorded = "" if ticket.protocolo in recorded else " SEM REGISTRO NO WORKER"
    return f"{ticket.setor} / {ticket.motivo}{receipt}{unrecorded}"


def _told(said: str, tickets: Sequence[Ticket]) -> str:
    if tickets and all(ticket.protocolo in said for ticket in tickets):
        return "protocolo"
    if re.search(r"\d{8,}", said):
        return "um número que não é o do CRM"
    if "CPF ou CNPJ" in said:
        return "pedido de CPF ou CNPJ"
    if "transferir" in said:
        return "transferência"
    return "outra coisa" if said else "nada"
