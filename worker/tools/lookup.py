"""Asking the CRM what became of a ticket whose attempt brought no answer (contract §4)."""

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
"""The CRM's clock may be behind the database's by this much."""

_BRAZILIAN_DAY = re.compile(r"\A(\d{2})/(\d{2})/(\d{4})")
# Narrower than `fromisoformat`, which takes 1712051210304 (milliseconds) for a moment of the year 1712.
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?")


_MISREAD = re.compile(r"[\x80-\x9f]")
"""What other charsets than Latin-1 become when they are read as it."""


class Absent(Enum):
    """No protocolo was found. NOT_KNOWN: no answer, or one that proves nothing; never taken for ABSENT."""

    ABSENT = "absent"
    NOT_KNOWN = "not_known"


@dataclass(frozen=True, slots=True)
class Sought:
    """The ticket we look for. `since`: when its first attempt began, seconds since the epoch."""

    document: Personal
    setor: str
    motivo: str
    since: float
    #: The customer's contact, which is no protocolo either.
    contact: tuple[Personal, ...] = ()


@dataclass(frozen=True, slots=True)
class LookupSettings:
    """`CRM_LOOKUP_URL` and what belongs to it. Seconds."""

    url: str = field(repr=False)
    timeout_s: float
    timezone: str
    protocol_pattern: str
    auth_header: tuple[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Row:
    """A ticket as the CRM lists it, setor and motivo folded; None is what cannot be read.

    `opened`: a moment, or only its day.
    """

    setor: str | None
    motivo: str | None
    opened: datetime | date | None
    protocolo: str | None

    @property
    def complete(self) -> bool:
        return None not in (self.setor, self.motivo, self.opened, self.protocolo)


class Lookup:
    """One question to the CRM, and what its answer proves. One for life."""

    def __init__(self, settings: LookupSettings) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.timezone)
        self._protocolos = ProtocoloReader(settings.protocol_pattern)
        self._headers = dict([settings.auth_header]) if settings.auth_header else {}
        self._client = client.client(settings.url, settings.timeout_s)

    async def find(self, sought: Sought, held: Callable[[str], Awaitable[bool]]) -> str | Absent:
        """The protocolo of the only ticket that can be ours, or why there is none.

        `held` tells whether another ticket of ours has that protocolo. A row is another ticket when it surely
        differs; one that cannot be read proves that something may have been opened, and no more.
        """
        rows = await self._ask(sought)
        if rows is None:
            return Absent.NOT_KNOWN
        left = [row for row in rows if self._may_be(row, sought)]
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

    async def _ask(self, sought: Sought) -> Sequence[_Row] | None:
        """The rows of the CRM's answer; None when it gave none that can be read."""
        asking = self._client.stream(
            "POST", self._settings.url, json={"documento": sought.document.reveal()}, headers=self._headers
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
            return [self._row(row, sought) for row in found]
        logs.event("! a consulta ao CRM não deu resposta útil | code={code}", level="WARNING", code=code)
        return None

    def _may_be(self, row: _Row, sought: Sought) -> bool:
        alike = row.setor in (None, fold(sought.setor)) and row.motivo in (None, fold(sought.motivo))
        return alike and (row.opened is None or self._in_time(row.opened, sought))

    def _in_time(self, opened: datetime | date, sought: Sought) -> bool:
        earliest = datetime.fromtimestamp(sought.since - _SLACK_S, UTC)
        if isinstance(opened, datetime):
            return opened >= earliest
        return opened >= earliest.astimezone(self._zone).date()

    # ------------------------------------------------------------------------------------------ reading a row

    def _row(self, said: dict[str, object], sought: Sought) -> _Row:
        return _Row(
            setor=_folded(said.get("setor")),
            motivo=_folded(said.get("motivo")),
            opened=self._opened(said.get("data_abertura")),
            protocolo=self._protocolos.read(said.get("protocolo"), (sought.document, *sought.contact)),
        )

    def _opened(self, said: object) -> datetime | date | None:
        iso = _BRAZILIAN_DAY.sub(r"\3-\2-\1", said.strip()) if isinstance(said, str) else ""
        shaped = _ISO.fullmatch(iso)
        if shaped is None:
            return None
        try:
            moment = datetime.fromisoformat(iso)
        except ValueError:
            return None
        return self._placed(moment) if shaped[1] else moment.date()

    def _placed(self, moment: datetime) -> datetime | None:
        """A moment with its offset; None in the hour that the clocks of `TIMEZONE` show twice, or never."""
        if moment.tzinfo:
            return moment
        once, again = (moment.replace(tzinfo=self._zone, fold=which) for which in (0, 1))
        return once if once.utcoffset() == again.utcoffset() else None


def _folded(said: object) -> str | None:
    """None as well for text in a charset that nobody declared: it would look like another setor."""
    return fold(said) if isinstance(said, str) and not _MISREAD.search(said) else None
