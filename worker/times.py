"""Time: the real clock behind `ports.Clock`, and times as people write them (contract §7)."""

import asyncio
import re
import time
from datetime import datetime, timedelta, tzinfo


class SystemClock:
    """The clock the daemon runs on; tests bring their own. Seconds."""

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}


def parse_since(text: str, zone: tzinfo, now: float) -> float:
    """`24h`, `7d`, `hoje` (midnight in `zone`) or a time, in seconds since the epoch.

    A time without offset is the zone's (contract §2, TIMEZONE). Raises `ValueError` with a Portuguese
    sentence that does not repeat the text.
    """
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
        raise ValueError("precisa ser 24h, 7d, hoje ou data e hora RFC 3339") from None


def _with_plus(text: str) -> str:
    """A `+` that was not percent-encoded arrives as a space: `T12:00:00 03:00` meant `+03:00`."""
    return re.sub(r"(T.*) (\d\d:\d\d)$", r"\1+\2", text)
