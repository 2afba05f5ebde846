"""Calls of contract §3 by which somebody acts: a person on a call or a hand-off, the platform on a run."""

from fastapi import APIRouter, Request, Response

from worker.errors import RequestRefused
from worker.web.desk import ALWAYS, WRITING, AtDesk, CallId, Desk, HandoffId
from worker.web.incoming import Resolution
from worker.web.problems import InvalidField, refusals
from worker.web.security import WEBHOOKS
from worker.web.shown import Call, Handoff

router = APIRouter()

_ACTING = (
    *ALWAYS,
    "origem_recusada",
    "nao_encontrado",
    "corpo_grande_demais",
    "tipo_nao_suportado",
    "identificador_invalido",
)
"""What an action without a body is refused for, whatever it acts on."""


@router.post(
    "/v1/calls/{call_id}/retry",
    tags=["chamadas"],
    summary="Tentar de novo",
    status_code=202,
    response_description="O worker vai enviar o mesmo pedido outra vez",
    responses=refusals(*_ACTING, "estado_incompativel", "payload_expirado"),
)
async def retry_call(call_id: CallId, desk: AtDesk) -> Call:
    """Com a mesma chave e os mesmos bytes, para que nunca abra um segundo ticket.

    Só a partir de `failed`; a partir de `unknown`, só com CRM_LOOKUP_URL ou CRM_IDEMPOTENT=true.
    """
    await desk.operators.retry(call_id)
    return await _changed(desk, call_id)


@router.post(
    "/v1/calls/{call_id}/resolve",
    tags=["chamadas"],
    summary="Informar o protocolo encontrado no CRM",
    response_description="A chamada agora é `done`; o bot é avisado",
    responses=refusals(*WRITING, "nao_encontrado", "estado_incompativel"),
)
async def resolve_call(call_id: CallId, resolution: Resolution, desk: AtDesk) -> Call:
    """A partir de `failed`, `unknown` e `no_protocol`, quando uma pessoa achou o ticket no CRM."""
    protocolo = resolution.protocolo
    if not desk.protocolo.search(protocolo):
        raise InvalidField("protocolo", "não tem a forma dos protocolos deste CRM (CRM_PROTOCOL_PATTERN)")
    try:
        await desk.operators.resolve(call_id, protocolo)
    except RequestRefused as refusal:
        if refusal.code != "dados_invalidos":
            raise
        raise InvalidField("protocolo", "já é o protocolo de outra chamada") from None
    return await _changed(desk, call_id)


async def _changed(desk: Desk, call_id: str) -> Call:
    view = await desk.records.call(call_id)
    desk.wake(view.run_id)
    return Call.of(view, desk.zone)


# ---------------------------------------------------------------------------------------------- hand-offs


@router.post(
    "/v1/handoffs/{handoff_id}/accept",
    tags=["atendimento humano"],
    summary="Assumir um pedido",
    response_description="O pedido agora é `accepted`; o bot é avisado",
    responses=refusals(*_ACTING, "estado_incompativel"),
)
async def accept_handoff(handoff_id: HandoffId, desk: AtDesk) -> Handoff:
    """A espera do cliente acaba aqui. Só a partir de `requested`: um pedido é de um só atendente."""
    return Handoff.of(await desk.handoffs.accept(handoff_id), desk.zone)


@router.post(
    "/v1/handoffs/{handoff_id}/close",
    tags=["atendimento humano"],
    summary="Encerrar um pedido",
    response_description="O pedido agora é `closed`; o bot é avisado",
    responses=refusals(*_ACTING),
)
async def close_handoff(handoff_id: HandoffId, desk: AtDesk) -> Handoff:
    """Assumido ou não, por exemplo quando o cliente desistiu. Repetir não muda nada."""
    return Handoff.of(await desk.handoffs.close(handoff_id), desk.zone)


# ----------------------------------------------------------------------------------------------- webhooks

_SIGNED = [
    {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "example": example}
    for name, example in (
        ("webhook-id", "wh_abc123"),
        ("webhook-timestamp", "1761590040"),
        ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
    )
]
_EVENT = {
    "schema": {"type": "object"},
    "examples": {
        "agents": {
            "value": {
                "id": "evt_abc123",
                "object": "event",
                "type": "agent.session.action_required",
                "created_at": 1761590040,
                "data": {"id": "sess_abc123", "required_action": {"type": "function_call"}},
            }
        },
        "responses": {
            "value": {
                "id": "evt_abc123",
                "object": "event",
                "type": "response.completed",
                "created_at": 1761590040,
                "data": {"id": "resp_abc123"},
            }
        },
    },
}


@router.post(
    WEBHOOKS,
    tags=["webhooks"],
    summary="Receber um webhook da OpenAI",
    status_code=204,
    response_description="Recebido; também o repetido, e o de um tipo que não interessa",
    responses=refusals(
        "assinatura_invalida",
        "json_invalido",
        "nao_encontrado",
        "corpo_grande_demais",
        "tipo_nao_suportado",
        "erro_interno",
        "indisponivel",
    ),
    openapi_extra={
        "parameters": _SIGNED,
        "requestBody": {"required": True, "content": {"application/json": _EVENT}},
        "security": [],
    },
)
async def openai_webhook(request: Request, desk: AtDesk) -> Response:
    """Faz o worker olhar a execução agora: a assinatura vale como autenticação.

    Standard Webhooks, com OPENAI_WEBHOOK_SECRET; sem ele, 404. Uma execução que ninguém anunciou só é
    acompanhada se a sessão ou conversa dela for o `thread_id` de uma conversa registrada.
    """
    if desk.webhooks is None:
        raise RequestRefused("nao_encontrado")
    await desk.webhooks.ring(request.headers, await request.body())
    return Response(status_code=204)
