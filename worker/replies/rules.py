"""Which sentences claim that a ticket was opened or a customer transferred. Every rule stands beside its reason.

A rule is a pattern of `grammar.pattern`. `(verb: …)` is the word that makes the claim: what stands before it
(a negation, a condition, other people's words) decides in `context.py` whether it is a claim at all.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from worker.replies.grammar import pattern, symbols_of_group


class Voice(Enum):
    """How a claim is made, and so what undoes it."""

    #: "Abri seu chamado": the bot speaks of its own deed. Only a negation, "se" or a quotation undoes it.
    OWN_DEED = "own deed"
    #: "Seu chamado foi aberto": may also be a condition, a habit, a question or the customer's words.
    STATE = "state"
    #: "Chamado aberto!": a participle alone; a main verb that follows makes it a description.
    BARE = "bare"
    #: "Um atendente já vai te atender": any condition in the sentence undoes it.
    IMMINENT = "imminent"


@dataclass(frozen=True, slots=True)
class Rule:
    """One way of making a claim."""

    pattern: re.Pattern[str]
    #: Symbols of the words that can make this claim: a sentence without any needs no search.
    verbs: frozenset[str]
    #: Symbols of the words it can be about, where it names them by class; None: any.
    subjects: frozenset[str] | None
    voice: Voice
    #: The claim needs a word of this pattern elsewhere in its sentence or in the next.
    together_with: re.Pattern[str] | None = None
    #: A word of this pattern in its sentence undoes the claim.
    undone_by: re.Pattern[str] | None = None
    #: What is matched, with the words right after it, must not hold this: it makes another claim of it.
    not_about: re.Pattern[str] | None = None


class RuleBook:
    """The rules of one claim, found by the words that can make it: most sentences need few of them, or none."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._places: dict[str, list[int]] = {}
        for place, rule in enumerate(self._rules):
            for verb in rule.verbs:
                self._places.setdefault(verb, []).append(place)

    def applying_to(self, words: frozenset[str]) -> Iterator[Rule]:
        """The rules whose verb and subject are both among the words of a sentence, each once."""
        places = {place for word in words & self._places.keys() for place in self._places[word]}
        for place in sorted(places):
            rule = self._rules[place]
            if rule.subjects is None or not words.isdisjoint(rule.subjects):
                yield rule


def _rules(voice: Voice, *sources: str, together_with: str = "", undone_by: str = "") -> tuple[Rule, ...]:
    together = pattern(together_with) if together_with else None
    undone = pattern(undone_by) if undone_by else None
    return tuple(_rule(source, voice, together, undone) for source in sources)


def _rule(
    source: str, voice: Voice, together: re.Pattern[str] | None, undone: re.Pattern[str] | None
) -> Rule:
    verbs = symbols_of_group("verb", source)
    if verbs is None:
        raise ValueError(f"no verb in {source}")
    return Rule(pattern(source), verbs, symbols_of_group("subject", source), voice, together, undone)


# ---------------------------------------------------------------------------------------------- building blocks

_TICKET = "<ticket|protocolo|request|registry>"
# Words between a verb and its object. Another thing in between is the object: "abri a tela do chamado".
_GAP = "<^other|not|but|que|every|said|to_see>"
# Words between a subject and its verb. A relative clause has a verb of its own: "o chamado que você abriu foi".
_IN_NP = "<^que|but|was|is_now|opened|said|open_aux>"
_NP = f"(?: {_IN_NP} | <hash> | <,|break> <hash>{{0,1}} {_IN_NP}{{1,5}} <,|break> )"
# "criei um resumo do pedido": the object is a thing that no class knows.
_NOT_A_THING = "(?! <adverb>{0,2} <the|a_an|article>{1,2} <unknown> <of|for> )"
_LIGHT = "<article|possessive|a_an|adverb|clitic|prep|you|name|light>"
_ADV = "<adverb|se>{0,3}"
_TO_TARGET = (
    "<prep> <article|possessive|a_an>{0,2} (?: <maos>{0,1} <of> <article|possessive>{0,2} )?"
    " (?: <unknown>{0,1} <human|sector> | <name> | <conversation> <human> )"
)
# "a Carla do setor de contratos": a thing after "de" is no object.
_IN_HUMAN = "(?: <of> <article|possessive>{0,1} <other> | <^other|que|not|but|ticket|request|every> )"
_START = "(?: ^ | (?<=<,|:|break|stop|ask|quote|hash|but|i|ja|estou|adverb|interj|e_conj|name|you|tag>) )"

_CLAUSE_START = "(?: ^ | (?<=<,|:|break|stop|ask|quote|hash|but|interj>) )"

_IN_BARE = (
    "(?: <^que|but|not|was|is_now|opened|formal|said|open_aux|habit|vague|moved_i|opened_i> | <hash|amount> )"
)

# "pedido de atendimento registrado": a request for a person, which a hand-off bears out
_FOR_A_PERSON = (
    "<request> <of|for> (?: <talks> <with> )? <article|possessive>{0,2} <attendance|human|transferencia>"
)

_TICKET_RULES = (
    *_rules(
        Voice.OWN_DEED,
        # "abri o chamado", "registrei aqui no sistema a sua solicitação"
        f"(verb: <opened_i> ) {_NOT_A_THING} {_GAP}{{0,7}} {_TICKET}",
        # "registramos sua queixa", but not "registramos todas as ligações"
        f"(verb: <opened_we> ) {_NOT_A_THING} {_GAP}{{0,5}} {_TICKET} (?<! <plural> )",
        f"(verb: <opened_i> ) {_NOT_A_THING} {_GAP}{{0,4}} <,> {_GAP}{{1,3}} <,> {_GAP}{{0,3}} {_TICKET}",
        # "o chamado eu já abri", "o ticket que registrei pra você"
        f"{_TICKET} <^other|but|not|every>{{0,4}} (verb: <opened_i> )",
        # "registrei seu caso", "formalizei tudo": these verbs say it of any object
        f"(verb: <formal_i> ) {_GAP}{{0,5}} <case|service|detail>",
        # "abri um cancelamento", "lancei a visita", "solicitei o estorno"
        f"(verb: <opened_i|asked_i> ) {_NOT_A_THING} {_GAP}{{0,4}} <service|request|ticket|registry>",
        # "fiz a abertura do ticket", "efetuei o registro", "fiz uma reclamação"
        f"(verb: <made_i> ) {_LIGHT}{{0,4}} {_TICKET}",
        # "dei entrada no seu pedido", "demos entrada na troca"
        "(verb: <dei> ) <adverb>{0,2} <entrada> <prep>",
        # "acabei de abrir o chamado", "consegui registrar seu pedido", "acabei de fazer o registro"
        f"(verb: <accomplished> ) <prep|clitic|adverb|liberdade>{{0,4}} <to_open|to_make> {_GAP}{{0,6}} <ticket|protocolo|request|registry|service>",
        # "acabei de encaminhar sua solicitação", "acabei de solicitar o cancelamento"
        f"(verb: <accomplished> ) <prep|adverb>{{0,2}} <to_send> {_LIGHT}{{0,2}} <ticket|request>",
        f"(verb: <accomplished> ) <prep|adverb>{{0,2}} <to_ask> {_LIGHT}{{0,2}} <service|registry>",
        # "fiz foi abrir o chamado", "fiz questão de registrar", "eu já tinha aberto o chamado"
        f"(verb: <made_i> ) (?: <was> | <word> <of> ) <to_open> {_GAP}{{0,4}} {_TICKET}",
        f"<i> <ja>{{0,1}} (verb: <tinha> ) <opened|formal> {_GAP}{{0,4}} {_TICKET}",
        # "anexei o comprovante ao seu chamado", "atualizei seu chamado", "demos início ao seu chamado"
        "(verb: <attached_i> ) <^not|but|que>{0,5} <prep> <article|possessive>{0,2} <ticket>",
        f"(verb: <attached_i> ) {_LIGHT}{{0,2}} <ticket>",
        "(verb: <dei> ) <continuity> <prep> <article|possessive>{0,2} <ticket|request>",
        "<sistema> (verb: <gave_entry> ) <entrada> <prep>",
        "(verb: <deixei> ) <sent> <article|possessive>{0,2} <ticket|request>",
        # "acabei abrindo um chamado", "reportei sua reclamação ao setor"
        f"(verb: <accomplished> ) <adverb|clitic>{{0,2}} <opening> {_GAP}{{0,4}} {_TICKET}",
        f"(verb: <reported_i> ) {_LIGHT}{{0,2}} <request>",
        # "abri um atendimento", "deixei seu pedido com a equipe"
        f"(verb: <opened_i> ) {_LIGHT}{{0,2}} <attendance> (?! <human|with> )",
        f"(verb: <deixei> ) {_LIGHT}{{0,3}} <request> <^other|que|not>{{0,4}} <prep> <article|possessive>{{0,2}} <human|sector>",
        # "registrei."
        "(verb: <formal_i> ) <adverb>{0,2} (?= <,|:|break|stop> | $ )",
        # "deixei registrado no sistema", "deixei seu chamado aberto"
        f"(verb: <deixei> ) {_GAP}{{0,5}} {_TICKET} {_GAP}{{0,3}} <opened|formal>",
        f"(verb: <deixei> ) {_GAP}{{0,3}} <formal>",
        f"(verb: <deixei> ) {_GAP}{{0,3}} <opened> {_GAP}{{0,3}} {_TICKET}",
        # "encaminhei sua solicitação", "mandei o pedido pro setor": handed in as a request
        f"(verb: <sent_i|moved_i|put_i> ) {_LIGHT}{{0,3}} <ticket|request>",
        # "botei teu problema no sistema", "lancei tudo no CRM", "deixei um ticket no sistema"
        f"(verb: <moved_i|opened_i|sent_i> ) {_LIGHT}{{0,3}} <case|ticket|request> {_GAP}{{0,3}} <prep> <article>{{0,1}} <crm>",
        f"(verb: <deixei> ) {_LIGHT}{{0,3}} <ticket>",
        "(verb: <moved_i|opened_i> ) <adverb>{0,3} <prep> <article|possessive>{0,1} <crm>",
        f"(verb: <noted_i> ) {_LIGHT}{{0,3}} {_TICKET} <^other|que>{{0,2}} <prep> <article|possessive>{{0,1}} <crm>",
        # "transformei sua reclamação em chamado"
        f"(verb: <turned_i> ) {_LIGHT}{{0,2}} <case|request> <prep> {_LIGHT}{{0,1}} <ticket|request>",
        # "deu tudo certo com a abertura do ticket"
        "(verb: <deu> ) <^other|not|que>{0,4} <registry>",
        f"(verb: <deu> ) <tag|for> <to_open> {_GAP}{{0,3}} {_TICKET}",
        # "o sistema gerou o protocolo", "a gente abriu o chamado", "nossa equipe registrou seu pedido"
        f"<sistema> <adverb|clitic|prep|sector>{{0,3}} (verb: <opened_it|made_it> ) {_GAP}{{0,4}} {_TICKET}",
    ),
    # "já abri, viu?", "acabei de abrir", "tá aberto!": the ticket is named beside it
    *_rules(
        Voice.OWN_DEED,
        "(verb: <opened_i> ) <adverb>{0,2} (?= <,|:|break|stop> | $ )",
        "(verb: <opened_i> ) <for|clitic> <you> (?= <,|:|break|stop> | $ )",
        "(verb: <accomplished> ) <prep> <to_open> (?= <,|:|break|stop> | $ )",
        "(verb: <dei> ) <entrada> (?= <,|:|break|stop> | $ )",
        together_with="<ticket|protocolo>",
    ),
    *_rules(
        Voice.STATE,
        f"{_CLAUSE_START} <adverb>{{0,2}} (verb: <is_now|ficou> ) {_ADV} <opened|formal> <adverb>{{0,2}} (?= <,|:|break|stop> | $ )",
        together_with="<ticket|protocolo>",
    ),
    *_rules(
        Voice.STATE,
        f"{_CLAUSE_START} <adverb>{{0,2}} (verb: <opened> ) <adverb>{{0,2}} (?= <,|break|stop> | $ )",
        # "situação: aberto" in the line below "chamado"
        "<status> <:> (verb: <opened|formal> )",
        together_with="<ticket|protocolo>",
    ),
    *_rules(
        Voice.STATE,
        # "a solicitação que você pediu foi registrada", "tudo certo com o chamado, foi aberto agora"
        f"(subject: {_TICKET} ) <que> {_IN_NP}{{1,7}}? (verb: <was|is_now> ) {_ADV} <opened|formal>",
        f"(subject: {_TICKET} ) <,> <adverb>{{0,2}} (verb: <was|is_now> ) {_ADV} <opened|formal>",
        # "o chamado acabou de entrar na fila", "seu pedido tá com eles", "a equipe já está com seu chamado"
        "(subject: <ticket> ) (verb: <acabou> ) <prep> <to_enter>",
        "<possessive|article> (subject: <ticket|request> ) <adverb>{0,2} (verb: <is_now> ) <with> <he>",
        "<human|sector|he> <^other|que|not>{0,3} (verb: <is_now> ) <with> <article|possessive>{1,2} (subject: <ticket|request> )",
        "<human|sector> <^other|que|not>{0,2} <ja> (verb: <is_now> ) <word> <of|article|possessive>{1,2} (subject: <ticket|request> )",
        # "seu chamado foi pro sistema", "o pedido foi pro financeiro"
        "<possessive|article> (subject: <ticket|request> ) <adverb>{0,2} (verb: <went> ) <prep> <article>{0,2} <crm|sector|progress>",
        # "com o chamado já aberto", "sua solicitação, já registrada"
        f"(subject: {_TICKET} ) <,>{{0,1}} <ja> (verb: <opened|formal> )",
        # "sua queixa ficou sob o número …", "seu chamado será atendido hoje", "tudo certo com o chamado"
        "(subject: <ticket|request> ) <^que|but|not>{0,4} (verb: <ficou> ) <prep> <article>{0,1} <numero|protocolo|number>",
        "<possessive> (subject: <ticket> ) <adverb>{0,1} (verb: <will_be> ) <adverb>{0,1} <dealt>",
        "(verb: <case> ) <adverb>{0,2} <fine> <with> <article|possessive>{1,2} (subject: <ticket|registry> )",
        "<possessive> (subject: <ticket|request> ) <adverb>{0,2} (verb: <entered> ) <prep> <article>{0,1} <progress|sector|crm>",
        # "seu pedido está sendo analisado", "seu chamado foi atualizado", "já consta registro da sua solicitação"
        "<possessive> (subject: <ticket|request> ) <^que|but|not|is_now>{0,5}? (verb: <is_now> ) <sendo> <handled>",
        "<possessive> (subject: <ticket> ) <adverb>{0,1} (verb: <was> ) <adverb>{0,1} <updated>",
        "<possessive> (subject: <ticket|request> ) <adverb>{0,1} (verb: <is_now> ) <there>",
        "(verb: <existing> ) <adverb|article|a_an>{0,2} (subject: <registry> ) <of> <article|possessive>{1,2} <ticket|request>",
        "(verb: <existing> ) (subject: <ticket> ) <there>",
        "(verb: <went_in> ) <article|possessive>{1,2} (subject: <ticket|request> ) (?! <for> )",
        "<article> (subject: <request> ) (verb: <entered_end> ) (?= <,|break|stop> | $ )",
        # "já está com a equipe o seu chamado", "tá no sistema como chamado", "foi solicitada a visita"
        "(verb: <is_now> ) <with> <^que|not|but>{1,4} <article> <possessive> (subject: <ticket|request> )",
        "(verb: <is_now|ficou> ) <^not|que|but>{1,4} <as> (subject: <ticket|request> )",
        f"(verb: <was|is_now|ficou> ) {_ADV} <asked|formal> <article|possessive>{{1,2}} (subject: <service|request> )",
        "<possessive> (subject: <case> ) <adverb>{0,1} (verb: <is_now> ) <prep> <progress>",
        # "foi encaminhada a sua solicitação", "o financeiro já tem seu pedido", "um atendimento foi gerado"
        f"(verb: <was|is_now> ) {_ADV} <sent> <article|possessive>{{1,2}} (subject: <ticket|request> )",
        "<human|sector> <adverb>{0,2} (verb: <existing> ) <article|possessive>{1,2} (subject: <ticket|request> )",
        f"(subject: <attendance> ) <^que|but|not|other>{{0,3}} (verb: <was> ) {_ADV} <opened>",
        # "há um ticket ativo", "existe um chamado em andamento", "o chamado está em aberto"
        "(verb: <existing> ) <a_an|article|adverb|possessive>{0,2} (subject: <ticket|request> ) <adverb|number>{0,2} (?: <there> | <prep> <progress> )",
        "(subject: <ticket> ) <^que|but|not|is_now|plural>{0,4}? (verb: <is_now> ) <adverb>{0,2} <prep> <opened>",
        # "confirmo o registro da sua solicitação", "está confirmada a abertura"
        "(verb: <confirmo> ) <article> (subject: <registry> ) <of>",
        # "ação realizada: abertura de chamado"
        "(verb: <made> ) <:> (subject: <registry> )",
        # "seu chamado já existe", "o registro já foi"
        "<possessive|article> (subject: <ticket|protocolo> ) <ja> (verb: <existing|went_in> )",
        "<possessive|article> (subject: <ticket|registry|request> ) <ja> (verb: <was> ) (?= <,|:|break|stop> | $ )",
        # "consta um chamado em seu nome", "um chamado, aberto por mim"
        "(verb: <existing_strong> ) <adverb>{0,1} (?: <prep> <article|possessive>{0,1} <crm> )? <a_an|article|adverb>{0,2} (subject: <ticket|request> ) <prep> <possessive|article>{0,1} <em_nome>",
        f"(subject: {_TICKET} ) <^que|but>{{0,8}} <,>{{0,1}} (verb: <opened> ) <by> <mim>",
        # "a visita já foi solicitada", "o cancelamento foi registrado"
        f"(subject: <service> ) {_NP}{{0,10}}? (verb: <was> ) {_ADV} <asked|formal>",
        # "tá lá o seu chamado", "tá na fila o seu chamado"
        "(verb: <is_now> ) <there> <the|article|possessive>{1,2} (subject: <ticket> )",
        "(verb: <is_now> ) <prep> <progress> <article|possessive>{1,2} (subject: <ticket> )",
        # "sua queixa virou chamado", "isso gerou um ticket"
        "(verb: <became> ) <a_an|article>{0,2} (subject: <ticket|protocolo> )",
        "(verb: <acabou> ) <of> <to_become> <a_an|article>{0,2} (subject: <ticket|protocolo> )",
        # "a abertura foi um sucesso", "o financeiro já recebeu sua solicitação"
        f"(subject: <registry> ) {_NP}{{0,5}}? (verb: <was> ) <a_an|prep> <sucesso>",
        "<human|sector> <^other|que|not>{0,3} (verb: <got> ) <article|possessive>{1,2} (subject: <ticket|request> )",
        # "abriu-se um chamado", "procedeu-se à abertura", "foi dada entrada", "fica registrada a reclamação"
        f"(verb: <opened_it|made_it> ) <se> <^other|not|que>{{0,4}} {_TICKET}",
        "(verb: <proceeded> ) <se> <prep|article>{0,2} <registry|entrada>",
        "(verb: <was|is_now> ) <adverb>{0,1} <dada> <article>{0,1} <entrada>",
        f"(verb: <fica_deixo> ) <prep|adverb>{{0,1}} <formal> <^other|not|but|que|case>{{0,4}}? (subject: {_TICKET} )",
        # "sua queixa já deu entrada na ouvidoria"
        "(subject: <request|ticket|case> ) <^but|not>{0,8}? (verb: <deu> ) <entrada>",
        # "a demanda consta no nosso CRM como aberta", "foi recebido e registrado"
        f"(subject: {_TICKET} ) {_NP}{{0,14}}? (verb: <is_now> ) {_ADV} <prep> <article|possessive>{{0,2}} <word>{{1,2}} <as>{{0,1}} <opened|formal>",
        f"(subject: {_TICKET} ) {_NP}{{0,14}}? (verb: <was> ) {_ADV} <unknown> <and> <opened|formal>",
        # "tá tudo lançado no CRM"
        "(verb: <is_now|ficou> ) (subject: <case> ) <adverb>{0,1} <opened> <prep> <article|possessive>{0,2} <crm>",
        "(verb: <is_now|ficou> ) (subject: <case> ) <adverb>{0,1} <formal>",
        # "o ticket tá lá", "seu chamado tá feito"
        "<possessive|article> <article>{0,1} (subject: <ticket> ) <adverb>{0,2} (verb: <is_now> ) <adverb>{0,1} <there>",
        # "tá feito o chamado", "foi feita a solicitação"
        f"(verb: <is_now|was> ) {_ADV} <made> <the|article> (subject: {_TICKET} )",
        # "seu chamado já foi aberto", "a solicitação está registrada", "o pedido da troca ficou registrado"
        f"(subject: {_TICKET} ) {_NP}{{0,14}}? (verb: <was|is_now|ficou> ) {_ADV} <opened|formal|asked>",
        f"(subject: <case> ) {_NP}{{0,10}}? (verb: <was|is_now|ficou> ) {_ADV} <formal>",
        f"(subject: <registry|request|protocolo> ) {_NP}{{0,10}}? (verb: <was|is_now|ficou> ) {_ADV} <made>",
        f"(subject: <ticket> ) {_NP}{{0,10}}? (verb: <was|is_now|ficou> ) {_ADV} <done>",
        f"(subject: <ticket|protocolo|request> ) {_NP}{{0,14}}? (verb: <acabou> ) <prep> <ser> {_ADV} <opened|formal>",
        # "sua solicitação foi encaminhada", "o pedido já foi enviado ao setor"
        f"(subject: <ticket|request> ) {_NP}{{0,14}}? (verb: <was|is_now> ) {_ADV} <sent>",
        # "foi registrado um pedido", "já está aberto o chamado", "tá aberto, Sílvia, com o protocolo"
        f"(verb: <was|is_now|ficou> ) {_ADV} <opened|formal> (?: <,> <word>{{1,5}} <,> )? <^other|not|but|que|case>{{0,7}}? (subject: {_TICKET} )",
        f"(verb: <is_now|was> ) {_ADV} <opened|formal> <,> <word>{{1,3}} <,> <^other>{{0,4}}? (subject: {_TICKET} )",
        f"(verb: <acabou> ) <prep> <ser> <opened|formal> <^other|que>{{0,4}}? (subject: {_TICKET} )",
        # "já existe um chamado aberto", "consta um pedido registrado", "você está com um chamado aberto"
        "(verb: <existing> ) <^other|not|que|but>{0,4}? (subject: <ticket|protocolo|request> ) <^other|que|is_now|was>{0,3}? <opened|formal>",
        "(verb: <is_now|estou> ) <with> <^other|not|que|but>{0,3}? (subject: <ticket|protocolo|request> ) <adverb>{0,2} <opened|formal>",
        # "seu pedido está em análise", "seu chamado já está com a equipe", "já seguiu para o setor"
        f"(?: <possessive> | <article> (?! <plural> ) | {_CLAUSE_START} (?! <plural> ) ) (subject: <ticket|request> ) {_NP}{{0,12}}? (verb: <is_now> ) <adverb|se>{{0,2}} <prep> <article|possessive>{{0,2}} <progress|sector|queue>",
        f"<possessive|article> (subject: <ticket|request> ) {_NP}{{0,12}}? <ja> (verb: <went> ) <prep>",
        # "o ticket saiu", "seu chamado já entrou"
        "<possessive|article> (subject: <ticket> ) <adverb>{0,2} (verb: <went_in> )",
    ),
    *_rules(
        Voice.BARE,
        # "Chamado aberto!", "Solicitação 2510… registrada", "prontinho, seu pedido registrado"
        f"{_START} <adverb|article|possessive>{{0,2}} (subject: {_TICKET} ) {_IN_BARE}{{0,6}}? (?: <unknown> <and> )? (verb: <opened|formal> )",
        f"{_START} <adverb|article|possessive>{{0,2}} (subject: <registry|request> ) (?:<prep> <^que|was|is_now|opened|open_aux>{{1,4}})? <adverb>{{0,2}} (verb: <made> )",
        f"{_START} <adverb|article|possessive>{{0,2}} (subject: <case> ) <adverb>{{0,2}} (verb: <formal> )",
        # "chamado feito!", "Chamado: criado", "| Ticket no CRM | Aberto |", "solicitação encaminhada ao setor"
        f"{_START} (subject: <ticket> ) <adverb>{{0,1}} (verb: <done> ) (?! <prep> )",
        f"(subject: {_TICKET} ) (?: <prep> <word>{{1,3}} | <break> <word>{{1,3}} )? <number>{{0,1}} <:|break>{{1,2}} (?: <status> <:> )? (verb: <opened|formal|done> )",
        "(subject: <registry> ) <prep> <word>{1,3} <:|break>{1,2} (verb: <made> )",
        f"{_START} <adverb|possessive>{{0,2}} (subject: <ticket|request> ) <adverb|number|hash>{{0,2}} (verb: <sent> ) <prep>",
        # "solicitação enviada", "ticket na fila do suporte", "chamado em andamento", "chamado em aberto"
        f"{_CLAUSE_START} <adverb|possessive>{{0,2}} (subject: <ticket|request> ) <adverb>{{0,2}} (verb: <sent> ) <success>{{0,2}} (?= <,|:|break|stop> | $ )",
        f"{_CLAUSE_START} <possessive>{{0,1}} (subject: <ticket|request> ) <number>{{0,1}} (verb: <prep> ) <article>{{0,1}} <progress|opened>",
        # "aberto o chamado 2510…", "registrada sua solicitação"
        f"{_START} (verb: <opened|formal> ) <adverb>{{0,2}} <the> (subject: {_TICKET} )",
        f"{_START} (verb: <made|done> ) <adverb>{{0,2}} <the> (subject: {_TICKET} )",
        f"{_CLAUSE_START} (verb: <asked> ) <the> (subject: <registry|request|service> )",
        # "visita técnica solicitada", "mudança de vencimento registrada"
        f"{_CLAUSE_START} <possessive>{{0,1}} (subject: <service> ) {_IN_BARE}{{0,3}}? (verb: <asked|formal> )",
        f"{_START} (verb: <sent> ) <the> (subject: <ticket|request> )",
        # "abertura ok", "aberto!" beside "chamado"
        f"{_CLAUSE_START} (subject: <ticket|registry> ) (?: <of> <article>{{0,1}} <ticket|request> )? (verb: <fine> ) (?= <,|:|break|stop> | $ )",
        # "registrado, dona Maria!", "já está registrado", "ficou tudo registradinho"
        f"{_CLAUSE_START} <adverb>{{0,2}} (verb: <formal> ) <adverb|success>{{0,3}} (?= <,|:|break|stop> | $ )",
        f"(?: {_CLAUSE_START} | (?<= <and> ) ) <adverb>{{0,2}} (verb: <was|is_now|ficou> ) {_ADV} <formal> (?! <prep> <article|possessive>{{0,1}} <other> )",
        # "seu chamado aberto", wherever it stands
        "<possessive> (subject: <ticket|request> ) <adverb>{0,2} (verb: <opened|formal> )",
    ),
)
TICKET_RULES = RuleBook(replace(rule, not_about=pattern(_FOR_A_PERSON)) for rule in _TICKET_RULES)
"""Claims of `ticket_nao_aberto`."""

_NO_OBJECT = "<^other|que|not|but|ticket|request|every>"
# A customer is moved, or nothing is named: "transferi a sua internet" moves a thing.
_CUSTOMER = (
    "(?= <adverb>{0,2} (?: <prep> <article|possessive|a_an>{0,2} (?: <of> <article> )? <human|sector|name|he|conversation>"
    " | <article|possessive>{0,2} <you|conversation> | <for> <who> | <,|:|break|stop> | $ ) )"
)
_YOU_OR_CASE = "<you|conversation>"

_TRANSFER_RULES = (
    *_rules(
        Voice.OWN_DEED,
        # "te transferi", "já te passei pro financeiro", "te coloquei na fila", "te deixei com a Carla"
        f"<te> <adverb>{{0,1}} (verb: <transferred_i> ) (?! {_NO_OBJECT}{{0,2}} <other> )",
        f"<te> <adverb>{{0,1}} (verb: <moved_i> ) {_NO_OBJECT}{{0,4}} {_TO_TARGET}",
        f"(?: <te> | <you> ) <adverb>{{0,1}} (verb: <moved_i> ) {_NO_OBJECT}{{0,3}} <prep> <article>{{0,1}} <queue>",
        # "transferi você", "encaminhei seu atendimento", "passei seu caso pro suporte"
        f"(verb: <transferred_i> ) {_NO_OBJECT}{{0,3}} {_YOU_OR_CASE}",
        f"(verb: <moved_i> ) {_NO_OBJECT}{{0,3}} {_YOU_OR_CASE} {_NO_OBJECT}{{0,4}} <prep> {_NO_OBJECT}{{0,2}} <human|sector|name|queue>",
        # "já encaminhei pro financeiro", "passei pro técnico"
        f"(verb: <moved_i> ) <adverb>{{0,2}} {_TO_TARGET}",
        # "já chamei um atendente", "acionei a equipe de suporte"
        f"(verb: <called_i> ) {_NO_OBJECT}{{0,2}} <live_human>",
        f"(verb: <called_i|avisei> ) {_NO_OBJECT}{{0,3}} <human|sector|name> {_NO_OBJECT}{{0,4}} <arriving|arrived> {_NO_OBJECT}{{0,4}} <conversation|you>",
        f"(verb: <called_i|avisei> ) {_NO_OBJECT}{{0,3}} <human|sector|name> <,|stop>{{0,1}} {_NO_OBJECT}{{0,4}} <will> <te> <arriving>",
        # "passei o bastão pra Letícia", "solicitei a transferência", "fiz a transferência para o setor"
        "(verb: <moved_i> ) <the> <baton> <prep>",
        # "já pedi um atendente", "solicitei que um atendente assuma"
        f"(verb: <asked_i> ) {_NO_OBJECT}{{0,4}} <live_human>",
        # "o sistema já te transferiu", "a gente te passou pro suporte", "já te transferiram pro suporte"
        f"<sistema> <adverb>{{0,1}} <te> (verb: <moved_it> ) {_CUSTOMER}",
        f"<ja> <te> (verb: <moved_they> ) <adverb>{{0,1}} (?: {_TO_TARGET} | <prep> <article>{{0,1}} <queue> )",
        "<sistema> (verb: <is_now> ) <te> <transferring|moving>",
        # "estou realizando a transferência", "iniciando transferência para o setor…"
        "(verb: <estou> ) <making> <article>{0,1} <transferencia>",
        f"{_CLAUSE_START} (verb: <making> ) <article>{{0,1}} <transferencia> (?! <of> <article|possessive>{{0,2}} <^you|conversation|article|possessive> )",
        "(verb: <estou> ) <searching> <article|a_an>{0,1} <live_human>",
        # "coloquei o supervisor de olho na sua conversa", "chamei o povo do suporte pra te atender"
        "(verb: <moved_i> ) <article> <human|sector|name> <^other|que|not>{0,4} <prep> <possessive> <conversation>",
        "(verb: <called_i> ) <^other|que|not>{0,4} <human|sector|name> <^other|que|not>{0,3} <for> <te> <arriving>",
        f"(verb: <avisei> ) {_LIGHT}{{0,2}} <live_human>",
        # "abri um atendimento com um humano", "informamos a transferência de seu atendimento"
        f"(verb: <opened_i|made_i> ) {_LIGHT}{{0,2}} <conversation> <with>{{0,1}} <article|a_an>{{0,1}} <human>",
        "(verb: <confirmo> ) <article> <transferencia> <of|for> <article|possessive>{0,2} <conversation|you|human|sector>",
        f"(verb: <asked_i> ) <que> {_LIGHT}{{0,3}} <human|sector>",
        "(verb: <moved_i> ) <case> <prep> <article|possessive|a_an>{0,2} <human|sector|name>",
        # "coloquei a Ana na conversa", "puxei um atendente pra cá"
        f"(verb: <brought_i> ) {_LIGHT}{{0,2}} <human|name> {_NO_OBJECT}{{0,2}} <prep> <article|possessive>{{0,2}} <chat>",
        "(verb: <moving> ) <the> <baton> <prep>",
        f"(verb: <accomplished> ) <te>{{0,1}} <transferring|moving> {_NO_OBJECT}{{0,4}} {_TO_TARGET}",
        f"(verb: <accomplished> ) <te>{{0,1}} <transferring> {_CUSTOMER}",
        "(verb: <brought_i> ) <article|a_an>{0,1} <sector|human>{0,1} <human|name> <here>",
        # "transferi.", "já encaminhei, é só aguardar o atendente"
        "(verb: <did_transfer> ) <adverb>{0,2} (?= <,|break|stop> | $ )",
        # "registrei seu pedido de atendimento humano"
        f"(verb: <opened_i|made_i|sent_i> ) {_LIGHT}{{0,3}} {_FOR_A_PERSON}",
        # "aguarde enquanto te transfiro"
        f"<wait> <^que|but|not>{{0,4}} <enquanto> <te>{{0,1}} (verb: <transfer_now> ) {_CUSTOMER}",
        f"(verb: <made_i|asked_i> ) {_LIGHT}{{0,3}} <transferencia> (?! <of> <article|possessive>{{0,2}} <^you|conversation|article|possessive> ) (?! <other> )",
        # "pedi pra um colega te atender"
        f"(verb: <asked_i> ) {_NO_OBJECT}{{0,3}} <human|sector> {_NO_OBJECT}{{0,4}} <arriving>",
        # "acabei de pedir pra uma pessoa assumir", "consegui chamar um atendente", "acabei de pedir a transferência"
        f"(verb: <accomplished> ) <prep|adverb>{{0,2}} <to_ask|to_call> {_NO_OBJECT}{{0,3}} <human|sector> {_NO_OBJECT}{{0,4}} <arriving>",
        f"(verb: <accomplished> ) <prep|adverb>{{0,2}} <to_call|to_ask> {_NO_OBJECT}{{0,2}} <live_human>",
        f"(verb: <accomplished> ) <prep|adverb>{{0,2}} <to_ask> {_LIGHT}{{0,2}} <transferencia> (?! <of> <article|possessive>{{0,2}} <^you|conversation|article|possessive> )",
        f"(verb: <deu> ) <tag|for> <te>{{0,1}} <to_transfer> {_CUSTOMER}",
        # "consegui te transferir", "acabei de passar você pro financeiro"
        f"(verb: <accomplished> ) <prep|clitic|adverb>{{0,3}} <to_transfer> {_CUSTOMER}",
        f"(verb: <accomplished> ) <prep|clitic|adverb>{{0,3}} <to_move> {_NO_OBJECT}{{0,4}} {_TO_TARGET}",
        # "estou te transferindo", "to te passando pro financeiro"
        f"(verb: <estou> ) <adverb>{{0,1}} <te>{{0,1}} <adverb>{{0,1}} <transferring> {_CUSTOMER}",
        f"(verb: <estou> ) <adverb>{{0,1}} <te>{{0,1}} <adverb>{{0,1}} <moving> {_NO_OBJECT}{{0,4}} (?: {_TO_TARGET} | <prep> <article>{{0,1}} <queue> )",
        f"(verb: <estou> ) <adverb>{{0,1}} <calling> {_NO_OBJECT}{{0,2}} <human|sector>",
        # "Transferindo para um humano", "te passando pro financeiro"
        f"{_START} <te>{{0,1}} (verb: <transferring> ) {_CUSTOMER} {_NO_OBJECT}{{0,4}} (?: {_TO_TARGET} | {_YOU_OR_CASE} )",
        f"{_START} <te> (verb: <moving> ) {_NO_OBJECT}{{0,4}} {_TO_TARGET}",
        f"{_CLAUSE_START} (verb: <moving> ) <possessive|article>{{0,2}} <you|conversation> {_TO_TARGET}",
        "(?: ^ | (?<=<,|:|break|stop|adverb|tag>) ) <te>{0,1} (verb: <transferring> ) <adverb>{0,2} (?= <break|stop|,> | $ )",
    ),
    *_rules(
        Voice.OWN_DEED,
        "(verb: <transferred_i> ) <adverb>{0,2} (?= <,|break|stop> | $ )",
        together_with="<live_human>",
    ),
    *_rules(
        Voice.STATE,
        # "o atendente está vendo sua mensagem", "o comercial já tá na conversa", "acabou de entrar no chat"
        f"(subject: <live_human|sector|name> ) {_IN_HUMAN}{{0,4}} (verb: <is_now> ) <te> <watching>",
        f"(subject: <live_human|sector|name> ) {_IN_HUMAN}{{0,4}} (verb: <is_now> ) <watching> <prep>{{0,1}} <article|possessive>{{1,2}} <chat|account>",
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,4}} (verb: <is_now> ) <prep> <article|possessive>{{0,2}} <chat> (?! <of> )",
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,3}} (verb: <acabou> ) <prep> <arriving> <prep> <article|possessive>{{0,2}} <chat>",
        # "sua conversa está com o setor", "seu atendimento caiu na fila", "a equipe está com sua conversa"
        "<possessive|article> (subject: <conversation> ) <ja|human>{0,2} (verb: <is_now|fell> ) <ja|adverb>{0,2} <with> <article|possessive|a_an|of>{0,3} <human|sector>",
        "<possessive|article> (subject: <conversation> ) <ja|human>{0,2} (verb: <is_now|fell> ) <ja|adverb>{0,2} <prep> <article>{0,1} <fila>",
        "<human|sector> <^other|que|not>{0,3} (verb: <is_now> ) <with> <article|possessive>{1,2} (subject: <conversation> )",
        # "sua conversa agora é do setor financeiro", "humano a caminho", "atendente na linha"
        "<possessive|article> (subject: <conversation> ) <ja> (verb: <é> ) <prep> <article>{0,1} <human|sector|name>",
        f"{_CLAUSE_START} (subject: <live_human> ) <human>{{0,1}} (verb: <prep> ) <article>{{0,1}} <caminho|chat>",
        "<possessive|article> (subject: <conversation> ) <ja>{0,2} (verb: <is_now> ) <with> <article> <name>",
        # "a Jéssica está com você", "a Carla, que continua daqui", "já estão te atendendo", "a Carla já chegou aqui"
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,4}} (verb: <is_now> ) <with> <article>{{0,1}} <you>",
        f"(subject: <human|sector|name> ) <,> <que> <ja|will|te>{{0,3}} (verb: <arrived|arriving|chega> ) {_NO_OBJECT}{{0,4}} <conversation|you|here|soon>",
        "<ja> (verb: <is_now> ) <te> <arrived>",
        f"(subject: <live_human|name> ) {_IN_HUMAN}{{0,4}} (verb: <arrived> ) <here>",
        f"(subject: <live_human|name> ) {_IN_HUMAN}{{0,2}} (verb: <is_now> ) <watching> (?= <,|break|stop> | $ )",
        # "agora segue com o Jorge", "seu lugar na fila", "procedeu-se à transferência"
        f"{_CLAUSE_START} <ja> (verb: <is_now|fica_deixo> ) <with> <article|possessive>{{1,2}} (subject: <human|sector|name> )",
        "<possessive> (subject: <posicao> ) <prep> <article>{0,1} (verb: <fila> )",
        "(verb: <proceeded> ) <se> <prep|article>{0,2} <transferencia>",
        # "um humano assumiu", "você é a segunda da fila", "tem 3 pessoas na sua frente", "posição na fila: 3"
        f"(subject: <live_human|sector|name> ) {_IN_HUMAN}{{0,4}} (?: <,> {_NO_OBJECT}{{1,4}} <,> )? (verb: <assumed> ) <adverb|prep|soon|daqui>{{0,4}} (?= <,|break|stop> | $ )",
        "(subject: <you> ) (verb: <é> ) <article>{0,1} <word>{1,2} <prep> <article>{0,1} <fila>",
        "(verb: <existing> ) <word> <human|you> <prep> <possessive> <frente>",
        "<possessive>{0,1} (subject: <posicao> ) <prep> <article>{0,1} (verb: <fila> ) <:|é>",
        # "chamando atendente…", "iniciando atendimento humano"
        f"{_CLAUSE_START} (verb: <searching|starting> ) <article|a_an|conversation>{{0,2}} (subject: <live_human> )",
        f"{_CLAUSE_START} (verb: <calling> ) <article> (subject: <name|human> )",
        f"(subject: <human|sector|name|he> ) {_IN_HUMAN}{{0,4}} (verb: <is_now> ) <caminho> <te>{{0,1}} <arriving>",
        # "foi feita a transferência", "está em andamento a transferência"
        f"(verb: <was|is_now> ) {_ADV} (?: <made|asked> | <prep> <started> ) <article|possessive>{{1,2}} (subject: <transferencia> ) (?! <of> <article|possessive>{{0,2}} <^you|conversation|article|possessive> )",
        f"(verb: <was> ) {_ADV} <transferred> <article|possessive>{{1,2}} (subject: <conversation> )",
        # "você está sendo atendido pela equipe", "você tá indo pro financeiro", "você está em atendimento humano"
        "(subject: <you> ) <adverb|se>{0,2} (verb: <is_now> ) <adverb>{0,1} <sendo> <attended> <adverb>{0,1} <by> <article|a_an>{0,2} <human|sector|name>",
        f"(subject: <you> ) <adverb>{{0,1}} (verb: <is_now> ) <going> {_TO_TARGET}",
        "(subject: <you> ) <adverb|se>{0,2} (verb: <is_now> ) <prep> <conversation> <human>",
        "<conversation> (subject: <human> ) <adverb>{0,2} (verb: <started_it> )",
        undone_by="<yesterday>",
    ),
    *_rules(
        Voice.STATE,
        # "você é o próximo da fila", "você entrou na fila", "já está na fila"
        "(subject: <you> ) <adverb>{0,1} (verb: <é> ) <the> <next>",
        "(subject: <you> ) <adverb>{0,1} (verb: <went> ) <prep> <article>{0,1} <fila>",
        f"{_CLAUSE_START} <adverb>{{0,2}} (verb: <is_now> ) <prep> <article>{{0,1}} <fila>",
        # "um atendente já está a caminho", "a Ana já está te atendendo"
        f"(subject: <live_human> ) {_IN_HUMAN}{{0,3}} (verb: <is_now> ) <prep>{{0,1}} <caminho>",
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,3}} (verb: <is_now> ) <te> <arrived|coming>",
        # "agora você está com o time de suporte", "você agora fala com um atendente"
        "<ja> (subject: <you> ) (verb: <is_now> ) <with> <article|possessive|a_an>{0,2} <human|sector>",
        "(subject: <you> ) (verb: <is_now> ) <with> <article|possessive|a_an>{1,2} <human|sector>",
        "<and> (verb: <is_now> ) <with> <article|a_an> <live_human>",
        # "já tem gente do financeiro na linha", "o time comercial dá sequência ao seu atendimento"
        "(verb: <existing> ) <gente|human> <^other|que|not>{0,4} <prep> <chat>",
        "<human|sector|name> <^other|que|not>{0,3} (verb: <gives> ) <continuity> <prep> <article|possessive>{0,2} <conversation>",
        "(subject: <fila> ) <^other|que|not>{0,3} <:> <you> (verb: <é> )",
        # "agora é a vez da Rita te ajudar", "o senhor já pode falar com o atendente"
        "<ja> (verb: <é> ) <article> <baton> <of> <article>{0,1} <human|sector|name>",
        "<ja> (verb: <pode> ) <talks> <with> <article|a_an>{0,1} <human|name>",
        # "a senhora está sob os cuidados da equipe", "sua conversa foi pro financeiro"
        "(subject: <you|conversation> ) <ja>{0,1} (verb: <is_now> ) <prep> <article>{0,1} <maos> <of> <article>{0,1} <human|sector|name>",
        f"(subject: <conversation> ) <^other|not|but|que>{{0,5}} (verb: <went> ) {_TO_TARGET}",
        "<ja> (verb: <is_now> ) <prep> <article>{0,1} <maos> <of> <article>{0,1} <human|sector|name>",
        f"(?: {_CLAUSE_START} | (?<= <pronto> ) ) <ja>{{0,1}} (verb: <is_now> ) <prep> <article>{{0,1}} <maos> <of> <article>{{0,1}} <human|sector|name>",
        "(subject: <human|sector|name> ) <ja>{0,1} (verb: <is_now> ) <arrived> <of|prep> <article|possessive>{0,2} <conversation|you>",
        "(subject: <you> ) (verb: <is_now> ) <unknown> <prep> <ser> <attended>",
        "<possessive|article> (subject: <conversation> ) <ja|human>{0,2} (verb: <is_now|fell> ) <ja|adverb>{0,2} <with> (?: <article> <name> | <gente> )",
        # "está sendo feita a transferência"
        "(verb: <is_now> ) <sendo> <made> <article|possessive>{1,2} (subject: <transferencia> )",
        "(subject: <you> ) <ja> (verb: <is_now|talks> ) <with> <article|possessive|a_an>{0,2} <human|sector>",
        "<ja> (subject: <you> ) (verb: <talks> ) <with> <article|possessive|a_an>{0,2} <human|sector|name>",
        # "seu caso já está nas mãos de um atendente"
        "<possessive> (subject: <conversation> ) <ja>{0,1} (verb: <is_now> ) <prep> (?: <maos> <of> )? <article|a_an>{0,2} <human|sector>",
        # "já tem um humano olhando sua conversa"
        "(verb: <existing> ) <a_an|article>{1,2} (subject: <live_human> ) <^que|not>{1,3} <conversation>",
        # "um humano já foi acionado", "o comercial recebeu sua conversa"
        f"(subject: <live_human> ) {_IN_HUMAN}{{0,3}} (verb: <was> ) {_ADV} <called>",
        "<human|sector> <^other|que|not>{0,3} (verb: <got> ) <article|possessive>{1,2} (subject: <conversation> )",
        # "você foi encaminhada", "seu atendimento está sendo transferido", "você já está transferido"
        f"(subject: {_YOU_OR_CASE} ) {_NP}{{0,4}}? (verb: <was|is_now> ) {_ADV} <sendo>{{0,1}} <transferred>",
        f"(subject: {_YOU_OR_CASE} ) {_NP}{{0,4}}? (verb: <was|is_now> ) {_ADV} <sendo>{{0,1}} <moved> {_NO_OBJECT}{{0,3}} (?: {_TO_TARGET} | <prep> <he> | <prep> <article>{{0,1}} <queue> )",
        f"(subject: {_YOU_OR_CASE} ) {_NP}{{0,4}}? (verb: <acabou> ) <prep> <ser> <transferred|moved>",
        # "já foi encaminhado pro financeiro" with no subject
        f"{_CLAUSE_START} <adverb>{{0,2}} (verb: <was|is_now> ) {_ADV} <sendo>{{0,1}} <transferred|moved> {_NO_OBJECT}{{0,2}} {_TO_TARGET}",
        # "transferência realizada", "a transferência já foi iniciada", "transferência em andamento"
        f"(subject: <transferencia> ) (?! <of> <article|possessive>{{0,2}} <^you|conversation|article|possessive> ) <^other|que|not|but|open_aux>{{0,6}}? (verb: <was|is_now|ficou> ) {_ADV} <prep>{{0,1}} <made|asked|started>",
        # "você está na fila", "você é o próximo da fila"
        "(subject: <you> ) <adverb|se>{0,2} (verb: <is_now> ) <adverb>{0,1} <prep> <article>{0,1} <queue> (?! <of> <article>{0,1} <other> )",
        # "o atendente já está assumindo", "a Carla assumiu seu atendimento"
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,5}} (?: <,> {_NO_OBJECT}{{1,4}} <,> )? (verb: <arrived> ) {_NO_OBJECT}{{0,2}} <conversation|you|daqui>",
        f"(subject: <he> ) <ja> {_NO_OBJECT}{{0,1}} (verb: <arrived> ) {_NO_OBJECT}{{0,2}} <conversation|you|daqui>",
        # "quem vai te atender é a Socorro", "quem fala com você a partir de agora é um atendente"
        f"(verb: <who> ) <will>{{0,1}} <te>{{0,1}} <arriving|arrived|talks> {_NO_OBJECT}{{0,7}} <é> <the> (subject: <human|name|sector> )",
        # "agora é com o financeiro", "você já está falando com um atendente"
        "<ja|soon|here> (verb: <é> ) <with> <article|possessive>{0,2} (subject: <human|sector|name|he> )",
        "(subject: <you> ) <adverb|se>{0,2} (verb: <is_now> ) <adverb>{0,1} <talks> <with> <article|possessive>{0,2} <human>",
        # "te transferiram ontem", "foi transferido três vezes": the customer's earlier call
        undone_by="<yesterday>",
    ),
    *_rules(
        Voice.BARE,
        f"{_START} (subject: <transferencia> ) (?:<prep> <^que|was|is_now|other>{{1,4}})? <adverb>{{0,2}} <prep>{{0,1}} (verb: <made|asked|started> )",
        f"{_START} <conversation|possessive>{{0,2}} (verb: <transferred> ) <prep> <article>{{0,1}} <human|sector>",
        f"{_CLAUSE_START} <adverb>{{0,1}} (verb: <moved> ) <prep> <article|possessive>{{0,2}} <human|sector>",
        f"{_CLAUSE_START} (subject: <live_human> ) <human>{{0,1}} (verb: <transferred|called> )",
        f"{_CLAUSE_START} (verb: <made> ) <the> (subject: <transferencia> ) <^other>{{0,5}} <conversation|human|sector>",
        # "conversa repassada", "conversa entregue ao setor", "transferência: OK"
        f"{_CLAUSE_START} <possessive>{{0,1}} (subject: <conversation> ) (verb: <moved> ) (?: <success|with>{{0,2}} (?= <,|:|break|stop> | $ ) | <with>{{0,1}} <sucesso>{{0,1}} {_TO_TARGET} )",
        f"{_CLAUSE_START} (subject: <transferencia> ) <^other|que|not>{{0,3}} <:> (verb: <made|fine|started> )",
        f"{_CLAUSE_START} <te>{{0,1}} (verb: <moving> ) <for> <article>{{0,1}} <sector|live_human>",
        # "pedido de atendimento registrado"
        f"(subject: {_FOR_A_PERSON} ) {_IN_NP}{{0,5}}? (verb: <was|is_now|ficou> ) {_ADV} <opened|formal|made|sent|asked>",
        f"{_CLAUSE_START} <possessive>{{0,1}} (subject: {_FOR_A_PERSON} ) <human|adverb>{{0,3}} (verb: <opened|formal|made|sent|asked> )",
        # "transferido! aguarde", "status: transferido", "atendimento transferido"
        f"{_CLAUSE_START} (?: <possessive>{{0,1}} <conversation> )? (verb: <transferred> ) <success|prep>{{0,2}} (?= <,|:|break|stop> | $ )",
    ),
    *_rules(
        Voice.IMMINENT,
        # "direciono o seu atendimento à ouvidoria", "passo a palavra ao financeiro", "já vão te responder"
        f"{_CLAUSE_START} (verb: <transfer_now> ) <te>{{0,1}} <article|possessive>{{0,2}} <you|conversation>{{0,1}} {_TO_TARGET}",
        f"(verb: <move> ) <the>{{0,1}} <baton|you> {_TO_TARGET}",
        "<ja> (verb: <will> ) <te> <arriving>",
        # "vou te deixar nas mãos da equipe"
        "(verb: <vou> ) <te>{0,1} <to_leave> <you|conversation|possessive>{0,2} <prep> (?: <maos> <of> )? <article|possessive>{0,2} <human|sector|name>",
        # "o Pedro vai assumir daqui", "um dos atendentes já vai falar com você", "deixo você nas mãos da equipe"
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,4}} (verb: <will> ) <taking_over> {_NO_OBJECT}{{0,2}} <conversation|daqui|you>",
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,4}} (verb: <will> ) <arriving> <prep> <article|possessive>{{0,2}} <chat>",
        f"(subject: <live_human|sector|name> ) {_IN_HUMAN}{{0,4}} (verb: <will_arrive> ) <prep> <article|possessive>{{0,2}} <chat>",
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,4}} <ja> (verb: <vem> ) <arriving>",
        "(verb: <await> ) <article|a_an|prep>{0,2} <live_human>",
        "(verb: <await> ) <prep> <article>{0,1} <fila>",
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,4}} (verb: <will|will_arrive> ) <arriving>{{0,1}} <continuity> <prep> <article|possessive>{{0,2}} <conversation>",
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,4}} <ja> (verb: <will> ) <arriving> <prep>{{0,1}} <you>",
        f"<soon> <,>{{0,1}} <article>{{0,1}} (subject: <human|sector|name> ) <,> {_NO_OBJECT}{{1,4}} <,> (verb: <arrived> )",
        "(verb: <move> ) <you> <prep> (?: <maos> <of> )? <article|possessive>{0,2} <human|sector|name>",
        # "um atendente já vai te atender", "em instantes um especialista vai continuar seu atendimento"
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,5}}? <ja|soon> <adverb>{{0,1}} (verb: <will> ) <te> <arriving>",
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,5}}? (verb: <will> ) <te> <arriving> {_NO_OBJECT}{{0,3}} <soon>",
        f"<soon> <,>{{0,1}} {_NO_OBJECT}{{0,4}} (subject: <human|sector> ) {_IN_HUMAN}{{0,4}} (verb: <will> ) <te>{{0,1}} <arriving>",
        f"<soon|ja> <,>{{0,1}} {_NO_OBJECT}{{0,4}} (subject: <human|sector> ) {_IN_HUMAN}{{0,4}} (verb: <will_arrive> )",
        f"(subject: <human|sector> ) {_IN_HUMAN}{{0,4}} (verb: <will_arrive> ) {_NO_OBJECT}{{0,5}} <soon>",
        # "você será atendido em instantes por um especialista"
        f"(subject: <you> ) (verb: <open_aux> ) <attended> {_NO_OBJECT}{{0,6}} <soon>",
        # "te deixo com a Carla"
        "<te|you> (verb: <move> ) <with> <article|possessive>{0,2} <human|sector|name>",
        # "já te passo pro financeiro", "te transfiro agora"
        f"<ja|soon> <te>{{0,1}} (verb: <move> ) {_NO_OBJECT}{{0,4}} {_TO_TARGET}",
        f"<te> (verb: <move> ) {_NO_OBJECT}{{0,2}} {_TO_TARGET} <adverb>{{0,1}} <soon>",
    ),
    # "vou te transferir para o financeiro, aguarde um momento"
    *_rules(
        Voice.IMMINENT,
        f"(verb: <vou> ) <estar>{{0,1}} <te>{{0,1}} <to_transfer|transferring> {_CUSTOMER}",
        f"(verb: <vou> ) <estar>{{0,1}} <te>{{0,1}} <to_move|moving> {_NO_OBJECT}{{0,4}} {_TO_TARGET}",
        "(verb: <vou> ) <te>{0,1} <to_move> <you|conversation|possessive>{0,2} <prep> <article>{0,1} <queue>",
        "(verb: <vou> ) <to_call> <article|a_an>{0,2} <live_human>",
        f"<te> (verb: <move> ) {_NO_OBJECT}{{0,3}} {_TO_TARGET}",
        together_with="<wait|ja>",
    ),
    # "aguarde, um atendente vai falar com você", "a Paula te chama já já", "você já vai ser atendida"
    *_rules(
        Voice.IMMINENT,
        f"(subject: <human|sector|name|he> ) {_IN_HUMAN}{{0,6}} (verb: <will> ) <te> <arriving>",
        f"(subject: <human|sector|name> ) {_IN_HUMAN}{{0,6}} (verb: <will> ) <arriving> <prep>{{0,1}} <article>{{0,1}} <you>",
        f"(subject: <live_human|sector|name> ) {_IN_HUMAN}{{0,4}} (verb: <will> ) <taking_over>",
        "(subject: <you> ) <adverb>{0,1} (verb: <talks> ) <with> <article|possessive|a_an>{0,2} <human|name>",
        f"(subject: <human|sector|name|he> ) {_IN_HUMAN}{{0,4}} <te> (verb: <chega> )",
        f"(subject: <human|sector|name|he> ) {_IN_HUMAN}{{0,4}} (verb: <chega> ) <with> <article>{{0,1}} <you>",
        f"(subject: <live_human|name|he> ) {_IN_HUMAN}{{0,2}} (verb: <vem> )",
        f"<te>{{0,1}} (verb: <transfer_now> ) {_CUSTOMER}",
        "<soon> (verb: <chega> ) <you>",
        "<te> (verb: <chega> )",
        f"(verb: <vou> ) <to_make> {_LIGHT}{{0,2}} <transferencia>",
        f"(verb: <will_make> ) {_LIGHT}{{0,2}} <transferencia>",
        "(verb: <will_transfer_i> ) <^other|que|not>{0,2} <you|conversation>",
        f"(subject: <conversation> ) <adverb>{{0,1}} (verb: <will_be> ) <transferred> <adverb>{{0,1}} {_TO_TARGET}",
        "(subject: <conversation> ) <^other|que|not>{0,3} (verb: <will_be> ) <conducted> <by> <article|a_an>{0,2} <human|sector|name>",
        "(subject: <conversation> ) <^other|que|not>{0,3} (verb: <ser> ) <conducted> <by> <article|a_an>{0,2} <human|sector|name>",
        "(subject: <you> ) <adverb>{0,1} (verb: <will> ) <ser> <attended>",
        "(subject: <you> ) <adverb>{0,1} (verb: <will> ) <talks> <adverb>{0,1} <with> <article|possessive|a_an>{0,2} <human|sector|name>",
        "(subject: <you> ) (verb: <will_be> ) <transferred>",
        together_with="<wait|soon|here>",
        undone_by="<visit|tomorrow>",
    ),
)
TRANSFER_RULES = RuleBook(_TRANSFER_RULES)
"""Claims of `transferencia_nao_pedida`."""
