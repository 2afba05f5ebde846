"""What the Assistants adapter makes of every answer a server may give, and what it sends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from tests.platforms.harness import REFUSALS
from tests.platforms.openai_spec import request_problems
from tests.raw_server import Wire, listening
from worker import platforms
from worker.errors import PlatformError, PlatformGone, PlatformUnavailable, RunGone
from worker.model import Answer, RunRef, RunSnapshot, RunStatus, ToolCall
from worker.personal import Personal
from worker.platforms.assistants import AssistantsPlatform
from worker.settings import Settings

REF = RunRef("run_1", "thread_1")
SECRET = "Maria da Silva, CPF 529.982.247-25"
ANSWERS = [Answer("call_1", Personal('{"success": true, "protocolo": "Nº 1"}'), success=True)]
NOW_S = 1795348800
NOW = formatdate(NOW_S, usegmt=True)


def run(status: object, **fields: object) -> dict[str, object]:
    return {
        "id": "run_1",
        "object": "thread.run",
        "thread_id": "thread_1",
        "assistant_id": "asst_1",
        "status": status,
        "required_action": None,
        **fields,
    }


def function(call_id: object = "call_1", name: object = "abrir_ticket_crm", arguments: object = "{}") -> Any:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def action(*calls: object) -> dict[str, object]:
    return {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": list(calls)}}


def waiting(*calls: object) -> dict[str, object]:
    return run("requires_action", required_action=action(*calls))


# One loop and adapter for all tests of this file: each adapter reads the machine's trust store anew.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(server: Wire) -> AsyncIterator[AssistantsPlatform]:
    adapter = AssistantsPlatform(api_key="key", base_url=server.url)
    yield adapter
    await adapter.aclose()


async def look_at(platform: AssistantsPlatform, wire: Wire, body: object, **headers: str) -> RunSnapshot:
    wire.says(body, **headers)
    return await platform.inspect(REF)


# ---------------------------------------------------------------------------------------- what a look sees


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelling", "um_status_de_2027"])
async def test_a_run_at_work_or_in_a_status_nobody_knows_is_working(
    platform: AssistantsPlatform, wire: Wire, status: str
) -> None:
    look = await look_at(platform, wire, run(status))
    assert (look.status, look.platform_status, look.calls) == (RunStatus.WORKING, status, ())


@pytest.mark.parametrize(
    ("status", "run_status", "reason"),
    [
        ("completed", RunStatus.ENDED, "concluida"),
        ("failed", RunStatus.ENDED, "falhou"),
        ("incomplete", RunStatus.ENDED, "incompleta"),
        ("cancelled", RunStatus.LOST, "cancelada"),
        ("expired", RunStatus.LOST, "expirada"),
    ],
)
async def test_an_end_has_a_reason_even_where_the_server_left_the_action_filled(
    platform: AssistantsPlatform, wire: Wire, status: str, run_status: RunStatus, reason: str
) -> None:
    look = await look_at(platform, wire, run(status, required_action=action(function())))
    assert look == RunSnapshot(run_status, status, reason=reason)


async def test_the_calls_come_in_order_with_their_arguments_unread(
    platform: AssistantsPlatform, wire: Wire
) -> None:
    look = await look_at(
        platform, wire, waiting(function("a", "abrir_ticket_crm", '{"resumo": '), function("b", "outra", ""))
    )
    assert look.status is RunStatus.REQUIRES_ACTION
    assert look.calls == (
        ToolCall("a", "abrir_ticket_crm", Personal('{"resumo": ')),
        ToolCall("b", "outra", Personal("")),
    )


async def test_a_call_id_listed_twice_is_one_call(platform: AssistantsPlatform, wire: Wire) -> None:
    look = await look_at(platform, wire, waiting(function("a"), function("b"), function("a")))
    assert [call.platform_call_id for call in look.calls] == ["a", "b"]


@pytest.mark.parametrize(
    "required_action",
    [
        None,
        {},
        action(),
        {"type": "submit_tool_approval", "submit_tool_approval": {"tool_calls": [function()]}},
        action({"id": "call_2", "type": "code_interpreter"}),
        action(function(), {"id": "call_2", "type": "code_interpreter"}),
    ],
)
async def test_an_action_that_is_not_ours_is_left_alone_and_looked_at_later(
    platform: AssistantsPlatform, wire: Wire, required_action: object
) -> None:
    look = await look_at(platform, wire, run("requires_action", required_action=required_action))
    assert (look.status, look.platform_status, look.calls) == (RunStatus.WORKING, "requires_action", ())


@pytest.mark.parametrize("status", ["requires_action", "completed", "queued"])
async def test_a_run_of_another_thread_is_lost_before_anything_is_answered(
    platform: AssistantsPlatform, wire: Wire, status: str
) -> None:
    body = run(status, thread_id="thread_2", required_action=action(function()))
    assert await look_at(platform, wire, body) == RunSnapshot(RunStatus.LOST, status, reason="isolamento")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        b"\xff\xfe\xfa",
        b'{"status": "queued"',
        b"[" * 100_000,
        b'{"expires_at": ' + b"1" * 5000 + b"}",
        [run("queued")],
        "queued",
        None,
        {},
        run(""),
        {"status": "queued"},
        {"thread_id": "thread_1"},
        run("queued", thread_id=None),
        run(["queued"]),
        run("queued\nINFO forged"),
        run("requires_action", required_action="submit_tool_outputs"),
        run("requires_action", required_action=["submit_tool_outputs"]),
        run("requires_action", required_action={"type": "submit_tool_outputs"}),
        run("requires_action", required_action={"type": 7}),
        run("requires_action", required_action={"submit_tool_outputs": {"tool_calls": [function()]}}),
    ],
)
async def test_an_answer_that_cannot_be_read_is_looked_at_later(
    platform: AssistantsPlatform, wire: Wire, body: object
) -> None:
    wire.says(body)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.inspect(REF)
    assert caught.value.status == 200


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        (function(arguments={"setor": "SUPORTE"}), ("call_1", "abrir_ticket_crm", '{"setor": "SUPORTE"}')),
        (function(arguments=None), ("call_1", "abrir_ticket_crm", "null")),
        ({"id": "call_1", "function": {"name": "abrir_ticket_crm"}}, ("call_1", "abrir_ticket_crm", "null")),
        ({"id": "call_1", "type": None, "function": {"name": "a", "arguments": "{}"}}, ("call_1", "a", "{}")),
        ({"id": "call_1", "type": "function", "function": None}, ("call_1", "", "null")),
        (function(name=None), ("call_1", "", "{}")),
        (function(name=""), ("call_1", "", "{}")),
        (function(name="abrir\nticket"), ("call_1", "abrir\nticket", "{}")),
        (function(name="abrir\u200b"), ("call_1", "abrir\u200b", "{}")),
        (function(call_id=""), ("", "abrir_ticket_crm", "{}")),
        (function(call_id="call 1"), ("call 1", "abrir_ticket_crm", "{}")),
        (function(call_id="c" * 300), ("c" * 300, "abrir_ticket_crm", "{}")),
    ],
)
async def test_an_odd_call_is_answered_beside_a_good_one(
    platform: AssistantsPlatform, wire: Wire, odd: dict[str, object], expected: tuple[str, str, str]
) -> None:
    look = await look_at(platform, wire, waiting(odd, function("call_2")))
    assert (look.status, look.unanswerable) == (RunStatus.REQUIRES_ACTION, 0)
    read = [(call.platform_call_id, call.tool, call.arguments.reveal()) for call in look.calls]
    assert read == [expected, ("call_2", "abrir_ticket_crm", "{}")]


@pytest.mark.parametrize(
    "nameless",
    [
        "call_1",
        {"type": "function"},
        function(call_id=None),
        function(call_id=7),
        function(call_id="a\x00b"),
        function(call_id="a\ud800"),
    ],
)
async def test_a_call_without_an_id_to_send_back_keeps_no_other_from_being_answered(
    platform: AssistantsPlatform, wire: Wire, nameless: object
) -> None:
    look = await look_at(platform, wire, waiting(nameless, function("call_2")))
    assert ([call.platform_call_id for call in look.calls], look.unanswerable) == (["call_2"], 1)
    wire.forget()
    alone = await look_at(platform, wire, waiting(nameless))
    assert (alone.status, alone.calls, alone.unanswerable) == (RunStatus.WORKING, (), 1)


async def test_two_calls_of_one_id_are_one_only_if_their_content_is_the_same(
    platform: AssistantsPlatform, wire: Wire
) -> None:
    first, same = function(arguments='{"a": 1, "b": 2}'), function(arguments='{"b":2,"a":1}')
    other, third = function(arguments='{"a": 2}'), function(name="outra", arguments='{"a": 1, "b": 2}')
    look = await look_at(platform, wire, waiting(first, same, other, third))
    assert len(look.calls) == 3
    assert len({call.identity for call in look.calls}) == 3


# ---------------------------------------------------------------------------------------------- the clocks


@pytest.mark.parametrize("date", [NOW, "Sun, 22 Nov 2026 12:00:00", "Sun, 22 Nov 2026 09:00:00 -0300"])
@pytest.mark.parametrize("expires_at", [NOW_S + 90, NOW_S + 90.5, str(NOW_S + 90)])
async def test_expiry_is_judged_by_the_platforms_own_clock(
    platform: AssistantsPlatform, wire: Wire, monkeypatch: pytest.MonkeyPatch, date: str, expires_at: float
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    look = await look_at(platform, wire, run("queued", expires_at=expires_at), date=date)
    monkeypatch.undo()
    time.tzset()
    assert look.expires_in_s == float(expires_at) - NOW_S


@pytest.mark.parametrize("headers", [{}, {"date": "ontem"}, {"date": "Sun, 99 Nov 2026 12:00:00 GMT"}])
async def test_without_a_readable_date_our_own_clock_judges_expiry(
    platform: AssistantsPlatform, wire: Wire, headers: dict[str, str]
) -> None:
    before = time.time()
    look = await look_at(platform, wire, run("queued", expires_at=before + 600), **headers)
    assert look.expires_in_s is not None
    assert 600 - (time.time() - before) <= look.expires_in_s <= 600


@pytest.mark.parametrize("expires_at", [None, "logo", [], float("nan"), float("inf"), 10**400])
async def test_an_expiry_that_is_no_time_is_no_expiry(
    platform: AssistantsPlatform, wire: Wire, expires_at: object
) -> None:
    assert (await look_at(platform, wire, run("queued", expires_at=expires_at))).expires_in_s is None


@pytest.mark.parametrize(
    ("hint", "seconds"), [("1500", 1.5), ("-3", 0.0), ("logo", None), ("inf", None), ("0.5", 0.0005)]
)
async def test_the_platforms_poll_hint_is_in_seconds(
    platform: AssistantsPlatform, wire: Wire, hint: str, seconds: float | None
) -> None:
    look = await look_at(platform, wire, run("in_progress"), openai_poll_after_ms=hint)
    assert look.poll_after_s == seconds


# --------------------------------------------------------------------------------------------- what failed


@pytest.mark.parametrize(("status", "error"), REFUSALS)
@pytest.mark.parametrize("operation", ["inspect", "submit"])
async def test_each_refusal_says_who_can_fix_it_and_is_not_repeated(
    platform: AssistantsPlatform, wire: Wire, status: int, error: type[PlatformError], operation: str
) -> None:
    wire.says({"error": {"message": SECRET, "code": "some_code"}}, status, location=f"{wire.url}/outro")
    with pytest.raises(PlatformError) as caught:
        await (platform.inspect(REF) if operation == "inspect" else platform.submit(REF, ANSWERS))
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.code) == (status, "some_code")
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": SECRET, "code": SECRET, "param": SECRET}},
        {"error": SECRET},
        [SECRET],
        SECRET.encode(),
    ],
)
async def test_what_the_platform_says_in_an_error_is_not_kept(
    platform: AssistantsPlatform, wire: Wire, body: object
) -> None:
    wire.says(body, 500, content_type="text/plain")
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.inspect(REF)
    assert caught.value.code is None
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert "Maria" not in repr(vars(caught.value)) + str(caught.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "300"}, 300.0),
        ({"retry_after": "7", "retry_after_ms": "250"}, 0.25),
        ({"retry_after": "Sun, 22 Nov 2026 12:00:30 GMT", "date": NOW}, 30.0),
        ({"retry_after": "Sun, 22 Nov 2026 11:00:00 GMT", "date": NOW}, 0.0),
        ({"retry_after": "-1"}, 0.0),
        ({"retry_after": "logo"}, None),
        ({}, None),
    ],
)
async def test_the_platform_may_ask_for_patience(
    platform: AssistantsPlatform, wire: Wire, headers: dict[str, str], seconds: float | None
) -> None:
    wire.says({}, 429, **headers)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.inspect(REF)
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 400 X\r\ncontent-type: text/plain; charset=hex\r\ncontent-length: 2\r\n\r\nzz",
    ],
)
@pytest.mark.parametrize("operation", ["inspect", "submit"])
async def test_a_connection_that_breaks_off_or_talks_nonsense_is_no_answer(
    platform: AssistantsPlatform, wire: Wire, reply: bytes, operation: str
) -> None:
    wire.says_bytes(reply)
    with pytest.raises(PlatformUnavailable):
        await (platform.inspect(REF) if operation == "inspect" else platform.submit(REF, ANSWERS))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Abri seu chamado.", "Abri seu chamado."),
        ([{"type": "text", "text": "Abri seu chamado."}], "Abri seu chamado."),
        (["Abri", {"type": "text"}, {"type": "text", "text": {"value": "Pronto."}}], "Pronto."),
        (5, None),
        (None, None),
    ],
)
async def test_a_reply_is_read_whatever_the_form_of_its_content(
    platform: AssistantsPlatform, wire: Wire, content: object, text: str | None
) -> None:
    wire.says({"data": [{"role": "assistant", "content": content}]})
    assert (await platform.reply(REF)).text == text


async def test_nobody_listening_is_no_answer() -> None:
    async with listening() as wire:
        url = wire.url
    platform = AssistantsPlatform(api_key="key", base_url=url)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.inspect(REF)
    await platform.aclose()
    assert caught.value.status is None


async def test_the_time_limit_is_for_the_whole_answer(wire: Wire) -> None:
    platform = AssistantsPlatform(api_key="key", base_url=wire.url, timeout_s=0.2)
    wire.never_ends()
    async with asyncio.timeout(30):
        with pytest.raises(PlatformUnavailable):
            await platform.inspect(REF)
    await platform.aclose()


async def test_a_cancelled_look_stays_cancelled(platform: AssistantsPlatform, wire: Wire) -> None:
    wire.never_ends()
    task = asyncio.create_task(platform.inspect(REF))
    await wire.got_one.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("ref", [RunRef("run_1", None), RunRef("..", "thread_1"), RunRef("run_1", ".")])
async def test_an_id_no_server_can_have_is_gone_without_asking(
    platform: AssistantsPlatform, wire: Wire, ref: RunRef
) -> None:
    for asked in (platform.inspect(ref), platform.submit(ref, ANSWERS)):
        with pytest.raises(RunGone):
            await asked
    assert not wire.requests


# ------------------------------------------------------------------------------------------------ submitting


async def test_all_outputs_travel_in_one_request_as_they_are(
    platform: AssistantsPlatform, wire: Wire
) -> None:
    wire.says(run("queued"))
    await platform.submit(REF, [*ANSWERS, Answer("call_2", Personal("{}"), success=False)])
    (request,) = wire.requests
    assert (request.method, request.path) == ("POST", "/threads/thread_1/runs/run_1/submit_tool_outputs")
    assert request.json == {
        "tool_outputs": [
            {"tool_call_id": "call_1", "output": '{"success": true, "protocolo": "Nº 1"}'},
            {"tool_call_id": "call_2", "output": "{}"},
        ]
    }


@pytest.mark.parametrize(
    "message",
    [
        'Runs in status "queued" do not accept tool outputs.',
        "Expected tool outputs for call_ids ['call_a', 'call_b'], got ['call_a']",
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
async def test_a_submit_the_run_no_longer_wants_is_looked_at_again_not_refused(
    platform: AssistantsPlatform, wire: Wire, message: str, *, as_text: bool
) -> None:
    wire.says(message.encode() if as_text else {"error": {"message": message}}, 400)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.submit(REF, ANSWERS)
    assert caught.value.status == 400


@pytest.mark.parametrize("body", [b"", b"<html>login</html>", [1]])
async def test_a_submit_is_accepted_only_by_an_answer_that_can_be_read(
    platform: AssistantsPlatform, wire: Wire, body: object
) -> None:
    wire.says(body)
    with pytest.raises(PlatformUnavailable):
        await platform.submit(REF, ANSWERS)


# ------------------------------------------------------------------------------------------------- discovery


def listed(*runs: object) -> dict[str, object]:
    return {"object": "list", "data": list(runs), "has_more": False}


async def test_discovery_asks_for_the_newest_run_only(platform: AssistantsPlatform, wire: Wire) -> None:
    wire.says(listed(run("requires_action"), run("completed", id="run_0")))
    assert await platform.discover("thread_1") == REF
    assert (wire.requests[0].path, wire.requests[0].query) == (
        "/threads/thread_1/runs",
        {"limit": "1", "order": "desc"},
    )


@pytest.mark.parametrize(
    "body",
    [
        listed(),
        listed(run("completed")),
        listed(run("expired")),
        listed(run("queued", thread_id="thread_2")),
        listed(run("queued", assistant_id="asst_9")),
        listed(run("queued", assistant_id=["asst_1"])),
    ],
)
async def test_discovery_leaves_alone_what_has_ended_or_is_not_ours(wire: Wire, body: object) -> None:
    platform = AssistantsPlatform(api_key="key", base_url=wire.url, assistant_ids=["asst_1", "asst_2"])
    wire.says(body)
    assert await platform.discover("thread_1") is None
    await platform.aclose()


async def test_discovery_finds_the_runs_of_a_configured_assistant(wire: Wire) -> None:
    platform = AssistantsPlatform(api_key="key", base_url=wire.url, assistant_ids=["asst_1"])
    wire.says(listed(run("in_progress")))
    assert await platform.discover("thread_1") == REF
    await platform.aclose()


@pytest.mark.parametrize(("assistant", "served"), [("asst_1", True), ("asst_2", True), ("asst_9", False)])
async def test_discovery_serves_the_assistants_of_assistant_ids_beside_the_named_ones(
    wire: Wire, assistant: str, served: bool
) -> None:
    settings = Settings(
        PLATFORM="assistants",
        OPENAI_API_KEY="key",
        OPENAI_BASE_URL=wire.url,
        SUPORTE_ASSISTANT_ID="asst_2",
        ASSISTANT_IDS="COMERCIAL=asst_1",
    )
    platform = platforms.connect(settings)
    wire.says(listed(run("in_progress", assistant_id=assistant)))
    assert await platform.discover("thread_1") == (REF if served else None)
    await platform.aclose()


async def test_a_thread_the_platform_does_not_know_has_no_run(
    platform: AssistantsPlatform, wire: Wire
) -> None:
    wire.says({}, 404)
    assert await platform.discover("thread_1") is None


@pytest.mark.parametrize(
    "body",
    [b"<html>", {}, {"data": {}}, listed(None), listed({"id": 7}), listed(run("queued", id="a\x00b"))],
)
async def test_a_list_that_cannot_be_read_is_no_answer(
    platform: AssistantsPlatform, wire: Wire, body: object
) -> None:
    wire.says(body)
    with pytest.raises(PlatformUnavailable):
        await platform.discover("thread_1")


NAMING = {"id": "thread_1", "metadata": {"ticket_worker_conversation": "c1"}}


@pytest_asyncio.fixture(loop_scope="module")
async def foundry(wire: Wire) -> AsyncIterator[AssistantsPlatform]:
    platform = AssistantsPlatform(api_key="key", base_url=wire.url, api_version="v1")
    yield platform
    await platform.aclose()


async def test_foundry_lists_threads_and_those_that_name_a_conversation_count(
    foundry: AssistantsPlatform, wire: Wire
) -> None:
    others = [
        {**NAMING, "id": ".."},
        {**NAMING, "id": 7},
        {**NAMING, "metadata": None},
        {**NAMING, "metadata": {"ticket_worker_conversation": "a b"}},
        {"id": "thread_2", "metadata": {"conversation": "c1"}},
    ]
    wire.says(listed(*others, NAMING))
    assert await foundry.listed() == [("c1", "thread_1")]
    (asked,) = wire.requests
    assert (asked.method, asked.path) == ("GET", "/threads")
    assert asked.query == {"limit": "100", "order": "desc", "api-version": "v1"}


async def test_where_there_is_no_foundry_nobody_is_asked_for_threads(
    platform: AssistantsPlatform, wire: Wire
) -> None:
    assert await platform.listed() == ()
    assert not wire.requests


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (405, 1), (403, 2), (500, 2)])
async def test_a_server_that_does_not_list_threads_is_asked_once(
    foundry: AssistantsPlatform, wire: Wire, status: int, asked: int
) -> None:
    wire.says({}, status)
    with pytest.raises(PlatformError):
        await foundry.listed()
    with suppress(PlatformError):
        await foundry.listed()
    assert len(wire.requests) == asked


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": ["x"]}])
async def test_threads_that_cannot_be_read_are_no_answer(
    foundry: AssistantsPlatform, wire: Wire, body: object
) -> None:
    wire.says(body)
    with pytest.raises(PlatformUnavailable):
        await foundry.listed()


# --------------------------------------------------------------------------------------------- probing


async def probed(wire: Wire, base_url: str | None = None, *ids: str) -> list[str]:
    platform = AssistantsPlatform(api_key="key", base_url=base_url or wire.url, assistant_ids=ids)
    try:
        return list(await platform.probe())
    finally:
        await platform.aclose()


async def test_a_platform_that_serves_the_configured_assistants_gives_no_warning(wire: Wire) -> None:
    wire.says({"id": "asst"})
    assert await probed(wire, None, "asst_1", "asst/2", "asst_1") == []
    assert sorted(request.path for request in wire.requests) == ["/assistants/asst%2F2", "/assistants/asst_1"]
    assert {request.headers["openai-beta"] for request in wire.requests} == {"assistants=v2"}


async def test_without_configured_assistants_the_list_is_asked_for(wire: Wire) -> None:
    wire.says(listed())
    assert await probed(wire) == []
    assert [(request.path, request.query) for request in wire.requests] == [("/assistants", {"limit": "1"})]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {}, ["HTTP 401", "OPENAI_API_KEY"]),
        (403, {}, ["HTTP 403", "OPENAI_API_KEY"]),
        (404, {}, ["HTTP 404", "OPENAI_BASE_URL"]),
        (405, {}, ["HTTP 405", "OPENAI_BASE_URL"]),
        (400, {}, ["HTTP 400", "OPENAI_API_VERSION"]),
        (503, {}, ["HTTP 503"]),
        (200, b"<html>", ["não deu resposta legível", "OPENAI_BASE_URL"]),
    ],
)
async def test_a_doubtful_platform_is_named_and_the_worker_starts(
    wire: Wire, status: int, body: object, words: list[str]
) -> None:
    wire.says(body, status)
    (warning,) = await probed(wire, None, "asst_1")
    assert all(word in warning for word in [*words, "127.0.0.1/assistants/asst_1"])


async def test_a_platform_that_does_not_answer_is_a_warning() -> None:
    async with listening() as wire:
        pass
    (warning,) = await probed(wire)
    assert "não deu resposta" in warning


@pytest.fixture
def at_openai(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> str:
    """OpenAI's host without the internet: the wire is the proxy through which it is reached."""
    monkeypatch.setenv("HTTP_PROXY", wire.url)
    monkeypatch.setenv("HTTPS_PROXY", wire.url)
    monkeypatch.setenv("NO_PROXY", "")
    return "http://api.openai.com/v1"


@pytest.mark.parametrize("ids", [[], ["asst_1"]])
async def test_a_404_from_openai_means_this_protocol_is_gone_there(
    wire: Wire, at_openai: str, ids: list[str]
) -> None:
    wire.says({}, 404)
    with pytest.raises(PlatformGone):
        await probed(wire, at_openai, *ids)


async def test_a_regional_host_of_openai_is_openai(wire: Wire, at_openai: str) -> None:
    wire.says({}, 404)
    with pytest.raises(PlatformGone):
        await probed(wire, at_openai.replace("api.", "eu.api."))


async def test_a_host_that_only_looks_like_openai_is_another(wire: Wire, at_openai: str) -> None:
    wire.says({}, 404)
    assert len(await probed(wire, at_openai.replace("api.", "notapi."))) == 1


async def test_without_a_base_url_openai_itself_is_meant(
    wire: Wire, at_openai: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    wire.says({}, 403)
    platform = AssistantsPlatform(api_key="key")
    (warning,) = await platform.probe()
    await platform.aclose()
    assert "api.openai.com" in warning
    assert wire.requests[0].target == "api.openai.com:443"


# ------------------------------------------------------------------------------------------ what is sent


async def every_request(platform: AssistantsPlatform, wire: Wire) -> None:
    wire.says({**run("queued"), **listed()})  # an answer to all of them
    await platform.inspect(REF)
    await platform.submit(REF, ANSWERS)
    await platform.discover("thread_1")
    await platform.probe()
    await platform.listed()  # Foundry's own request: others are not asked
    assert len({(request.method, request.path) for request in wire.requests}) == len(wire.requests) >= 4


async def test_every_request_carries_the_key_the_beta_header_and_the_api_version(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin")
    platform = AssistantsPlatform(api_key="key", base_url=f"{wire.url}/api/projects/p/", api_version="v1")
    await every_request(platform, wire)
    await platform.aclose()
    for request in wire.requests:
        assert request.path.startswith("/api/projects/p/")
        assert request.query["api-version"] == "v1"
        assert request.headers["authorization"] == "Bearer key"
        assert request.headers["openai-beta"] == "assistants=v2"


async def test_organisation_and_project_are_told_to_openai_only(
    wire: Wire, at_openai: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org_1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_1")
    seen = {}
    for url in ("http://foundry.example/api", at_openai):
        wire.forget()
        platform = AssistantsPlatform(api_key="key", base_url=url)
        await every_request(platform, wire)
        await platform.aclose()
        names = ("openai-organization", "openai-project")
        seen[url] = {tuple(request.headers.get(name) for name in names) for request in wire.requests}
    assert seen == {"http://foundry.example/api": {(None, None)}, at_openai: {("org_1", "proj_1")}}


@pytest.mark.parametrize("run_id", ["a/b", "a?b#c", "%2e%2e", "a%2Fb", "7f3e;x=1", '"<>\\^`{|}', "~a+b&c=d"])
async def test_any_visible_id_arrives_as_it_is(platform: AssistantsPlatform, wire: Wire, run_id: str) -> None:
    wire.says(run("queued"))
    await platform.inspect(RunRef(run_id, "thread_1"))
    (request,) = wire.requests
    assert unquote(request.target.removeprefix("/threads/thread_1/runs/")) == run_id
    assert request.target.count("/") == 4


async def test_every_request_is_the_sdks_own(platform: AssistantsPlatform, wire: Wire) -> None:
    await every_request(platform, wire)
    ours = [*wire.requests]
    outputs: Any = ours[1].json
    async with AsyncOpenAI(api_key="key", base_url=wire.url) as sdk:
        runs = sdk.beta.threads.runs
        await runs.retrieve(REF.run_id, thread_id="thread_1")
        await runs.submit_tool_outputs(REF.run_id, thread_id="thread_1", **outputs)
        await runs.list("thread_1", limit=1, order="desc")
        with pytest.warns(DeprecationWarning, match="deprecated"):
            await sdk.beta.assistants.list(limit=1)
    names = ("authorization", "content-type", "openai-beta")
    for mine, theirs in zip(ours, wire.requests[len(ours) :], strict=True):
        assert (mine.method, mine.target) == (theirs.method, theirs.target)
        assert [mine.headers.get(name) for name in names] == [theirs.headers.get(name) for name in names]


async def test_openais_description_has_nothing_against_our_requests(
    platform: AssistantsPlatform, wire: Wire
) -> None:
    await every_request(platform, wire)
    await probed(wire, None, "asst_1")
    assert request_problems(wire.requests) == []


async def test_a_run_known_by_its_id_only_has_no_thread_to_tell(platform: AssistantsPlatform) -> None:
    assert await platform.thread_of("run_1") is None


@pytest.mark.parametrize("page", [b"<html>Not Found</html>", b"", b'"not found"', b"[]"])
async def test_a_404_that_is_no_json_error_says_nothing_about_the_run(
    platform: AssistantsPlatform, wire: Wire, page: bytes
) -> None:
    wire.says(page, 404)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.inspect(REF)
    assert caught.value.status == 404


@pytest.mark.parametrize("expires_at", [0, -1, NOW_S - 1, "0"])
async def test_a_time_in_the_past_is_no_time_for_a_run_at_work(
    platform: AssistantsPlatform, wire: Wire, expires_at: object
) -> None:
    body = run("requires_action", required_action=action(function()), expires_at=expires_at)
    look = await look_at(platform, wire, body, date=NOW)
    assert (look.status, look.expires_in_s) == (RunStatus.REQUIRES_ACTION, None)
