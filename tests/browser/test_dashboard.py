"""The dashboard in a real browser, over a real ledger: to be read, to act, to stay alive."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.asgi import api_over
from tests.browser import ledger
from tests.system.personal_values import leaks
from worker import logs
from worker.metrics import Vitals
from worker.settings import Settings
from worker.store.store import Store
from worker.web.dashboard import words
from worker.web.server import serve

CHROMIUM = Path("/usr/bin/chromium")
if not CHROMIUM.exists():
    pytest.skip("BROWSER TESTS SKIPPED: /usr/bin/chromium is not installed", allow_module_level=True)
playwright = pytest.importorskip(
    "playwright.async_api", reason="BROWSER TESTS SKIPPED: playwright is not installed"
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.untraced]
"""One browser for all: it takes longer to start than any of these to run."""

ARTEFACTS = Path(__file__).parents[2] / "test-artifacts" / "dashboard"
TOKEN = "s3cret"
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
LATER_MS = 6000
"""Longer than the page waits before it looks again."""


@dataclass
class House:
    """A dashboard that is served, with the ledger behind it and the process's health as the test says."""

    store: Store
    vitals: Vitals = field(default_factory=Vitals)
    url: str = ""
    stop: Callable[[], Any] = lambda: None

    async def holds(self, day: ledger.Day) -> None:
        await day.written(self.store)


@pytest_asyncio.fixture(loop_scope="module")
async def house(make_settings: Callable[..., Settings]) -> AsyncIterator[House]:
    store = await Store.open(make_settings(), "assistants", owner=True)
    logs.use_hasher(store.database.hasher)
    house = House(store, Vitals(runs_watched=12))
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(_api(house), "127.0.0.1", 0, on_started=started.set_result))
    house.url, house.stop = await started, task.cancel
    yield house
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await store.close()
    logs.shutdown()


def _api(house: House) -> Any:
    return api_over(house.store, token=TOKEN, vitals=lambda: house.vitals)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator["playwright.Browser"]:
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: "playwright.Browser") -> AsyncIterator["playwright.Browser"]:
    """Nobody else's pages are open in it."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


@dataclass
class Visit:
    """An open page, and what it asked for and complained about."""

    page: Any
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def sideways(self) -> int:
        """How many pixels of the page lie beyond its right edge."""
        found: int = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return found

    async def focused(self) -> str:
        found: str = await self.page.evaluate("document.activeElement.id || document.activeElement.tagName")
        return found

    async def later(self) -> None:
        """The page looks again."""
        async with self.page.expect_response(lambda answer: answer.request.resource_type == "fetch"):
            await self.page.clock.fast_forward(LATER_MS)

    async def press(self, key: str, until: str, at_most: int = 60) -> None:
        """One key until the element with this id has the focus."""
        for _ in range(at_most):
            if await self.focused() == until:
                return
            await self.page.keyboard.press(key)
        raise AssertionError(f"{until} cannot be reached with {key}")


async def visit(browser: "playwright.Browser", house: House, *, path: str = "/", **options: Any) -> Visit:
    context = await browser.new_context(
        http_credentials={"username": "ana", "password": TOKEN}, **{"viewport": DESKTOP, **options}
    )
    seen = Visit(await context.new_page())
    seen.page.on("request", lambda request: seen.asked.append(request.url))
    seen.page.on("console", lambda message: seen.complaints.append(message.text))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    await seen.page.clock.install()
    await seen.page.goto(house.url + path)
    return seen


async def photograph(page: Any, name: str) -> None:
    """The whole page, once in light, once in dark, once on a phone."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    for scheme, size in (("light", DESKTOP), ("dark", DESKTOP), ("phone", PHONE)):
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.screenshot(path=ARTEFACTS / f"{name}-{scheme}.png", full_page=True, animations="disabled")


# --------------------------------------------------------------------------------------------- to be read


@pytest.mark.parametrize(
    ("day", "breaker_open", "said"),
    [
        (ledger.healthy, False, "Nenhum problema conhecido"),
        (ledger.crm_down, True, "O CRM não responde"),
        (ledger.night, False, "1 cliente espera por um atendente além do prazo"),
        (ledger.empty, False, "Nenhum problema conhecido"),
    ],
)
async def test_it_is_read_on_any_screen_and_neither_loads_nor_gives_anything_away(
    house: House,
    browser: "playwright.Browser",
    day: Callable[[], ledger.Day],
    breaker_open: bool,
    said: str,
) -> None:
    await house.holds(day())
    house.vitals = Vitals(breaker_open=breaker_open, runs_watched=0 if day is ledger.empty else 12)
    seen = await visit(browser, house)
    assert said in await seen.page.locator("#situacao .notice").first.inner_text()
    await seen.page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    await seen.later()
    assert leaks(await seen.page.content()) == set()
    for width in (360, 768, 1024, 1600):
        await seen.page.set_viewport_size({"width": width, "height": 800})
        assert await seen.sideways() == 0, width
    await seen.page.reload()
    for ticket in (await seen.page.locator(".calls li:has(.result:text-matches('[0-9]{16}')) summary").all())[
        :1
    ]:
        await ticket.click()
    await photograph(seen.page, day.__name__)
    assert {urlsplit(address).hostname for address in seen.asked} == {"127.0.0.1"}
    assert seen.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_whoever_sees_badly_can_read_every_word(
    house: House, browser: "playwright.Browser", scheme: str
) -> None:
    await house.holds(ledger.crm_down())
    house.vitals = Vitals(breaker_open=True, drifted=("FINANCEIRO",))
    seen = await visit(browser, house, color_scheme=scheme)
    faint = await seen.page.evaluate(_FAINT)
    assert faint == []
    grounds = await seen.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", grounds)[:3])) < 200) == (scheme == "dark")


_FAINT = """
() => {
  const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (each) => {
    for (; each; each = each.parentElement) {
      const found = rgb(getComputedStyle(each).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
  };
  const faint = [];
  for (const each of document.querySelectorAll("body *")) {
    const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !each.checkVisibility() || each.closest("svg")) continue;
    const [a, b] = [light(rgb(getComputedStyle(each).color)), light(ground(each))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${each.tagName} ${each.className} ${each.textContent} ${contrast}`);
  }
  return faint;
}
"""


async def test_the_period_is_changed_by_a_link(house: House, browser: "playwright.Browser") -> None:
    await house.holds(ledger.healthy())
    seen = await visit(browser, house)
    await seen.page.get_by_role("link", name="7 dias").click()
    await seen.page.wait_for_url("**/?since=7d")
    assert "por dia, 7 dias" in await seen.page.locator("#grafico h2").inner_text()
    assert await seen.page.locator(".chart.wide .time").count() == 7


async def test_without_script_everything_is_read_and_no_button_is_shown(
    house: House, browser: "playwright.Browser"
) -> None:
    await house.holds(ledger.crm_down())
    context = await browser.new_context(
        java_script_enabled=False, http_credentials={"username": "ana", "password": TOKEN}
    )
    page = await context.new_page()
    await page.goto(house.url)
    assert await page.locator("noscript meta[http-equiv=refresh]").count() == 1
    assert await page.locator("noscript p").is_visible()
    assert await page.locator("#pessoa .rows > li").first.is_visible()
    assert await page.locator("button:visible").all_inner_texts() == ["Procurar"]


# ------------------------------------------------------------------------------------------------- to act


async def test_buttons_act_and_a_refusal_is_said(house: House, browser: "playwright.Browser") -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    day.sent(day.now - 30, ledger.CallState.NO_PROTOCOL, [("no_protocol", 0.1)], error="sem_protocolo")
    await house.holds(day)
    failed, accepted = (row["call_id"] for row in day.rows["calls"])
    seen = await visit(browser, house)
    said, letters = seen.page.locator("#dito"), seen.page.locator("#pessoa .rows > li")
    assert await letters.count() == 2

    await seen.page.locator(f"#retry-{failed}").click()
    await playwright.expect(said).to_contain_text("Nova tentativa pedida")
    await playwright.expect(seen.page.locator("#pessoa .rows > li:not([data-kept])")).to_have_count(1)
    assert (await house.store.records.call(failed)).state == "received"

    await seen.page.locator(f"#resolver-{accepted} summary").click()
    await seen.page.locator(f"#protocolo-{accepted}").fill("abc")
    await seen.page.locator(f"#resolve-{accepted}").click()
    problem = seen.page.locator(f"#protocolo-{accepted}-problema")
    await playwright.expect(problem).to_contain_text("protocolo não tem a forma dos protocolos deste CRM")
    assert await seen.page.locator(f"#protocolo-{accepted}").get_attribute("aria-describedby") == (
        f"protocolo-{accepted}-problema"
    )
    assert await seen.focused() == f"protocolo-{accepted}"
    await seen.page.locator(f"#protocolo-{accepted}").fill("2510271534789012")
    await seen.page.keyboard.press("Enter")
    await playwright.expect(said).to_contain_text("Concluída com o protocolo informado")
    await playwright.expect(seen.page.locator("#pessoa .rows > li:not([data-kept])")).to_have_count(0)
    assert (await house.store.records.call(accepted)).protocolo == "2510271534789012"
    (complaint,) = seen.complaints
    assert "status of 422" in complaint


async def write_outcome(house: House, call_id: str, **columns: object) -> None:
    """Write what the daemon would write when a call is over."""
    calls = house.store.database.tables.calls
    async with house.store.database.write() as connection:
        await connection.execute(calls.update().where(calls.c.call_id == call_id).values(**columns))


async def test_the_outcome_of_a_new_try_stands_in_its_row_until_it_was_read(
    house: House, browser: "playwright.Browser"
) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    day.failed(day.now - 50, [("connect", 0.1)])
    await house.holds(day)
    opened, refused = (row["call_id"] for row in day.rows["calls"])
    seen = await visit(browser, house)
    outcomes = {each: seen.page.locator(f"#pessoa #item-{each} > .outcome") for each in (opened, refused)}
    for each, outcome in outcomes.items():
        await seen.page.locator(f"#retry-{each}").click()
        await playwright.expect(outcome).to_contain_text("Nova tentativa pedida")
    await playwright.expect(seen.page.locator("#pessoa .empty")).to_be_visible()
    assert await seen.page.locator("#pessoa .actions").count() == 0

    await write_outcome(house, opened, state=ledger.CallState.DONE, protocolo="2511291234567890")
    await write_outcome(house, refused, state=ledger.CallState.FAILED, error="crm_indisponivel")
    await seen.page.clock.run_for(2000)
    await playwright.expect(outcomes[opened]).to_have_text("Concluída: protocolo 2511291234567890.")
    await playwright.expect(outcomes[refused]).to_contain_text("não deu certo (crm_indisponivel)")
    await seen.later()
    await playwright.expect(seen.page.locator(f"#retry-{refused}")).to_be_visible()
    assert await outcomes[opened].is_visible()

    await seen.page.clock.fast_forward(60_000)
    await playwright.expect(seen.page.locator("#pessoa .rows > li")).to_have_count(1)
    await playwright.expect(seen.page.locator(".outcome")).to_have_count(0)


async def test_a_refused_try_says_so_in_its_row(house: House, browser: "playwright.Browser") -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    await house.holds(day)
    (call_id,) = (row["call_id"] for row in day.rows["calls"])
    seen = await visit(browser, house, path=f"/calls/{call_id}")
    await write_outcome(house, call_id, state=ledger.CallState.RUNNING)
    await seen.page.locator(f"#retry-{call_id}").click()
    outcome = seen.page.locator("#chamada > .outcome")
    await playwright.expect(outcome).to_contain_text("Outra pessoa já mudou isto")


async def test_a_hand_off_is_accepted_and_closed(house: House, browser: "playwright.Browser") -> None:
    day = ledger.Day()
    day.handoff(300, "financeiro")
    await house.holds(day)
    (handoff_id,) = (row["handoff_id"] for row in day.rows["handoffs"])
    seen = await visit(browser, house)
    queue = seen.page.locator("#atendimento")
    await playwright.expect(queue).to_contain_text("Espera há 5 min")
    await seen.page.locator(f"#accept-{handoff_id}").click()
    await playwright.expect(queue).to_contain_text("Em atendimento há")
    await seen.page.locator(f"#close-{handoff_id}").click()
    await playwright.expect(queue).to_contain_text("Ninguém espera por um atendente")
    assert (await house.store.records.handoff(handoff_id, reader="test")).state == "closed"
    assert seen.complaints == []


async def test_the_keyboard_reaches_what_waits_and_keeps_its_place(
    house: House, browser: "playwright.Browser"
) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    await house.holds(day)
    (call_id,) = (row["call_id"] for row in day.rows["calls"])
    seen = await visit(browser, house)
    await seen.page.keyboard.press("Tab")
    await seen.page.keyboard.press("Enter")
    await seen.press("Tab", f"retry-{call_id}", at_most=7)
    await seen.page.keyboard.press("Enter")
    await playwright.expect(seen.page.locator("#pessoa .empty")).to_be_visible()
    assert await seen.focused() == "pessoa-t"
    await seen.press("Tab", "BODY")


# ------------------------------------------------------------------------------------------- to stay alive


async def test_news_come_in_and_leave_whoever_types_alone(
    house: House, browser: "playwright.Browser"
) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    await house.holds(day)
    (call_id,) = (row["call_id"] for row in day.rows["calls"])
    seen = await visit(browser, house)
    await seen.page.locator(f"#chamada-{call_id} summary").click()
    await seen.page.locator(f"#resolver-{call_id} summary").click()
    typing = seen.page.locator(f"#protocolo-{call_id}")
    await typing.fill("2510")
    await typing.press("ArrowLeft")

    more = ledger.Day(dice=ledger.Random(8))
    more.failed(more.now - 10, [("connect", 0.1)])
    await house.holds(more)
    house.vitals = Vitals(breaker_open=True)
    await seen.later()

    await playwright.expect(seen.page.locator("#pessoa .rows > li")).to_have_count(2)
    await playwright.expect(seen.page.locator("#situacao")).to_contain_text("O CRM não responde")
    assert await seen.page.title() == "(2) ✕ ticket-worker"
    assert await seen.focused() == f"protocolo-{call_id}"
    await seen.page.keyboard.type("99")
    assert await typing.input_value() == "251990"
    assert await seen.page.locator(f"#chamada-{call_id} .timeline").is_visible()


async def test_a_worker_that_has_gone_is_told_from_one_at_rest(
    house: House, browser: "playwright.Browser"
) -> None:
    seen = await visit(browser, house)
    house.stop()
    contact = seen.page.locator("#contato")
    await seen.page.context.set_offline(True)
    await seen.page.clock.fast_forward(LATER_MS)
    await playwright.expect(contact).to_contain_text("Sem contato com o worker; o que se vê é das")


# ------------------------------------------------------------------------------------------------ to finish


async def test_many_are_marked_and_dismissed_and_the_marks_outlive_a_refresh(
    house: House, browser: "playwright.Browser"
) -> None:
    day = ledger.Day()
    for ago in (60, 50, 40):
        day.failed(day.now - ago, [("connect", 0.1)])
    day.lost(600, "expirada")
    await house.holds(day)
    first, second, third = (row["call_id"] for row in day.rows["calls"])
    (run_id,) = (row["run_id"] for row in day.rows["runs"])
    seen = await visit(browser, house)
    assert await seen.page.locator("#varias").is_hidden()
    for item in (first, second, run_id):
        await seen.page.locator(f"#marca-{item}").check()
    await playwright.expect(seen.page.locator("#varias output")).to_have_text("3 marcadas")
    more = ledger.Day(dice=ledger.Random(9))
    more.failed(more.now - 5, [("connect", 0.1)])
    await house.holds(more)
    await seen.later()
    await playwright.expect(seen.page.locator("#pessoa .rows > li")).to_have_count(5)
    assert await seen.page.locator(f"#marca-{first}").is_checked()
    await playwright.expect(seen.page.locator("#varias output")).to_have_text("3 marcadas")

    await seen.page.locator("#varias-razao").select_option("cliente_desistiu")
    await seen.page.locator("#varias-dismiss").click()
    await playwright.expect(seen.page.locator("#dito")).to_contain_text("3 dispensadas")
    await playwright.expect(seen.page.locator("#pessoa .rows > li")).to_have_count(2)
    dismissal = (await house.store.records.call(first)).dismissal
    assert dismissal is not None
    assert (dismissal.reason, dismissal.by.partition("@")[0]) == ("cliente_desistiu", "ana")
    assert (await house.store.records.call(third)).dismissal is None

    await seen.page.goto(f"{house.url}/calls/{first}")
    await seen.page.locator(f"#restore-calls-{first}").click()
    await playwright.expect(seen.page.locator("#dito")).to_contain_text("Volta a precisar de uma pessoa")
    assert (await house.store.records.call(first)).dismissal is None


async def test_many_are_retried_at_once_and_a_refusal_names_its_call(
    house: House, browser: "playwright.Browser"
) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    day.failed(day.now - 50, [("connect", 0.1)])
    day.rows["calls"][1]["body"] = None
    await house.holds(day)
    sendable, gone = (row["call_id"] for row in day.rows["calls"])
    seen = await visit(browser, house, path="/calls?state=failed")
    await seen.page.locator("#varias-todas").click()
    await playwright.expect(seen.page.locator("#varias output")).to_have_text("2 marcadas")
    await seen.page.locator("#varias-todas").click()
    await playwright.expect(seen.page.locator("#varias")).to_be_hidden()
    await seen.page.locator("#varias-todas").click()
    await seen.page.locator("#varias-retry").click()
    said = seen.page.locator("#dito")
    await playwright.expect(said).to_contain_text("1 pedidas de novo.")
    await playwright.expect(said).to_contain_text(gone)
    assert (await house.store.records.call(sendable)).state == "received"


async def test_a_customers_data_are_shown_only_when_asked_for_and_the_reading_is_recorded(
    house: House, browser: "playwright.Browser"
) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    await house.holds(day)
    (call_id,) = (row["call_id"] for row in day.rows["calls"])
    seen = await visit(browser, house)
    assert leaks(await seen.page.content()) == set()
    button, data = seen.page.locator(f"#reveal-{call_id}"), seen.page.locator(f"#dados-{call_id}")
    await button.click()
    await playwright.expect(data).to_contain_text("91427358664")
    await seen.later()
    await playwright.expect(data).to_contain_text("91427358664")
    (entry,) = await house.store.accesses.entries()
    assert (entry.reader.partition("@")[0], entry.subject) == ("ana", call_id)
    await button.click()
    await playwright.expect(data).to_be_hidden()
    assert leaks(await seen.page.content()) == set()


async def test_of_two_operators_on_one_item_the_second_is_told(
    house: House, browser: "playwright.Browser"
) -> None:
    day = ledger.Day()
    day.handoff(300, "financeiro")
    await house.holds(day)
    (handoff_id,) = (row["handoff_id"] for row in day.rows["handoffs"])
    first, second = await visit(browser, house), await visit(browser, house)
    await first.page.locator(f"#accept-{handoff_id}").click()
    await playwright.expect(first.page.locator("#dito")).to_contain_text("Atendimento assumido")
    await second.page.locator(f"#accept-{handoff_id}").click()
    await playwright.expect(second.page.locator("#dito")).to_contain_text("Outra pessoa já mudou isto")
    await playwright.expect(second.page.locator("#atendimento")).to_contain_text("Em atendimento há")


async def test_a_stuck_event_is_delivered_after_all(house: House, browser: "playwright.Browser") -> None:
    day = ledger.Day()
    day.undelivered(80 * ledger.HOUR_S, "ticket.opened")
    await house.holds(day)
    (event_id,) = (row["event_id"] for row in day.rows["outbox"])
    seen = await visit(browser, house, path="/events?state=stuck")
    await playwright.expect(seen.page.locator("#lista")).to_contain_text("última resposta: http_500")
    await seen.page.locator(f"#deliver-{event_id}").click()
    await playwright.expect(seen.page.locator("#lista .empty")).to_be_visible()
    assert (await house.store.events.list())[0][0].state == "pending"


async def test_the_three_requests_of_the_first_minute_are_copied(
    house: House, browser: "playwright.Browser"
) -> None:
    seen = await visit(browser, house, permissions=["clipboard-read", "clipboard-write"])
    await seen.page.get_by_role("button", name="Copiar os três pedidos").click()
    await playwright.expect(seen.page.locator("#dito")).to_have_text("Copiado.")
    copied = await seen.page.evaluate("navigator.clipboard.readText()")
    assert copied == await seen.page.locator("#pedidos").text_content()
    assert copied.count("curl -fsS") == 3
    assert f'{house.url.rstrip("/")}/v1/runs"' in copied


async def test_a_browser_that_does_not_copy_says_what_to_do(
    house: House, browser: "playwright.Browser"
) -> None:
    seen = await visit(browser, house)
    await seen.page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error(); }; }")
    await seen.page.get_by_role("button", name="Copiar os três pedidos").click()
    await playwright.expect(seen.page.locator("#dito")).to_contain_text("selecione o texto")


async def test_a_search_leads_to_call_conversation_and_run_and_says_when_there_is_nothing(
    house: House, browser: "playwright.Browser"
) -> None:
    day = ledger.Day()
    day.sent(day.now - 60, ledger.CallState.DONE, [("ok", 0.1)], protocolo="2511291234567890")
    await house.holds(day)
    (call,) = day.rows["calls"]
    await house.store.records.put_conversation("conv-7", {})
    seen = await visit(browser, house)
    for text, path in [
        ("2511291234567890", f"/calls/{call['call_id']}"),
        (call["call_id"], f"/calls/{call['call_id']}"),
        ("conv-7", "/conversations/conv-7"),
    ]:
        await seen.page.locator("#busca").fill(text)
        await seen.page.keyboard.press("Enter")
        await seen.page.wait_for_url(f"**{path}")
    await seen.page.locator("#busca").fill("529.982.247-25")
    await seen.page.keyboard.press("Enter")
    await playwright.expect(seen.page.locator("main")).to_contain_text("Nada encontrado")
    assert "529.982" not in await seen.page.content()


async def test_every_page_fits_every_screen_and_gives_nothing_away(
    house: House, browser: "playwright.Browser"
) -> None:
    day = ledger.crm_down()
    await house.holds(day)
    call = day.rows["calls"][-1]
    seen = await visit(browser, house)
    paths = ["/calls", "/calls?state=failed", f"/calls/{call['call_id']}", "/runs", "/events", "/help"]
    paths += [f"/conversations/{words.safe('conversation_id', call['conversation_id'])}"]
    for path in paths:
        await seen.page.goto(house.url + path)
        assert leaks(await seen.page.content()) == set(), path
        for width in (320, 360, 768, 1280):  # 320: what 1280 is at 400 %, and more than 640 at 200 %
            await seen.page.set_viewport_size({"width": width, "height": 800})
            assert await seen.sideways() == 0, (path, width)
        assert await seen.page.evaluate(_FAINT) == [], path
    assert seen.complaints == []


async def test_pages_follow_each_other_over_many_calls(house: House, browser: "playwright.Browser") -> None:
    day = ledger.Day()
    for ago in range(120):
        day.failed(day.now - ago - 1, [])
    await house.holds(day)
    seen = await visit(browser, house, path="/calls?state=failed")
    found: list[str] = []
    for count in (50, 50, 20):
        rows = seen.page.locator("#lista .rows > li")
        await playwright.expect(rows).to_have_count(count)
        found += [await row.get_attribute("id") or "" for row in await rows.all()]
        if count == 50:
            await seen.page.get_by_role("link", name="Próxima página").click()
    assert len(set(found)) == 120


# ------------------------------------------------------------------------------------ told when it matters


async def test_news_are_announced_politely_and_counted_in_the_title(
    house: House, browser: "playwright.Browser"
) -> None:
    seen = await visit(browser, house)
    assert await seen.page.title() == "ticket-worker"
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    await house.holds(day)
    await seen.later()
    await playwright.expect(seen.page.locator("#novidade")).to_have_text(
        "1 item precisa de uma pessoa; antes eram 0."
    )
    assert await seen.page.title() == "(1) ticket-worker"


async def test_a_browser_that_may_notifies_and_one_that_may_not_says_so(
    house: House, browser: "playwright.Browser"
) -> None:
    seen = await visit(browser, house)
    await seen.page.evaluate("Notification.requestPermission = async () => 'denied'")
    await seen.page.locator("#avisar").click()
    await playwright.expect(seen.page.locator("#avisar-dito")).to_contain_text("O navegador recusou")
    assert await seen.page.locator("#avisar").get_attribute("aria-pressed") == "false"

    await seen.page.evaluate(_NOTIFIES)
    await seen.page.locator("#avisar").click()
    await playwright.expect(seen.page.locator("#avisar-dito")).to_contain_text("Ligados")
    assert await seen.page.locator("#avisar").get_attribute("aria-pressed") == "true"
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    await house.holds(day)
    await seen.later()
    await seen.page.wait_for_function("globalThis.shown.length === 1")
    assert await seen.page.evaluate("globalThis.shown") == ["1 item precisa de uma pessoa"]
    await seen.page.locator("#avisar").click()
    assert await seen.page.locator("#avisar").get_attribute("aria-pressed") == "false"


_NOTIFIES = """
() => {
  globalThis.shown = [];
  globalThis.Notification = class {
    static permission = "granted";
    static requestPermission = async () => "granted";
    constructor(_, { body }) { globalThis.shown.push(body); }
  };
}
"""


async def test_a_session_that_expired_is_said(house: House, browser: "playwright.Browser") -> None:
    seen = await visit(browser, house)
    await seen.page.route("**/*", lambda route: route.fulfill(status=401, json={}))
    await seen.page.clock.fast_forward(LATER_MS)
    await playwright.expect(seen.page.locator("#contato")).to_contain_text("A sessão expirou")
