"""How the dashboard writes what it shows: Portuguese words, times and ids."""

from datetime import datetime, tzinfo
from enum import StrEnum
from typing import NamedTuple

from worker.log_fields import FIELDS, as_text
from worker.model import CallState, EventState, RunState
from worker.views import DismissReason, HandoffState, OpenHandoff


class Look(NamedTuple):
    """How a state is shown. `tone` is a class of the style sheet; the word says the same without colour."""

    word: str
    sign: str
    tone: str


STATES = {
    CallState.RECEIVED: Look("Recebida", "○", "quiet"),
    CallState.RUNNING: Look("Em andamento", "◐", "quiet"),
    CallState.DONE: Look("Concluída", "✓", "good"),
    CallState.REJECTED: Look("Recusada", "↩", "quiet"),
    CallState.FAILED: Look("Falhou", "✕", "bad"),
    CallState.UNKNOWN: Look("Sem confirmação", "?", "warn"),
    CallState.NO_PROTOCOL: Look("Sem protocolo", "∅", "warn"),
}


RUN_STATES = {
    RunState.WATCHING: Look("Em andamento", "◐", "quiet"),
    RunState.ENDED: Look("Encerrada", "✓", "good"),
    RunState.LOST: Look("Perdida", "✕", "bad"),
}

HANDOFF_STATES = {
    HandoffState.REQUESTED: "Espera",
    HandoffState.ACCEPTED: "Em atendimento",
    HandoffState.CLOSED: "Encerrado",
    HandoffState.RETURNED: "Devolvido ao bot",
}

EVENT_STATES = {
    EventState.PENDING: Look("A caminho", "○", "quiet"),
    EventState.DELIVERED: Look("Entregue", "✓", "good"),
    EventState.STUCK: Look("Não entregue", "!", "warn"),
    EventState.DISCARDED: Look("Descartado", "–", "quiet"),
}

LOST_REASONS = {
    "expirada": "passou do prazo da plataforma",
    "cancelada": "foi cancelada na plataforma",
    "nao_encontrada": "a plataforma não a conhece",
    "isolamento": "é de outra thread que não a da conversa",
    "rodadas_demais": "chamou funções vezes demais",
    "prazo_esgotado": "continuava em andamento depois de uma hora",
    "plataforma_recusou": "a plataforma recusou a chave por mais de 10 minutos",
    "nao_armazenada": "foi criada sem ser guardada (store: false)",
    "credenciais_de_ferramenta": "tem ferramentas com segredos que a plataforma não mostra",
    "instrucoes_de_prompt": "usa um prompt reutilizável",
    "outra_chamada_pendente": "espera por algo que não é do worker",
}
"""Why a run was lost, for people; the code stands beside it."""

REPLY_CODES = {
    "protocolo_desconhecido": "informa um protocolo que não é de um ticket desta conversa",
    "protocolo_de_outra_conversa": "informa o protocolo de outra conversa",
    "ticket_nao_aberto": "diz que abriu um ticket que não foi aberto",
    "transferencia_nao_pedida": "diz que transferiu o cliente, sem que houvesse transferência",
    "funcao_em_texto": "mostra ao cliente a chamada de uma função",
}
"""What is wrong with a reply, for people; the code stands beside it."""

DISMISSALS = {
    DismissReason.RESOLVIDO_POR_FORA: "resolvido por fora",
    DismissReason.CLIENTE_DESISTIU: "o cliente desistiu",
    DismissReason.DUPLICADO: "é duplicado",
    DismissReason.OUTRO: "outro motivo",
}

EVENT_KINDS = {
    "ticket.opened": "ticket aberto",
    "ticket.failed": "ticket não aberto",
    "ticket.unknown": "ticket sem confirmação",
    "ticket.no_protocol": "ticket sem protocolo",
    "handoff.requested": "atendimento pedido",
    "handoff.accepted": "atendimento assumido",
    "handoff.closed": "atendimento encerrado",
    "handoff.returned": "conversa devolvida ao bot",
    "handoff.overdue": "atendimento atrasado",
    "run.ended": "execução encerrada",
    "run.lost": "execução perdida",
    "reply.suspect": "resposta sem lastro",
}


def handoff_look(handoff: OpenHandoff) -> Look:
    """Whether a customer waits, waits past the deadline, waits for the opening, or is attended to."""
    if handoff.accepted:
        return Look("Em atendimento", "◐", "quiet")
    if handoff.late_s:
        return Look("Espera", "✕", "bad")
    return Look("Espera", "☾", "quiet") if handoff.opens_at else Look("Espera", "○", "warn")


VERDICTS = {
    True: Look("dentro da meta", "✓", "good"),
    False: Look("fora da meta", "✕", "bad"),
    None: Look("sem dados", "–", "quiet"),
}


_STATE_WORDS: dict[object, str] = {}
_STATE_WORDS.update((state, look.word) for state, look in STATES.items())
_STATE_WORDS.update((state, look.word) for state, look in RUN_STATES.items())
_STATE_WORDS.update((state, look.word) for state, look in EVENT_STATES.items())
_STATE_WORDS.update(HANDOFF_STATES.items())


def state_word(state: StrEnum) -> str | None:
    """The one name of a state, on the dashboard and in the commands; None for another value."""
    return _STATE_WORDS.get(state)


def safe(field: str, value: str | None) -> str:
    """A value as the log shows it (contract §9), so that both can be compared and neither tells too much."""
    return as_text(FIELDS[field](value))


def lasting(seconds: float) -> str:
    """How long something has gone on, in the two units that matter at that length."""
    minutes, whole = divmod(max(0, int(seconds)), 60)
    if not minutes:
        return f"{whole} s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    days, hours_left = divmod(hours, 24)
    return f"{days} d {hours_left} h" if days else f"{hours} h {minutes:02} min"


def clock(at: float, zone: tzinfo, now: float) -> str:
    """The time of day; on another day than now, the date too. Seconds since the epoch."""
    then = datetime.fromtimestamp(at, zone)
    same_day = then.date() == datetime.fromtimestamp(now, zone).date()
    return f"{then:%H:%M:%S}" if same_day else f"{then:%d/%m %H:%M}"


def day(at: float, zone: tzinfo) -> str:
    """The date, with its year. Seconds since the epoch."""
    return f"{datetime.fromtimestamp(at, zone):%d/%m/%Y}"


def plural(count: int, one: str, many: str) -> str:
    """`1 chamada`, `2 chamadas`."""
    return f"{count:,} {one if count == 1 else many}".replace(",", ".")
