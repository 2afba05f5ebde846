"""`abrir_ticket_crm`: what makes a ticket, and what the model is told of it (contract §4, §6)."""

from typing import Self

from worker.catalog import Catalog, fold
from worker.errors import (
    IncompatibleMotivo,
    InvalidArguments,
    InvalidSetor,
    MissingDocument,
    ToolError,
    UnknownConversation,
)
from worker.model import CallRecord, Conversation, Intent, Outcome, Rejection, ToolKind
from worker.personal import Personal
from worker.ports import Attempts
from worker.privacy import echo
from worker.tools.arguments import read, require
from worker.tools.crm import Crm
from worker.tools.parts import ToolParts

_PARAMETERS = ("resumo", "setor", "motivo")
_RESUMO_MAX = 10_000


class AbrirTicketCrm:
    """Implements `ports.Tool`."""

    name = "abrir_ticket_crm"
    schema: str | None = "abrir_ticket_crm"
    kind = ToolKind.TICKET

    def __init__(self, catalog: Catalog, crm: Crm) -> None:
        self._catalog = catalog
        self._crm = crm

    @classmethod
    def build(cls, parts: ToolParts) -> Self:
        return cls(parts.catalog, parts.crm)

    def plan(self, arguments: Personal, conversation: Conversation | None) -> Intent | Rejection:
        """A ticket with the very body every attempt will send, or what the model must correct."""
        given = dict.fromkeys(_PARAMETERS, "")
        try:
            given = read(arguments, _PARAMETERS)
            return self._intent(given, conversation)
        except ToolError as error:
            return Rejection.of(error, self._catalog.setor(given["setor"]), self._exact(given))

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        """Open the ticket: see `Crm.open`."""
        return await self._crm.open(call, attempts)

    async def recheck(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        """Look the ticket up: see `Crm.recheck`."""
        return await self._crm.recheck(call, attempts)

    def success(self, call: CallRecord) -> Personal:
        """What the model is told of an opened ticket (contract §6)."""
        return Personal.json(
            {
                "success": True,
                "protocolo": call.protocolo,
                "setor": call.setor,
                "motivo": call.motivo,
                "mensagem": f"Ticket aberto com sucesso! Protocolo: {call.protocolo}",
            }
        )

    def _intent(self, given: dict[str, str], conversation: Conversation | None) -> Intent:
        """Every check that follows the reading, in the order of contract §6."""
        if len(given["resumo"]) > _RESUMO_MAX:
            raise InvalidArguments("o resumo tem mais de 10.000 caracteres")
        require(given)
        setor = self._setor(given["setor"])
        motivo = self._motivo(setor, given["motivo"])
        if conversation is None:
            raise UnknownConversation
        if conversation.document is None:
            raise MissingDocument
        document = conversation.document.reveal()
        return Intent(
            equal_on=(setor, motivo, fold(given["resumo"]), document),
            body=_body(document, _told(given["resumo"], conversation), setor, motivo),
            setor=setor,
            motivo=motivo,
            exact=self._exact(given),
            uses_receipt=conversation.receipt_url is not None,
        )

    def _setor(self, text: str) -> str:
        setor = self._catalog.setor(text)
        if setor is None:
            known = self._catalog.setores
            raise InvalidSetor(setores_validos=known.names, sugestao=known.nearest(text), _texto=echo(text))
        return setor

    def _motivo(self, setor: str, text: str) -> str:
        motivo = self._catalog.motivo(setor, text)
        if motivo is None:
            known = self._catalog.motivos[setor]
            raise IncompatibleMotivo(
                motivos_validos=known.names, sugestao=known.nearest(text), _texto=echo(text), _setor=setor
            )
        return motivo

    def _exact(self, given: dict[str, str]) -> bool | None:
        """Whether both came in the catalogue's exact spelling; None unless both came at all."""
        if not (given["setor"] and given["motivo"]):
            return None
        known = self._catalog.motivos.get(given["setor"])
        return known is not None and given["motivo"] in known.names


def _told(resumo: str, conversation: Conversation) -> str:
    """The resumo with what only the bot knows: whom to answer, and the receipt."""
    contact, receipt = conversation.contact, conversation.receipt_url
    prefix = f"[WhatsApp: {contact.reveal()}] " if contact else ""
    suffix = f"\n\n📎 Comprovante: {receipt.reveal()}" if receipt else ""
    return f"{prefix}{resumo}{suffix}"


def _body(document: str, resumo: str, setor: str, motivo: str) -> Personal:
    """The CRM's JSON (contract §4), in real UTF-8 and in that order."""
    ticket = {"documento": document, "resumo": resumo, "setor": setor, "motivo": motivo, "finalizar": "N"}
    return Personal.json(ticket)
