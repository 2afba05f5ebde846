"""Runs (contract §3, §14): the bot announces them; people find and dismiss the lost ones."""

from typing import Annotated

from fastapi import APIRouter, Request, Response

from worker.errors import RequestRefused
from worker.settings.platforms import PLATFORMS
from worker.web.dependencies import ALWAYS, DISMISSING, FINDING, RESTORING, WRITING, ServicesDep, in_path
from worker.web.pagination import cursor_text
from worker.web.problems import refusals
from worker.web.queries import PageDep, RunFilterDep
from worker.web.requests import DismissalRequest, PlatformId, RunAnnouncement
from worker.web.responses import ListedRun, Run, RunPage

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
    "/v1/runs",
    tags=["execuções"],
    summary="Listar execuções",
    responses=refusals(*ALWAYS, "dados_invalidos", "identificador_invalido"),
)
async def list_runs(services: ServicesDep, which: RunFilterDep, page: PageDep) -> RunPage:
    """Da mais nova à mais antiga, pelo último anúncio; sem as chamadas."""
    found, following = await services.store.records.runs(which, limit=page.limit, cursor=page.cursor)
    items = [ListedRun.of(view, services.zone) for view in found]
    return RunPage(items=items, next_cursor=cursor_text(following))


@router.post(
    "/v1/runs/{run_id:whole}/dismiss",
    tags=["execuções"],
    summary="Dispensar uma execução perdida",
    response_description="Não precisa mais de uma pessoa; o estado é o mesmo",
    responses=DISMISSING,
)
async def dismiss_run(
    run_id: _RunPath, dismissal: DismissalRequest, services: ServicesDep, request: Request
) -> ListedRun:
    """Só a partir de `lost`. Quem e quando ficam registrados."""
    await services.store.operators.dismiss_run(run_id, dismissal.reason, by=request.state.reader)
    return ListedRun.of(await services.store.records.run_summary(run_id), services.zone)


@router.delete(
    "/v1/runs/{run_id:whole}/dismiss",
    tags=["execuções"],
    summary="Desfazer a dispensa",
    response_description="Volta a precisar de uma pessoa",
    responses=RESTORING,
)
async def restore_run(run_id: _RunPath, services: ServicesDep) -> ListedRun:
    """Só se foi dispensada."""
    await services.store.operators.restore_run(run_id)
    return ListedRun.of(await services.store.records.run_summary(run_id), services.zone)


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
