"""Replies (contract §10): the bot has them checked before the customer reads them."""

from fastapi import APIRouter

from worker.model import ReplySource
from worker.web.dependencies import WRITING, ServicesDep
from worker.web.problems import refusals
from worker.web.requests import ReplyToCheck
from worker.web.responses import ReplyVerdict

router = APIRouter()


@router.post(
    "/v1/replies",
    tags=["respostas"],
    summary="Conferir uma resposta antes de enviá-la",
    response_description="Conferida: `ok`, ou o que nela não aconteceu",
    responses=refusals(*WRITING, "conversa_desconhecida"),
)
async def post_reply(reply: ReplyToCheck, services: ServicesDep) -> ReplyVerdict:
    """Compara o que a resposta diz com o que foi registrado: protocolo, ticket aberto, transferência.

    Com `ok: false`, não a envie: dê `instrucao` ao modelo e confira a próxima. O texto não é guardado.
    """
    findings = await services.replies.check(
        reply.conversation_id,
        reply.text,
        source=ReplySource.API,
        run_id=reply.run_id,
        known_numbers=reply.known_numbers,
    )
    return ReplyVerdict.of(findings)
