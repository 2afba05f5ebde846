"""Looks up a ticket at the CRM when its attempt brought no answer (contract §4)."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import Enum
from zoneinfo import ZoneInfo

from worker import logs
from worker.catalog import fold
from worker.outbound import client
from worker.personal import Personal
from worker.tools.protocolo import ProtocoloReader, loads

_SLACK_S = 120.0
"""The CRM's clock may be behind the database's by this many seconds."""

_BRAZILIAN_DAY = re.compile(r"\A(\d{2})/(\d{2})/(\d{4})")
# Narrower than `fromisoformat`, which takes 1712051210304 (milliseconds) for a moment of the year 1712.
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?")


_MISREAD = re.compile(r"[\x80-\x9f]")
"""Characters that text in another charset contains when it is read as Latin-1."""


class Absent(Enum):
    """Why a lookup returned no protocolo."""

    #: The CRM answered, and no row can be this ticket.
    ABSENT = "absent"
    #: There was no answer, or one that proves nothing. Never treated as ABSENT.
    NOT_KNOWN = "not_known"


@dataclass(frozen=True, slots=True)
class TicketQuery:
    """The ticket that a lookup searches for."""

    document: Personal
    setor: str
    motivo: str
    #: When its first attempt began, seconds since the epoch.
    since: float
    #: The customer's contact. Like the document, it is never taken for a protocolo.
    contact: tuple[Personal, ...] = ()


@dataclass(frozen=True, slots=True)
class LookupSettings:
    """The settings of the lookup: `CRM_LOOKUP_URL` and those that go with it."""

    url: str = field(repr=False)
    timeout_s: float
    timezone: str
    protocol_pattern: str
    auth_header: tuple[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Row:
    """A ticket as the CRM lists it. A field that cannot be read is None."""

    #: Folded, as is the motivo.
    setor: str | None
    motivo: str | None
    #: A moment, or only its day.
    opened: datetime | date | None
    protocolo: str | None

    @property
    def complete(self) -> bool:
        return None not in (self.setor, self.motivo, self.opened, self.protocolo)


class Lookup:
    """Asks the CRM for the tickets of a document and matches them with one call. One per process."""

    def __init__(self, settings: LookupSettings) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.timezone)
        self._protocolos = ProtocoloReader(settings.protocol_pattern)
        self._headers = dict([settings.auth_header]) if settings.auth_header else {}
        self._client = client.client(settings.url, settings.timeout_s)

    async def find(self, query: TicketQuery, held: Callable[[str], Awaitable[bool]]) -> str | Absent:
        """The protocolo of the only row that can be this ticket, or why there is none.

        `held` returns whether another call of the ledger has a protocolo. A row is ruled out only if a field
        that can be read differs. If a row cannot be read, the ticket may have been opened: NOT_KNOWN.
        """
        rows = await self._ask(query)
        if rows is None:
            return Absent.NOT_KNOWN
        left = [row for row in rows if self._may_be(row, query)]
        left = [row for row in left if row.protocolo is None or not await held(row.protocolo)]
        match left:
            case []:
                return Absent.ABSENT
            case [_Row(protocolo=str(protocolo)) as row] if row.complete:
                return protocolo
        return Absent.NOT_KNOWN

    async def aclose(self) -> None:
        """Close the idle connections."""
        await self._client.aclose()

    async def _ask(self, query: TicketQuery) -> Sequence[_Row] | None:
        """The rows of the CRM's answer; None without an answer that can be read."""
        asking = self._client.stream(
            "POST", self._settings.url, json={"documento": query.document.reveal()}, headers=self._headers
        )
        found, code = None, "formato"
        try:
            async with asyncio.timeout(self._settings.timeout_s), asking as answer:
                if answer.is_success:
                    found = loads(client.decoded(await client.read(answer) or b"", answer.charset_encoding))
                else:
                    code = f"http_{answer.status_code}"
        except (ValueError, RecursionError):
            pass
        except Exception as error:  # noqa: BLE001  # httpx lets some pass (ssl.SSLError)
            code = client.code(error)
        if isinstance(found, list) and all(isinstance(row, dict) for row in found):
            return [self._row(row, query) for row in found]
        logs.event("! a consulta ao CRM não deu resposta útil | code={code}", level="WARNING", code=code)
        return None

    def _may_be(self, row: _Row, query: TicketQuery) -> bool:
        alike = row.setor in (None, fold(query.setor)) and row.motivo in (None, fold(query.motivo))
        return alike and (row.opened is None or self._in_time(row.opened, query))

    def _in_time(self, opened: datetime | date, query: TicketQuery) -> bool:
        earliest = datetime.fromtimestamp(query.since - _SLACK_S, UTC)
        if isinstance(opened, datetime):
            return opened >= earliest
        return opened >= earliest.astimezone(self._zone).date()

    # ------------------------------------------------------------------------------------------ reading a row

    def _row(self, fields: dict[str, object], query: TicketQuery) -> _Row:
        return _Row(
            setor=_folded(fields.get("setor")),
            motivo=_folded(fields.get("motivo")),
            opened=self._opened(fields.get("data_abertura")),
            protocolo=self._protocolos.read(fields.get("protocolo"), (query.document, *query.contact)),
        )

    def _opened(self, value: object) -> datetime | date | None:
        iso = _BRAZILIAN_DAY.sub(r"\3-\2-\1", value.strip()) if isinstance(value, str) else ""
        shaped = _ISO.fullmatch(iso)
        if shaped is None:
            return None
        try:
            moment = datetime.fromisoformat(iso)
        except ValueError:
            return None
        return self._with_offset(moment) if shaped[1] else moment.date()

    def _with_offset(self, moment: datetime) -> datetime | None:
        """A moment with its offset; None in an hour that `TIMEZONE` has twice or skips."""
        if moment.tzinfo:
            return moment
        once, again = (moment.replace(tzinfo=self._zone, fold=which) for which in (0, 1))
        return once if once.utcoffset() == again.utcoffset() else None


def _folded(value: object) -> str | None:
    """Folded text. None for text in an undeclared charset, which would look like another setor."""
    return fold(value) if isinstance(value, str) and not _MISREAD.search(value) else None
