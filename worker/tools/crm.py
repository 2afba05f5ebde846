"""Opens one ticket per call at the CRM, and looks a ticket up after an ambiguous attempt (contract §4)."""

import json
import re
from dataclasses import dataclass, field, replace

from worker.errors import BeingConfirmed, CrmRefused, CrmUnavailable, InternalError, MissingProtocolo
from worker.model import CallRecord, CallState, Outcome
from worker.outbound import client
from worker.outbound.guard import Guard, Undelivered
from worker.outbound.post import Delivered
from worker.personal import Personal
from worker.ports import Attempts
from worker.tools.lookup import Absent, Lookup, TicketQuery
from worker.tools.protocolo import ProtocoloReader, loads


@dataclass(frozen=True, slots=True)
class CrmSettings:
    """The settings of the CRM (contract §2)."""

    url: str = field(repr=False)
    #: Regular expression that is searched for in a protocolo.
    protocol_pattern: str
    #: The CRM opens one ticket per `Idempotency-Key`, so a request that may have arrived may be sent again.
    idempotent: bool
    #: Name and value.
    auth_header: tuple[str, str] | None = field(default=None, repr=False)


class Crm:
    """Opens tickets through the guard. A lookup, if there is one, follows each ambiguous attempt."""

    def __init__(self, guard: Guard, settings: CrmSettings, lookup: Lookup | None = None) -> None:
        self._guard = guard
        self._settings = settings
        self._lookup = lookup
        self._protocolos = ProtocoloReader(settings.protocol_pattern)

    async def open(self, call: CallRecord, attempts: Attempts) -> Outcome:
        """Open the ticket that `call.body` describes. Earlier owners of the call may have sent it already."""
        if call.body is None or call.idempotency_key is None:
            raise InternalError
        body, headers = call.body.reveal().encode(), self._headers(call.idempotency_key)
        certain = not call.maybe_sent
        while True:
            if not certain and (earlier := await self._earlier_outcome(call, attempts)):
                return earlier
            delivery = await self._guard.post(self._settings.url, body, headers, attempts)
            if isinstance(delivery, Delivered):
                return await self._accepted(delivery, call, attempts)
            certain = certain and delivery.certain
            if delivery.certain or self._lookup is None:
                return self._not_accepted(delivery, certain=certain)

    async def recheck(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        """Look up an unconfirmed ticket again; None while the CRM gives no answer that proves anything."""
        if self._lookup is None:
            return None
        settled = (await attempts.sent()).settles_in_s == 0
        found = await self._find(self._lookup, call, attempts)
        if isinstance(found, str):
            return _looked_up(found)
        if found is Absent.ABSENT and settled and call.state is CallState.UNKNOWN:
            return Outcome(CallState.FAILED, CrmUnavailable.code, certain=False)
        return None

    # ------------------------------------------------------------------------------------ ambiguous attempts

    async def _earlier_outcome(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        """The outcome of an earlier ambiguous attempt; None when the ticket may be sent again."""
        if self._lookup is None:
            return None if self._settings.idempotent else _UNCONFIRMED
        found = await self._find_when_settled(self._lookup, call, attempts)
        if isinstance(found, str):
            return _looked_up(found)
        return _UNCONFIRMED if found is Absent.NOT_KNOWN else None

    async def _find_when_settled(self, lookup: Lookup, call: CallRecord, attempts: Attempts) -> str | Absent:
        """Look the ticket up. Its absence counts only once the CRM can no longer commit what was sent."""
        early = (await attempts.sent()).settles_in_s > 0
        found = await self._find(lookup, call, attempts)
        if isinstance(found, str) or not early:
            return found
        await attempts.settled()
        return await self._find(lookup, call, attempts)

    async def _find(self, lookup: Lookup, call: CallRecord, attempts: Attempts) -> str | Absent:
        if call.body is None:
            return Absent.NOT_KNOWN
        document, *contact = _personal(call.body)
        since = (await attempts.sent()).first_at
        query = TicketQuery(document, call.setor or "", call.motivo or "", since, tuple(contact))
        return await lookup.find(query, attempts.held_by_another)

    # -------------------------------------------------------------------------------------- the CRM's answer

    async def _accepted(self, delivery: Delivered, call: CallRecord, attempts: Attempts) -> Outcome:
        personal = _personal(call.body) if call.body else []
        protocolo = self._protocolos.read(_protocolo(delivery), personal)
        if protocolo is not None:
            return Outcome(CallState.DONE, protocolo=protocolo, certain=False)
        # The CRM accepted the request, so it is not sent again, even if a lookup does not show the ticket.
        accepted = Outcome(CallState.NO_PROTOCOL, MissingProtocolo.code, certain=False)
        found = await self._find(self._lookup, call, attempts) if self._lookup else None
        return replace(_looked_up(found), fallback=accepted) if isinstance(found, str) else accepted

    def _not_accepted(self, delivery: Undelivered, *, certain: bool) -> Outcome:
        if not certain and self._lookup is None and not self._settings.idempotent:
            return _UNCONFIRMED
        error = CrmRefused if delivery.refused else CrmUnavailable
        return Outcome(CallState.FAILED, error.code, certain=certain)

    def _headers(self, idempotency_key: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": idempotency_key}
        if self._settings.auth_header:
            name, value = self._settings.auth_header
            headers[name] = value
        return headers


_UNCONFIRMED = Outcome(CallState.UNKNOWN, BeingConfirmed.code, certain=False)
"""A ticket may have been opened, and nothing confirms it yet."""


def _looked_up(protocolo: str) -> Outcome:
    return Outcome(CallState.DONE, protocolo=protocolo, certain=False, from_lookup=True)


def _protocolo(answer: Delivered) -> object:
    """The value in the protocolo's place of the answer (contract §4); None if it has another shape."""
    try:
        body = loads(client.decoded(answer.body, answer.charset))
    except (ValueError, RecursionError):
        return None
    match body:
        case [{"data": [{"resposta": [{"protocolo": protocolo}, *_]}, *_]}, *_]:
            return protocolo
    return None


_CONTACT = re.compile(r"\[WhatsApp: (.*?)\] ")


def _personal(body: Personal) -> list[Personal]:
    """The document of a ticket's body, and its contact if it has one."""
    ticket = json.loads(body.reveal())
    contact = _CONTACT.match(ticket.get("resumo", ""))
    return [Personal(ticket.get("documento", "")), *([Personal(contact[1])] if contact else [])]
