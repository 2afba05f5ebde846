"""The mission's usage rules as a marked block in an assistant's instructions ("Recomendações de Uso")."""

from worker.errors import WorkerError

BEGIN = "<!-- ticket-worker: regras de uso -->"
END = "<!-- ticket-worker: fim das regras de uso -->"
"""`sync-schema` replaces the text between the two and keeps the rest of the instructions."""

RULES = {
    "FINANCEIRO": """\
SEMPRE use `abrir_ticket_crm` quando:
- Cliente enviar comprovante de pagamento
- Após processar desbloqueio automatizado
- Cliente solicitar protocolo formal do atendimento

NUNCA use quando:
- Problema não foi resolvido
- Cliente está apenas consultando informações
- Transferência para humano é mais adequada""",
    "SUPORTE": """\
SEMPRE use `abrir_ticket_crm` quando:
- Problema técnico foi resolvido pela IA
- Cliente confirma que conexão voltou
- Necessário registrar solução aplicada

NUNCA use quando:
- Problema persiste e precisa técnico presencial
- Diagnóstico ainda não foi concluído""",
}
"""By the assistant's name; the document has none for the reception."""


class BrokenMarkers(WorkerError):
    """The markers are not one pair in order: they were edited, and only a person can put them right."""


def with_rules(instructions: str | None, rules: str) -> str:
    """The instructions with this block, in place of the earlier one or at the end. Raises `BrokenMarkers`."""
    text = instructions or ""
    block = f"{BEGIN}\n{rules}\n{END}"
    if BEGIN not in text and END not in text:
        return f"{text}\n\n{block}" if text else block
    before, begun, rest = text.partition(BEGIN)
    inside, ended, after = rest.partition(END)
    if (
        not begun
        or not ended
        or any(mark in part for mark in (BEGIN, END) for part in (before, inside, after))
    ):
        raise BrokenMarkers
    return f"{before}{block}{after}"
