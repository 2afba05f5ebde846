"""The allow-list of log fields, and exceptions reduced to what holds no value (contract §9)."""

import contextlib
import re
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any, Protocol

from worker.privacy import parse_document

LogValue = str | int | float | None
"""The value of a log field; None is `-` in text and null in JSON."""


def as_text(value: LogValue) -> str:
    """A value in a line of text."""
    return "-" if value is None else str(value)


class Hasher(Protocol):
    """`worker.privacy.Hasher`: the keyed hash of values for a purpose, in hex."""

    def digest(self, purpose: str, *parts: str) -> str: ...


@dataclass(slots=True)
class Context:
    """What the log needs of the process: set while it starts."""

    #: Hashes ids that could be personal; None before the database is open.
    hasher: Hasher | None = None
    #: The time zone of the lines (TIMEZONE); None: the machine's.
    zone: tzinfo | None = None
    #: Allowed values of a field, by the field's name.
    words: Mapping[str, Collection[str]] = field(default_factory=dict)


context = Context()

# ------------------------------------------------------------------------------------------------- fields

# Four digits in a row may be part of a document, phone number or amount. The worker's words have none.
_CODE = re.compile(r"(?!.*[0-9]{4})(?:[a-z0-9_]{1,40}|[A-Z0-9_]{1,40})")
_NAME = re.compile(r"(?!.*[0-9]{4})[A-Za-z0-9_.-]{1,64}")
_WORDING = re.compile(r"(?!.*\d{4})[\w ./-]{1,64}")
_UNSAFE_WORD = re.compile(r"(?<!\S)\S*(?:[0-9]{4}|@|://)\S*")
_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]{1,253}|\[[0-9a-f:]{2,39}\])(:[0-9]{1,5})?/?")  # never a path
_VISIBLE = re.compile(r"[!-~]{1,128}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9._:@+~-]{1,128}")
_PERSONAL_IDENTIFIER = re.compile(
    r"[0-9](?:[._:+~-]?[0-9]){9}"  # ten digits, also grouped as in a CPF or a phone number
    r"|@[^@]*\.[A-Za-z]{2}"  # an e-mail address
    r"|\A[0-9A-Z]{12}[0-9]{2}\Z"  # an alphanumeric CNPJ
)
_CNPJ = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Za-z]{2}\W?[0-9A-Za-z]{3}\W?[0-9A-Za-z]{3}\W?[0-9A-Za-z]{4}\W?[0-9]{2}(?![0-9A-Za-z])"
)
"""The form of a CNPJ, alphanumeric too, however it is grouped."""


def _shaped(pattern: re.Pattern[str]) -> Callable[[object], LogValue]:
    return lambda value: value if isinstance(value, str) and pattern.fullmatch(value) else None


def _number(value: object) -> LogValue:
    """A count or a time of at most nine digits: a longer number could be a document or a phone number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(value, 3) if abs(value) < 1e9 else None  # false for NaN, too


def _milliseconds(value: object) -> LogValue:
    number = _number(value)
    return round(number) if isinstance(number, float) else number


def _code(value: object) -> LogValue:
    """A word of a protocol, or an HTTP status."""
    return _shaped(_CODE)(value) if isinstance(value, str) else _number(value)


def _word(name: str, shape: re.Pattern[str]) -> Callable[[object], LogValue]:
    """A word of the field's vocabulary; without a vocabulary, any value with the form of a word."""

    def show(value: object) -> LogValue:
        allowed = context.words.get(name)
        if allowed is None:
            return _shaped(shape)(value)
        return value if isinstance(value, str) and value in allowed else None

    return show


def _identifier(prefix: str) -> Callable[[object], LogValue]:
    """An id as it is, or its keyed hash when it could hold a document, a phone number or an e-mail."""

    def show(value: object) -> LogValue:
        if not isinstance(value, str):
            return None
        if _names_nobody(value):
            return value
        return _hidden(context.hasher, prefix, value) if context.hasher else None

    return show


def _names_nobody(conversation_id: str) -> bool:
    personal = _PERSONAL_IDENTIFIER.search(conversation_id) or _has_cnpj(conversation_id)
    return bool(_IDENTIFIER.fullmatch(conversation_id)) and not personal


def _has_cnpj(text: str) -> bool:
    return any(parse_document("".join(filter(str.isalnum, found))) for found in _CNPJ.findall(text))


_PHONE = re.compile(r"(?<!\d)0{0,2}(?:(?:55)?0?[1-9][1-9](?:9\d{8}|[2-5]\d{7})|55[1-9][1-9][6-9]\d{7})(?!\d)")
"""A Brazilian telephone number with its area code, with or without the country's. With it, also one without
the ninth digit, as WhatsApp writes older numbers: ten digits alone are too often a time."""
_GROUPED = re.compile(r"(?<=\d)(?:[^\dA-Za-z]{1,3})(?=\d)")
_LONG_NUMBER = re.compile(r"(?<!\d)\d{11}(?!\d)|(?<!\d)\d{14}(?!\d)")
_AT = re.compile(r"@|%40")


def _platform_id(prefix: str) -> Callable[[object], LogValue]:
    """The platform's id of a run or call; hashed only if it is a document, a telephone number or an address.

    Such ids are long and random, so ten digits in a row prove nothing. Check digits and form decide.
    """

    def show(value: object) -> LogValue:
        if not isinstance(value, str):
            return None
        if _may_be_written(value):
            return value
        return _hidden(context.hasher, prefix, value) if context.hasher else None

    return show


def _may_be_written(platform_id: str) -> bool:
    joined = _GROUPED.sub("", platform_id)
    documents = (parse_document(found.group()) for found in _LONG_NUMBER.finditer(joined))
    personal = _PHONE.search(joined) or _AT.search(platform_id) or any(documents) or _has_cnpj(platform_id)
    return bool(_VISIBLE.fullmatch(platform_id)) and not personal


def hidden_id(hasher: Hasher, conversation_id: str) -> str | None:
    """What the log writes instead of a conversation's id; None where the id is written as it is."""
    return None if _names_nobody(conversation_id) else _hidden(hasher, "conv", conversation_id)


def hidden_run_id(hasher: Hasher, run_id: str) -> str | None:
    """What the log writes instead of a run's id; None where the id is written as it is."""
    return None if _may_be_written(run_id) else _hidden(hasher, "run", run_id)


def hidden_call_id(hasher: Hasher, platform_call_id: str) -> str | None:
    """What the log writes instead of the platform's id of a call; None where the id is written as it is."""
    return None if _may_be_written(platform_call_id) else _hidden(hasher, "call", platform_call_id)


HASHED_ID = re.compile(r"(?:conv|run|call)-[0-9a-f]{10}")
"""The form of what the log writes instead of an id."""


def _hidden(hasher: Hasher, prefix: str, value: str) -> str:
    return f"{prefix}-{hasher.digest(f'log.{prefix}', value)[:10]}"


def _problem(value: object) -> LogValue:
    """One of the worker's sentences for the operator (a `ConfigError`'s problem, a warning at start)."""
    return _UNSAFE_WORD.sub("…", value)[:300] if isinstance(value, str) else None


FIELDS: Mapping[str, Callable[[object], LogValue]] = {
    "protocolo": _shaped(re.compile(r"[\x21-\x7e]{1,64}")),
    "setor": _word("setor", _WORDING),
    "motivo": _word("motivo", _WORDING),
    "departamento": _word("departamento", _WORDING),
    "tool": _word("tool", _NAME),
    "conversation_id": _identifier("conv"),
    "run_id": _platform_id("run"),
    "platform_call_id": _platform_id("call"),
    **dict.fromkeys(("call_id", "handoff_id"), _shaped(re.compile(r"[A-Za-z0-9_-]{1,64}"))),
    "host": _shaped(re.compile(r"[A-Za-z0-9.:-]{1,253}")),
    "url": _shaped(_ORIGIN),
    "problem": _problem,
    "duration_ms": _milliseconds,
    **dict.fromkeys(("code", "status", "state", "reason", "platform"), _code),
    **dict.fromkeys(("attempt", "count", "seconds", "port"), _number),
    **dict.fromkeys(("payloads", "contacts", "calls", "runs", "conversations"), _number),
    **dict.fromkeys(("events", "webhooks", "accesses", "erasures", "replies"), _number),
    "codes": _shaped(re.compile(r"[a-z_]{1,40}(?:,[a-z_]{1,40}){0,9}")),
    **dict.fromkeys(("name", "version"), _shaped(_NAME)),
}
"""Every field that may be written, with the check of its value. A value that fails the check is None."""


# --------------------------------------------------------------------------------------------- exceptions

_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_FRAMES = 12
_DEPTH = 5
_MEMBERS = 4


def reduced(error: BaseException, depth: int = _DEPTH) -> str:
    """An exception in one line: class, codes, frames, members, causes; no message, value or source text."""
    parts = [type(error).__name__, *_codes(error)]
    if frames := " > ".join(_frames(error)):
        parts.append(f"[{frames}]")
    if depth and isinstance(error, BaseExceptionGroup):
        members = "; ".join(reduced(member, depth - 1) for member in error.exceptions[:_MEMBERS])
        parts.append(f"({members})")
    cause = error.__cause__ if error.__suppress_context__ else error.__context__
    if depth and cause is not None:
        parts.append(f"<- {reduced(cause, depth - 1)}")
    return " ".join(parts)


def _codes(error: BaseException) -> Iterator[str]:
    """The error's codes that are short words. `SystemExit.code` is text for people and is left out."""
    if not isinstance(error, Exception):
        return
    for name, read in _CODES.items():
        with contextlib.suppress(Exception):  # a property of a foreign class may raise anything
            if (value := read(error)) is not None:
                yield f"{name}={value}"


def _attribute(name: str) -> Callable[[Any], LogValue]:
    return lambda error: _code(getattr(error, name, None))


def _http_status(error: Any) -> LogValue:
    """httpx keeps the status in the answer."""
    return None if hasattr(error, "status_code") else _code(error.response.status_code)


def _sqlstate(error: Any) -> LogValue:
    """PostgreSQL's code. psycopg has it on the class of the error, so it holds nothing of a row."""
    return _shaped(_SQLSTATE)(type(error).sqlstate)


def _rules(error: Any) -> LogValue:
    """The rules that a pydantic model's input broke, without field names: a caller may have chosen them."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    rules = sorted({str(rule) for each in found if (rule := _code(each["type"])) is not None})
    return ",".join(rules[:_MEMBERS]) or None


_CODES: Mapping[str, Callable[[Any], LogValue]] = {
    **{name: _attribute(name) for name in ("status", "status_code", "code", "errno", "sqlite_errorname")},
    "http": _http_status,
    "sqlstate": _sqlstate,
    "rules": _rules,
}
"""The codes of an exception by name, and how each is read."""


def _frames(error: BaseException) -> list[str]:
    """The innermost frames as `folder/file.py:line function`."""
    walked = list(traceback.walk_tb(error.__traceback__))[-_FRAMES:]
    return [f"{place(frame.f_code.co_filename, line)} {frame.f_code.co_qualname}" for frame, line in walked]


logger_name = _shaped(re.compile(r"(?!.*[0-9]{4})[A-Za-z0-9_.<>-]{1,100}"))
"""A stdlib logger as it is named in code; one that is made for a customer is `-`."""


def place(filename: str, line: int) -> str:
    """Folder, file and line of code, without the folders above."""
    return f"{'/'.join(Path(filename).parts[-2:])}:{line}"
