"""`calls`: the ledger as an operator reads and mends it, beside the daemon (contract §1).

Every verb returns its exit code and raises `ConfigError`, `RequestRefused` and `StoreError`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from worker.cli.database import NOT_TAKEN_UP, beside, since_option, wait_for_daemon
from worker.cli.exit_codes import Exit
from worker.cli.output import cells, facts, listing, print_json, print_page, table
from worker.errors import ConfigError
from worker.model import CallRecord, CallState, ToolKind
from worker.personal import Personal
from worker.ports import Clock
from worker.privacy import mask_document
from worker.settings import Settings
from worker.web.pagination import cursor_text
from worker.web.responses import Call, CallPage, Step

_STEPS = {
    "received": "recebida",
    "attempt_begun": "tentativa {attempt} começou",
    "attempt_ended": "tentativa {attempt} terminou: {result}",
    "finished": "resultado registrado",
    "answered": "resposta ao modelo definida",
    "submitted": "resposta entregue à plataforma",
}


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
    print_page(page, _rows(console, page.items), console, as_json=as_json)
    return Exit.DONE


async def show_call(settings: Settings, console: Console, call_id: str, *, as_json: bool) -> Exit:
    """One call with its timeline; as JSON, `GET /v1/calls/{call_id}`."""
    async with beside(settings) as store:
        call = Call.of(await store.records.call(call_id), ZoneInfo(settings.TIMEZONE))
    if as_json:
        print_json(call, console)
    else:
        console.print(facts(call.model_dump(exclude={"timeline"})))
        console.print(_timeline(call.timeline))
    return Exit.DONE


# ------------------------------------------------------------------------------------------------ mending


async def preview_retry(settings: Settings, console: Console, call_id: str) -> Exit:
    """What `retry` would send, and nothing of what the customer said."""
    async with beside(settings) as store:
        call = await store.operators.retryable(call_id)
    console.print("Nada foi enviado. Uma nova tentativa enviaria:")
    console.print(facts(_masked(call, settings)))
    return Exit.DONE


async def retry_call(settings: Settings, console: Console, call_id: str, clock: Clock) -> Exit:
    """Ask the daemon for another try of the same ticket, and wait at most 30 s for what becomes of it."""
    async with beside(settings) as store:
        await store.operators.retry(call_id)
        with console.status("Aguardando o daemon…"):
            call = await wait_for_daemon(
                lambda: store.calls.get(call_id), lambda seen: not seen.state.open, clock
            )
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


def _became(call: CallRecord) -> tuple[Exit, str]:
    if call.state is CallState.DONE:
        return Exit.DONE, f"✓ Concluída: protocolo {call.protocolo or '-'}"
    if not call.state.open:
        return Exit.REFUSED, f"✗ A nova tentativa terminou em {call.state} ({call.error})"
    # What may have been sent before is settled and looked up first: the call is held, and still `received`.
    if call.state is CallState.RUNNING or call.owner is not None:
        return Exit.DONE, f"… O daemon assumiu a chamada; acompanhe: ticket-worker calls show {call.call_id}"
    return Exit.ACCEPTED, NOT_TAKEN_UP


def _masked(call: CallRecord, settings: Settings) -> dict[str, object]:
    """A ticket's request (contract §4), or that of a forwarded tool (§5), fit to be seen."""
    body = json.loads(call.body.reveal()) if call.body else {}
    ticket = call.kind is ToolKind.TICKET
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


def _rows(console: Console, calls: Sequence[Call]) -> Table:
    names = ("chamada", "conversa", "recebida", "estado", "pedido", "resultado")
    rows = (
        (
            *(each.call_id, each.conversation_id, each.received_at, each.state),
            *(_asked_for(each), each.protocolo or each.error),
        )
        for each in calls
    )
    return listing(console, names, rows)


def _asked_for(call: Call) -> str:
    return " / ".join(filter(None, (call.setor or call.tool, call.motivo or call.departamento)))


def _timeline(steps: Sequence[Step]) -> Table:
    rows = table("quando", "o que aconteceu")
    for step in steps:
        rows.add_row(*cells(step.at, _STEPS[step.event].format(attempt=step.attempt, result=step.result)))
    return rows
