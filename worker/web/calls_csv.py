"""Calls as CSV, a line at a time (contract §14): no personal data, no cell that a spreadsheet would run."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, tzinfo

from worker.log_fields import FIELDS
from worker.views import CallView

COLUMNS = (
    "call_id",
    "platform_call_id",
    "run_id",
    "conversation_id",
    "tool",
    "state",
    "error",
    "protocolo",
    "setor",
    "motivo",
    "departamento",
    "attempts",
    "equal_to",
    "received_at",
    "finished_at",
    "submitted_at",
    "dismissed",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def calls_csv(portions: AsyncIterator[Sequence[CallView]], zone: tzinfo) -> AsyncIterator[str]:
    """The header, then each portion of calls as lines."""
    yield _lines([COLUMNS])
    async for calls in portions:
        yield _lines(_row(call, zone) for call in calls)


def _row(call: CallView, zone: tzinfo) -> list[str]:
    values = {name: getattr(call, name) for name in COLUMNS if name not in {"attempts", "dismissed"}}
    values |= {
        "tool": FIELDS["tool"](call.tool),  # a name that the model made up may hold anything
        "attempts": len(call.attempts),
        "dismissed": call.dismissal.reason if call.dismissal else None,
    }
    return [_cell(name, values[name], zone) for name in COLUMNS]


def _cell(name: str, value: object, zone: tzinfo) -> str:
    if value is None:
        return ""
    if name.endswith("_at") and isinstance(value, float):
        return datetime.fromtimestamp(value, zone).isoformat()
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _lines(rows: Iterable[Iterable[str]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue()
