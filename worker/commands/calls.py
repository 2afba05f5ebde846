"""`calls` and `handoffs`: the ledger as an operator reads and mends it, beside the daemon (contract §1).

Every verb returns its exit code and raises `ConfigError`, `RequestRefused` and `StoreError`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.beside import beside, since_option
from worker.errors import ConfigError
from worker.model import CallRecord, CallState, HandoffState
from worker.personal import Personal
from worker.ports import Clock, Ledger
from worker.privacy import mask_document
from worker.settings import Settings
from worker.web.queries import cursor_text
from worker.web.shown import Call, CallPage, Handoff, HandoffPage, Step

_TAKEN_WITHIN_S = 30.0
_LOOK_S = 0.25

_COLOURS: dict[str, str] = {
    CallState.DONE: "green",
    CallState.FAILED: "red",
    CallState.UNKNOWN: "yellow",
    CallState.NO_PROTOCOL: "yellow",
    HandoffState.REQUESTED: "yellow",
}
_STEPS = {
    "received": "recebida",
    "attempt_begun": "tentativa {attempt} começou",
    "attempt_ended": "tentativa {attempt} terminou: {result}",
    "finished": "resultado registrado",
    "answered": "resposta ao modelo definida",
    "submitted": "resposta entregue à plataforma",
}


class Exit(IntEnum):
    """Contract §1. ACCEPTED: the request is recorded, and no daemon has taken it."""

    DONE = 0
    REFUSED = 1
    ACCEPTED = 4


# ------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class Asked:
    """Which calls are listed. `since`: as `times.parse_since` reads it."""

    state: CallState | None = None
    since: str | None = None
    conversation: str | None = None
    limit: int = 50


async def list_calls(settings: Settings, console: Console, asked: Asked, *, as_json: bool) -> Exit:
    """The newest calls; as JSON, a page of `GET /v1/calls`."""
    zone = ZoneInfo(settings.TIMEZONE)
    since = None if asked.since is None else since_option(asked.since, zone)
    async with beside(settings) as store:
        views, cursor = await store.records.calls(
            state=asked.state, since=since, conversation_id=asked.conversation, limit=asked.limit
        )
    page = CallPage(items=[Call.of(view, zone) for view in views], next_cursor=cursor_text(cursor))
    return _print_page(page, _calls_table(page.items), console, as_json=as_json)


async def show_call(settings: Settings, console: Console, call_id: str, *, as_json: bool) -> Exit:
    """One call with its timeline; as JSON, `GET /v1/calls/{call_id}`."""
    async with beside(settings) as store:
        call = Call.of(await store.records.call(call_id), ZoneInfo(settings.TIMEZONE))
    if as_json:
        console.out(call.model_dump_json(indent=2), highlight=False)
    else:
        console.print(_facts(call.model_dump(exclude={"timeline"})))
        console.print(_timeline(call.timeline))
    return Exit.DONE


async def list_handoffs(
    settings: Settings, console: Console, *, state: HandoffState | None, limit: int, as_json: bool
) -> Exit:
    """The newest hand-offs, without `motivo`; as JSON, a page of `GET /v1/handoffs`."""
    zone = ZoneInfo(settings.TIMEZONE)
    async with beside(settings) as store:
        views, cursor = await store.records.handoffs(state=state, limit=limit)
    page = HandoffPage(items=[Handoff.of(view, zone) for view in views], next_cursor=cursor_text(cursor))
    return _print_page(page, _handoffs_table(page.items), console, as_json=as_json)


# ------------------------------------------------------------------------------------------------ mending


async def preview_retry(settings: Settings, console: Console, call_id: str) -> Exit:
    """What `retry` would send, and nothing of what the customer said."""
    async with beside(settings) as store:
        call = await store.operators.retryable(call_id)
    console.print("Nada foi enviado. Uma nova tentativa enviaria:")
    console.print(_facts(_masked(call, settings)))
    return Exit.DONE


async def retry_call(settings: Settings, console: Console, call_id: str, clock: Clock) -> Exit:
    """Ask the daemon for another try of the same ticket, and wait at most 30 s for what becomes of it."""
    async with beside(settings) as store:
        await store.operators.retry(call_id)
        with console.status("Aguardando o daemon…"):
            call = await _carried_out(store.calls, call_id, clock)
    code, sentence = _became(call)
    console.print(sentence, markup=False, soft_wrap=True)
    return code


async def resolve_call(settings: Settings, console: Console, call_id: str, protocolo: str) -> Exit:
    """Complete a call with the protocolo a person found at the CRM."""
    if not (protocolo.isprintable() and re.search(settings.CRM_PROTOCOL_PATTERN, protocolo)):
        raise ConfigError("--protocolo não tem a forma de um protocolo (CRM_PROTOCOL_PATTERN)")
    async with beside(settings) as store:
        await store.operators.resolve(call_id, protocolo)
    console.print(f"✓ Chamada {call_id} concluída com o protocolo {protocolo}", markup=False, soft_wrap=True)
    return Exit.DONE


async def _carried_out(ledger: Ledger, call_id: str, clock: Clock) -> CallRecord:
    """The call once it is decided, or as it stands when the wait is over."""
    until = clock.monotonic() + _TAKEN_WITHIN_S
    while (call := await ledger.get(call_id)).state.open and clock.monotonic() < until:
        await clock.sleep(_LOOK_S)
    return call


def _became(call: CallRecord) -> tuple[Exit, str]:
    if call.state is CallState.DONE:
        return Exit.DONE, f"✓ Concluída: protocolo {call.protocolo or '-'}"
    if not call.state.open:
        return Exit.REFUSED, f"✗ A nova tentativa terminou em {call.state} ({call.error})"
    # What may have been sent before is settled and looked up first: the call is held, and still `received`.
    if call.state is CallState.RUNNING or call.owner is not None:
        return Exit.DONE, f"… O daemon assumiu a chamada; acompanhe: ticket-worker calls show {call.call_id}"
    return Exit.ACCEPTED, (
        "! O pedido está gravado, mas nenhum daemon o assumiu ainda: será atendido quando o daemon estiver "
        "em execução (ticket-worker run)"
    )


def _masked(call: CallRecord, settings: Settings) -> dict[str, object]:
    """A ticket's request (contract §4), or that of a forwarded tool (§5), fit to be seen."""
    body = json.loads(call.body.reveal()) if call.body else {}
    ticket = call.setor is not None
    url = settings.CRM_WEBHOOK_URL if ticket else settings.TOOL_FORWARD_URL
    sent: dict[str, object] = {
        "destino": urlsplit(url).hostname if url else "não configurado",
        "Idempotency-Key": call.idempotency_key,
        "tentativas até agora": call.attempts,
    }
    if not ticket:
        return sent | {"função": call.tool}
    return sent | {
        "setor": call.setor,
        "motivo": call.motivo,
        "documento": mask_document(Personal(body["documento"])),
        "resumo": f"{len(body['resumo'])} caracteres",
    }


# ------------------------------------------------------------------------------------------------ printing


def _print_page(page: CallPage | HandoffPage, table: Table, console: Console, *, as_json: bool) -> Exit:
    if as_json:
        console.out(page.model_dump_json(indent=2), highlight=False)
    elif not page.items:
        console.print("Nada encontrado.")
    else:
        console.print(table)
        if page.next_cursor:
            console.print("Há mais; aumente --limit ou restrinja a busca.")
    return Exit.DONE


def _calls_table(calls: Sequence[Call]) -> Table:
    table = _table("chamada", "recebida", "estado", "setor/função", "motivo", "protocolo", "erro", "conversa")
    for call in calls:
        table.add_row(
            *_cells(call.call_id, call.received_at, call.state, call.setor or call.tool),
            *_cells(call.motivo or call.departamento, call.protocolo, call.error, call.conversation_id),
        )
    return table


def _handoffs_table(handoffs: Sequence[Handoff]) -> Table:
    table = _table("pedido", "departamento", "estado", "solicitado", "espera", "conversa", "chamada")
    for each in handoffs:
        table.add_row(
            *_cells(each.handoff_id, each.departamento, each.state, each.requested_at),
            *_cells(_span(each.waiting_s), each.conversation_id, each.call_id),
        )
    return table


def _timeline(steps: Sequence[Step]) -> Table:
    table = _table("quando", "o que aconteceu")
    for step in steps:
        table.add_row(*_cells(step.at, _STEPS[step.event].format(attempt=step.attempt, result=step.result)))
    return table


def _facts(facts: dict[str, object]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(*_cells(name, value))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, overflow="fold")
    return table


def _cells(*values: object) -> list[Text]:
    """Texts as they are: no markup, and nothing that steers a terminal (some ids are the platform's)."""
    return [_cell(value) for value in values]


def _cell(value: object) -> Text:
    if value is None:
        return Text("-")
    if isinstance(value, datetime):
        return Text(value.strftime("%d/%m/%Y %H:%M:%S"))
    text = "".join(char if char.isprintable() else "�" for char in str(value))
    return Text(text, style=_COLOURS.get(text, ""))


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
