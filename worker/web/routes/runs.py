"""Runs (contract §3): the bot announces them."""

from typing import Annotated

from fastapi import APIRouter, Response

from worker.errors import RequestRefused
from worker.settings.platforms import PLATFORMS
from worker.web.dependencies import (
    FINDING,
    WRITING,
    ServicesDep,
    in_path,
)
from worker.web.problems import refusals
from worker.web.requests import PlatformId, RunAnnouncement
from worker.web.responses import (
    Run,
)

router = APIRouter()


_RunPath = Annotated[PlatformId, in_path("O id anunciado.", "run_abc123")]


@router.post(
    "/v1/runs",
    tags=["execuções"],
    summary="Anunciar uma execução",
    status_code=202,
    response_description="Acompanhada a partir de agora (nova, ou já encerrada e retomada)",
    responses={
        200: {"model": Run, "description": "Já era acompanhada; será olhada agora"},
        **refusals(
            *WRITING,
            "conversa_desconhecida",
            "execucao_de_outra_conversa",
            "thread_diferente",
            "thread_ausente",
            "id_de_outra_plataforma",
        ),
    },
)
async def post_run(run: RunAnnouncement, services: ServicesDep, response: Response) -> Run:
    """O worker responde às chamadas de função desta execução até ela terminar.

    Se ela já segue com outro id (`continues_as`), é essa que é acompanhada.
    """
    if _of_another_platform(run.run_id, services.platform):
        raise RequestRefused("id_de_outra_plataforma")
    view, new = await services.store.records.register_run(run.conversation_id, run.run_id, run.thread_id)
    services.wake(view.continues_as or view.run_id)
    response.status_code = 202 if new else 200
    return Run.of(view, services.zone)


@router.get(
    "/v1/runs/{run_id:whole}",
    tags=["execuções"],
    summary="Ler uma execução e suas chamadas",
    responses=FINDING,
)
async def get_run(run_id: _RunPath, services: ServicesDep) -> Run:
    """`state`: `watching` até a plataforma ou uma regra encerrá-la; `lost` sempre com `reason`."""
    return Run.of(await services.store.records.run(run_id), services.zone)


def _of_another_platform(run_id: str, platform: str) -> bool:
    """Whether only another platform has ids that begin like this one."""
    prefixes = {
        name: each.id_prefix for name, each in PLATFORMS.items() if each.id_prefix and name != platform
    }
    return run_id.startswith(tuple(prefixes.values()))
