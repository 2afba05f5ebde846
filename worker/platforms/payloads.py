"""Reading what platforms send: ids, calls, numbers and times, with nothing trusted to have its type."""

import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeGuard

from worker.errors import PlatformUnavailable
from worker.model import PLATFORM_ID, ToolCall
from worker.personal import Personal
from worker.times import http_date

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_UNRECORDABLE = re.compile(r"[\x00\ud800-\udfff]")
_NO_OBJECT = "null"


def is_id(value: object) -> TypeGuard[str]:
    """An id of the platform that contract §3 accepts."""
    return isinstance(value, str) and bool(PLATFORM_ID.fullmatch(value))


def is_word(value: object) -> TypeGuard[str]:
    """A status or code that is safe to print and log."""
    return isinstance(value, str) and bool(_WORD.fullmatch(value))


def addressable(*ids: str | None) -> bool:
    """True if a URL can contain these ids: the SDK refuses `.`, `..` and an empty one."""
    return all(ids) and not {".", ".."} & set(ids)


def entries(listing: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of a listing. Raises `PlatformUnavailable`."""
    data = listing.get("data")
    if isinstance(data, list) and all(isinstance(each, dict) for each in data):
        return data
    raise PlatformUnavailable(200)


def bot_threads(threads: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """The threads whose metadata names a conversation of the bot, as (conversation, thread) pairs."""
    result = []
    for thread in threads:
        match thread:
            case {"id": thread_id, "metadata": {"ticket_worker_conversation": conversation_id}}:
                if is_id(conversation_id) and is_id(thread_id) and addressable(thread_id):
                    result.append((conversation_id, thread_id))
    return result


def is_returnable(value: object) -> TypeGuard[str]:
    """An id that can be recorded and sent back unchanged: any text without NUL and lone surrogates."""
    return isinstance(value, str) and not _UNRECORDABLE.search(value)


def tool_call(
    call_id: object, name: object, arguments: object, turn_id: str | None = None
) -> ToolCall | None:
    """A call, with any name and arguments; None without an id to send back.

    A name that is not text becomes empty, which is no function. `_text` converts the arguments.
    """
    if not is_returnable(call_id):
        return None
    return ToolCall(call_id, name if isinstance(name, str) else "", Personal(_text(arguments)), turn_id)


def _text(arguments: object) -> str:
    """The model's JSON text; some servers send it parsed. Arguments too deep to serialise become null."""
    if isinstance(arguments, str):
        return arguments
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except RecursionError:
        return _NO_OBJECT


class Calls(NamedTuple):
    """The calls of one poll, in their order, and the number of further calls without a usable id."""

    calls: tuple[ToolCall, ...]
    unanswerable: int


def unique_calls(calls: Iterable[ToolCall | None]) -> Calls:
    """The calls without duplicates. Two calls with one id and different contents are two calls."""
    listed = list(calls)
    answerable = {call.identity: call for call in listed if call is not None}
    return Calls(tuple(answerable.values()), listed.count(None))


def tokens(usage: object) -> int | None:
    """The total of a `usage`, which has one form on all three platforms; None without one."""
    total = number(usage.get("total_tokens")) if isinstance(usage, dict) else None
    return None if total is None else int(total)


def poll_after_s(headers: Mapping[str, str]) -> float | None:
    """The platform's hint for the next poll, in seconds."""
    milliseconds = number(headers.get("openai-poll-after-ms"))
    return None if milliseconds is None else max(0.0, milliseconds / 1000)


def now(headers: Mapping[str, str]) -> float:
    """The time by the platform's clock; by this machine's where the headers have no date."""
    date = http_date(headers.get("date"))
    return time.time() if date is None else date


def number(value: object) -> float | None:
    """A finite number from JSON or a header. Some servers send fractions, some send text."""
    try:
        result = float(value) if isinstance(value, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None
