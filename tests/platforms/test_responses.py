"""What the Responses adapter makes of every answer a server may give, and what it sends."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter, ValidationError

from tests.platforms.harness import REFUSALS
from tests.raw_server import Exchange, Wire
from worker.errors import PlatformError, PlatformRefused, PlatformUnavailable, RunGone
from worker.model import Answer, RunRef, RunSnapshot, RunStatus, ThreadRule, ToolCall
from worker.personal import Personal
from worker.platforms.responses import ResponsesPlatform
from worker.simulator.assistants.runs import Timings
from worker.simulator.clock import Clock
from worker.simulator.responses.app import ResponsesSimulator
from worker.simulator.script import Call, FunctionCalls, Move, Reply, Rounds
from worker.simulator.server import serve

Json = dict[str, Any]

REF = RunRef("resp_1", None)
IN_CONVERSATION = RunRef("resp_1", "conv_1")
SECRET = "Maria da Silva, CPF 529.982.247-25"
ANSWERS = [Answer("call_1", Personal('{"success": true, "protocolo": "Nº 1"}'), success=True)]
OUTPUTS = [{"type": "function_call_output", "call_id": "call_1", "output": ANSWERS[0].output.reveal()}]

TOOL = {
    "type": "function",
    "name": "abrir_ticket_crm",
    "description": None,
    "parameters": {"type": "object", "properties": {"x": {"enum": ["a", None]}}, "default": None},
    "strict": True,
}
"""As the platform shows it."""

SHOWN: Json = {
    "model": "gpt-4o-2024-11-20",
    "instructions": "Atenda bem.",
    "tools": [TOOL],
    "tool_choice": {"type": "function", "name": "abrir_ticket_crm"},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None, "generate_summary": "auto"},
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "temperature": 0.4,
    "top_p": 0.9,
    "max_output_tokens": 500,
    "truncation": "disabled",
    "service_tier": "default",
    "metadata": {"canal": "whatsapp"},
    "prompt_cache_key": "chave",
    "safety_identifier": "cliente-1",
}


def response(status: object = "completed", *output: object, **fields: object) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "status": status,
        "output": list(output),
        "conversation": None,
        "previous_response_id": None,
        "store": True,
        "top_logprobs": 0,
        "user": None,
        **SHOWN,
        **fields,
    }


def function(call_id: object = "call_1", arguments: object = "{}", **fields: object) -> Json:
    item = {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": call_id}
    return {**item, "name": "abrir_ticket_crm", "arguments": arguments, **fields}


# One loop and adapter for all tests of this file: each adapter reads the machine's trust store anew.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def adapter(server: Wire) -> AsyncIterator[ResponsesPlatform]:
    adapter = ResponsesPlatform(api_key="key", base_url=server.url)
    yield adapter
    await adapter.aclose()


@pytest.fixture
def platform(adapter: ResponsesPlatform) -> ResponsesPlatform:
    adapter._awaiting_answers.clear()
    adapter._unconfirmed.clear()  # all tests are about one response: what one of them did to it is forgotten
    return adapter


async def look_at(platform: ResponsesPlatform, wire: Wire, body: object, ref: RunRef = REF) -> RunSnapshot:
    wire.forget()
    wire.says(body)
    return await platform.inspect(ref)


@pytest.mark.parametrize(("content", "text"), [("Pronto.", "Pronto."), (5, None), (["Pronto."], None)])
async def test_a_response_whose_message_has_an_odd_content_has_ended_all_the_same(
    platform: ResponsesPlatform, wire: Wire, content: object, text: str | None
) -> None:
    message = {"type": "message", "role": "assistant", "content": content}
    snapshot = await look_at(platform, wire, response("completed", message))
    assert snapshot.status is RunStatus.ENDED
    assert (snapshot.reply and snapshot.reply.reveal()) == text


@pytest.mark.parametrize("response_id", ["resp_2", None, 1])
async def test_another_response_than_the_one_asked_for_is_no_answer(
    platform: ResponsesPlatform, wire: Wire, response_id: object
) -> None:
    with pytest.raises(PlatformUnavailable):
        await look_at(platform, wire, response("completed", id=response_id))


async def test_the_loop_is_told_how_such_runs_are_driven(platform: ResponsesPlatform) -> None:
    traits = platform.traits
    assert (platform.name, traits.thread, traits.new_run_per_round, traits.one_by_one, traits.life_s) == (
        "responses",
        ThreadRule.OPTIONAL,
        True,
        False,
        3600.0,
    )


# ---------------------------------------------------------------------------------------- what a look sees


@pytest.mark.parametrize("status", ["queued", "in_progress", "um_status_de_2027"])
async def test_a_response_at_work_or_in_a_status_nobody_knows_is_working(
    platform: ResponsesPlatform, wire: Wire, status: str
) -> None:
    assert await look_at(platform, wire, response(status, function())) == RunSnapshot(
        RunStatus.WORKING, status
    )


@pytest.mark.parametrize(
    ("status", "run_status", "reason"),
    [
        ("completed", RunStatus.ENDED, "concluida"),
        ("failed", RunStatus.ENDED, "falhou"),
        ("incomplete", RunStatus.ENDED, "incompleta"),
        ("cancelled", RunStatus.LOST, "cancelada"),
    ],
)
async def test_an_end_has_a_reason_and_calls_of_an_unfinished_response_are_not_executed(
    platform: ResponsesPlatform, wire: Wire, status: str, run_status: RunStatus, reason: str
) -> None:
    output = {"type": "message"} if status == "completed" else function()
    assert await look_at(platform, wire, response(status, output)) == RunSnapshot(
        run_status, status, reason=reason
    )


async def test_the_calls_come_in_order_with_their_arguments_unread(
    platform: ResponsesPlatform, wire: Wire
) -> None:
    body = response(
        "completed",
        {"type": "reasoning", "id": "rs_1"},
        function("a", '{"resumo": '),
        function("b", "", status=None),
        function("a", "{}"),
    )
    look = await look_at(platform, wire, body)
    assert look.status is RunStatus.REQUIRES_ACTION
    assert look.calls == (
        ToolCall("a", "abrir_ticket_crm", Personal('{"resumo": ')),
        ToolCall("b", "abrir_ticket_crm", Personal("")),
        ToolCall("a", "abrir_ticket_crm", Personal("{}")),
    )


async def test_an_async_call_and_one_that_was_answered_are_not_waited_for(
    platform: ResponsesPlatform, wire: Wire
) -> None:
    answered = {"type": "function_call_output", "call_id": "call_2", "output": "{}"}
    body = response("completed", function("call_1", **{"async": True}), function("call_2"), answered)
    assert (await look_at(platform, wire, body)).reason == "concluida"


@pytest.mark.parametrize("status", ["incomplete", "in_progress"])
async def test_a_call_that_was_cut_off_is_not_executed(
    platform: ResponsesPlatform, wire: Wire, status: str
) -> None:
    look = await look_at(platform, wire, response("completed", function(), function("b", status=status)))
    assert (look.status, look.reason, look.calls) == (RunStatus.ENDED, "incompleta", ())


@pytest.mark.parametrize("conversation", [{"id": "conv_2"}, "conv_2"])
@pytest.mark.parametrize("status", ["completed", "queued", "failed"])
async def test_a_response_of_another_conversation_is_lost_before_anything_is_answered(
    platform: ResponsesPlatform, wire: Wire, status: str, conversation: object
) -> None:
    body = response(status, function(), conversation=conversation)
    assert await look_at(platform, wire, body, IN_CONVERSATION) == RunSnapshot(
        RunStatus.LOST, status, reason="isolamento"
    )


@pytest.mark.parametrize(
    ("conversation", "thread_id"), [({"id": "conv_1"}, "conv_1"), ({"id": "conv_1"}, None), (None, "conv_1")]
)
async def test_a_response_of_its_own_conversation_or_of_a_chain_is_ours(
    platform: ResponsesPlatform, wire: Wire, conversation: object, thread_id: str | None
) -> None:
    body = response("completed", function(), conversation=conversation)
    look = await look_at(platform, wire, body, RunRef("resp_1", thread_id))
    assert look.status is RunStatus.REQUIRES_ACTION
    assert look.thread_id == ("conv_1" if thread_id is None else None)  # whose that is, the ledger knows


MCP = {"type": "mcp", "server_label": "crm", "server_url": "https://crm.example/<redacted>", "headers": None}
POLICY = {"type": "allowlist", "allowed_domains": ["a"], "domain_secrets": [{"domain": "a", "name": "k"}]}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"store": False}, "nao_armazenada"),
        ({"tools": [TOOL, MCP]}, "credenciais_de_ferramenta"),
        (
            {
                "tools": [
                    {"type": "code_interpreter", "container": {"type": "auto", "network_policy": POLICY}}
                ]
            },
            "credenciais_de_ferramenta",
        ),
        (
            {"tools": [{"type": "shell", "environment": {"network_policy": POLICY}}]},
            "credenciais_de_ferramenta",
        ),
        ({"instructions": [{"role": "developer", "content": []}]}, "instrucoes_de_prompt"),
    ],
)
async def test_what_cannot_be_continued_is_lost_before_any_call_is_shown(
    platform: ResponsesPlatform, wire: Wire, fields: Json, reason: str
) -> None:
    look = await look_at(platform, wire, response("completed", function(), **fields))
    assert look == RunSnapshot(RunStatus.LOST, "completed", reason=reason)
    with pytest.raises(PlatformUnavailable):
        await platform.submit(REF, ANSWERS)
    assert [request.method for request in wire.requests] == ["GET", "GET"]


@pytest.mark.parametrize("fields", [{"store": False}, {"tools": [MCP]}])
async def test_what_needs_no_answer_may_be_as_it_likes(
    platform: ResponsesPlatform, wire: Wire, fields: Json
) -> None:
    assert (await look_at(platform, wire, response("completed", **fields))).reason == "concluida"
    assert (await look_at(platform, wire, response("queued", **fields))).status is RunStatus.WORKING


@pytest.mark.parametrize(
    "other",
    [
        {"type": "custom_tool_call", "call_id": "b", "name": "x", "input": ""},
        {"type": "computer_call", "call_id": "b"},
        {"type": "mcp_approval_request", "id": "mcpr_1"},
    ],
)
async def test_a_call_that_waits_for_somebody_else_too_is_lost(
    platform: ResponsesPlatform, wire: Wire, other: Json
) -> None:
    look = await look_at(platform, wire, response("completed", function(), other))
    assert (look.status, look.reason) == (RunStatus.LOST, "outra_chamada_pendente")


@pytest.mark.parametrize(
    "others",
    [
        [{"type": "web_search_call", "id": "ws_1"}],
        [{"type": "tool_search_call", "call_id": None}, {"type": "tool_search_output", "call_id": None}],
        [{"type": "shell_call", "call_id": "b"}, {"type": "shell_call_output", "call_id": "b"}],
        [{"type": 7}, {"type": None, "call_id": "c"}],
    ],
)
async def test_what_the_platform_did_itself_is_no_matter(
    platform: ResponsesPlatform, wire: Wire, others: list[Json]
) -> None:
    look = await look_at(platform, wire, response("completed", *others, function()))
    assert look.status is RunStatus.REQUIRES_ACTION
    assert (await look_at(platform, wire, response("completed", *others))).reason == "concluida"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        b'{"status": "queued"',
        b"[" * 100_000,
        [response("queued")],
        None,
        {},
        response(None),
        response(""),
        response(["queued"]),
        response("queued\nINFO forged"),
        response("queued", conversation=7),
        response("queued", conversation={"id": None}),
        response("queued", conversation={"id": ""}),
        response("queued", conversation={"id": ".."}),
        response("completed", output=None),
        response("completed", output={"type": "function_call"}),
        response("completed", "function_call"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_looked_at_later(
    platform: ResponsesPlatform, wire: Wire, body: object
) -> None:
    wire.says(body)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.inspect(REF)
    assert caught.value.status == 200


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        (function("a b"), ("a b", "abrir_ticket_crm", "{}")),
        (function("a", name=None), ("a", "", "{}")),
        (function("a", name="abrir\n"), ("a", "abrir\n", "{}")),
        (function("a", {"setor": "SUPORTE"}), ("a", "abrir_ticket_crm", '{"setor": "SUPORTE"}')),
        (function("a", None), ("a", "abrir_ticket_crm", "null")),
    ],
)
async def test_an_odd_call_is_answered_beside_a_good_one(
    platform: ResponsesPlatform, wire: Wire, odd: Json, expected: tuple[str, str, str]
) -> None:
    look = await look_at(platform, wire, response("completed", odd, function("call_2")))
    read = [(call.platform_call_id, call.tool, call.arguments.reveal()) for call in look.calls]
    assert (look.status, read) == (
        RunStatus.REQUIRES_ACTION,
        [expected, ("call_2", "abrir_ticket_crm", "{}")],
    )


@pytest.mark.parametrize("call_id", [None, ["call_1"], "a\x00b"])
async def test_a_call_without_an_id_to_send_back_keeps_no_other_from_being_answered(
    platform: ResponsesPlatform, wire: Wire, call_id: object
) -> None:
    look = await look_at(platform, wire, response("completed", function(call_id), function("call_2")))
    assert ([call.platform_call_id for call in look.calls], look.unanswerable) == (["call_2"], 1)
    alone = await look_at(platform, wire, response("completed", function(call_id)))
    assert (alone.status, alone.calls, alone.unanswerable) == (RunStatus.WORKING, (), 1)


async def test_nothing_expires_and_the_poll_hint_is_in_seconds(
    platform: ResponsesPlatform, wire: Wire
) -> None:
    wire.says(response("queued"), openai_poll_after_ms="1500")
    look = await platform.inspect(REF)
    assert (look.expires_in_s, look.poll_after_s) == (None, 1.5)


# ----------------------------------------------------------------------------------------------- submitting


async def submitted(
    platform: ResponsesPlatform, wire: Wire, *, ref: RunRef = REF, **fields: object
) -> tuple[RunRef | None, Json]:
    """What became of a submit, and the body of the request that made the new response."""
    wire.says(response("completed", function(), **fields))
    wire.says({"id": "resp_2", "status": "queued"})
    went_on = await platform.submit(ref, ANSWERS)
    looked, made = wire.requests
    assert (looked.method, looked.path) == ("GET", "/responses/resp_1")
    assert (made.method, made.path) == ("POST", "/responses")
    assert problems(made) == []
    return went_on, sent(made)


def sent(request: Exchange) -> Json:
    body = request.json
    assert isinstance(body, dict)
    return body


_CREATE: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)


def problems(request: Exchange) -> list[str]:
    """What the SDK's own type has against a request; an unknown key is one that does not come back."""
    body = sent(request)
    try:
        valid: Json = _CREATE.validate_python(body, strict=True)
        read = {name: list(value) if name == "tools" else value for name, value in valid.items()}
    except ValidationError as error:
        return [str(error)]
    return [name for name in body if read.get(name) != body[name]]


async def test_a_chain_goes_on_from_its_last_response_with_the_settings_it_had(
    platform: ResponsesPlatform, wire: Wire
) -> None:
    went_on, body = await submitted(platform, wire)
    assert went_on == RunRef("resp_2", None)
    assert body == {
        **{name: value for name, value in SHOWN.items() if name != "reasoning"},
        "tools": [{name: value for name, value in TOOL.items() if name != "description"}],
        "tool_choice": "auto",
        "background": True,
        "store": True,
        "previous_response_id": "resp_1",
        "input": OUTPUTS,
    }


async def test_a_response_is_read_once_for_its_calls_and_its_settings(
    platform: ResponsesPlatform, wire: Wire
) -> None:
    await look_at(platform, wire, response("completed", function(), **SHOWN))
    wire.says({"id": "resp_2"})
    await platform.submit(REF, ANSWERS)
    assert [request.method for request in wire.requests] == ["GET", "POST"]
    assert sent(wire.requests[-1])["temperature"] == SHOWN["temperature"]
    assert not platform._awaiting_answers


async def test_settings_of_responses_that_are_never_answered_do_not_add_up(
    platform: ResponsesPlatform, wire: Wire
) -> None:
    for number in range(300):
        wire.forget()
        wire.says(response("completed", function(), id=f"resp_{number}"))
        await platform.inspect(RunRef(f"resp_{number}", None))
    assert len(platform._awaiting_answers) == 256


async def test_a_conversation_goes_on_as_a_conversation_known_to_the_bot_or_not(
    platform: ResponsesPlatform, wire: Wire
) -> None:
    for ref in (REF, IN_CONVERSATION):
        wire.forget()
        went_on, body = await submitted(platform, wire, ref=ref, conversation={"id": "conv_1"})
        assert went_on == RunRef("resp_2", ref.thread_id)
        assert (body["conversation"], "previous_response_id" in body) == ("conv_1", False)


async def test_all_outputs_travel_in_one_request_as_they_are(platform: ResponsesPlatform, wire: Wire) -> None:
    wire.says(response("completed", function(), function("call_2")))
    wire.says({"id": "resp_2"})
    await platform.submit(REF, [*ANSWERS, Answer("call_2", Personal("{}"), success=False)])
    second = {"type": "function_call_output", "call_id": "call_2", "output": "{}"}
    assert sent(wire.requests[-1])["input"] == [*OUTPUTS, second]


@pytest.mark.parametrize(
    ("shown", "taken"),
    [
        ("none", "none"),
        ("required", "auto"),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, "auto"),
        (None, "auto"),
    ],
)
async def test_a_forced_call_is_not_forced_again(
    platform: ResponsesPlatform, wire: Wire, shown: object, taken: str
) -> None:
    _, body = await submitted(platform, wire, tool_choice=shown)
    assert body["tool_choice"] == taken


async def test_what_nobody_had_set_is_not_set(platform: ResponsesPlatform, wire: Wire) -> None:
    nothing: Json = dict.fromkeys(SHOWN)
    _, body = await submitted(platform, wire, **{**nothing, "model": "m", "tools": [], "metadata": {}})
    assert set(body) == {"model", "tool_choice", "background", "store", "previous_response_id", "input"}


SCHEMA = {"type": "object", "properties": {"a": {"type": ["string", "null"], "default": None}}}
PLACE = {"type": "approximate", "city": None, "country": "BR"}


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({"service_tier": "scale"}, {"service_tier": None}),
        ({"service_tier": "priority"}, {"service_tier": "priority"}),
        (
            {"reasoning": {"effort": "low", "summary": "auto", "generate_summary": "auto", "context": None}},
            {"reasoning": {"effort": "low", "summary": "auto"}},
        ),
        (
            {
                "text": {
                    "format": {"type": "json_schema", "name": "r", "schema": SCHEMA, "description": None},
                    "verbosity": None,
                }
            },
            {"text": {"format": {"type": "json_schema", "name": "r", "schema": SCHEMA}}},
        ),
        (
            {"tools": [{**TOOL, "parameters": None, "strict": None, "defer_loading": None}]},
            {"tools": [{"type": "function", "name": TOOL["name"], "parameters": None, "strict": None}]},
        ),
        (
            {"tools": [{"type": "web_search", "filters": None, "user_location": PLACE}]},
            {"tools": [{"type": "web_search", "user_location": {"type": "approximate", "country": "BR"}}]},
        ),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": None}}]},
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        ),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ({"temperature": 0, "top_p": 0.0}, {"temperature": 0, "top_p": 0.0}),
    ],
)
async def test_where_the_platform_shows_something_else_than_it_takes_it_is_given_what_it_takes(
    platform: ResponsesPlatform, wire: Wire, fields: Json, taken: Mapping[str, object]
) -> None:
    _, body = await submitted(platform, wire, **fields)
    assert {name: body.get(name) for name in taken} == taken


UNSUPPORTED = {"error": {"message": "Unsupported parameter: 'top_p'", "param": "top_p", "code": None}}


async def test_a_model_that_reasons_and_refuses_the_sampling_it_shows_is_asked_without(
    platform: ResponsesPlatform, wire: Wire
) -> None:
    wire.says(response("completed", function(), reasoning={"effort": "medium"}))
    wire.says(UNSUPPORTED, 400)
    wire.says({"id": "resp_2"})
    assert await platform.submit(REF, ANSWERS) == RunRef("resp_2", None)
    assert [problems(each) for each in wire.requests[1:]] == [[], []]
    first, second = map(sent, wire.requests[1:])
    assert (first.pop("temperature"), first.pop("top_p")) == (0.4, 0.9)
    assert second == first


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"reasoning": {"effort": "none"}}, 400),
        ({"reasoning": None}, 400),
        ({"reasoning": "low"}, 400),
        ({"reasoning": {"effort": "low"}, "temperature": None, "top_p": None}, 400),
        ({"reasoning": {"effort": "low"}}, 401),
    ],
)
async def test_any_other_refusal_is_the_operators(
    platform: ResponsesPlatform, wire: Wire, fields: Json, status: int
) -> None:
    wire.says(response("completed", function(), **fields))
    wire.says(UNSUPPORTED, status)
    with pytest.raises(PlatformRefused):
        await platform.submit(REF, ANSWERS)
    assert [request.method for request in wire.requests] == ["GET", "POST"]


@pytest.mark.parametrize(("headers", "seconds"), [({}, 2.0), ({"retry_after": "5"}, 5.0)])
async def test_a_locked_conversation_is_tried_again_in_a_few_seconds(
    platform: ResponsesPlatform, wire: Wire, headers: dict[str, str], seconds: float
) -> None:
    wire.says(response("completed", function(), conversation={"id": "conv_1"}))
    wire.says({"error": {"message": SECRET, "code": "conversation_locked"}}, 400, **headers)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.submit(IN_CONVERSATION, ANSWERS)
    assert (caught.value.code, caught.value.retry_after_s) == ("conversation_locked", seconds)
    assert len(wire.requests) == 2


@pytest.mark.parametrize("body", [{}, {"id": None}, {"id": "a\x00b"}, b"<html>"])
async def test_a_new_response_without_an_id_is_an_unknown_outcome(
    platform: ResponsesPlatform, wire: Wire, body: object
) -> None:
    wire.says(response("completed", function()))
    wire.says(body)
    with pytest.raises(PlatformUnavailable):
        await platform.submit(REF, ANSWERS)


@pytest.mark.parametrize("body", [response("queued"), response("completed"), response("cancelled")])
async def test_a_response_that_wants_no_answers_is_given_none(
    platform: ResponsesPlatform, wire: Wire, body: Json
) -> None:
    wire.says(body)
    with pytest.raises(PlatformUnavailable):
        await platform.submit(REF, ANSWERS)
    assert len(wire.requests) == 1


# ------------------------------------------------------------------------ a submit whose outcome is not known


def listed(*items: object, has_more: object = False) -> Json:
    return {"object": "list", "data": list(items), "has_more": has_more}


OUTPUT = {"type": "function_call_output", "call_id": "call_1"}
MESSAGE = {"type": "message", "role": "assistant"}


SPOKE = {"type": "message", "role": "user"}
IN_CONV: Json = {"conversation": {"id": "conv_1"}}


async def unsure(platform: ResponsesPlatform, wire: Wire) -> None:
    """Another process has sent the answers, and does not know what became of them."""
    wire.says(response("completed", function(), **IN_CONV))
    with pytest.raises(PlatformUnavailable):
        await platform.submit(IN_CONVERSATION, ANSWERS, again=True)
    assert [request.method for request in wire.requests] == ["GET"]
    wire.forget()
    wire.says(response("completed", function(), **IN_CONV))


@pytest.mark.parametrize(
    "items",
    [
        listed(OUTPUT, function()),
        listed(MESSAGE, OUTPUT, function()),
        listed(MESSAGE, has_more=True),
        listed(function("call_9"), SPOKE, MESSAGE, OUTPUT, function()),
        listed(function("call_9", status="incomplete"), OUTPUT, function()),
    ],
)
async def test_answers_that_the_conversation_has_are_not_sent_again(
    platform: ResponsesPlatform, wire: Wire, items: Json
) -> None:
    await unsure(platform, wire)
    wire.says(items)
    assert await platform.inspect(IN_CONVERSATION) == RunSnapshot(
        RunStatus.ENDED, "completed", reason="continuacao_desconhecida"
    )
    _, asked = wire.requests
    assert (asked.method, asked.path) == ("GET", "/conversations/conv_1/items")
    assert asked.query == {"limit": "100", "order": "desc"}


@pytest.mark.parametrize("items", [listed(function()), listed(MESSAGE, function(), OUTPUT), listed(MESSAGE)])
async def test_answers_that_the_conversation_lacks_are_sent_again(
    platform: ResponsesPlatform, wire: Wire, items: Json
) -> None:
    await unsure(platform, wire)
    wire.says(items)
    assert (await platform.inspect(REF)).status is RunStatus.REQUIRES_ACTION
    wire.forget()
    wire.says({"id": "resp_2"})
    assert await platform.submit(REF, ANSWERS, again=True) == RunRef("resp_2", None)
    assert sent(wire.requests[-1])["input"] == OUTPUTS


async def test_what_the_conversation_shows_to_be_asked_since_is_asked_of_the_run_that_is_known(
    platform: ResponsesPlatform, wire: Wire
) -> None:
    await unsure(platform, wire)
    wire.says(listed(function("call_9"), OUTPUT, function()))
    look = await platform.inspect(IN_CONVERSATION)
    assert (look.status, [call.platform_call_id for call in look.calls]) == (
        RunStatus.REQUIRES_ACTION,
        ["call_9"],
    )
    waiting = {"type": "mcp_approval_request", "id": "mcpr_1"}
    wire.forget()
    wire.says(response("completed", function(), **IN_CONV))
    wire.says(listed(waiting, function("call_9"), OUTPUT, function()))
    assert (await platform.inspect(IN_CONVERSATION)).reason == "outra_chamada_pendente"


async def test_what_was_asked_since_is_asked_in_the_thread_that_the_platform_names(
    platform: ResponsesPlatform, wire: Wire
) -> None:
    await unsure(platform, wire)
    wire.says(listed(function("call_9"), OUTPUT, function()))
    assert (await platform.inspect(REF)).thread_id == "conv_1"


async def test_a_conversation_that_is_gone_is_the_operators(platform: ResponsesPlatform, wire: Wire) -> None:
    await unsure(platform, wire)
    wire.says({"error": {"message": SECRET}}, 404)
    with pytest.raises(PlatformRefused):
        await platform.inspect(IN_CONVERSATION)


@pytest.mark.parametrize("items", [{}, {"data": {}}, {"data": ["x"]}, b"<html>"])
async def test_items_that_cannot_be_read_are_read_later(
    platform: ResponsesPlatform, wire: Wire, items: object
) -> None:
    await unsure(platform, wire)
    wire.says(items)
    with pytest.raises(PlatformUnavailable):
        await platform.inspect(IN_CONVERSATION)


async def test_on_a_chain_they_are_sent_again_and_the_log_tells_of_the_orphan(
    platform: ResponsesPlatform, wire: Wire, capfd: pytest.CaptureFixture[str]
) -> None:
    wire.says(response("completed", function()))
    wire.says({"id": "resp_2"})
    assert await platform.submit(REF, ANSWERS, again=True) == RunRef("resp_2", None)
    assert "órfã | run_id=resp_1" in capfd.readouterr().err


# --------------------------------------------------------------------------------------------- what failed


@pytest.mark.parametrize(("status", "error"), REFUSALS)
@pytest.mark.parametrize("operation", ["inspect", "submit", "create"])
async def test_each_refusal_says_who_can_fix_it_and_is_not_repeated(
    platform: ResponsesPlatform, wire: Wire, status: int, error: type[PlatformError], operation: str
) -> None:
    if operation == "create":
        wire.says(response("completed", function()))
    wire.says({"error": {"message": SECRET, "code": "some_code"}}, status, location=f"{wire.url}/outro")
    with pytest.raises(PlatformError) as caught:
        await (platform.inspect(REF) if operation == "inspect" else platform.submit(REF, ANSWERS))
    missing = (
        operation == "create" and status == 404
    )  # the run is there, its conversation or its model is not
    assert type(caught.value) is (PlatformRefused if missing else error)
    assert (caught.value.status, caught.value.code) == (status, "some_code")
    assert "Maria" not in "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert len(wire.requests) == 1 + (operation == "create")


async def test_a_cancelled_submit_stays_cancelled(platform: ResponsesPlatform, wire: Wire) -> None:
    wire.never_ends()
    task = asyncio.create_task(platform.submit(REF, ANSWERS))
    await wire.got_one.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("run_id", ["", ".", ".."])
async def test_an_id_no_server_can_have_is_gone_without_asking(
    platform: ResponsesPlatform, wire: Wire, run_id: str
) -> None:
    for asked in (platform.inspect(RunRef(run_id, None)), platform.submit(RunRef(run_id, None), ANSWERS)):
        with pytest.raises(RunGone):
            await asked
    assert not wire.requests


# -------------------------------------------------------------------------------- discovery, probe, requests


async def test_nothing_is_discovered_and_nobody_asked(platform: ResponsesPlatform, wire: Wire) -> None:
    assert await platform.discover("conv_1") is None
    assert await platform.listed() == ()
    assert not wire.requests


@pytest.mark.parametrize(
    ("status", "words"), [(401, ["HTTP 401", "OPENAI_API_KEY"]), (404, ["HTTP 404", "OPENAI_BASE_URL"])]
)
async def test_a_doubtful_platform_is_named_and_the_worker_starts(
    platform: ResponsesPlatform, wire: Wire, status: int, words: list[str]
) -> None:
    wire.says({}, status)
    (warning,) = await platform.probe()
    assert all(word in warning for word in [*words, "127.0.0.1/models"])


async def test_the_probe_reads_the_models_and_makes_nothing(platform: ResponsesPlatform, wire: Wire) -> None:
    wire.says({"data": []})
    assert list(await platform.probe()) == []
    assert [(request.method, request.path) for request in wire.requests] == [("GET", "/models")]


async def test_every_request_carries_the_key_and_the_api_version(wire: Wire) -> None:
    platform = ResponsesPlatform(api_key="key", base_url=f"{wire.url}/openai/v1", api_version="preview")
    looked = response("completed", function(), **IN_CONV)
    for body in (looked, {}, looked, listed(function()), {"data": []}):
        wire.says(body)
    with pytest.raises(PlatformUnavailable):
        await platform.submit(REF, ANSWERS)
    await platform.inspect(REF)
    await platform.probe()
    await platform.aclose()
    paths = {request.path for request in wire.requests}
    assert paths == {
        f"/openai/v1{path}"
        for path in ("/responses/resp_1", "/conversations/conv_1/items", "/responses", "/models")
    }
    for request in wire.requests:
        assert request.query["api-version"] == "preview"
        assert request.headers["authorization"] == "Bearer key"


async def test_every_request_is_the_sdks_own(platform: ResponsesPlatform, wire: Wire) -> None:
    looked = response("completed", function(), **IN_CONV)
    for body in (looked, {}, looked, listed(function()), {"data": []}):
        wire.says(body)
    with pytest.raises(PlatformUnavailable):
        await platform.submit(IN_CONVERSATION, ANSWERS)
    await platform.inspect(IN_CONVERSATION)
    await platform.probe()
    retrieved, created, again, items, models = wire.requests
    wire.forget()
    wire.says({"data": []})
    async with AsyncOpenAI(api_key="key", base_url=wire.url) as sdk:
        await sdk.responses.retrieve("resp_1")
        await sdk.responses.create(**sent(created))
        await sdk.conversations.items.list("conv_1", limit=100, order="desc")
        await sdk.models.list()
    assert retrieved.target == again.target
    for mine, theirs in zip((retrieved, created, items, models), wire.requests, strict=True):
        assert (mine.method, mine.target) == (theirs.method, theirs.target)
        names = ("authorization", "content-type", "accept", "openai-beta")
        assert [mine.headers.get(name) for name in names] == [theirs.headers.get(name) for name in names]
    assert created.json == wire.requests[1].json


@pytest.mark.parametrize("run_id", ["a/b", "a?b#c", "%2e%2e", "7f3e;x=1", '"<>\\^`{|}', "~a+b&c=d"])
async def test_any_visible_id_arrives_as_it_is(platform: ResponsesPlatform, wire: Wire, run_id: str) -> None:
    wire.says(response("queued", id=run_id))
    await platform.inspect(RunRef(run_id, None))
    (request,) = wire.requests
    assert unquote(request.target.removeprefix("/responses/")) == run_id
    assert request.target.count("/") == 2


# ----------------------------------------------------------------------------- with the simulator, on a chain


def two_rounds(told: object, rounds: Rounds) -> Move:
    return Reply("Pronto.") if len(rounds) > 1 else FunctionCalls((Call("abrir_ticket_crm", "{}"),))


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5.6-terra"])
@pytest.mark.parametrize("conversation", [False, True])
async def test_the_real_thing_goes_round_twice_and_the_platform_understands_every_request(
    model: str, conversation: bool
) -> None:
    simulator = ResponsesSimulator(
        script=two_rounds, timings=Timings(queued_s=1, thinking_s=1), clock=Clock(lambda: 1795348800)
    )
    async with serve(simulator.app) as url, httpx.AsyncClient(base_url=url) as http:
        platform = ResponsesPlatform(api_key="key", base_url=f"{url}/v1")
        body = {"model": model, "input": "Oi", "background": True, "tools": [TOOL], "instructions": "Atenda."}
        if conversation:
            body["conversation"] = (await http.post("/conversations", json={})).json()["id"]
        ref: RunRef | None = RunRef((await http.post("/responses", json=body)).json()["id"], None)
        for _ in range(2):
            simulator.clock.skip(2)
            assert ref is not None
            look = await platform.inspect(ref)
            answers = [Answer(call.platform_call_id, Personal("{}"), success=True) for call in look.calls]
            ref = await platform.submit(ref, answers)
        simulator.clock.skip(2)
        assert ref is not None
        assert (await platform.inspect(ref)).reason == "concluida"
        await platform.aclose()
    first, *_, last = simulator.responses.by_id.values()
    assert {**last.settings} == {**first.settings}
    assert len(last.rounds()) == 2


@pytest.mark.parametrize("page", [b"<html>Not Found</html>", b"", b'"not found"', b"[]"])
async def test_a_404_that_is_no_json_error_says_nothing_about_the_run(
    platform: ResponsesPlatform, wire: Wire, page: bytes
) -> None:
    wire.says(page, 404)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.inspect(REF)
    assert caught.value.status == 404
