"""The KPIs of a period (contract §7)."""

from typing import Annotated

from fastapi import APIRouter, Query

from worker import kpis
from worker.web.dependencies import ALWAYS, ServicesDep
from worker.web.invalid import InvalidField
from worker.web.kpis import Kpis
from worker.web.pagination import parse_since
from worker.web.problems import refusals

router = APIRouter()


_Moment = Query(examples=["24h"], description="24h, 7d, hoje ou um instante RFC 3339.")


@router.get(
    "/v1/kpis",
    tags=["indicadores"],
    summary="Indicadores de um período",
    responses=refusals(*ALWAYS, "dados_invalidos"),
)
async def get_kpis(
    services: ServicesDep,
    since: Annotated[str, _Moment] = kpis.DEFAULT_SINCE,
    until: Annotated[str | None, _Moment] = None,
) -> Kpis:
    """Conta pelo momento em que cada chamada chegou; sem `until`, até agora."""
    now = services.now()
    begin = parse_since(since, services.zone, now)
    end = None if until is None else parse_since(until, services.zone, now, field="until")
    if begin > (now if end is None else end):
        raise InvalidField("since", "precisa ser antes de until")
    figures = await services.store.records.kpis(begin, end)
    return Kpis.of(figures, begin, now if end is None else end, services.zone)
