"""The dashboard, without a browser: what is written on the page, and what never is."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.asgi import EPOCH, api_at_epoch, calling
from tests.web.views import a_call
from worker import logs, metrics
from worker.errors import StoreError
from worker.kpis import KPIS, Durations, Kpis
from worker.metrics import Vitals
from worker.model import CallState
from worker.privacy import Hasher
from worker.store.store import Store
from worker.views import AttemptView, Backlog, CallView, DeadLetter, Hour, OpenHandoff, Preview, StuckEvent
from worker.web.dashboard import chart, timeline, words
from worker.web.dashboard.kpi_cache import Figures, ThrottledKpiCache
from worker.web.dashboard.page import notices, outage_notices

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
WEB = Path(chart.__file__).parents[1]
HEALTHY = Kpis(
    tickets_opened=96,
    valid_requests=100,
    pairs_given=200,
    pairs_invalid=1,
    crm_ms=Durations(212.4, 180.0, 430.5, 890.2),
)
ILL = Kpis(
    tickets_opened=1234,
    valid_requests=2000,
    pairs_given=100,
    pairs_invalid=2,
    without_protocol=3,
    crm_ms=Durations(1500.0, 1.0, 1.0, 1.0),
)


class Page(HTMLParser):
    """A page read back: its text without markup, its elements with their attributes."""

    VOID = frozenset({"meta", "link", "img", "input", "rect", "circle", "line", "path"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, name: str) -> list[str]:
        """Every value of an attribute."""
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    @property
    def notices(self) -> list[str]:
        """The sentences at the top, each with its word."""
        found = re.findall(r'<li class="notice \w+">(.*?)</li>', self.html)
        return [" ".join(Page(each).text.split()) for each in found]


Show = Callable[..., Awaitable[Page]]


@pytest.fixture
def page(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> Show:
    """Reads the page over an empty store.

    `kpis`, `hours`, `backlog` and `calls` take the place of what the store would answer to that one question.
    """

    async def show(query: str = "", *, calls: Sequence[CallView] | None = None, **changes: Any) -> Page:
        for part, question in (("records", "kpis"), ("board", "hours"), ("board", "backlog")):
            if question in changes:
                monkeypatch.setattr(getattr(sqlite_store, part), question, answering(changes.pop(question)))
        if calls is not None:
            monkeypatch.setattr(sqlite_store.records, "calls", answering((calls, None)))
        async with calling(api_at_epoch(sqlite_store, **{"vitals": Vitals, **changes})) as client:
            answer = await client.get(f"/{query}")
        assert answer.status_code == 200, answer.text
        return Page(answer.text)

    return show


def answering(value: object) -> Callable[..., Awaitable[object]]:
    async def answer(*_: object, **__: object) -> object:
        return value

    return answer


def dead(call_id: str = "tc_9", **changes: Any) -> DeadLetter:
    letter = {
        "call_id": call_id,
        "conversation_id": "conv-1",
        "tool": "abrir_ticket_crm",
        "state": CallState.FAILED,
        "error": "crm_indisponivel",
        "setor": "FINANCEIRO",
        "motivo": "PAGAMENTO",
        "received_at": EPOCH - 60,
        "retriable": True,
        "resolvable": True,
    }
    return DeadLetter(**{**letter, **changes})


def waits(
    handoff_id: str = "ho_1", *, accepted: bool = False, for_s: float = 750.0, **times: float
) -> OpenHandoff:
    return OpenHandoff(handoff_id, "conv-1", "financeiro", accepted, for_s, **times)


def some(*items: Any, count: int | None = None) -> Preview[Any]:
    return Preview(list(items), len(items) if count is None else count)


# ---------------------------------------------------------------------------------------------------- kpis


async def test_the_four_figures_of_the_mission_stand_beside_their_targets(page: Show) -> None:
    text = (await page(kpis=HEALTHY)).text
    for told in (
        "Taxa de sucesso na abertura 96,00 % ✓ dentro da meta meta > 95,00 %",
        "Tempo de resposta do CRM (média) 212 ms ✓ dentro da meta meta < 500 ms",
        "Combinações inválidas 0,50 % ✓ dentro da meta meta < 1,00 %",
        "Tickets sem protocolo 0 ✓ dentro da meta meta ≤ 0",
    ):
        assert told in text


async def test_a_target_that_is_missed_is_said_in_words(page: Show) -> None:
    shown = await page(kpis=ILL)
    assert shown.text.count("✕ fora da meta") == 4
    assert "Tickets abertos 1.234" in shown.text
    assert shown.notices == [
        "! Atenção Fora da meta: Taxa de sucesso na abertura; Tempo de resposta do CRM (média); "
        "Combinações inválidas; Tickets sem protocolo."
    ]


async def test_without_anything_to_measure_there_is_no_verdict(page: Show) -> None:
    text = (await page()).text
    assert text.count("– sem dados") == 5
    assert "Tickets sem protocolo 0 – sem dados" in text


async def test_every_figure_is_explained_as_the_kpis_define_it(page: Show) -> None:
    text = (await page()).text
    assert all(kpi.title in text and kpi.meaning in text for kpi in KPIS)


@pytest.mark.parametrize(("since", "days"), [("24h", 1), ("7d", 7), ("30d", 30)])
async def test_the_period_is_chosen_by_the_address(
    page: Show, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, since: str, days: int
) -> None:
    measured: list[tuple[float, float | None]] = []
    kpis = sqlite_store.records.kpis

    async def measure(begin: float, end: float | None) -> Kpis:
        measured.append((begin, end))
        return await kpis(begin, end)

    monkeypatch.setattr(sqlite_store.records, "kpis", measure)
    shown = await page(f"?since={since}")
    assert measured == [(EPOCH - days * 86400, None)]
    marked = [attributes["href"] for _, attributes in shown.elements if "aria-current" in attributes]
    assert marked == ["./", f"?since={since}"]


async def test_another_period_is_refused(sqlite_store: Store) -> None:
    async with calling(api_at_epoch(sqlite_store)) as client:
        assert (await client.get("/?since=1h")).status_code == 422


async def test_the_page_counts_the_kpis_once_for_two_who_look_together(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[float] = []
    hours = sqlite_store.board.hours

    async def count(since: float) -> Sequence[Hour]:
        counted.append(since)
        return await hours(since)

    monkeypatch.setattr(sqlite_store.board, "hours", count)
    async with calling(api_at_epoch(sqlite_store)) as client:
        for _ in range(2):
            assert (await client.get("/")).status_code == 200
    assert len(counted) == 1


class Counting:
    """Counts when it is told to, and takes as long as it is told, on a clock of its own."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.counted = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self) -> Figures:
        await self.may_end.wait()
        self.seconds += 1.0
        self.counted += 1
        return Figures(Kpis(), [], [], self.seconds)


async def test_many_viewers_cost_one_count_until_it_is_twenty_times_as_old_as_it_took() -> None:
    count = Counting()
    sparing = ThrottledKpiCache(lambda: count.seconds)
    first, second = await asyncio.gather(sparing.get("24h", count), sparing.get("24h", count))
    assert first is second is await sparing.get("24h", count)
    await sparing.get("7d", count)
    assert count.counted == 2
    count.seconds += 20.0
    assert await sparing.get("24h", count) is not first


async def test_nobody_waits_long_for_a_count_and_all_are_given_the_last_one() -> None:
    count = Counting()
    sparing = ThrottledKpiCache(lambda: count.seconds, patience_s=0.0)
    count.may_end.clear()
    assert await sparing.get("24h", count) is None
    count.may_end.set()
    await sparing._counting["24h"]
    first = await sparing.get("24h", count)
    assert first is not None
    count.seconds += 20.0
    count.may_end.clear()
    assert await sparing.get("24h", count) is first
    assert count.counted == 1
    count.may_end.set()


async def test_a_count_that_fails_is_reported_and_repeated() -> None:
    count = Counting()

    async def fails() -> Figures:
        raise StoreError("gone")

    sparing = ThrottledKpiCache(lambda: count.seconds)
    with pytest.raises(StoreError):
        await sparing.get("24h", fails)
    assert await sparing.get("24h", count) is not None


async def test_while_the_first_count_takes_its_time_all_else_is_shown(
    page: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_yet(*_: object) -> None:
        return None

    monkeypatch.setattr(ThrottledKpiCache, "get", nothing_yet)
    text = (await page(backlog=Backlog(dead=some(dead())))).text
    assert text.count("Contando as chamadas do período…") == 2
    assert "1 chamada precisa de uma pessoa." in text


# --------------------------------------------------------------------------------------------------- chart


async def test_the_chart_has_its_numbers_in_a_table_too(page: Show) -> None:
    now_hour = EPOCH - EPOCH % 3600
    shown = await page(hours=[Hour(now_hour - 3600, 4, 1, 2, 3), Hour(now_hour, opened=1)])
    assert "abertos 5 falharam 1 sem confirmação 2 recusadas na validação 3" in shown.text
    assert "27/10, 15h 1 0 0 0 27/10, 14h 4 1 2 3 27/10, 13h 0 0 0 0" in shown.text
    bars = Counter(attributes["class"] for tag, attributes in shown.elements if tag == "rect")
    drawn = {kind: bars[f"bar {kind}"] - 1 for kind in ("opened", "failed", "unsure", "rejected")}
    assert drawn == {
        "opened": 4,
        "failed": 2,
        "unsure": 2,
        "rejected": 2,
    }  # in two widths; one is the legend's


async def test_a_period_without_tickets_says_so(page: Show) -> None:
    assert "Nenhum ticket neste período." in (await page()).text
    some_ticket = [Hour(EPOCH - EPOCH % 3600, opened=1)]
    assert "Nenhum ticket neste período." not in (await page(hours=some_ticket)).text


def test_the_hours_shown_are_the_last_24_and_end_with_the_present_one() -> None:
    starts = chart.begins(chart.PERIODS["24h"], EPOCH, SAO_PAULO)
    assert len(starts) == 24
    assert starts[-1] <= EPOCH < starts[-1] + 3600
    assert {later - earlier for earlier, later in pairwise(starts)} == {3600.0}


def test_a_day_is_the_operators_own_though_it_has_25_hours() -> None:
    zone = ZoneInfo("America/New_York")
    now = 1_762_200_000.0  # 2025-11-03T15:00:00-05:00: on the 2nd the clocks went back
    period = chart.PERIODS["7d"]
    starts = chart.begins(period, now, zone)
    assert starts[-1] - starts[-2] == 25 * 3600
    hours = [Hour(starts[-2] + 24 * 3600, opened=5), Hour(starts[-1], opened=7)]
    shown = chart.slots(hours, starts, period, zone)
    assert [(slot.short, slot.opened) for slot in shown[-2:]] == [("02/11", 5), ("03/11", 7)]


def test_bars_stand_on_the_axis_upon_each_other_and_reach_what_they_count() -> None:
    slots = [chart.Slot("14h", "14h", failed=1, unsure=2, rejected=1), chart.Slot("15h", "15h", opened=4)]
    drawn = chart.draw(slots, "wide", 760.0)
    tickets, errors = drawn.panels
    assert [value for _, value in errors.ticks] == [0, 2, 4]
    y = {value: place for place, value in errors.ticks}
    assert errors.bars[0].y + errors.bars[0].height == pytest.approx(y[0])
    assert [bar.kind for bar in errors.bars] == ["failed", "unsure", "rejected"]
    assert errors.bars[-1].y == pytest.approx(y[4])
    assert tickets.bars[0].y == {value: place for place, value in tickets.ticks}[4]
    assert all(0 < bar.x < bar.x + bar.width <= drawn.width for bar in (*tickets.bars, *errors.bars))


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 2), (2, 2), (3, 4), (9, 10), (11, 20), (81, 100), (1001, 2000)]
)
def test_an_axis_ends_at_a_round_number(highest: int, top: int) -> None:
    assert chart.ceiling(highest) == top


def test_times_under_the_bars_never_run_into_each_other() -> None:
    for period, width in ((p, w) for p in chart.PERIODS.values() for w in (760.0, 350.0)):
        slots = [chart.Slot("00/00", "00/00")] * period.bars
        places = [x for x, _ in chart.draw(slots, "any", width).labels]
        assert all(later - earlier >= 40 for earlier, later in pairwise(places))
        assert places[-1] > width - 60


# ------------------------------------------------------------------------------------------------ timeline


def story(call: CallView) -> list[str]:
    return [f"{step.title}: {step.detail}".removesuffix(": ") for step in timeline.steps(call)]


def test_the_timeline_of_a_ticket_runs_from_its_call_to_its_submission() -> None:
    attempts = (
        AttemptView(1, EPOCH, EPOCH + 0.5, "http_503", False),
        AttemptView(2, EPOCH + 1, EPOCH + 1.25, "ok", None),
    )
    assert story(a_call(attempts=attempts)) == [
        "Recebida: abrir_ticket_crm",
        "Validada: FINANCEIRO · INFORMAR PAGAMENTO",
        "Pedido gravado",
        "Tentativa 1: http_503 em 500 ms",
        "Tentativa 2: respondida em 250 ms",
        "Concluída: protocolo 2510271534789012",
        "Resposta entregue ao assistente",
    ]


def test_what_has_not_happened_yet_is_last_and_has_no_time() -> None:
    nothing = {"protocolo": None, "answered_at": None, "finished_at": None, "submitted_at": None}
    attempts = (AttemptView(1, EPOCH + 1, None, None, None),)
    call = a_call(state=CallState.RUNNING, attempts=attempts, **nothing)
    assert story(call)[3:] == ["Tentativa 1: em andamento", "Resultado", "Resposta entregue ao assistente"]
    assert [step.at for step in timeline.steps(call)][-2:] == [None, None]


def test_a_rejected_call_got_no_further_than_the_checks() -> None:
    call = a_call(state=CallState.REJECTED, error="motivo_incompativel", attempts=(), protocolo=None)
    assert story(call) == [
        "Recebida: abrir_ticket_crm",
        "Recusada na validação: motivo_incompativel",
        "Resposta entregue ao assistente",
    ]


def test_an_equal_call_names_the_one_it_is_equal_to() -> None:
    assert "Igual a outra chamada: tc_0" in story(a_call(equal_to="tc_0", attempts=()))


@pytest.mark.parametrize("finished", [EPOCH + 9, None])
def test_an_answer_given_before_the_result_is_shown_as_such(finished: float | None) -> None:
    state = CallState.RUNNING if finished is None else CallState.DONE
    call = a_call(state=state, answered_at=EPOCH + 3, submitted_at=EPOCH + 4, finished_at=finished)
    assert "Respondida antes do resultado: em_confirmacao" in story(call)


async def test_the_newest_calls_are_shown_with_their_outcomes(page: Show) -> None:
    yesterday = EPOCH - 86400
    calls = [
        a_call("tc_1"),
        a_call("tc_2", state=CallState.UNKNOWN, protocolo=None, error="em_confirmacao"),
        a_call("tc_3", tool="transferir_para_humano", setor=None, motivo=None, departamento="financeiro"),
        a_call("tc_4", setor=None, motivo=None, protocolo=None, received_at=yesterday, attempts=()),
    ]
    text = (await page(calls=calls)).text
    assert "✓ Concluída FINANCEIRO · INFORMAR PAGAMENTO 2510271534789012 15:34:00" in text
    assert "? Sem confirmação FINANCEIRO · INFORMAR PAGAMENTO em_confirmacao" in text
    assert "Concluída Transferência · financeiro" in text
    assert "Concluída abrir_ticket_crm 26/10 15:34" in text


def test_every_state_has_a_word_and_a_sign_of_its_own() -> None:
    assert words.STATES.keys() == set(CallState)
    assert len({look.word for look in words.STATES.values()}) == len(words.STATES)
    assert len({look.sign for look in words.STATES.values()}) == len(words.STATES)


# ------------------------------------------------------------------------------------- what waits, and how


async def test_when_all_is_well_one_sentence_says_so_and_the_queue_is_no_problem(page: Show) -> None:
    fine = "✓ Em ordem Nenhum problema conhecido, e nada precisa de uma pessoa."
    assert (await page()).notices == [fine]
    queue = Backlog(requested=some(waits()), longest_wait_s=750.0)
    assert (await page(backlog=queue)).notices == [
        fine,
        "○ Fila 1 cliente espera por um atendente, o primeiro há 12 min.",
    ]


async def test_what_is_wrong_is_said_first_and_the_worst_of_it_before_the_rest(page: Show) -> None:
    backlog = Backlog(
        dead=some(dead()),
        requested=some(waits(late_s=61.0), count=2),
        stuck=some(StuckEvent("msg_1", "ticket.opened", "conv-1", EPOCH, "http_500"), count=3),
        events=4,
        overdue=1,
        longest_wait_s=750.0,
    )
    vitals = Vitals(breaker_open=True, tick_age_s=95.0, runs_watched=1234, drifted=("FINANCEIRO",))
    shown = await page(backlog=backlog, vitals=lambda: vitals, alive=lambda: False)
    assert shown.notices == [
        "✕ Problema O worker parou: nenhum cliente está sendo atendido por este processo.",
        "✕ Problema O CRM não responde: os envios estão pausados, e nenhum ticket é aberto. O que fazer",
        "! Atenção As funções de FINANCEIRO são diferentes das desta versão. Use ticket-worker sync-schema.",
        "! Atenção 1 chamada precisa de uma pessoa.",
        "! Atenção 1 cliente espera por um atendente além do prazo, o mais atrasado há 1 min. O que fazer",
        "! Atenção 3 avisos não chegaram ao bot em 72 h. O que fazer",
        "○ Fila 2 clientes esperam por um atendente, o primeiro há 12 min.",
    ]
    parts = "Worker ✕ parado há 1 min CRM ✕ envios pausados até que o próximo dê certo · o que fazer"
    assert parts in shown.text
    assert "Funções dos assistentes ! diferentes em FINANCEIRO" in shown.text
    assert "Execuções em andamento 1.234 execuções" in shown.text
    assert "(6) ✕ ticket-worker" in shown.text


async def test_a_customer_at_night_is_distinguished_from_one_past_the_deadline(page: Show) -> None:
    late = waits("ho_1", due_at=EPOCH - 61.0, late_s=61.0)
    night = waits("ho_2", opens_at=EPOCH + 86_400.0, due_at=EPOCH + 87_300.0)
    soon = waits("ho_3", due_at=EPOCH + 60.0)
    waiting = Backlog(requested=some(late, night, soon), overdue=1, longest_wait_s=750.0)
    text = (await page(backlog=waiting)).text
    assert "✕ Espera há 12 min prazo vencido há 1 min · o que fazer financeiro" in text
    assert (
        "Espera há 12 min prazo 28/10 15:49 financeiro Fora do horário; abre terça-feira, 28/10, às 15:34."
        in text
    )
    assert "○ Espera há 12 min prazo 15:35:00 financeiro" in text


def actions(shown: Page) -> list[str]:
    forms = [attributes for tag, attributes in shown.elements if tag == "form"]
    return [attributes["action"] for attributes in forms if "data-native" not in attributes]


async def test_buttons_are_those_that_can_act(page: Show) -> None:
    letters = [
        dead("tc_1"),
        dead("tc_2", state=CallState.NO_PROTOCOL, retriable=False),
        dead("tc_3", setor=None, motivo=None, tool="meu_tool", resolvable=False),
    ]
    handoffs = {"requested": some(waits("ho_1")), "accepted": some(waits("ho_2", accepted=True))}
    shown = await page(backlog=Backlog(dead=some(*letters), **handoffs))
    assert actions(shown) == [
        "v1/calls/tc_1/retry",
        "v1/calls/tc_1/resolve",
        "v1/calls/tc_1/dismiss",
        "v1/calls/tc_2/resolve",
        "v1/calls/tc_2/dismiss",
        "v1/calls/tc_3/retry",
        "v1/calls/tc_3/dismiss",
        "v1/handoffs/ho_1/accept",
        "v1/handoffs/ho_1/close",
        "v1/handoffs/ho_2/return",
        "v1/handoffs/ho_2/close",
    ]
    assert "Espera há 12 min financeiro" in shown.text
    assert "Em atendimento há 12 min financeiro" in shown.text


async def test_a_long_backlog_is_said_to_be_longer_than_the_list(page: Show) -> None:
    many = [dead(f"tc_{number}") for number in range(20)]
    calls, people = some(*many, count=1000), some(*[waits()] * 20, count=21)
    text = (await page(backlog=Backlog(dead=calls, requested=people))).text
    assert "As 20 mais novas de 1000 ou mais chamadas" in text
    assert "Os 20 de prazo mais próximo ou vencido" in text
    assert "1000 ou mais chamadas precisam de uma pessoa." in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3660, "1 h 01 min"), (90000, "1 d 1 h")],
)
def test_a_wait_is_shown_in_the_units_that_matter(seconds: float, said: str) -> None:
    assert words.lasting(seconds) == said


def test_the_vitals_are_what_the_gauges_tell() -> None:
    metrics.runs_watched.set(7)
    metrics.schema_drift.labels("SUPORTE").set(1)
    metrics.schema_drift.labels("FINANCEIRO").set(0)
    try:
        assert metrics.vitals().runs_watched == 7
        assert metrics.vitals().drifted == ("SUPORTE",)
    finally:
        metrics.runs_watched.set(0)
        metrics.schema_drift.clear()
    assert metrics.vitals().drifted == ()


# ------------------------------------------------------------------------------------ what never is shown


@pytest.fixture
def hashed() -> Iterator[None]:
    logs.use_hasher(Hasher(b"k" * 32))
    yield
    logs.shutdown()


@pytest.mark.usefixtures("hashed")
async def test_an_id_that_could_be_personal_is_shown_as_in_the_log(page: Show) -> None:
    phone, tool = "5524997135826", "consultar_52998224725"
    call = a_call(conversation_id=phone, tool=tool, setor=None, motivo=None, run_id=phone)
    backlog = Backlog(
        dead=some(dead(conversation_id=phone, tool=tool, setor=None, motivo=None)),
        requested=some(OpenHandoff("ho_1", phone, "financeiro", False, 1.0)),
        stuck=some(StuckEvent("msg_1", "ticket.opened", phone, EPOCH, "http_500")),
    )
    html = (await page(calls=[call], backlog=backlog)).html
    assert phone not in html
    assert tool not in html
    hidden = words.safe("conversation_id", phone)
    assert re.fullmatch("conv-[0-9a-f]{10}", hidden)
    assert Page(html).text.count(hidden) >= 4


async def test_whatever_a_database_holds_is_text_on_the_page(page: Show) -> None:
    evil = "<script>alert(1)</script>"
    call = a_call(setor=evil, motivo='"onload="x', protocolo=evil, error=evil)
    html = (await page(calls=[call])).html
    assert evil not in html
    assert "&lt;script&gt;" in html


async def test_the_page_runs_and_loads_only_what_is_ours(page: Show) -> None:
    shown = await page(calls=[a_call()], backlog=Backlog(dead=some(dead())))
    assert not [name for _, attributes in shown.elements for name in attributes if name.startswith("on")]
    assert not shown.all("style")
    assert not [tag for tag, attributes in shown.elements if tag == "style"]
    assert [
        attributes for tag, attributes in shown.elements if tag == "script" and "src" not in attributes
    ] == []
    addresses = [*shown.all("src"), *shown.all("href"), *shown.all("action")]
    assert addresses
    assert not [each for each in addresses if "//" in each or each.startswith("/")]
    for asset in (WEB / "static" / "dashboard").iterdir():
        found = re.findall(r"https?://[^\s\"')]+", asset.read_text(encoding="utf-8"))
        assert set(found) <= {"http://www.w3.org/2000/svg"}, asset


async def test_ids_are_unique_and_every_reference_leads_to_one(page: Show) -> None:
    backlog = Backlog(
        dead=some(dead("tc_1"), dead("tc_2")), requested=some(waits()), accepted=some(waits("ho_2"))
    )
    shown = await page(calls=[a_call()], backlog=backlog)
    ids = shown.all("id")
    assert len(ids) == len(set(ids))
    anchors = [href[1:] for href in shown.all("href") if href.startswith("#")]
    assert {*shown.all("aria-labelledby"), *shown.all("for"), *anchors} <= set(ids)
    fields = [attributes for tag, attributes in shown.elements if tag in {"input", "select"}]
    labelled = [field["id"] for field in fields if field.get("type") != "checkbox"]
    assert sorted(labelled) == sorted(shown.all("for"))


async def test_the_page_cannot_be_framed_and_runs_no_foreign_script(sqlite_store: Store) -> None:
    async with calling(api_at_epoch(sqlite_store)) as client:
        headers = (await client.get("/")).headers
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(
        policy.split("; ")
    )
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_browser_is_asked_for_the_token_and_the_assets_need_it_too(sqlite_store: Store) -> None:
    async with calling(api_at_epoch(sqlite_store, token="s3cret")) as client:
        for path in ("/", "/static/dashboard/dashboard.js"):
            refused = await client.get(path)
            assert (refused.status_code, "Basic" in refused.headers["www-authenticate"]) == (401, True)
            assert (await client.get(path, auth=("ana", "s3cret"))).status_code == 200


async def test_the_page_is_only_read(sqlite_store: Store) -> None:
    async with calling(api_at_epoch(sqlite_store)) as client:
        answer = await client.post("/")
        assert (answer.status_code, answer.json()["code"]) == (405, "metodo_nao_permitido")
        assert (await client.head("/")).status_code == 200


# ---------------------------------------------------------------------------------------------- outages


@pytest.mark.parametrize(
    ("outage", "sentence"),
    [
        (
            {"platform_outage": ("401", EPOCH - 60)},
            "A plataforma recusa a chave (HTTP 401) desde 15:33:00. Troque",
        ),
        (
            {"platform_outage": ("none", EPOCH - 60)},
            "A plataforma não responde desde 15:33:00. Se ela estiver fora do ar",
        ),
        (
            {"platform_outage": ("503", EPOCH - 60)},
            "A plataforma responde com erro (HTTP 503) desde 15:33:00.",
        ),
        ({"bot_outage": ("http_503", EPOCH - 60)}, "O bot não recebe avisos desde 15:33:00 (http_503)"),
        (
            {"bot_outage": ("http_410", EPOCH - 60)},
            "O bot não recebe avisos desde 15:33:00 (http_410): eles esperam por ele. "
            "Ele respondeu que não quer mais avisos: conserte-o e reinicie o worker.",
        ),
        (
            {"bot_outage": ("http_401", EPOCH - 60)},
            "O bot não recebe avisos desde 15:33:00 (http_401): eles esperam por ele. "
            "Ele recusa a assinatura: confira BOT_WEBHOOK_SECRET",
        ),
        (
            {"database_outage": ("recusada", EPOCH - 60)},
            "O banco de dados não atende desde 15:33:00 (recusada)",
        ),
    ],
)
def test_what_is_down_is_said_with_since_when_and_what_to_do(outage: dict[str, Any], sentence: str) -> None:
    (notice,) = outage_notices(Vitals(**outage), ZoneInfo("America/Sao_Paulo"), EPOCH)
    assert notice.text.startswith(sentence)


def test_nothing_is_called_in_order_beside_an_outage() -> None:
    outages = list(outage_notices(Vitals(bot_outage=("timeout", EPOCH)), ZoneInfo("UTC"), EPOCH))
    assert list(notices(True, Vitals(), Backlog(), None, outages)) == []
    assert [each.look.tone for each in notices(True, Vitals(), Backlog(), None)] == ["good"]
