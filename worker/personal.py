"""A personal value in memory: its text appears only through an explicit `reveal()`."""

import json
from collections.abc import Mapping
from typing import NoReturn, Self

_HIDDEN = "[pessoal]"
_PURPOSE = object()
"""Of this process only: a hash that got out is not that of the text, and matches none of another process."""


class Personal:
    """Holds one personal text (document, resumo, contact, URL, arguments, output).

    `str`, `repr`, `format`, JSON and pickling give nothing away; only `reveal()` does, so that every place
    where a value leaves its wrapper can be found by searching for that word.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    @classmethod
    def json(cls, value: Mapping[str, object]) -> Self:
        """A JSON object as the text that travels: real UTF-8, no escapes (contract §4, §6)."""
        return cls(json.dumps(value, ensure_ascii=False))

    def reveal(self) -> str:
        """The value itself: for the CRM's body, the platform's output and encryption, never for a log."""
        return self._value

    def __repr__(self) -> str:
        return _HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(_HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Personal) and self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash((_PURPOSE, self.reveal()))

    def __getstate__(self) -> NoReturn:
        raise TypeError("a personal value is not pickled")

    __reduce__ = __getstate__
