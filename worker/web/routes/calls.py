"""Calls (contract §3, §14): listed, exported, read, tried again, resolved, dismissed."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from worker.errors import RequestRefused
from worker.model import CallState
from worker.views import CallFilter
from worker.web.calls_csv import calls_csv
from worker.web.dependencies import (
    ACTING,
    ALWAYS,
    DISMISSING,
    FINDING,
    RESTORING,
    WRITING,
    CallId,
    Services,
    ServicesDep,
)
from worker.web.invalid import InvalidField
from worker.web.pagination import cursor_text, parse_since
from worker.web.problems import refusals
from worker.web.queries import CallFilterDep, PageDep
from worker.web.requests import DismissalRequest, Resolution, RetrySelection
from worker.web.responses import Call, CallPage, Payload, RefusedRetry, Retries

router = APIRouter()


@router.get(
    "/v1/calls",
    tags=["chamadas"],
    summary="Listar chamadas",
    responses=refusals(*ALWAYS, "dados_invalidos", "identificador_invalido"),
)
async def list_calls(services: ServicesDep, which: CallFilterDep, page: PageDep) -> CallPage:
    """Da mais nova à mais antiga."""
    found, following = await services.store.records.calls(which, limit=page.limit, cursor=page.cursor)
    return CallPage(
        items=[Call.of(view, services.zone) for view in found], next_cursor=cursor_text(following)
    )


@router.get(
    "/v1/calls.csv",
    tags=["chamadas"],
    summary="Exportar chamadas",
    response_class=Response,
    responses={
        200: {
            "description": "Uma linha por chamada",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        },
        **refusals(*ALWAYS, "dados_invalidos", "identificador_invalido"),
    },
)
async def export_calls(services: ServicesDep, which: CallFilterDep) -> Response:
    """Todas as chamadas do filtro, sem limite e sem dados pessoais; da mais nova à mais antiga."""
    lines = calls_csv(services.store.records.every_call(which), services.zone)
    headers = {"Content-Disposition": 'attachment; filename="chamadas.csv"'}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


@router.post(
    "/v1/calls/retry",
    tags=["chamadas"],
    summary="Tentar várias de novo",
    status_code=202,
    response_description="O que o worker vai enviar outra vez, e o que não pode ser enviado",
    responses=refusals(*WRITING),
)
async def retry_calls(selection: RetrySelection, services: ServicesDep) -> Retries:
    """Da mais antiga à mais nova, cada uma como em `POST /v1/calls/{call_id}/retry`."""
    now = services.now()
    which = CallFilter(
        state=CallState(selection.state),
        since=parse_since(selection.since, services.zone, now),
        until=None if selection.until is None else parse_since(selection.until, services.zone, now, "until"),
        setor=selection.setor,
    )
    runs, refused = await services.store.operators.retry_many(which)
    for run_id in set(runs.values()):
        services.wake(run_id)
    return Retries(
        requested=len(runs), refused=[RefusedRetry(call_id=call_id, code=code) for call_id, code in refused]
    )


@router.get("/v1/calls/{call_id}", tags=["chamadas"], summary="Ler uma chamada", responses=FINDING)
async def get_call(call_id: CallId, services: ServicesDep) -> Call:
    """O `call_id` é do worker, não da plataforma."""
    return Call.of(await services.store.records.call(call_id), services.zone)


@router.get(
    "/v1/calls/{call_id}/payload",
    tags=["chamadas"],
    summary="Ler o conteúdo pessoal",
    responses=refusals(*ALWAYS, "nao_encontrado", "identificador_invalido", "payload_expirado"),
)
async def get_payload(call_id: CallId, services: ServicesDep, request: Request) -> Payload:
    """Documento, contato, resumo e comprovante, como estão guardados; a leitura fica registrada."""
    return Payload.model_validate(await services.store.records.payload(call_id, reader=request.state.reader))


@router.post(
    "/v1/calls/{call_id}/dismiss",
    tags=["chamadas"],
    summary="Dispensar",
    response_description="Não precisa mais de uma pessoa; o estado é o mesmo",
    responses=DISMISSING,
)
async def dismiss_call(
    call_id: CallId, dismissal: DismissalRequest, services: ServicesDep, request: Request
) -> Call:
    """A partir de `failed`, `unknown` e `no_protocol`. Quem e quando ficam registrados."""
    await services.store.operators.dismiss(call_id, dismissal.reason, by=request.state.reader)
    return Call.of(await services.store.records.call(call_id), services.zone)


@router.delete(
    "/v1/calls/{call_id}/dismiss",
    tags=["chamadas"],
    summary="Desfazer a dispensa",
    response_description="Volta a precisar de uma pessoa",
    responses=RESTORING,
)
async def restore_call(call_id: CallId, services: ServicesDep) -> Call:
    """Só se foi dispensada e ainda não voltou a ser enviada."""
    await services.store.operators.restore(call_id)
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
        message = "já é o protocolo de outra chamada, ou é o documento ou o contato do cliente"
        raise InvalidField("protocolo", message) from None
    return await _changed(services, call_id)


async def _changed(services: Services, call_id: str) -> Call:
    view = await services.store.records.call(call_id)
    services.wake(view.run_id)
    return Call.of(view, services.zone)
