"""What the model should do about the findings: Portuguese, addressed to it, ready as its next instruction."""

from collections.abc import Iterable

from worker.replies.findings import Code, Finding

_BY_CODE = {
    Code.UNKNOWN_PROTOCOLO: (
        "Nenhum ticket com esse protocolo foi aberto nesta conversa. Não informe esse número: use somente o "
        "protocolo devolvido por abrir_ticket_crm."
    ),
    # Nothing about whose protocolo it is: the model could repeat it.
    Code.FOREIGN_PROTOCOLO: (
        "O protocolo informado não é desta conversa. Não repita esse número: use somente o protocolo "
        "devolvido por abrir_ticket_crm."
    ),
    Code.NO_TICKET: (
        "Nenhum ticket foi aberto nesta conversa nas últimas 24 horas. Não diga que o pedido foi aberto ou "
        "registrado: chame abrir_ticket_crm e espere o resultado, ou explique que o registro ainda não foi "
        "feito."
    ),
    Code.NO_HANDOFF: (
        "Nenhuma transferência foi pedida nesta conversa. Não diga que o cliente foi ou está sendo "
        "transferido: chame transferir_para_humano primeiro, ou pergunte se ele quer falar com um atendente."
    ),
    Code.PRINTED_CALL: (
        "A resposta contém a chamada de uma função escrita como texto, e o cliente não deve ver isso. Chame "
        "a função de verdade e responda sem citar o nome nem os argumentos dela."
    ),
}
_LAST = "Depois, reescreva a resposta ao cliente contando só o que de fato aconteceu."


def instruction_for(findings: Iterable[Finding]) -> str | None:
    """The instruction for these findings; None when there is none."""
    codes = {finding.code for finding in findings}
    if not codes:
        return None
    return " ".join([*(text for code, text in _BY_CODE.items() if code in codes), _LAST])
