"""The last resort over free text: what looks like a personal value is replaced, and counted.

Messages are constants, exceptions are reduced and fields are an allow-list, so there should be nothing to
find: a count that moves is a defect to mend. Fields never pass here, so a protocolo stays whole.
"""

import re
from collections.abc import Callable, Mapping

from worker import metrics
from worker.privacy import parse_document

_SUSPECT = re.compile(r"\d{2}|[@$]|%40|://|www\.", re.IGNORECASE)
"""What every shape below has: nearly all lines are through after this one search."""


def _valid(found: str) -> bool:
    """Right check digits, also where the digits are those of another script."""
    bare = "".join(str(int(char)) if char.isdecimal() else char for char in found if char.isalnum())
    return parse_document(bare) is not None


def _any(_found: str) -> bool:
    return True


_AREA = r"(?:1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9])"
"""The area codes there are."""


def _shape(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


_SHAPES: Mapping[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "url": (_shape(r"(?:[a-z][a-z0-9+.-]{1,20}://|\bwww\.)\S+"), _any),
    # Tried once a word, or a long text without an address would take its square in time.
    "email": (_shape(r"(?<![^\s<>()\"',;:=])[^\s<>()\"',;:=@]+(?:@|%40)[\w.-]+\.[a-z]{2,}"), _any),
    "amount": (
        _shape(
            r"R\$\s*-?\d[\d.,]*",
            r"(?<![\d.,])\d{1,3}(?:\.?\d{3})*,\d\d(?!\d)",  # 1.234,56
            r"(?<!\d)\d[\d.,]{0,20}\s?reais\b",
        ),
        _any,
    ),
    "cnpj": (
        _shape(
            r"(?<!\d)\d\d[. ]?\d{3}[. ]?\d{3}[/ ]?\d{4}[- ]?\d\d(?!\d)",
            r"(?<![^\W_])[0-9a-z]{2}\.?[0-9a-z]{3}\.?[0-9a-z]{3}/?[0-9a-z]{4}-?\d\d(?![^\W_])",
        ),
        _valid,
    ),
    "cpf": (_shape(r"(?<!\d)\d{3}[. ]?\d{3}[. ]?\d{3}[- /]?\d\d(?!\d)"), _valid),
    "phone": (
        _shape(
            rf"(?<!\d)(?:\+?55[ .-]?)?\(?{_AREA}\)?[ .-]?9[ .-]?\d{{4}}[ .-]?\d{{4}}(?!\d)",  # a mobile
            rf"(?<!\d)(?:\+?55[ .-]?\(?|\(|0)?{_AREA}[) .-]{{1,2}}[2-9]\d{{3}}[ .-]?\d{{4}}(?!\d)",  # a landline
            r"(?<![\d.-])(?!(?:19|20)\d\d-(?:19|20)\d\d)9?[2-9]\d{3}-\d{4}(?![\d-])",  # no range of years
        ),
        _any,
    ),
}
"""In this order: an address may hold a number, and a document may look like a telephone."""


def redacted(text: str) -> str:
    """The text with `[cpf]`, `[email]`… in the place of what it should not hold; each is counted by shape."""
    if not _SUSPECT.search(text):
        return text
    for shape, (pattern, counts) in _SHAPES.items():
        text = pattern.sub(_replacement(shape, counts), text)
    return text


def _replacement(shape: str, counts: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
    def replace(found: re.Match[str]) -> str:
        if not counts(found[0]):
            return found[0]
        metrics.log_redactions.labels(shape).inc()
        return f"[{shape}]"

    return replace


for _shape in _SHAPES:
    metrics.log_redactions.labels(_shape)  # shown at 0 from the start
