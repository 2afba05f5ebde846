"""Patterns over words instead of characters: a rule says `<opened_i> <gap>{0,6} <ticket>`.

Every token of a reply becomes one character that stands for the set of its classes (`vocabulary.CLASSES`);
`<name>` matches the characters of all sets that hold `name`. So a rule is a regular expression over a text
with one character a word, every repetition is bounded, and matching is linear in the length of the reply.
"""

import re
from collections.abc import Iterable, Sequence

from worker.replies.text import Kind, Token
from worker.replies.vocabulary import CLASSES, MISSPELT

_FIRST_SYMBOL = 0xE000
_MARKS = {
    ",": Kind.COMMA,
    ":": Kind.COLON,
    "break": Kind.BREAK,
    "quote": Kind.QUOTE,
    "hash": Kind.HASH,
    "amount": Kind.AMOUNT,
    "stop": Kind.STOP,
    "ask": Kind.QUESTION,
    "number": Kind.NUMBER,
    "measure": Kind.MEASURE,
}
_SYMBOL_OF_KIND = {kind: chr(_FIRST_SYMBOL + place) for place, kind in enumerate(_MARKS.values())}
_NAME = chr(_FIRST_SYMBOL + 20)  # an unknown word with a capital: mostly a person
_UNKNOWN = chr(_FIRST_SYMBOL + 21)


def _symbols() -> tuple[dict[str, str], dict[str, frozenset[str]]]:
    """The symbol of each word, and the classes of each symbol: words with equal classes share one."""
    classes_of: dict[str, set[str]] = {}
    for name, words in CLASSES.items():
        for word in words:
            classes_of.setdefault(word, set()).add(name)
    symbol_of_set: dict[frozenset[str], str] = {}
    symbol_of_word: dict[str, str] = {}
    for word, names in classes_of.items():
        key = frozenset(names)
        symbol_of_word[word] = symbol_of_set.setdefault(key, chr(_FIRST_SYMBOL + 32 + len(symbol_of_set)))
    return symbol_of_word, {symbol: key for key, symbol in symbol_of_set.items()}


_SYMBOL_OF_WORD, _CLASSES_OF_SYMBOL = _symbols()
_WORDS = frozenset(
    {*_CLASSES_OF_SYMBOL, _NAME, _UNKNOWN, _SYMBOL_OF_KIND[Kind.NUMBER], _SYMBOL_OF_KIND[Kind.MEASURE]}
)


def symbols_of(tokens: Sequence[Token], text: str) -> str:
    """One symbol a token, in order."""
    return "".join([_symbol(token, text) for token in tokens])


def _symbol(token: Token, text: str) -> str:
    if token.kind is not Kind.WORD:
        return _SYMBOL_OF_KIND[token.kind]
    word = token.text
    known = _SYMBOL_OF_WORD.get(word) or _SYMBOL_OF_WORD.get(MISSPELT.get(word) or _plain_form(word))
    return known or (_NAME if text[token.start].isupper() else _UNKNOWN)


_DRAWN_OUT = re.compile(r"(.)\1{2,}|([aeiou])\2$")


def _plain_form(word: str) -> str:
    """A word without its diminutive, superlative or drawn-out end.

    "registradinho" is "registrado", "abertim" (Minas Gerais), "abertíssimo" and "abertooo" are "aberto".
    """
    word = _DRAWN_OUT.sub(r"\1\2", word)
    if word.endswith(("dim", "tim")):
        return word[:-2] + "o"
    if word.endswith(("issimo", "issima")):
        return word[:-6] + word[-1]
    stem, diminutive, ending = word.rpartition("inh")
    return stem + ending if diminutive and len(ending) <= 2 else word


def pattern(source: str) -> re.Pattern[str]:
    """Compile a rule. `<a|b>`: a word of class a or b; `<^a|b>`: any other word; `<word>`: any word.

    Also `<unknown>`, `<name>` (an unknown word with a capital), `<number>`, `<measure>` and the marks `<,>`
    `<:>` `<break>` `<quote>` `<hash>` `<amount>` `<stop>` `<ask>`; `(verb: …)` and `(subject: …)` are named
    groups. White space in the source is for the reader. Raises `KeyError` for an unknown class.
    """
    parts = re.split(r"<(\^?[\w|,:]+)>", re.sub(r"\s+", "", source))
    parts[1::2] = [_charset(names) for names in parts[1::2]]
    return re.compile(re.sub(r"\((verb|subject):", r"(?P<\1>", "".join(parts)))


def symbols_of_group(group: str, source: str) -> frozenset[str] | None:
    """The symbols of the words that `(group: <…> …)` names in a rule; None: it names none, or no class."""
    names = re.search(rf"\({group}: <([\w|]+)>", source)
    return None if names is None else symbols_in(*names[1].split("|"))


def symbols_in(*names: str) -> frozenset[str]:
    """The symbols of these classes and marks. Raises `KeyError` for an unknown class."""
    return frozenset(symbol for name in names for symbol in _symbols_of_class(name))


def _charset(names: str) -> str:
    inverted = names.startswith("^")
    symbols = symbols_in(*names.removeprefix("^").split("|"))
    return "[" + "".join(sorted(_WORDS - symbols if inverted else symbols)) + "]"


def _symbols_of_class(name: str) -> Iterable[str]:
    if name in _MARKS:
        return _SYMBOL_OF_KIND[_MARKS[name]]
    if name == "word":
        return _WORDS
    if name in ("name", "unknown"):
        return _NAME if name == "name" else _UNKNOWN
    if name not in CLASSES:
        raise KeyError(name)
    return (symbol for symbol, names in _CLASSES_OF_SYMBOL.items() if name in names)
