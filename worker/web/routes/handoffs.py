"""Hand-offs (contract §3, §12): listed, read, accepted, returned to the bot, closed."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from worker.views import HandoffState
from worker.web.dependencies import (
    ACTING,
    ALWAYS,
    FINDING,
    HandoffId,
    ServicesDep,
)
from worker.web.pagination import cursor_text
from worker.web.problems import refusals
from worker.web.queries import PageDep
from worker.web.responses import (
    Handoff,
    HandoffDetail,
    HandoffPage,
)

router = APIRouter()


@router.get(
    "/v1/handoffs",
    tags=["atendimento humano"],
    summary="Listar pedidos",
    responses=refusals(*ALWAYS, "dados_invalidos"),
)
async def list_handoffs(
    *,
    services: ServicesDep,
    page: PageDep,
    state: Annotated[
        HandoffState | None, Query(description="Só neste estado.", examples=["requested"])
    ] = None,
) -> HandoffPage:
    """Do mais novo ao mais antigo, sem o motivo."""
    found, following = await services.store.records.handoffs(
        state=state, limit=page.limit, cursor=page.cursor
    )
    items = [Handoff.of(view, services.zone) for view in found]
    return HandoffPage(items=items, next_cursor=cursor_text(following))


@router.get(
    "/v1/handoffs/{handoff_id}", tags=["atendimento humano"], summary="Ler um pedido", responses=FINDING
)
async def get_handoff(handoff_id: HandoffId, services: ServicesDep, request: Request) -> HandoffDetail:
    """Traz o motivo; por isso a leitura fica registrada."""
    view = await services.store.records.handoff(handoff_id, reader=request.state.reader)
    return HandoffDetail.of(view, services.zone)


@router.post(
    "/v1/handoffs/{handoff_id}/accept",
    tags=["atendimento humano"],
    summary="Assumir um pedido",
    response_description="O pedido agora é `accepted`; o bot é avisado",
    responses=refusals(*ACTING, "estado_incompativel"),
)
async def accept_handoff(handoff_id: HandoffId, services: ServicesDep) -> Handoff:
    """A espera do cliente acaba aqui. Só a partir de `requested`: um pedido é de um só atendente."""
    return Handoff.of(await services.store.handoffs.accept(handoff_id), services.zone)


@router.post(
    "/v1/handoffs/{handoff_id}/return",
    tags=["atendimento humano"],
    summary="Devolver a conversa ao bot",
    response_description="O pedido agora é `returned`; o bot é avisado e segue com a conversa",
    responses=refusals(*ACTING, "estado_incompativel"),
)
async def return_handoff(handoff_id: HandoffId, services: ServicesDep) -> Handoff:
    """Só a partir de `accepted`: o atendente terminou, e o bot volta a responder ao cliente."""
    return Handoff.of(await services.store.handoffs.give_back(handoff_id), services.zone)


@router.post(
    "/v1/handoffs/{handoff_id}/close",
    tags=["atendimento humano"],
    summary="Encerrar um pedido",
    response_description="O pedido agora é `closed`; o bot é avisado",
    responses=refusals(*ACTING, "estado_incompativel"),
)
async def close_handoff(handoff_id: HandoffId, services: ServicesDep) -> Handoff:
    """Assumido ou não, por exemplo quando o cliente desistiu. Repetir não muda nada.

    O que foi devolvido ao bot não se encerra mais.
    """
    return Handoff.of(await services.store.handoffs.close(handoff_id), services.zone)
