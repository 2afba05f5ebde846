"""Events for the bot (contract §14): listed, delivered after all, given up."""

from typing import Annotated

from fastapi import APIRouter, Query

from worker.model import EventState
from worker.web.dependencies import ACTING, ALWAYS, EventId, ServicesDep
from worker.web.pagination import cursor_text
from worker.web.problems import refusals
from worker.web.queries import PageDep
from worker.web.requests import ConversationId
from worker.web.responses import Event, EventPage, RetriedEvents

router = APIRouter()


@router.get(
    "/v1/events",
    tags=["avisos ao bot"],
    summary="Listar avisos",
    responses=refusals(*ALWAYS, "dados_invalidos", "identificador_invalido"),
)
async def list_events(
    *,
    services: ServicesDep,
    page: PageDep,
    state: Annotated[EventState | None, Query(description="Só neste estado.", examples=["stuck"])] = None,
    conversation: Annotated[
        ConversationId | None, Query(description="Só desta conversa.", examples=["conv-1"])
    ] = None,
) -> EventPage:
    """Do mais novo ao mais antigo; `stuck` são os que o bot não aceitou em 72 horas."""
    found, following = await services.store.events.list(
        state=state,
        conversation_id=conversation,
        limit=page.limit,
        cursor=page.cursor,
    )
    items = [Event.of(view, services.zone) for view in found]
    return EventPage(items=items, next_cursor=cursor_text(following))


@router.post(
    "/v1/events/retry",
    tags=["avisos ao bot"],
    summary="Entregar agora todos os que pararam ou esperam",
    status_code=202,
    response_description="Serão entregues a partir de agora",
    responses=refusals(*ALWAYS, "origem_recusada", "corpo_grande_demais", "tipo_nao_suportado"),
)
async def retry_events(services: ServicesDep) -> RetriedEvents:
    """Os que o bot não aceitou em 72 horas, por mais 72, e já os que esperam pela próxima tentativa.

    Na ordem de cada conversa, com o mesmo `webhook-id`.
    """
    return RetriedEvents(requested=await services.store.events.retry_all())


@router.post(
    "/v1/events/{event_id}/retry",
    tags=["avisos ao bot"],
    summary="Entregar de novo",
    status_code=202,
    response_description="Será entregue a partir de agora",
    responses=refusals(*ACTING, "estado_incompativel"),
)
async def retry_event(event_id: EventId, services: ServicesDep) -> Event:
    """Só a partir de `stuck`; por mais 72 horas, com o mesmo `webhook-id`."""
    return Event.of(await services.store.events.retry(event_id), services.zone)


@router.post(
    "/v1/events/{event_id}/discard",
    tags=["avisos ao bot"],
    summary="Desistir de um aviso",
    response_description="O aviso agora é `discarded`",
    responses=refusals(*ACTING, "estado_incompativel"),
)
async def discard_event(event_id: EventId, services: ServicesDep) -> Event:
    """Só a partir de `stuck`. O bot não o recebe; o que ele contava continua no registro."""
    return Event.of(await services.store.events.discard(event_id), services.zone)
