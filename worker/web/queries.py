"""Query parameters of lists: filter and page (contract §3, §14). Unknown parameters are refused."""

from typing import Annotated, NamedTuple

from fastapi import Depends, Query, Request

from worker.model import CallState, RunState
from worker.views import CallFilter, Cursor, RunFilter
from worker.web.dependencies import ServicesDep
from worker.web.invalid import InvalidField
from worker.web.pagination import parse_cursor, parse_since
from worker.web.requests import ConversationId, PlatformId

_Since = Annotated[
    str | None, Query(description="Desde 24h, 7d, hoje ou um instante RFC 3339.", examples=["24h"])
]
_Until = Annotated[
    str | None,
    Query(description="Antes deste instante, como since.", examples=["2025-10-27T15:34:00-03:00"]),
]
_Conversation = Annotated[ConversationId | None, Query(description="Só desta conversa.", examples=["conv-1"])]


def _text(description: str, example: str) -> object:
    return Query(description=description, examples=[example], max_length=256)


class _Period(NamedTuple):
    """Seconds since the epoch."""

    since: float | None
    until: float | None


async def _period(services: ServicesDep, since: _Since = None, until: _Until = None) -> _Period:
    now = services.now()
    return _Period(
        since=None if since is None else parse_since(since, services.zone, now),
        until=None if until is None else parse_since(until, services.zone, now, field="until"),
    )


_PeriodDep = Annotated[_Period, Depends(_period)]


async def _call_filter(  # FastAPI reads a query parameter from each
    *,
    period: _PeriodDep,
    state: Annotated[CallState | None, Query(description="Só neste estado.", examples=["failed"])] = None,
    conversation: _Conversation = None,
    protocolo: Annotated[str | None, _text("Só com este protocolo.", "2510271534789012")] = None,
    run_id: Annotated[PlatformId | None, Query(description="Só desta execução.", examples=["run_1"])] = None,
    platform_call_id: Annotated[
        PlatformId | None,
        Query(
            description="Só com este id da plataforma, como está no log (o id ou o seu hash).",
            examples=["call_abc123"],
        ),
    ] = None,
    tool: Annotated[str | None, _text("Só desta função.", "abrir_ticket_crm")] = None,
    setor: Annotated[str | None, _text("Só deste setor, na grafia do catálogo.", "FINANCEIRO")] = None,
    motivo: Annotated[str | None, _text("Só deste motivo, na grafia do catálogo.", "PAGAMENTO")] = None,
) -> CallFilter:
    return CallFilter(
        state=state,
        since=period.since,
        until=period.until,
        conversation_id=conversation,
        protocolo=protocolo,
        run_id=run_id,
        platform_call_id=platform_call_id,
        tool=tool,
        setor=setor,
        motivo=motivo,
    )


async def _run_filter(  # as above
    *,
    period: _PeriodDep,
    state: Annotated[RunState | None, Query(description="Só neste estado.", examples=["lost"])] = None,
    reason: Annotated[str | None, _text("Só por este motivo.", "expirada")] = None,
    conversation: _Conversation = None,
) -> RunFilter:
    return RunFilter(
        state=state,
        reason=reason,
        since=period.since,
        until=period.until,
        conversation_id=conversation,
    )


class PageRequest(NamedTuple):
    """Which page of a list: at most `limit` items after `cursor`."""

    limit: int
    cursor: Cursor | None


async def _page_request(
    limit: Annotated[int, Query(ge=1, le=200, description="Quantos itens por página.", examples=[50])] = 50,
    cursor: Annotated[
        str | None,
        Query(description="O next_cursor da página anterior.", examples=["WzE3NjE1OTAwNDAuMjUsICJ0Y18xIl0"]),
    ] = None,
) -> PageRequest:
    return PageRequest(limit, None if cursor is None else parse_cursor(cursor))


CallFilterDep = Annotated[CallFilter, Depends(_call_filter)]
RunFilterDep = Annotated[RunFilter, Depends(_run_filter)]
PageDep = Annotated[PageRequest, Depends(_page_request)]


async def only_known_parameters(request: Request) -> None:
    """Refuse a misspelt filter: ignored, it would list everything. Raises `InvalidField`.

    What exists is read from the API's own description.
    """
    if not request.query_params:
        return
    paths = request.app.openapi()["paths"]
    described = paths.get(_template(request), {}).get(request.method.lower(), {})
    known = {each["name"] for each in described.get("parameters", ()) if each["in"] == "query"}
    if not request.query_params.keys() <= known:
        accepted = (
            f"os aceitos são: {', '.join(sorted(known))}" if known else "esta chamada não aceita nenhum"
        )
        raise InvalidField("query", f"tem um parâmetro desconhecido; {accepted}")


def _template(request: Request) -> str:
    """The path of the call as the description names it."""
    path: str = request.scope["route"].path_format
    return path.replace(":whole}", "}")
