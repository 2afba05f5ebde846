"""What undoes a claim: negation, condition, question, other people's words, general information.

Portuguese negates right before the verb ("não te transferi", "ainda não foi aberto"), so a negation counts only
there; conditions are looked for in the clause, reported speech in the sentence before the claim. All windows are
bounded, so that a long hostile sentence costs no more than its length.
"""

import re
from dataclasses import dataclass

from worker.replies.grammar import pattern
from worker.replies.rules import Rule, Voice

_WINDOW = 40
"""Tokens looked at before and after a claim: longer than the sentences people write."""


_BESIDE = 4
"""Tokens right before and after a match that still say what it is about."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence as symbols (`grammar.symbols_of`), its end mark included."""

    symbols: str
    #: Each symbol once: a rule whose words are not among them needs no search.
    words: frozenset[str]
    #: The sentence after it: "Vou te transferir. Aguarde um momento."
    following: str = ""
    #: The sentence before it: "Quanto ao chamado: fique tranquila. Já abri."
    preceding: str = ""


_BOUNDARY = pattern("<,|:|break|but>")

# "não [te|já foi|consegui] registrei", "não registrei nem encaminhei", but not "não se preocupe"
_NEGATED = pattern(
    "<not> (?! <clitic>{0,1} <fake_not> ) <clitic|te|ainda|was|is_now|accomplished|i|prep|sendo|me>{0,4} (?: (?<= <i> ) <que> )? $"
)
_NO_SUCH = pattern("<nao> (?! <clitic>{0,1} <fake_not> ) <^ja>{0,12} $")
# "abri não", "registrei nada ainda", "abri chamado nenhum"
_NEGATED_AFTER = pattern("^ <clitic|ticket|request|ainda>{0,2} <nothing> (?: <ainda|,|stop|break> | $ )")
_IF = pattern("(?: ^ | <and|check> ) <se> <word>{0,12} $")
_CONDITION = pattern(
    "(?: (?: ^ | <and|check> ) <se> | ^ <caso> <word> | <when> | <when_that> <que|of> | <uma> <vez> | <unsure|general|who> ) <word>{0,14} $"
)
_ANY_CONDITION = pattern(
    "(?: (?: ^ | <and|,|:|break> ) <se> | (?: ^ | <,|:|break> ) <caso> | <when> | <when_that> <que|of> | <need> )"
)
# "na loja te falaram que", but not "o sistema informou que"
_REPORTED = pattern(
    "(?: <you|he|who|human> <word>{0,4} <said> | (?: ^ | <,|stop> ) <adverb>{0,2} <said> <que>"
    " | (?: <^sistema> | ^ ) <te|clitic> <said> <que>"
    " | <according> <article>{0,1} (?: <account> | <you> <,> ) )"
)
# "como a senhora informou que está sem sinal, um chamado foi aberto": a reason, not what was reported
_REASON = pattern("(?: <as|according> | <ja> <que> ) <article>{0,1} <you> <word>{0,4} <said>")
# "dependendo do teste, um técnico assume", "se não voltar, a equipe entra em contato": nothing has happened yet
_DEPENDS = pattern("<depends> <of|que|article>{1,2}")
_PRESENT = pattern("<in_present>")
# "não tive confirmação de que o chamado entrou", "não tenho como garantir que foi aberto"
_UNCERTAIN = pattern("<not> <word>{0,3} <certainty> <word>{0,2} <se|que> <word>{0,8} $")
# "em março foi registrada uma visita", "o chamado de julho": an account of an older ticket
_FORMER_BEFORE = pattern("(?: <em> <month> | <past_time> ) (?: <,|word> ){0,10} $")
_FORMER_SUBJECT = pattern(
    "^ <ticket|protocolo|request|service> <word>{0,3}? (?: <of> <month> | <past_time> )"
)
# "foi aberto no dia 3 e encerrado no dia 5": closed before this conversation
_CLOSED_SINCE = pattern("^ (?: <word> ){0,6} <,>{0,1} <ja|e_conj|adverb|was>{1,3} <closed>")
_I_REQUESTED = pattern("<asked_i>")
_NOT_YET = pattern("^ <word>{0,5} <,|break|stop>{0,1} <but> <word>{0,2} <not>")
_QUOTED = pattern("<word|,|:> <quote> [^<quote>]{0,12} $".replace("[^<quote>]", "<word|,|:>"))
_THIRD_PARTY = pattern("<third>")
_AT_THIRD_PARTY = pattern("^ <word>{0,2} <prep|by> <article>{0,1} <third>")
_BY_YOU = pattern("^ <word>{0,4}? <by> <article>{0,1} <you|self_service>")
_NOT_ONE = pattern("<every|not> $")
# "o período de pedidos está aberto": the request only says of what; "o número do protocolo" is its own
_OF_ANOTHER = pattern("<unknown|other|light|detail> <of> <article|possessive>{0,2} $")
_HABIT = pattern(
    "^ (?: <prep|when> <article> | <^and|but|article|possessive|service|human|sector|deadline> ){0,8}? <so>{0,1} <habit> (?! <so> )"
)
_POSSESSIVE = pattern("<possessive> $")
_TAG = pattern("(?: <,|:|break|word> ) <tag>{1,4} <ask>")
_NEXT_CLAUSE = pattern("(?: <,|break|:|quote> (?! <and|not|é|was> ) | <offers> )")
_ASKS = pattern("^ (?: <asks> | <you> <asks> )")
_WITHOUT_CERTAINTY = pattern("(?: (?: <with|vague> ) <article|possessive|a_an>{0,2} | <a_an> ) $")


def holds(rule: Rule, match: re.Match[str], sentence: Sentence) -> bool:
    """Whether a match of a rule in the sentence is a claim."""
    if _denied(match, sentence.symbols) or _is_question(rule, match, sentence.symbols):
        return False
    if rule.not_about and rule.not_about.search(_beside(match, sentence.symbols)):
        return False
    if rule.together_with and not rule.together_with.search(_neighbourhood(rule, match, sentence)):
        return False
    if rule.voice is Voice.OWN_DEED:
        return not _is_only_asked_for(match, sentence.symbols)
    if rule.voice is Voice.IMMINENT:
        return not _ANY_CONDITION.search(_around(match, sentence.symbols))
    return not _is_general(rule, match, sentence.symbols)


def _is_only_asked_for(match: re.Match[str], symbols: str) -> bool:
    """ "Pedi o registro, porém ainda não saiu": asked for, and not done yet."""
    return bool(_I_REQUESTED.match(match["verb"]) and _NOT_YET.search(_after(match, symbols)))


def _neighbourhood(rule: Rule, match: re.Match[str], sentence: Sentence) -> str:
    near = _around(match, sentence.symbols) + sentence.following[:_WINDOW]
    return near if rule.voice is Voice.IMMINENT else sentence.preceding[-_WINDOW:] + near


def _denied(match: re.Match[str], symbols: str) -> bool:
    clause = _clause_before(match.start("verb"), symbols)
    after_verb = symbols[match.end("verb") : match.end("verb") + 5]
    return bool(
        _NEGATED.search(clause)
        or _NEGATED_AFTER.search(after_verb)
        or _IF.search(clause)
        or _UNCERTAIN.search(clause)
        or _QUOTED.search(_before(match.start("verb"), symbols))
    )


def _is_question(rule: Rule, match: re.Match[str], symbols: str) -> bool:
    """A question asks for what it names, unless the claim stands in a clause of its own, or only a tag asks."""
    tail = symbols[match.end() - 1 : match.end() + _WINDOW]
    if not _ASK.search(symbols[-2:]) or _TAG.search(tail):
        return False
    if not _NEXT_CLAUSE.search(tail):
        return True
    return rule.voice is not Voice.OWN_DEED and bool(_ASKS.search(symbols))


_ASK = pattern("<ask>")


def _is_general(rule: Rule, match: re.Match[str], symbols: str) -> bool:
    """Whether a state is a condition, a habit, somebody else's ticket or somebody else's words."""
    subject = _subject(match)
    clause = _clause_before(match.start("verb"), symbols)
    before_subject = _clause_before(subject, symbols)
    return bool(
        _CONDITION.search(clause)
        or _NO_SUCH.search(before_subject if subject < match.start("verb") else clause)
        or (subject < match.start("verb") and _NOT_ONE.search(before_subject))
        or (subject < match.start("verb") and _OF_ANOTHER.search(before_subject))
        or _is_reported(_before(match.start("verb"), symbols))
        or _is_conditional_present(match, symbols)
        or _is_former(match, symbols)
        or _THIRD_PARTY.search(clause)
        or _AT_THIRD_PARTY.search(_after(match, symbols))
        or _BY_YOU.search(_after(match, symbols))
        or (rule.undone_by is not None and rule.undone_by.search(_around(match, symbols)))
        or (rule.voice is Voice.BARE and _only_describes(match, symbols))
    )


def _is_conditional_present(match: re.Match[str], symbols: str) -> bool:
    """The present tense says what will be done where a condition stands beside it."""
    around = _around(match, symbols)
    return bool(_DEPENDS.search(around)) or bool(
        _PRESENT.match(match["verb"]) and _ANY_CONDITION.search(around)
    )


def _is_former(match: re.Match[str], symbols: str) -> bool:
    """Whether the sentence tells of a ticket of an earlier time, or of one that is closed already."""
    return bool(
        _FORMER_BEFORE.search(_before(match.start(), symbols))
        or _FORMER_SUBJECT.search(symbols[_subject(match) : match.end()])
        or _CLOSED_SINCE.search(_after(match, symbols))
    )


def _is_reported(before: str) -> bool:
    return bool(_REPORTED.search(before)) and not _REASON.search(before)


def _subject(match: re.Match[str]) -> int:
    """Where the noun phrase of the claim begins: at its subject, else with the match."""
    return match.start("subject" if "subject" in match.re.groupindex else 0)


def _only_describes(match: re.Match[str], symbols: str) -> bool:
    """ "O chamado aberto vai para a fila", "com o chamado aberto": the participle is no statement."""
    before = _clause_before(_subject(match), symbols)
    if _WITHOUT_CERTAINTY.search(before):
        return True
    return not _POSSESSIVE.search(before) and bool(_HABIT.search(_after(match, symbols)))


def _clause_before(index: int, symbols: str) -> str:
    """What stands before this token in its clause."""
    before = _before(index, symbols)
    boundaries = [found.end() for found in _BOUNDARY.finditer(before)]
    return before[boundaries[-1] :] if boundaries else before


def _before(index: int, symbols: str) -> str:
    return symbols[max(0, index - _WINDOW) : index]


def _after(match: re.Match[str], symbols: str) -> str:
    return symbols[match.end() : match.end() + _WINDOW]


def _beside(match: re.Match[str], symbols: str) -> str:
    return symbols[max(0, match.start() - _BESIDE) : match.end() + _BESIDE]


def _around(match: re.Match[str], symbols: str) -> str:
    return symbols[max(0, match.start() - _WINDOW) : match.end() + _WINDOW]
