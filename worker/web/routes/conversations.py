"""Conversations (contract §3): the bot registers them, a person reads and erases them."""

from typing import Annotated

from fastapi import APIRouter, Request, Response

from worker.web.dependencies import (
    ALWAYS,
    WRITING,
    ServicesDep,
    in_path,
)
from worker.web.problems import refusals
from worker.web.requests import ConversationChange, ConversationId
from worker.web.responses import (
    Conversation,
    ErasureReport,
)

router = APIRouter()


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
    conversation_id: _ConversationPath, change: ConversationChange, services: ServicesDep, response: Response
) -> Conversation:
    """O que falta no corpo fica como está; null apaga."""
    view, new = await services.store.records.put_conversation(conversation_id, change.changes(services.now()))
    response.status_code = 201 if new else 200
    return Conversation.of(view, services.zone)


@router.get(
    "/v1/conversations/{conversation_id:whole}",
    tags=["conversas"],
    summary="Ler uma conversa",
    responses=refusals(*ALWAYS, "conversa_desconhecida", "identificador_invalido"),
)
async def get_conversation(
    conversation_id: _ConversationPath, services: ServicesDep, request: Request
) -> Conversation:
    """O documento vem mascarado; a leitura do contato e do comprovante fica registrada."""
    view = await services.store.records.conversation(conversation_id, reader=request.state.reader)
    return Conversation.of(view, services.zone)


@router.delete(
    "/v1/conversations/{conversation_id:whole}",
    tags=["conversas"],
    summary="Apagar os dados pessoais de uma conversa",
    response_description="Apagados; o que ficou, e por quê",
    responses=refusals(*ALWAYS, "origem_recusada", "conversa_desconhecida", "identificador_invalido"),
)
async def delete_conversation(
    conversation_id: _ConversationPath, services: ServicesDep, request: Request
) -> ErasureReport:
    """A conversa passa a ser desconhecida; registrada de novo com PUT, é um novo começo.

    Um pedido ainda não enviado é respondido com `conversa_desconhecida`; um em andamento termina, e o
    conteúdo dele é apagado com o resultado.
    """
    erasure = await services.store.erasures.erase_conversation(conversation_id, by=request.state.reader)
    return ErasureReport.of(erasure)
