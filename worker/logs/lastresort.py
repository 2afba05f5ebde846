"""The last filter of free text: replaces and counts whatever has the form of a personal value.

Messages are constants, exceptions are reduced and fields are an allow-list, so the filter should find
nothing: a count above 0 is a defect to mend. Fields never pass here, so a protocolo stays whole.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from worker import metrics
from worker.privacy import parse_document


def _valid(found: str) -> bool:
    """Whether the check digits are right, also in digits of another script."""
    bare = "".join(str(int(char)) if char.isdecimal() else char for char in found if char.isalnum())
    return parse_document(bare) is not None


def _any(_found: str) -> bool:
    return True


_AREA = r"(?:1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9])"
"""The existing area codes."""


class _Shape(NamedTuple):
    """One kind of personal value."""

    name: str
    #: A quick test: only a text that passes it is searched, and nearly every line fails it.
    signs: Callable[[str], object]
    pattern: re.Pattern[str]
    #: Whether a match is such a value.
    counts: Callable[[str], bool] = _any


def _one_of(*signs: str) -> Callable[[str], object]:
    return lambda text: any(sign in text for sign in signs)


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


_LONG_NUMBER = re.compile(r"(?:\d[ ./()+-]{0,3}){8}").search
_OTHER_SIGNS = _one_of("@", "%40", "$", "://", "www.", "WWW.", "reais")
_TWO_DIGITS = re.compile(r"\d\d").search

_SHAPES = (
    _Shape("url", _one_of("://", "www.", "WWW."), _pattern(r"(?:[a-z][a-z0-9+.-]{1,20}://|\bwww\.)\S+")),
    _Shape(
        "email",
        _one_of("@", "%40"),
        # Tried once a word, or a long text without an address would take its square in time.
        _pattern(r"(?<![^\s<>()\"',;:=])[^\s<>()\"',;:=@]+(?:@|%40)[\w.-]+\.[a-z]{2,}"),
    ),
    _Shape(
        "amount",
        _one_of("$", ",", "reais"),
        _pattern(
            r"R\$\s*-?\d[\d.,]*",
            r"(?<![\d.,])\d{1,3}(?:\.?\d{3})*,\d\d(?!\d)",  # 1.234,56
            r"(?<!\d)\d[\d.,]{0,20}\s?reais\b",
        ),
    ),
    _Shape(
        "cnpj",
        _TWO_DIGITS,
        _pattern(
            r"(?<!\d)\d\d[. ]?\d{3}[. ]?\d{3}[/ ]?\d{4}[- ]?\d\d(?!\d)",
            r"(?<![^\W_])[0-9a-z]{2}\.?[0-9a-z]{3}\.?[0-9a-z]{3}/?[0-9a-z]{4}-?\d\d(?![^\W_])",
        ),
        _valid,
    ),
    _Shape("cpf", _LONG_NUMBER, _pattern(r"(?<!\d)\d{3}[. ]?\d{3}[. ]?\d{3}[- /]?\d\d(?!\d)"), _valid),
    _Shape(
        "phone",
        _LONG_NUMBER,
        _pattern(
            rf"(?<!\d)(?:\+?55[ .-]?)?\(?{_AREA}\)?[ .-]?9[ .-]?\d{{4}}[ .-]?\d{{4}}(?!\d)",
            rf"(?<!\d)(?:\+?55[ .-]?\(?|\(|0)?{_AREA}[) .-]{{1,2}}[2-9]\d{{3}}[ .-]?\d{{4}}(?!\d)",
            r"(?<![\d.-])(?!(?:19|20)\d\d-(?:19|20)\d\d)9?[2-9]\d{3}-\d{4}(?![\d-])",  # no range of years
        ),
    ),
)
"""In this order: an address may hold a number, and a document may look like a telephone."""


def redacted(text: str) -> str:
    """The text with `[cpf]`, `[email]`… in place of personal values; each is counted by shape."""
    if not (_TWO_DIGITS(text) or _OTHER_SIGNS(text)):
        return text
    for shape in _SHAPES:
        if shape.signs(text):
            text = shape.pattern.sub(partial(_replacement, shape), text)
    return text


def _replacement(shape: _Shape, found: re.Match[str]) -> str:
    if not shape.counts(found[0]):
        return found[0]
    metrics.log_redactions.labels(shape.name).inc()
    return f"[{shape.name}]"


for _each in _SHAPES:
    metrics.log_redactions.labels(_each.name)  # shown at 0 from the start
