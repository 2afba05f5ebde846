"""Reads a protocolo from the CRM's answers: the same rule for the POST and for the lookup."""

import json
import re
from collections.abc import Sequence
from decimal import Decimal

from worker.personal import Personal
from worker.privacy import holds_personal

_LONGEST = 64
"""Most characters of a protocolo, as in the API; usual ones have about 16. A database index takes no page."""


def loads(text: str) -> object:
    """JSON with numbers as `Decimal`, because a protocolo may have more digits than a float.

    Raises `ValueError` and `RecursionError`.
    """
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


class ProtocoloReader:
    """Recognizes the CRM's protocolos by `CRM_PROTOCOL_PATTERN`."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern, re.ASCII)

    def read(self, value: object, personal: Sequence[Personal] = ()) -> str | None:
        """The protocolo in a text or a whole number; None if the value is not one.

        `personal`: the customer's document and contact. Some CRMs answer with one of them instead.
        """
        text = _integer(value) if isinstance(value, Decimal) else value
        if not isinstance(text, str):
            return None
        text = text.strip()
        if len(text) > _LONGEST or not text.isprintable() or _has_foreign_digits(text):
            return None
        if not self._pattern.search(text):
            return None
        return None if holds_personal(text, personal) else text


def _integer(number: Decimal) -> str | None:
    whole = number.is_finite() and number.adjusted() < _LONGEST and number == number.to_integral_value()
    return str(int(number)) if whole else None


def _has_foreign_digits(text: str) -> bool:
    return any(character.isdigit() and not character.isascii() for character in text)
