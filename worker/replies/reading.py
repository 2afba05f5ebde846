"""Reads what a reply claims from its text alone."""

from collections.abc import Iterable, Iterator, Sequence

from worker.replies.context import Sentence, holds
from worker.replies.findings import NumberClaim, Reading, Span, bare
from worker.replies.grammar import symbols_of
from worker.replies.numbers import ENDING, Place, candidates, is_given_as_protocolo, may_be_protocolo
from worker.replies.printed_calls import printed_calls
from worker.replies.rules import TICKET_RULES, TRANSFER_RULES, Rule, RuleBook
from worker.replies.text import Token, sentences_of, tokens_of


def read_reply(text: str) -> Reading:
    """Read what a reply claims. Takes time linear in the length of the text, and never fails."""
    printed = [Span(start, end) for start, end in printed_calls(text)]
    tokens = list(_outside(printed, tokens_of(text)))
    symbols = symbols_of(tokens, text)
    sentences = list(sentences_of(tokens))
    in_context = list(_in_context(tokens, symbols, sentences))
    return Reading(
        numbers=tuple(_numbers(tokens, symbols, sentences)),
        tickets=tuple(_claims(TICKET_RULES, in_context)),
        transfers=tuple(_claims(TRANSFER_RULES, in_context)),
        printed_calls=tuple(printed),
    )


def _outside(spans: Sequence[Span], tokens: Sequence[Token]) -> Iterator[Token]:
    """The tokens that are in none of the spans; both are in the order of the text."""
    waiting = iter([*spans, None])
    span = next(waiting)
    for token in tokens:
        while span and span.end <= token.start:
            span = next(waiting)
        if span is None or token.end <= span.start:
            yield token


def _in_context(
    tokens: Sequence[Token], symbols: str, sentences: Sequence[tuple[int, int]]
) -> Iterator[tuple[Span, Sentence]]:
    """Each sentence as the rules read it, with its neighbours, and where it stands."""
    written = [symbols[first:end] for first, end in sentences]
    for place, (first, end) in enumerate(sentences):
        following = written[place + 1] if place + 1 < len(written) else ""
        preceding = written[place - 1] if place else ""
        sentence = Sentence(written[place], frozenset(written[place]), following, preceding)
        yield Span(tokens[first].start, tokens[end - 1].end), sentence


def _claims(rules: RuleBook, sentences: Iterable[tuple[Span, Sentence]]) -> Iterator[Span]:
    """The sentences in which one of the rules finds a claim."""
    for span, sentence in sentences:
        if any(_makes_claim(rule, sentence) for rule in rules.applying_to(sentence.words)):
            yield span


def _makes_claim(rule: Rule, sentence: Sentence) -> bool:
    return any(holds(rule, match, sentence) for match in rule.pattern.finditer(sentence.symbols))


def _numbers(
    tokens: Sequence[Token], symbols: str, sentences: Sequence[tuple[int, int]]
) -> Iterator[NumberClaim]:
    """The numbers that the reply gives as protocolos."""
    bounds = iter(enumerate(sentences))
    sentence, (first, end) = next(bounds, (0, (0, 0)))
    for index in candidates(tokens):
        while index >= end:
            sentence, (first, end) = next(bounds)
        place = Place(tokens, symbols, index, first, end)
        is_named = is_given_as_protocolo(place)
        if is_named or may_be_protocolo(place):
            token = tokens[index]
            is_ending = ENDING.search(place.before) is not None
            yield NumberClaim(Span(token.start, token.end), sentence, bare(token.text), is_ending, is_named)
