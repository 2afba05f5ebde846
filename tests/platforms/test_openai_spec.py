"""The simulated platform answers, in every state of a run, as OpenAI's own description says.

Needs `OPENAI_SPEC_DIR` (see `openai_spec.py`).
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, DefaultAioHttpClient

from tests.platforms.openai_spec import request_problems, response_description
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.assistants.runs import Timings
from worker.simulator.clock import Clock
from worker.simulator.script import Call, FunctionCalls, Reply
from worker.simulator.server import serve

FINANCEIRO = ASSISTANTS["FINANCEIRO"]
TOOL = {
    "type": "function",
    "function": {
        "name": "abrir_ticket_crm",
        "description": "Abre um ticket",
        "parameters": {"type": "object"},
    },
}


class Judged:
    """A client of the simulator that holds every answer against the description."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._description = response_description()

    async def __call__(self, method: str, path: str, body: object = None) -> Any:
        response = await self._client.request(method, path, json=body)
        assert response.status_code == 200, response.text
        path = httpx.URL(path).path
        assert self._description.of_response(method, path, 200, response.json()) == []
        return response.json()


@pytest.fixture
def platform() -> AssistantsSimulator:
    timings = Timings(queued_s=1, thinking_s=1, cancelling_s=1)
    return AssistantsSimulator(timings=timings, clock=Clock(lambda: 1_795_000_000.0))


@pytest_asyncio.fixture
async def ask(platform: AssistantsSimulator) -> AsyncIterator[Judged]:
    transport = httpx.ASGITransport(platform.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:
        yield Judged(client)


async def start(ask: Judged, text: str) -> str:
    thread = await ask("POST", "/threads", {"metadata": {"canal": "whatsapp"}})
    await ask("POST", f"/threads/{thread['id']}/messages", {"role": "user", "content": text})
    run = await ask("POST", f"/threads/{thread['id']}/runs", {"assistant_id": FINANCEIRO, "tools": [TOOL]})
    return f"/threads/{thread['id']}/runs/{run['id']}"


async def look(ask: Judged, run: str) -> str:
    """One look at everything a run shows; returns its status."""
    await ask("GET", f"{run}/steps")
    await ask("GET", run.rsplit("/", 1)[0])
    await ask("GET", run.rsplit("/", 2)[0] + "/messages")
    shown: dict[str, str] = await ask("GET", run)
    return shown["status"]


async def submit(ask: Judged, run: str, output: object) -> None:
    pending = (await ask("GET", run))["required_action"]["submit_tool_outputs"]["tool_calls"]
    outputs = [{"tool_call_id": call["id"], "output": json.dumps(output)} for call in pending]
    await ask("POST", f"{run}/submit_tool_outputs", {"tool_outputs": outputs})


async def test_every_state_of_a_run_that_completes_is_as_described(
    ask: Judged, platform: AssistantsSimulator
) -> None:
    run = await start(ask, "Paguei, e a internet voltou")
    states = [await look(ask, run)]
    for _ in range(2):
        platform.clock.skip(1)
        states.append(await look(ask, run))
    await submit(ask, run, {"success": True, "protocolo": "2510271534789012", "setor": "SUPORTE"})
    states.append(await look(ask, run))
    platform.clock.skip(2)
    states.append(await look(ask, run))
    assert states == ["queued", "in_progress", "requires_action", "queued", "completed"]


@pytest.mark.parametrize(
    ("says", "skip_s", "ends"),
    [
        ("Simule uma falha", 2, "failed"),
        ("Simule um corte", 2, "incomplete"),
        ("Olá", 2, "completed"),
        ("Acabei de pagar", 600, "expired"),
    ],
)
async def test_every_other_end_of_a_run_is_as_described(
    ask: Judged, platform: AssistantsSimulator, says: str, skip_s: float, ends: str
) -> None:
    run = await start(ask, says)
    platform.clock.skip(skip_s)
    assert await look(ask, run) == ends


async def test_a_cancelled_run_is_as_described(ask: Judged, platform: AssistantsSimulator) -> None:
    run = await start(ask, "Acabei de pagar")
    platform.clock.skip(2)
    assert await look(ask, run) == "requires_action"
    await ask("POST", f"{run}/cancel")
    assert await look(ask, run) == "cancelling"
    platform.clock.skip(1)
    assert await look(ask, run) == "cancelled"


async def test_a_message_with_a_picture_is_as_described(ask: Judged) -> None:
    thread = await ask("POST", "/threads")
    picture = {"type": "image_url", "image_url": {"url": "https://arquivos.example/c.jpg"}}
    content = [picture, {"type": "text", "text": "Acabei de pagar"}]
    await ask("POST", f"/threads/{thread['id']}/messages", {"role": "user", "content": content})
    shown = await ask("GET", f"/threads/{thread['id']}/messages")
    assert [part["type"] for part in shown["data"][0]["content"]] == ["image_url", "text"]
    await ask("GET", f"/threads/{thread['id']}")


async def test_a_thread_made_with_its_run_is_as_described(ask: Judged) -> None:
    thread = {"messages": [{"role": "user", "content": "Acabei de pagar"}]}
    run = await ask("POST", "/threads/runs", {"assistant_id": FINANCEIRO, "thread": thread})
    assert run["status"] == "queued"


async def test_an_assistant_is_as_described_from_creation_to_deletion(ask: Judged) -> None:
    made = await ask("POST", "/assistants", {"model": "gpt-4o", "name": "COBRANÇA"})
    path = f"/assistants/{made['id']}"
    changed = await ask("POST", path, {"tools": [TOOL]})
    assert changed["tools"] == [TOOL]
    assert await ask("GET", path) == changed
    listed = await ask("GET", "/assistants?limit=100")
    assert made["id"] in [item["id"] for item in listed["data"]]
    await ask("DELETE", path)


async def test_what_the_official_sdk_sends_is_as_described() -> None:
    """The judge itself, on requests that are right by definition."""
    call = Call("abrir_ticket_crm", "{}")
    platform = AssistantsSimulator(
        timings=Timings(queued_s=0, thinking_s=0),
        script=lambda _told, rounds: Reply("Pronto") if rounds else FunctionCalls((call,)),
    )
    async with (
        serve(platform.app) as url,
        AsyncOpenAI(api_key="k", base_url=url, http_client=DefaultAioHttpClient()) as sdk,
    ):
        thread = await sdk.beta.threads.create()
        await sdk.beta.threads.messages.create(thread.id, role="user", content="Oi")
        run = await sdk.beta.threads.runs.create(thread.id, assistant_id=FINANCEIRO)
        run = await sdk.beta.threads.runs.retrieve(run.id, thread_id=thread.id)
        assert run.required_action is not None
        call_id = run.required_action.submit_tool_outputs.tool_calls[0].id
        await sdk.beta.threads.runs.submit_tool_outputs(
            run.id, thread_id=thread.id, tool_outputs=[{"tool_call_id": call_id, "output": "{}"}]
        )
        runs = await sdk.beta.threads.runs.list(thread.id, limit=1, order="desc")
        assert [item.status for item in runs.data] == ["completed"]
    assert len(platform.requests) == 6
    assert request_problems(platform.requests) == []


@pytest.mark.parametrize(
    ("path", "query", "body", "problem"),
    [
        ("/threads/t/runs", {}, b'{"assistant_id": 3}', "assistant_id"),
        ("/threads/t/runs", {}, b'{"assistant_id": "a", "surprise": 1}', "surprise"),
        ("/threads/t/runs", {}, b"", "missing"),
        ("/threads/t/runs", {"surprise": "1"}, b'{"assistant_id": "a"}', "surprise"),
        ("/threads/t/runs/r/cancel", {}, b"{}", "not described"),
        ("/threads/t/walks", {}, b"{}", "not described"),
    ],
)
def test_the_judge_finds_what_is_wrong_with_a_request(
    path: str, query: dict[str, str], body: bytes, problem: str
) -> None:
    class Sent:
        method = "POST"

    sent = Sent()
    sent.path, sent.query, sent.body = path, query, body  # type: ignore[attr-defined]
    found = request_problems([sent])  # type: ignore[list-item]
    assert found
    assert problem in found[0]


def test_the_judge_finds_what_is_wrong_with_an_answer() -> None:
    description = response_description()
    assert description.of_response("GET", "/threads/t/runs/r", 200, {"id": "run_1"})
    assert description.of_response("GET", "/threads/t/runs/r", 418, {})
    listed = {"object": "list", "data": [], "first_id": None, "last_id": "", "has_more": False}
    assert description.of_response("GET", "/threads/t/runs", 200, listed)
    assert description.of_response("GET", "/threads/t/runs", 200, {**listed, "first_id": ""}) == []
    assert description.of_response("GET", "/nowhere", 200, {})
