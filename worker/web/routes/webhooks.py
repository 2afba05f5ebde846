"""Webhooks of the platform (contract §3)."""

from fastapi import APIRouter, Request, Response

from worker.errors import RequestRefused
from worker.web.dependencies import ServicesDep
from worker.web.middleware import WEBHOOKS
from worker.web.problems import refusals

router = APIRouter()


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
async def openai_webhook(request: Request, services: ServicesDep) -> Response:
    """Faz o worker olhar a execução agora: a assinatura vale como autenticação.

    Standard Webhooks, com OPENAI_WEBHOOK_SECRET; sem ele, 404. Uma execução que ninguém anunciou só é
    acompanhada se a sessão ou conversa dela for o `thread_id` de uma conversa registrada.
    """
    if services.webhooks is None:
        raise RequestRefused("nao_encontrado")
    await services.webhooks.receive(request.headers, await request.body())
    return Response(status_code=204)
