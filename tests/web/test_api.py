"""The calls of contract §3."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import httpx
import pytest

from tests.asgi import EPOCH, api_at_epoch, calling
from tests.store.harness import DONE, HANDOFF, Rig
from tests.web.views import a_call
from worker.errors import StoreError
from worker.model import CallRecord, RunState
from worker.personal import Personal
from worker.store import migrations
from worker.store.store import Store

CPF = "529.982.247-25"


@pytest.fixture
async def api(sqlite_store: Store) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(api_at_epoch(sqlite_store)) as client:
        yield client


@pytest.fixture
def rig(sqlite_store: Store) -> Rig:
    """The store of `api`, empty."""
    return Rig(sqlite_store)


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


async def refused_field(
    api: httpx.AsyncClient, body: object, code: str = "dados_invalidos"
) -> dict[str, str]:
    answer = await api.put("/v1/conversations/conv-1", json=body)
    (error,) = assert_problem(answer, 422, code)["errors"]
    return dict(error)


# ------------------------------------------------------------------------------------------ conversations


async def test_a_new_conversation_is_201_and_a_known_one_200(api: httpx.AsyncClient) -> None:
    assert (await api.put("/v1/conversations/conv-1", json={})).status_code == 201
    assert (await api.put("/v1/conversations/conv-1", json={})).status_code == 200


async def test_everything_put_can_be_read_back_with_the_document_masked(
    api: httpx.AsyncClient, rig: Rig
) -> None:
    body = {
        "thread_id": "thread_1",
        "assistant": "FINANCEIRO",
        "client_document": CPF,
        "contact": "5524900000000",
        "attachment_url": "https://arquivos.example/c.jpg",
        "attachment_at": "2025-10-27T18:33:20Z",
    }
    put = await api.put("/v1/conversations/conv-1", json=body)
    await rig.change("conversations", {"created_at": EPOCH, "updated_at": EPOCH + 1})
    shown = {
        **body,
        "conversation_id": "conv-1",
        "client_document": "***.982.247-**",
        "attachment_at": "2025-10-27T15:33:20-03:00",
        "created_at": "2025-10-27T15:34:00.250000-03:00",
        "updated_at": "2025-10-27T15:34:01.250000-03:00",
    }
    assert (await api.get("/v1/conversations/conv-1")).json() == shown
    assert put.json().keys() == shown.keys()
    times = {"created_at", "updated_at"}
    assert all(put.json()[name] == value for name, value in shown.items() if name not in times)


async def test_what_is_omitted_stays_and_null_clears(api: httpx.AsyncClient) -> None:
    await api.put("/v1/conversations/conv-1", json={"contact": "5524", "assistant": "SUPORTE"})
    answer = await api.put("/v1/conversations/conv-1", json={"assistant": None})
    assert answer.json()["contact"] == "5524"
    assert answer.json()["assistant"] is None
    assert (await api.get("/v1/conversations/conv-1")).json() == answer.json()


async def test_personal_values_reach_the_store_wrapped(api: httpx.AsyncClient, rig: Rig) -> None:
    await api.put(
        "/v1/conversations/conv-1",
        json={"client_document": CPF, "contact": "5524", "attachment_url": "http://a.example/x"},
    )
    row = await rig.row("conversations")
    assert (row.document, row.contact) == (Personal("52998224725"), Personal("5524"))
    assert row.attachment_url == Personal("http://a.example/x")


async def test_an_unknown_conversation_is_404(api: httpx.AsyncClient) -> None:
    assert_problem(await api.get("/v1/conversations/conv-9"), 404, "conversa_desconhecida")


async def test_a_thread_belongs_to_one_conversation(api: httpx.AsyncClient) -> None:
    await api.put("/v1/conversations/conv-1", json={"thread_id": "thread_1"})
    answer = await api.put("/v1/conversations/conv-2", json={"thread_id": "thread_1"})
    assert_problem(answer, 409, "thread_em_uso")


@pytest.mark.parametrize("good", ["a", "A9._:@+~-", "x" * 128, "5524900000000@s.whatsapp.net"])
async def test_good_conversation_ids_are_taken_as_they_are(api: httpx.AsyncClient, good: str) -> None:
    assert (await api.put(f"/v1/conversations/{good}", json={})).json()["conversation_id"] == good


@pytest.mark.parametrize(
    "bad", ["x" * 129, "x" * 20_000, "a%2Fb", "a/b", "%00", "a%0A", "a%20b", "%C3%A7", "%FF", ""]
)
async def test_bad_conversation_ids_are_a_clean_problem(api: httpx.AsyncClient, bad: str) -> None:
    for answer in [
        await api.get(f"/v1/conversations/{bad}"),
        await api.put(f"/v1/conversations/{bad}", json={}),
    ]:
        (error,) = assert_problem(answer, 422, "identificador_invalido")["errors"]
        assert error["field"] == "conversation_id"


@pytest.mark.parametrize(
    "document", ["529.982.247-26", "11111111111", "1", "", "João", "12ABC34501DE36", "5" * 2000]
)
async def test_a_wrong_document_has_its_own_code_and_is_never_repeated(
    api: httpx.AsyncClient, document: str
) -> None:
    answer = await api.put("/v1/conversations/conv-1", json={"client_document": document})
    body = assert_problem(answer, 422, "documento_invalido")
    assert body["errors"] == [
        {
            "field": "client_document",
            "message": "precisa ser um CPF ou CNPJ válido, com ou sem pontuação",
        }
    ]


@pytest.mark.parametrize("document", ["52998224725", CPF, "12ABC34501DE35", "12.abc.345/01de-35"])
async def test_a_document_may_come_masked_bare_or_alphanumeric(api: httpx.AsyncClient, document: str) -> None:
    assert (await api.put("/v1/conversations/c", json={"client_document": document})).status_code == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("assistant", "x" * 65),
        ("assistant", ""),
        ("assistant", "a\u0000b"),
        ("assistant", 7),
        ("contact", "5" * 65),
        ("contact", "5524\n900"),
        ("contact", "5524\u2028900"),
        ("contact", "  "),
        ("contact", True),
        ("attachment_url", "ftp://a.example/x"),
        ("attachment_url", "javascript:alert(1)"),
        ("attachment_url", "https://"),
        ("attachment_url", "https://[a.example/x"),
        ("attachment_url", "https://a.example:99999/x"),
        ("attachment_url", "https://a.example/a b"),
        ("attachment_url", "https://a.example/\t"),
        ("attachment_url", "https://a.example/" + "x" * 2048),
        ("attachment_url", ["https://a.example/"]),
        ("client_document", 52998224725),
        ("thread_id", 5),
        ("attachment_at", 1761590040),
        ("attachment_at", "2025-10-27T15:34:00"),
        ("attachment_at", "2025-10-27"),
        ("attachment_at", "2025-13-27T15:34:00Z"),
        ("attachment_at", "ontem"),
    ],
)
async def test_a_field_that_is_wrong_is_named_without_its_value(
    api: httpx.AsyncClient, rig: Rig, field: str, value: object
) -> None:
    error = await refused_field(api, {field: value})
    assert error["field"] == field
    assert error["message"].startswith(("precisa", "não pode"))
    assert await rig.rows("conversations") == []


async def test_lone_surrogates_are_refused(api: httpx.AsyncClient) -> None:
    answer = await api.put(
        "/v1/conversations/c",
        content=rb'{"contact": "\ud800", "thread_id": "\ud800"}',
        headers={"Content-Type": "application/json"},
    )
    errors = assert_problem(answer, 422, "dados_invalidos")["errors"]
    assert {error["field"] for error in errors} == {"contact", "thread_id"}


@pytest.mark.parametrize("thread_id", ["", "a b", "ç", "x" * 257])
async def test_a_thread_id_is_visible_ascii(api: httpx.AsyncClient, thread_id: str) -> None:
    error = await refused_field(api, {"thread_id": thread_id}, "identificador_invalido")
    assert error["field"] == "thread_id"


async def test_problems_of_different_kinds_are_all_listed_under_one_code(api: httpx.AsyncClient) -> None:
    answer = await api.put("/v1/conversations/c", json={"client_document": "1", "contact": ""})
    body = assert_problem(answer, 422, "dados_invalidos")
    assert [error["field"] for error in body["errors"]] == ["client_document", "contact"]


async def test_an_unknown_field_is_refused_without_repeating_its_name(api: httpx.AsyncClient) -> None:
    answer = await api.put("/v1/conversations/c", json={"Maria 529.982.247-25": "x", "contact": "5"})
    (error,) = assert_problem(answer, 422, "dados_invalidos")["errors"]
    assert error["field"] == "body"
    assert "contact" in error["message"]
    assert "Maria" not in answer.text


@pytest.mark.parametrize("body", ["null", "[]", '"x"', "1", ""])
async def test_a_body_that_is_no_object_is_refused(api: httpx.AsyncClient, body: str) -> None:
    answer = await api.put("/v1/conversations/c", content=body, headers={"Content-Type": "application/json"})
    (error,) = assert_problem(answer, 422, "dados_invalidos")["errors"]
    assert error["field"] == "body"


def at(seconds: float) -> str:
    return (datetime.fromtimestamp(EPOCH, UTC) + timedelta(seconds=seconds)).isoformat()


async def test_a_receipt_a_little_ahead_of_our_clock_is_of_now(api: httpx.AsyncClient, rig: Rig) -> None:
    url = "https://a.example/c.jpg"
    await api.put("/v1/conversations/c", json={"attachment_url": url, "attachment_at": at(60)})
    assert (await rig.row("conversations")).attachment_at == EPOCH
    await api.put("/v1/conversations/c", json={"attachment_url": url, "attachment_at": at(-5)})
    assert (await rig.row("conversations")).attachment_at == EPOCH - 5
    error = await refused_field(api, {"attachment_url": url, "attachment_at": at(61)})
    assert error == {"field": "attachment_at", "message": "não pode estar mais de 60 s no futuro"}


async def test_a_null_attachment_at_reaches_the_store_as_cleared(api: httpx.AsyncClient, rig: Rig) -> None:
    await api.put("/v1/conversations/c", json={"attachment_url": "http://a.example/x"})
    await api.put("/v1/conversations/c", json={"attachment_url": None, "attachment_at": None})
    row = await rig.row("conversations")
    assert (row.attachment_url, row.attachment_at) == (None, None)


# --------------------------------------------------------------------------------------------------- runs


async def announced(api: httpx.AsyncClient, **body: object) -> httpx.Response:
    return await api.post("/v1/runs", json={"conversation_id": "conv-1", "run_id": "run_1", **body})


async def test_a_run_is_202_when_new_200_while_watched_and_202_again_after_its_end(
    rig: Rig,
) -> None:
    woken: list[str] = []
    async with calling(api_at_epoch(rig.store, wake=woken.append)) as api:
        await api.put("/v1/conversations/conv-1", json={"thread_id": "thread_1"})
        first, second = await announced(api), await announced(api)
        assert await rig.store.runs.close(await rig.claimed(), RunState.ENDED, "completed", "completed")
        third = await announced(api)
    assert [first.status_code, second.status_code, third.status_code] == [202, 200, 202]
    assert woken == ["run_1"] * 3
    assert first.json() == {
        "run_id": "run_1",
        "conversation_id": "conv-1",
        "thread_id": "thread_1",
        "state": "watching",
        "platform_status": None,
        "reason": None,
        "continues_as": None,
        "calls": [],
    }


async def test_a_run_that_goes_on_under_another_id_is_200_says_so_and_that_one_is_looked_at(
    rig: Rig,
) -> None:
    woken: list[str] = []
    async with calling(api_at_epoch(rig.store, wake=woken.append)) as api:
        await api.put("/v1/conversations/conv-1", json={"thread_id": "thread_1"})
        await announced(api)
        await announced(api, run_id="run_2")
        await rig.change("runs", {"state": "ended", "continues_as": "run_2"}, run_id="run_1")
        again = await announced(api)
    assert (again.status_code, again.json()["state"], again.json()["continues_as"]) == (200, "ended", "run_2")
    assert woken == ["run_1", "run_2", "run_2"]


async def test_a_run_can_be_read_with_its_calls(api: httpx.AsyncClient, rig: Rig) -> None:
    await rig.conversation()
    run = await rig.run()
    call = await rig.admit(run)
    await rig.lost(run)
    await rig.change("runs", {"continues_as": "run_2"})
    body = (await api.get("/v1/runs/run_1")).json()
    assert (body["state"], body["reason"], body["continues_as"]) == ("lost", "cancelada", "run_2")
    assert body["calls"] == [(await api.get(f"/v1/calls/{call.call_id}")).json()]


@pytest.mark.parametrize("run_id", ["run/1", "a//b?c=d#e", "100%", "!~", "x" * 256])
async def test_a_run_id_may_hold_any_visible_ascii(api: httpx.AsyncClient, run_id: str) -> None:
    await api.put("/v1/conversations/conv-1", json={"thread_id": "thread_1"})
    assert (await announced(api, run_id=run_id)).status_code == 202
    encoded = "".join(f"%{ord(character):02X}" for character in run_id)
    assert (await api.get(f"/v1/runs/{encoded}")).json()["run_id"] == run_id


@pytest.mark.parametrize("run_id", ["", "a b", "ação", "x" * 257, "a\u0000"])
async def test_a_bad_run_id_is_refused_in_body_and_path(api: httpx.AsyncClient, run_id: str) -> None:
    assert_problem(await announced(api, run_id=run_id), 422, "identificador_invalido")
    encoded = "".join(f"%{byte:02X}" for byte in run_id.encode())
    assert_problem(await api.get(f"/v1/runs/{encoded}"), 422, "identificador_invalido")


async def test_what_cannot_be_watched_says_why(api: httpx.AsyncClient) -> None:
    assert_problem(await announced(api), 404, "conversa_desconhecida")
    await api.put("/v1/conversations/conv-1", json={})
    assert_problem(await announced(api), 422, "thread_ausente")
    assert (await announced(api, thread_id="thread_1")).status_code == 202
    assert_problem(await announced(api, thread_id="thread_2"), 409, "thread_diferente")
    await api.put("/v1/conversations/conv-2", json={"thread_id": "thread_2"})
    assert_problem(await announced(api, conversation_id="conv-2"), 409, "execucao_de_outra_conversa")
    assert_problem(await api.get("/v1/runs/run_9"), 404, "nao_encontrado")


async def test_a_missing_field_of_a_run_is_named(api: httpx.AsyncClient) -> None:
    body = assert_problem(await api.post("/v1/runs", json={}), 422, "dados_invalidos")
    assert body["errors"] == [
        {"field": "conversation_id", "message": "é obrigatório"},
        {"field": "run_id", "message": "é obrigatório"},
    ]


@pytest.mark.parametrize(
    ("platform", "run_id", "status"),
    [
        ("assistants", "sess_1", 422),
        ("assistants", "resp_1", 422),
        ("agents", "sess_1", 202),
        ("agents", "resp_1", 422),
        ("responses", "resp_1", 202),
        ("responses", "sess_1", 422),
        ("agents", "run_1", 202),
    ],
)
async def test_an_id_of_another_platform_is_refused(
    rig: Rig, platform: str, run_id: str, status: int
) -> None:
    async with calling(api_at_epoch(rig.store, platform=platform)) as api:
        await api.put("/v1/conversations/conv-1", json={"thread_id": "thread_1"})
        answer = await announced(api, run_id=run_id)
    assert answer.status_code == status
    if status == 422:
        assert_problem(answer, 422, "id_de_outra_plataforma")


# -------------------------------------------------------------------------------------------------- calls


async def admitted(rig: Rig, *received: float) -> None:
    """Calls `tc_0`, `tc_1` and so on of one run, received at these times."""
    await rig.conversation()
    run = await rig.run()
    for number, at in enumerate(received):
        call = await rig.admit(run, number)
        own = {"call_id": f"tc_{number}", "received_at": at}
        await rig.change("calls", own, call_id=call.call_id)


async def test_a_call_shows_its_outcome(api: httpx.AsyncClient, rig: Rig) -> None:
    await rig.conversation()
    call = await rig.admit(await rig.run())
    await rig.settled(await rig.attempted(await rig.attempted(call, certain=True)), DONE)
    times = {"finished_at": EPOCH + 4, "answered_at": EPOCH + 4, "submitted_at": EPOCH + 5}
    await rig.change("calls", {"received_at": EPOCH, **times})
    first = {"begun_at": EPOCH + 1, "ended_at": EPOCH + 2, "result": "http_503"}
    await rig.change("attempts", first, attempt=1)
    await rig.change("attempts", {"begun_at": EPOCH + 3, "ended_at": None, "result": None}, attempt=2)
    body = (await api.get(f"/v1/calls/{call.call_id}")).json()
    timeline = body.pop("timeline")
    assert body == {
        "call_id": call.call_id,
        "platform_call_id": "call_1",
        "run_id": "run_1",
        "conversation_id": "c1",
        "tool": "echo",
        "state": "done",
        "error": None,
        "protocolo": "2510271534789012",
        "setor": "FINANCEIRO",
        "motivo": "PAGAMENTO",
        "departamento": None,
        "attempts": 2,
        "equal_to": None,
        "received_at": "2025-10-27T15:34:00.250000-03:00",
        "finished_at": "2025-10-27T15:34:04.250000-03:00",
        "submitted_at": "2025-10-27T15:34:05.250000-03:00",
        "dismissed": None,
    }
    assert [(step["event"], step["attempt"], step["result"]) for step in timeline] == [
        ("received", None, None),
        ("attempt_begun", 1, None),
        ("attempt_ended", 1, "http_503"),
        ("attempt_begun", 2, None),
        ("finished", None, None),
        ("answered", None, None),
        ("submitted", None, None),
    ]


def test_a_timeline_is_in_the_order_of_time() -> None:
    times = {"answered_at": EPOCH + 1, "submitted_at": EPOCH + 1.5, "finished_at": EPOCH + 9}
    events = [step.event for step in a_call(**times).timeline]
    assert events == ["received", "attempt_begun", "answered", "submitted", "attempt_ended", "finished"]


async def test_an_open_call_has_no_ends(api: httpx.AsyncClient, rig: Rig) -> None:
    await rig.conversation()
    call = await rig.admit(await rig.run())
    body = (await api.get(f"/v1/calls/{call.call_id}")).json()
    assert (body["finished_at"], body["submitted_at"], body["attempts"]) == (None, None, 0)
    assert [step["event"] for step in body["timeline"]] == ["received"]


@pytest.mark.parametrize("call_id", ["tc_9", "a%2Fb", "x" * 128])
async def test_a_call_or_handoff_that_is_not_there_is_404(api: httpx.AsyncClient, call_id: str) -> None:
    for kind in ["calls", "handoffs"]:
        assert_problem(await api.get(f"/v1/{kind}/{call_id}"), 404, "nao_encontrado")


@pytest.mark.parametrize("call_id", ["%00", "x" * 20_000, "tc_1%0A", "%C3%A9", "a.b"])
async def test_an_id_the_worker_cannot_have_made_is_refused(api: httpx.AsyncClient, call_id: str) -> None:
    for kind in ["calls", "handoffs"]:
        assert_problem(await api.get(f"/v1/{kind}/{call_id}"), 422, "identificador_invalido")


async def test_calls_are_paged_newest_first_to_the_end(api: httpx.AsyncClient, rig: Rig) -> None:
    await admitted(rig, *(EPOCH + n // 2 for n in range(7)))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(4):
        page = (await api.get("/v1/calls", params={"limit": 2, **cursor})).json()
        seen += [call["call_id"] for call in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert seen == [f"tc_{n}" for n in (6, 5, 4, 3, 2, 1, 0)]
    assert page["next_cursor"] is None


async def test_calls_are_filtered(api: httpx.AsyncClient, rig: Rig) -> None:
    await admitted(rig, EPOCH, EPOCH, EPOCH - 7200)
    await rig.change("calls", {"state": "failed"}, call_id="tc_0")
    await rig.change("calls", {"conversation_id": "conv-2"}, call_id="tc_1")

    async def listed(**params: str) -> list[str]:
        page = (await api.get("/v1/calls", params=params)).json()
        return [call["call_id"] for call in page["items"]]

    assert await listed(state="failed") == ["tc_0"]
    assert await listed(conversation="conv-2") == ["tc_1"]
    assert await listed(since="1h") == ["tc_1", "tc_0"]
    assert await listed(since="2025-10-27T15:34:00+00:00") == ["tc_1", "tc_0", "tc_2"]
    assert await listed(state="no_protocol") == []


async def test_a_page_has_fifty_items_by_default(api: httpx.AsyncClient, rig: Rig) -> None:
    await admitted(rig, *(EPOCH + n for n in range(51)))
    page = (await api.get("/v1/calls")).json()
    assert [call["call_id"] for call in page["items"]] == [f"tc_{n}" for n in range(50, 0, -1)]
    assert page["next_cursor"] is not None


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("state=aberto", "state", "precisa ser um destes: 'received', 'running', 'done'"),
        ("limit=0", "limit", "precisa ser no mínimo 1"),
        ("limit=201", "limit", "precisa ser no máximo 200"),
        ("limit=muitos", "limit", "precisa ser um número inteiro"),
        ("since=ontem", "since", "precisa ser 24h, 7d, hoje"),
        ("cursor=529.982.247-25", "cursor", "precisa ser o next_cursor"),
    ],
)
async def test_a_bad_query_names_its_parameter(
    api: httpx.AsyncClient, query: str, field: str, message: str
) -> None:
    (error,) = assert_problem(await api.get(f"/v1/calls?{query}"), 422, "dados_invalidos")["errors"]
    assert error["field"] == field
    assert error["message"].startswith(message)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/calls?since=",
        "/v1/kpis?until=",
        "/v1/calls?cursor=",
        "/v1/handoffs?state=",
        "/?since=",
        "/livez?",
    ],
)
async def test_a_long_query_is_refused_before_anything_reads_it(api: httpx.AsyncClient, path: str) -> None:
    (error,) = assert_problem(await api.get(path + "T" * 60_000), 422, "dados_invalidos")["errors"]
    assert error == {"field": "query", "message": "pode ter no máximo 4096 bytes"}


async def test_a_bad_conversation_in_a_query_is_a_bad_identifier(api: httpx.AsyncClient) -> None:
    assert_problem(await api.get("/v1/calls?conversation=a%00b"), 422, "identificador_invalido")


# ---------------------------------------------------------------------------------------------- hand-offs


async def requested(rig: Rig, conversation: str = "c1", **values: object) -> CallRecord:
    """The call for a hand-off in this conversation; the hand-off's row holds these values."""
    await rig.conversation(conversation)
    call = await rig.admit(await rig.run(f"run_{conversation}", conversation), 1, HANDOFF)
    await rig.change("handoffs", values, call_id=call.call_id)
    return call


async def test_handoffs_are_listed_without_their_motivo(api: httpx.AsyncClient, rig: Rig) -> None:
    call = await requested(rig, "c1", handoff_id="ho_1", requested_at=EPOCH)
    await requested(rig, "c2", handoff_id="ho_2", requested_at=EPOCH + 1)
    await rig.change("handoffs", {"state": "accepted", "accepted_at": EPOCH + 42.5}, handoff_id="ho_1")
    page = (await api.get("/v1/handoffs?limit=1")).json()
    assert [item["handoff_id"] for item in page["items"]] == ["ho_2"]
    following = (await api.get("/v1/handoffs", params={"cursor": page["next_cursor"]})).json()
    assert following["items"] == [
        {
            "handoff_id": "ho_1",
            "conversation_id": "c1",
            "call_id": call.call_id,
            "departamento": "financeiro",
            "state": "accepted",
            "requested_at": "2025-10-27T15:34:00.250000-03:00",
            "accepted_at": "2025-10-27T15:34:42.750000-03:00",
            "closed_at": None,
            "returned_at": None,
            "opens_at": None,
            "due_at": None,
            "overdue": False,
            "waiting_s": 42.5,
        }
    ]
    waiting = (await api.get("/v1/handoffs?state=requested")).json()
    assert [item["handoff_id"] for item in waiting["items"]] == ["ho_2"]


async def test_reading_one_handoff_gives_its_motivo_and_puts_the_reader_on_record(
    rig: Rig,
) -> None:
    await requested(rig, handoff_id="ho_1")
    async with calling(api_at_epoch(rig.store, token="s3cret"), client=("10.0.0.7", 1)) as api:
        by_name = await api.get("/v1/handoffs/ho_1", auth=("ana", "s3cret"))
        await api.get("/v1/handoffs/ho_1", headers={"Authorization": "Bearer s3cret"})
    assert by_name.json()["motivo"] == "Maria quer falar"
    assert [entry.reader for entry in await rig.rows("access_log")] == ["ana@10.0.0.7", "api@10.0.0.7"]


async def test_the_reader_on_record_is_short_and_printable(rig: Rig) -> None:
    await requested(rig, handoff_id="ho_1")
    async with calling(api_at_epoch(rig.store, token="s"), client=("fe80::1234%" + "x" * 80, 1)) as api:
        await api.get("/v1/handoffs/ho_1", auth=("a\nná" * 40, "s"))
    reader = (await rig.row("access_log")).reader
    assert len(reader) == 64
    assert reader.startswith("an" * 12 + "@fe80::1234%")


# ------------------------------------------------------------------------------------------------- health


async def test_ready_means_a_working_database_and_a_loop_that_ticks(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticking = True
    async with calling(api_at_epoch(sqlite_store, alive=lambda: ticking)) as api:
        assert (await api.get("/readyz")).json() == {"status": "ok"}
        with monkeypatch.context() as another_version:
            another_version.setattr(migrations, "current", lambda connection: False)
            assert_problem(await api.get("/readyz"), 503, "indisponivel")
        ticking = False
        assert_problem(await api.get("/readyz"), 503, "indisponivel")
        assert (await api.get("/livez")).json() == {"status": "ok"}


async def test_a_database_that_fails_is_503_everywhere(
    api: httpx.AsyncClient, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> NoReturn:
        raise StoreError("disk I/O error for 529.982.247-25")

    for way in ("read", "write"):
        monkeypatch.setattr(sqlite_store.database, way, fails)
    assert_problem(await api.get("/readyz"), 503, "indisponivel")
    answer = await api.get("/v1/conversations/conv-1")
    assert_problem(answer, 503, "indisponivel")
    assert answer.headers["retry-after"] == "1"
    assert (await api.get("/livez")).status_code == 200
