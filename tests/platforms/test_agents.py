"""What the Agents adapter makes of every answer a server may give, and what it sends."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from openai.types.beta.agent_session_input_param import SessionInputParamAgentSessionInputToolResult
from pydantic import TypeAdapter

from tests.platforms.harness import REFUSALS, agents
from tests.raw_server import Exchange, Wire
from worker.errors import PlatformError, PlatformUnavailable, RunGone
from worker.model import Answer, RunRef, RunSnapshot, RunStatus, ThreadRule, ToolCall
from worker.personal import Personal
from worker.platforms.agents import AgentsPlatform
from worker.simulator.agents.sessions import SessionTimings
from worker.simulator.script import Call, FunctionCalls, Reply

REF = RunRef("sess_1", "sess_1")
SECRET = "Maria da Silva, CPF 529.982.247-25"
DONE = Answer("call_1", Personal('{"success": true, "protocolo": "Nº 1"}'), success=True, turn_id="turn_1")
FAILED = Answer("call_2", Personal('{"success": false, "error": "x"}'), success=False, turn_id="turn_1")
EVENTS = "/agents/sessions/sess_1/events"


def session(status: object, *actions: object, **fields: object) -> dict[str, object]:
    return {
        "id": "sess_1",
        "object": "agent.session",
        "agent": {"id": "agent_1", "name": "FINANCEIRO"},
        "status": status,
        "required_actions": list(actions),
        **fields,
    }


def call(call_id: object = "call_1", turn_id: object = "turn_1", **fields: object) -> dict[str, object]:
    named = {"name": "abrir_ticket_crm", "arguments": {}, **fields}
    return {"type": "function_call", "turn_id": turn_id, "call_id": call_id, **named}


def unknown_call(call_id: str = "call_1") -> dict[str, object]:
    error = {"message": f"Unknown pending tool call: {call_id}", "code": "invalid_request_error"}
    return {"error": error}


# One loop and adapter for all tests of this file: each adapter reads the machine's trust store anew.
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Waits(list[float]):
    """Every wait asked for; none is waited."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def adapter(server: Wire) -> AsyncIterator[tuple[AgentsPlatform, Waits]]:
    waits = Waits()
    adapter = AgentsPlatform(api_key="key", base_url=server.url, sleep=waits)
    yield adapter, waits
    await adapter.aclose()


@pytest.fixture
def platform(adapter: tuple[AgentsPlatform, Waits]) -> AgentsPlatform:
    return adapter[0]


@pytest.fixture
def waits(adapter: tuple[AgentsPlatform, Waits]) -> Waits:
    adapter[1].clear()
    return adapter[1]


async def look_at(platform: AgentsPlatform, wire: Wire, body: object, ref: RunRef = REF) -> RunSnapshot:
    wire.forget()
    wire.says(body)
    return await platform.inspect(ref)


@pytest.mark.parametrize(("content", "text"), [("Pronto.", "Pronto."), (5, None), (["Pronto."], None)])
async def test_a_reply_is_read_whatever_the_form_of_its_content(
    platform: AgentsPlatform, wire: Wire, content: object, text: str | None
) -> None:
    wire.says({"data": [{"type": "message", "role": "assistant", "turn_id": "turn_1", "content": content}]})
    assert (await platform.reply(REF)).text == text


async def test_the_loop_is_told_how_sessions_differ_from_runs(platform: AgentsPlatform) -> None:
    traits = platform.traits
    assert (traits.thread, traits.one_by_one, traits.new_run_per_round) == (
        ThreadRule.IS_THE_RUN,
        True,
        False,
    )
    assert (traits.settling_s, traits.life_s) == (15.0, 3600.0)


# ---------------------------------------------------------------------------------------- what a look sees


@pytest.mark.parametrize(
    ("status", "reason"),
    [("idle", "ociosa"), ("failed", "falhou"), ("budget_reached", "limite_de_gasto")],
)
async def test_a_session_that_does_not_work_has_ended_even_where_actions_are_left(
    platform: AgentsPlatform, wire: Wire, status: str, reason: str
) -> None:
    assert await look_at(platform, wire, session(status, call())) == RunSnapshot(
        RunStatus.ENDED, status, reason=reason
    )


@pytest.mark.parametrize("status", ["in_progress", "um_status_de_2027"])
async def test_a_session_at_work_or_in_a_status_nobody_knows_is_working(
    platform: AgentsPlatform, wire: Wire, status: str
) -> None:
    assert await look_at(platform, wire, session(status, call())) == RunSnapshot(RunStatus.WORKING, status)


async def test_function_calls_are_ours_and_every_other_action_is_left_alone(
    platform: AgentsPlatform, wire: Wire
) -> None:
    others = [
        {"type": "mcp_approval_request", "turn_id": "turn_1", "request_id": "r", "request": {}},
        {"type": "computer_use_approval_request", "turn_id": "turn_1", "request_id": "r", "request": {}},
        {"type": "environment_connection", "environment_id": "env_1"},
        {"type": "algo_de_2027"},
        "algo",
    ]
    look = await look_at(platform, wire, session("requires_action", *others, call("a"), call("b")))
    assert look.status is RunStatus.REQUIRES_ACTION
    assert [each.platform_call_id for each in look.calls] == ["a", "b"]
    look = await look_at(platform, wire, session("requires_action", *others))
    assert look == RunSnapshot(RunStatus.WORKING, "requires_action")


async def test_a_call_belongs_to_its_turn(platform: AgentsPlatform, wire: Wire) -> None:
    look = await look_at(
        platform, wire, session("requires_action", call("a", "t1"), call("a", "t2"), call("a", "t1"))
    )
    assert [(each.turn_id, each.platform_call_id) for each in look.calls] == [("t1", "a"), ("t2", "a")]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"resumo": "Ação", "setor": "SUPORTE"}, '{"resumo": "Ação", "setor": "SUPORTE"}'),
        ('{"resumo": ', '{"resumo": '),
        ('{"resumo":"Ação"}', '{"resumo":"Ação"}'),
        ("", ""),
        (None, "{}"),
        ([1, None], "[1, null]"),
        (7, "7"),
    ],
)
async def test_arguments_are_the_models_json_however_they_are_shown(
    platform: AgentsPlatform, wire: Wire, arguments: object, text: str
) -> None:
    look = await look_at(platform, wire, session("requires_action", call(arguments=arguments)))
    assert look.calls == (ToolCall("call_1", "abrir_ticket_crm", Personal(text), "turn_1"),)


async def test_arguments_nested_too_deep_are_no_answer_and_one_level_less_is_read(
    platform: AgentsPlatform, wire: Wire
) -> None:
    head, tail = json.dumps(session("requires_action", call(arguments="@"))).encode().split(b'"@"')

    async def read(depth: int) -> bool:
        try:
            await look_at(platform, wire, head + b"[" * depth + b"]" * depth + tail)
        except PlatformUnavailable:
            return False
        return True

    deepest, too_deep = 1, 100_000
    while deepest + 1 < too_deep:
        middle = (deepest + too_deep) // 2
        deepest, too_deep = (middle, too_deep) if await read(middle) else (deepest, middle)
    assert await read(deepest)
    assert not await read(too_deep)


@pytest.mark.parametrize("status", ["requires_action", "idle", "in_progress"])
@pytest.mark.parametrize(
    "ref", [RunRef("sess_2", None), RunRef("sess_2", "sess_2"), RunRef("sess_1", "sess_2")]
)
async def test_another_session_than_the_one_asked_for_is_lost_before_anything_is_answered(
    platform: AgentsPlatform, wire: Wire, status: str, ref: RunRef
) -> None:
    look = await look_at(platform, wire, session(status, call()), ref)
    assert look == RunSnapshot(RunStatus.LOST, status, reason="isolamento")


async def test_a_session_announced_without_a_thread_is_its_own(platform: AgentsPlatform, wire: Wire) -> None:
    look = await look_at(platform, wire, session("in_progress"), RunRef("sess_1", None))
    assert look.status is RunStatus.WORKING


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        [session("idle")],
        {},
        session(""),
        session(None),
        session("idle\nINFO forged"),
        session("idle", id=None),
        {"status": "idle"},
        session("requires_action", required_actions=None),
        session("requires_action", required_actions={"type": "function_call"}),
    ],
)
async def test_an_answer_that_cannot_be_read_is_looked_at_later(
    platform: AgentsPlatform, wire: Wire, body: object
) -> None:
    wire.says(body)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.inspect(REF)
    assert caught.value.status == 200


@pytest.mark.parametrize("fields", [{"call_id": None}, {"call_id": "a\x00b"}, {"turn_id": None}])
async def test_a_call_without_ids_to_send_back_keeps_no_other_from_being_answered(
    platform: AgentsPlatform, wire: Wire, fields: dict[str, object]
) -> None:
    look = await look_at(
        platform, wire, session("requires_action", call(**fields), call(call_id="c" * 300, name=None))
    )
    assert [(each.platform_call_id, each.tool) for each in look.calls] == [("c" * 300, "")]
    assert (look.status, look.unanswerable) == (RunStatus.REQUIRES_ACTION, 1)


async def test_arguments_nested_too_deep_to_be_written_are_no_object_and_harm_no_other_call(
    platform: AgentsPlatform, wire: Wire
) -> None:
    deep: object = {}
    for _ in range(600):
        deep = {"a": deep}
    look = await look_at(platform, wire, session("requires_action", call(arguments=deep), call(call_id="b")))
    assert [each.platform_call_id for each in look.calls][-1] == "b"


async def test_an_id_no_server_can_have_is_gone_without_asking(platform: AgentsPlatform, wire: Wire) -> None:
    for session_id in ("", ".", ".."):
        ref = RunRef(session_id, session_id)
        for asked in (platform.inspect(ref), platform.submit(ref, [DONE])):
            with pytest.raises(RunGone):
                await asked
        assert await platform.discover(session_id) is None
    assert not wire.requests


# ------------------------------------------------------------------------------------------------ submitting


async def given(platform: AgentsPlatform, wire: Wire, *answers: Answer, ref: RunRef = REF) -> list[Exchange]:
    wire.says(b"", 202)
    await platform.submit(ref, answers)
    return wire.requests


async def test_each_answer_is_one_event_of_one_request_in_the_sdks_shape(
    platform: AgentsPlatform, wire: Wire
) -> None:
    requests = await given(platform, wire, DONE, FAILED)
    assert [(request.method, request.path) for request in requests] == [("POST", EVENTS)] * 2
    first, second = (request.json for request in requests)
    shared = {"type": "agent.session.input.tool_result", "turn_id": "turn_1"}
    done = {**shared, "call_id": "call_1", "success": True, "output": DONE.output.reveal()}
    failed = {**shared, "call_id": "call_2", "success": False, "error": FAILED.output.reveal()}
    assert (first, second) == ({"events": [done]}, {"events": [failed]})
    shape = TypeAdapter(SessionInputParamAgentSessionInputToolResult)
    assert [shape.validate_python(event) for event in (done, failed)] == [done, failed]


async def test_the_same_answer_is_the_same_bytes_under_the_same_key(
    platform: AgentsPlatform, wire: Wire
) -> None:
    requests = await given(platform, wire, DONE, FAILED, DONE)
    keys = [request.headers["idempotency-key"] for request in requests]
    assert keys == [f"tool-result:sess_1:turn_1:{call_id}:" for call_id in ("call_1", "call_2", "call_1")]
    assert requests[0].body == requests[2].body


async def test_answers_to_two_calls_of_one_id_in_one_turn_have_keys_of_their_own(
    platform: AgentsPlatform, wire: Wire
) -> None:
    both = [replace(DONE, content=content) for content in ("a" * 64, "b" * 64)]
    requests = await given(platform, wire, *both)
    assert len({request.headers["idempotency-key"] for request in requests}) == 2


@pytest.mark.parametrize("call_id", ["a b", "a\r\nX-Forged: 1", "ção"])
async def test_an_id_that_no_header_can_hold_is_hashed_in_the_key(
    platform: AgentsPlatform, wire: Wire, call_id: str
) -> None:
    (request,) = await given(platform, wire, replace(DONE, platform_call_id=call_id))
    assert request.headers["idempotency-key"].startswith("tool-result:")
    assert "x-forged" not in request.headers


async def test_a_key_longer_than_the_platform_takes_is_hashed_and_still_its_own(
    platform: AgentsPlatform, wire: Wire
) -> None:
    long = "c" * 240
    requests = await given(
        platform, wire, *(Answer(long + each, DONE.output, True, "turn_1") for each in "aba")
    )
    first, second, again = (request.headers["idempotency-key"] for request in requests)
    assert first == again != second
    assert len(first) == len("tool-result:") + 64


async def test_a_call_not_yet_registered_is_tried_again_with_the_same_key_and_bytes(
    platform: AgentsPlatform, wire: Wire, waits: Waits
) -> None:
    wire.says(unknown_call(), 400)
    wire.says(unknown_call(), 400)
    requests = await given(platform, wire, DONE)
    assert len({(request.body, request.headers["idempotency-key"]) for request in requests}) == 1
    assert (len(requests), waits) == (3, [0.1, 0.3])


async def test_a_call_that_stays_unknown_has_moved_on_and_is_looked_at_again(
    platform: AgentsPlatform, wire: Wire, waits: Waits
) -> None:
    wire.says(unknown_call(), 400)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.submit(REF, [DONE])
    assert (caught.value.status, caught.value.code) == (400, "invalid_request_error")
    assert (len(wire.requests), waits) == (4, [0.1, 0.3, 0.6])


async def test_an_answer_that_is_refused_does_not_keep_the_next_one_back(
    platform: AgentsPlatform, wire: Wire
) -> None:
    wire.says({"error": {"message": SECRET}}, 409)
    wire.says(b"", 202)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.submit(REF, [DONE, FAILED])
    assert caught.value.status == 409
    assert len(wire.requests) == 2


@pytest.mark.parametrize("status", [200, 204])
async def test_only_202_says_that_an_answer_was_accepted(
    platform: AgentsPlatform, wire: Wire, status: int
) -> None:
    wire.says(b"<html>login</html>" if status == 200 else b"", status)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.submit(REF, [DONE])
    assert caught.value.status == status


@pytest.mark.parametrize(("status", "error"), REFUSALS)
@pytest.mark.parametrize("operation", ["inspect", "submit"])
async def test_each_refusal_says_who_can_fix_it_and_is_not_repeated(
    platform: AgentsPlatform, wire: Wire, status: int, error: type[PlatformError], operation: str
) -> None:
    wire.says({"error": {"message": SECRET, "code": "some_code"}}, status, retry_after="7")
    with pytest.raises(PlatformError) as caught:
        await (platform.inspect(REF) if operation == "inspect" else platform.submit(REF, [DONE]))
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.code) == (status, "some_code")
    assert len(wire.requests) == 1
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert "Maria" not in repr(vars(caught.value)) + str(caught.value)


@pytest.mark.parametrize("operation", ["inspect", "submit"])
async def test_a_connection_that_breaks_off_is_no_answer(
    platform: AgentsPlatform, wire: Wire, operation: str
) -> None:
    wire.says_bytes(b"")
    with pytest.raises(PlatformUnavailable) as caught:
        await (platform.inspect(REF) if operation == "inspect" else platform.submit(REF, [DONE]))
    assert caught.value.status is None


# ------------------------------------------------------------------------------------------------- discovery


@pytest.mark.parametrize("status", ["in_progress", "requires_action"])
async def test_a_session_at_work_is_found(platform: AgentsPlatform, wire: Wire, status: str) -> None:
    wire.says(session(status))
    assert await platform.discover("sess_1") == REF


@pytest.mark.parametrize("status", ["idle", "failed", "budget_reached", "um_status_de_2027"])
async def test_a_session_not_at_work_is_not_found(platform: AgentsPlatform, wire: Wire, status: str) -> None:
    wire.says(session(status))
    assert await platform.discover("sess_1") is None


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, True),
        ({"agent": {"id": "agent_9"}}, False),
        ({"agent": {"id": ["agent_1"]}}, False),
        ({"agent": None}, False),
        ({"id": "sess_2"}, False),
    ],
)
async def test_sessions_of_other_agents_are_left_alone(
    wire: Wire, fields: dict[str, object], *, found: bool
) -> None:
    platform = AgentsPlatform(api_key="key", base_url=wire.url, assistant_ids=["agent_1", "agent_2"])
    wire.says(session("in_progress", **fields))
    assert await platform.discover("sess_1") == (REF if found else None)
    await platform.aclose()


async def test_a_session_that_was_deleted_is_not_found(platform: AgentsPlatform, wire: Wire) -> None:
    wire.says({}, 404)
    assert await platform.discover("sess_1") is None


async def test_the_newest_sessions_are_listed_as_the_sdk_would_and_only_our_agents_count(wire: Wire) -> None:
    platform = AgentsPlatform(api_key="key", base_url=wire.url, assistant_ids=["agent_1"])
    named = {"metadata": {"ticket_worker_conversation": "c1"}}
    sessions = [session("idle", id=f"sess_{n}", agent={"id": f"agent_{n}"}, **named) for n in (2, 1)]
    wire.says({"object": "list", "data": sessions})
    assert await platform.listed() == [("c1", "sess_1")]
    await platform.aclose()
    async with AsyncOpenAI(api_key="key", base_url=wire.url) as sdk:
        await sdk.beta.agents.sessions.list(limit=100, order="desc")
    ours, theirs = wire.requests
    assert (ours.method, ours.target) == (theirs.method, theirs.target)


async def test_every_request_is_the_sdks_own(platform: AgentsPlatform, wire: Wire) -> None:
    wire.says(session("idle"))
    wire.says(b"", 202)
    await platform.inspect(REF)
    await platform.submit(REF, [DONE])
    ours = [*wire.requests]
    async with AsyncOpenAI(api_key="key", base_url=wire.url) as sdk:
        sessions = sdk.beta.agents.sessions
        await sessions.with_raw_response.retrieve("sess_1")  # unread: the wire says no more than 202
        body: Any = ours[1].json
        key = ours[1].headers["idempotency-key"]
        await sessions.events.create("sess_1", events=body["events"], idempotency_key=key)
    for mine, theirs in zip(ours, wire.requests[2:], strict=True):
        names = ("authorization", "content-type", "openai-beta", "idempotency-key")
        assert (mine.method, mine.target) == (theirs.method, theirs.target)
        assert [mine.headers.get(name) for name in names] == [theirs.headers.get(name) for name in names]
    assert ours[1].json == wire.requests[3].json


# ---------------------------------------------------------------------------------------------- the probe


async def probed(wire: Wire, *ids: str) -> list[str]:
    platform = AgentsPlatform(api_key="key", base_url=wire.url, assistant_ids=ids)
    try:
        return list(await platform.probe())
    finally:
        await platform.aclose()


async def test_the_configured_agents_are_asked_for_as_the_sdk_would(wire: Wire) -> None:
    wire.says({"id": "agent"})
    assert await probed(wire, "agent_1", "agent/2", "agent_1") == []
    ours = {(request.method, request.target) for request in wire.requests}
    wire.requests.clear()
    async with AsyncOpenAI(api_key="key", base_url=wire.url) as sdk:
        for agent_id in ("agent_1", "agent/2"):
            await sdk.beta.agents.retrieve(agent_id)
    assert ours == {(request.method, request.target) for request in wire.requests}


async def test_without_configured_agents_the_list_is_asked_for_as_the_sdk_would(wire: Wire) -> None:
    wire.says({"object": "list", "data": []})
    assert await probed(wire) == []
    async with AsyncOpenAI(api_key="key", base_url=wire.url) as sdk:
        await sdk.beta.agents.sessions.list(limit=1)
    ours, theirs = wire.requests
    assert (ours.method, ours.target) == (theirs.method, theirs.target)
    assert ours.headers["openai-beta"] == theirs.headers["openai-beta"] == "agents=v1"


@pytest.mark.parametrize(
    ("status", "word"), [(404, "OPENAI_BASE_URL"), (403, "OPENAI_API_KEY"), (503, "HTTP 503")]
)
async def test_a_doubtful_platform_is_named_and_the_worker_starts(wire: Wire, status: int, word: str) -> None:
    wire.says({}, status)
    (warning,) = await probed(wire, "agent_1")
    assert word in warning
    assert "127.0.0.1/agents/agent_1" in warning


async def test_a_404_from_openai_itself_is_a_wrong_id_and_not_the_end(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", wire.url)
    monkeypatch.setenv("NO_PROXY", "")
    wire.says({}, 404)
    platform = AgentsPlatform(api_key="key", base_url="http://api.openai.com/v1")
    (warning,) = await platform.probe()
    await platform.aclose()
    assert "api.openai.com/agents/sessions" in warning


async def test_every_request_carries_the_key_and_the_beta_header(
    platform: AgentsPlatform, wire: Wire
) -> None:
    wire.says(session("in_progress"))
    await platform.inspect(REF)
    await platform.discover("sess_1")
    await platform.probe()
    with pytest.raises(PlatformUnavailable):
        await platform.submit(REF, [DONE])
    seen = [(each.headers["authorization"], each.headers["openai-beta"]) for each in wire.requests]
    assert seen == [("Bearer key", "agents=v1")] * 4


# ------------------------------------------------------------------- through the platform's own delays

CALLS = (Call("abrir_ticket_crm", "{}"), Call("transferir_para_humano", "{}"))


def answers(look: RunSnapshot) -> list[Answer]:
    return [Answer(each.platform_call_id, Personal("{}"), True, each.turn_id) for each in look.calls]


async def test_half_the_answers_are_taken_and_the_other_half_is_still_wanted() -> None:
    async with agents() as harness:
        ref = await harness.start(FunctionCalls(CALLS), Reply("Pronto."))
        harness.pass_time()
        first = await harness.platform.inspect(ref)
        await harness.platform.submit(ref, answers(first)[:1])
        second = await harness.platform.inspect(ref)
        assert (second.status, second.calls) == (RunStatus.REQUIRES_ACTION, first.calls[1:])
        await harness.platform.submit(ref, answers(second))
        assert (await harness.platform.inspect(ref)).status is RunStatus.WORKING


async def test_an_answer_accepted_but_not_applied_may_be_submitted_again_and_takes_effect_once() -> None:
    async with agents(SessionTimings(registering_s=0, applying_s=3, thinking_s=1)) as harness:
        ref = await harness.start(FunctionCalls(CALLS[:1]), Reply("Pronto."))
        harness.pass_time()
        look = await harness.platform.inspect(ref)
        await harness.platform.submit(ref, answers(look))
        assert await harness.platform.inspect(ref) == look
        await harness.platform.submit(ref, answers(look))
        harness.pass_time(3)
        assert (await harness.platform.inspect(ref)).status is RunStatus.WORKING
        await harness.platform.submit(ref, answers(look))
        harness.pass_time()
        assert (await harness.platform.inspect(ref)).status is RunStatus.ENDED
        assert len(harness.answered_rounds(ref)) == 1


async def test_a_call_seen_before_it_is_registered_is_answered_all_the_same() -> None:
    async with agents(SessionTimings(queued_s=0, thinking_s=0, registering_s=0.9)) as harness:
        ref = await harness.start(FunctionCalls(CALLS), Reply("Pronto."))
        look = await harness.platform.inspect(ref)
        await harness.platform.submit(ref, answers(look))
        harness.pass_time()
        assert (await harness.platform.inspect(ref)).status is RunStatus.ENDED


@pytest.mark.parametrize("page", [b"<html>Not Found</html>", b"", b'"not found"', b"[]"])
async def test_a_404_that_is_no_json_error_says_nothing_about_the_run(
    platform: AgentsPlatform, wire: Wire, page: bytes
) -> None:
    wire.says(page, 404)
    with pytest.raises(PlatformUnavailable) as caught:
        await platform.inspect(REF)
    assert caught.value.status == 404
