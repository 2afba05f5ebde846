"""The dashboard in a real browser, over a real ledger: what it shows, finds, refreshes and announces."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser import ledger
from tests.browser.site import DESKTOP, PHONE, REFRESH_MS, TOKEN, Site, open_page
from tests.system.personal_values import leaks
from worker.metrics import Vitals

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.untraced]

ARTEFACTS = Path(__file__).parents[2] / "test-artifacts" / "dashboard"


async def photograph(page: Page, name: str) -> None:
    """The whole page, once in light, once in dark, once on a phone."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    for scheme, size in (("light", DESKTOP), ("dark", DESKTOP), ("phone", PHONE)):
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.screenshot(path=ARTEFACTS / f"{name}-{scheme}.png", full_page=True, animations="disabled")


# ------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize(
    ("day", "breaker_open", "notice"),
    [
        (ledger.healthy, False, "Nenhum problema conhecido"),
        (ledger.crm_down, True, "O CRM não responde"),
        (ledger.night, False, "1 cliente espera por um atendente além do prazo"),
    ],
)
async def test_the_first_notice_names_the_worst_and_no_personal_data_leaves(
    site: Site,
    browser: Browser,
    day: Callable[[], ledger.Day],
    breaker_open: bool,
    notice: str,
) -> None:
    await site.add(day())
    site.vitals = Vitals(breaker_open=breaker_open, runs_watched=12, compared=3, platform_failing=False)
    opened = await open_page(browser, site)
    assert notice in await opened.page.locator("#situacao .notice").first.inner_text()
    await opened.page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    await opened.refresh()
    assert leaks(await opened.page.content()) == set()
    await opened.page.reload()
    tickets = opened.page.locator(".calls li:has(.result:text-matches('[0-9]{16}')) summary")
    for ticket in (await tickets.all())[:1]:
        await ticket.click()
    await photograph(opened.page, day.__name__)
    assert {urlsplit(address).hostname for address in opened.requests} == {"127.0.0.1"}
    assert opened.errors == []


async def test_the_first_minute_names_what_is_missing_and_the_next_step(
    new_site: Site, browser: Browser
) -> None:
    opened = await open_page(browser, new_site)
    first_minute = opened.page.locator("#primeiro")
    await expect(first_minute.locator("li", has_text="CRM_WEBHOOK_URL")).to_contain_text("✓configurado")
    await expect(first_minute.locator("li", has_text="CRM_LOOKUP_URL")).to_contain_text("não configurado")
    await expect(first_minute.locator(".next")).to_contain_text("informe os assistentes")
    await photograph(opened.page, "empty")
    assert opened.errors == []


async def test_a_link_changes_the_period(site: Site, browser: Browser) -> None:
    await site.add(ledger.healthy())
    opened = await open_page(browser, site)
    await opened.page.get_by_role("link", name="7 dias").click()
    await opened.page.wait_for_url("**/?since=7d")
    assert "por dia, 7 dias" in await opened.page.locator("#grafico h2").inner_text()
    assert await opened.page.locator(".chart.wide .time").count() == 7


async def test_without_script_the_page_is_complete_and_has_no_dead_buttons(
    site: Site, browser: Browser
) -> None:
    await site.add(ledger.crm_down())
    context = await browser.new_context(
        java_script_enabled=False, http_credentials={"username": "ana", "password": TOKEN}
    )
    page = await context.new_page()
    await page.goto(site.url)
    assert await page.locator("noscript meta[http-equiv=refresh]").count() == 1
    assert await page.locator("noscript p").is_visible()
    assert await page.locator("#pessoa .rows > li").first.is_visible()
    assert await page.locator("button:visible").all_inner_texts() == ["Procurar"]


# ----------------------------------------------------------------------------------- search, filters, pages


async def test_a_search_leads_to_the_call_conversation_or_run_or_reports_no_match(
    site: Site, browser: Browser
) -> None:
    day = ledger.Day()
    day.sent(day.now - 60, ledger.CallState.DONE, [("ok", 0.1)], protocolo="2511291234567890")
    (call,) = day.rows["calls"]
    day.lost(600, "expirada")
    (run,) = day.rows["runs"]
    await site.add(day)
    await site.store.records.put_conversation("conv-7", {})
    opened = await open_page(browser, site)
    for text, path in [
        ("2511291234567890", f"/calls/{call['call_id']}"),
        (call["call_id"], f"/calls/{call['call_id']}"),
        ("conv-7", "/conversations/conv-7"),
        (run["run_id"], f"/calls?run_id={run['run_id']}"),
    ]:
        await opened.page.locator("#busca").fill(text)
        await opened.page.keyboard.press("Enter")
        await opened.page.wait_for_url(f"**{path}")
    await opened.page.locator("#busca").fill("529.982.247-25")
    await opened.page.keyboard.press("Enter")
    await expect(opened.page.locator("main")).to_contain_text("Nada encontrado")
    assert "529.982" not in await opened.page.content()


async def test_filters_of_calls_live_in_the_address_and_are_exported(site: Site, browser: Browser) -> None:
    day = ledger.Day()
    for ago, setor in ((30, "FINANCEIRO"), (20, "SUPORTE"), (10, "SUPORTE")):
        day.call(day.now - ago, ledger.CallState.FAILED, setor=setor, error="crm_indisponivel")
    day.call(day.now - 5, ledger.CallState.REJECTED, setor="SUPORTE", error="documento_ausente")
    await site.add(day)
    opened = await open_page(browser, site, "/calls")
    rows = opened.page.locator("#lista .rows > li")
    await expect(rows).to_have_count(4)
    await opened.page.get_by_label("Estado").select_option(label="Falhou")
    await opened.page.get_by_label("Setor").fill("SUPORTE")
    await opened.page.get_by_role("button", name="Filtrar").click()
    await expect(rows).to_have_count(2)
    assert "state=failed" in opened.page.url
    assert "setor=SUPORTE" in opened.page.url
    await expect(opened.page.get_by_label("Setor")).to_have_value("SUPORTE")

    async with opened.page.expect_download() as download:
        await opened.page.get_by_role("link", name="Baixar em CSV").click()
    path = await (await download.value).path()
    assert len((await asyncio.to_thread(path.read_text, encoding="utf-8")).splitlines()) == 3
    await opened.page.get_by_role("link", name="Limpar").click()
    await expect(rows).to_have_count(4)


async def test_filters_of_runs_and_events_narrow_their_lists(site: Site, browser: Browser) -> None:
    day = ledger.Day()
    day.lost(600, "expirada")
    day.lost(500, "cancelada")
    day.undelivered(80 * ledger.HOUR_S, "ticket.opened")
    await site.add(day)
    opened = await open_page(browser, site, "/runs")
    rows = opened.page.locator("#lista .rows > li")
    await expect(rows).to_have_count(2)
    await opened.page.get_by_label("Razão").select_option("cancelada")
    await opened.page.get_by_role("button", name="Filtrar").click()
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("foi cancelada na plataforma")

    await opened.go("/events")
    await expect(rows).to_have_count(1)
    await opened.page.get_by_label("Estado").select_option(label="Entregue")
    await opened.page.get_by_role("button", name="Filtrar").click()
    await expect(opened.page.locator("#lista .empty")).to_have_text("Nenhum aviso com este filtro.")


async def test_a_filter_with_a_bad_value_says_which(site: Site, browser: Browser) -> None:
    opened = await open_page(browser, site, "/calls")
    await opened.page.get_by_label("Desde").fill("anteontem")
    await opened.page.get_by_role("button", name="Filtrar").click()
    await expect(opened.page.get_by_role("alert").filter(has_text="Desde")).to_be_visible()
    await expect(opened.page.get_by_label("Desde")).to_have_value("anteontem")


async def test_the_pages_of_a_list_hold_each_call_once(site: Site, browser: Browser) -> None:
    await site.add(ledger.large(120))
    opened = await open_page(browser, site, path="/calls?state=failed")
    listed: list[str] = []
    for count in (50, 50, 20):
        rows = opened.page.locator("#lista .rows > li")
        await expect(rows).to_have_count(count)
        listed += [await row.get_attribute("id") or "" for row in await rows.all()]
        if count == 50:
            await opened.page.get_by_role("link", name="Próxima página").click()
    assert len(set(listed)) == 120


async def test_a_conversation_links_into_the_chat_of_the_bot(site: Site, browser: Browser) -> None:
    await site.store.records.put_conversation("conv-7", {})
    opened = await open_page(browser, site, "/conversations/conv-7")
    await opened.page.route("https://chat.example/**", lambda route: route.fulfill(body="chat"))
    await opened.page.get_by_role("link", name="abrir no chat do bot").click()
    await opened.page.wait_for_url("https://chat.example/c/conv-7")
    (entry,) = await site.store.accesses.entries()
    assert entry.reader.partition("@")[0] == "ana"


# ------------------------------------------------------------------------------------------ refreshing


async def test_a_refresh_keeps_focus_typed_text_and_open_rows(site: Site, browser: Browser) -> None:
    call_id = await site.add_failed_call()
    opened = await open_page(browser, site)
    await opened.page.locator(f"#chamada-{call_id} summary").click()
    await opened.page.locator(f"#resolver-{call_id} summary").click()
    typing = opened.page.locator(f"#protocolo-{call_id}")
    await typing.fill("2510")
    await typing.press("ArrowLeft")

    more = ledger.Day(dice=ledger.Random(8))
    more.failed(more.now - 10, [("connect", 0.1)])
    await site.add(more)
    site.vitals = Vitals(breaker_open=True)
    await opened.refresh()

    await expect(opened.page.locator("#pessoa .rows > li")).to_have_count(2)
    await expect(opened.page.locator("#situacao")).to_contain_text("O CRM não responde")
    assert await opened.page.title() == "(2) ✕ ticket-worker"
    assert await opened.focused() == f"protocolo-{call_id}"
    await opened.page.keyboard.type("99")
    assert await typing.input_value() == "251990"
    assert await opened.page.locator(f"#chamada-{call_id} .timeline").is_visible()


async def test_a_refresh_keeps_the_scroll_position_and_changes_nothing_that_is_the_same(
    site: Site, browser: Browser
) -> None:
    await site.add(ledger.large(40))
    opened = await open_page(browser, site, "/calls")
    await opened.page.evaluate(
        """() => {
          scrollTo(0, 400);
          globalThis.changes = [];
          new MutationObserver((list) => changes.push(...list.map((each) => each.target.nodeName)))
            .observe(document.getElementById("lista"), { subtree: true, childList: true, attributes: true });
        }"""
    )
    await opened.refresh()
    assert await opened.page.evaluate("[scrollY, changes]") == [400, []]


async def test_a_row_that_goes_hands_its_focus_to_the_heading_of_its_list(
    site: Site, browser: Browser
) -> None:
    call_id = await site.add_failed_call()
    opened = await open_page(browser, site)
    await opened.page.locator(f"#retry-{call_id}").focus()
    await site.change_call(call_id, state=ledger.CallState.DONE, protocolo="2511291234567890")
    await opened.refresh()
    await expect(opened.page.locator("#pessoa .empty")).to_be_visible()
    assert await opened.focused() == "pessoa-t"


async def test_a_worker_that_does_not_answer_is_announced(site: Site, browser: Browser) -> None:
    opened = await open_page(browser, site)
    site.stop()
    contact = opened.page.locator("#contato")
    await opened.page.context.set_offline(True)
    await opened.page.clock.fast_forward(REFRESH_MS)
    await expect(contact).to_contain_text("Sem contato com o worker; o que se vê é das")


async def test_an_expired_session_is_announced_at_the_next_refresh(site: Site, browser: Browser) -> None:
    opened = await open_page(browser, site)
    await opened.page.route("**/*", lambda route: route.fulfill(status=401, json={}))
    await opened.page.clock.fast_forward(REFRESH_MS)
    await expect(opened.page.locator("#contato")).to_contain_text("A sessão expirou")


async def test_the_page_recovers_when_the_worker_answers_again(site: Site, browser: Browser) -> None:
    opened = await open_page(browser, site)
    await opened.page.context.set_offline(True)
    await opened.page.clock.fast_forward(REFRESH_MS)
    await expect(opened.page.locator("#contato")).to_contain_text("Sem contato")
    await opened.page.context.set_offline(False)
    await opened.page.clock.fast_forward(REFRESH_MS)
    await expect(opened.page.locator("#contato")).to_be_empty()


async def test_a_page_without_database_says_so_and_is_whole_again_when_it_answers(
    site: Site, browser: Browser
) -> None:
    await site.add(ledger.large(3))
    opened = await open_page(browser, site)
    await site.execute("alter table calls rename to lost_calls")
    await opened.page.clock.fast_forward(REFRESH_MS)
    await expect(opened.page.locator("#contato")).to_contain_text("O worker está sem o banco de dados")
    await opened.page.reload()
    notice = opened.page.locator("#situacao .notice")
    await expect(notice).to_contain_text("O banco de dados não atende")
    await opened.refresh()
    await expect(notice).to_contain_text("O banco de dados não atende")
    await site.execute("alter table lost_calls rename to calls")
    await opened.page.clock.fast_forward(REFRESH_MS)
    await expect(opened.page.locator("#pessoa .rows > li")).to_have_count(3)


# --------------------------------------------------------------------------------------- notifications


async def test_new_tasks_are_announced_politely_and_counted_in_the_title(
    site: Site, browser: Browser
) -> None:
    opened = await open_page(browser, site)
    assert await opened.page.title() == "ticket-worker"
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    await site.add(day)
    await opened.refresh()
    await expect(opened.page.locator("#novidade")).to_have_text("1 item precisa de uma pessoa; antes eram 0.")
    assert await opened.page.title() == "(1) ticket-worker"


async def test_a_refused_permission_is_explained_and_leaves_notifications_off(
    site: Site, browser: Browser
) -> None:
    opened = await open_page(browser, site)
    await opened.page.evaluate("Notification.requestPermission = async () => 'denied'")
    await opened.page.locator("#avisar").click()
    await expect(opened.page.locator("#avisar-dito")).to_contain_text("O navegador recusou")
    await expect(opened.page.locator("#avisar")).to_have_attribute("aria-pressed", "false")


async def test_a_permitted_notification_names_the_new_tasks_and_sounds(site: Site, browser: Browser) -> None:
    opened = await open_page(browser, site)
    await opened.page.evaluate(_FAKE_NOTIFICATIONS)
    await opened.page.locator("#avisar").click()
    await expect(opened.page.locator("#avisar-dito")).to_contain_text("Ligados")
    await expect(opened.page.locator("#avisar")).to_have_attribute("aria-pressed", "true")
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    await site.add(day)
    await opened.refresh()
    await opened.page.wait_for_function("globalThis.notifications.length === 1")
    assert await opened.page.evaluate("notifications") == ["1 item precisa de uma pessoa"]
    assert await opened.page.evaluate("tones") == 1
    await opened.page.locator("#avisar").click()
    await expect(opened.page.locator("#avisar-dito")).to_have_text("Avisos desligados.")
    await expect(opened.page.locator("#avisar")).to_have_attribute("aria-pressed", "false")


async def test_fewer_tasks_are_announced_without_a_notification(site: Site, browser: Browser) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    await site.add(day)
    opened = await open_page(browser, site)
    await opened.page.evaluate(_FAKE_NOTIFICATIONS)
    await opened.page.locator("#avisar").click()
    await site.change_call(day.rows["calls"][0]["call_id"], state=ledger.CallState.DONE)
    await opened.refresh()
    await expect(opened.page.locator("#novidade")).to_contain_text("0 itens precisam de uma pessoa")
    assert await opened.page.evaluate("notifications") == []


_FAKE_NOTIFICATIONS = """
() => {
  globalThis.notifications = [];
  globalThis.tones = 0;
  const start = OscillatorNode.prototype.start;
  OscillatorNode.prototype.start = function (...when) { globalThis.tones++; return start.apply(this, when); };
  globalThis.Notification = class {
    static permission = "granted";
    static requestPermission = async () => "granted";
    constructor(_, { body }) { globalThis.notifications.push(body); }
  };
}
"""
