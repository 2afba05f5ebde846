"""The simulated CRM: what it opens, what it refuses, and how it fails for real on a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.fakes import until
from worker.simulator.clock import Clock
from worker.simulator.crm import PRESETS, CrmSimulator, brazilian_date
from worker.simulator.faults import Fault
from worker.simulator.server import serve

NOW = 1_795_000_000.0
TICKET = {
    "documento": "52998224725",
    "resumo": "Cliente enviou comprovante",
    "setor": "FINANCEIRO",
    "motivo": "INFORMAR PAGAMENTO",
    "finalizar": "N",
}
JSON_UTF8 = {"Content-Type": "application/json; charset=utf-8"}


class Waits:
    """Sleeps without time; each wait is counted and lets the others run."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def crm(waits: Waits) -> CrmSimulator:
    return CrmSimulator(clock=Clock(lambda: NOW), sleep=waits)


@pytest_asyncio.fixture
async def client(crm: CrmSimulator) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(crm.app) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def open_ticket(client: httpx.AsyncClient, key: str = "tw-1", **changes: object) -> httpx.Response:
    content = json.dumps({**TICKET, **changes}, ensure_ascii=False).encode()
    return await client.post(
        CrmSimulator.webhook, content=content, headers={**JSON_UTF8, "Idempotency-Key": key}
    )


def protocolo(response: httpx.Response) -> Any:
    return response.json()[0]["data"][0]["resposta"][0]["protocolo"]


async def test_a_ticket_is_answered_with_sixteen_digits_in_the_missions_shape(
    client: httpx.AsyncClient, crm: CrmSimulator
) -> None:
    response = await open_ticket(client)
    assert response.json() == [{"data": [{"resposta": [{"protocolo": protocolo(response)}]}]}]
    assert len(protocolo(response)) == 16
    [ticket] = crm.tickets
    assert (ticket.protocolo, ticket.documento, ticket.motivo) == (
        protocolo(response),
        "52998224725",
        "INFORMAR PAGAMENTO",
    )


async def test_no_two_tickets_have_one_protocolo(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([7, 7, 7, 8])
    monkeypatch.setattr("worker.simulator.crm.secrets.randbelow", lambda _below: next(drawn))
    first, second = [protocolo(await open_ticket(client, key)) for key in ("tw-1", "tw-2")]
    assert (first[-6:], second[-6:]) == ("000007", "000008")


async def test_one_key_opens_one_ticket_when_the_crm_is_idempotent(
    client: httpx.AsyncClient, crm: CrmSimulator
) -> None:
    first, again, other = [await open_ticket(client, key) for key in ("a", "a", "b")]
    assert protocolo(first) == protocolo(again) != protocolo(other)
    assert len(crm.tickets) == 2


async def test_every_request_opens_a_ticket_when_it_is_not(
    client: httpx.AsyncClient, crm: CrmSimulator
) -> None:
    crm.idempotent = False
    await open_ticket(client, "a")
    await open_ticket(client, "a")
    assert len(crm.tickets) == 2


async def test_requests_are_recorded_to_the_byte(client: httpx.AsyncClient, crm: CrmSimulator) -> None:
    await open_ticket(client, "tw-9", resumo="Ação: Ç")
    [request] = crm.requests
    assert '"resumo": "Ação: Ç"'.encode() in request.body
    assert (request.headers["idempotency-key"], request.operation) == ("tw-9", "abrir_ticket")


@pytest.mark.parametrize(
    "changes",
    [
        {"documento": "529.982.247-25"},
        {"documento": ""},
        {"setor": "FINANCEIRO", "motivo": "SEM CONEXÃO"},
        {"resumo": " "},
        {"resumo": None},
        {"finalizar": "talvez"},
        {"extra": "x"},
    ],
)
async def test_a_ticket_that_breaks_the_wire_contract_is_refused(
    client: httpx.AsyncClient, crm: CrmSimulator, changes: dict[str, object]
) -> None:
    response = await open_ticket(client, **changes)
    assert (response.status_code, crm.tickets) == (400, [])


async def test_a_body_that_is_no_utf_8_json_object_is_refused(
    client: httpx.AsyncClient, crm: CrmSimulator
) -> None:
    assert (await client.post(CrmSimulator.webhook, json=TICKET)).status_code == 400
    for body in (b"[]", b"{", b"\xff"):
        response = await client.post(CrmSimulator.webhook, content=body, headers=JSON_UTF8)
        assert response.status_code == 400


async def test_a_cnpj_with_letters_is_a_document(client: httpx.AsyncClient) -> None:
    assert (await open_ticket(client, documento="12ABC34501DE35")).status_code == 200


async def test_the_lookup_lists_the_tickets_of_a_document(
    client: httpx.AsyncClient, crm: CrmSimulator
) -> None:
    opened = await open_ticket(client, "a")
    await open_ticket(client, "b", documento="12ABC34501DE35")
    found = (await client.post(CrmSimulator.lookup, json={"documento": "52998224725"})).json()
    assert found == [
        {
            "setor": "FINANCEIRO",
            "motivo": "INFORMAR PAGAMENTO",
            "status": "ABERTO",
            "data_abertura": "2026-11-18T08:06:40-03:00",
            "protocolo": protocolo(opened),
        }
    ]
    assert (await client.post(CrmSimulator.lookup, json={"documento": "x"})).json() == []


async def test_the_lookup_can_write_brazilian_dates() -> None:
    assert brazilian_date(NOW) == "18/11/2026 08:06:40"


async def test_the_crm_takes_its_time(crm: CrmSimulator, client: httpx.AsyncClient, waits: Waits) -> None:
    crm.latency_s = 0.3
    await open_ticket(client)
    assert waits.slept == [0.3]


# ----------------------------------------------------------------------------------------------- faults


async def test_a_fault_ends_after_its_number_of_requests(
    client: httpx.AsyncClient, crm: CrmSimulator
) -> None:
    crm.faults.add(Fault(status=503, times=2))
    answers = [(await open_ticket(client)).status_code for _ in range(3)]
    assert (answers, len(crm.tickets), len(crm.requests)) == ([503, 503, 200], 1, 3)


async def test_a_crm_that_is_down_stays_down_until_cleared(
    client: httpx.AsyncClient, crm: CrmSimulator
) -> None:
    crm.faults.preset("down")
    assert [(await open_ticket(client)).status_code for _ in range(3)] == [503] * 3
    crm.faults.clear()
    assert (await open_ticket(client)).status_code == 200


async def test_a_fault_hits_only_its_operation(client: httpx.AsyncClient, crm: CrmSimulator) -> None:
    crm.faults.preset("down", on="consultar")
    assert (await open_ticket(client)).status_code == 200
    assert (await client.post(CrmSimulator.lookup, json={})).status_code == 503


async def test_too_many_requests_say_when_to_come_back(client: httpx.AsyncClient, crm: CrmSimulator) -> None:
    crm.faults.preset("rate_limited", headers={"retry-after": "7"})
    response = await open_ticket(client)
    assert (response.status_code, response.headers["retry-after"], crm.tickets) == (429, "7", [])


@pytest.mark.parametrize(("preset", "opened"), [("dropped_before", 0), ("dropped_after", 1)])
async def test_a_connection_is_dropped_for_real(
    client: httpx.AsyncClient, crm: CrmSimulator, preset: str, opened: int
) -> None:
    crm.faults.preset(preset)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await open_ticket(client)
    assert len(crm.tickets) == opened
    assert (await open_ticket(client)).status_code == 200
    assert len(crm.tickets) == 1


async def test_an_answer_can_break_off_in_the_middle(client: httpx.AsyncClient, crm: CrmSimulator) -> None:
    crm.faults.preset("cut")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await open_ticket(client)
    assert len(crm.tickets) == 1


async def test_an_answer_can_trickle(client: httpx.AsyncClient, crm: CrmSimulator, waits: Waits) -> None:
    crm.faults.preset("trickle")
    response = await open_ticket(client)
    assert len(protocolo(response)) == 16
    assert waits.slept[1:] == [0.5] * len(response.content)


async def test_a_slow_answer_was_committed_at_once() -> None:
    holding, released = asyncio.Event(), asyncio.Event()

    async def hold(_seconds: float) -> None:
        holding.set()
        await released.wait()

    crm = CrmSimulator(sleep=hold)
    crm.faults.preset("slow")
    async with serve(crm.app) as url, httpx.AsyncClient(base_url=url) as client:
        answer = asyncio.create_task(open_ticket(client))
        await holding.wait()
        assert (len(crm.tickets), answer.done()) == (1, False)
        released.set()
        assert protocolo(await answer) == crm.tickets[0].protocolo


async def test_a_ticket_can_be_opened_long_after_the_error_was_answered() -> None:
    holding, released, sleeps = asyncio.Event(), asyncio.Event(), []

    async def hold(seconds: float) -> None:
        sleeps.append(seconds)
        if seconds:
            holding.set()
            await released.wait()

    crm = CrmSimulator(sleep=hold)
    crm.faults.preset("late")
    async with serve(crm.app) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await open_ticket(client)).status_code == 504
        await holding.wait()
        assert (crm.tickets, sleeps) == ([], [0, 3])
        released.set()
        await until(lambda: bool(crm.tickets))


async def test_a_ticket_is_opened_though_its_client_has_hung_up() -> None:
    holding, released = asyncio.Event(), asyncio.Event()

    async def hold(_seconds: float) -> None:
        holding.set()
        await released.wait()

    crm = CrmSimulator(sleep=hold)
    crm.faults.add(Fault(delay_s=30))
    async with serve(crm.app) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            giving_up = asyncio.create_task(open_ticket(client))
            await holding.wait()
            giving_up.cancel()
            await asyncio.wait({giving_up})
        released.set()
        await until(lambda: bool(crm.tickets))


@pytest.mark.parametrize(
    ("preset", "body"),
    [
        ("no_protocolo", '[{"data": [{"resposta": [{}]}]}]'),
        ("empty", ""),
        ("message", '{"message": "Workflow was started"}'),
        ("html", "<html><body>OK</body></html>"),
        ("wrong_shape", '[{"data": [{"resposta": [{"protocolo": "A-12"}]}]}]'),
        ("bare_object", '{"data": [{"resposta": [{"protocolo": "PROTOCOLO"}]}]}'),
        ("number", '[{"data": [{"resposta": [{"protocolo": PROTOCOLO}]}]}]'),
    ],
)
async def test_a_ticket_can_be_opened_and_answered_in_another_shape(
    client: httpx.AsyncClient, crm: CrmSimulator, preset: str, body: str
) -> None:
    crm.faults.preset(preset)
    response = await open_ticket(client)
    [ticket] = crm.tickets
    assert (response.status_code, response.text) == (200, body.replace("PROTOCOLO", ticket.protocolo))
    is_html = preset == "html"
    assert response.headers["content-type"].startswith("text/html" if is_html else "application/json")


async def test_the_status_of_an_error_after_the_commit_can_be_chosen(
    client: httpx.AsyncClient, crm: CrmSimulator
) -> None:
    crm.faults.preset("error_after", status=408)
    assert (await open_ticket(client)).status_code == 408
    assert len(crm.tickets) == 1


# ------------------------------------------------------------------------------------------ from outside


async def test_faults_are_switched_over_http(client: httpx.AsyncClient, crm: CrmSimulator) -> None:
    wanted = [{"preset": "down", "times": 2}, {"on": "consultar", "drop": True}]
    shown = (await client.put("/_sim/faults", json={"faults": wanted})).json()
    assert shown["faults"] == [
        {"status": 503, "times": 2},
        {"on": "consultar", "drop": True, "times": 1},
    ]
    await open_ticket(client)
    assert (await client.get("/_sim/state")).json()["faults"][0]["times"] == 1
    assert (await client.put("/_sim/faults", json={"faults": []})).json()["faults"] == []
    assert set(shown["presets"]) == set(PRESETS)


@pytest.mark.parametrize(
    "entry", [{"preset": "dança"}, {"dança": 1}, {"times": 0}, {"preset": "down", "x": 1}]
)
async def test_a_wrong_fault_is_refused_and_changes_nothing(
    client: httpx.AsyncClient, crm: CrmSimulator, entry: dict[str, object]
) -> None:
    crm.faults.preset("down")
    response = await client.put("/_sim/faults", json={"faults": [entry]})
    assert response.status_code == 400
    assert response.json()["error"]
    assert len(crm.faults.active()) == 1


async def test_tickets_and_requests_can_be_read_over_http(
    client: httpx.AsyncClient, crm: CrmSimulator
) -> None:
    await open_ticket(client)
    [ticket] = (await client.get("/_sim/tickets")).json()
    assert (ticket["protocolo"], ticket["idempotency_key"]) == (crm.tickets[0].protocolo, "tw-1")
    [request] = (await client.get("/_sim/requests")).json()
    assert json.loads(request["body"]) == TICKET
    state = (await client.get("/_sim/state")).json()
    assert (state["tickets"], state["requests"]) == (1, 1)
