"""What log and metrics tell of a call, transition by transition (contract §7, §9).

The ticket's lines are the mission's own.
"""

from worker import logs, metrics
from worker.kpis import TICKET
from worker.model import CallRecord, CallState, Conversation, Outcome

_OURS = frozenset({TICKET, "transferir_para_humano"})


def received(tool: str, conversation: Conversation | None) -> None:
    """A call is looked at for the first time."""
    if tool != TICKET:
        logs.event("→ [AI Tool Handler] Chamada recebida | tool={tool}", tool=tool)
        return
    logs.ticket_started()
    if conversation is not None:
        logs.conversation_found(has_document=conversation.document is not None)


def sending(call: CallRecord) -> None:
    """The first attempt begins."""
    if call.tool == TICKET:
        logs.calling_crm(call.setor, call.motivo)


def attempt_failed(call: CallRecord, attempt: int, detail: str, *, certain: bool) -> None:
    """One attempt has failed; another may follow."""
    metrics.attempts_failed.labels(_label(call.tool), str(certain).lower()).inc()
    logs.event(
        "↻ [AI Tool Handler] Tentativa sem resposta útil | tool={tool} attempt={attempt} code={code} "
        "conversationId={conversation_id}",
        level="WARNING",
        tool=call.tool,
        attempt=attempt,
        code=detail,
        conversation_id=call.conversation_id,
    )


def settled(call: CallRecord, outcome: Outcome, *, duration_ms: int) -> None:
    """A call has its outcome; a call that waited for an equal one was answered with that one's."""
    metrics.calls.labels(_label(call.tool), outcome.state).inc()
    if outcome.protocolo not in (None, call.protocolo):
        metrics.duplicate_tickets.inc()
        logs.event("! segundo ticket de uma chamada | call_id={call_id}", level="ERROR", call_id=call.call_id)
    if outcome.state is not CallState.DONE:
        refused(call.tool, outcome.error, call.setor, call.conversation_id)
    elif call.waits:
        replayed(call)
    elif call.tool == TICKET:
        metrics.ticket_seconds.observe(duration_ms / 1000)
        logs.ticket_opened(
            call.protocolo, call.setor, call.motivo, call.conversation_id, duration_ms=duration_ms
        )


def refused(tool: str, code: str | None, setor: str | None, conversation_id: str) -> None:
    """The model is answered something else than a success."""
    if tool == TICKET:
        logs.ticket_error(code, setor, conversation_id)
    else:
        logs.event(
            "❌ [AI Tool Handler] Erro na função | tool={tool} code={code} conversationId={conversation_id}",
            level="WARNING",
            tool=tool,
            code=code,
            conversation_id=conversation_id,
        )


def replayed(call: CallRecord) -> None:
    """A success is told again: the same call after a restart, or an equal one."""
    metrics.answers_reused.inc()
    if call.tool == TICKET and call.answered_success:
        logs.ticket_reused(call.protocolo, call.conversation_id)


def _label(tool: str) -> str:
    """A tool of the bot's is named by the model: its name is no label."""
    return tool if tool in _OURS else "other"
