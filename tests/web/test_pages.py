"""The dashboard's other pages and its words about the parts, without a browser."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.asgi import api_over
from tests.browser import ledger
from tests.fakes import call as model_call
from tests.store.harness import DONE, HANDOFF, REFUSED, OpenRig, Rig, seeing
from tests.store.test_board import about, ended
from worker import logs
from worker.log_fields import hidden_call_id, hidden_id, hidden_run_id
from worker.metrics import Vitals
from worker.model import CallState, ReplySource
from worker.replies.findings import Code
from worker.views import CrmOutcome, Waiting
from worker.web.dashboard.first_minute import next_step, setup_lines
from worker.web.dashboard.health import Observed, health
from worker.web.dashboard.rendering import LISTED
from worker.web.dashboard.words import REPLY_CODES
from worker.web.dependencies import Setup
from worker.web.pagination import cursor_text

PHONE = "whatsapp-5524997135826"
CHAT = Setup(bot=True, conversation_url="https://chat.example/c/{conversation_id}?x=1")


@dataclass
class Site:
    """The dashboard over a real store."""

    rig: Rig
    api: httpx.AsyncClient

    async def get(self, path: str) -> httpx.Response:
        return await self.api.get(path, follow_redirects=False)


@pytest.fixture
async def site(open_rig: OpenRig) -> AsyncIterator[Site]:
    rig = await open_rig(owner=True)
    logs.use_hasher(rig.store.database.hasher)
    await rig.conversation()
    transport = httpx.ASGITransport(api_over(rig.store, token="s", setup=CHAT))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://testserver", auth=("ana", "s")
    ) as client:
        yield Site(rig, client)
    logs.shutdown()


async def test_a_filter_lives_in_the_address_and_leads_to_the_next_page_and_the_export(site: Site) -> None:
    run = await site.rig.run()
    for number in range(51):
        await ended(site.rig, run, number, REFUSED)
    await ended(site.rig, run, 99, DONE)
    first = (await site.get("/calls?state=failed&setor=&since=1h")).text
    assert first.count('<li id="item-') == 50
    assert "v1/calls.csv?state=failed&amp;since=1h" in first
    (following,) = [line.split('"')[5] for line in first.splitlines() if 'rel="next"' in line]
    second = (await site.get(f"/{following}".replace("&amp;", "&"))).text
    assert second.count('<li id="item-') == 1
    assert 'rel="next"' not in second


async def write_failed_calls(site: Site, count: int, seed: int) -> list[tuple[float, str]]:
    """Write failed calls in bulk; return the time and id of each, the newest first."""
    day = ledger.Day(dice=ledger.Random(seed))
    for number in range(count):
        day.call(day.now - number, CallState.FAILED)
    await day.write(site.rig.store)
    return [(row["received_at"], row["call_id"]) for row in day.rows["calls"]]


async def counted(site: Site, path: str) -> tuple[list[str], list[list[object]]]:
    """The ids of a page's rows, and the parameters of each statement that read a table for the page."""
    taken: list[list[object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if "\nFROM " in statement:  # not what a driver asks of a new connection
            taken.append(list(parameters.values() if isinstance(parameters, Mapping) else parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        answer = await site.get(path)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert answer.status_code == 200
    return re.findall(r'<li id="item-(\w+)">', answer.text), taken


async def test_page_200_of_10000_calls_takes_the_statements_of_page_1(site: Site) -> None:
    written = await write_failed_calls(site, 10_000, seed=1)
    end_of_199 = cursor_text(written[9_949])
    first, at_first = await counted(site, "/calls?state=failed")
    last, at_last = await counted(site, f"/calls?state=failed&cursor={end_of_199}")
    assert first == [call_id for _, call_id in written[:50]]
    assert last == [call_id for _, call_id in written[9_950:]]
    assert 0 < len(at_last) <= len(at_first)
    assert all(any(51 in each for each in taken) for taken in (at_first, at_last))  # reads a page and a row
    assert max(len(each) for each in (*at_first, *at_last)) <= 60  # names no call beyond the page


async def test_the_dashboard_over_10000_failed_calls_lists_as_few_as_over_100_with_few_statements(
    site: Site,
) -> None:
    for seed, count in enumerate((100, 9_900)):
        await write_failed_calls(site, count, seed)
        listed, taken = await counted(site, "/?since=7d")
        assert len(listed) == LISTED
        assert 0 < len(taken) <= 23  # 5 of them count the KPIs, which is not done at every visit


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/calls?estado=failed", "tem um filtro que não existe"),
        ("/calls?state=falhou", "Estado não existe"),
        ("/calls?since=ontem", "Desde precisa ser 24h"),
        ("/runs?until=x", "Até precisa ser 24h"),
        ("/events?state=x", "Estado não existe"),
        ("/calls?cursor=x", "A página precisa ser"),
    ],
)
async def test_a_filter_nobody_can_make_is_said_on_the_page(site: Site, path: str, told: str) -> None:
    answer = await site.get(path)
    assert (answer.status_code, told in answer.text) == (422, True)


async def test_a_conversation_that_holds_a_phone_number_has_an_address_without_it(site: Site) -> None:
    await site.rig.conversation(PHONE)
    await site.rig.admit(await site.rig.run("run_9", PHONE), 1)
    hidden = hidden_id(site.rig.store.database.hasher, PHONE)
    listed = (await site.get("/calls")).text
    assert PHONE not in listed
    assert f'href="conversations/{hidden}"' in listed
    shown = await site.get(f"/conversations/{hidden}")
    assert (shown.status_code, "run_9" in shown.text, PHONE in shown.text) == (200, True, False)
    found = await site.get(f"/search?q={hidden}")
    assert (found.status_code, found.headers["location"]) == (303, f"conversations/{hidden}")


async def test_a_conversations_page_has_everything_of_it_and_leads_to_each_call(site: Site) -> None:
    run = await site.rig.run()
    done = await ended(site.rig, run, 1, DONE)
    await site.rig.admit(run, 2, HANDOFF)
    await site.rig.store.replies.record("c1", "run_1", ReplySource.RUN, ["ticket_nao_aberto"])
    shown = (await site.get("/conversations/c1")).text
    for kind in ("Chamada", "Execução", "Atendimento", "Resposta"):
        assert f'<span class="kind">{kind}</span>' in shown
    assert f'href="../calls/{done.call_id}"' in shown
    assert "diz que abriu um ticket que não foi aberto <code>ticket_nao_aberto</code>" in shown


@pytest.mark.parametrize("code", list(Code))
async def test_a_suspect_reply_is_listed_in_words_beside_its_code(site: Site, code: Code) -> None:
    await site.rig.run()
    await site.rig.store.replies.record("c1", "run_1", ReplySource.RUN, [code])
    shown = (await site.get("/")).text
    assert f"{REPLY_CODES[code].capitalize()} <code>{code}</code>" in shown


async def test_the_way_into_the_bots_chat_is_put_on_record(site: Site) -> None:
    await site.rig.conversation(PHONE)
    hidden = hidden_id(site.rig.store.database.hasher, PHONE)
    assert f"{hidden}/chat" in (await site.get(f"/conversations/{hidden}")).text
    led = await site.get(f"/conversations/{hidden}/chat")
    assert (led.status_code, led.headers["location"]) == (303, f"https://chat.example/c/{PHONE}?x=1")
    (entry,) = await site.rig.store.accesses.entries()
    assert (entry.reader.partition("@")[0], entry.subject) == ("ana", f"chat:{PHONE}")


async def test_a_search_finds_a_run_and_the_calls_of_one_protocolo(site: Site) -> None:
    run = await site.rig.run("run_7")
    done = await ended(site.rig, run, 1, DONE)
    assert (await site.get("/search?q=run_7")).headers["location"] == "calls?run_id=run_7"
    assert (await site.get("/search?q=10000001")).headers["location"] == f"calls/{done.call_id}"
    assert (await site.get(f"/search?q=+{done.call_id}+")).headers["location"] == f"calls/{done.call_id}"
    missing = await site.get(f"/search?q={quote('529.982.247-25')}")
    assert (missing.status_code, "529.982" in missing.text) == (404, False)
    assert (await site.get("/calls/tc_9")).status_code == 404


async def test_a_search_finds_a_run_by_what_the_log_writes_for_it_and_does_not_write_its_id(
    site: Site,
) -> None:
    telephone = "run_5524998765432"
    done = await ended(site.rig, await site.rig.run(telephone), 1, DONE)
    hidden = hidden_run_id(site.rig.store.database.hasher, telephone)
    found = await site.get(f"/search?q={hidden}")
    assert (found.status_code, found.headers["location"]) == (303, f"calls?run_id={hidden}")
    listed = (await site.get(f"/calls?run_id={hidden}")).text
    assert (done.call_id in listed, telephone in listed) == (True, False)


async def test_a_search_finds_a_call_by_the_platforms_id_and_by_what_the_log_writes_for_it(
    site: Site,
) -> None:
    run = await site.rig.run()
    odd = replace(model_call(1), platform_call_id="call_52998224725")
    call = await site.rig.decided(run, odd, seeing([]))
    hidden = hidden_call_id(site.rig.store.database.hasher, "call_52998224725")
    for written in ("call_52998224725", hidden):
        assert (await site.get(f"/search?q={written}")).headers["location"] == f"calls/{call.call_id}"
    again = await site.rig.decided(await site.rig.run("run_2"), odd, seeing([]))
    several = (await site.get(f"/search?q={hidden}")).headers["location"]
    assert several == f"calls?platform_call_id={hidden}"
    listed = (await site.get(f"/{several}")).text
    assert (call.call_id in listed, again.call_id in listed, "52998224725" in listed) == (True, True, False)


async def test_a_call_shows_the_buttons_that_can_act(site: Site) -> None:
    run = await site.rig.run()
    failed = await ended(site.rig, run, 1, REFUSED)
    gone = await site.rig.settled(await site.rig.attempted(await site.rig.admit(run, 2, about("x"))), REFUSED)
    await site.rig.change("calls", {"body": None}, call_id=gone.call_id)
    shown = (await site.get(f"/calls/{failed.call_id}")).text
    for verb in ("retry", "resolve", "dismiss"):
        assert f"v1/calls/{failed.call_id}/{verb}" in shown
    assert f"v1/calls/{gone.call_id}/retry" not in (await site.get(f"/calls/{gone.call_id}")).text


# -------------------------------------------------------------------------------------------------- health


def words(setup: Setup = CHAT, **seen: object) -> dict[str, tuple[str, str]]:
    """What is said of each part, and its tone."""
    fields: dict[str, object] = {"alive": True, "vitals": Vitals(), "waiting": Waiting(), "crm": None}
    observed = Observed(**fields | seen)  # type: ignore[arg-type]  # each test's own
    return {each.what: (each.look.word, each.look.tone) for each in health(setup, observed, 1000.0, UTC)}


def test_nothing_is_green_that_was_not_looked_at() -> None:
    said = words(Setup())
    assert said["CRM"] == ("ainda não verificado", "quiet")
    assert said["Plataforma"] == ("ainda não verificado", "quiet")
    assert said["Robô de atendimento"] == ("avisos não configurados", "quiet")
    assert said["Funções dos assistentes"] == ("não configurado", "quiet")
    assert words(Setup(assistants=("FINANCEIRO",)))["Funções dos assistentes"][1] == "quiet"
    assert [name for name, (_, tone) in said.items() if tone == "good"] == ["Worker"]


def test_what_was_looked_at_is_said_in_plain_words() -> None:
    well = Vitals(platform_failing=False, compared=1)
    said = words(Setup(bot=True, assistants=("FINANCEIRO",)), vitals=well, crm=CrmOutcome(940.0, "ok"))
    assert said["CRM"] == ("atendendo, há 1 min", "good")
    assert {tone for _, tone in said.values()} == {"good", "plain"}
    ill = Vitals(breaker_open=True, platform_failing=True, tick_age_s=95.0, drifted=("SUPORTE",))
    said = words(vitals=ill, alive=False, waiting=Waiting(oldest_event_s=720.0))
    assert said["Worker"] == ("parado há 1 min", "bad")
    assert said["CRM"] == ("envios pausados até que o próximo dê certo", "bad")
    paused = Vitals(breaker_open=True, breaker_paused_s=30.0)
    assert words(vitals=paused)["CRM"] == ("envios pausados até 00:17:10", "bad")
    assert said["Plataforma"] == ("não atende", "bad")
    assert said["Robô de atendimento"] == ("avisos atrasados há 12 min", "warn")
    assert said["Funções dos assistentes"] == ("diferentes em SUPORTE", "warn")
    unanswered = words(crm=CrmOutcome(940.0, "timeout"))["CRM"]
    assert unanswered == ("último envio sem resposta útil, há 1 min", "warn")
    refused = Vitals(platform_failing=True, platform_outage=("401", 900.0))
    assert words(vitals=refused)["Plataforma"] == ("recusa a chave", "bad")
    assert words(waiting=Waiting(stuck_events=2))["Robô de atendimento"] == ("2 avisos não entregues", "warn")


# -------------------------------------------------------------------------------------------- first minute

KEY, CRM = {"platform_key": True}, {"platform_key": True, "crm": True}


@pytest.mark.parametrize(
    ("setup", "vitals", "step"),
    [
        (Setup(), Vitals(), "defina `OPENAI_API_KEY`"),
        (Setup(**KEY, assistants=("SUPORTE",)), Vitals(), "defina `CRM_WEBHOOK_URL`"),
        (Setup(**CRM), Vitals(), "informe os assistentes"),
        (Setup(**CRM, assistants=("SUPORTE",)), Vitals(), "cadastre as funções nos assistentes"),
        (
            Setup(**CRM, assistants=("SUPORTE",)),
            Vitals(compared=1, drifted=("SUPORTE",)),
            "cadastre as funções",
        ),
        (Setup(**CRM, assistants=("SUPORTE",)), Vitals(compared=1), "anuncie a primeira execução"),
        (Setup(**CRM, stores_assistants=False), Vitals(), "anuncie a primeira execução"),
    ],
)
def test_the_next_step_is_the_first_thing_that_is_missing(setup: Setup, vitals: Vitals, step: str) -> None:
    assert next_step(setup, vitals).startswith(step)


def test_the_setup_lists_what_is_configured_and_only_what_the_platform_has() -> None:
    lines = {line.text.partition(")")[0]: line.look.word for line in setup_lines(Setup(**CRM))}
    assert lines["Chave da plataforma (`OPENAI_API_KEY`"] == "configurado"
    assert lines["Opcional: avisos ao bot (`BOT_WEBHOOK_URL`"] == "não configurado"
    assert any("Assistentes" in text for text in lines)
    without = setup_lines(Setup(**CRM, stores_assistants=False))
    assert not any("Assistentes" in line.text for line in without)


def test_a_refused_key_leads_to_its_own_runbook() -> None:
    outage = Vitals(platform_failing=True, platform_outage=("401", 900.0))
    observed = Observed(alive=True, vitals=outage, waiting=Waiting(), crm=None)
    parts = {each.what: each.runbook for each in health(Setup(), observed, 1000.0, UTC)}
    assert parts["Plataforma"] == "chave-recusada"
    assert words(Setup(stores_assistants=False))["Funções dos assistentes"][1] == "quiet"
