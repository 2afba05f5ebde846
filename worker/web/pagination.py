"""Times and cursors in query parameters (contract §3)."""

import base64
import json
import math
import re
from datetime import tzinfo

from worker import times
from worker.views import Cursor
from worker.web.invalid import InvalidField

_LONGEST_CURSOR = 1024


def parse_since(text: str, zone: tzinfo, now: float, field: str = "since") -> float:
    """See `times.parse_since`. Raises `InvalidField` that names the field."""
    try:
        return times.parse_since(text, zone, now)
    except ValueError as error:
        raise InvalidField(field, str(error)) from None


def cursor_text(cursor: Cursor | None) -> str | None:
    """The cursor as an opaque text for `next_cursor`; None on the last page."""
    if cursor is None:
        return None
    at, last_id = cursor
    return base64.urlsafe_b64encode(json.dumps([float(at), last_id]).encode()).decode().rstrip("=")


def parse_cursor(text: str) -> Cursor:
    """Parse a text of `cursor_text`. Raises `InvalidField` for any other text."""
    try:
        if len(text) <= _LONGEST_CURSOR:
            at, last_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if isinstance(at, float) and math.isfinite(at) and re.fullmatch(r"[!-~]{1,256}", last_id):
                return at, last_id
    except (ValueError, TypeError):
        pass
    raise InvalidField("cursor", "precisa ser o next_cursor da página anterior, sem mudanças")
