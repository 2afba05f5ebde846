"""Time: the real clock behind `ports.Clock`, times as people write them (contract §7), HTTP's dates."""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from functools import lru_cache


class SystemClock:
    """The clock the daemon runs on; tests bring their own. Seconds."""

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}
_LONGEST = 40
"""Characters of the longest time people write: a date, microseconds and an offset with seconds."""
_FORMS = "precisa ser 24h, 7d, hoje, ou data e hora como 2025-10-27T15:34"


def parse_since(text: str, zone: tzinfo, now: float) -> float:
    """`24h`, `7d`, `hoje` (midnight in `zone`) or a time, in seconds since the epoch.

    A time without offset is the zone's (contract §2, TIMEZONE). Raises `ValueError` with a Portuguese
    sentence that does not repeat the text.
    """
    if len(text) > _LONGEST:  # before any other look at it: callers of the API may send anything
        raise ValueError(_FORMS)
    here = datetime.fromtimestamp(now, zone)
    if text.lower() == "hoje":
        return here.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    if span := re.fullmatch(r"(\d{1,5})([hd])", text, re.ASCII):
        return now - (int(span[1]) * _UNITS[span[2]]).total_seconds()
    try:
        moment = datetime.fromisoformat(_with_plus(text))
        at = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
        datetime.fromtimestamp(at, zone)  # at the ends of the calendar, what another zone cannot show
        return at
    except (ValueError, OverflowError):
        raise ValueError(_FORMS) from None


def _with_plus(text: str) -> str:
    """A `+` that was not percent-encoded arrives as a space: `T12:00:00 03:00` meant `+03:00`."""
    return re.sub(r"(T[^ ]*) (\d\d:\d\d)$", r"\1+\2", text)


def rfc3339(at: float, zone: tzinfo) -> str:
    """An instant to the second, with the zone's offset."""
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")


@lru_cache(maxsize=4)  # a `Date` changes once a second, and comes with every response
def http_date(text: str | None) -> float | None:
    """Seconds since the epoch of an HTTP date (`Date`, `Retry-After`); None for anything else."""
    try:
        date = parsedate_to_datetime(text or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def retry_after_s(value: str | None, now: float) -> float | None:
    """Seconds to wait by a `Retry-After`, which is a number or a date; None for anything else.

    `now`: the server's clock, seconds since the epoch. Some servers send fractions.
    """
    if value is not None and re.fullmatch(r"\s*-?\d{1,9}(\.\d{1,9})?\s*", value, re.ASCII):
        return max(0.0, float(value))
    date = http_date(value)
    return None if date is None else max(0.0, date - now)
