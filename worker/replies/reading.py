"""Reads what a reply claims from its text alone."""

from collections.abc import Iterator, Sequence

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
    return Reading(
        numbers=tuple(_numbers(tokens, symbols, sentences)),
        tickets=tuple(_claims(TICKET_RULES, tokens, symbols, sentences)),
        transfers=tuple(_claims(TRANSFER_RULES, tokens, symbols, sentences)),
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


def _claims(
    rules: RuleBook, tokens: Sequence[Token], symbols: str, sentences: Sequence[tuple[int, int]]
) -> Iterator[Span]:
    """The sentences in which one of the rules finds a claim."""
    for place, (first, end) in enumerate(sentences):
        following = sentences[place + 1] if place + 1 < len(sentences) else (end, end)
        preceding = sentences[place - 1] if place else (0, 0)
        sentence = Sentence(symbols[first:end], symbols[slice(*following)], symbols[slice(*preceding)])
        if any(_makes_claim(rule, sentence) for rule in rules.applying_to(sentence.symbols)):
            yield Span(tokens[first].start, tokens[end - 1].end)


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
