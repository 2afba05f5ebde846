"""Stored definitions over the wire: what is asked, what is written, and what of others' stays the same."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.beta import agent_update_params
from openai.types.beta.agents import session_update_params
from pydantic import TypeAdapter

from tests.platforms.openai_spec import request_problems, response_description
from tests.raw_server import Exchange, Wire, listening
from worker import platforms, schema_sync
from worker.errors import PlatformError, PlatformGone, PlatformRefused, PlatformUnavailable, RunGone
from worker.platforms.agents import StoredAgents
from worker.platforms.definitions import Stored
from worker.platforms.time_offset import time_offset_s
from worker.schema_sync import RULES, Target
from worker.settings import Settings
from worker.simulator.agents.app import AgentsSimulator
from worker.simulator.agents.saved_agents import AGENTS
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.clock import Clock
from worker.simulator.responses.app import ResponsesSimulator
from worker.simulator.server import serve
from worker.tools import schema_names

Json = dict[str, Any]
Make = Callable[..., Settings]

TARGET = Target(schema_sync.load(schema_names()), RULES["FINANCEIRO"])
FINANCEIRO = ASSISTANTS["FINANCEIRO"]
FUNCTION = {"type": "function", "name": "consultar_fatura", "description": "", "parameters": {}}


@asynccontextmanager
async def stored(settings: Settings) -> AsyncIterator[Stored]:
    found = platforms.stored_assistants(settings)
    assert found is not None
    async with aclosing(found):
        yield found


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with listening() as server:
        yield server


async def synced(at: Stored, identifier: str, backups: Path) -> schema_sync.Plan:
    """Brings a definition in step; what was found before."""
    found = await schema_sync.compare(at, identifier, TARGET)
    await schema_sync.apply(at, identifier, found, TARGET, backups=backups)
    return found


# --------------------------------------------------------------------------------------------- assistants


@pytest.fixture
def simulator() -> AssistantsSimulator:
    return AssistantsSimulator(base="/api/projects/p", require_api_version=True)


@pytest.fixture
async def foundry(simulator: AssistantsSimulator, make_settings: Make) -> AsyncIterator[Settings]:
    async with serve(simulator.app) as url:
        yield make_settings(OPENAI_BASE_URL=f"{url}/api/projects/p", OPENAI_API_VERSION="v1")


async def test_every_request_of_sync_schema_is_as_openai_describes_it(
    simulator: AssistantsSimulator, foundry: Settings, tmp_path: Path
) -> None:
    kept = simulator.registry.assistants[FINANCEIRO]
    kept["tools"] = [
        {"type": "code_interpreter"},
        {"type": "file_search", "file_search": {"max_num_results": 8}},
        {"type": "function", "function": {"name": "abrir_ticket_crm", "parameters": {"type": "object"}}},
    ]
    async with stored(foundry) as at:
        await at.served()
        await synced(at, FINANCEIRO, tmp_path)
        assert not (await schema_sync.compare(at, FINANCEIRO, TARGET)).changes
    assert [each.operation for each in simulator.requests] == [
        "list_assistants",
        "retrieve_assistant",
        "update_assistant",
        "retrieve_assistant",
        "retrieve_assistant",
    ]
    assert request_problems(simulator.requests) == []
    path = f"/assistants/{FINANCEIRO}"
    assert response_description().of_response("GET", path, 200, kept) == []


async def test_the_requests_are_the_sdks_own_without_its_warnings(
    wire: Wire, make_settings: Make, tmp_path: Path
) -> None:
    wire.says({"id": "asst_1", "tools": [], "instructions": None})
    async with stored(make_settings(OPENAI_BASE_URL=wire.url)) as at:
        found = await schema_sync.compare(at, "asst_1", TARGET)
        await at.write("asst_1", found.changes)
    read, written = wire.requests
    async with AsyncOpenAI(api_key="test", base_url=wire.url) as sdk:
        with pytest.warns(DeprecationWarning, match="deprecated"):
            await sdk.beta.assistants.retrieve("asst_1")
        with pytest.warns(DeprecationWarning, match="deprecated"):
            await sdk.beta.assistants.update("asst_1", **found.changes)
    for ours, theirs in ((read, wire.requests[2]), (written, wire.requests[3])):
        assert (ours.method, ours.target) == (theirs.method, theirs.target)
        assert _told(ours) == _told(theirs)
    assert written.json == wire.requests[3].json


def _told(request: Exchange) -> Json:
    names = ("authorization", "openai-beta", "content-type", "accept")
    return {name: request.headers.get(name) for name in names}


async def test_tools_of_others_travel_as_the_same_json_values(wire: Wire, make_settings: Make) -> None:
    foreign = (
        '{"type": "function", "function": {"name": "outra", "strict": null, "parameters": {"a": 1.0, '
        '"b": 1, "c": true, "d": 12345678901234567, "e": -0.0, "f": "\\ud83d \\u0000 \\u00c7", "g": [{}]}}}'
    )
    wire.says(f'{{"id": "asst_1", "tools": [{foreign}]}}'.encode())
    async with stored(make_settings(OPENAI_BASE_URL=wire.url)) as at:
        found = await schema_sync.compare(at, "asst_1", TARGET)
        await at.write("asst_1", found.changes)
    sent = json.loads(wire.requests[1].body)["tools"][0]
    assert json.dumps(sent) == json.dumps(json.loads(foreign))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tools": {}},
        {"tools": ["file_search"]},
        {"tools": [], "instructions": ["Seja gentil."]},
        {"tools": [{"a": 1e400}]},
        b"<html>",
    ],
)
async def test_a_definition_that_cannot_be_read_is_never_written(
    wire: Wire, make_settings: Make, tmp_path: Path, body: object
) -> None:
    wire.says(body)
    async with stored(make_settings(OPENAI_BASE_URL=wire.url)) as at:
        with pytest.raises(PlatformUnavailable):
            await synced(at, "asst_1", tmp_path)
    assert [each.method for each in wire.requests] == ["GET"]


async def test_no_tools_may_be_said_as_null(wire: Wire, make_settings: Make) -> None:
    wire.says({"id": "asst_1", "tools": None})
    async with stored(make_settings(OPENAI_BASE_URL=wire.url)) as at:
        assert (await at.read("asst_1"))["tools"] == []


@pytest.mark.parametrize("identifier", ["", ".", ".."])
async def test_an_id_that_no_url_can_hold_is_unknown(make_settings: Make, identifier: str) -> None:
    async with stored(make_settings(OPENAI_BASE_URL="http://127.0.0.1:9")) as at:
        with pytest.raises(RunGone):
            await at.read(identifier)


async def test_an_id_stays_one_step_of_the_path(wire: Wire, make_settings: Make) -> None:
    wire.says({"tools": []})
    async with stored(make_settings(OPENAI_BASE_URL=wire.url)) as at:
        await at.read("a/../b?c")
    assert wire.requests[0].target == "/assistants/a%2F..%2Fb%3Fc"


@pytest.mark.parametrize(("status", "served"), [(200, True), (404, False), (405, False)])
async def test_an_address_without_even_the_list_does_not_serve_the_protocol(
    wire: Wire, make_settings: Make, status: int, served: bool
) -> None:
    wire.says({"data": []}, status=status)
    async with stored(make_settings(OPENAI_BASE_URL=wire.url)) as at:
        assert await at.served() is served
    assert wire.requests[0].target == "/assistants?limit=1"


async def test_a_refused_key_does_not_mean_that_the_protocol_is_not_served(
    wire: Wire, make_settings: Make
) -> None:
    wire.says({"error": {"message": "no"}}, status=401)
    async with stored(make_settings(OPENAI_BASE_URL=wire.url)) as at:
        with pytest.raises(PlatformRefused):
            await at.served()


async def test_a_404_of_openai_itself_means_that_the_protocol_is_gone(
    wire: Wire, make_settings: Make
) -> None:
    wire.says({"error": {"message": "Invalid URL"}}, status=404)
    async with stored(make_settings(OPENAI_BASE_URL=wire.url)) as at:
        with pytest.raises(RunGone):
            await at.read("asst_1")
        at._connection.at_openai = True
        with pytest.raises(PlatformGone):
            await at.read("asst_1")


# ------------------------------------------------------------------------------------- agents and sessions


@pytest.fixture
def agents() -> AgentsSimulator:
    return AgentsSimulator()


@pytest.fixture
async def openai(agents: AgentsSimulator, make_settings: Make) -> AsyncIterator[Settings]:
    async with serve(agents.app) as url:
        yield make_settings(PLATFORM="agents", OPENAI_BASE_URL=f"{url}/v1")


def problems(shape: Any, body: Json) -> list[str]:
    """What the SDK's own type has against a body; an unknown key is one that does not come back."""
    return [name for name, value in _read(shape, body).items() if body[name] != value] + [
        name for name in body if name not in _read(shape, body)
    ]


def _read(shape: Any, body: Json) -> Json:
    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: whole(each) for name, each in value.items()}
        return [whole(each) for each in value] if isinstance(value, Iterator | list) else value

    read: Json = whole(TypeAdapter(shape).validate_python(body))
    return read


async def test_an_agent_is_brought_in_step_in_the_sdks_shape_and_keeps_its_other_tools(
    agents: AgentsSimulator, openai: Settings, tmp_path: Path
) -> None:
    agent_id = AGENTS["FINANCEIRO"]
    agents.agents.agents[agent_id]["tools"] = [FUNCTION, {"type": "web_search"}]
    async with stored(openai) as at:
        await at.served()
        await synced(at, agent_id, tmp_path)
    written = [each for each in agents.requests if each.method == "POST"]
    body = json.loads(written[0].body)
    assert [each.path for each in written] == [f"/agents/{agent_id}"]
    assert problems(agent_update_params.AgentUpdateParams, body) == []
    assert body["tools"][:2] == [FUNCTION, {"type": "web_search"}]
    assert [sorted(tool) for tool in body["tools"][2:]] == [["description", "name", "parameters", "type"]] * 2


async def test_a_live_session_is_brought_in_step_in_the_sdks_shape(
    agents: AgentsSimulator, openai: Settings, tmp_path: Path
) -> None:
    async with stored(openai) as at:
        assert isinstance(at, StoredAgents)
        session_id = await _session(openai, AGENTS["FINANCEIRO"])
        target = Target(schema_sync.load(schema_names()))
        found = await schema_sync.compare(at.sessions, session_id, target)
        await schema_sync.apply(at.sessions, session_id, found, target, backups=tmp_path)
    assert found.before["id"] == AGENTS["FINANCEIRO"]
    written = [each for each in agents.requests if each.operation == "update_session"]
    assert problems(session_update_params.SessionUpdateParams, json.loads(written[0].body)) == []
    (saved,) = [each.read_text() for each in tmp_path.glob("*")]  # noqa: ASYNC240
    assert "Acabei de pagar" not in saved


@pytest.mark.parametrize("live", [False, True])
async def test_the_requests_are_the_sdks_own(wire: Wire, make_settings: Make, live: bool) -> None:
    agent = {"id": "agent_1", "tools": [], "instructions": None}
    wire.says({"id": "sess_1", "agent": agent} if live else agent)
    async with stored(make_settings(PLATFORM="agents", OPENAI_BASE_URL=wire.url)) as at:
        assert isinstance(at, StoredAgents)
        chosen: Stored = at.sessions if live else at
        found = await schema_sync.compare(chosen, "id/1", TARGET)
        await chosen.write("id/1", found.changes)
        await chosen.served()
    ours = [*wire.requests]
    async with AsyncOpenAI(api_key="test", base_url=wire.url) as sdk:
        calls: Any = sdk.beta.agents.sessions if live else sdk.beta.agents
        await calls.retrieve("id/1")
        await calls.update("id/1", **({"agent": found.changes} if live else found.changes))
        await calls.list(limit=1)
    for mine, theirs in zip(ours, wire.requests[3:], strict=True):
        assert (mine.method, mine.target) == (theirs.method, theirs.target)
        assert _told(mine) == _told(theirs)
    assert ours[1].json == wire.requests[4].json


async def _session(settings: Settings, agent_id: str) -> str:
    async with AsyncOpenAI(api_key="test", base_url=settings.OPENAI_BASE_URL) as sdk:
        session = await sdk.beta.agents.sessions.create(
            agent_id=agent_id, environment={"type": "none"}, input="Acabei de pagar"
        )
    return session.id


async def test_a_session_with_an_mcp_server_would_lose_its_credentials(
    wire: Wire, make_settings: Make, tmp_path: Path
) -> None:
    wire.says({"id": "sess_1", "agent": {"id": "agent_1", "tools": [{"type": "mcp", "server_label": "x"}]}})
    async with stored(make_settings(PLATFORM="agents", OPENAI_BASE_URL=wire.url)) as at:
        assert isinstance(at, StoredAgents)
        with pytest.raises(schema_sync.NotComplete):
            await synced(at.sessions, "sess_1", tmp_path)
        assert at.complete({"tools": [{"type": "mcp"}]})
    assert [each.method for each in wire.requests] == ["GET"]


async def test_a_session_that_shows_no_agent_cannot_be_read(wire: Wire, make_settings: Make) -> None:
    wire.says({"id": "sess_1", "agent": None})
    async with stored(make_settings(PLATFORM="agents", OPENAI_BASE_URL=wire.url)) as at:
        assert isinstance(at, StoredAgents)
        with pytest.raises(PlatformError):
            await at.sessions.read("sess_1")


def test_responses_stores_nothing(make_settings: Make) -> None:
    assert platforms.stored_assistants(make_settings(PLATFORM="responses")) is None


# -------------------------------------------------------------------------------------------------- clock


@pytest.mark.parametrize("platform", ["assistants", "agents", "responses"])
@pytest.mark.parametrize("ahead_s", [-90.0, 0.0, 90.0])
async def test_the_clocks_are_compared_by_the_platforms_date(
    make_settings: Make, platform: str, ahead_s: float
) -> None:
    clock = Clock()
    clock.skip(-ahead_s)
    kinds = {"assistants": AssistantsSimulator, "agents": AgentsSimulator, "responses": ResponsesSimulator}
    async with serve(kinds[platform](clock=clock).app) as url:
        offset = await time_offset_s(make_settings(PLATFORM=platform, OPENAI_BASE_URL=f"{url}/v1"))
    assert offset == pytest.approx(ahead_s, abs=30)


async def test_a_refusal_tells_the_time_as_well(wire: Wire, make_settings: Make) -> None:
    wire.says({}, status=401, date="Sun, 22 Nov 2026 12:00:00 GMT")
    assert await time_offset_s(make_settings(OPENAI_BASE_URL=wire.url)) is not None


async def test_without_a_date_or_an_answer_there_is_nothing_to_compare(
    wire: Wire, make_settings: Make
) -> None:
    wire.says({})
    assert await time_offset_s(make_settings(OPENAI_BASE_URL=wire.url)) is None
    wire.forget()
    wire.says_bytes(b"")
    assert await time_offset_s(make_settings(OPENAI_BASE_URL=wire.url)) is None
