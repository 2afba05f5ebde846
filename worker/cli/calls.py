"""`calls`: lets an operator read and mend the ledger while the daemon runs (contract §1).

Every verb returns its exit code and raises `ConfigError`, `RequestRefused` and `StoreError`.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from worker.cli.database import (
    NO_DAEMON,
    NOT_TAKEN_UP,
    beside,
    daemon_lives,
    moment_option,
    reader,
    wait_for_daemon,
)
from worker.cli.exit_codes import REFUSALS, Exit
from worker.cli.output import (
    cells,
    dismissal_words,
    facts,
    listed_state,
    listing,
    plural,
    print_dismissed,
    print_done,
    print_json,
    print_page,
    state_words,
    table,
)
from worker.errors import ConfigError
from worker.model import CallRecord, CallState, ToolKind
from worker.personal import Personal
from worker.ports import Clock
from worker.privacy import mask_document
from worker.settings import Settings
from worker.store.store import Store
from worker.views import CallFilter, DismissReason
from worker.web.calls_csv import calls_csv
from worker.web.pagination import cursor_text
from worker.web.responses import Call, CallPage, Payload, Step

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
class Selection:
    """The options that select calls, as typed."""

    state: CallState | None = None
    #: As `times.parse_since` reads them.
    since: str | None = None
    until: str | None = None
    conversation: str | None = None
    protocolo: str | None = None
    run: str | None = None
    platform_call: str | None = None
    tool: str | None = None
    setor: str | None = None
    motivo: str | None = None

    def filter(self, zone: ZoneInfo) -> CallFilter:
        """Raises `ConfigError`."""
        return CallFilter(
            state=self.state,
            since=moment_option(self.since, zone),
            until=moment_option(self.until, zone, "--until"),
            conversation_id=self.conversation,
            protocolo=self.protocolo,
            run_id=self.run,
            platform_call_id=self.platform_call,
            tool=self.tool,
            setor=self.setor,
            motivo=self.motivo,
        )


async def list_calls(
    settings: Settings, console: Console, selection: Selection, *, limit: int, as_json: bool
) -> Exit:
    """The newest calls; as JSON, a page of `GET /v1/calls`."""
    zone = ZoneInfo(settings.TIMEZONE)
    which = selection.filter(zone)
    async with beside(settings) as store:
        views, cursor = await store.records.calls(which, limit=limit)
    page = CallPage(items=[Call.of(view, zone) for view in views], next_cursor=cursor_text(cursor))
    print_page(page, _rows(console, page.items), console, as_json=as_json)
    return Exit.DONE


async def export_calls(settings: Settings, console: Console, selection: Selection) -> Exit:
    """Every call of a selection as CSV: `GET /v1/calls.csv`."""
    zone = ZoneInfo(settings.TIMEZONE)
    which = selection.filter(zone)
    async with beside(settings) as store:
        async for lines in calls_csv(store.records.every_call(which), zone):
            console.out(lines, end="", highlight=False)
    return Exit.DONE


async def show_call(settings: Settings, console: Console, call_id: str, *, as_json: bool) -> Exit:
    """One call with its timeline; as JSON, `GET /v1/calls/{call_id}`."""
    async with beside(settings) as store:
        call = Call.of(await store.records.call(call_id), ZoneInfo(settings.TIMEZONE))
    if as_json:
        print_json(call, console)
    else:
        named = call.model_dump(exclude={"timeline"})
        console.print(facts(named | {"dismissed": dismissal_words(call.dismissed)}))
        console.print(_timeline(call.timeline))
    return Exit.DONE


async def reveal_call(settings: Settings, console: Console, call_id: str, *, as_json: bool) -> Exit:
    """Print a call's personal values, and record it in the access log; as JSON, `GET …/payload`.

    With what else is needed to find the ticket in the CRM: when it was asked for, its setor and motivo.
    """
    async with beside(settings) as store:
        payload = Payload.model_validate(await store.records.payload(call_id, reader=reader()))
        call = Call.of(await store.records.call(call_id), ZoneInfo(settings.TIMEZONE))
    if as_json:
        print_json(payload, console)
    else:
        found_by = call.model_dump(include={"received_at", "setor", "motivo"})
        console.print(facts(found_by | payload.model_dump()))
    return Exit.DONE


# ------------------------------------------------------------------------------------------------ mending


async def preview_retry(settings: Settings, console: Console, call_id: str) -> Exit:
    """Print what `retry` would send, without the customer's text."""
    async with beside(settings) as store:
        call = await store.operators.retryable(call_id)
    console.print("Nada foi enviado. Uma nova tentativa enviaria:")
    console.print(facts(_masked(call, settings)))
    return Exit.DONE


async def retry_call(settings: Settings, console: Console, call_id: str, clock: Clock) -> Exit:
    """Ask the daemon for another try of the same ticket, and wait at most 30 s for its outcome."""
    async with beside(settings) as store:
        await store.operators.retry(call_id)
        if not await daemon_lives(store):
            console.print(NO_DAEMON, soft_wrap=True)
            return Exit.ACCEPTED
        with console.status("Aguardando o worker…"):
            call = await wait_for_daemon(
                lambda: store.calls.get(call_id), lambda record: not record.state.open, clock
            )
    code, sentence = _retry_result(call)
    console.print(sentence, markup=False, soft_wrap=True)
    return code


async def preview_retries(settings: Settings, console: Console, selection: Selection) -> Exit:
    """Which calls `retry` would send again."""
    which = replace(selection.filter(ZoneInfo(settings.TIMEZONE)), dismissed=False)
    count = 0
    async with beside(settings) as store:
        async for calls in store.records.every_call(which):
            count += len(calls)
            for call in calls:
                console.print(f"{call.call_id}  {call.setor or call.tool}", markup=False, soft_wrap=True)
    console.print(
        f"Nada foi enviado. {plural(count, 'chamada seria tentada', 'chamadas seriam tentadas')} de novo."
    )
    return Exit.DONE


async def retry_calls(settings: Settings, console: Console, selection: Selection, clock: Clock) -> Exit:
    """Ask the daemon for another try of all calls of a selection; wait at most 30 s for their outcomes."""
    which = selection.filter(ZoneInfo(settings.TIMEZONE))
    async with beside(settings) as store:
        requested, refused = await store.operators.retry_many(which)
        for call_id, code in refused:
            console.print(f"! {call_id}: {REFUSALS[code]} ({code})", markup=False, soft_wrap=True)
        if not requested and not refused:
            console.print("Nenhuma chamada tem este estado neste período: nada a tentar de novo.")
            return Exit.DONE
        print_done(console, plural(len(requested), "nova tentativa pedida", "novas tentativas pedidas"))
        if requested and not await daemon_lives(store):
            console.print(NO_DAEMON, soft_wrap=True)
            return Exit.ACCEPTED
        with console.status("Aguardando o worker…"):
            calls = await _latest(store, list(requested), clock)
    return _print_outcomes(console, calls)


async def _latest(store: Store, call_ids: Sequence[str], clock: Clock) -> Sequence[CallRecord]:
    """The calls once all have an outcome, or as they are after 30 s."""
    latest: dict[str, CallRecord] = {}

    async def still_open() -> list[str]:
        for call_id in call_ids:
            if call_id not in latest or latest[call_id].state.open:
                latest[call_id] = await store.calls.get(call_id)
        return [call_id for call_id, call in latest.items() if call.state.open]

    await wait_for_daemon(still_open, lambda waiting: not waiting, clock)
    return list(latest.values())


def _print_outcomes(console: Console, calls: Sequence[CallRecord]) -> Exit:
    """How many came to what, the good ones first."""
    done = sum(call.state is CallState.DONE for call in calls)
    waiting = sum(call.state.open for call in calls)
    if done:
        print_done(console, plural(done, "chamada concluída", "chamadas concluídas"))
    codes = Counter(
        call.error or "-" for call in calls if not call.state.open and call.state is not CallState.DONE
    )
    for code, count in codes.most_common():
        many = plural(count, "não deu certo", "não deram certo")
        console.print(f"✗ {many}: {code}", markup=False, soft_wrap=True)
    if waiting:
        many = plural(waiting, "ainda não tem resultado", "ainda não têm resultado")
        console.print(f"… {many}; acompanhe: ticket-worker calls list", markup=False, soft_wrap=True)
    return Exit.REFUSED if codes else Exit.DONE


async def dismiss_call(
    settings: Settings, console: Console, call_id: str, reason: DismissReason | None
) -> Exit:
    """Put on record that a call needs no person; without a reason, take that back."""
    async with beside(settings) as store:
        if reason is None:
            await store.operators.restore(call_id)
        else:
            await store.operators.dismiss(call_id, reason, by=reader())
    print_dismissed(console, f"Chamada {call_id}", reason)
    return Exit.DONE


async def resolve_call(settings: Settings, console: Console, call_id: str, protocolo: str) -> Exit:
    """Complete a call with the protocolo a person found at the CRM."""
    protocolo = protocolo.strip()
    if not (protocolo.isprintable() and re.search(settings.CRM_PROTOCOL_PATTERN, protocolo, re.ASCII)):
        raise ConfigError("--protocolo não tem a forma de um protocolo (CRM_PROTOCOL_PATTERN)")
    async with beside(settings) as store:
        await store.operators.resolve(call_id, protocolo)
    print_done(console, f"Chamada {call_id} concluída com o protocolo {protocolo}")
    return Exit.DONE


def _retry_result(call: CallRecord) -> tuple[Exit, str]:
    if call.state is CallState.DONE:
        return Exit.DONE, f"✓ Concluída: protocolo {call.protocolo or '-'}"
    if not call.state.open:
        state = state_words(call.state)
        return Exit.REFUSED, f"✗ A nova tentativa não abriu o ticket: {state}, {call.error}"
    # An earlier attempt is looked up first: the daemon holds the call, which is still `received`.
    if call.state is CallState.RUNNING or call.owner is not None:
        return Exit.DONE, f"… O worker assumiu a chamada; acompanhe: ticket-worker calls show {call.call_id}"
    return Exit.ACCEPTED, NOT_TAKEN_UP


def _masked(call: CallRecord, settings: Settings) -> dict[str, object]:
    """The request of a ticket (contract §4) or a forwarded tool (§5), with personal values masked."""
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
            *(each.call_id, each.conversation_id, each.received_at, listed_state(each.state, each.dismissed)),
            *(_request_words(each), each.protocolo or each.error),
        )
        for each in calls
    )
    return listing(console, names, rows)


def _request_words(call: Call) -> str:
    return " / ".join(filter(None, (call.setor or call.tool, call.motivo or call.departamento)))


def _timeline(steps: Sequence[Step]) -> Table:
    rows = table("quando", "o que aconteceu")
    for step in steps:
        rows.add_row(*cells(step.at, _STEPS[step.event].format(attempt=step.attempt, result=step.result)))
    return rows
