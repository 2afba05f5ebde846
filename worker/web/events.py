"""The events that the bot receives, as `/openapi.json` describes them under `webhooks` (contract §5).

Nothing here sends one: `worker.store.ledger.outbox` writes their bodies, and a test compares the two.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

_REFERENCE = "#/components/schemas/{model}"


class TicketEvent(BaseModel):
    """O que aconteceu com o ticket de uma chamada."""

    call_id: str = Field(examples=["tc_01"])
    run_id: str = Field(examples=["run_abc123"])
    conversation_id: str = Field(examples=["conv-1"])
    setor: str | None = Field(examples=["FINANCEIRO"])
    motivo: str | None = Field(examples=["INFORMAR PAGAMENTO"])
    protocolo: str | None = Field(examples=["2510271534789012"])
    error: str | None = Field(description="O código dado ao modelo.", examples=["crm_indisponivel"])
    late: bool = Field(description="O modelo já tinha recebido outra resposta: o cliente ainda não sabe.")


class HandoffEvent(BaseModel):
    """Um pedido de atendimento humano."""

    handoff_id: str = Field(examples=["ho_01"])
    call_id: str = Field(examples=["tc_01"])
    run_id: str = Field(examples=["run_abc123"])
    conversation_id: str = Field(examples=["conv-1"])
    departamento: str = Field(examples=["financeiro"])


class HandoffRequested(HandoffEvent):
    """Um pedido de atendimento humano, e quando alguém pode atender."""

    opens_at: datetime | None = Field(
        description="Quando o atendimento volta; null se está aberto.", examples=["2026-11-30T08:00:00-03:00"]
    )


class ReplyEvent(BaseModel):
    """Uma resposta do assistente que diz o que não aconteceu."""

    run_id: str | None = Field(description="A execução, se o bot a informou.", examples=["run_abc123"])
    conversation_id: str = Field(examples=["conv-1"])
    codes: list[str] = Field(examples=[["ticket_nao_aberto"]])
    source: str = Field(
        description="`api`: o bot pediu a conferência. `run`: o worker conferiu ao fim da execução.",
        examples=["run"],
    )


class RunEvent(BaseModel):
    """O fim de uma execução."""

    run_id: str = Field(examples=["run_abc123"])
    conversation_id: str = Field(examples=["conv-1"])
    reason: str = Field(examples=["completed", "expirada"])
    platform_status: str | None = Field(examples=["completed"])
    continues_as: str | None = Field(description="Em `responses`: a execução que a continua.")


EVENTS: Mapping[str, tuple[type[BaseModel], str]] = {
    "ticket.opened": (TicketEvent, "O ticket foi aberto"),
    "ticket.failed": (TicketEvent, "O ticket não foi aberto"),
    "ticket.unknown": (TicketEvent, "O ticket foi enviado, e o resultado não se conhece"),
    "ticket.no_protocol": (TicketEvent, "O CRM aceitou o ticket sem devolver o protocolo"),
    "handoff.requested": (HandoffRequested, "O cliente pediu uma pessoa"),
    "handoff.accepted": (HandoffEvent, "Uma pessoa assumiu o cliente"),
    "handoff.overdue": (HandoffEvent, "Ninguém assumiu o cliente dentro do prazo"),
    "handoff.returned": (HandoffEvent, "A conversa voltou para o bot"),
    "handoff.closed": (HandoffEvent, "O atendimento humano foi encerrado"),
    "reply.suspect": (ReplyEvent, "O assistente disse ao cliente o que não aconteceu"),
    "run.ended": (RunEvent, "A execução terminou"),
    "run.lost": (RunEvent, "A execução não pode mais ser respondida"),
}
"""By type: what `data` holds, and what happened."""

_HEADERS = {
    "webhook-id": "O mesmo em toda tentativa: serve para reconhecer uma repetição.",
    "webhook-timestamp": "O horário da tentativa, em segundos desde 1970.",
    "webhook-signature": "Standard Webhooks, com BOT_WEBHOOK_SECRET: `v1,` e a assinatura em base64.",
}


def schemas() -> dict[str, Any]:
    """The components that `webhooks()` refers to."""
    models = dict.fromkeys(model for model, _ in EVENTS.values())  # in one order at every start
    return {model.__name__: model.model_json_schema(ref_template=_REFERENCE) for model in models}


def webhooks() -> dict[str, Any]:
    """One webhook per type of event, in OpenAPI's form."""
    return dict(_webhooks())


def _webhooks() -> Iterator[tuple[str, Any]]:
    for kind, (model, summary) in EVENTS.items():
        envelope = {
            "type": "object",
            "required": ["type", "timestamp", "data"],
            "properties": {
                "type": {"const": kind},
                "timestamp": {"type": "string", "format": "date-time"},
                "data": {"$ref": _REFERENCE.format(model=model.__name__)},
            },
        }
        operation = {
            "summary": summary,
            "description": f"Vai para BOT_WEBHOOK_URL, em ordem por conversa. {model.__doc__}",
            "operationId": kind.replace(".", "_"),
            "parameters": [_header(name, meaning) for name, meaning in _HEADERS.items()],
            "requestBody": {"required": True, "content": {"application/json": {"schema": envelope}}},
            "responses": {
                "2XX": {"description": "Recebido."},
                "410": {"description": "Desliga a entrega até o worker reiniciar."},
                "default": {"description": "O worker tenta de novo, por 72 horas."},
            },
            "security": [],
        }
        yield kind, {"post": operation}


def _header(name: str, meaning: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": True,
        "description": meaning,
        "schema": {"type": "string"},
    }
