"""Every page of the dashboard for every reader: axe, contrast, zoom, keyboard, paper."""

import re
import time
from collections.abc import Sequence

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, expect

from tests.browser import ledger
from tests.browser.site import DESKTOP, PHONE, OpenPage, Site, open_page
from tests.system.personal_values import leaks
from worker.metrics import Vitals
from worker.web.dashboard import words

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.untraced]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
ZOOMED = {"width": 640, "height": 450}
"""What a window of 1280 × 900 has at 200 %, in CSS pixels."""


def break_everything(site: Site) -> None:
    """Make every part of the worker report an outage."""
    since = time.time() - 3000
    site.alive = False
    site.vitals = Vitals(
        breaker_open=True,
        breaker_paused_s=30.0,
        tick_age_s=95.0,
        drifted=("FINANCEIRO", "SUPORTE"),
        compared=3,
        platform_failing=True,
        platform_outage=("none", since),
        bot_outage=("http_500", since),
    )


def every_page(day: ledger.Day) -> Sequence[str]:
    """The address of each kind of page, with rows of `day` on it."""
    call = next(row for row in reversed(day.rows["calls"]) if row["state"] == "failed")
    conversation = words.safe("conversation_id", call["conversation_id"])
    return (
        "/",
        "/calls",
        "/calls?state=nada",
        f"/calls/{call['call_id']}",
        f"/conversations/{conversation}",
        "/runs",
        "/events",
        "/help",
        "/search?q=nada",
    )


# ---------------------------------------------------------------------------------------------------- axe


async def violations(opened: OpenPage, rules: Sequence[str] = RULES) -> list[str]:
    """Each violation of the rules with the first element that it was found at."""
    results = await Axe().run(opened.page, options={"runOnly": list(rules), "resultTypes": ["violations"]})
    return [
        f"{opened.page.url} {each['id']}: {each['nodes'][0]['html']} {each['nodes'][0]['failureSummary']}"
        for each in results.response["violations"]
    ]


async def violations_in_both_schemes(opened: OpenPage) -> list[str]:
    """All rules in the light scheme, and the contrast in the dark one."""
    await opened.page.emulate_media(color_scheme="light")
    light = await violations(opened)
    await opened.page.emulate_media(color_scheme="dark")
    return light + await violations(opened, ["color-contrast"])


async def test_axe_finds_no_violation_with_everything_broken(site: Site, browser: Browser) -> None:
    day = ledger.broken()
    await site.add(day)
    break_everything(site)
    opened = await open_page(browser, site)
    for path in every_page(day):
        await opened.go(path)
        assert await violations_in_both_schemes(opened) == []


async def test_axe_finds_no_violation_while_everything_is_open(site: Site, browser: Browser) -> None:
    day = ledger.broken()
    await site.add(day)
    opened = await open_page(browser, site)
    handoff = day.rows["handoffs"][0]["handoff_id"]
    await opened.page.locator("#varias-todas").click()
    await opened.page.locator(f"#reveal-{handoff}").click()
    await opened.page.locator("#varias-dismiss").click()
    await expect(opened.page.locator("#dito")).to_contain_text("dispensadas")
    await opened.page.locator("[id^=resolver-] summary").first.click()
    await opened.page.locator("[id^=protocolo-]").first.fill("abc")
    await opened.page.keyboard.press("Enter")
    await expect(opened.page.locator(".problem")).to_be_visible()
    await opened.page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert await violations_in_both_schemes(opened) == []


async def test_axe_finds_no_violation_on_a_busy_day(site: Site, browser: Browser) -> None:
    await site.add(ledger.healthy())
    opened = await open_page(browser, site)
    for path in ("/", "/calls"):
        await opened.go(path)
        assert await violations_in_both_schemes(opened) == []


async def test_axe_finds_no_violation_with_nothing_in_the_ledger(new_site: Site, browser: Browser) -> None:
    opened = await open_page(browser, new_site)
    for path in ("/", "/calls", "/runs", "/events"):
        await opened.go(path)
        assert await violations_in_both_schemes(opened) == []


async def test_axe_finds_no_violation_with_ten_thousand_failed_calls(site: Site, browser: Browser) -> None:
    await site.add(ledger.large(10_000))
    opened = await open_page(browser, site)
    await expect(opened.page.locator("#pessoa h2")).to_contain_text("1000 ou mais itens")
    assert await violations(opened) == []
    await opened.go("/calls?state=failed")
    assert await violations(opened) == []


async def test_axe_finds_no_violation_without_a_database(site: Site, browser: Browser) -> None:
    await site.execute("alter table calls rename to lost_calls")
    opened = await open_page(browser, site)
    await expect(opened.page.locator(".notice").first).to_contain_text("O banco de dados não atende")
    assert await violations_in_both_schemes(opened) == []


# ------------------------------------------------------------------------------------------- screens, zoom

_CUT = """
() => {
  const cut = [];
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const element = words.currentNode.parentElement;
    if (!words.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("svg, script, noscript, .sr-only, .skip, .scroll, pre, option")) continue;
    const box = element.closest(".card, li, .notice, button, section, header, footer, main") ?? document.body;
    const edge = Math.min(innerWidth, box.getBoundingClientRect().right) + 1;
    const range = document.createRange();
    range.selectNodeContents(words.currentNode);
    const right = Math.max(...[...range.getClientRects()].map((each) => each.right));
    if (right > edge) cut.push(words.currentNode.data.trim());
  }
  for (const each of document.querySelectorAll("input[placeholder]:not(#busca)")) {
    const style = getComputedStyle(each);
    const pencil = document.createElement("canvas").getContext("2d");
    pencil.font = `${style.fontSize} ${style.fontFamily}`;
    const room = each.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (pencil.measureText(each.placeholder).width > room + 1) cut.push(each.placeholder);
  }
  return cut;
}
"""
"""Texts that run out of their box or the window, and hints that do not fit into their field."""


async def test_every_page_fits_every_screen_without_personal_data(site: Site, browser: Browser) -> None:
    day = ledger.broken()
    await site.add(day)
    break_everything(site)
    opened = await open_page(browser, site)
    for path in every_page(day):
        await opened.go(path)
        assert leaks(await opened.page.content()) == set(), path
        for width in (320, 360, 768, 1024, 1280, 1600):  # 320: what 1280 has at 400 %
            await opened.page.set_viewport_size({"width": width, "height": 800})
            assert await opened.overflow() == 0, (path, width)
            assert await opened.page.evaluate(_CUT) == [], (path, width)


async def test_at_200_percent_nothing_scrolls_sideways_or_is_cut(site: Site, browser: Browser) -> None:
    day = ledger.broken()
    await site.add(day)
    break_everything(site)
    opened = await open_page(browser, site, viewport=ZOOMED, device_scale_factor=2)
    for path in every_page(day):
        await opened.go(path)
        await opened.page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
        assert await opened.overflow() == 0, path
        assert await opened.page.evaluate(_CUT) == [], path


async def test_with_text_at_200_percent_nothing_scrolls_sideways_or_is_cut(
    site: Site, browser: Browser
) -> None:
    day = ledger.broken()
    await site.add(day)
    break_everything(site)
    opened = await open_page(browser, site)
    for path in every_page(day):
        await opened.go(path)
        await opened.page.evaluate("document.documentElement.style.fontSize = '200%'")
        await opened.page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
        for size in (DESKTOP, PHONE):
            await opened.page.set_viewport_size(size)
            assert await opened.overflow() == 0, (path, size)
            assert await opened.page.evaluate(_CUT) == [], (path, size)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_follows_the_scheme_of_the_system(site: Site, browser: Browser, scheme: str) -> None:
    opened = await open_page(browser, site, color_scheme=scheme)
    ground = await opened.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")


# ------------------------------------------------------------------------------------------------- keyboard


async def tab_stops(opened: OpenPage, at_most: int = 400) -> list[dict[str, object]]:
    """Every element that Tab reaches, in order, with whether a person sees that it has the focus."""
    stops: list[dict[str, object]] = []
    for _ in range(at_most):
        await opened.page.keyboard.press("Tab")
        stop = await opened.page.evaluate(_FOCUS)
        if stop is None:
            return stops
        stops.append(stop)
    raise AssertionError("the focus does not leave the page")


_FOCUS = """
() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  const inset = Math.min(4, box.height / 4);
  const points = [[0.5, 0.5], [0, 0], [1, 0], [0, 1], [1, 1]].map(([x, y]) => [
    box.left + inset + x * (box.width - 2 * inset), box.top + inset + y * (box.height - 2 * inset),
  ]);
  const uncovered = points.some(([x, y]) => {
    const top = document.elementFromPoint(x, y);
    return top && (element.contains(top) || top.contains(element));
  });
  return {
    element: element.id || element.textContent.trim(),
    section: element.closest("section")?.id ?? element.closest("header, footer")?.localName ?? "",
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    uncovered,
  };
}
"""


async def test_the_keyboard_reaches_every_control_with_a_visible_focus(site: Site, browser: Browser) -> None:
    day = ledger.night()
    day.failed(day.now - 60, [("connect", 0.1)])
    day.lost(600, "expirada")
    day.undelivered(80 * ledger.HOUR_S, "ticket.opened")
    await site.add(day)
    (run_id,) = (row["run_id"] for row in day.rows["runs"])
    for size in (DESKTOP, ZOOMED):
        opened = await open_page(browser, site, viewport=size)
        # By script: a click would decide where Tab begins.
        await opened.page.evaluate(
            """id => {
              const box = document.getElementById(id);
              box.checked = true;
              box.dispatchEvent(new Event("change", { bubbles: true }));
            }""",
            f"marca-{run_id}",
        )
        await expect(opened.page.locator("#varias")).to_be_visible()
        controls = await opened.page.evaluate(
            """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
              .filter((each) => each.checkVisibility()).map((each) => each.id || each.textContent.trim())"""
        )
        stops = await tab_stops(opened)
        assert {stop["element"] for stop in stops} >= set(controls), size
        assert [stop for stop in stops if not (stop["outlined"] and stop["uncovered"])] == [], size


async def test_tab_goes_through_the_page_from_what_is_urgent_to_what_is_history(
    site: Site, browser: Browser
) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    day.handoff(300, "financeiro")
    await site.add(day)
    opened = await open_page(browser, site)
    order = [str(stop["section"]) for stop in await tab_stops(opened)]
    sections = [name for nth, name in enumerate(order) if name and order[nth - 1 : nth] != [name]]
    assert sections == [
        "header",
        "situacao",
        "indicadores",
        "pessoa",
        "atendimento",
        "grafico",
        "chamadas",
        "footer",
    ]


async def test_the_skip_link_leads_to_what_needs_a_person_and_focus_survives_an_action(
    site: Site, browser: Browser
) -> None:
    call_id = await site.add_failed_call()
    opened = await open_page(browser, site)
    await opened.page.keyboard.press("Tab")
    await opened.page.keyboard.press("Enter")
    await opened.press("Tab", f"retry-{call_id}", at_most=7)
    await opened.page.keyboard.press("Enter")
    await expect(opened.page.locator("#pessoa .empty")).to_be_visible()
    assert await opened.focused() == "pessoa-t"


async def test_calls_are_marked_dismissed_and_resolved_with_keys_only(site: Site, browser: Browser) -> None:
    day = ledger.Day()
    for ago in (60, 50):
        day.failed(day.now - ago, [("connect", 0.1)])
    await site.add(day)
    resolved, dismissed = (row["call_id"] for row in day.rows["calls"])
    opened = await open_page(browser, site)
    keys, status = opened.page.keyboard, opened.page.locator("#dito")
    await opened.press("Tab", f"marca-{dismissed}")
    await keys.press("Space")
    await opened.press("Shift+Tab", "varias-razao")
    await keys.press("ArrowDown")
    await opened.press("Tab", "varias-dismiss")
    await keys.press("Enter")
    await expect(status).to_have_text("1 dispensada.")
    dismissal = (await site.store.records.call(dismissed)).dismissal
    assert dismissal is not None
    assert dismissal.reason == "cliente_desistiu"

    await opened.press("Tab", f"retry-{resolved}")
    await keys.press("Tab")
    await keys.press("Enter")
    await opened.press("Tab", f"protocolo-{resolved}")
    await keys.type("2511291234567890")
    await keys.press("Enter")
    await expect(status).to_contain_text("Concluída com o protocolo informado")


async def test_a_hand_off_is_accepted_and_closed_with_keys_only(site: Site, browser: Browser) -> None:
    handoff_id = await site.add_handoff()
    opened = await open_page(browser, site)
    await opened.press("Tab", f"accept-{handoff_id}")
    await opened.page.keyboard.press("Enter")
    await expect(opened.page.locator("#atendimento")).to_contain_text("Em atendimento há")
    await opened.press("Tab", f"close-{handoff_id}")
    await opened.page.keyboard.press("Space")
    await expect(opened.page.locator("#atendimento .empty")).to_be_visible()
    assert await opened.focused() == "atendimento-t"


# ---------------------------------------------------------------------------------------------------- paper


async def test_a_printed_page_holds_everything_but_controls(site: Site, browser: Browser) -> None:
    day = ledger.broken()
    await site.add(day)
    opened = await open_page(browser, site, color_scheme="dark")
    await opened.page.emulate_media(media="print")
    for path in every_page(day):
        await opened.go(path)
        controls = opened.page.locator("button:visible, input:visible, select:visible, nav:visible")
        assert await controls.count() == 0, path
        assert await opened.page.locator("main :is(h2, p, li):visible").count() > 0, path
        assert await opened.overflow() == 0, path
    await opened.go("/")
    waiting = opened.page.locator("#pessoa .rows > li")
    assert await waiting.count() > 10
    for row in await waiting.all():
        await expect(row).to_be_visible()
    await expect(opened.page.locator("#todos-indicadores table")).to_be_visible()
    await expect(opened.page.locator("#grafico-tabela table")).to_be_visible()
    await expect(opened.page.locator(".fresh")).to_contain_text(
        re.compile(r"às \d\d:\d\d:\d\d de \d\d/\d\d/\d{4}")
    )
    ink = await opened.page.evaluate("getComputedStyle(document.body).color")
    assert sum(map(int, re.findall(r"\d+", ink)[:3])) < 200, "dark ink on white paper, whatever the screen"
    assert (await opened.page.pdf(format="A4")).startswith(b"%PDF")
