"""The Agents API's sessions, over HTTP, on a clock that the tests own; the answers are of the SDK's types."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from openai import OpenAI
from openai.types.beta import Agent, AgentSession, AgentSessionItem
from openai.types.beta.agents.sessions.turn import Turn
from pydantic import BaseModel, TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from worker.simulator.agents.app import AgentsSimulator
from worker.simulator.agents.saved_agents import AGENTS
from worker.simulator.agents.sessions import SessionTimings
from worker.simulator.clock import Clock
from worker.simulator.script import Call, CustomerMessage, Failure, FunctionCalls, Move, Reply, Rounds
from worker.simulator.server import serve

NOW = 1_795_000_000
TWO_CALLS = (Call("abrir_ticket_crm", '{"a": "ã"}'), Call("transferir_para_humano", "{"))
SESSIONS = "/agents/sessions"
START = {"agent_id": AGENTS["FINANCEIRO"], "environment": {"type": "none"}, "input": "Oi"}
FUNCTION = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
MCP = {
    "type": "mcp_approval_request",
    "request": {
        "type": "mcp_tool_call",
        "arguments": None,
        "message": "?",
        "name": None,
        "server_label": "s",
    },
}
ENVIRONMENT = {"type": "environment_connection", "environment_id": "env_1"}


def two_calls_then_done(_told: object, rounds: Rounds) -> Move:
    return Reply("Pronto") if rounds else FunctionCalls(TWO_CALLS)


@pytest.fixture
def platform() -> AgentsSimulator:
    """One round of two calls, then the end; each state and each delay lasts a second."""
    return AgentsSimulator(
        script=two_calls_then_done,
        timings=SessionTimings(queued_s=1, thinking_s=1, registering_s=1, applying_s=1, cancelling_s=1),
        clock=Clock(lambda: float(NOW)),
    )


class Bot:
    """Speaks to the platform; what it refuses is returned as (status, message)."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str) -> Any:
        return (await self.client.get(path)).json()

    async def post(self, path: str, body: object, **headers: str) -> Any:
        response = await self.client.post(path, json=body, headers=headers)
        if response.status_code == 202:
            assert response.content == b""
            return 202
        if response.status_code == 200:
            return response.json()
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return response.status_code, error["message"]

    async def session(self, **changes: object) -> str:
        """A new session's path."""
        created = await self.post(SESSIONS, {**START, **changes})
        return f"{SESSIONS}/{created['id']}"

    async def status(self, session: str) -> str:
        status: str = (await self.get(session))["status"]
        return status

    async def pending(self, session: str) -> list[dict[str, Any]]:
        actions = (await self.get(session))["required_actions"]
        return [action for action in actions if action["type"] == "function_call"]

    async def give(self, session: str, call: dict[str, Any], output: object = "{}", **headers: str) -> Any:
        return await self.events(session, result(call, success=True, output=output), **headers)

    async def events(self, session: str, *events: object, **headers: str) -> Any:
        return await self.post(f"{session}/events", {"events": list(events)}, **headers)

    async def say(self, session: str, text: str) -> Any:
        content = [{"type": "input_text", "text": text}]
        message = {"role": "user", "content": content}
        return await self.events(session, {"type": "agent.session.input.message", "input": [message]})


def result(call: dict[str, Any], **given: object) -> dict[str, object]:
    identity = {name: call[name] for name in ("turn_id", "call_id")}
    return {"type": "agent.session.input.tool_result", **identity, **given}


CANCEL = {"type": "agent.session.input.cancel"}


@pytest_asyncio.fixture
async def bot(platform: AgentsSimulator) -> AsyncIterator[Bot]:
    async with connected(platform) as client:
        yield Bot(client)


def connected(platform: AgentsSimulator) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(platform.app)
    headers = {"openai-beta": "agents=v1"}
    return httpx.AsyncClient(transport=transport, base_url="http://platform/v1", headers=headers)


async def waiting(bot: Bot, platform: AgentsSimulator, **changes: object) -> tuple[str, list[dict[str, Any]]]:
    """A session that waits for both its calls, which the platform knows by now."""
    session = await bot.session(**changes)
    platform.clock.skip(3)
    return session, await bot.pending(session)


def unknown(call: dict[str, Any]) -> tuple[int, str]:
    return 400, f"Unknown pending tool call: {call['call_id']}"


# ------------------------------------------------------------------------------------------ a session's life


async def test_a_session_asks_for_both_calls_and_is_idle_after_its_message(
    bot: Bot, platform: AgentsSimulator
) -> None:
    session = await bot.session()
    assert await bot.status(session) == "in_progress"
    platform.clock.skip(2)
    assert await bot.status(session) == "requires_action"
    first, second = await bot.pending(session)
    assert (first["name"], first["arguments"]) == ("abrir_ticket_crm", {"a": "ã"})
    assert (second["name"], second["arguments"]) == ("transferir_para_humano", "{")
    platform.clock.skip(1)
    assert [await bot.give(session, call) for call in (first, second)] == [202, 202]
    platform.clock.skip(1)
    assert await bot.status(session) == "in_progress"
    platform.clock.skip(1)
    assert await bot.status(session) == "idle"
    newest = (await bot.get(f"{session}/items?limit=1"))["data"][0]
    assert (newest["role"], newest["content"][0]["text"]) == ("assistant", "Pronto")


async def test_a_result_is_accepted_first_and_applied_later(bot: Bot, platform: AgentsSimulator) -> None:
    session, (first, second) = await waiting(bot, platform)
    assert await bot.give(session, first) == 202
    assert await bot.pending(session) == [first, second]
    platform.clock.skip(1)
    assert await bot.pending(session) == [second]


async def test_a_call_just_shown_is_not_known_yet(bot: Bot, platform: AgentsSimulator) -> None:
    session = await bot.session()
    platform.clock.skip(2)
    call = (await bot.pending(session))[0]
    response = await bot.client.post(f"{session}/events", json={"events": [result(call, success=True)]})
    assert response.json()["error"]["code"] == "invalid_request_error"
    assert (response.status_code, response.json()["error"]["message"]) == unknown(call)
    platform.clock.skip(1)
    assert await bot.give(session, call) == 202


async def test_an_answered_call_is_unknown_and_so_is_one_of_another_turn(
    bot: Bot, platform: AgentsSimulator
) -> None:
    session, (first, second) = await waiting(bot, platform)
    await bot.give(session, first)
    platform.clock.skip(1)
    assert await bot.give(session, first) == unknown(first)
    assert await bot.give(session, {**second, "turn_id": "turn_x"}) == unknown(second)
    assert await bot.give(session, {**second, "call_id": "call_x"}) == unknown({"call_id": "call_x"})


async def test_an_accepted_result_may_be_repeated_and_not_replaced(
    bot: Bot, platform: AgentsSimulator
) -> None:
    session, (call, _) = await waiting(bot, platform)
    assert [await bot.give(session, call, "um") for _ in range(2)] == [202, 202]
    status, _ = await bot.give(session, call, "outro")
    assert status == 409


async def test_a_key_takes_effect_once_and_belongs_to_its_body(bot: Bot, platform: AgentsSimulator) -> None:
    session, (call, _) = await waiting(bot, platform)
    key = {"idempotency-key": "k"}
    assert await bot.give(session, call, "um", **key) == 202
    platform.clock.skip(1)
    assert await bot.give(session, call, "um", **key) == 202
    status, _ = await bot.give(session, call, "outro", **key)
    assert status == 409
    outputs = [each for each in (await bot.get(f"{session}/items"))["data"] if "output" in each]
    assert [each["output"] for each in outputs] == ["um"]


async def test_a_key_is_remembered_only_with_what_was_accepted(bot: Bot, platform: AgentsSimulator) -> None:
    session = await bot.session()
    platform.clock.skip(2)
    call = (await bot.pending(session))[0]
    assert await bot.give(session, call, **{"idempotency-key": "k"}) == unknown(call)
    platform.clock.skip(1)
    assert await bot.give(session, call, **{"idempotency-key": "k"}) == 202
    status, message = await bot.give(session, call, **{"idempotency-key": "k" * 257})
    assert (status, "Idempotency-Key" in message) == (400, True)


async def test_a_failure_is_heard_as_its_error_and_parts_as_one_text(
    bot: Bot, platform: AgentsSimulator
) -> None:
    session, (first, second) = await waiting(bot, platform)
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    await bot.events(
        session, result(second, success=False, error="não"), result(first, success=True, output=parts)
    )
    platform.clock.skip(1)
    turn = platform.sessions.session(session.rsplit("/", 1)[1]).turns[0]
    assert [heard.output for heard in turn.rounds[0].answered_calls()] == ["a b", "não"]
    items = (await bot.get(f"{session}/items?order=asc"))["data"]
    assert [(item["type"], item["status"]) for item in items[1:]] == [
        ("function_call", "completed"),
        ("function_call", "failed"),
        ("function_call_output", "failed"),
        ("function_call_output", "completed"),
    ]


async def test_a_result_without_a_text_is_an_empty_one(bot: Bot, platform: AgentsSimulator) -> None:
    session, calls = await waiting(bot, platform)
    await bot.events(
        session, *(result(call, success=success) for call, success in zip(calls, (True, False), strict=True))
    )
    platform.clock.skip(1)
    turn = platform.sessions.session(session.rsplit("/", 1)[1]).turns[0]
    assert [heard.output for heard in turn.rounds[0].answered_calls()] == ["", ""]


async def test_a_message_starts_a_turn_when_idle_and_steers_the_active_one(
    bot: Bot, platform: AgentsSimulator
) -> None:
    heard: list[list[CustomerMessage]] = []

    def listening(told: Any, _rounds: object) -> Move:
        heard.append(list(told))
        return Reply("Sim")

    platform.sessions.script = listening
    session = await bot.session(
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_image", "image_url": "https://x/y.png"},
                    {"type": "input_text", "text": "um"},
                ],
            }
        ]
    )
    assert await bot.say(session, "dois") == 202
    platform.clock.skip(5)
    assert await bot.status(session) == "idle"
    await bot.say(session, "três")
    platform.clock.skip(5)
    turns = (await bot.get(f"{session}/turns"))["data"]
    assert [turn["status"] for turn in turns] == ["completed", "completed"]
    first, second = CustomerMessage("um", image=True), CustomerMessage("dois")
    assert heard == [[first, second], [first, second, CustomerMessage("três")]]


async def test_a_cancelled_turn_takes_no_result_and_leaves_its_session_idle(
    bot: Bot, platform: AgentsSimulator
) -> None:
    session, (call, _) = await waiting(bot, platform)
    assert await bot.events(session, CANCEL) == 202
    assert (await bot.status(session), await bot.pending(session)) == ("in_progress", [])
    assert await bot.give(session, call) == unknown(call)
    assert await bot.events(session, CANCEL) == 202
    platform.clock.skip(1)
    assert await bot.status(session) == "idle"
    assert (await bot.get(f"{session}/turns"))["data"][0]["status"] == "cancelled"
    assert await bot.events(session, CANCEL) == 202


async def test_a_turn_may_fail_and_its_session_be_idle_or_fail_with_it(
    bot: Bot, platform: AgentsSimulator
) -> None:
    for broken, status, code in (
        ("incomplete", "idle", "max_output_tokens"),
        ("failed", "failed", "internal_error"),
    ):
        platform.sessions.script = lambda _told, _rounds, broken=broken: Failure(broken)
        session = await bot.session()
        platform.clock.skip(5)
        shown = await bot.get(session)
        turn = (await bot.get(f"{session}/turns"))["data"][0]
        assert (shown["status"], shown["error"] is None) == (status, status == "idle")
        assert (turn["status"], turn["error"]["code"]) == ("failed", code)
    assert await bot.say(session, "Oi?") == (400, "The session has failed.")


# --------------------------------------------------------------------------- what else a session waits for


async def test_a_round_may_wait_for_approvals_besides_its_calls(bot: Bot, platform: AgentsSimulator) -> None:
    platform.sessions.also_requires = [MCP]
    session, calls = await waiting(bot, platform)
    approval = (await bot.get(session))["required_actions"][0]
    assert (approval["type"], approval["turn_id"]) == ("mcp_approval_request", calls[0]["turn_id"])
    for call in calls:
        await bot.give(session, call)
    platform.clock.skip(5)
    assert (await bot.get(session))["required_actions"] == [approval]
    answer = {
        "type": "agent.session.input.mcp_approval_request_result",
        "request_id": approval["request_id"],
        "response": {"type": "mcp_tool_call", "decision": "approve"},
    }
    assert await bot.events(session, answer) == 202
    assert await bot.status(session) == "in_progress"
    assert await bot.events(session, answer) == (400, f"Unknown pending request: {approval['request_id']}")
    platform.clock.skip(1)
    assert await bot.status(session) == "idle"
    assert (await bot.events(session, answer))[0] == 400


async def test_an_approval_may_come_before_the_results(bot: Bot, platform: AgentsSimulator) -> None:
    platform.sessions.also_requires = [MCP]
    session, _ = await waiting(bot, platform)
    approval = (await bot.get(session))["required_actions"][0]
    answer = {
        "type": "agent.session.input.mcp_approval_request_result",
        "request_id": approval["request_id"],
        "response": {"type": "mcp_tool_call", "decision": "approve"},
    }
    await bot.events(session, answer)
    assert await bot.status(session) == "requires_action"


async def test_without_budget_a_session_pauses_until_it_gets_more(
    bot: Bot, platform: AgentsSimulator
) -> None:
    session = await bot.session(spend_control={"limit": 1})
    platform.clock.skip(3)
    for call in await bot.pending(session):
        await bot.give(session, call)
    platform.clock.skip(5)
    shown = await bot.get(session)
    assert (shown["status"], shown["spend_control"]) == ("budget_reached", {"consumed": 1, "limit": 1})
    assert (await bot.get(f"{session}/turns"))["data"][0]["status"] == "in_progress"
    changed = await bot.post(session, {"spend_control": None})
    assert (changed["status"], changed["spend_control"]["limit"]) == ("in_progress", None)
    platform.clock.skip(1)
    assert await bot.status(session) == "idle"
    assert (await bot.post(session, {"spend_control": {"limit": 5}}))["status"] == "idle"


# ------------------------------------------------------------------------------------------- the SDK's types


def problems(shape: type[BaseModel], body: dict[str, Any]) -> set[str]:
    """Validated as the SDK itself does not; returns the keys it has no name for."""
    shape.model_validate(body)
    known = {field.alias or name for name, field in shape.model_fields.items()}
    return set(body) - known


async def test_sessions_turns_and_items_are_what_the_sdk_says_they_are(
    bot: Bot, platform: AgentsSimulator
) -> None:
    platform.sessions.also_requires = [MCP, ENVIRONMENT]
    session, calls = await waiting(
        bot, platform, metadata={"k": "v"}, review="none", prompt_cache_options={"ttl": "30m"}
    )
    shown = await bot.get(session)
    # openai 3.57 removed spending limits from its types; the simulator still plays them.
    assert problems(AgentSession, shown) <= {"spend_control"}
    kinds = [action.type for action in AgentSession.model_validate(shown).required_actions]
    assert kinds == ["mcp_approval_request", "environment_connection", "function_call", "function_call"]
    await bot.give(session, calls[0])
    platform.clock.skip(5)
    for turn in (await bot.get(f"{session}/turns"))["data"]:
        assert problems(Turn, turn) == set()
        assert await bot.get(f"{session}/turns/{turn['id']}") == turn
        assert await bot.get(f"{session}/turns/{turn['id']}/items") == await bot.get(f"{session}/items")
    items = (await bot.get(f"{session}/items?order=asc"))["data"]
    for item in items:
        parsed: Any = TypeAdapter(AgentSessionItem).validate_python(item)
        assert (parsed.type, parsed.model_extra) == (item["type"], {})
    assert len(items) == 4


async def test_saved_agents_are_what_the_sdk_says_they_are(bot: Bot) -> None:
    tools = [FUNCTION, {"type": "programmatic_tool_calling", "enabled": False}]
    created = await bot.post("/agents", {"model": "gpt-5.5", "tools": tools})
    assert problems(Agent, created) == set()
    assert created["tools"][0] == {**FUNCTION, "defer_loading": False}
    assert [agent["name"] for agent in (await bot.get("/agents"))["data"]] == [
        None,
        "MENTIROSO",
        "RECEPÇÃO",
        "SUPORTE",
        "FINANCEIRO",
    ]


# ------------------------------------------------------------------------------------------- configuration


async def test_an_update_changes_what_it_names_and_tools_replace_the_list(
    bot: Bot, platform: AgentsSimulator
) -> None:
    path = f"/agents/{AGENTS['SUPORTE']}"
    foreign = {"type": "web_search", "location": None, "mode": "live"}
    before = await bot.get(path)
    platform.clock.skip(10)
    after = await bot.post(
        path, {"tools": [foreign, {**FUNCTION, "async": True}], "reasoning": {"effort": "low"}}
    )
    assert after["tools"] == [foreign, {**FUNCTION, "defer_loading": False, "async": True}]
    assert after["reasoning"] == {"effort": "low", "summary": None}
    assert (after["name"], after["updated_at"]) == (before["name"], before["updated_at"] + 10)
    experimental = await bot.post(path, {"experimental": {"time_awareness": True}})
    assert (experimental["tools"], experimental["experimental"]) == (after["tools"], {"time_awareness": True})
    cleared = await bot.post(path, {"tools": None, "metadata": None, "reasoning": None})
    assert (cleared["tools"], cleared["metadata"], cleared["reasoning"]) == ([], {}, before["reasoning"])
    assert cleared["experimental"] == {"time_awareness": True}


async def test_a_change_of_a_saved_agent_reaches_only_new_sessions(bot: Bot) -> None:
    path = f"/agents/{AGENTS['FINANCEIRO']}"
    old = await bot.session()
    await bot.post(path, {"tools": [FUNCTION], "instructions": "Novas"})
    new = await bot.session()
    assert (await bot.get(old))["agent"]["tools"] == []
    assert len((await bot.get(new))["agent"]["tools"]) == 1
    changed = await bot.post(old, {"agent": {"tools": [FUNCTION]}, "metadata": {"a": "b"}})
    assert (len(changed["agent"]["tools"]), changed["agent"]["instructions"]) == (1, None)
    assert changed["metadata"] == {"a": "b"}
    assert (await bot.post(old, {"metadata": None}))["metadata"] == {}


async def test_a_session_may_differ_from_its_agent_or_have_none(bot: Bot) -> None:
    own = await bot.post(SESSIONS, {**START, "agent": {"instructions": "Só aqui"}})
    assert (own["agent"]["id"], own["agent"]["instructions"]) == (START["agent_id"], "Só aqui")
    inline = {name: value for name, value in START.items() if name != "agent_id"}
    alone = await bot.post(SESSIONS, {**inline, "agent": {"model": "gpt-5.5"}})
    assert alone["agent"]["model"] == "gpt-5.5"
    missing = (400, "Missing required parameter: 'agent.model'.")
    assert await bot.post(SESSIONS, inline) == missing


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/agents", {}, "Missing required parameter: 'model'."),
        (
            "/agents",
            {"model": "m", "tools": [{**FUNCTION, "strict": True}]},
            "Unknown parameter: 'tools.0.function.strict'.",
        ),
        (
            "/agents",
            {"model": "m", "tools": [{"type": "file_search"}]},
            "Invalid value for 'tools.0.other.type'.",
        ),
        ("/agents", {"model": "m", "tools": ["f"]}, "Invalid value for 'tools.0.other'."),
        (SESSIONS, {**START, "input": None}, "Invalid value for 'input.str'."),
        (
            SESSIONS,
            {**START, "environment": {"type": "openai_hosted"}},
            "Invalid value for 'environment.type'.",
        ),
        (SESSIONS, {**START, "spend_control": {"limit": 0}}, "Invalid value for 'spend_control.limit'."),
        (SESSIONS, {**START, "agent_id": "agent_x"}, "No agent found with id 'agent_x'."),
    ],
)
async def test_what_a_request_must_not_say_is_refused_by_name(
    bot: Bot, path: str, body: object, message: str
) -> None:
    refusal = await bot.post(path, body)
    assert refusal == (404 if "No agent" in message else 400, message)


async def test_agents_and_sessions_can_be_deleted_but_not_while_at_work(
    bot: Bot, platform: AgentsSimulator
) -> None:
    session = await bot.session()
    assert (await bot.client.delete(session)).status_code == 409
    await bot.events(session, CANCEL)
    platform.clock.skip(1)
    deleted = (await bot.client.delete(session)).json()
    assert (deleted["object"], deleted["deleted"]) == ("agent.session.deleted", True)
    assert (await bot.client.get(session)).status_code == 404
    agent = f"/agents/{AGENTS['RECEPÇÃO']}"
    assert (await bot.client.delete(agent)).json()["object"] == "agent.deleted"
    assert (await bot.client.get(agent)).status_code == 404


async def test_sessions_are_listed_newest_first_by_agent_and_by_metadata(bot: Bot) -> None:
    old = await bot.session(metadata={"bot": "1", "x": "y"})
    new = await bot.session(metadata={"bot": "2"}, agent_id=AGENTS["SUPORTE"])

    async def found(query: str) -> list[str]:
        return [f"{SESSIONS}/{each['id']}" for each in (await bot.get(f"{SESSIONS}?{query}"))["data"]]

    assert await found("") == [new, old]
    assert await found(f"agent_id={AGENTS['SUPORTE']}") == [new]
    assert await found("metadata[bot]=1") == [old]
    assert await found("metadata[bot]=1&metadata[x]=z") == []
    assert await found(f"limit=1&after={new.rsplit('/', 1)[1]}") == [old]


async def test_a_turn_of_another_session_is_not_found(bot: Bot, platform: AgentsSimulator) -> None:
    session, (call, _) = await waiting(bot, platform)
    other = await bot.session()
    assert (await bot.client.get(f"{session}/turns/{call['turn_id']}")).status_code == 200
    assert (await bot.client.get(f"{other}/turns/{call['turn_id']}")).status_code == 404


async def test_without_the_beta_header_nothing_is_answered(bot: Bot) -> None:
    response = await bot.client.get("/agents", headers={"openai-beta": "assistants=v2"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_beta")


async def test_the_state_can_be_looked_into(bot: Bot, platform: AgentsSimulator) -> None:
    await waiting(bot, platform)
    state = (await bot.client.get("http://platform/_sim/state")).json()
    assert (state["sessions"], state["agents"]) == ({"requires_action": 1}, AGENTS)
    assert state["timings"]["applying_s"] == 1


# ------------------------------------------------------------------------------------------------ webhooks

SECRET = f"whsec_{base64.b64encode(b'segredo').decode()}"


async def test_a_signed_webhook_names_what_a_session_waits_for() -> None:
    """Nobody looks at the session meanwhile."""
    told: asyncio.Queue[Any] = asyncio.Queue()

    async def receive(request: Request) -> Response:
        payload = await request.body()
        sdk = OpenAI(api_key="key", webhook_secret=SECRET)
        told.put_nowait(sdk.webhooks.unwrap(payload, dict(request.headers)))
        return Response()

    receiver = Starlette(routes=[Route("/hook", receive, methods=["POST"])])
    platform = AgentsSimulator(script=two_calls_then_done, webhook_secret=SECRET)
    platform.sessions.also_requires = [MCP]
    async with serve(receiver) as hook, serve(platform.app) as url:
        platform.webhooks.url = f"{hook}/hook"
        async with httpx.AsyncClient(base_url=url, headers={"openai-beta": "agents=v1"}) as client:
            session = (await client.post(SESSIONS, json=START)).json()
        async with asyncio.timeout(30):
            events = [await told.get() for _ in range(3)]
    assert {(event.type, event.data.id) for event in events} == {
        ("agent.session.action_required", session["id"])
    }
    kinds = sorted(event.data.required_action.type for event in events)
    assert kinds == ["function_call", "function_call", "mcp_approval_request"]
