"""Log lines and counters of a call, one per transition (contract §7, §9).

The lines of a ticket are the mission's own.
"""

from collections.abc import Iterable, Mapping

from worker import logs, metrics
from worker.model import CallRecord, CallState, Conversation, Outcome, Rejection, Run, ToolCall, ToolKind


class Instrumentation:
    """Writes the log line and counts the metric of each transition."""

    def __init__(self, own_tools: Iterable[str]) -> None:
        """`own_tools`: the worker's own tools. Other names come from the model and become no label."""
        self._own_tools = frozenset(own_tools)

    def received(self, run: Run, call: ToolCall, kind: ToolKind, conversation: Conversation | None) -> None:
        """A new call was received."""
        ids = _ids_of_new(run, call)
        if kind is not ToolKind.TICKET:
            logs.event(
                "→ [AI Tool Handler] Chamada recebida | tool={tool}",
                tool=call.tool,
                run_id=run.ref.run_id,
                platform_call_id=call.platform_call_id,
            )
            return
        logs.ticket_started(**ids)
        if conversation is not None:
            logs.conversation_found(has_document=conversation.document is not None, **ids)

    def sending(self, call: CallRecord) -> None:
        """The first attempt begins."""
        if call.kind is ToolKind.TICKET:
            logs.calling_crm(call.setor, call.motivo, **_ids(call))

    def attempt_failed(self, call: CallRecord, attempt: int, detail: str, *, certain: bool) -> None:
        """One attempt has failed; another may follow."""
        metrics.attempts_failed.labels(self._label(call.tool), str(certain).lower()).inc()
        logs.event(
            "↻ [AI Tool Handler] Tentativa sem resposta útil | tool={tool} attempt={attempt} code={code} "
            "conversationId={conversation_id}",
            level="WARNING",
            tool=call.tool,
            attempt=attempt,
            code=detail,
            conversation_id=call.conversation_id,
            run_id=call.run_id,
            call_id=call.call_id,
            platform_call_id=call.platform_call_id,
        )

    def settled(self, call: CallRecord, outcome: Outcome, *, duration_ms: int) -> None:
        """The outcome of a call is recorded; it may come from an equal call."""
        metrics.calls.labels(self._label(call.tool), outcome.state).inc()
        if outcome.protocolo not in (None, call.protocolo):
            metrics.duplicate_tickets.inc()
            logs.event(
                "! segundo ticket de uma chamada | call_id={call_id}",
                level="ERROR",
                run_id=call.run_id,
                call_id=call.call_id,
                platform_call_id=call.platform_call_id,
            )
        if outcome.state is not CallState.DONE:
            self.refused(call, outcome.error)
        elif call.waits:
            self.replayed(call)
        elif call.kind is ToolKind.TICKET:
            metrics.ticket_seconds.observe(duration_ms / 1000)
            logs.ticket_opened(
                call.protocolo,
                call.setor,
                call.motivo,
                call.conversation_id,
                duration_ms=duration_ms,
                **_ids(call),
            )

    def rejected(self, run: Run, call: ToolCall, kind: ToolKind, rejection: Rejection) -> None:
        """A new call is answered at once, without success."""
        _log_refusal(
            call.tool,
            kind,
            rejection.code,
            setor=rejection.setor,
            conversation_id=run.conversation_id,
            ids=_ids_of_new(run, call),
        )

    def refused(self, call: CallRecord, code: str | None) -> None:
        """The model's answer is not a success."""
        _log_refusal(
            call.tool,
            call.kind,
            code,
            setor=call.setor,
            conversation_id=call.conversation_id,
            ids=_ids(call),
        )

    def replayed(self, call: CallRecord) -> None:
        """A stored answer is used again, for the same call or for an equal one."""
        metrics.answers_reused.inc()
        if call.kind is ToolKind.TICKET and call.answered_success:
            logs.ticket_reused(call.protocolo, call.conversation_id, **_ids(call))

    def _label(self, tool: str) -> str:
        return tool if tool in self._own_tools else "other"


def _log_refusal(
    tool: str,
    kind: ToolKind,
    code: str | None,
    *,
    setor: str | None,
    conversation_id: str,
    ids: Mapping[str, str],
) -> None:
    if kind is ToolKind.TICKET:
        logs.ticket_error(code, setor, conversation_id, **ids)
        return
    logs.event(
        "❌ [AI Tool Handler] Erro na função | tool={tool} code={code} conversationId={conversation_id}",
        level="WARNING",
        tool=tool,
        code=code,
        conversation_id=conversation_id,
        run_id=ids["run_id"],
        call_id=ids.get("call_id"),
        platform_call_id=ids["platform_call_id"],
    )


def _ids(call: CallRecord) -> dict[str, str]:
    """The ids by which an operator finds a call here and at the platform."""
    return {"run_id": call.run_id, "call_id": call.call_id, "platform_call_id": call.platform_call_id}


def _ids_of_new(run: Run, call: ToolCall) -> dict[str, str]:
    """The ids of a call that the ledger has no id for yet."""
    return {"run_id": run.ref.run_id, "platform_call_id": call.platform_call_id}
