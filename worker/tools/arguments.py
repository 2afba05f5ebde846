"""Reads and checks the arguments that the model wrote."""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence

from worker.errors import InvalidArguments, MissingParameters
from worker.personal import Personal

UNRECORDABLE = re.compile(r"[\x00\ud800-\udfff]")
"""NUL, which PostgreSQL cannot store, and lone surrogates, which are not UTF-8."""


def read(arguments: Personal, names: Sequence[str]) -> dict[str, str]:
    """The named parameters as texts, in that order; `""` if absent, null or blank.

    Other names are ignored, whatever their values. Raises `InvalidArguments`.
    """
    values = parse(arguments)
    return {name: _text(name, values.get(name)) for name in names}


def require(parameters: Mapping[str, str]) -> None:
    """Raises `MissingParameters` with the names of the parameters that have no text, in the tool's order."""
    missing = [name for name, text in parameters.items() if not text]
    if missing:
        raise MissingParameters(missing)


def parse(arguments: Personal) -> dict[str, object]:
    """The model's JSON object; an empty text is an empty object. Raises `InvalidArguments`."""
    text = arguments.reveal()
    try:
        values = json.loads(text.strip() or "{}", parse_int=_number)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InvalidArguments("envie um objeto JSON")
    return values


def _number(digits: str) -> float:
    """A number of any length. Python refuses an int of thousands of digits, even under an ignored name."""
    return int(digits) if len(digits) < 1000 else float(digits)


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidArguments
    if UNRECORDABLE.search(value):
        raise InvalidArguments(f"{name} contém caracteres que não podem ser registrados")
    return value if _is_visible(value) else ""


_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols without a visible form: the fillers of Hangul and the empty Braille pattern."""


def _is_visible(text: str) -> bool:
    """Whether a text has a visible letter, number, punctuation mark or symbol."""
    return any(unicodedata.category(each)[0] in "LNPS" and each not in _BLANK_LETTERS for each in text)
