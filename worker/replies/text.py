"""Splits a reply into words, numbers and sentences; every one keeps its place in the original text.

Words are folded one by one (case, accents, compatibility forms), so no table of offsets is needed: emoji,
ligatures and decomposed accents change the length of the folded word, never its place.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import NamedTuple

from worker.replies.vocabulary import ABBREVIATIONS


class Kind(Enum):
    """What a token is."""

    WORD = auto()
    #: Digits, with the separators people write into them: `2510.0713-33`, `219,80`, `05/10/2025`.
    NUMBER = auto()
    #: Digits with letters at their end: `24h`, `11h20`, `300mega`.
    MEASURE = auto()
    COMMA = auto()
    COLON = auto()
    #: Ends a clause, not a sentence: `;`, brackets, dashes, emoji.
    BREAK = auto()
    QUOTE = auto()
    #: `#`: the next number is a name, not an amount.
    HASH = auto()
    #: `$`, `%`: the number beside it is an amount.
    AMOUNT = auto()
    #: Ends a sentence: full stop, exclamation mark, line end.
    STOP = auto()
    QUESTION = auto()


class Token(NamedTuple):
    """One word, number or mark: its folded text, and where it stands in the reply (end exclusive)."""

    kind: Kind
    text: str
    start: int
    end: int


# Letters may carry combining accents, variation selectors and zero-width characters.
_LOOSE = "\u0300-\u036f\u00ad\u200b-\u200d\u2060\ufe00-\ufe0f"
_TOKEN = re.compile(
    r"(?P<numero>\b[nN](?:(?:[º°oO]s?\.?|\.[º°oO]?)(?=[ *]{0,3}[\d#:])|(?=[ *]{0,3}\d{3})))"
    r"|(?P<short>\b[pPcCsS]/(?=\s?\w))"
    r"|(?P<order>\bO\.\s?S\b\.?|(?:(?<=\b[aA] )|(?<=[sS]ua )|(?<=[uU]ma ))OS\b|\bOS(?=\s(?:aberta|gerada|criada|registrada|emitida)|\s?(?:#|:\s?#?\d|n[º°ºo.]|\d)))"
    rf"|(?P<word>[^\W\d_][\w{_LOOSE}]*(?:-[^\W\d_][\w{_LOOSE}]*)*)"
    # Groups set apart by blanks are one number only where they are as long as in 2510 0713 3197 4402.
    r"|(?P<keycaps>(?:\d\ufe0f?\u20e3)+)"
    r"|(?P<number>\d{2,5}(?:[ \u00a0]\d{2,5}){2,}(?!\w)|\d+(?:[.,:/\-–]\d+)*)(?P<unit>[^\W\d_]\w*)?"
    r"|(?P<newline>\n)"
    r"|(?P<mark>[.!?…]+|[^\s\w*_~`'’])"
)
_SIGNS = {
    ",": Kind.COMMA,
    "#": Kind.HASH,
    "$": Kind.AMOUNT,
    "%": Kind.AMOUNT,
    "€": Kind.AMOUNT,
    ":": Kind.COLON,
}
_SIGNS |= dict.fromkeys('"“”„«»', Kind.QUOTE) | dict.fromkeys("→➡=", Kind.COLON)
_INVISIBLE = re.compile(f"[_{_LOOSE}\u20e3]")
_E_ACUTE = frozenset({"é", "É", "e\u0301", "E\u0301"})


def fold_word(word: str) -> str:
    """A word without case, accents and invisible characters. `é` (is) keeps its accent: `e` means "and"."""
    if word.isascii():
        return word.lower() if "_" not in word else word.lower().replace("_", "")
    if word in _E_ACUTE:
        return "é"
    decomposed = unicodedata.normalize("NFKD", word.replace("º", "o").replace("ª", "a"))
    return _INVISIBLE.sub("", decomposed).casefold()


def tokens_of(text: str) -> list[Token]:
    """The tokens of a reply in their order; white space and formatting marks (`*`, `_`, `~`) are left out."""
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        group = match.lastgroup
        if group == "word":
            _add_words(tokens, match.group(), match.start())
        elif group in _WRITTEN_OUT:
            word = _WRITTEN_OUT[group] or _SHORT[match.group()[0].lower()]
            tokens.append(Token(Kind.WORD, word, match.start(), match.end()))
        else:
            kind = _kind_of_mark(match, text, tokens) if group == "mark" else _KINDS[group or ""]
            tokens.append(Token(kind, _INVISIBLE.sub("", match.group()), match.start(), match.end()))
    return tokens


def _add_words(tokens: list[Token], written: str, start: int) -> None:
    """Add one token, or several for a hyphenated word: `segunda-feira`, `registrei-o`."""
    for part in written.split("-") if "-" in written else (written,):
        end = start + len(part)
        tokens.append(Token(Kind.WORD, fold_word(part), start, end))
        start = end + 1


# "OS", "O.S." is an ordem de serviço, "nº" a number; "p/", "c/", "s/" are para, com, sem.
_WRITTEN_OUT = {"order": "ordem", "numero": "numero", "short": ""}
_SHORT = {"p": "para", "c": "com", "s": "sem"}
_KINDS = {"number": Kind.NUMBER, "keycaps": Kind.NUMBER, "unit": Kind.MEASURE, "newline": Kind.STOP}


def _kind_of_mark(match: re.Match[str], text: str, before: Sequence[Token]) -> Kind:
    mark = match.group()
    if mark[0] not in ".!?…":
        return _SIGNS.get(mark, Kind.BREAK)
    if "?" in mark:
        return Kind.QUESTION
    return Kind.STOP if mark != "." or _ends_sentence(match.end(), text, before) else Kind.BREAK


def _ends_sentence(after: int, text: str, before: Sequence[Token]) -> bool:
    """Whether a single full stop ends a sentence: not after `sr`, `nº`, nor inside `site.com.br`."""
    if before and before[-1].end == after - 1 and before[-1].text in ABBREVIATIONS:
        return False
    following = text[after : after + 1]
    return not (following.isalnum() and not following.isupper())


def sentences_of(tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """The sentences, as ranges of token indices (end exclusive, the closing marks included)."""
    first = 0
    closing = (Kind.STOP, Kind.QUESTION)
    for index, token in enumerate(tokens):
        following = tokens[index + 1].kind if index + 1 < len(tokens) else None
        if token.kind in closing and following not in closing:
            yield first, index + 1
            first = index + 1
    if first < len(tokens):
        yield first, len(tokens)
