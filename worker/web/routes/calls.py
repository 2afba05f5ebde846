"""Calls (contract §3): listed, read, tried again, resolved."""

from typing import Annotated

from fastapi import APIRouter, Query

from worker.errors import RequestRefused
from worker.model import CallState
from worker.web.dependencies import (
    ACTING,
    ALWAYS,
    FINDING,
    WRITING,
    After,
    CallId,
    Limit,
    Services,
    ServicesDep,
)
from worker.web.pagination import cursor_text, parse_cursor, parse_since
from worker.web.problems import InvalidField, refusals
from worker.web.requests import ConversationId, Resolution
from worker.web.responses import (
    Call,
    CallPage,
)

router = APIRouter()


@router.get(
    "/v1/calls",
    tags=["chamadas"],
    summary="Listar chamadas",
    responses=refusals(*ALWAYS, "dados_invalidos", "identificador_invalido"),
)
async def list_calls(
    *,
    services: ServicesDep,
    state: Annotated[CallState | None, Query(description="Só neste estado.", examples=["failed"])] = None,
    since: Annotated[
        str | None, Query(description="Desde 24h, 7d, hoje ou um instante RFC 3339.", examples=["24h"])
    ] = None,
    conversation: Annotated[
        ConversationId | None, Query(description="Só desta conversa.", examples=["conv-1"])
    ] = None,
    limit: Limit = 50,
    cursor: After = None,
) -> CallPage:
    """Da mais nova à mais antiga."""
    found, following = await services.store.records.calls(
        state=state,
        since=None if since is None else parse_since(since, services.zone, services.now()),
        conversation_id=conversation,
        limit=limit,
        cursor=None if cursor is None else parse_cursor(cursor),
    )
    return CallPage(
        items=[Call.of(view, services.zone) for view in found], next_cursor=cursor_text(following)
    )


@router.get("/v1/calls/{call_id}", tags=["chamadas"], summary="Ler uma chamada", responses=FINDING)
async def get_call(call_id: CallId, services: ServicesDep) -> Call:
    """O `call_id` é do worker, não da plataforma."""
    return Call.of(await services.store.records.call(call_id), services.zone)


@router.post(
    "/v1/calls/{call_id}/retry",
    tags=["chamadas"],
    summary="Tentar de novo",
    status_code=202,
    response_description="O worker vai enviar o mesmo pedido outra vez",
    responses=refusals(*ACTING, "estado_incompativel", "payload_expirado"),
)
async def retry_call(call_id: CallId, services: ServicesDep) -> Call:
    """Com a mesma chave e os mesmos bytes, para que nunca abra um segundo ticket.

    Só a partir de `failed`; a partir de `unknown`, só com CRM_LOOKUP_URL ou CRM_IDEMPOTENT=true.
    """
    await services.store.operators.retry(call_id)
    return await _changed(services, call_id)


@router.post(
    "/v1/calls/{call_id}/resolve",
    tags=["chamadas"],
    summary="Informar o protocolo encontrado no CRM",
    response_description="A chamada agora é `done`; o bot é avisado",
    responses=refusals(*WRITING, "nao_encontrado", "estado_incompativel"),
)
async def resolve_call(call_id: CallId, resolution: Resolution, services: ServicesDep) -> Call:
    """A partir de `failed`, `unknown` e `no_protocol`, quando uma pessoa achou o ticket no CRM."""
    protocolo = resolution.protocolo
    if not services.protocolo.search(protocolo):
        raise InvalidField("protocolo", "não tem a forma dos protocolos deste CRM (CRM_PROTOCOL_PATTERN)")
    try:
        await services.store.operators.resolve(call_id, protocolo)
    except RequestRefused as refusal:
        if refusal.code != "dados_invalidos":
            raise
        raise InvalidField("protocolo", "já é o protocolo de outra chamada") from None
    return await _changed(services, call_id)


async def _changed(services: Services, call_id: str) -> Call:
    view = await services.store.records.call(call_id)
    services.wake(view.run_id)
    return Call.of(view, services.zone)
