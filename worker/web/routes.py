"""The calls of contract §3, each a few lines: what comes in is checked already, what goes out is shown."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from worker.errors import RequestRefused
from worker.model import CallState
from worker.records import HandoffState
from worker.web.desk import ALWAYS, FINDING, WRITING, After, AtDesk, CallId, HandoffId, Limit, in_path
from worker.web.erasure import ErasureReport
from worker.web.incoming import ConversationChange, ConversationId, PlatformId, RunAnnouncement
from worker.web.problems import problem, refusals
from worker.web.queries import cursor_text, parse_cursor, parse_since
from worker.web.shown import (
    Call,
    CallPage,
    Conversation,
    Handoff,
    HandoffDetail,
    HandoffPage,
    Health,
    Run,
)


class _Whole(StringConvertor):
    """The rest of a path, slashes and line breaks included.

    Starlette's `path` drops a line break at its end, and would take one id for another.
    """

    regex = r"[\s\S]*"


register_url_convertor("whole", _Whole())
router = APIRouter()

# ------------------------------------------------------------------------------------------ conversations

_ConversationPath = Annotated[ConversationId, in_path("O id da conversa no bot.", "conv-1")]


@router.put(
    "/v1/conversations/{conversation_id:whole}",
    tags=["conversas"],
    summary="Registrar ou mudar uma conversa",
    status_code=201,
    response_description="Conversa nova",
    responses={
        200: {"model": Conversation, "description": "Conversa já conhecida"},
        **refusals(*WRITING, "thread_em_uso", "documento_invalido"),
    },
)
async def put_conversation(
    conversation_id: _ConversationPath, change: ConversationChange, desk: AtDesk, response: Response
) -> Conversation:
    """O que falta no corpo fica como está; null apaga."""
    view, new = await desk.records.put_conversation(conversation_id, change.changes(desk.now()))
    response.status_code = 201 if new else 200
    return Conversation.of(view, desk.zone)


@router.get(
    "/v1/conversations/{conversation_id:whole}",
    tags=["conversas"],
    summary="Ler uma conversa",
    responses=refusals(*ALWAYS, "conversa_desconhecida", "identificador_invalido"),
)
async def get_conversation(
    conversation_id: _ConversationPath, desk: AtDesk, request: Request
) -> Conversation:
    """O documento vem mascarado; a leitura do contato e do comprovante fica registrada."""
    view = await desk.records.conversation(conversation_id, reader=request.state.reader)
    return Conversation.of(view, desk.zone)


@router.delete(
    "/v1/conversations/{conversation_id:whole}",
    tags=["conversas"],
    summary="Apagar os dados pessoais de uma conversa",
    response_description="Apagados; o que ficou, e por quê",
    responses=refusals(*ALWAYS, "origem_recusada", "conversa_desconhecida", "identificador_invalido"),
)
async def delete_conversation(
    conversation_id: _ConversationPath, desk: AtDesk, request: Request
) -> ErasureReport:
    """A conversa passa a ser desconhecida; registrada de novo com PUT, é um novo começo.

    Um pedido ainda não enviado é respondido com `conversa_desconhecida`; um em andamento termina, e o
    conteúdo dele é apagado com o resultado.
    """
    erasure = await desk.erasures.erase_conversation(conversation_id, by=request.state.reader)
    return ErasureReport.of(erasure)


# --------------------------------------------------------------------------------------------------- runs

_RunPath = Annotated[PlatformId, in_path("O id anunciado.", "run_abc123")]
_ONLY_ON = {"sess_": "agents", "resp_": "responses"}


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
async def post_run(run: RunAnnouncement, desk: AtDesk, response: Response) -> Run:
    """O worker responde às chamadas de função desta execução até ela terminar.

    Se ela já segue com outro id (`continues_as`), é essa que é acompanhada.
    """
    if _ONLY_ON.get(run.run_id[:5], desk.platform) != desk.platform:
        raise RequestRefused("id_de_outra_plataforma")
    view, new = await desk.records.register_run(run.conversation_id, run.run_id, run.thread_id)
    desk.wake(view.continues_as or view.run_id)
    response.status_code = 202 if new else 200
    return Run.of(view, desk.zone)


@router.get(
    "/v1/runs/{run_id:whole}",
    tags=["execuções"],
    summary="Ler uma execução e suas chamadas",
    responses=FINDING,
)
async def get_run(run_id: _RunPath, desk: AtDesk) -> Run:
    """`state`: `watching` até a plataforma ou uma regra encerrá-la; `lost` sempre com `reason`."""
    return Run.of(await desk.records.run(run_id), desk.zone)


# -------------------------------------------------------------------------------------------------- calls


@router.get(
    "/v1/calls",
    tags=["chamadas"],
    summary="Listar chamadas",
    responses=refusals(*ALWAYS, "dados_invalidos", "identificador_invalido"),
)
async def list_calls(
    *,
    desk: AtDesk,
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
    found, following = await desk.records.calls(
        state=state,
        since=None if since is None else parse_since(since, desk.zone, desk.now()),
        conversation_id=conversation,
        limit=limit,
        cursor=None if cursor is None else parse_cursor(cursor),
    )
    return CallPage(items=[Call.of(view, desk.zone) for view in found], next_cursor=cursor_text(following))


@router.get("/v1/calls/{call_id}", tags=["chamadas"], summary="Ler uma chamada", responses=FINDING)
async def get_call(call_id: CallId, desk: AtDesk) -> Call:
    """O `call_id` é do worker, não da plataforma."""
    return Call.of(await desk.records.call(call_id), desk.zone)


# ---------------------------------------------------------------------------------------------- hand-offs


@router.get(
    "/v1/handoffs",
    tags=["atendimento humano"],
    summary="Listar pedidos",
    responses=refusals(*ALWAYS, "dados_invalidos"),
)
async def list_handoffs(
    *,
    desk: AtDesk,
    state: Annotated[
        HandoffState | None, Query(description="Só neste estado.", examples=["requested"])
    ] = None,
    limit: Limit = 50,
    cursor: After = None,
) -> HandoffPage:
    """Do mais novo ao mais antigo, sem o motivo."""
    found, following = await desk.records.handoffs(
        state=state, limit=limit, cursor=None if cursor is None else parse_cursor(cursor)
    )
    items = [Handoff.of(view, desk.zone) for view in found]
    return HandoffPage(items=items, next_cursor=cursor_text(following))


@router.get(
    "/v1/handoffs/{handoff_id}", tags=["atendimento humano"], summary="Ler um pedido", responses=FINDING
)
async def get_handoff(handoff_id: HandoffId, desk: AtDesk, request: Request) -> HandoffDetail:
    """Traz o motivo; por isso a leitura fica registrada."""
    view = await desk.records.handoff(handoff_id, reader=request.state.reader)
    return HandoffDetail.of(view, desk.zone)


# ------------------------------------------------------------------------------------------------- health


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
async def readyz(desk: AtDesk) -> Health | Response:
    """Banco gravável e atualizado, e laço em andamento; CRM e plataforma não contam. Sem token."""
    ready = desk.alive() and await desk.records.ready()
    return Health() if ready else problem("indisponivel")
