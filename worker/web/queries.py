"""What a list may be asked for (contract §3): since when, and where the next page begins."""

import base64
import json
import math
import re
from datetime import datetime, timedelta, tzinfo

from worker.ports import Cursor
from worker.web.problems import InvalidField

_LONGEST_CURSOR = 512
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}


def parse_since(text: str, zone: tzinfo, now: float) -> float:
    """`24h`, `7d`, `hoje` (midnight in `zone`) or a time, in seconds since the epoch.

    A time without offset is the zone's (contract §2, TIMEZONE). Raises `InvalidField`.
    """
    here = datetime.fromtimestamp(now, zone)
    if text.lower() == "hoje":
        return here.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    if span := re.fullmatch(r"(\d{1,5})([hd])", text, re.ASCII):
        return now - (int(span[1]) * _UNITS[span[2]]).total_seconds()
    try:
        time = datetime.fromisoformat(_with_plus(text))
        return (time if time.tzinfo else time.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidField("since", "precisa ser 24h, 7d, hoje ou data e hora RFC 3339") from None


def _with_plus(text: str) -> str:
    """A `+` that was not percent-encoded arrives as a space: `T12:00:00 03:00` meant `+03:00`."""
    return re.sub(r"(T.*) (\d\d:\d\d)$", r"\1+\2", text)


def cursor_text(cursor: Cursor | None) -> str | None:
    """The cursor as callers hand it back: opaque."""
    if cursor is None:
        return None
    at, last_id = cursor
    return base64.urlsafe_b64encode(json.dumps([float(at), last_id]).encode()).decode().rstrip("=")


def parse_cursor(text: str) -> Cursor:
    """The cursor `cursor_text` wrote. Raises `InvalidField` for anything else."""
    try:
        if len(text) <= _LONGEST_CURSOR:
            at, last_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if isinstance(at, float) and math.isfinite(at) and re.fullmatch(r"[!-~]{1,128}", last_id):
                return at, last_id
    except (ValueError, TypeError):
        pass
    raise InvalidField("cursor", "precisa ser o next_cursor da página anterior, sem mudanças")
