"""Ledgers to look at: a day of a busy worker, with marked personal values wherever payload can be."""

import math
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from tests.system import personal_values as marked
from worker.model import CallState, RunState, ToolKind
from worker.personal import Personal
from worker.store.store import Store
from worker.tools.abrir_ticket_crm import AbrirTicketCrm
from worker.tools.transferir_para_humano import TransferirParaHumano

TICKET, HANDOFF = AbrirTicketCrm.name, TransferirParaHumano.name

HOUR_S = 3600.0
_PAIRS = (
    ("FINANCEIRO", "INFORMAR PAGAMENTO", 9),
    ("FINANCEIRO", "DESBLOQUEIO", 4),
    ("SUPORTE", "SEM INTERNET", 6),
    ("SUPORTE", "LENTIDÃO", 3),
    ("COMERCIAL", "MUDANÇA DE PLANO", 1),
)
_PAYLOAD = Personal(marked.PERSONAL)
_BODY = Personal.json({"documento": marked.DOCUMENT, "resumo": marked.PERSONAL})


@dataclass
class Day:
    """The rows of the last 24 hours, made up from a seed; times are seconds since the epoch."""

    now: float = field(default_factory=time.time)
    dice: Random = field(default_factory=lambda: Random(7))
    rows: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {
            "runs": [],
            "calls": [],
            "attempts": [],
            "handoffs": [],
            "outbox": [],
            "reply_checks": [],
        }
    )

    async def write(self, store: Store) -> None:
        """Add the rows to the database."""
        tables = store.database.tables
        async with store.database.write() as connection:
            for name, rows in self.rows.items():
                if rows:
                    await connection.execute(getattr(tables, name).insert(), rows)

    def moments(self, until_s: float) -> Iterator[float]:
        """When calls come in, until so many seconds ago: most some four hours ago, few in the night before.

        Not by the time of day: the page looks the same whenever the tests run.
        """
        at = self.now - 24 * HOUR_S
        while True:
            ago = (self.now - at) / HOUR_S
            at += self.dice.expovariate((3 + 30 * math.exp(-(((ago - 4) / 4.5) ** 2))) / HOUR_S)
            if at > self.now - until_s:
                return
            yield at

    def call(self, at: float, state: CallState, **columns: Any) -> dict[str, Any]:
        """One call, without attempts."""
        setor, motivo, _ = self.dice.choices(_PAIRS, [pair[2] for pair in _PAIRS])[0]
        key = f"{self.dice.getrandbits(64):016x}"
        row = {
            **dict.fromkeys(("error", "protocolo", "departamento", "finished_at", "submitted_at", "body")),
            "call_key": key,
            "call_id": f"tc_{key}",
            "platform_call_id": f"call_{key}",
            "run_id": f"run_{key}",
            "conversation_id": marked.ID_PHONE if self.dice.random() < 0.1 else f"whatsapp-{key[:6]}",
            "tool": TICKET,
            "kind": ToolKind.TICKET,
            "state": state,
            "setor": setor,
            "motivo": motivo,
            "exact": True,
            "idempotency_key": f"tw-{key}",
            "answer": _PAYLOAD,
            "attempts": 0,
            "received_at": at,
            "answered_at": at,
            **columns,
        }
        self.rows["calls"].append(row)
        return row

    def sent(self, at: float, state: CallState, results: list[tuple[str, float]], **columns: Any) -> None:
        """A ticket with its attempts: how each ended, and after how many seconds."""
        begun, attempts = at + 0.05, []
        for number, (result, took) in enumerate(results, 1):
            attempts.append(
                {"attempt": number, "begun_at": begun, "ended_at": begun + took, "result": result}
            )
            begun += took + 0.4 * number
        ended = attempts[-1]["ended_at"] if attempts else begun
        columns |= {"finished_at": ended, "answered_at": ended, "submitted_at": ended + 0.2}
        row = self.call(at, state, body=_BODY, attempts=len(results), **columns)
        for attempt in attempts:
            certain = None if attempt["result"] == "ok" else attempt["result"] == "connect"
            more = {"call_id": row["call_id"], "send_deadline": 0.0, "certain": certain}
            self.rows["attempts"].append(attempt | more)

    def opened(self, at: float) -> None:
        """A ticket, mostly at the first attempt."""
        tries = [("http_503", 0.3)] if self.dice.random() < 0.04 else []
        took = self.dice.lognormvariate(math.log(0.19), 0.45)
        protocolo = f"{time.strftime('%y%m%d', time.gmtime(at))}{self.dice.randrange(10**9, 10**10)}"
        self.sent(at, CallState.DONE, [*tries, ("ok", took)], protocolo=protocolo)

    def rejected(self, at: float) -> None:
        columns = {"motivo": None, "idempotency_key": None, "finished_at": at, "submitted_at": at + 0.3}
        self.call(at, CallState.REJECTED, error="documento_ausente", **columns)

    def failed(self, at: float, results: list[tuple[str, float]], error: str = "crm_indisponivel") -> None:
        self.sent(at, CallState.FAILED, results, error=error)

    def handoff(
        self,
        waits_s: float,
        departamento: str,
        *,
        accepted_s: float | None = None,
        due_in_s: float | None = None,
        opens_in_s: float | None = None,
    ) -> None:
        """A customer who has waited `waits_s`, or was attended to from `accepted_s` ago. All in seconds."""
        at = self.now - waits_s
        none = dict.fromkeys(("setor", "motivo", "exact", "idempotency_key"))
        columns = {"departamento": departamento, "finished_at": at, "submitted_at": at + 0.2, **none}
        row = self.call(at, CallState.DONE, **columns | {"tool": HANDOFF, "kind": ToolKind.HANDOFF})
        self.rows["handoffs"].append(
            {
                "handoff_id": f"ho_{row['call_key']}",
                "call_id": row["call_id"],
                "conversation_id": row["conversation_id"],
                "departamento": departamento,
                "motivo": _PAYLOAD,
                "state": "requested" if accepted_s is None else "accepted",
                "requested_at": at,
                "accepted_at": None if accepted_s is None else self.now - accepted_s,
                "due_at": None if due_in_s is None else self.now + due_in_s,
                "opens_at": None if opens_in_s is None else self.now + opens_in_s,
            }
        )

    def lost(self, ago_s: float, reason: str) -> None:
        """A run that left its customer without a reply."""
        key = f"{self.dice.getrandbits(64):016x}"
        at = self.now - ago_s
        self.rows["runs"].append(
            {
                "run_id": f"run_{key}",
                "platform": "assistants",
                "conversation_id": f"whatsapp-{key[:6]}",
                "state": RunState.LOST,
                "reason": reason,
                "registered_at": at,
                "closed_at": at + 600,
                "due": at,
            }
        )

    def suspect(self, ago_s: float, *codes: str, source: str = "run") -> None:
        """A reply that the ledger does not confirm."""
        key = f"{self.dice.getrandbits(64):016x}"
        self.rows["reply_checks"].append(
            {
                "conversation_id": f"whatsapp-{key[:6]}",
                "run_id": f"run_{key}",
                "source": source,
                "codes": ",".join(codes),
                "checked_at": self.now - ago_s,
            }
        )

    def undelivered(self, age_s: float, kind: str) -> None:
        self.rows["outbox"].append(
            {
                "event_id": f"msg_{secrets.token_hex(4)}",
                "conversation_id": marked.ID_PHONE,
                "body": f'{{"type": "{kind}"}}',
                "state": "stuck",
                "created_at": self.now - age_s,
                "due": self.now,
                "result": "http_500",
            }
        )


def healthy() -> Day:
    """All is well, and much is going on."""
    day = Day()
    for at in day.moments(20):
        if day.dice.random() < 0.03:
            day.rejected(at)
        day.opened(at)
    day.handoff(14 * 60, "financeiro", accepted_s=240)
    day.handoff(380, "suporte")
    day.handoff(75, "cobrança")
    return day


def crm_down() -> Day:
    """The CRM has not answered for 50 minutes."""
    day = Day()
    for at in day.moments(15):
        if at < day.now - 50 * 60:
            day.opened(at)
        elif at < day.now - 44 * 60:
            day.failed(at, [("timeout", 10.0), ("http_503", 0.2), ("connect", 0.1)])
        else:
            day.failed(at, [])
    timeout = [("timeout", 10.0)]
    day.sent(day.now - 49 * 60, CallState.UNKNOWN, timeout, error="em_confirmacao")
    day.sent(day.now - 52 * 60, CallState.NO_PROTOCOL, [("no_protocol", 0.3)], error="sem_protocolo")
    day.undelivered(73 * HOUR_S, "ticket.opened")
    day.lost(40 * 60, "expirada")
    for waits_s in (2900, 2500, 1700, 900, 200):
        day.handoff(waits_s, "financeiro")
    return day


def night() -> Day:
    """A night on which one departamento attends, and too slowly; the others open in the morning."""
    day = Day()
    for at in day.moments(2 * HOUR_S):
        day.opened(at)
    here = datetime.fromtimestamp(day.now, ZoneInfo("America/Sao_Paulo"))
    morning = here.replace(hour=8, minute=0, second=0, microsecond=0)
    opens_in_s = (morning - here) / timedelta(seconds=1) + (24 * HOUR_S if here >= morning else 0)
    for waits_s, departamento in ((40 * 60, "financeiro"), (9 * 60, "cobrança")):
        day.handoff(waits_s, departamento, opens_in_s=opens_in_s, due_in_s=opens_in_s + 900)
    day.handoff(52 * 60, "suporte", due_in_s=-37 * 60)
    day.handoff(4 * 60, "suporte", due_in_s=11 * 60)
    day.handoff(20 * 60, "suporte", accepted_s=12 * 60, due_in_s=-5 * 60)
    return day


def broken() -> Day:
    """Everything is down, and every kind of thing needs a person."""
    day = crm_down()
    day.handoff(52 * 60, "suporte", due_in_s=-37 * 60)
    day.handoff(20 * 60, "suporte", accepted_s=12 * 60, due_in_s=-5 * 60)
    day.handoff(9 * 60, "cobrança", opens_in_s=9 * HOUR_S, due_in_s=9 * HOUR_S + 900)
    day.suspect(300, "protocolo_desconhecido", "ticket_nao_aberto")
    day.suspect(900, "transferencia_nao_pedida", source="api")
    return day


def large(calls: int) -> Day:
    """So many calls that failed."""
    day = Day()
    for ago in range(calls):
        day.failed(day.now - ago - 1, [])
    return day


def empty() -> Day:
    """The first minute of a new worker."""
    return Day(rows={})
