"""The log (contract §9): constant sentences with values from an allow-list of fields.

A value without the form of its field is written as `-`. Of an exception the log has class, codes and frames;
of another library's message, the template. The remaining free text passes a last filter (`lastresort`), which
should find nothing.
"""

import asyncio
import atexit
import contextlib
from collections.abc import Collection, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Any, LiteralString

from worker.log_fields import FIELDS, Hasher, LogValue, as_text, context, reduced
from worker.logs import foreign, sinks
from worker.logs.sinks import Format, Level, places

__all__ = [
    "FIELDS",
    "as_text",
    "calling_crm",
    "conversation_found",
    "event",
    "failure",
    "loop_exception_handler",
    "setup",
    "shutdown",
    "ticket_error",
    "ticket_opened",
    "ticket_reused",
    "ticket_started",
    "use_hasher",
]

_installed = contextlib.ExitStack()


def setup(
    *,
    level: Level = "INFO",
    fmt: Format = "text",
    directory: Path | None = None,
    hasher: Hasher | None = None,
    words: Mapping[str, Collection[str]] | None = None,
    zone: tzinfo | None = None,
) -> Path | None:
    """Begin to log: to stderr and, with a `directory`, to the file that is returned.

    `hasher` (or `use_hasher`, once the database is open) hashes ids that could be personal. Without it these
    are `-`. `words`: the values allowed in `setor`, `motivo`, `departamento` and `tool`; any other is `-`.
    `zone`: the time zone of the lines (TIMEZONE). Also takes over stdlib loggers,
    warnings and crashes. Raises `ConfigError` when the directory cannot be written.
    """
    shutdown()
    sinks.forget_repetitions()
    context.hasher, context.words, context.zone = hasher, words or {}, zone
    try:
        path = sinks.open_sinks(_installed, level, fmt, directory)
        foreign.install(_installed, level)
    except BaseException:
        shutdown()
        raise
    return path


def use_hasher(hasher: Hasher) -> None:
    """From now on, ids that could be personal are written as their keyed hash."""
    context.hasher = hasher


def shutdown() -> None:
    """Close the file and restore what `setup` replaced. Runs at exit as well, after a crash is logged.

    Before `setup` and after `shutdown`, events go to stderr.
    """
    _installed.close()
    context.hasher, context.words, context.zone = None, {}, None


sinks.only_stderr()
atexit.register(shutdown)

# ------------------------------------------------------------------------------------------------- events


def event(
    message: LiteralString, *, level: Level = "INFO", throttled: bool = False, **fields: object
) -> None:
    """Write one line. `message` is a constant; its `{field}` places are filled, other fields are appended.

    `throttled`: at most once a minute with the same fields.
    Raises `TypeError` for a field that is not in `FIELDS`, and for a place whose field is not given.
    """
    write = sinks.emit_throttled if throttled else sinks.emit
    write(level, message, _allowed_values(message, fields), places(message))


def failure(message: LiteralString, error: BaseException, **fields: object) -> None:
    """Write one line about an exception: class, codes, frames and causes, never its message or a value.

    The same line is written at most once a minute.
    """
    values = {**_allowed_values(message, fields), "error": reduced(error)}
    sinks.emit_throttled("ERROR", message, values, places(message))


def _allowed_values(message: str, fields: Mapping[str, object]) -> dict[str, LogValue]:
    if unknown := fields.keys() - FIELDS.keys():
        raise TypeError(f"not a log field: {', '.join(sorted(unknown))}")
    if missing := places(message) - fields.keys():
        raise TypeError(f"log fields not given: {', '.join(sorted(missing))}")
    return {name: FIELDS[name](value) for name, value in fields.items()}


def loop_exception_handler(_loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
    """For `loop.set_exception_handler`: log an exception that no task received."""
    foreign.crashed("Erro não tratado no laço asyncio", about.get("exception"))


# ------------------------------------------------------------------------------- the lines of contract §9
#
# `ids`: run_id, call_id and platform_call_id, as far as they exist.


def _ticket_line(
    message: LiteralString, ids: Mapping[str, object], *, level: Level = "INFO", **fields: object
) -> None:
    """Write one line of a ticket. Its text is fixed, so `ids` appear only in JSON lines."""
    sinks.emit(level, message, _allowed_values(message, {**fields, **ids}), places(message) | ids.keys())


def ticket_started(**ids: object) -> None:
    """Work on an `abrir_ticket_crm` call begins."""
    _ticket_line("🎫 [AI Tool Handler] Iniciando abertura de ticket", ids)


def conversation_found(has_document: bool, **ids: object) -> None:
    """The store has the call's conversation, with or without a document."""
    if has_document:
        _ticket_line("🎫 [AI Tool Handler] Conversa encontrada. clientDocument: SIM", ids)
    else:
        _ticket_line("🎫 [AI Tool Handler] Conversa encontrada. clientDocument: NÃO", ids)


def calling_crm(setor: str | None, motivo: str | None, **ids: object) -> None:
    """The first attempt of a call begins."""
    _ticket_line(
        '🎫 [AI Tool Handler] Chamando abrirTicketCRM... setor={setor} motivo="{motivo}"',
        ids,
        setor=setor,
        motivo=motivo,
    )


def ticket_opened(
    protocolo: str | None,
    setor: str | None,
    motivo: str | None,
    conversation_id: str,
    duration_ms: float,
    **ids: object,
) -> None:
    """The CRM opened the ticket."""
    _ticket_line(
        "✅ [AI Tool Handler] Ticket aberto com sucesso - Protocolo: {protocolo}", ids, protocolo=protocolo
    )
    _ticket_line(
        '🎫 [AI Tool Handler] Ticket aberto com sucesso | setor={setor} motivo="{motivo}" '
        "conversationId={conversation_id} duration_ms={duration_ms}",
        ids,
        setor=setor,
        motivo=motivo,
        conversation_id=conversation_id,
        duration_ms=duration_ms,
    )


def ticket_error(code: str | None, setor: str | None, conversation_id: str, **ids: object) -> None:
    """The model gets an error for an answer."""
    _ticket_line(
        "❌ [AI Tool Handler] Erro ao abrir ticket | code={code} setor={setor} "
        "conversationId={conversation_id}",
        ids,
        level="WARNING",
        code=code,
        setor=setor,
        conversation_id=conversation_id,
    )


def ticket_reused(protocolo: str | None, conversation_id: str, **ids: object) -> None:
    """A replayed call, or an equal one, is answered with an existing ticket."""
    _ticket_line(
        "♻️ [AI Tool Handler] Ticket reaproveitado | protocolo={protocolo} conversationId={conversation_id}",
        ids,
        protocolo=protocolo,
        conversation_id=conversation_id,
    )
