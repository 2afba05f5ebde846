"""The state of each part that the worker depends on, in an operator's words; green only what was checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo

from worker.metrics import Vitals
from worker.views import CrmOutcome, Waiting
from worker.web.dashboard.words import Look, clock, lasting, plural
from worker.web.dependencies import Setup

KEY_REFUSED = frozenset({"401", "403"})
"""Causes of an outage of the platform that a person ends, with another key or permission."""

_LATE_S = 60.0
"""An event that the bot has not taken for this long is late."""


@dataclass(frozen=True, slots=True)
class Health:
    """One part. `runbook`: the anchor of what to do about it, empty where nothing needs doing."""

    what: str
    look: Look
    runbook: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the worker knows of its parts."""

    alive: bool
    vitals: Vitals
    waiting: Waiting
    #: How the newest attempt to open a ticket ended; None without any.
    crm: CrmOutcome | None


def _good(word: str) -> Look:
    return Look(word, "✓", "good")


def _bad(word: str) -> Look:
    return Look(word, "✕", "bad")


def _quiet(word: str) -> Look:
    return Look(word, "–", "quiet")


_UNSEEN = _quiet("ainda não verificado")


def health(setup: Setup, seen: Observed, now: float, zone: tzinfo) -> Iterator[Health]:
    """In reading order."""
    idle = f"parado há {lasting(seen.vitals.tick_age_s)}"
    yield Health("Worker", _good("trabalhando") if seen.alive else _bad(idle))
    yield _crm(seen, now, zone)
    yield _platform(seen.vitals)
    yield _bot(setup, seen.waiting)
    yield _functions(setup, seen.vitals)
    watched = seen.vitals.runs_watched
    yield Health("Execuções em andamento", Look(plural(watched, "execução", "execuções"), "", "plain"))


def _crm(seen: Observed, now: float, zone: tzinfo) -> Health:
    if seen.vitals.breaker_open:
        paused_s = seen.vitals.breaker_paused_s
        until = f"até {clock(now + paused_s, zone, now)}" if paused_s else "até que o próximo dê certo"
        return Health("CRM", _bad(f"envios pausados {until}"), "crm-fora-do-ar")
    if seen.crm is None:
        return Health("CRM", _UNSEEN)
    ago = f"há {lasting(now - seen.crm.at)}"
    if seen.crm.result == "ok":
        return Health("CRM", _good(f"atendendo, {ago}"))
    return Health("CRM", Look(f"último envio sem resposta útil, {ago}", "!", "warn"), "crm-fora-do-ar")


def _platform(vitals: Vitals) -> Health:
    if vitals.platform_failing is None:
        return Health("Plataforma", _UNSEEN)
    if vitals.platform_failing and vitals.platform_outage and vitals.platform_outage[0] in KEY_REFUSED:
        return Health("Plataforma", _bad("recusa a chave"), "chave-recusada")
    if vitals.platform_failing:
        return Health("Plataforma", _bad("não atende"), "plataforma-fora-do-ar")
    return Health("Plataforma", _good("atendendo"))


def platform_runbook(status: str) -> str:
    """The anchor of what to do about an outage of the platform with this HTTP status."""
    return "chave-recusada" if status in KEY_REFUSED else "plataforma-fora-do-ar"


def _bot(setup: Setup, waiting: Waiting) -> Health:
    if not setup.bot:
        return Health("Robô de atendimento", _quiet("avisos não configurados"))
    if waiting.oldest_event_s > _LATE_S:
        late = Look(f"avisos atrasados há {lasting(waiting.oldest_event_s)}", "!", "warn")
        return Health("Robô de atendimento", late, "avisos-parados")
    if waiting.stuck_events:
        kept = plural(waiting.stuck_events, "aviso não entregue", "avisos não entregues")
        return Health("Robô de atendimento", Look(kept, "!", "warn"), "avisos-parados")
    return Health("Robô de atendimento", _good("avisos em dia"))


def _functions(setup: Setup, vitals: Vitals) -> Health:
    if not setup.stores_assistants:
        return Health("Funções dos assistentes", _quiet("o bot as manda em cada pedido"))
    if vitals.drifted:
        return Health(
            "Funções dos assistentes", Look(f"diferentes em {', '.join(vitals.drifted)}", "!", "warn")
        )
    if not setup.assistants:
        return Health("Funções dos assistentes", _quiet("não configurado"))
    if not vitals.compared:
        return Health("Funções dos assistentes", _UNSEEN)
    return Health("Funções dos assistentes", _good("iguais às desta versão"))
