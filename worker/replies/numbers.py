"""Finds numbers that a reply gives as the protocolo of the customer's request.

The noun nearest to a number says what it is: "protocolo 2510…", "CPF 529…". Where its sentence has no such noun,
the sentence before may have it: "Chamado aberto! Anota aí: 2510…".
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.replies.grammar import pattern, symbols_in
from worker.replies.text import Kind, Token

_REACH = 14
"""Tokens between a number and the noun that names it."""

_BESIDE = 3
"""Tokens within which a noun names even a short number: "protocolo é o 42"."""

_LONG = 11
"""Digits from which a number beside a claim is taken for its protocolo even if nothing names it."""

_SHORTEST_ALONE, _LONGEST_ALONE = 12, 20
"""Digits of a protocolo that stands alone: longer than telephone numbers, shorter than bar codes."""

_AMOUNT = re.compile(r"[\d.]+,\d{1,2}")
_DATE_OR_TIME = re.compile(
    r"\d{1,2}[/.-]\d{1,2}(?:[/.-]\d{2,4})?|\d{1,2}:\d{2}(?::\d{2})?|(?:19|20)\d\d(?:-\d\d-\d\d)?|\d{1,2}/\d{4}"
)
_OTHER_SHAPE = re.compile(
    r"\d{3}\.\d{3}\.\d{3}-\d{2}|\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}"  # CPF, CNPJ
    r"|9\d{4}-\d{4}|\d{2} ?9\d{4}-?\d{4}|0800.*|400\d-?\d{4}"  # telephone
    r"|(?:\d{1,3}\.){3}\d{1,3}|802\.\d+|\d{5}-\d{3}"  # IP address, Wi-Fi standard, CEP
)
_NEVER = re.compile(r"0800.*|\d{3}\.\d{3}\.\d{3}-\d{2}|\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}")
_CODE = re.compile(r"(?![a-z0-9]*xxx)(?=[a-z0-9]*\d\d)[a-z0-9]{5,40}", re.IGNORECASE)
_MEASURE = re.compile(r"\d+[a-z]{1,6}|\d{1,2}h\d{2}\w{0,3}", re.IGNORECASE)

_LABEL = symbols_in("label")
_WEAK_LABEL = symbols_in("weak_label")
_OTHER_LABEL = symbols_in("other_label")
_SOFT_OTHER = symbols_in("soft_other")
_PARTS = symbols_in(":", "é", "ficou")
_NUMERO = symbols_in("numero", "hash")
_UNIT = symbols_in("unit", "amount")
_AMOUNT_MARK = symbols_in("amount")
_NAMES = symbols_in("label", "weak_label", "registry", "request", "opened", "formal")

_IS_THE_PROTOCOLO = pattern(
    "^ <,|break|:|quote>{0,1} <é|was|ficou|as> <article|possessive|numero|of|prep|this>{0,5} <label|weak_label>"
)
_IS_SOMETHING_ELSE = pattern(
    "^ (?: <é|was> | <,|break>{0,1} <as> ) <article|possessive|numero|of>{1,4} <other_label>"
)
# "o ticket da sua instalação: 2510…": the noun before the colon only says of what.
_LABEL_OF = pattern(
    "<label> (?: <of> <article|possessive>{0,1} <word>{0,1} <word> ){1,3} (?: <:|é|break> <article|possessive|numero>{0,2} ){1,2} <hash>{0,1} $"
)
_REPORTED = pattern(
    "(?: <you|he|who> <word>{0,4} <said|gave_me> | <said> <que> | <according> <article>{0,1} <you|que|account> | <you> <ja|me|te>{0,2} <gave_me> )"
)
_YOURS = pattern(
    "^ <,|break|quote>{0,2} <que> <article>{0,1} <you|he> <clitic|adverb|te>{0,2} <gave|said|open_you>"
)
_NOT_FOUND = pattern("<not> <clitic|ainda|adverb>{0,2} <found|vague>")
_NOT_FOUND_AFTER = pattern("^ <word>{0,3} <not> <clitic|ainda>{0,2} <found>")
_EXAMPLE = pattern("<example> <word|:|,>{0,2} $")
_BOUNDARY = pattern("<,|:|break|but>")
_THIRD = pattern("(?: <of> <third> | <third> <word>{0,4} <gave> )")
_THIRD_AFTER = pattern("^ <word>{0,2} <prep> <article>{0,1} <third>")
_IF = pattern("(?: ^ | <,|:|break|and|check> ) <se> <word>{0,14} $")
ENDING = pattern("<ending> <prep|article>{0,2} $")
"""The number is only the end of one: "termina em 5307"."""
_NOTE_IT = pattern("<note_it>")
_TAG = pattern("(?: <,|:|break|word> ) <tag>{1,4} <ask>")
_ASK = pattern("<ask>")
_OWN_CLAUSE = pattern("(?: <,|break|:> (?! <and|not|é|was|tag|who> ) | <offers> )")


@dataclass(frozen=True, slots=True)
class Place:
    """A number in its reply: the tokens, their symbols, and the bounds of its sentence."""

    tokens: Sequence[Token]
    symbols: str
    index: int
    first: int
    end: int

    @property
    def before(self) -> str:
        return self.symbols[max(self.first, self.index - 30) : self.index]

    @property
    def after(self) -> str:
        return self.symbols[self.index + 1 : min(self.end, self.index + 30)]


def candidates(tokens: Sequence[Token]) -> Iterator[int]:
    """Indices of the tokens that could be a protocolo by their form alone."""
    for index, token in enumerate(tokens):
        if token.text.isalpha():
            continue
        if token.kind is Kind.NUMBER:
            if (
                _digits(token) >= 2
                and not _AMOUNT.fullmatch(token.text)
                and not _DATE_OR_TIME.fullmatch(token.text)
            ):
                yield index
        elif _CODE.fullmatch(token.text) and not _MEASURE.fullmatch(token.text):
            yield index


def is_given_as_protocolo(place: Place) -> bool:
    """Whether the reply says that this number is the protocolo of the customer's request."""
    return _is_named(place) and not _is_reported(place) and not _is_asked(place)


def may_be_protocolo(place: Place) -> bool:
    """Whether the number would be given as a protocolo if the ledger knew it as one of another conversation."""
    token = place.tokens[place.index]
    named_otherwise = _nearest_label(place)[0] == "other" or _has_other_shape(place)
    return _digits(token) >= 8 and not named_otherwise and not _is_reported(place) and not _is_asked(place)


def _digits(token: Token) -> int:
    return sum(char.isdigit() for char in token.text)


# ------------------------------------------------------------------------------------------------ what it is


def _is_named(place: Place) -> bool:
    if _is_something_else(place):
        return False
    if _IS_THE_PROTOCOLO.search(place.after) or _LABEL_OF.search(place.before):
        return True
    label, distance = _nearest_label(place)
    if not label:
        return _named_by_context(place)
    return label != "other" and _may_have(label, distance, place)


def _is_something_else(place: Place) -> bool:
    """An amount, a CPF, a 0800 number, or "3007… é o contrato"."""
    following = place.symbols[place.index + 1 : place.index + 2]
    preceding = place.symbols[max(0, place.index - 1) : place.index]
    return bool(
        (following and following in _UNIT)
        or (preceding and preceding in _AMOUNT_MARK)
        or _NEVER.fullmatch(place.tokens[place.index].text)
        or _IS_SOMETHING_ELSE.search(place.after)
    )


def _may_have(label: str, distance: int, place: Place) -> bool:
    """Whether a number of this form can be what the noun before it names: "ticket 42", but not "pedido 42"."""
    digits = _digits(place.tokens[place.index])
    if label == "protocolo" and distance <= _BESIDE:
        return digits >= 2
    long_enough = digits >= (3 if label == "protocolo" else 5) or ENDING.search(place.before) is not None
    return long_enough and not _has_other_shape(place)


def _has_other_shape(place: Place) -> bool:
    return _OTHER_SHAPE.fullmatch(place.tokens[place.index].text) is not None


def _nearest_label(place: Place) -> tuple[str, int]:
    """The kind of the nearest noun to the left that says what a number is, and its distance in tokens."""
    numbered = parted = passed_other = False
    for distance, symbol in enumerate(reversed(place.before[-_REACH:]), 1):
        if symbol in _LABEL:
            return "protocolo", distance
        if symbol in _OTHER_LABEL and not (parted and symbol in _SOFT_OTHER):
            return "other", distance
        passed_other = passed_other or symbol in _OTHER_LABEL
        parted = parted or symbol in _PARTS
        if symbol in _WEAK_LABEL and (numbered or distance <= 4):
            return "weak", distance
        numbered = numbered or symbol in _NUMERO
    return ("other", 0) if passed_other else ("", 0)


def _named_by_context(place: Place) -> bool:
    """ "Chamado aberto! Anota aí: 2510…": a long number, or "número …", right after a ticket was spoken of."""
    token = place.tokens[place.index]
    numbered = any(symbol in _NUMERO for symbol in place.before)
    if _digits(token) < (4 if numbered else _LONG) or _has_other_shape(place):
        return False
    around = place.symbols[max(0, place.first - 25) : place.first] + place.before + place.after
    if _digits(token) >= 14 and _NOTE_IT.search(place.before):
        return True
    if _is_alone(place):
        return True
    around += place.symbols[place.end : place.end + 12]
    return any(symbol in _NAMES for symbol in around) and not any(
        symbol in _OTHER_LABEL for symbol in place.after
    )


def _is_alone(place: Place) -> bool:
    """ "É esse aqui: 2510…": a sentence of little more than the number, with nothing that names it otherwise."""
    named = place.symbols[max(0, place.first - 25) : place.end]
    return (
        place.end - place.first <= 7
        and _SHORTEST_ALONE <= _digits(place.tokens[place.index]) <= _LONGEST_ALONE
        and not any(symbol in _OTHER_LABEL for symbol in named)
    )


# --------------------------------------------------------------------------------------- what undoes it


def _is_reported(place: Place) -> bool:
    """Whether it is the customer's number, another company's, an example, or one that was not found."""
    return bool(
        _REPORTED.search(place.before)
        or _YOURS.search(place.after)
        or _NOT_FOUND.search(_BOUNDARY.split(place.before)[-1])
        or _NOT_FOUND_AFTER.search(place.after)
        or _EXAMPLE.search(place.before)
        or _THIRD.search(place.before)
        or _THIRD_AFTER.search(place.after)
        or _IF.search(place.before)
    )


def _is_asked(place: Place) -> bool:
    if not _ASK.search(place.symbols[place.end - 1 : place.end]) and not _ASK.search(place.after):
        return False
    if _TAG.search(place.symbols[place.index] + place.after) or _NOTE_IT.search(place.before):
        return False
    return not _OWN_CLAUSE.search(place.after)
