"""`erase`, `export` and `rekey`: a person's data (contract §1).

Every verb returns its exit code and raises `ConfigError`, `RequestRefused` and `StoreError`.
"""

import getpass
import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from worker.cli.database import NO_DAEMON, NOT_TAKEN_UP, beside, daemon_lives, reader, wait_for_daemon
from worker.cli.exit_codes import Exit
from worker.errors import ConfigError
from worker.personal import Personal
from worker.ports import Clock
from worker.privacy import parse_document
from worker.settings import Settings
from worker.store.personal_data.rekey import Rekey, RekeyCounts
from worker.store.store import Store
from worker.web.responses import ErasureReport

_PASSES = 3
_LONGEST = 4096
"""Most characters that are read from standard input, where one document is expected."""

_GONE = {
    "documents": "documentos",
    "contacts": "contatos",
    "receipts": "comprovantes",
    "requests": "pedidos",
    "answers": "respostas",
    "motivos": "motivos de transferência",
}
_KEPT = {
    "in_flight": "pedidos em andamento",
    "replayable": "respostas de execuções em andamento",
    "runs": "execuções",
    "calls": "chamadas",
    "handoffs": "pedidos de atendimento humano",
    "replies": "respostas conferidas",
    "events": "avisos ao bot",
}


# ------------------------------------------------------------------------------------------------ erasing


async def erase(
    settings: Settings, console: Console, conversation_id: str | None, clock: Clock, *, as_json: bool
) -> Exit:
    """Ask the daemon to erase a conversation or a document. Waits 30 s for the report at most."""
    document = _document() if conversation_id is None else None
    async with beside(settings) as store:
        if document is not None:
            erasure_id = await store.erasures.request_document(document, by=reader())
        else:
            erasure_id = await store.erasures.request_conversation(conversation_id or "", by=reader())
        if not await daemon_lives(store):
            console.print(NO_DAEMON, soft_wrap=True)
            return Exit.ACCEPTED
        with console.status("Aguardando o worker…"):
            erasure = await wait_for_daemon(
                lambda: store.erasures.outcome(erasure_id), lambda seen: seen is not None, clock
            )
    if erasure is None:
        console.print(NOT_TAKEN_UP, soft_wrap=True)
        return Exit.ACCEPTED
    _report(ErasureReport.of(erasure), console, as_json=as_json)
    return Exit.DONE


def _report(report: ErasureReport, console: Console, *, as_json: bool) -> None:
    if as_json:
        console.out(report.model_dump_json(indent=2), highlight=False)
        return
    gone = ", ".join(f"{_GONE[what]} {count}" for what, count in report.erased.items() if count)
    console.print(f"✓ Apagado: {gone or 'nada havia além do registro'}", soft_wrap=True)
    for kept in report.kept:
        console.print(f"  Ficou: {_KEPT[kept.what]} {kept.count} ({kept.why})", soft_wrap=True)


def _document() -> Personal:
    """From standard input; at a terminal nothing shows while it is typed. Raises `ConfigError`.

    More than one document is refused, so that no one believes the second was processed.
    """
    asking = sys.stdin.isatty()
    text = getpass.getpass("CPF ou CNPJ: ") if asking else sys.stdin.read(_LONGEST)
    if len(text.split()) > 1:
        raise ConfigError("A entrada padrão tem mais de um documento: nada foi feito; envie um de cada vez")
    found = parse_document(text)
    if found is None:
        raise ConfigError("O que foi lido da entrada padrão não é um CPF ou CNPJ válido")
    return found


# ---------------------------------------------------------------------------------------------- exporting


async def export(settings: Settings, console: Console) -> Exit:
    """Print all data of a document as JSON. The access log records the reading."""
    document, zone = _document(), ZoneInfo(settings.TIMEZONE)
    async with beside(settings) as store:
        held = await store.export.of_document(document, reader=reader())
    tables = {table: [_row(row, zone) for row in rows] for table, rows in held.items()}
    console.out(json.dumps(tables, ensure_ascii=False, indent=2), highlight=False)
    return Exit.DONE


def _row(row: Mapping[str, Any], zone: ZoneInfo) -> dict[str, object]:
    return {name: _json_value(name, value, zone) for name, value in row.items()}


def _json_value(name: str, value: object, zone: ZoneInfo) -> object:
    if isinstance(value, Personal):
        return value.reveal()
    if isinstance(value, float) and (name == "at" or name.endswith("_at")):
        return datetime.fromtimestamp(value, zone).isoformat()
    return value


# ------------------------------------------------------------------------------------------------- rekeying


async def rekey(settings: Settings, console: Console) -> Exit:
    """Encrypt all values with the first key of DATA_KEYS, in passes until one changes nothing."""
    async with beside(settings) as store:
        if await _any_lacks_the_first_key(store, settings):
            console.print(
                "✗ Um worker em execução não tem a primeira chave de DATA_KEYS e não leria o que fosse "
                "cifrado com ela: reinicie todos com a chave nova e repita. Nada foi mudado",
                soft_wrap=True,
            )
            return Exit.REFUSED
        changed = 0
        for _ in range(_PASSES):
            done = await _walk(store.rekey, console)
            changed += done.changed
            if not done.changed and not done.overtaken:
                break
        await store.rekey.finish()
    return _print_rekeyed(console, changed, done)


async def _any_lacks_the_first_key(store: Store, settings: Settings) -> bool:
    (first,) = store.daemons.key_hashes(settings.data_keys[:1])
    return any(first not in daemon.report.keys for daemon in await store.daemons.living())


async def _walk(rekey: Rekey, console: Console) -> RekeyCounts:
    done = RekeyCounts()
    columns = TextColumn("Recifrando"), BarColumn(), MofNCompleteColumn(), TextColumn("linhas")
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=await rekey.rows())
        async for rows in rekey.walk(done):
            progress.advance(task, rows)
    return done


def _print_rekeyed(console: Console, changed: int, last: RekeyCounts) -> Exit:
    console.print(
        f"{changed} valores foram cifrados de novo com a primeira chave de DATA_KEYS", soft_wrap=True
    )
    if last.unreadable:
        problem = f"{last.unreadable} valores não abrem com nenhuma chave de DATA_KEYS e ficaram como estavam"
    elif last.changed or last.overtaken:
        problem = (
            "ainda se grava com outra chave: reinicie o worker com a chave nova em primeiro lugar e repita"
        )
    else:
        console.print(
            "✓ Nenhum valor depende das outras chaves: elas podem sair de DATA_KEYS", soft_wrap=True
        )
        return Exit.DONE
    console.print(f"✗ {problem}", soft_wrap=True)
    return Exit.REFUSED
