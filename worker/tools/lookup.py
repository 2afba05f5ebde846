"""Asking the CRM what became of a ticket whose attempt brought no answer (contract §4)."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

import httpx

from worker.catalog import fold
from worker.personal import Personal

_SLACK = timedelta(seconds=120)
"""The CRM's clock may be behind the database's by this much."""

_BRAZILIAN = ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y")


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


@dataclass(frozen=True, slots=True)
class LookupSettings:
    """`CRM_LOOKUP_URL` and what belongs to it. Seconds."""

    url: str = field(repr=False)
    timeout_s: float
    timezone: str
    protocol_pattern: str
    auth_header: tuple[str, str] | None = field(default=None, repr=False)


class Lookup:
    """One question to the CRM. `held` tells whether another ticket of ours has that protocolo."""

    def __init__(self, settings: LookupSettings) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.timezone)
        self._pattern = re.compile(settings.protocol_pattern)
        headers = dict([settings.auth_header]) if settings.auth_header else {}
        self._client = httpx.AsyncClient(headers=headers, follow_redirects=False, timeout=settings.timeout_s)

    async def find(self, sought: Sought, held: Callable[[str], Awaitable[bool]]) -> str | Absent:
        """The protocolo of exactly one ticket that can be ours, or why there is none."""
        rows = await self._ask(sought.document)
        if rows is None:
            return Absent.NOT_KNOWN
        ours = [row for row in rows if self._alike(row, sought)]
        opened = [self._opened(row.get("data_abertura")) for row in ours]
        if None in opened:
            return Absent.NOT_KNOWN
        fresh = [
            row for row, at in zip(ours, opened, strict=True) if at is not None and self._since(at, sought)
        ]
        protocolos = [self._protocolo(row.get("protocolo")) for row in fresh]
        free = [each for each in protocolos if each is None or not await held(each)]
        if not free:
            return Absent.ABSENT
        # A ticket that can be ours and shows no protocolo proves that something was opened, and no more.
        return free[0] if len(free) == 1 and free[0] is not None else Absent.NOT_KNOWN

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _ask(self, document: Personal) -> Sequence[dict[str, object]] | None:
        """The rows of the CRM's answer; None when it gave none that can be read."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                answer = await self._client.post(self._settings.url, json={"documento": document.reveal()})
                found = (
                    json.loads(answer.content, parse_int=str, parse_float=str) if answer.is_success else None
                )
        except (httpx.HTTPError, TimeoutError, ValueError, RecursionError):
            return None
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            return None
        return found

    @staticmethod
    def _alike(row: dict[str, object], sought: Sought) -> bool:
        return (fold(str(row.get("setor"))), fold(str(row.get("motivo")))) == (
            fold(sought.setor),
            fold(sought.motivo),
        )

    def _opened(self, text: object) -> datetime | date | None:
        """When a ticket was opened: a moment, or only its day; None when it cannot be read."""
        if not isinstance(text, str):
            return None
        text = text.strip()
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}|\d{2}/\d{2}/\d{4}", text):
            moment = _parsed(text)
            return moment.date() if moment else None
        moment = _parsed(text)
        return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=self._zone)

    def _since(self, opened: datetime | date, sought: Sought) -> bool:
        earliest = datetime.fromtimestamp(sought.since, UTC) - _SLACK
        if isinstance(opened, datetime):
            return opened >= earliest
        return opened >= earliest.astimezone(self._zone).date()

    def _protocolo(self, value: object) -> str | None:
        if isinstance(value, str) and value.isprintable() and self._pattern.search(value):
            return value
        return None


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in _BRAZILIAN:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007  # the caller adds the zone
        except ValueError:
            continue
    return None
