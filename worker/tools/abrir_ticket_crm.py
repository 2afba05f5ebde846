"""The tool `abrir_ticket_crm`: checks arguments, builds the ticket and the answer (contract §4, §6)."""

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
        """The intent with the body that every attempt sends, or a rejection that the model can correct."""
        parameters = dict.fromkeys(_PARAMETERS, "")
        try:
            parameters = read(arguments, _PARAMETERS)
            return self._intent(parameters, conversation)
        except ToolError as error:
            return Rejection.of(error, self._catalog.setor(parameters["setor"]), self._exact(parameters))

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        """Open the ticket: see `Crm.open`."""
        return await self._crm.open(call, attempts)

    async def recheck(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        """Look the ticket up: see `Crm.recheck`."""
        return await self._crm.recheck(call, attempts)

    def success(self, call: CallRecord) -> Personal:
        """The answer to the model for an opened ticket (contract §6)."""
        return Personal.json(
            {
                "success": True,
                "protocolo": call.protocolo,
                "setor": call.setor,
                "motivo": call.motivo,
                "mensagem": f"Ticket aberto com sucesso! Protocolo: {call.protocolo}",
            }
        )

    def _intent(self, parameters: dict[str, str], conversation: Conversation | None) -> Intent:
        """Check the parameters in the order of contract §6 and build the intent."""
        if len(parameters["resumo"]) > _RESUMO_MAX:
            raise InvalidArguments("o resumo tem mais de 10.000 caracteres")
        require(parameters)
        setor = self._setor(parameters["setor"])
        motivo = self._motivo(setor, parameters["motivo"])
        if conversation is None:
            raise UnknownConversation
        if conversation.document is None:
            raise MissingDocument
        document = conversation.document.reveal()
        return Intent(
            equal_on=(setor, motivo, fold(parameters["resumo"]), document),
            body=_body(
                document, _with_contact_and_receipt(parameters["resumo"], conversation), setor, motivo
            ),
            setor=setor,
            motivo=motivo,
            exact=self._exact(parameters),
            uses_receipt=conversation.receipt_url is not None,
        )

    def _setor(self, text: str) -> str:
        setor = self._catalog.setor(text)
        if setor is None:
            valid = self._catalog.setores
            raise InvalidSetor(setores_validos=valid.names, sugestao=valid.nearest(text), _texto=echo(text))
        return setor

    def _motivo(self, setor: str, text: str) -> str:
        motivo = self._catalog.motivo(setor, text)
        if motivo is None:
            valid = self._catalog.motivos[setor]
            raise IncompatibleMotivo(
                motivos_validos=valid.names, sugestao=valid.nearest(text), _texto=echo(text), _setor=setor
            )
        return motivo

    def _exact(self, parameters: dict[str, str]) -> bool | None:
        """Whether setor and motivo have the catalogue's exact spelling; None unless both are present."""
        if not (parameters["setor"] and parameters["motivo"]):
            return None
        motivos = self._catalog.motivos.get(parameters["setor"])
        return motivos is not None and parameters["motivo"] in motivos.names


def _with_contact_and_receipt(resumo: str, conversation: Conversation) -> str:
    """The resumo, after the contact and before the receipt's URL, if the conversation has them."""
    contact, receipt = conversation.contact, conversation.receipt_url
    prefix = f"[WhatsApp: {contact.reveal()}] " if contact else ""
    suffix = f"\n\n📎 Comprovante: {receipt.reveal()}" if receipt else ""
    return f"{prefix}{resumo}{suffix}"


def _body(document: str, resumo: str, setor: str, motivo: str) -> Personal:
    """The CRM's JSON (contract §4): UTF-8 without escapes, fields in this order."""
    ticket = {"documento": document, "resumo": resumo, "setor": setor, "motivo": motivo, "finalizar": "N"}
    return Personal.json(ticket)
