"""Response bodies (contract §3): the JSON forms of the store's views, without payload."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from worker.model import CallState, EventState, ReplySource, RunState
from worker.personal import Personal
from worker.privacy import mask_document
from worker.replies import Code, Finding, instruction_for
from worker.views import DismissReason, Erasure, HandoffState, StepEvent

_EXAMPLE_TIME = "2025-10-27T15:34:00.250000-03:00"


def _in_zone(value: object, info: ValidationInfo) -> object:
    """Seconds since the epoch as a time in the zone that `of` was given."""
    if info.context is None or not isinstance(value, float | int):
        return value
    return datetime.fromtimestamp(value, info.context["zone"])


def _revealed(value: object) -> object:
    return value.reveal() if isinstance(value, Personal) else value


def _masked(value: object) -> object:
    return mask_document(value) if isinstance(value, Personal) else value


Moment = Annotated[datetime, BeforeValidator(_in_zone)]
"""A field that is in seconds since the epoch in the view."""

Revealed = Annotated[str | None, BeforeValidator(_revealed)]
"""A personal value that the answer shows."""

Masked = Annotated[str | None, BeforeValidator(_masked)]
"""A document of which the answer shows the middle."""


NextCursor = Annotated[
    str | None,
    Field(description="Para a próxima página; null na última.", examples=["WzE3NjE1OTAwNDAuMjUsICJ0Y18xIl0"]),
]


class _Representation(BaseModel):
    """The JSON form of a view: a field has the name it has there, or names it as `validation_alias`."""

    # A command builds only the models that it prints.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, from_attributes=True, defer_build=True)


class _InZone(_Representation):
    """A view with times in it."""

    @classmethod
    def of(cls, view: object, zone: tzinfo) -> Self:
        """`zone`: of every time in the answer (TIMEZONE)."""
        return cls.model_validate(view, context={"zone": zone})


class Conversation(_InZone):
    """Uma conversa como o bot a registrou; o documento vem mascarado."""

    conversation_id: str = Field(examples=["conv-1"])
    thread_id: str | None = Field(examples=["thread_abc123"])
    assistant: str | None = Field(examples=["FINANCEIRO"])
    client_document: Masked = Field(
        validation_alias="document", description="Mascarado.", examples=["***.982.247-**"]
    )
    contact: Revealed = Field(repr=False, examples=["5524900000000"])
    attachment_url: Revealed = Field(repr=False, examples=["https://arquivos.example/comprovante.jpg"])
    attachment_at: Moment | None = Field(examples=[_EXAMPLE_TIME])
    created_at: Moment = Field(examples=[_EXAMPLE_TIME])
    updated_at: Moment = Field(examples=[_EXAMPLE_TIME])


class Step(_InZone):
    """Um passo da vida de uma chamada."""

    at: Moment = Field(examples=[_EXAMPLE_TIME])
    event: StepEvent
    attempt: int | None = Field(None, description="Só nos passos de uma tentativa.")
    result: str | None = Field(None, description="Como a tentativa terminou.", examples=["http_503"])


class Dismissed(_InZone):
    """Quem decidiu que não precisa mais de uma pessoa, quando e por quê."""

    reason: DismissReason
    by: str = Field(examples=["ana@10.0.0.7"])
    at: Moment = Field(examples=[_EXAMPLE_TIME])


class Call(_InZone):
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
    attempts: Annotated[int, BeforeValidator(len)] = Field(
        description="Quantas vezes o pedido foi enviado.", examples=[1]
    )
    equal_to: str | None = Field(description="A chamada igual que já valia, se houve.", examples=["tc_00"])
    received_at: Moment = Field(examples=[_EXAMPLE_TIME])
    finished_at: Moment | None = Field(examples=[_EXAMPLE_TIME])
    submitted_at: Moment | None = Field(examples=[_EXAMPLE_TIME])
    dismissed: Dismissed | None = Field(validation_alias="dismissal", description="Se alguém a dispensou.")
    timeline: list[Step] = Field(description="Do mais antigo ao mais novo.")


class Run(_InZone):
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


class ListedRun(_InZone):
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
    registered_at: Moment = Field(examples=[_EXAMPLE_TIME])
    closed_at: Moment | None = Field(examples=[_EXAMPLE_TIME])
    dismissed: Dismissed | None = Field(validation_alias="dismissal", description="Se alguém a dispensou.")


class Event(_InZone):
    """Um aviso ao bot."""

    event_id: str = Field(examples=["msg_01"])
    type: str = Field(validation_alias="kind", examples=["ticket.opened"])
    conversation_id: str = Field(examples=["conv-1"])
    state: EventState
    created_at: Moment = Field(examples=[_EXAMPLE_TIME])
    due_at: Moment | None = Field(
        validation_alias="due", description="A próxima entrega; só em `pending`.", examples=[_EXAMPLE_TIME]
    )
    tries: int = Field(description="Entregas que não deram certo.", examples=[3])
    result: str | None = Field(description="Como terminou a última entrega.", examples=["http_503"])
    delivered_at: Moment | None = Field(examples=[_EXAMPLE_TIME])


class Payload(_Representation):
    """O conteúdo pessoal de uma chamada, como está guardado; quem o leu fica registrado."""

    document: Revealed = Field(repr=False, examples=["52998224725"])
    contact: Revealed = Field(repr=False, examples=["5524900000000"])
    resumo: Revealed = Field(
        repr=False, description="Como o CRM o recebe.", examples=["Cliente enviou o comprovante"]
    )
    receipt: Revealed = Field(repr=False, examples=["https://arquivos.example/comprovante.jpg"])


class RefusedRetry(_Representation):
    """Uma chamada que não pode ser enviada de novo, e por quê."""

    call_id: str = Field(examples=["tc_01"])
    code: str = Field(examples=["payload_expirado"])


class Retries(_Representation):
    """O que foi pedido."""

    requested: int = Field(description="Quantas chamadas serão enviadas de novo.", examples=[38])
    refused: list[RefusedRetry]


class RetriedEvents(_Representation):
    """O que foi pedido."""

    requested: int = Field(description="Quantos avisos serão entregues de novo.", examples=[12])


class ReplyFinding(_Representation):
    """Algo que a resposta diz e que não aconteceu."""

    code: Code
    start: int = Field(description="Onde começa no texto, em pontos de código Unicode.", examples=[41])
    end: int = Field(description="Onde termina, sem incluí-lo.", examples=[57])


class ReplyVerdict(_Representation):
    """O que a conferência de uma resposta achou."""

    ok: bool
    findings: list[ReplyFinding] = Field(description="Na ordem do texto; um por frase e código.")
    instrucao: str | None = Field(
        description="O que dizer ao modelo antes de tentar de novo; null quando `ok`.",
        examples=["Nenhum ticket com esse protocolo foi aberto nesta conversa. …"],
    )

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Self:
        claims = [ReplyFinding.model_validate(each) for each in findings]
        return cls(ok=not claims, findings=claims, instrucao=instruction_for(findings))


class SuspectReply(_InZone):
    """Uma resposta que diz o que não aconteceu; o texto não é guardado."""

    conversation_id: str = Field(examples=["conv-1"])
    run_id: str | None = Field(description="Se o bot a informou.", examples=["run_abc123"])
    codes: list[str] = Field(examples=[["ticket_nao_aberto"]])
    source: ReplySource = Field(description="`api`: a pedido do bot. `run`: ao fim da execução.")
    checked_at: Moment = Field(examples=[_EXAMPLE_TIME])


class SuspectReplyPage(_Representation):
    """Respostas sem lastro, da mais nova à mais antiga."""

    items: list[SuspectReply]
    next_cursor: str | None = Field(description="Para a próxima página; null na última.")


class Handoff(_InZone):
    """Um pedido de atendimento humano."""

    handoff_id: str = Field(examples=["ho_01"])
    conversation_id: str = Field(examples=["conv-1"])
    call_id: str = Field(examples=["tc_01"])
    departamento: str = Field(examples=["financeiro"])
    state: HandoffState
    requested_at: Moment = Field(examples=[_EXAMPLE_TIME])
    accepted_at: Moment | None = Field(examples=[_EXAMPLE_TIME])
    closed_at: Moment | None = Field(examples=[_EXAMPLE_TIME])
    returned_at: Moment | None = Field(
        description="Quando a conversa voltou ao bot.", examples=[_EXAMPLE_TIME]
    )
    opens_at: Moment | None = Field(
        description="Quando o atendimento volta, se o pedido chegou fora do horário; null dentro dele.",
        examples=[_EXAMPLE_TIME],
    )
    due_at: Moment | None = Field(
        description="Até quando alguém deveria assumir (HANDOFF_SLA_S, em horas de atendimento).",
        examples=[_EXAMPLE_TIME],
    )
    overdue: bool = Field(description="Ninguém assumiu nem encerrou até due_at.", examples=[False])
    waiting_s: float = Field(description="Segundos à espera de alguém.", examples=[42.0])


class HandoffDetail(Handoff):
    """O pedido com o motivo que o modelo escreveu; quem o leu fica registrado."""

    motivo: Revealed = Field(None, repr=False, examples=["Verificação de comprovante"])


class CallPage(_Representation):
    """Chamadas, da mais nova à mais antiga."""

    items: list[Call]
    next_cursor: NextCursor


class RunPage(_Representation):
    """Execuções, da mais nova à mais antiga."""

    items: list[ListedRun]
    next_cursor: NextCursor


class EventPage(_Representation):
    """Avisos ao bot, do mais novo ao mais antigo."""

    items: list[Event]
    next_cursor: NextCursor


class HandoffPage(_Representation):
    """Pedidos de atendimento humano, do mais novo ao mais antigo."""

    items: list[Handoff]
    next_cursor: NextCursor


class Health(_Representation):
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
