"""`GET /`: what happens, and what a person must do, for operators (contract §3), without personal data.

The server writes the page; its script fetches the same page again and changes what differs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Literal

from fastapi import Request, Response

from worker.errors import StoreError
from worker.kpis import KPIS, Kpis
from worker.metrics import Vitals
from worker.views import Backlog
from worker.web.dashboard import chart, words
from worker.web.dashboard.first_minute import next_step, setup_lines
from worker.web.dashboard.health import KEY_REFUSED, Observed, health, platform_runbook
from worker.web.dashboard.kpi_cache import Figures, ThrottledKpiCache
from worker.web.dashboard.rendering import LISTED, html, limited_count
from worker.web.dependencies import Services

Since = Literal["24h", "7d", "30d"]

_WIDE, _NARROW = 760.0, 350.0


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence at the top of the page; `look.word` says how bad it is."""

    look: words.Look
    text: str
    #: Anchor of what to do about it on the help page; empty where the sentence says it.
    runbook: str = ""


_BAD = words.Look("Problema", "✕", "bad")
_WARN = words.Look("Atenção", "!", "warn")
_GOOD = words.Look("Em ordem", "✓", "good")
_NO_DATABASE = Notice(
    _BAD, "O banco de dados não atende: confira o servidor e veja o log.", "banco-fora-do-ar"
)
_WORST_FIRST = ("bad", "warn", "good", "quiet")
_QUEUE = words.Look("Fila", "○", "quiet")


class Dashboard:
    """The page for operators."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._zone = services.zone
        self._figures = ThrottledKpiCache()

    async def show(self, request: Request, since: Since = "24h") -> Response:
        """The whole page. `since`: 24h, 7d or 30d. Without a database it says only that, and since when."""
        try:
            return await self._whole(request, since)
        except StoreError:
            now = self._services.now()
            outages = [*outage_notices(self._services.vitals(), self._zone, now)] or [_NO_DATABASE]
            response = html("outage.html", self._zone, now, status=503, notices=outages)
            response.headers["Retry-After"] = "5"
            return response

    async def _whole(self, request: Request, since: Since) -> Response:
        period = chart.PERIODS[since]
        figures = await self._figures.get(since, lambda: self._count(period))
        backlog = await self._store.board.backlog(LISTED)
        calls, _ = await self._store.records.calls(limit=LISTED)
        now = self._services.now()
        return html(
            "dashboard.html",
            self._zone,
            now,
            **await self._of_now(now, backlog, figures),
            **({} if figures is None else self._counted(figures, period)),
            **({} if calls else self._first_minute(str(request.base_url))),
            first_minute=not calls,
            calls=calls,
            figures=figures,
            period=period,
            periods=chart.PERIODS.values(),
        )

    def _notices(
        self, alive: bool, vitals: Vitals, backlog: Backlog, figures: Figures | None, now: float
    ) -> list[Notice]:
        outages = list(outage_notices(vitals, self._zone, now))
        others = notices(alive, vitals, backlog, None if figures is None else figures.kpis, outages)
        return sorted([*others, *outages], key=lambda notice: _WORST_FIRST.index(notice.look.tone))

    def _first_minute(self, base_url: str) -> dict[str, Any]:
        setup = self._services.setup
        return {
            "setup_lines": setup_lines(setup),
            "next_step": next_step(setup, self._services.vitals()),
            "base_url": base_url,
        }

    def _counted(self, figures: Figures, period: chart.Period) -> dict[str, Any]:
        slots = chart.slots(figures.hours, figures.starts, period, self._zone)
        charts = [chart.draw(slots, "wide", _WIDE), chart.draw(slots, "narrow", _NARROW)]
        return {"kpis": figures.kpis, "slots": slots, "charts": charts}

    async def _count(self, period: chart.Period) -> Figures:
        now = self._services.now()
        starts = chart.begins(period, now, self._zone)
        kpis = await self._store.records.kpis(now - period.seconds, None)
        return Figures(kpis, await self._store.board.hours(starts[0]), starts, now)

    async def _of_now(self, now: float, backlog: Backlog, figures: Figures | None) -> dict[str, Any]:
        """How things stand as this is written."""
        vitals, alive = self._services.vitals(), self._services.alive()
        outcomes = await self._store.daemons.crm_outcomes(1)
        seen = Observed(alive, vitals, await self._store.records.waiting(), next(iter(outcomes), None))
        return {
            "backlog": backlog,
            "health": list(health(self._services.setup, seen, now, self._zone)),
            "notices": self._notices(alive, vitals, backlog, figures, now),
        }


def outage_notices(vitals: Vitals, zone: tzinfo, now: float) -> Iterator[Notice]:
    """What is down, since when, and what to do."""
    if vitals.database_outage:
        cause, since = vitals.database_outage[0], words.clock(vitals.database_outage[1], zone, now)
        yield Notice(
            _BAD,
            f"O banco de dados não atende desde {since} ({cause}): nada é enviado até "
            "ele voltar, e nada se perde. Confira o servidor do PostgreSQL e a rede até ele.",
            "banco-fora-do-ar",
        )
    if vitals.platform_outage:
        status, since = vitals.platform_outage[0], words.clock(vitals.platform_outage[1], zone, now)
        yield Notice(
            _BAD,
            f"A plataforma {_platform_trouble(status)} desde {since}. {_platform_cure(status)}",
            platform_runbook(status),
        )
    if vitals.bot_outage:
        cause, since = vitals.bot_outage[0], words.clock(vitals.bot_outage[1], zone, now)
        yield Notice(
            _WARN,
            f"O bot não recebe avisos desde {since} ({cause}): eles esperam por ele. {_bot_cure(cause)}",
            "avisos-parados",
        )


def _platform_trouble(status: str) -> str:
    if status in KEY_REFUSED:
        return f"recusa a chave (HTTP {status})"
    return "não responde" if status == "none" else f"responde com erro (HTTP {status})"


def _platform_cure(status: str) -> str:
    if status in KEY_REFUSED:
        return "Troque OPENAI_API_KEY, ou a permissão dela, e reinicie; as execuções esperam."
    return "Se ela estiver fora do ar, é só esperar; se não, confira a rede e OPENAI_BASE_URL."


def _bot_cure(cause: str) -> str:
    if cause == "http_410":
        return "Ele respondeu que não quer mais avisos: conserte-o e reinicie o worker."
    if cause in {"http_401", "http_403"}:
        return "Ele recusa a assinatura: confira BOT_WEBHOOK_SECRET dos dois lados."
    return "Confira o serviço em BOT_WEBHOOK_URL."


def notices(
    alive: bool, vitals: Vitals, backlog: Backlog, kpis: Kpis | None, outages: Sequence[Notice] = ()
) -> Iterator[Notice]:
    """What an operator must know first, the worst first; the queue is work, not a problem."""
    problems = [*_broken(alive, vitals), *_left(backlog), *_missed(kpis)]
    yield from problems
    if not problems and not outages:
        yield Notice(_GOOD, "Nenhum problema conhecido, e nada precisa de uma pessoa.")
    if backlog.requested.items:
        longest = words.lasting(backlog.longest_wait_s)
        many = limited_count(backlog.requested.count, "cliente espera", "clientes esperam")
        yield Notice(_QUEUE, f"{many} por um atendente, o primeiro há {longest}.")


def _broken(alive: bool, vitals: Vitals) -> Iterator[Notice]:
    if not alive:
        yield Notice(_BAD, "O worker parou: nenhum cliente está sendo atendido por este processo.")
    if vitals.breaker_open:
        yield Notice(
            _BAD, "O CRM não responde: os envios estão pausados, e nenhum ticket é aberto.", "crm-fora-do-ar"
        )
    if vitals.drifted:
        named = ", ".join(vitals.drifted)
        yield Notice(
            _WARN, f"As funções de {named} são diferentes das desta versão. Use ticket-worker sync-schema."
        )


def _left(backlog: Backlog) -> Iterator[Notice]:
    if backlog.dead.count:
        many = limited_count(backlog.dead.count, "chamada precisa", "chamadas precisam")
        yield Notice(_WARN, f"{many} de uma pessoa.")
    if backlog.lost.count:
        many = limited_count(backlog.lost.count, "cliente ficou", "clientes ficaram")
        yield Notice(_WARN, f"{many} sem resposta: a execução se perdeu.", "execucoes-perdidas")
    if backlog.overdue:
        many = limited_count(backlog.overdue, "cliente espera", "clientes esperam")
        latest = words.lasting(backlog.requested.items[0].late_s)
        yield Notice(
            _WARN,
            f"{many} por um atendente além do prazo, o mais atrasado há {latest}.",
            "atendimento-atrasado",
        )
    if backlog.stuck.count:
        many = limited_count(backlog.stuck.count, "aviso não chegou", "avisos não chegaram")
        yield Notice(_WARN, f"{many} ao bot em 72\u00a0h.", "avisos-parados")


def _missed(kpis: Kpis | None) -> Iterator[Notice]:
    missed = [kpi.title for kpi in KPIS if kpis is not None and kpi.met(kpis) is False]
    if missed:
        yield Notice(_WARN, f"Fora da meta: {'; '.join(missed)}.")
