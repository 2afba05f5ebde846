"""What a person may change of a call over HTTP (contract §3), over a fake store and over real ones."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.asgi import api_over, calling
from tests.store.harness import AMBIGUOUS, NO_PROTOCOL, PROTOCOLO, REFUSED, Rig
from tests.web.fake_records import FakeOperators, FakeRecords, a_call, an_api
from worker.model import CallState


class Counter:
    """The API over one failed call, and what it woke."""

    def __init__(self) -> None:
        self.records = FakeRecords(all_calls=[a_call(state=CallState.FAILED, error="x", protocolo=None)])
        self.operators = FakeOperators(self.records)
        self.woken: list[str] = []
        self.api = calling(an_api(self.records, operators=self.operators, wake=self.woken.append))


@pytest.fixture
async def counter() -> AsyncIterator[Counter]:
    made = Counter()
    async with made.api:
        yield made


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def test_a_retry_is_accepted_and_shows_the_call_as_reading_it_does(counter: Counter) -> None:
    answer = await counter.api.post("/v1/calls/tc_1/retry")
    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["error"]) == ("received", None)
    assert answer.json() == (await counter.api.get("/v1/calls/tc_1")).json()
    assert counter.woken == ["run_1"]


async def test_a_protocolo_found_at_the_crm_completes_the_call(counter: Counter) -> None:
    answer = await counter.api.post("/v1/calls/tc_1/resolve", json={"protocolo": PROTOCOLO})
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["protocolo"]) == ("done", PROTOCOLO)
    assert answer.json() == (await counter.api.get("/v1/calls/tc_1")).json()
    assert counter.woken == ["run_1"]


@pytest.mark.parametrize(
    ("refusal", "status"), [("estado_incompativel", 409), ("payload_expirado", 410), ("nao_encontrado", 404)]
)
async def test_what_cannot_be_done_says_why_and_wakes_nobody(
    counter: Counter, refusal: str, status: int
) -> None:
    counter.operators.refusal = refusal
    assert code(await counter.api.post("/v1/calls/tc_1/retry")) == (status, refusal)
    answer = await counter.api.post("/v1/calls/tc_1/resolve", json={"protocolo": PROTOCOLO})
    assert code(answer) == (status, refusal)
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
    answer = await counter.api.post("/v1/calls/tc_1/resolve", json=body)
    assert code(answer) == (422, "dados_invalidos")
    (error,) = answer.json()["errors"]
    assert error["field"] in {"protocolo", "body"}
    assert not any(text in answer.text for text in ("1234567", "529.982", "Maria", "2222"))
    assert counter.records.all_calls[0].state is CallState.FAILED


async def test_what_this_crm_gives_as_a_protocolo_is_a_matter_of_configuration(counter: Counter) -> None:
    app = an_api(counter.records, operators=counter.operators, protocolo=re.compile("^[A-Z]{2}-"))
    async with calling(app) as api:
        answer = await api.post("/v1/calls/tc_1/resolve", json={"protocolo": "TR-7 ç"})
    assert answer.json()["protocolo"] == "TR-7 ç"


async def test_blanks_around_a_protocolo_do_not_count(counter: Counter) -> None:
    answer = await counter.api.post("/v1/calls/tc_1/resolve", json={"protocolo": f" {PROTOCOLO}\n"})
    assert answer.json()["protocolo"] == PROTOCOLO


async def test_the_call_that_sends_the_ticket_is_named(counter: Counter) -> None:
    counter.operators.refusal, counter.operators.other = "estado_incompativel", "tc_other"
    answer = await counter.api.post("/v1/calls/tc_1/resolve", json={"protocolo": PROTOCOLO})
    assert code(answer) == (409, "estado_incompativel")
    assert answer.json()["call_id"] == "tc_other"


async def test_a_protocolo_that_another_call_holds_is_named_as_the_problem(counter: Counter) -> None:
    counter.operators.refusal = "dados_invalidos"
    answer = await counter.api.post("/v1/calls/tc_1/resolve", json={"protocolo": PROTOCOLO})
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
