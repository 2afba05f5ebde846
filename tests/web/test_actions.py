"""What a person may change of a call over HTTP (contract §3)."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.asgi import api_over, calling
from tests.store.harness import AMBIGUOUS, DONE, NO_PROTOCOL, PROTOCOLO, REFUSED, Rig
from worker.model import Run


@dataclass
class Counter:
    """The API over one failed call, and the runs it woke."""

    rig: Rig
    api: httpx.AsyncClient
    run: Run
    call_id: str
    woken: list[str]

    async def retry(self) -> httpx.Response:
        return await self.api.post(f"/v1/calls/{self.call_id}/retry")

    async def resolve(self, protocolo: str = PROTOCOLO) -> httpx.Response:
        return await self.api.post(f"/v1/calls/{self.call_id}/resolve", json={"protocolo": protocolo})

    async def read(self) -> object:
        return (await self.api.get(f"/v1/calls/{self.call_id}")).json()


@pytest.fixture
async def counter(sqlite_rig: Rig) -> AsyncIterator[Counter]:
    run = await sqlite_rig.run()
    call = await sqlite_rig.admit(run)
    await sqlite_rig.settled(await sqlite_rig.attempted(call, certain=True), REFUSED)
    woken: list[str] = []
    async with calling(api_over(sqlite_rig.store, wake=woken.append)) as api:
        yield Counter(sqlite_rig, api, run, call.call_id, woken)


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def test_a_retry_is_accepted_and_shows_the_call_as_reading_it_does(counter: Counter) -> None:
    answer = await counter.retry()
    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["error"]) == ("received", None)
    assert answer.json() == await counter.read()
    assert counter.woken == ["run_1"]


async def test_a_protocolo_found_at_the_crm_completes_the_call(counter: Counter) -> None:
    answer = await counter.resolve()
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["protocolo"]) == ("done", PROTOCOLO)
    assert answer.json() == await counter.read()
    assert counter.woken == ["run_1"]


@pytest.mark.parametrize(
    ("change", "retry", "resolve"),
    [
        ({"state": "done"}, (409, "estado_incompativel"), (409, "estado_incompativel")),
        ({"state": "no_protocol"}, (409, "estado_incompativel"), None),
        ({"body": None}, (410, "payload_expirado"), None),
    ],
)
async def test_what_cannot_be_done_says_why_and_wakes_nobody(
    counter: Counter, change: dict[str, Any], retry: tuple[int, str], resolve: tuple[int, str] | None
) -> None:
    await counter.rig.change("calls", change, call_id=counter.call_id)
    assert code(await counter.retry()) == retry
    if resolve is not None:
        assert code(await counter.resolve()) == resolve
    assert counter.woken == []


async def test_a_call_that_is_not_there_cannot_be_changed(counter: Counter) -> None:
    assert code(await counter.api.post("/v1/calls/tc_9/retry")) == (404, "nao_encontrado")
    assert code(await counter.api.post("/v1/calls/a.b/retry")) == (422, "identificador_invalido")
    body = {"protocolo": PROTOCOLO}
    assert code(await counter.api.post("/v1/calls/tc_9/resolve", json=body)) == (404, "nao_encontrado")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"protocolo": None},
        {"protocolo": 2510271534789012},
        {"protocolo": ""},
        {"protocolo": "   "},
        {"protocolo": "1234567"},
        {"protocolo": "529.982.247-25"},
        {"protocolo": "2510\n2715"},
        {"protocolo": "２５１０２７１５３４"},
        {"protocolo": "2" * 65},
        {"protocolo": PROTOCOLO, "Maria": "x"},
        [],
    ],
)
async def test_a_protocolo_of_another_form_is_refused_and_not_repeated(
    counter: Counter, body: dict[str, Any]
) -> None:
    answer = await counter.api.post(f"/v1/calls/{counter.call_id}/resolve", json=body)
    assert code(answer) == (422, "dados_invalidos")
    (error,) = answer.json()["errors"]
    assert error["field"] in {"protocolo", "body"}
    assert not any(text in answer.text for text in ("1234567", "529.982", "Maria", "2222"))
    assert (await counter.rig.row("calls")).state == "failed"


async def test_what_this_crm_gives_as_a_protocolo_is_a_matter_of_configuration(counter: Counter) -> None:
    app = api_over(counter.rig.store, protocolo=re.compile("^[A-Z]{2}-"))
    async with calling(app) as api:
        answer = await api.post(f"/v1/calls/{counter.call_id}/resolve", json={"protocolo": "TR-7 ç"})
    assert answer.json()["protocolo"] == "TR-7 ç"


async def test_blanks_around_a_protocolo_do_not_count(counter: Counter) -> None:
    answer = await counter.resolve(f" {PROTOCOLO}\n")
    assert answer.json()["protocolo"] == PROTOCOLO


async def test_the_call_that_sends_the_ticket_is_named(counter: Counter) -> None:
    other = await counter.rig.admit(counter.run, 2)
    await counter.rig.attempted(other)
    answer = await counter.resolve()
    assert code(answer) == (409, "estado_incompativel")
    assert answer.json()["call_id"] == other.call_id


async def test_a_protocolo_that_another_call_holds_is_named_as_the_problem(counter: Counter) -> None:
    await counter.rig.conversation("c2")
    other = await counter.rig.admit(await counter.rig.run("run_2", "c2"), 2)
    await counter.rig.settled(await counter.rig.attempted(other, certain=False), DONE)
    answer = await counter.resolve()
    assert code(answer) == (422, "dados_invalidos")
    assert answer.json()["errors"] == [
        {
            "field": "protocolo",
            "message": "já é o protocolo de outra chamada, ou é o documento ou o contato do cliente",
        }
    ]


@pytest.mark.parametrize("action", ["retry", "resolve"])
async def test_a_change_is_a_post_from_our_own_pages(counter: Counter, action: str) -> None:
    path = f"/v1/calls/tc_1/{action}"
    answer = await counter.api.get(path)
    assert code(answer) == (405, "metodo_nao_permitido")
    assert answer.headers["allow"] == "POST"
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert code(await counter.api.post(path, headers=foreign)) == (403, "origem_recusada")


# ------------------------------------------------------------------------------------ over a real database


@pytest.fixture
async def real(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    app = api_over(rig.store)
    async with calling(app) as api:
        yield api


async def test_a_failed_call_is_retried_and_one_under_way_is_not(rig: Rig, real: httpx.AsyncClient) -> None:
    call = await rig.admit(await rig.run())
    path = f"/v1/calls/{call.call_id}/retry"
    assert code(await real.post(path)) == (409, "estado_incompativel")
    await rig.settled(await rig.attempted(call, certain=False), AMBIGUOUS)
    answer = await real.post(path)
    assert (answer.status_code, answer.json()["state"]) == (202, "received")
    assert code(await real.post(path)) == (409, "estado_incompativel")


async def test_a_failed_call_whose_payload_has_expired_is_not_retried(
    rig: Rig, real: httpx.AsyncClient
) -> None:
    call = await rig.admit(await rig.run())
    await rig.settled(await rig.attempted(call, certain=True), REFUSED)
    await rig.change("calls", {"body": None}, call_id=call.call_id)
    assert code(await real.post(f"/v1/calls/{call.call_id}/retry")) == (410, "payload_expirado")


async def test_a_protocolo_resolves_one_call_only(rig: Rig, real: httpx.AsyncClient) -> None:
    run = await rig.run()
    first = await rig.admit(run, 1)
    await rig.settled(await rig.attempted(first, certain=False), NO_PROTOCOL)
    await rig.conversation("c2")
    second = await rig.admit(await rig.run("run_2", "c2"), 2)
    await rig.settled(await rig.attempted(second, certain=False), NO_PROTOCOL)
    body = {"protocolo": PROTOCOLO}
    answer = await real.post(f"/v1/calls/{first.call_id}/resolve", json=body)
    assert (answer.status_code, answer.json()["state"], answer.json()["protocolo"]) == (
        200,
        "done",
        PROTOCOLO,
    )
    again = await real.post(f"/v1/calls/{first.call_id}/resolve", json=body)
    assert code(again) == (409, "estado_incompativel")
    other = await real.post(f"/v1/calls/{second.call_id}/resolve", json=body)
    assert code(other) == (422, "dados_invalidos")
