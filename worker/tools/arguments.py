"""What the model wrote: read, and checked for what is missing."""

import json
import re
from collections.abc import Mapping, Sequence

from worker.errors import InvalidArguments, MissingParameters
from worker.personal import Personal

_UNRECORDABLE = re.compile(r"[\x00\ud800-\udfff]")
"""NUL, which PostgreSQL cannot store, and lone surrogates, which are not UTF-8."""


def read(arguments: Personal, names: Sequence[str]) -> dict[str, str]:
    """The named parameters as texts, in that order; `""` for what is absent, null or blank.

    Other names are ignored, whatever their values. Raises `InvalidArguments`.
    """
    given = _parse(arguments.reveal())
    return {name: _text(name, given.get(name)) for name in names}


def require(given: Mapping[str, str]) -> None:
    """Raises `MissingParameters`, naming those without a text in the tool's order."""
    missing = [name for name, text in given.items() if not text]
    if missing:
        raise MissingParameters(missing)


def _parse(text: str) -> dict[str, object]:
    try:
        # As a float, a number of any length is read without an error: it may stand under an ignored name.
        given = json.loads(text.strip() or "{}", parse_int=float)
    except (ValueError, RecursionError):
        raise InvalidArguments from None
    if not isinstance(given, dict):
        raise InvalidArguments
    return given


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidArguments
    if _UNRECORDABLE.search(value):
        raise InvalidArguments(f"{name} contém caracteres que não podem ser registrados")
    return value if value.strip() else ""
