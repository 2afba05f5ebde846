"""What a caller is shown (contract §3): the JSON forms of the store's views, without payload."""

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from worker.model import CallState, EventState, ReplySource, RunState
from worker.personal import Personal
from worker.privacy import mask_document
from worker.replies import Code, Finding, instruction_for
from worker.views import (
    AttemptView,
    CallPayload,
    CallView,
    ConversationView,
    Dismissal,
    DismissReason,
    Erasure,
    EventView,
    HandoffState,
    HandoffView,
    ReplyView,
    RunSummary,
    RunView,
)

_EXAMPLE_TIME = "2025-10-27T15:34:00.250000-03:00"


def _time(seconds: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(seconds, zone)


def _maybe(seconds: float | None, zone: tzinfo) -> datetime | None:
    return None if seconds is None else _time(seconds, zone)


def _revealed(value: Personal | None) -> str | None:
    return None if value is None else value.reveal()


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class Conversation(_Shown):
    """Uma conversa como o bot a registrou; o documento vem mascarado."""

    conversation_id: str = Field(examples=["conv-1"])
    thread_id: str | None = Field(examples=["thread_abc123"])
    assistant: str | None = Field(examples=["FINANCEIRO"])
    client_document: str | None = Field(description="Mascarado.", examples=["***.982.247-**"])
    contact: str | None = Field(repr=False, examples=["5524900000000"])
    attachment_url: str | None = Field(repr=False, examples=["https://arquivos.example/comprovante.jpg"])
    attachment_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    created_at: datetime = Field(examples=[_EXAMPLE_TIME])
    updated_at: datetime = Field(examples=[_EXAMPLE_TIME])

    @classmethod
    def of(cls, view: ConversationView, zone: tzinfo) -> Self:
        return cls(
            conversation_id=view.conversation_id,
            thread_id=view.thread_id,
            assistant=view.assistant,
            client_document=None if view.document is None else mask_document(view.document),
            contact=_revealed(view.contact),
            attachment_url=_revealed(view.attachment_url),
            attachment_at=_maybe(view.attachment_at, zone),
            created_at=_time(view.created_at, zone),
            updated_at=_time(view.updated_at, zone),
        )


class Step(_Shown):
    """Um passo da vida de uma chamada."""

    at: datetime = Field(examples=[_EXAMPLE_TIME])
    event: Literal["received", "attempt_begun", "attempt_ended", "finished", "answered", "submitted"]
    attempt: int | None = Field(None, description="Só nos passos de uma tentativa.")
    result: str | None = Field(None, description="Como a tentativa terminou.", examples=["http_503"])


class Dismissed(_Shown):
    """Quem decidiu que não precisa mais de uma pessoa, quando e por quê."""

    reason: DismissReason
    by: str = Field(examples=["ana@10.0.0.7"])
    at: datetime = Field(examples=[_EXAMPLE_TIME])

    @classmethod
    def of(cls, view: Dismissal | None, zone: tzinfo) -> Self | None:
        return None if view is None else cls(reason=view.reason, by=view.by, at=_time(view.at, zone))


class Call(_Shown):
    """Uma chamada de função do modelo, como está registrada."""

    call_id: str = Field(description="Do worker; os ids da plataforma se repetem.", examples=["tc_01"])
    platform_call_id: str = Field(examples=["call_abc123"])
    run_id: str = Field(examples=["run_abc123"])
    conversation_id: str = Field(examples=["conv-1"])
    tool: str = Field(examples=["abrir_ticket_crm"])
    state: CallState
    error: str | None = Field(description="O código dado ao modelo.", examples=["crm_indisponivel"])
    protocolo: str | None = Field(examples=["2510271534789012"])
    setor: str | None = Field(examples=["FINANCEIRO"])
    motivo: str | None = Field(examples=["INFORMAR PAGAMENTO"])
    departamento: str | None = Field(examples=["financeiro"])
    attempts: int = Field(description="Quantas vezes o pedido foi enviado.", examples=[1])
    equal_to: str | None = Field(description="A chamada igual que já valia, se houve.", examples=["tc_00"])
    received_at: datetime = Field(examples=[_EXAMPLE_TIME])
    finished_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    submitted_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    dismissed: Dismissed | None = Field(description="Se alguém a dispensou.")
    timeline: list[Step] = Field(description="Do mais antigo ao mais novo.")

    @classmethod
    def of(cls, view: CallView, zone: tzinfo) -> Self:
        return cls(
            call_id=view.call_id,
            platform_call_id=view.platform_call_id,
            run_id=view.run_id,
            conversation_id=view.conversation_id,
            tool=view.tool,
            state=view.state,
            error=view.error,
            protocolo=view.protocolo,
            setor=view.setor,
            motivo=view.motivo,
            departamento=view.departamento,
            attempts=len(view.attempts),
            equal_to=view.equal_to,
            received_at=_time(view.received_at, zone),
            finished_at=_maybe(view.finished_at, zone),
            submitted_at=_maybe(view.submitted_at, zone),
            dismissed=Dismissed.of(view.dismissal, zone),
            timeline=sorted(_steps(view, zone), key=lambda step: step.at),
        )


def _steps(view: CallView, zone: tzinfo) -> Iterator[Step]:
    """In the order in which they happen, so that equal times keep it."""
    yield Step(at=_time(view.received_at, zone), event="received")
    for attempt in view.attempts:
        yield from _attempt(attempt, zone)
    if view.finished_at is not None:
        yield Step(at=_time(view.finished_at, zone), event="finished")
    if view.answered_at is not None:
        yield Step(at=_time(view.answered_at, zone), event="answered")
    if view.submitted_at is not None:
        yield Step(at=_time(view.submitted_at, zone), event="submitted")


def _attempt(view: AttemptView, zone: tzinfo) -> Iterator[Step]:
    yield Step(at=_time(view.begun_at, zone), event="attempt_begun", attempt=view.attempt)
    if view.ended_at is not None:
        yield Step(
            at=_time(view.ended_at, zone), event="attempt_ended", attempt=view.attempt, result=view.result
        )


class Run(_Shown):
    """Uma execução acompanhada e as chamadas que ela fez."""

    run_id: str = Field(examples=["run_abc123"])
    conversation_id: str = Field(examples=["conv-1"])
    thread_id: str | None = Field(examples=["thread_abc123"])
    state: RunState
    platform_status: str | None = Field(description="A palavra da plataforma.", examples=["completed"])
    reason: str | None = Field(description="Por que terminou ou se perdeu.", examples=["isolamento"])
    continues_as: str | None = Field(
        description="O id com que a conversa segue, onde ele muda.", examples=["resp_def456"]
    )
    calls: list[Call]

    @classmethod
    def of(cls, view: RunView, zone: tzinfo) -> Self:
        return cls(
            run_id=view.run_id,
            conversation_id=view.conversation_id,
            thread_id=view.thread_id,
            state=view.state,
            platform_status=view.platform_status,
            reason=view.reason,
            continues_as=view.continues_as,
            calls=[Call.of(call, zone) for call in view.calls],
        )


class ListedRun(_Shown):
    """Uma execução, sem as chamadas que ela fez."""

    run_id: str = Field(examples=["run_abc123"])
    conversation_id: str = Field(examples=["conv-1"])
    thread_id: str | None = Field(examples=["thread_abc123"])
    state: RunState
    platform_status: str | None = Field(description="A palavra da plataforma.", examples=["expired"])
    reason: str | None = Field(description="Por que terminou ou se perdeu.", examples=["expirada"])
    continues_as: str | None = Field(
        description="O id com que a conversa segue, onde ele muda.", examples=["resp_def456"]
    )
    registered_at: datetime = Field(examples=[_EXAMPLE_TIME])
    closed_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    dismissed: Dismissed | None = Field(description="Se alguém a dispensou.")

    @classmethod
    def of(cls, view: RunSummary, zone: tzinfo) -> Self:
        return cls(
            run_id=view.run_id,
            conversation_id=view.conversation_id,
            thread_id=view.thread_id,
            state=view.state,
            platform_status=view.platform_status,
            reason=view.reason,
            continues_as=view.continues_as,
            registered_at=_time(view.registered_at, zone),
            closed_at=_maybe(view.closed_at, zone),
            dismissed=Dismissed.of(view.dismissal, zone),
        )


class Event(_Shown):
    """Um aviso ao bot."""

    event_id: str = Field(examples=["msg_01"])
    type: str = Field(examples=["ticket.opened"])
    conversation_id: str = Field(examples=["conv-1"])
    state: EventState
    created_at: datetime = Field(examples=[_EXAMPLE_TIME])
    due_at: datetime | None = Field(
        description="A próxima entrega; só em `pending`.", examples=[_EXAMPLE_TIME]
    )
    tries: int = Field(description="Entregas que não deram certo.", examples=[3])
    result: str | None = Field(description="Como terminou a última entrega.", examples=["http_503"])
    delivered_at: datetime | None = Field(examples=[_EXAMPLE_TIME])

    @classmethod
    def of(cls, view: EventView, zone: tzinfo) -> Self:
        return cls(
            event_id=view.event_id,
            type=view.kind,
            conversation_id=view.conversation_id,
            state=view.state,
            created_at=_time(view.created_at, zone),
            due_at=_maybe(view.due, zone),
            tries=view.tries,
            result=view.result,
            delivered_at=_maybe(view.delivered_at, zone),
        )


class Payload(_Shown):
    """O conteúdo pessoal de uma chamada, como está guardado; quem o leu fica registrado."""

    document: str | None = Field(repr=False, examples=["52998224725"])
    contact: str | None = Field(repr=False, examples=["5524900000000"])
    resumo: str | None = Field(
        repr=False, description="Como o CRM o recebe.", examples=["Cliente enviou o comprovante"]
    )
    receipt: str | None = Field(repr=False, examples=["https://arquivos.example/comprovante.jpg"])

    @classmethod
    def of(cls, view: CallPayload) -> Self:
        return cls(
            document=_revealed(view.document),
            contact=_revealed(view.contact),
            resumo=_revealed(view.resumo),
            receipt=_revealed(view.receipt),
        )


class RefusedRetry(_Shown):
    """Uma chamada que não pode ser enviada de novo, e por quê."""

    call_id: str = Field(examples=["tc_01"])
    code: str = Field(examples=["payload_expirado"])


class Retries(_Shown):
    """O que foi pedido."""

    requested: int = Field(description="Quantas chamadas serão enviadas de novo.", examples=[38])
    refused: list[RefusedRetry]


class RetriedEvents(_Shown):
    """O que foi pedido."""

    requested: int = Field(description="Quantos avisos serão entregues de novo.", examples=[12])


class ReplyFinding(_Shown):
    """Algo que a resposta diz e que não aconteceu."""

    code: Code
    start: int = Field(description="Onde começa no texto, em pontos de código Unicode.", examples=[41])
    end: int = Field(description="Onde termina, sem incluí-lo.", examples=[57])


class ReplyVerdict(_Shown):
    """O que a conferência de uma resposta achou."""

    ok: bool
    findings: list[ReplyFinding] = Field(description="Na ordem do texto; um por frase e código.")
    instrucao: str | None = Field(
        description="O que dizer ao modelo antes de tentar de novo; null quando `ok`.",
        examples=["Nenhum ticket com esse protocolo foi aberto nesta conversa. …"],
    )

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Self:
        shown = [ReplyFinding(code=each.code, start=each.start, end=each.end) for each in findings]
        return cls(ok=not shown, findings=shown, instrucao=instruction_for(findings))


class SuspectReply(_Shown):
    """Uma resposta que diz o que não aconteceu; o texto não é guardado."""

    conversation_id: str = Field(examples=["conv-1"])
    run_id: str | None = Field(description="Se o bot a informou.", examples=["run_abc123"])
    codes: list[str] = Field(examples=[["ticket_nao_aberto"]])
    source: ReplySource = Field(description="`api`: a pedido do bot. `run`: ao fim da execução.")
    checked_at: datetime = Field(examples=[_EXAMPLE_TIME])

    @classmethod
    def of(cls, view: ReplyView, zone: tzinfo) -> Self:
        return cls(
            conversation_id=view.conversation_id,
            run_id=view.run_id,
            codes=list(view.codes),
            source=view.source,
            checked_at=_time(view.checked_at, zone),
        )


class SuspectReplyPage(_Shown):
    """Respostas sem lastro, da mais nova à mais antiga."""

    items: list[SuspectReply]
    next_cursor: str | None = Field(description="Para a próxima página; null na última.")


class Handoff(_Shown):
    """Um pedido de atendimento humano."""

    handoff_id: str = Field(examples=["ho_01"])
    conversation_id: str = Field(examples=["conv-1"])
    call_id: str = Field(examples=["tc_01"])
    departamento: str = Field(examples=["financeiro"])
    state: HandoffState
    requested_at: datetime = Field(examples=[_EXAMPLE_TIME])
    accepted_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    closed_at: datetime | None = Field(examples=[_EXAMPLE_TIME])
    returned_at: datetime | None = Field(
        description="Quando a conversa voltou ao bot.", examples=[_EXAMPLE_TIME]
    )
    opens_at: datetime | None = Field(
        description="Quando o atendimento volta, se o pedido chegou fora do horário; null dentro dele.",
        examples=[_EXAMPLE_TIME],
    )
    due_at: datetime | None = Field(
        description="Até quando alguém deveria assumir (HANDOFF_SLA_S, em horas de atendimento).",
        examples=[_EXAMPLE_TIME],
    )
    overdue: bool = Field(description="Ninguém assumiu nem encerrou até due_at.", examples=[False])
    waiting_s: float = Field(description="Segundos à espera de alguém.", examples=[42.0])

    @classmethod
    def of(cls, view: HandoffView, zone: tzinfo) -> Self:
        return cls(
            handoff_id=view.handoff_id,
            conversation_id=view.conversation_id,
            call_id=view.call_id,
            departamento=view.departamento,
            state=view.state,
            requested_at=_time(view.requested_at, zone),
            accepted_at=_maybe(view.accepted_at, zone),
            closed_at=_maybe(view.closed_at, zone),
            returned_at=_maybe(view.returned_at, zone),
            opens_at=_maybe(view.opens_at, zone),
            due_at=_maybe(view.due_at, zone),
            overdue=view.overdue,
            waiting_s=view.waiting_s,
        )


class HandoffDetail(Handoff):
    """O pedido com o motivo que o modelo escreveu; quem o leu fica registrado."""

    motivo: str | None = Field(None, repr=False, examples=["Verificação de comprovante"])

    @classmethod
    def of(cls, view: HandoffView, zone: tzinfo) -> Self:
        return super().of(view, zone).model_copy(update={"motivo": _revealed(view.motivo)})


class CallPage(_Shown):
    """Chamadas, da mais nova à mais antiga."""

    items: list[Call]
    next_cursor: str | None = Field(
        description="Para a próxima página; null na última.", examples=["WzE3NjE1OTAwNDAuMjUsICJ0Y18xIl0"]
    )


class RunPage(_Shown):
    """Execuções, da mais nova à mais antiga."""

    items: list[ListedRun]
    next_cursor: str | None = Field(
        description="Para a próxima página; null na última.", examples=["WzE3NjE1OTAwNDAuMjUsICJ0Y18xIl0"]
    )


class EventPage(_Shown):
    """Avisos ao bot, do mais novo ao mais antigo."""

    items: list[Event]
    next_cursor: str | None = Field(
        description="Para a próxima página; null na última.", examples=["WzE3NjE1OTAwNDAuMjUsICJ0Y18xIl0"]
    )


class HandoffPage(_Shown):
    """Pedidos de atendimento humano, do mais novo ao mais antigo."""

    items: list[Handoff]
    next_cursor: str | None = Field(
        description="Para a próxima página; null na última.", examples=["WzE3NjE1OTAwNDAuMjUsICJ0Y18xIl0"]
    )


class Health(_Shown):
    """O processo responde."""

    status: Literal["ok"] = "ok"


# -------------------------------------------------------------------------------------------- erasures

_RECORD = "registro legal, sem conteúdo: até RETENTION_RECORD_DAYS"
_WHY = {
    "in_flight": "pedidos já em andamento: o conteúdo é apagado com o resultado",
    "replayable": "respostas que a plataforma ainda pode pedir: apagadas quando a execução terminar",
    "runs": _RECORD,
    "calls": f"{_RECORD}; guardam protocolo, setor, motivo, horários e o hash do documento",
    "handoffs": _RECORD,
    "replies": "conferências de respostas, só com códigos e horários: até RETENTION_RECORD_DAYS",
    "events": "avisos ao bot, só com identificadores e códigos: até serem entregues e o prazo passar",
}
_GONE = ("documents", "contacts", "receipts", "requests", "answers", "motivos")


class Kept(BaseModel):
    """Algo que ficou, e por quê."""

    what: str = Field(examples=["calls"])
    count: int = Field(examples=[2])
    why: str = Field(examples=[_WHY["calls"]])

    model_config = ConfigDict(frozen=True)


class ErasureReport(BaseModel):
    """O que foi apagado e o que ficou."""

    erased: dict[str, int] = Field(
        description="Quantos documentos, contatos, comprovantes, pedidos, respostas e motivos.",
        examples=[dict.fromkeys(_GONE, 1)],
    )
    kept: list[Kept]

    model_config = ConfigDict(frozen=True)

    @classmethod
    def of(cls, erasure: Erasure) -> Self:
        left = {what: getattr(erasure, what) for what in _WHY}
        return cls(
            erased={what: getattr(erasure, what) for what in _GONE},
            kept=[Kept(what=what, count=count, why=_WHY[what]) for what, count in left.items() if count],
        )
