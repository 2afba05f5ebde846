"""`GET /`: what happens, and what a person must do, for operators (contract §3). Nothing personal is shown.

One page, written by the server; its script asks for the same page again and puts what differs in place.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any, Literal

from fastapi import Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worker import __version__
from worker.errors import StoreError
from worker.kpis import KPIS, Kpis, Unit
from worker.metrics import Vitals
from worker.opening_hours import in_words
from worker.views import COUNTED_UP_TO, Backlog
from worker.web.dashboard import chart, timeline, words
from worker.web.dashboard.kpi_cache import Figures, ThrottledKpiCache
from worker.web.dependencies import Services

Since = Literal["24h", "7d", "30d"]

LISTED = 20
"""Rows of a list. The rest is in `GET /v1/calls` and `GET /v1/handoffs`."""

GLANCE = 5
"""Rows of what waits for a person that are shown before somebody asks for more."""

_WIDE, _NARROW = 760.0, 350.0
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence at the top of the page; `look.word` says how bad it is."""

    look: words.Look
    text: str


_BAD = words.Look("Problema", "✕", "bad")
_WARN = words.Look("Atenção", "!", "warn")
_GOOD = words.Look("Em ordem", "✓", "good")
_NO_DATABASE = Notice(_BAD, "O banco de dados não atende: confira o servidor e veja o log.")
_QUEUE = words.Look("Fila", "○", "quiet")


class Dashboard:
    """The page for operators."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._zone = services.zone
        self._figures = ThrottledKpiCache()
        self._template = _environment().get_template("dashboard.html")
        self._outage = _environment().get_template("outage.html")

    async def show(self, since: Since = "24h") -> Response:
        """The whole page. `since`: 24h, 7d or 30d. Without a database it says only that, and since when."""
        try:
            return await self._whole(since)
        except StoreError:
            now = self._services.now()
            outages = outage_notices(self._services.vitals(), self._zone, now)
            page = self._outage.render(
                notices=[*outages] or [_NO_DATABASE], clock=words.clock(now, self._zone, now)
            )
            return HTMLResponse(page, 503, headers={**_HEADERS, "Retry-After": "5"})

    async def _whole(self, since: Since) -> Response:
        period = chart.PERIODS[since]
        figures = await self._figures.get(since, lambda: self._count(period))
        backlog = await self._store.board.backlog(LISTED)
        calls, _ = await self._store.records.calls(limit=LISTED)
        page = self._template.render(
            **self._of_now(self._services.now(), backlog, figures),
            **({} if figures is None else self._counted(figures, period)),
            calls=calls,
            figures=figures,
            version=__version__,
            period=period,
            periods=chart.PERIODS.values(),
        )
        return HTMLResponse(page, headers=_HEADERS)

    def _counted(self, figures: Figures, period: chart.Period) -> dict[str, Any]:
        slots = chart.slots(figures.hours, figures.starts, period, self._zone)
        charts = [chart.draw(slots, "wide", _WIDE), chart.draw(slots, "narrow", _NARROW)]
        return {"kpis": figures.kpis, "slots": slots, "charts": charts}

    async def _count(self, period: chart.Period) -> Figures:
        now = self._services.now()
        starts = chart.begins(period, now, self._zone)
        kpis = await self._store.records.kpis(now - period.seconds, None)
        return Figures(kpis, await self._store.board.hours(starts[0]), starts, now)

    def _of_now(self, now: float, backlog: Backlog, figures: Figures | None) -> dict[str, Any]:
        """How things stand as this is written."""
        vitals, alive = self._services.vitals(), self._services.alive()
        return {
            "now": now,
            "alive": alive,
            "vitals": vitals,
            "backlog": backlog,
            "notices": [
                *(outages := list(outage_notices(vitals, self._zone, now))),
                *notices(alive, vitals, backlog, None if figures is None else figures.kpis, outages),
            ],
            "clock": lambda at: words.clock(at, self._zone, now),
            "in_words": lambda at: in_words(at, self._zone),
        }


def outage_notices(vitals: Vitals, zone: tzinfo, now: float) -> Iterator[Notice]:
    """What is down, since when, and what to do."""
    if vitals.database_outage:
        cause, since = vitals.database_outage[0], words.clock(vitals.database_outage[1], zone, now)
        yield Notice(
            _BAD,
            f"O banco de dados não atende desde {since} ({cause}): nada é enviado até "
            "ele voltar, e nada se perde. Confira o servidor do PostgreSQL e a rede até ele.",
        )
    if vitals.platform_outage:
        status, since = vitals.platform_outage[0], words.clock(vitals.platform_outage[1], zone, now)
        yield Notice(
            _BAD, f"A plataforma {_platform_trouble(status)} desde {since}. {_platform_cure(status)}"
        )
    if vitals.bot_outage:
        cause, since = vitals.bot_outage[0], words.clock(vitals.bot_outage[1], zone, now)
        yield Notice(
            _WARN,
            f"O bot não recebe eventos desde {since} ({cause}): eles esperam por ele. "
            "Confira o serviço em BOT_WEBHOOK_URL.",
        )


def _platform_trouble(status: str) -> str:
    if status in {"401", "403"}:
        return f"recusa a chave (HTTP {status})"
    return "não responde" if status == "none" else f"responde com erro (HTTP {status})"


def _platform_cure(status: str) -> str:
    if status in {"401", "403"}:
        return "Troque OPENAI_API_KEY, ou a permissão dela, e reinicie; as execuções esperam."
    return "Nada a fazer além de esperar, se ela estiver fora; confira a rede e OPENAI_BASE_URL."


def notices(
    alive: bool, vitals: Vitals, backlog: Backlog, kpis: Kpis | None, outages: Sequence[Notice] = ()
) -> Iterator[Notice]:
    """What whoever looks at night must know first, the worst first; the queue is work, not a problem."""
    problems = [*_broken(alive, vitals), *_left(backlog), *_missed(kpis)]
    yield from problems
    if not problems and not outages:
        yield Notice(_GOOD, "Tudo funciona, e nenhuma chamada precisa de uma pessoa.")
    if backlog.requested.items:
        longest = words.lasting(backlog.longest_wait_s)
        many = some(backlog.requested.count, "cliente espera", "clientes esperam")
        yield Notice(_QUEUE, f"{many} por um atendente, o primeiro há {longest}.")


def _broken(alive: bool, vitals: Vitals) -> Iterator[Notice]:
    if not alive:
        yield Notice(_BAD, "O laço parou: nenhuma execução está sendo atendida por este processo.")
    if vitals.breaker_open:
        yield Notice(_BAD, "O CRM não responde: com o disjuntor aberto, os pedidos falham sem ser enviados.")
    if vitals.drifted:
        named = ", ".join(vitals.drifted)
        yield Notice(_WARN, f"Funções diferem das nossas em: {named}. Use ticket-worker sync-schema.")


def _left(backlog: Backlog) -> Iterator[Notice]:
    if backlog.dead.count:
        many = some(backlog.dead.count, "chamada precisa", "chamadas precisam")
        yield Notice(_WARN, f"{many} de uma pessoa.")
    if backlog.overdue:
        many = some(backlog.overdue, "cliente espera", "clientes esperam")
        latest = words.lasting(backlog.requested.items[0].late_s)
        yield Notice(_WARN, f"{many} por um atendente além do prazo, o mais atrasado há {latest}.")
    if backlog.stuck.count:
        many = some(backlog.stuck.count, "evento não chegou", "eventos não chegaram")
        yield Notice(_WARN, f"{many} ao bot em 72\u00a0h.")


def _missed(kpis: Kpis | None) -> Iterator[Notice]:
    missed = [kpi.title for kpi in KPIS if kpis is not None and kpi.met(kpis) is False]
    if missed:
        yield Notice(_WARN, f"Fora da meta: {'; '.join(missed)}.")


def some(count: int, one: str, many: str) -> str:
    """How many, as far as anybody counted."""
    return f"{COUNTED_UP_TO} ou mais {many}" if count >= COUNTED_UP_TO else words.plural(count, one, many)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"lasting": words.lasting, "count": Unit.COUNT.written}
    environment.globals |= {
        "safe_id": lambda value: words.safe("conversation_id", value),
        "safe_run": lambda value: words.safe("run_id", value),
        "safe_tool": lambda value: words.safe("tool", value),
        "steps": timeline.steps,
        "what": timeline.what,
        "some": some,
        "handoff_look": words.handoff_look,
        "STATES": words.STATES,
        "VERDICTS": words.VERDICTS,
        "KPIS": KPIS,
        "LISTED": LISTED,
        "GLANCE": GLANCE,
    }
    return environment
