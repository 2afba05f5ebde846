"""Each action of the dashboard in a real browser, over a real ledger."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser import ledger
from tests.browser.site import Site, open_page
from tests.system.personal_values import leaks

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.untraced]


# ------------------------------------------------------------------------------------------------- calls


async def test_a_failed_call_is_retried_and_one_without_protocol_is_resolved(
    site: Site, browser: Browser
) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    day.sent(day.now - 30, ledger.CallState.NO_PROTOCOL, [("no_protocol", 0.1)], error="sem_protocolo")
    await site.add(day)
    failed, accepted = (row["call_id"] for row in day.rows["calls"])
    opened = await open_page(browser, site)
    status, rows = opened.page.locator("#dito"), opened.page.locator("#pessoa .rows > li")
    assert await rows.count() == 2

    await opened.page.locator(f"#retry-{failed}").click()
    await expect(status).to_contain_text("Nova tentativa pedida")
    await expect(opened.page.locator("#pessoa .rows > li:not([data-kept])")).to_have_count(1)
    assert (await site.store.records.call(failed)).state == "received"

    await opened.page.locator(f"#resolver-{accepted} summary").click()
    await opened.page.locator(f"#protocolo-{accepted}").fill("abc")
    await opened.page.locator(f"#resolve-{accepted}").click()
    problem = opened.page.locator(f"#protocolo-{accepted}-problema")
    await expect(problem).to_contain_text("protocolo não tem a forma dos protocolos deste CRM")
    assert await opened.page.locator(f"#protocolo-{accepted}").get_attribute("aria-describedby") == (
        f"protocolo-{accepted}-problema"
    )
    assert await opened.focused() == f"protocolo-{accepted}"
    await opened.page.locator(f"#protocolo-{accepted}").fill("2510271534789012")
    await opened.page.keyboard.press("Enter")
    await expect(status).to_contain_text("Concluída com o protocolo informado")
    await expect(opened.page.locator("#pessoa .rows > li:not([data-kept])")).to_have_count(0)
    assert (await site.store.records.call(accepted)).protocolo == "2510271534789012"
    (complaint,) = opened.errors
    assert "status of 422" in complaint


async def test_the_outcome_of_a_new_try_stands_in_its_row_for_a_minute(site: Site, browser: Browser) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    day.failed(day.now - 50, [("connect", 0.1)])
    await site.add(day)
    opened_id, failed_id = (row["call_id"] for row in day.rows["calls"])
    opened = await open_page(browser, site)
    outcomes = {
        each: opened.page.locator(f"#pessoa #item-{each} > .outcome") for each in (opened_id, failed_id)
    }
    for each, outcome in outcomes.items():
        await opened.page.locator(f"#retry-{each}").click()
        await expect(outcome).to_contain_text("Nova tentativa pedida")
    await expect(opened.page.locator("#pessoa .empty")).to_be_visible()
    assert await opened.page.locator("#pessoa .actions").count() == 0

    await site.change_call(opened_id, state=ledger.CallState.DONE, protocolo="2511291234567890")
    await site.change_call(failed_id, state=ledger.CallState.FAILED, error="crm_indisponivel")
    await opened.page.clock.run_for(2000)
    await expect(outcomes[opened_id]).to_have_text("Concluída: protocolo 2511291234567890.")
    await expect(outcomes[failed_id]).to_contain_text("não deu certo (crm_indisponivel)")
    await opened.refresh()
    await expect(opened.page.locator(f"#retry-{failed_id}")).to_be_visible()
    assert await outcomes[opened_id].is_visible()

    await opened.page.clock.fast_forward(60_000)
    await expect(opened.page.locator("#pessoa .rows > li")).to_have_count(1)
    await expect(opened.page.locator(".outcome")).to_have_count(0)


async def test_a_refused_try_says_why_on_the_page_of_the_call(site: Site, browser: Browser) -> None:
    call_id = await site.add_failed_call()
    opened = await open_page(browser, site, path=f"/calls/{call_id}")
    await site.change_call(call_id, state=ledger.CallState.RUNNING)
    await opened.page.locator(f"#retry-{call_id}").click()
    outcome = opened.page.locator("#chamada > .outcome")
    await expect(outcome).to_contain_text("Outra pessoa já mudou isto")


async def test_many_calls_are_retried_at_once_and_each_row_shows_its_outcome(
    site: Site, browser: Browser
) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    day.failed(day.now - 50, [("connect", 0.1)])
    day.failed(day.now - 40, [("connect", 0.1)])
    day.rows["calls"][2]["body"] = None
    await site.add(day)
    opened_id, failed_id, expired_id = (row["call_id"] for row in day.rows["calls"])
    opened = await open_page(browser, site, path="/calls?state=failed")
    await opened.page.locator("#varias-todas").click()
    await expect(opened.page.locator("#varias output")).to_have_text("3 marcadas")
    await opened.page.locator("#varias-todas").click()
    await expect(opened.page.locator("#varias")).to_be_hidden()
    await opened.page.locator("#varias-todas").click()
    await opened.page.locator("#varias-retry").click()
    status = opened.page.locator("#dito")
    outcomes = {
        each: opened.page.locator(f"#item-{each} > .outcome") for each in (opened_id, failed_id, expired_id)
    }
    await expect(status).to_have_text(
        "2 novas tentativas pedidas; 1 recusada: o porquê está na linha de cada uma."
    )
    await expect(outcomes[opened_id]).to_have_text("Nova tentativa pedida.")
    await expect(outcomes[failed_id]).to_have_text("Nova tentativa pedida.")
    await expect(outcomes[expired_id]).to_contain_text("apagad")
    assert (await site.store.records.call(opened_id)).state == "received"

    await site.change_call(opened_id, state=ledger.CallState.DONE, protocolo="2511291234567890")
    await site.change_call(failed_id, state=ledger.CallState.FAILED, error="crm_indisponivel")
    await opened.page.clock.run_for(2000)
    await expect(outcomes[opened_id]).to_have_text("Concluída: protocolo 2511291234567890.")
    await expect(outcomes[failed_id]).to_contain_text("não deu certo (crm_indisponivel)")
    await expect(status).to_have_text("1 chamada concluída; 1 tentativa não deu certo.")
    await opened.refresh()
    await expect(outcomes[opened_id]).to_be_visible()
    await opened.page.clock.fast_forward(60_000)
    await expect(opened.page.locator(".outcome")).to_have_count(0)
    await expect(opened.page.locator("#lista .rows > li")).to_have_count(2)


async def test_a_try_that_does_not_end_is_reported_as_still_running(site: Site, browser: Browser) -> None:
    call_id = await site.add_failed_call()
    opened = await open_page(browser, site, f"/calls/{call_id}")
    await opened.page.evaluate('fetch = async () => new Response(\'{"state": "running"}\')')
    await opened.page.locator(f"#retry-{call_id}").click()
    outcome = opened.page.locator("#chamada > .outcome")
    await expect(outcome).to_contain_text("Nova tentativa pedida")
    for _ in range(100):
        await opened.page.clock.run_for(1000)
    await expect(outcome).to_have_text("A nova tentativa ainda não terminou.")


async def test_runs_are_marked_but_only_calls_are_retried(site: Site, browser: Browser) -> None:
    run_id = await site.add_lost_run()
    opened = await open_page(browser, site)
    await opened.page.locator(f"#marca-{run_id}").check()
    await opened.page.locator("#varias-retry").click()
    await expect(opened.page.locator("#dito")).to_have_text("Só chamadas podem ser tentadas de novo.")
    await expect(opened.page.locator(f"#marca-{run_id}")).to_be_checked()


async def test_a_customers_data_appear_after_a_click_that_the_access_log_records(
    site: Site, browser: Browser
) -> None:
    call_id = await site.add_failed_call()
    opened = await open_page(browser, site)
    assert leaks(await opened.page.content()) == set()
    button, data = opened.page.locator(f"#reveal-{call_id}"), opened.page.locator(f"#dados-{call_id}")
    await button.click()
    await expect(data).to_contain_text("91427358664")
    await opened.refresh()
    await expect(data).to_contain_text("91427358664")
    (entry,) = await site.store.accesses.entries()
    assert (entry.reader.partition("@")[0], entry.subject) == ("ana", call_id)
    await button.click()
    await expect(data).to_be_hidden()
    assert leaks(await opened.page.content()) == set()


async def test_expired_customer_data_are_reported_as_gone(site: Site, browser: Browser) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    day.rows["calls"][0]["body"] = None
    await site.add(day)
    (call_id,) = (row["call_id"] for row in day.rows["calls"])
    opened = await open_page(browser, site)
    await opened.page.locator(f"#reveal-{call_id}").click()
    await expect(opened.page.locator("#dito")).to_contain_text("apagad")
    await expect(opened.page.locator(f"#dados-{call_id}")).to_be_hidden()


# ---------------------------------------------------------------------------------------------- dismissals


async def test_one_call_is_dismissed_with_its_reason_and_taken_back(site: Site, browser: Browser) -> None:
    call_id = await site.add_failed_call()
    opened = await open_page(browser, site)
    status = opened.page.locator("#dito")
    await opened.page.locator(f"#dispensar-calls-{call_id} summary").click()
    await opened.page.locator(f"#razao-calls-{call_id}").select_option("duplicado")
    await opened.page.locator(f"#dismiss-calls-{call_id}").click()
    await expect(status).to_contain_text("Dispensada")
    await expect(opened.page.locator("#pessoa .empty")).to_be_visible()
    dismissal = (await site.store.records.call(call_id)).dismissal
    assert dismissal is not None
    assert dismissal.reason == "duplicado"

    await opened.go(f"/calls/{call_id}")
    await expect(opened.page.locator("#chamada")).to_contain_text("Dispensada por ana")
    await opened.page.locator(f"#restore-calls-{call_id}").click()
    await expect(status).to_contain_text("Volta a precisar de uma pessoa")
    assert (await site.store.records.call(call_id)).dismissal is None


async def test_a_lost_run_is_dismissed_and_taken_back(site: Site, browser: Browser) -> None:
    run_id = await site.add_lost_run()
    opened = await open_page(browser, site)
    await opened.page.locator(f"#dispensar-runs-{run_id} summary").click()
    await opened.page.locator(f"#razao-runs-{run_id}").select_option("cliente_desistiu")
    await opened.page.locator(f"#dismiss-runs-{run_id}").click()
    await expect(opened.page.locator("#pessoa .empty")).to_be_visible()

    await opened.go("/runs?state=lost")
    row = opened.page.locator("#lista .rows > li")
    await expect(row).to_contain_text("dispensada: o cliente desistiu")
    await opened.page.locator(f"#restore-runs-{run_id}").click()
    await expect(row).not_to_contain_text("dispensada")
    assert (await site.store.records.run_summary(run_id)).dismissal is None


async def test_many_are_dismissed_at_once_and_a_refresh_keeps_the_marks(site: Site, browser: Browser) -> None:
    day = ledger.Day()
    for ago in (60, 50, 40):
        day.failed(day.now - ago, [("connect", 0.1)])
    day.lost(600, "expirada")
    await site.add(day)
    first, second, third = (row["call_id"] for row in day.rows["calls"])
    (run_id,) = (row["run_id"] for row in day.rows["runs"])
    opened = await open_page(browser, site)
    assert await opened.page.locator("#varias").is_hidden()
    for item in (first, second, run_id):
        await opened.page.locator(f"#marca-{item}").check()
    await expect(opened.page.locator("#varias output")).to_have_text("3 marcadas")
    more = ledger.Day(dice=ledger.Random(9))
    more.failed(more.now - 5, [("connect", 0.1)])
    await site.add(more)
    await opened.refresh()
    await expect(opened.page.locator("#pessoa .rows > li")).to_have_count(5)
    assert await opened.page.locator(f"#marca-{first}").is_checked()
    await expect(opened.page.locator("#varias output")).to_have_text("3 marcadas")

    await opened.page.locator("#varias-razao").select_option("cliente_desistiu")
    await opened.page.locator("#varias-dismiss").click()
    await expect(opened.page.locator("#dito")).to_contain_text("3 dispensadas")
    await expect(opened.page.locator("#pessoa .rows > li")).to_have_count(2)
    dismissal = (await site.store.records.call(first)).dismissal
    assert dismissal is not None
    assert (dismissal.reason, dismissal.by.partition("@")[0]) == ("cliente_desistiu", "ana")
    assert (await site.store.records.call(third)).dismissal is None


async def test_a_refused_dismissal_says_why_in_its_row(site: Site, browser: Browser) -> None:
    day = ledger.Day()
    day.failed(day.now - 60, [("connect", 0.1)])
    day.failed(day.now - 50, [("connect", 0.1)])
    await site.add(day)
    changed, failed = (row["call_id"] for row in day.rows["calls"])
    opened = await open_page(browser, site, "/calls")
    await site.change_call(changed, state=ledger.CallState.DONE, protocolo="2511291234567890")
    await opened.page.locator("#varias-todas").click()
    await opened.page.locator("#varias-dismiss").click()
    await expect(opened.page.locator("#dito")).to_have_text(
        "1 dispensada; 1 recusada: o porquê está na linha de cada uma."
    )
    outcome = opened.page.locator(f"#item-{changed} > .outcome")
    await expect(outcome).to_contain_text("Outra pessoa já mudou isto")
    await expect(opened.page.locator(f"#item-{failed}")).to_contain_text("dispensada: resolvido por fora")


# ----------------------------------------------------------------------------------------------- hand-offs


async def test_a_hand_off_is_accepted_and_closed(site: Site, browser: Browser) -> None:
    handoff_id = await site.add_handoff()
    opened = await open_page(browser, site)
    queue = opened.page.locator("#atendimento")
    await expect(queue).to_contain_text("Espera há 5 min")
    await opened.page.locator(f"#accept-{handoff_id}").click()
    await expect(queue).to_contain_text("Em atendimento há")
    await opened.page.locator(f"#close-{handoff_id}").click()
    await expect(queue).to_contain_text("Ninguém espera por um atendente")
    assert (await site.store.records.handoff(handoff_id, reader="test")).state == "closed"
    assert opened.errors == []


async def test_an_accepted_hand_off_is_returned_to_the_bot(site: Site, browser: Browser) -> None:
    handoff_id = await site.add_handoff(accepted_s=100)
    opened = await open_page(browser, site)
    await opened.page.locator(f"#return-{handoff_id}").click()
    await expect(opened.page.locator("#dito")).to_contain_text("Conversa devolvida ao bot")
    await expect(opened.page.locator("#atendimento .empty")).to_be_visible()
    assert (await site.store.records.handoff(handoff_id, reader="test")).state == "returned"


async def test_a_hand_off_that_the_customer_gave_up_is_closed_unaccepted(
    site: Site, browser: Browser
) -> None:
    handoff_id = await site.add_handoff()
    opened = await open_page(browser, site)
    await opened.page.locator(f"#close-{handoff_id}").click()
    await expect(opened.page.locator("#atendimento .empty")).to_be_visible()
    view = await site.store.records.handoff(handoff_id, reader="test")
    assert (view.state, view.accepted_at) == ("closed", None)


async def test_the_motivo_of_a_hand_off_appears_after_a_click_that_the_access_log_records(
    site: Site, browser: Browser
) -> None:
    handoff_id = await site.add_handoff()
    opened = await open_page(browser, site)
    assert leaks(await opened.page.content()) == set()
    await opened.page.locator(f"#reveal-{handoff_id}").click()
    motivo = opened.page.locator(f"#dados-{handoff_id}")
    await expect(motivo).to_contain_text("Motivo")
    assert leaks(await motivo.inner_text()) != set()
    (entry,) = await site.store.accesses.entries()
    assert (entry.reader.partition("@")[0], entry.subject) == ("ana", handoff_id)


async def test_the_second_of_two_operators_learns_that_the_item_has_changed(
    site: Site, browser: Browser
) -> None:
    handoff_id = await site.add_handoff()
    first, second = await open_page(browser, site), await open_page(browser, site)
    await first.page.locator(f"#accept-{handoff_id}").click()
    await expect(first.page.locator("#dito")).to_contain_text("Atendimento assumido")
    await second.page.locator(f"#accept-{handoff_id}").click()
    await expect(second.page.locator("#dito")).to_contain_text("Outra pessoa já mudou isto")
    await expect(second.page.locator("#atendimento")).to_contain_text("Em atendimento há")


# ------------------------------------------------------------------------------------------------- events


async def test_a_stuck_event_is_queued_for_delivery_again(site: Site, browser: Browser) -> None:
    event_id = await site.add_undelivered_event()
    opened = await open_page(browser, site, path="/events?state=stuck")
    await expect(opened.page.locator("#lista")).to_contain_text("última resposta: http_500")
    await opened.page.locator(f"#deliver-{event_id}").click()
    await expect(opened.page.locator("#lista .empty")).to_be_visible()
    assert (await site.store.events.list())[0][0].state == "pending"


async def test_a_stuck_event_is_discarded_from_the_first_page(site: Site, browser: Browser) -> None:
    event_id = await site.add_undelivered_event()
    opened = await open_page(browser, site)
    await opened.page.locator(f"#discard-{event_id}").click()
    await expect(opened.page.locator("#dito")).to_contain_text("Aviso descartado")
    await expect(opened.page.locator("#pessoa .empty")).to_be_visible()
    assert (await site.store.events.list())[0][0].state == "discarded"


async def test_all_stuck_events_are_queued_for_delivery_with_one_button(site: Site, browser: Browser) -> None:
    day = ledger.Day()
    for age_s in (80, 90):
        day.undelivered(age_s * ledger.HOUR_S, "ticket.opened")
    await site.add(day)
    opened = await open_page(browser, site, "/events?state=stuck")
    await opened.page.locator("#deliver-all").click()
    await expect(opened.page.locator("#lista .empty")).to_be_visible()
    assert [event.state for event in (await site.store.events.list())[0]] == ["pending", "pending"]


# ---------------------------------------------------------------------------------------------- everything


async def test_an_action_in_an_expired_session_asks_for_a_new_login(site: Site, browser: Browser) -> None:
    handoff_id = await site.add_handoff()
    opened = await open_page(browser, site)
    await opened.page.route("**/*", lambda route: route.fulfill(status=401, json={}))
    await opened.page.locator(f"#accept-{handoff_id}").click()
    await expect(opened.page.locator("#dito")).to_contain_text("recarregue a página e entre de novo")
    assert (await site.store.records.handoff(handoff_id, reader="test")).state == "requested"


async def test_an_action_without_an_answer_says_that_its_outcome_is_unknown(
    site: Site, browser: Browser
) -> None:
    handoff_id = await site.add_handoff()
    opened = await open_page(browser, site)
    await opened.page.context.set_offline(True)
    await opened.page.locator(f"#accept-{handoff_id}").click()
    await expect(opened.page.locator("#dito")).to_contain_text("Confira a lista antes de repetir")


async def test_the_three_requests_of_the_first_minute_are_copied(new_site: Site, browser: Browser) -> None:
    opened = await open_page(browser, new_site, permissions=["clipboard-read", "clipboard-write"])
    await opened.page.get_by_role("button", name="Copiar os três pedidos").click()
    await expect(opened.page.locator("#dito")).to_have_text("Copiado.")
    copied = await opened.page.evaluate("navigator.clipboard.readText()")
    assert copied == await opened.page.locator("#pedidos").text_content()
    assert copied.count("curl -fsS") == 3
    assert f'{new_site.url.rstrip("/")}/v1/runs"' in copied


async def test_a_browser_that_refuses_to_copy_says_what_to_do(new_site: Site, browser: Browser) -> None:
    opened = await open_page(browser, new_site)
    await opened.page.evaluate(
        "() => { navigator.clipboard.writeText = async () => { throw new Error(); }; }"
    )
    await opened.page.get_by_role("button", name="Copiar os três pedidos").click()
    await expect(opened.page.locator("#dito")).to_contain_text("selecione o texto")
