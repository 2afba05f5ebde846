"""Probes and metrics, for machines: no token (contract §3)."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from worker import metrics
from worker.web.dependencies import (
    ServicesDep,
)
from worker.web.middleware import METRICS
from worker.web.problems import problem, refusals
from worker.web.responses import Health

router = APIRouter()


@router.get("/livez", tags=["saúde"], summary="O processo responde", responses=refusals("host_recusado"))
async def livez() -> Health:
    """Sem token."""
    return Health()


@router.get(
    "/readyz",
    tags=["saúde"],
    summary="Pronto para trabalhar",
    response_model=Health,
    responses=refusals("host_recusado", "indisponivel"),
)
async def readyz(services: ServicesDep) -> Health | Response:
    """Banco gravável e atualizado, e laço em andamento; CRM e plataforma não contam. Sem token."""
    ready = services.alive() and await services.store.records.ready()
    return Health() if ready else problem("indisponivel")


@router.get(
    METRICS,
    tags=["saúde"],
    summary="Métricas para o Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "No formato texto do Prometheus",
            "content": {CONTENT_TYPE_PLAIN_0_0_4: {"schema": {"type": "string"}}},
        },
        **refusals("host_recusado"),
    },
)
async def get_metrics() -> Response:
    """Os nomes começam com `ticket_worker_`. Sem token."""
    return Response(metrics.exposition(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
