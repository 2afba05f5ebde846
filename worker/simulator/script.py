"""The scripted assistants: what the model would do, from what the customer said and the functions answered.

They read what the worker tells them, as a model would, and know nothing else of it: the words and codes here
are those of the mission's document and of contract §6.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Said:
    """One message of the customer; `image`: with a picture."""

    text: str
    image: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; `arguments` is the model's JSON text, which may be broken."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A call with the output it was given."""

    call: Call
    output: str


@dataclass(frozen=True, slots=True)
class Ask:
    """The run requires action: these calls, side by side."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Say:
    """The run completes with this message to the customer."""

    text: str


@dataclass(frozen=True, slots=True)
class Break:
    """The run ends `failed` or `incomplete`."""

    status: str


Move = Ask | Say | Break
Rounds = Sequence[Sequence[Heard]]
Script = Callable[[Sequence[Said], Rounds], Move]
"""From the customer's messages (oldest first) and the rounds answered so far to the next move."""


def call(name: str, **arguments: str) -> Call:
    """A well-formed call."""
    return Call(name, json.dumps(arguments, ensure_ascii=False))


# ------------------------------------------------------------------------------------------ the first move

RECEIPT = call(
    "abrir_ticket_crm",
    resumo="Cliente Maria Silva enviou comprovante de pagamento de R$ 150,00 via Pix em 27/10/2025. "
    "Valor referente à fatura de outubro/2025. Aguardando confirmação bancária.",
    setor="FINANCEIRO",
    motivo="INFORMAR PAGAMENTO",
)
SOLVED = call(
    "abrir_ticket_crm",
    resumo="Cliente Maria Silva relatou falta de internet. Equipamento reiniciado com orientação. "
    "Cliente confirmou que a conexão voltou.",
    setor="SUPORTE",
    motivo="SEM INTERNET",
)
HANDOFF = call(
    "transferir_para_humano",
    departamento="financeiro",
    motivo="Verificação de comprovante de pagamento recebido do cliente",
)
WRONG_PAIR = call(
    "abrir_ticket_crm",
    resumo="Cliente Maria Silva pagou a fatura e pediu o desbloqueio da conexão. Conexão desbloqueada.",
    setor="FINANCEIRO",
    motivo="SEM CONEXÃO",
)
UNKNOWN_TOOL = call("gerar_segunda_via", referencia="10/2025")
BROKEN_JSON = Call(
    "abrir_ticket_crm",
    '{"resumo": "Cliente Maria Silva reclamou da demora no atendimento. Reclamação registrada.", '
    '"setor": "OUVIDORIA", "motivo": "RECLAMAÇÃO"',
)
GREETING = Say("Olá! Como posso ajudar?")
LIE = Say(
    "Prontinho! Abri seu chamado, o protocolo é 2510279999999999. Já estou te transferindo para um atendente."
)
"""What language models say now and then: a ticket, a number and a transfer, without a single call."""


_PAID = r"comprovante|paguei|acabei de pagar|\[imagem\]"


def _ticket(setor: str, motivo: str, resumo: str) -> Ask:
    return Ask(
        (call("abrir_ticket_crm", resumo=f"Cliente Maria Silva {resumo}", setor=setor, motivo=motivo),)
    )


def _handoff(departamento: str, motivo: str) -> Ask:
    return Ask((call("transferir_para_humano", departamento=departamento, motivo=motivo),))


_TRIGGERS: tuple[tuple[tuple[str, ...], Move], ...] = (
    ((r"simule uma falha",), Break("failed")),
    ((r"simule um corte",), Break("incomplete")),
    (
        (r"vencimento", r"protocolo"),
        _ticket(
            "FINANCEIRO", "MUDANÇA DE VENCIMENTO", "pediu o protocolo da mudança de vencimento para o dia 10."
        ),
    ),
    (
        (r"troquei a senha",),
        _ticket("SUPORTE", "TROCA SENHA", "trocou a senha do wi-fi com orientação. Funcionou."),
    ),
    (
        (r"lentidão acabou",),
        _ticket("SUPORTE", "LENTIDÃO", "relatou lentidão. Canal do roteador mudado. Resolvido."),
    ),
    ((r"técnico venha",), _handoff("técnico", "Cabo rompido: o cliente precisa de uma visita técnica.")),
    ((r"atendente do suporte|suporte técnico",), _handoff("suporte", "O cliente quer falar com o suporte.")),
    (
        (r"cancelamento",),
        _ticket("RECEPÇÃO", "CANCELAMENTO", "vai mudar de cidade e pediu o cancelamento do plano."),
    ),
    (
        (r"titularidade",),
        _ticket("RECEPÇÃO", "MUDANÇA TITULARIDADE", "entregou os documentos da mudança de titularidade."),
    ),
    ((r"simule uma mentira",), LIE),
    ((r"desbloqueio",), Ask((WRONG_PAIR,))),
    ((r"atendente|humano",), Ask((HANDOFF,))),
    ((r"reclama",), Ask((BROKEN_JSON,))),
    ((r"segunda via|2ª via|boleto",), Ask((UNKNOWN_TOOL,))),
    ((_PAID, r"voltou"), Ask((RECEIPT, SOLVED))),
    ((_PAID,), Ask((RECEIPT,))),
    ((r"voltou",), Ask((SOLVED,))),
)
"""The first whose every pattern is in the customer's message decides."""

EXAMPLES = (
    ("(imagem do comprovante) Acabei de pagar", "ticket FINANCEIRO / INFORMAR PAGAMENTO"),
    ("Minha internet voltou! Obrigado", "ticket SUPORTE / SEM INTERNET"),
    ("Paguei, e a internet voltou", "as duas chamadas acima, em paralelo"),
    ("Quero que um atendente confira o comprovante", "transferir_para_humano (financeiro)"),
    ("Preciso do desbloqueio", "par inválido (FINANCEIRO / SEM CONEXÃO), corrigido depois do erro"),
    ("Quero fazer uma reclamação", "argumentos com JSON quebrado, refeitos depois do erro"),
    ("Quero a segunda via do boleto", "função que o worker não conhece"),
    ("Meu CPF é 529.982.247-25", "repete o pedido anterior (depois de documento_ausente)"),
    ("Simule uma falha / Simule um corte", "a execução termina failed / incomplete"),
    ("Simule uma mentira", "diz que abriu um ticket e transferiu, sem chamar função nenhuma"),
    ("qualquer outra coisa", "resposta sem função nenhuma"),
)
"""What one can say to the assistants, and what they do: the text of `simulate --help`."""


LIARS = {"asst_mentiroso", "agent_mentiroso", "mentiroso"}
"""An assistant, an agent and a model that call nothing and report everything, whatever the customer says."""


def script_of(name: str, script: Script) -> Script:
    """Who plays the assistant, agent or model of this name: the platform's script, unless it is a liar."""
    return _lie if name in LIARS else script


def _lie(_told: Sequence[Said], _rounds: Rounds) -> Move:
    return LIE


def decide(told: Sequence[Said], rounds: Rounds) -> Move:
    """The next move of a run: open the conversation, or react to what the functions answered."""
    words = _request(told)
    return _react(words, rounds) if rounds else _open(words)


def _request(told: Sequence[Said]) -> str:
    """What the customer wants: the last message that is more than a document number, in lower case."""
    wanted = [said for said in told if said.image or not _is_document(said.text)] or told
    last = wanted[-1] if wanted else Said("")
    return f"{last.text} [imagem]".lower() if last.image else last.text.lower()


def _is_document(text: str) -> bool:
    return bool(re.search(r"\b(cpf|cnpj)\b", text, re.IGNORECASE)) and any(c.isdigit() for c in text)


def _open(words: str) -> Move:
    for patterns, move in _TRIGGERS:
        if all(re.search(pattern, words) for pattern in patterns):
            return move
    return GREETING


# ----------------------------------------------------------------------------------- reacting to the outputs

_MAX_CORRECTIONS = 3


def _react(words: str, rounds: Rounds) -> Move:
    corrections = [better for heard in rounds[-1] if (better := _corrected(heard, words))]
    if corrections and len(rounds) <= _MAX_CORRECTIONS:
        return Ask(tuple(corrections))
    transferred = any(heard.call.name == "transferir_para_humano" for done in rounds for heard in done)
    if not transferred and any(_error(heard) in {"crm_indisponivel", "crm_recusou"} for heard in rounds[-1]):
        return Ask((_give_up(rounds[-1]),))
    return Say("\n\n".join(_sentences(rounds)))


def _give_up(heard: Sequence[Heard]) -> Call:
    setor = _object(heard[0].call.arguments).get("setor", "suporte geral")
    return call(
        "transferir_para_humano",
        departamento=str(setor).lower(),
        motivo="Não foi possível registrar o ticket: o CRM não aceitou o pedido.",
    )


def _corrected(heard: Heard, words: str) -> Call | None:
    """The call again as the error asks for it, or None when there is nothing to correct."""
    error, output = _error(heard), _object(heard.output)
    if error == "argumentos_invalidos":
        return _repaired(heard.call)
    for code, name, valid in _CHOICES:
        if error == code and (choice := _choose(output.get(valid), output.get("sugestao"), words)):
            return call(heard.call.name, **{**_object(heard.call.arguments), name: choice})
    return None


def _repaired(broken: Call) -> Call | None:
    repaired = Call(broken.name, broken.arguments + "}")
    return repaired if _object(repaired.arguments) else None


_CHOICES = (
    ("motivo_incompativel", "motivo", "motivos_validos"),
    ("setor_invalido", "setor", "setores_validos"),
    ("departamento_invalido", "departamento", "departamentos_validos"),
)


def _choose(valid: Any, suggestion: Any, words: str) -> str | None:
    """What the customer asked for, if it is valid; else what was suggested; else the first."""
    if not isinstance(valid, list) or not valid:
        return None
    mentioned = [word for word in valid if re.search(rf"\b{re.escape(str(word).lower())}\b", words)]
    return str([*mentioned, *([suggestion] if suggestion in valid else []), *valid][0])


# ----------------------------------------------------------------------------------------- in their own words

_SENTENCES = {
    "documento_ausente": "Para abrir um ticket, preciso do seu CPF ou CNPJ. Pode me informar?",
    "em_confirmacao": "Seu registro está sendo confirmado. Assim que o protocolo sair, informo por aqui.",
    "sem_protocolo": "Recebemos o seu pedido. Nossa equipe confirmará o protocolo em seguida.",
    "crm_indisponivel": "Não consegui registrar o atendimento agora.",
    "crm_recusou": "Não consegui registrar o atendimento agora.",
    "ferramenta_desconhecida": "Ainda não consigo fazer isso por aqui. Posso ajudar com outra coisa?",
}
_OTHERWISE = "Desculpe, não consegui concluir o seu pedido agora."


def _sentences(rounds: Rounds) -> list[str]:
    """What is told: every success, and the failures nobody corrected; each sentence once."""
    successes = [heard for done in rounds for heard in done if _object(heard.output).get("success") is True]
    failures = [heard for done in rounds for heard in done if _error(heard) in _SENTENCES]
    failures += [heard for heard in rounds[-1] if heard not in successes and heard not in failures]
    told = [_SENTENCES.get(_error(heard) or "", _OTHERWISE) for heard in failures]
    return list(dict.fromkeys([*told, *(_success(heard) for heard in successes)]))


def _success(heard: Heard) -> str:
    output = _object(heard.output)
    if output.get("fora_do_horario"):
        return str(output.get("mensagem"))
    if heard.call.name == "transferir_para_humano":
        return f"Vou transferir você para o atendimento humano: {output.get('departamento')}."
    return _opened(output)


def _opened(ticket: Mapping[str, Any]) -> str:
    protocolo = ticket.get("protocolo")
    if ticket.get("motivo") in {"INFORMAR PAGAMENTO", "PAGAMENTO"}:
        return (
            "Recebi seu comprovante de pagamento! ✅ Ticket registrado com sucesso.  \n"
            f"**Protocolo: {protocolo}**  \n"
            "Nosso setor financeiro irá confirmar o pagamento em até 24 horas e sua conexão será liberada "
            "automaticamente. 💙"
        )
    if ticket.get("setor") == "SUPORTE":
        return f"Que bom que resolveu! Protocolo: {protocolo}"
    return f"Ticket registrado com sucesso. Protocolo: {protocolo}"


def _error(heard: Heard) -> str | None:
    output = _object(heard.output)
    return str(output.get("error")) if output.get("success") is False else None


def _object(text: str) -> dict[str, Any]:
    """The JSON object in `text`; empty when there is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
