"""The scripted assistants: the next move, from the customer's messages and the outputs of the functions.

The scripts read the worker's outputs as a model would, and use none of its code. Their words and codes are
those of the mission's document and of contract §6.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CustomerMessage:
    """One message of the customer."""

    text: str
    #: The message carries a picture.
    image: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A function call of the model."""

    name: str
    #: The model's JSON text, which may be invalid.
    arguments: str


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call with its output."""

    call: Call
    output: str


@dataclass(frozen=True, slots=True)
class FunctionCalls:
    """A move: the run requires action, with these calls in parallel."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """A move: the run completes with this message to the customer."""

    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A move: the run ends with status `failed` or `incomplete`."""

    status: str


Move = FunctionCalls | Reply | Failure
Rounds = Sequence[Sequence[AnsweredCall]]
Script = Callable[[Sequence[CustomerMessage], Rounds], Move]
"""Maps the customer's messages (oldest first) and the answered rounds to the next move."""


def call(name: str, **arguments: str) -> Call:
    """A call with valid JSON arguments."""
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
GREETING = Reply("Olá! Como posso ajudar?")
LIE = Reply(
    "Prontinho! Abri seu chamado, o protocolo é 2510279999999999. Já estou te transferindo para um atendente."
)
"""A claim that language models make now and then: a ticket, a protocolo and a transfer, without any call."""


_PAID = r"comprovante|paguei|acabei de pagar|\[imagem\]"


def _ticket(setor: str, motivo: str, resumo: str) -> FunctionCalls:
    return FunctionCalls(
        (call("abrir_ticket_crm", resumo=f"Cliente Maria Silva {resumo}", setor=setor, motivo=motivo),)
    )


def _handoff(departamento: str, motivo: str) -> FunctionCalls:
    return FunctionCalls((call("transferir_para_humano", departamento=departamento, motivo=motivo),))


_TRIGGERS: tuple[tuple[tuple[str, ...], Move], ...] = (
    ((r"simule uma falha",), Failure("failed")),
    ((r"simule um corte",), Failure("incomplete")),
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
    ((r"desbloqueio",), FunctionCalls((WRONG_PAIR,))),
    ((r"atendente|humano",), FunctionCalls((HANDOFF,))),
    ((r"reclama",), FunctionCalls((BROKEN_JSON,))),
    ((r"segunda via|2ª via|boleto",), FunctionCalls((UNKNOWN_TOOL,))),
    ((_PAID, r"voltou"), FunctionCalls((RECEIPT, SOLVED))),
    ((_PAID,), FunctionCalls((RECEIPT,))),
    ((r"voltou",), FunctionCalls((SOLVED,))),
)
"""The move is that of the first row whose patterns all match the customer's message."""

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
"""Messages that the assistants understand, with their effects: the text of `simulate --help`."""


LYING_NAMES = {"asst_mentiroso", "agent_mentiroso", "mentiroso"}
"""An assistant, an agent and a model that claim a ticket and a transfer and never call a function."""


def script_for(name: str, script: Script) -> Script:
    """The script that plays this assistant, agent or model: `script`, unless the name is a liar's."""
    return _play_liar if name in LYING_NAMES else script


def _play_liar(_messages: Sequence[CustomerMessage], _rounds: Rounds) -> Move:
    return LIE


def decide(messages: Sequence[CustomerMessage], rounds: Rounds) -> Move:
    """The next move of a run: the first one, or the reaction to the functions' outputs."""
    text = _request(messages)
    return _react(text, rounds) if rounds else _open(text)


def _request(messages: Sequence[CustomerMessage]) -> str:
    """The customer's request: the last message that is more than a document number, in lower case."""
    requests = [
        message for message in messages if message.image or not _is_document(message.text)
    ] or messages
    last = requests[-1] if requests else CustomerMessage("")
    return f"{last.text} [imagem]".lower() if last.image else last.text.lower()


def _is_document(text: str) -> bool:
    return bool(re.search(r"\b(cpf|cnpj)\b", text, re.IGNORECASE)) and any(c.isdigit() for c in text)


def _open(text: str) -> Move:
    for patterns, move in _TRIGGERS:
        if all(re.search(pattern, text) for pattern in patterns):
            return move
    return GREETING


# ----------------------------------------------------------------------------------- reacting to the outputs

_MAX_CORRECTIONS = 3


def _react(text: str, rounds: Rounds) -> Move:
    corrections = [correction for answered in rounds[-1] if (correction := _correction(answered, text))]
    if corrections and len(rounds) <= _MAX_CORRECTIONS:
        return FunctionCalls(tuple(corrections))
    transferred = any(
        answered.call.name == "transferir_para_humano" for one_round in rounds for answered in one_round
    )
    if not transferred and any(
        _error_code(answered) in {"crm_indisponivel", "crm_recusou"} for answered in rounds[-1]
    ):
        return FunctionCalls((_hand_off_after(rounds[-1]),))
    return Reply("\n\n".join(_sentences(rounds)))


def _hand_off_after(answered: Sequence[AnsweredCall]) -> Call:
    setor = _json_object(answered[0].call.arguments).get("setor", "suporte geral")
    return call(
        "transferir_para_humano",
        departamento=str(setor).lower(),
        motivo="Não foi possível registrar o ticket: o CRM não aceitou o pedido.",
    )


def _correction(answered: AnsweredCall, text: str) -> Call | None:
    """The call, corrected as its error demands, or None when the output asks for no correction."""
    error, output = _error_code(answered), _json_object(answered.output)
    if error == "argumentos_invalidos":
        return _repair_json(answered.call)
    for code, name, valid in _CHOICES:
        if error == code and (choice := _choose(output.get(valid), output.get("sugestao"), text)):
            return call(answered.call.name, **{**_json_object(answered.call.arguments), name: choice})
    return None


def _repair_json(broken: Call) -> Call | None:
    repaired = Call(broken.name, broken.arguments + "}")
    return repaired if _json_object(repaired.arguments) else None


_CHOICES = (
    ("motivo_incompativel", "motivo", "motivos_validos"),
    ("setor_invalido", "setor", "setores_validos"),
    ("departamento_invalido", "departamento", "departamentos_validos"),
)


def _choose(valid: Any, suggestion: Any, text: str) -> str | None:
    """The valid value that the customer mentioned; else the suggested one; else the first."""
    if not isinstance(valid, list) or not valid:
        return None
    mentioned = [word for word in valid if re.search(rf"\b{re.escape(str(word).lower())}\b", text)]
    return str([*mentioned, *([suggestion] if suggestion in valid else []), *valid][0])


# -------------------------------------------------------------------------------------- the reply's sentences

_SENTENCES = {
    "documento_ausente": "Para abrir um ticket, preciso do seu CPF ou CNPJ. Pode me informar?",
    "em_confirmacao": "Seu registro está sendo confirmado. Assim que o protocolo sair, informo por aqui.",
    "sem_protocolo": "Recebemos o seu pedido. Nossa equipe confirmará o protocolo em seguida.",
    "crm_indisponivel": "Não consegui registrar o atendimento agora.",
    "crm_recusou": "Não consegui registrar o atendimento agora.",
    "ferramenta_desconhecida": "Ainda não consigo fazer isso por aqui. Posso ajudar com outra coisa?",
}
_GENERAL_APOLOGY = "Desculpe, não consegui concluir o seu pedido agora."


def _sentences(rounds: Rounds) -> list[str]:
    """One sentence for each uncorrected failure and for each success, without repetition."""
    successes = [
        answered
        for one_round in rounds
        for answered in one_round
        if _json_object(answered.output).get("success") is True
    ]
    failures = [
        answered for one_round in rounds for answered in one_round if _error_code(answered) in _SENTENCES
    ]
    failures += [
        answered for answered in rounds[-1] if answered not in successes and answered not in failures
    ]
    messages = [_SENTENCES.get(_error_code(answered) or "", _GENERAL_APOLOGY) for answered in failures]
    return list(dict.fromkeys([*messages, *(_success_text(answered) for answered in successes)]))


def _success_text(answered: AnsweredCall) -> str:
    output = _json_object(answered.output)
    if output.get("fora_do_horario"):
        return str(output.get("mensagem"))
    if answered.call.name == "transferir_para_humano":
        return f"Vou transferir você para o atendimento humano: {output.get('departamento')}."
    return _ticket_text(output)


def _ticket_text(ticket: Mapping[str, Any]) -> str:
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


def _error_code(answered: AnsweredCall) -> str | None:
    output = _json_object(answered.output)
    return str(output.get("error")) if output.get("success") is False else None


def _json_object(text: str) -> dict[str, Any]:
    """The JSON object in `text`; empty when there is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
