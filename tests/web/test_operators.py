"""What an operator finds and finishes over HTTP (contract §14), over real stores."""

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from tests.asgi import api_over
from tests.fakes import call as model_call
from tests.store.harness import BOT, DONE, REFUSED, OpenRig, Rig, seeing
from tests.store.test_board import about, ended
from tests.store.test_lists import stuck_event
from tests.system.personal_values import leaks
from worker.log_fields import hidden_call_id, hidden_run_id
from worker.personal import Personal


@dataclass
class Counter:
    """The API over a real store, and the runs it woke."""

    rig: Rig
    api: httpx.AsyncClient
    woken: list[str] = field(default_factory=list)


@pytest.fixture
async def counter(open_rig: OpenRig) -> AsyncIterator[Counter]:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    woken: list[str] = []
    transport = httpx.ASGITransport(api_over(rig.store, token="s", wake=woken.append))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://testserver", auth=("ana", "s")
    ) as client:
        yield Counter(rig, client, woken)


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def ids(answer: httpx.Response, name: str = "call_id") -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item[name] for item in answer.json()["items"]]


# ------------------------------------------------------------------------------------------------- filters


async def test_each_filter_of_calls_is_a_query_parameter(counter: Counter) -> None:
    run = await counter.rig.run()
    done, failed = await ended(counter.rig, run, 1, DONE), await ended(counter.rig, run, 2, REFUSED)
    await counter.rig.change("calls", {"motivo": "BLOQUEIO", "tool": "x"}, call_id=failed.call_id)
    for query, found in [
        ("protocolo=10000001", [done.call_id]),
        ("run_id=run_1", [failed.call_id, done.call_id]),
        ("run_id=run_2", []),
        ("tool=x", [failed.call_id]),
        ("setor=FINANCEIRO", [failed.call_id, done.call_id]),
        ("motivo=BLOQUEIO", [failed.call_id]),
        ("until=2020-01-01T00:00:00Z", []),
        ("state=failed&motivo=BLOQUEIO&since=1h", [failed.call_id]),
    ]:
        assert set(ids(await counter.api.get(f"/v1/calls?{query}"))) == set(found), query


async def test_a_call_is_listed_by_the_platforms_id_in_clear_and_hashed(counter: Counter) -> None:
    run = await counter.rig.run()
    call = await counter.rig.decided(
        run, replace(model_call(1), platform_call_id="call_52998224725"), seeing([])
    )
    hidden = hidden_call_id(counter.rig.store.database.hasher, "call_52998224725")
    for written in ("call_52998224725", hidden):
        assert ids(await counter.api.get(f"/v1/calls?platform_call_id={written}")) == [call.call_id]
    assert ids(await counter.api.get("/v1/calls?platform_call_id=call_1")) == []


async def test_a_lost_run_is_dismissed_and_taken_back_by_what_the_log_writes_for_it(counter: Counter) -> None:
    telephone = "run_5524998765432"
    await counter.rig.lost(await counter.rig.run(telephone))
    path = f"/v1/runs/{hidden_run_id(counter.rig.store.database.hasher, telephone)}/dismiss"
    dismissed = await counter.api.post(path, json={"reason": "outro"})
    assert (dismissed.status_code, dismissed.json()["dismissed"]["reason"]) == (200, "outro")
    restored = await counter.api.delete(path)
    assert (restored.status_code, restored.json()["dismissed"]) == (200, None)


async def test_runs_are_listed_and_filtered_page_by_page(counter: Counter) -> None:
    await counter.rig.lost(await counter.rig.run("run_1"))
    await counter.rig.run("run_2")
    first = await counter.api.get("/v1/runs?limit=1")
    assert ids(first, "run_id") == ["run_2"]
    second = await counter.api.get(f"/v1/runs?limit=1&cursor={first.json()['next_cursor']}")
    assert (ids(second, "run_id"), second.json()["next_cursor"]) == (["run_1"], None)
    assert ids(await counter.api.get("/v1/runs?state=lost&reason=cancelada"), "run_id") == ["run_1"]
    assert ids(await counter.api.get("/v1/runs?state=lost&reason=expirada"), "run_id") == []
    assert code(await counter.api.get("/v1/runs?state=perdida")) == (422, "dados_invalidos")


@pytest.mark.parametrize(
    "path",
    [
        "calls?estado=failed",
        "calls.csv?stat=failed",
        "runs?status=lost",
        "handoffs?departamento=x",
        "kpis?from=24h",
        "events?stuck=1",
        "calls/tc_1?x=1",
        "conversations/c1?x=1",
        "runs/run_1?x=1",
    ],
)
async def test_a_query_parameter_that_does_not_exist_is_refused_and_not_repeated(
    counter: Counter, path: str
) -> None:
    answer = await counter.api.get(f"/v1/{path}&Maria=52998224725")
    assert code(answer) == (422, "dados_invalidos")
    (problem,) = answer.json()["errors"]
    assert problem["field"] == "query"
    assert leaks(answer.text) == set()
    assert "Maria" not in answer.text


async def test_also_probes_and_actions_refuse_unknown_parameters(counter: Counter) -> None:
    assert code(await counter.api.get("/livez?x=1")) == (422, "dados_invalidos")
    assert code(await counter.api.post("/v1/calls/tc_1/retry?force=1")) == (422, "dados_invalidos")
    assert code(await counter.api.put("/v1/conversations/c1?x=1", json={})) == (422, "dados_invalidos")


async def test_an_export_has_a_line_a_call_and_nothing_personal(counter: Counter) -> None:
    run = await counter.rig.run()
    done, failed = await ended(counter.rig, run, 1, DONE), await ended(counter.rig, run, 2, REFUSED)
    await counter.rig.change("calls", {"error": "=cmd()"}, call_id=failed.call_id)
    answer = await counter.api.get("/v1/calls.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["call_id"] for row in rows] == [failed.call_id, done.call_id]
    assert (rows[0]["error"], rows[1]["protocolo"]) == ("'=cmd()", "10000001")
    assert rows[0]["received_at"].endswith("-03:00")
    assert leaks(answer.text) == set()
    only = (await counter.api.get("/v1/calls.csv?state=done")).text
    assert [row["call_id"] for row in csv.DictReader(io.StringIO(only))] == [done.call_id]


# ------------------------------------------------------------------------------------------------ payloads


async def test_a_payload_is_revealed_to_who_is_named_in_the_access_log(counter: Counter) -> None:
    body = Personal.json({"documento": "52998224725", "resumo": "Maria pagou"})
    record = await counter.rig.admit(await counter.rig.run(), 1, about("x", body=body))
    answer = await counter.api.get(f"/v1/calls/{record.call_id}/payload")
    assert answer.json() == {
        "document": "52998224725",
        "contact": None,
        "resumo": "Maria pagou",
        "receipt": None,
    }
    (entry,) = await counter.rig.store.accesses.entries()
    assert (entry.reader.partition("@")[0], entry.subject) == ("ana", record.call_id)


async def test_a_payload_that_is_gone_is_410(counter: Counter) -> None:
    record = await counter.rig.admit(await counter.rig.run(), 1)
    await counter.rig.change("calls", {"body": None}, call_id=record.call_id)
    assert code(await counter.api.get(f"/v1/calls/{record.call_id}/payload")) == (410, "payload_expirado")
    assert code(await counter.api.get("/v1/calls/tc_9/payload")) == (404, "nao_encontrado")
    assert await counter.rig.store.accesses.entries() == []


# ------------------------------------------------------------------------------------------- what finishes


async def test_a_call_is_dismissed_with_who_and_why_and_taken_back(counter: Counter) -> None:
    failed = await ended(counter.rig, await counter.rig.run(), 1, REFUSED)
    path = f"/v1/calls/{failed.call_id}/dismiss"
    dismissed = (await counter.api.post(path, json={"reason": "duplicado"})).json()
    assert (dismissed["state"], dismissed["dismissed"]["reason"]) == ("failed", "duplicado")
    assert dismissed["dismissed"]["by"].startswith("ana@")
    assert code(await counter.api.post(path, json={"reason": "outro"})) == (409, "estado_incompativel")
    assert (await counter.api.delete(path)).json()["dismissed"] is None
    assert code(await counter.api.delete(path)) == (409, "estado_incompativel")
    assert code(await counter.api.post(path, json={"reason": "preguiça"})) == (422, "dados_invalidos")
    assert code(await counter.api.post(path, json={})) == (422, "dados_invalidos")


async def test_a_lost_run_is_dismissed_and_taken_back(counter: Counter) -> None:
    await counter.rig.lost(await counter.rig.run("run_1"))
    answer = await counter.api.post("/v1/runs/run_1/dismiss", json={"reason": "cliente_desistiu"})
    assert answer.json()["dismissed"]["reason"] == "cliente_desistiu"
    assert (await counter.api.delete("/v1/runs/run_1/dismiss")).json()["dismissed"] is None
    assert code(await counter.api.post("/v1/runs/x/dismiss", json={"reason": "outro"})) == (
        404,
        "nao_encontrado",
    )


async def test_many_are_retried_by_what_they_have_in_common(counter: Counter) -> None:
    run = await counter.rig.run()
    first, second = await ended(counter.rig, run, 1, REFUSED), await ended(counter.rig, run, 2, REFUSED)
    gone = await ended(counter.rig, run, 3, REFUSED)
    await counter.rig.change("calls", {"setor": "SUPORTE"}, call_id=second.call_id)
    await counter.rig.change("calls", {"body": None}, call_id=gone.call_id)
    body = {"state": "failed", "since": "1h", "setor": "FINANCEIRO"}
    answer = await counter.api.post("/v1/calls/retry", json=body)
    assert answer.status_code == 202
    assert answer.json() == {
        "requested": 1,
        "refused": [{"call_id": gone.call_id, "code": "payload_expirado"}],
    }
    assert counter.woken == ["run_1"]
    assert ids(await counter.api.get("/v1/calls?state=received")) == [first.call_id]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"state": "failed"},
        {"state": "done", "since": "1h"},
        {"state": "failed", "since": "ontem"},
        {"state": "failed", "since": "1h", "until": "x"},
        {"state": "failed", "since": "1h", "all": True},
    ],
)
async def test_a_selection_nobody_can_make_retries_nothing(counter: Counter, body: dict[str, Any]) -> None:
    failed = await ended(counter.rig, await counter.rig.run(), 1, REFUSED)
    assert code(await counter.api.post("/v1/calls/retry", json=body)) == (422, "dados_invalidos")
    assert (await counter.rig.store.records.call(failed.call_id)).state == "failed"


async def test_stuck_events_are_listed_delivered_after_all_and_discarded(counter: Counter) -> None:
    first, second = await stuck_event(counter.rig, 1), await stuck_event(counter.rig, 2)
    listed = await counter.api.get("/v1/events?state=stuck")
    assert set(ids(listed, "event_id")) == {first, second}
    assert (listed.json()["items"][0]["type"], listed.json()["items"][0]["result"]) == (
        "ticket.opened",
        "http_500",
    )
    assert (await counter.api.post(f"/v1/events/{first}/discard")).json()["state"] == "discarded"
    answer = await counter.api.post(f"/v1/events/{first}/retry")
    assert code(answer) == (409, "estado_incompativel")
    assert (await counter.api.post("/v1/events/retry")).json() == {"requested": 1}
    assert ids(await counter.api.get("/v1/events?state=pending&conversation=c1"), "event_id") == [second]
    assert code(await counter.api.post("/v1/events/msg_9/discard")) == (404, "nao_encontrado")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/v1/calls/retry"),
        ("post", "/v1/calls/tc_1/dismiss"),
        ("delete", "/v1/calls/tc_1/dismiss"),
        ("post", "/v1/runs/run_1/dismiss"),
        ("post", "/v1/events/retry"),
        ("post", "/v1/events/msg_1/discard"),
    ],
)
async def test_a_page_of_another_origin_changes_nothing(counter: Counter, method: str, path: str) -> None:
    answer = await counter.api.request(method, path, headers={"sec-fetch-site": "cross-site"})
    assert code(answer) == (403, "origem_recusada")
