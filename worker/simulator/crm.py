"""The simulated CRM: the mission's webhook, a lookup, and the failures that such servers show."""

import asyncio
import json
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.simulator.admin import Admin
from worker.simulator.clock import Clock
from worker.simulator.faults import ApiError, Fault, Faults, Operation, SimulatorContext, Sleep
from worker.simulator.pairs import PAIRS

_JSON = "application/json"
_OPENED = '{"data": [{"resposta": [{"protocolo": "{protocolo}"}]}]}'

PRESETS = {
    "down": Fault(times=None, status=503),
    "rate_limited": Fault(status=429, headers={"retry-after": "1"}),
    "dropped_before": Fault(drop=True),
    "dropped_after": Fault(drop=True, commit_after_s=0),
    "error_after": Fault(status=500, commit_after_s=0),
    "cut": Fault(cut=True),
    "late": Fault(status=504, commit_after_s=3),
    "slow": Fault(delay_s=15, commit_after_s=0),
    "trickle": Fault(trickle_s=0.5),
    "no_protocolo": Fault(body='[{"data": [{"resposta": [{}]}]}]', content_type=_JSON, commit_after_s=0),
    "empty": Fault(body="", content_type=_JSON, commit_after_s=0),
    "bare_object": Fault(body=_OPENED, content_type=_JSON, commit_after_s=0),
    "message": Fault(body='{"message": "Workflow was started"}', content_type=_JSON, commit_after_s=0),
    "html": Fault(body="<html><body>OK</body></html>", content_type="text/html", commit_after_s=0),
    "wrong_shape": Fault(
        body=f"[{_OPENED}]".replace("{protocolo}", "A-12"), content_type=_JSON, commit_after_s=0
    ),
    "number": Fault(
        body=f"[{_OPENED}]".replace('"{protocolo}"', "{protocolo}"), content_type=_JSON, commit_after_s=0
    ),
}
"""The CRM's named faults. All but `down` apply to one request unless `times` is changed."""

_BRASILIA = timezone(timedelta(hours=-3))


def iso_date(at: float) -> str:
    """`data_abertura` as ISO 8601 with offset."""
    return datetime.fromtimestamp(at, _BRASILIA).isoformat(timespec="seconds")


def brazilian_date(at: float) -> str:
    """`data_abertura` as dd/mm/yyyy hh:mm:ss, without offset."""
    return datetime.fromtimestamp(at, _BRASILIA).strftime("%d/%m/%Y %H:%M:%S")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket that was opened."""

    protocolo: str
    documento: str
    resumo: str
    setor: str
    motivo: str
    idempotency_key: str | None
    opened_at: float
    status: str = "ABERTO"


class CrmSimulator:
    """A CRM to be served: `async with serve(simulator.app) as url`; the webhook is at `webhook`.

    `idempotent`: one ticket per `Idempotency-Key`. `latency_s`: how long it takes to open one. `pairs`: the
    valid setores and motivos, the mission's by default; None: any.
    """

    webhook = "/webhook/abrir_ticket"
    lookup = "/webhook/consultar"

    def __init__(
        self,
        *,
        idempotent: bool = True,
        latency_s: float = 0.0,
        clock: Clock | None = None,
        format_date: Callable[[float], str] = iso_date,
        sleep: Sleep = asyncio.sleep,
        pairs: Collection[tuple[str, str]] | None = PAIRS,
    ) -> None:
        self.idempotent = idempotent
        self._pairs = pairs
        self.latency_s = latency_s
        self.clock = clock or Clock()
        self.faults = Faults(PRESETS)
        self.tickets: list[Ticket] = []
        self._by_key: dict[str | None, Ticket] = {}
        self._protocolos: set[str] = set()
        self._format_date = format_date
        self._sleep = sleep
        context = SimulatorContext(self.faults, self.clock, sleep)
        self.requests = context.requests
        self.app = Starlette(
            routes=[
                Route(self.webhook, Operation("abrir_ticket", self._open, context), methods=["POST"]),
                Route(self.lookup, Operation("consultar", self._look_up, context), methods=["POST"]),
                *Admin(context, self._state).routes(),
                Route("/_sim/tickets", self._show_tickets),
            ]
        )

    async def _open(self, request: Request) -> Response:
        body = _read(await request.body())
        if problem := _problem(body, request.headers.get("content-type", ""), self._pairs):
            raise ApiError(400, {"erro": problem})
        if self.latency_s:
            await self._sleep(self.latency_s)
        ticket = self._ticket(body, request.headers.get("idempotency-key"))
        request.state.placeholders = {"protocolo": ticket.protocolo}
        return JSONResponse([{"data": [{"resposta": [{"protocolo": ticket.protocolo}]}]}])

    def _ticket(self, body: dict[str, Any], key: str | None) -> Ticket:
        """A new ticket, or the one that this idempotency key opened before."""
        if self.idempotent and key in self._by_key:
            return self._by_key[key]
        fields = {name: body[name] for name in ("documento", "resumo", "setor", "motivo")}
        now = self.clock.now()
        ticket = Ticket(self._protocolo(now), **fields, idempotency_key=key, opened_at=now)
        self.tickets.append(ticket)
        if key:
            self._by_key[key] = ticket
        return ticket

    def _protocolo(self, now: float) -> str:
        """16 digits: the minute and six random ones, unique among all tickets."""
        minute = datetime.fromtimestamp(now, _BRASILIA).strftime("%y%m%d%H%M")
        while (protocolo := f"{minute}{secrets.randbelow(1_000_000):06}") in self._protocolos:
            pass
        self._protocolos.add(protocolo)
        return protocolo

    async def _look_up(self, request: Request) -> Response:
        documento = _read(await request.body()).get("documento")
        return JSONResponse(
            [
                {
                    "setor": ticket.setor,
                    "motivo": ticket.motivo,
                    "status": ticket.status,
                    "data_abertura": self._format_date(ticket.opened_at),
                    "protocolo": ticket.protocolo,
                }
                for ticket in self.tickets
                if ticket.documento == documento
            ]
        )

    def _state(self) -> dict[str, Any]:
        return {
            "tickets": len(self.tickets),
            "requests": len(self.requests),
            "idempotent": self.idempotent,
            "latency_s": self.latency_s,
        }

    async def _show_tickets(self, _request: Request) -> Response:
        return JSONResponse([asdict(ticket) for ticket in self.tickets])


def _read(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, {"erro": "o corpo não é um objeto JSON"})
    return body


_FIELDS = {"documento", "resumo", "setor", "motivo", "finalizar"}


def _problem(
    body: dict[str, Any], content_type: str, pairs: Collection[tuple[str, str]] | None
) -> str | None:
    """Why the CRM refuses this ticket (contract §4), or None."""
    if content_type.replace(" ", "").lower() != "application/json;charset=utf-8":
        return "Content-Type precisa ser application/json; charset=utf-8"
    if set(body) != _FIELDS or not all(isinstance(value, str) for value in body.values()):
        return f"são esperados exatamente os textos {', '.join(sorted(_FIELDS))}"
    if not re.fullmatch(r"\d{11}|[0-9A-Z]{12}\d{2}", body["documento"]):
        return "documento precisa ser um CPF ou CNPJ sem pontuação"
    if pairs is not None and (body["setor"], body["motivo"]) not in pairs:
        return "setor e motivo não combinam"
    if not body["resumo"].strip() or body["finalizar"] not in {"S", "N"}:
        return "resumo e finalizar são obrigatórios"
    return None
