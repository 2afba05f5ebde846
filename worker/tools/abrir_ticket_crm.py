"""`abrir_ticket_crm`: opens one ticket at the CRM (contract §4, §6)."""

import json
import re
from dataclasses import dataclass, field

from worker.catalog import Catalog, fold
from worker.errors import (
    BeingConfirmed,
    CrmRefused,
    CrmUnavailable,
    IncompatibleMotivo,
    InternalError,
    InvalidArguments,
    InvalidSetor,
    MissingDocument,
    MissingProtocolo,
    ToolError,
    UnknownConversation,
)
from worker.guard import Delivered, Guard, Undelivered
from worker.model import CallRecord, CallState, Conversation, Intent, Outcome, Rejection
from worker.personal import Personal
from worker.ports import Attempts
from worker.privacy import echo
from worker.tools.arguments import read, require

_PARAMETERS = ("resumo", "setor", "motivo")
_RESUMO_MAX = 10_000


@dataclass(frozen=True, slots=True)
class CrmSettings:
    """Where tickets are opened (contract §2). `protocol_pattern` is searched for in a protocolo.

    `idempotent`: the CRM opens one ticket per `Idempotency-Key`, so what may have been sent may go again.
    """

    url: str = field(repr=False)
    protocol_pattern: str
    idempotent: bool
    auth_header: tuple[str, str] | None = field(default=None, repr=False)


class AbrirTicketCrm:
    """Implements `ports.Tool`."""

    name = "abrir_ticket_crm"

    def __init__(self, catalog: Catalog, guard: Guard, crm: CrmSettings) -> None:
        self._catalog = catalog
        self._guard = guard
        self._crm = crm
        self._pattern = re.compile(crm.protocol_pattern)

    def plan(self, arguments: Personal, conversation: Conversation | None) -> Intent | Rejection:
        """A ticket with the very body every attempt will send, or what the model must correct."""
        given = dict.fromkeys(_PARAMETERS, "")
        try:
            given = read(arguments, _PARAMETERS)
            return self._intent(given, conversation)
        except ToolError as error:
            return Rejection.of(error, self._catalog.setor(given["setor"]), self._exact(given))

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        """Open the ticket. What an earlier owner may have sent goes again only to an idempotent CRM."""
        if call.body is None or call.idempotency_key is None:
            raise InternalError
        if call.maybe_sent and not self._crm.idempotent:
            return _UNCONFIRMED
        body = call.body.reveal().encode()
        delivery = await self._guard.post(self._crm.url, body, self._headers(call.idempotency_key), attempts)
        if isinstance(delivery, Delivered):
            return self._accepted(delivery)
        return self._not_accepted(delivery, certain=delivery.certain and not call.maybe_sent)

    def success(self, call: CallRecord) -> dict[str, object]:
        """What the model is told of an opened ticket (contract §6)."""
        return {
            "success": True,
            "protocolo": call.protocolo,
            "setor": call.setor,
            "motivo": call.motivo,
            "mensagem": f"Ticket aberto com sucesso! Protocolo: {call.protocolo}",
        }

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

    def _headers(self, idempotency_key: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": idempotency_key}
        if self._crm.auth_header:
            name, value = self._crm.auth_header
            headers[name] = value
        return headers

    def _accepted(self, delivery: Delivered) -> Outcome:
        protocolo = _protocolo(delivery.body)
        if protocolo is None or not (protocolo.isprintable() and self._pattern.search(protocolo)):
            return Outcome(CallState.NO_PROTOCOL, MissingProtocolo.code, certain=False)
        return Outcome(CallState.DONE, protocolo=protocolo, certain=False)

    def _not_accepted(self, delivery: Undelivered, *, certain: bool) -> Outcome:
        if not certain and not self._crm.idempotent:
            return _UNCONFIRMED
        error = CrmRefused if delivery.refused else CrmUnavailable
        return Outcome(CallState.FAILED, error.code, certain=certain)


_UNCONFIRMED = Outcome(CallState.UNKNOWN, BeingConfirmed.code, certain=False)
"""Something may have been opened, and nobody can be asked."""


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


def _protocolo(answer: bytes) -> str | None:
    """The protocolo of the CRM's answer, if it has the shape of contract §4."""
    try:
        # Numbers stay the text they are: a protocolo may be longer than a float is exact.
        found = json.loads(answer, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    match found:
        case [{"data": [{"resposta": [{"protocolo": str(protocolo)}, *_]}, *_]}, *_]:
            return protocolo
    return None
