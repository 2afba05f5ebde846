"""A rehearsal in words for people: each mistake in one sentence, and what to change."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.rehearsal.results import Code, Measure, Mistake, Results, ScenarioResult
from worker.rehearsal.scenarios import Expectation

_SHORT = {
    Code.NOT_CALLED: "não chamou {function}",
    Code.CALLED: "chamou {detail} sem que devesse",
    Code.WRONG_PAIR: "chamou {detail}",
    Code.WRONG_DEPARTAMENTO: "chamou {detail}",
    Code.REJECTED: "{function} recusada ({detail}) e não corrigida",
    Code.SUSPECT_REPLY: "resposta suspeita: {detail}",
    Code.PROTOCOLO_MISSING: "não informou o protocolo",
    Code.PROTOCOLO_PRESENT: "informou um protocolo sem que devesse",
    Code.TEXT_MISSING: 'a resposta não contém "{expected}"',
    Code.TEXT_PRESENT: 'a resposta contém "{expected}"',
    Code.NO_REPLY: "não respondeu",
    Code.ENDED_OTHERWISE: "a execução terminou: {detail}",
}
"""Texts of a mistake in the report's table."""

_SENTENCES = {
    Code.NOT_CALLED: "o assistente não chamou {function} quando devia",
    Code.CALLED: "o assistente chamou {function} quando não devia",
    Code.WRONG_PAIR: "o assistente abriu o ticket com outro setor ou motivo ({detail})",
    Code.WRONG_DEPARTAMENTO: "o assistente transferiu para outro departamento ({detail})",
    Code.REJECTED: "a chamada de {function} foi recusada ({detail}), e o assistente não a corrigiu",
    Code.SUSPECT_REPLY: "o assistente disse ao cliente algo que não aconteceu ({detail})",
    Code.PROTOCOLO_MISSING: "o cliente não soube o protocolo do ticket",
    Code.PROTOCOLO_PRESENT: "o cliente recebeu um protocolo quando não devia",
    Code.TEXT_MISSING: 'a resposta não disse "{expected}"',
    Code.TEXT_PRESENT: 'a resposta disse "{expected}"',
    Code.NO_REPLY: "o assistente não respondeu ao cliente",
    Code.ENDED_OTHERWISE: "a execução não chegou ao fim ({detail})",
}
"""Texts of a kind of mistake, for people who read nothing else."""

_RULES = (
    "Instruções de {assistants}: diga quando chamar e quando não chamar cada função. As regras prontas "
    "entram com: ticket-worker sync-schema --instructions"
)
_PAIRS = (
    "Instruções de {assistants}: liste os motivos de cada setor. As descrições das funções e dos parâmetros "
    "voltam às do documento com: ticket-worker sync-schema"
)
_REPLIES = (
    "Instruções de {assistants}: só diga que abriu ticket ou transferiu depois do sucesso da função, e só "
    "informe o protocolo que ela devolveu, sem alterá-lo"
)
_TEXT = "Instruções de {assistants}: diga o que a resposta ao cliente precisa, ou não pode, conter"
_PLATFORM = (
    "Plataforma de {assistants}: veja a cota, os limites de tokens e o modelo; nenhuma regra foi testada ali"
)

_ADVICE = {
    Code.NOT_CALLED: _RULES,
    Code.CALLED: _RULES,
    Code.WRONG_PAIR: _PAIRS,
    Code.WRONG_DEPARTAMENTO: _PAIRS,
    Code.REJECTED: _PAIRS,
    Code.SUSPECT_REPLY: _REPLIES,
    Code.PROTOCOLO_MISSING: _REPLIES,
    Code.PROTOCOLO_PRESENT: _REPLIES,
    Code.TEXT_MISSING: _TEXT,
    Code.TEXT_PRESENT: _TEXT,
    Code.NO_REPLY: _PLATFORM,
    Code.ENDED_OTHERWISE: _PLATFORM,
}
FINDINGS = {
    "protocolo_desconhecido": "um protocolo que não existe",
    "protocolo_de_outra_conversa": "o protocolo de outro cliente",
    "ticket_nao_aberto": "um ticket que não foi aberto",
    "transferencia_nao_pedida": "uma transferência que não foi pedida",
    "funcao_em_texto": "uma função escrita como texto",
}
"""The codes of the reply check (contract §10) in plain words."""

_NAMED = 3
"""Most scenarios or details that a sentence names."""

MEASURES = {
    Measure.CALLED: "chamou quando devia",
    Measure.NOT_CALLED: "não chamou quando não devia",
    Measure.RIGHT_PAIRS: "setor e motivo certos",
    Measure.SUSPECT_REPLIES: "conversas com resposta suspeita",
    Measure.ENDED_OTHERWISE: "conversas que terminaram de outro modo",
}


def expectation(expected: Expectation) -> str:
    """What a scenario expects, in words."""
    parts = []
    if expected.calls is not None:
        parts.append(" + ".join(map(str, expected.calls)) or "nenhuma chamada")
    if expected.never:
        parts.append(f"nunca {', '.join(expected.never)}")
    if expected.protocolo is not None:
        parts.append("informa o protocolo" if expected.protocolo else "não informa protocolo")
    parts += [f'diz "{" ou ".join(spellings)}"' for spellings in expected.contains]
    parts += [f'não diz "{text}"' for text in expected.lacks]
    return "; ".join(parts)


def short(mistake: Mistake) -> str:
    """A mistake in the table."""
    return _SHORT[mistake.code].format(**{**mistake.model_dump(), "detail": _detail(mistake)})


def mistakes_of(scenario: ScenarioResult) -> list[str]:
    """The mistakes of a scenario, the most frequent first; how often, where it was played repeatedly."""
    counted = Counter(short(each) for attempt in scenario.attempts for each in attempt.mistakes)
    if len(scenario.attempts) == 1:
        return list(counted)
    return [f"{text} ({times}×)" for text, times in counted.most_common()]


@dataclass(slots=True)
class _Kind:
    """One kind of mistake, over a whole rehearsal."""

    #: The first of them: what they have in common is its code and its function.
    example: Mistake
    conversations: int = 0
    #: Names in their order; the most frequent details first.
    scenarios: dict[str, None] = field(default_factory=dict)
    details: Counter[str] = field(default_factory=Counter)

    def sentence(self, total: int) -> str:
        details = ", ".join(detail for detail, _ in self.details.most_common(_NAMED))
        text = _SENTENCES[self.example.code].format(**{**self.example.model_dump(), "detail": details})
        return f"Em {self.conversations} de {total} conversas {text}: {_named(list(self.scenarios))}."


def most_frequent(results: Results, limit: int = 3) -> list[str]:
    """The most frequent kinds of mistake, in one sentence each."""
    kinds: dict[tuple[str | None, ...], _Kind] = {}
    for scenario in results.scenarios:
        for attempt in scenario.attempts:
            of_attempt = {_key(mistake): mistake for mistake in attempt.mistakes}
            for key, mistake in of_attempt.items():
                kind = kinds.setdefault(key, _Kind(mistake))
                kind.conversations += 1
                kind.scenarios[scenario.name] = None
            for mistake in attempt.mistakes:
                kinds[_key(mistake)].details.update(filter(None, [_detail(mistake)]))
    ranked = sorted(kinds.values(), key=lambda kind: -kind.conversations)
    return [kind.sentence(len(results.attempts)) for kind in ranked[:limit]]


def _key(mistake: Mistake) -> tuple[str | None, ...]:
    """What makes two mistakes one kind: not the values that differ from scenario to scenario."""
    of_text = mistake.code in {Code.TEXT_MISSING, Code.TEXT_PRESENT}
    return mistake.code, mistake.function, mistake.expected if of_text else None


def _detail(mistake: Mistake) -> str | None:
    return FINDINGS.get(mistake.detail or "", mistake.detail)


def advice(results: Results) -> list[str]:
    """What to change, each piece of advice once, with the assistants that it is for."""
    meant: dict[str, dict[str, None]] = {}
    for scenario in results.scenarios:
        for attempt in scenario.attempts:
            for mistake in attempt.mistakes:
                meant.setdefault(_ADVICE[mistake.code], {})[scenario.assistant] = None
    return [f"{text.format(assistants=', '.join(names))}." for text, names in meant.items()]


def _named(names: Sequence[str]) -> str:
    first = ", ".join(names[:_NAMED])
    more = len(names) - _NAMED
    return f"{first} e mais {more}" if more > 0 else first
