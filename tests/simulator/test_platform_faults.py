"""The platform's faults, as the official SDK meets them on a real socket."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.assistants.runs import Timings
from worker.simulator.clock import Clock
from worker.simulator.server import serve


@pytest.fixture
def platform() -> AssistantsSimulator:
    timings = Timings(queued_s=0, thinking_s=0)
    return AssistantsSimulator(timings=timings, clock=Clock(lambda: 1_795_000_000.0))


@pytest_asyncio.fixture
async def client(platform: AssistantsSimulator) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(platform.app) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def waiting_run(client: httpx.AsyncClient) -> tuple[str, dict[str, object]]:
    """A run that waits for the output of one call: its path, and the body that answers it."""
    thread = {"messages": [{"role": "user", "content": "Acabei de pagar"}]}
    body = {"assistant_id": ASSISTANTS["FINANCEIRO"], "thread": thread}
    run = (await client.post("/threads/runs", json=body)).json()
    path = f"/threads/{run['thread_id']}/runs/{run['id']}"
    waiting = (await client.get(path)).json()
    [call] = waiting["required_action"]["submit_tool_outputs"]["tool_calls"]
    return path, {"tool_outputs": [{"tool_call_id": call["id"], "output": "{}"}]}


@pytest.mark.parametrize(
    ("preset", "status", "text"),
    [
        ("rate_limited", 429, "fault 429"),
        ("error", 500, "fault 500"),
        ("garbage", 200, '{"id": "run_'),
        ("not_found", 404, "No run found"),
        ("unauthorized", 401, "Incorrect API key"),
    ],
)
async def test_the_next_look_fails_and_the_one_after_it_does_not(
    client: httpx.AsyncClient, platform: AssistantsSimulator, preset: str, status: int, text: str
) -> None:
    path, _ = await waiting_run(client)
    platform.faults.preset(preset)
    spoilt = await client.get(path)
    assert (spoilt.status_code, text in spoilt.text) == (status, True)
    assert (await client.get(path)).json()["status"] == "requires_action"


async def test_errors_are_plain_text_as_real_servers_send_them(
    client: httpx.AsyncClient, platform: AssistantsSimulator
) -> None:
    platform.faults.preset("error")
    response = await client.get("/assistants")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-request-id"].startswith("req_")


async def test_a_look_can_be_dropped(client: httpx.AsyncClient, platform: AssistantsSimulator) -> None:
    path, _ = await waiting_run(client)
    platform.faults.preset("dropped", on="retrieve_run")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await client.get(path)
    assert (await client.get(path)).status_code == 200


async def test_a_submit_is_taken_though_its_answer_is_lost(
    client: httpx.AsyncClient, platform: AssistantsSimulator
) -> None:
    for preset in ("submit_dropped_after", "submit_error_after"):
        path, outputs = await waiting_run(client)
        platform.faults.preset(preset)
        try:
            lost = await client.post(f"{path}/submit_tool_outputs", json=outputs)
            assert lost.status_code == 500
        except (httpx.RemoteProtocolError, httpx.ReadError):
            assert preset == "submit_dropped_after"
        assert (await client.get(path)).json()["status"] == "completed"
        again = await client.post(f"{path}/submit_tool_outputs", json=outputs)
        assert again.json()["error"]["message"] == 'Runs in status "completed" do not accept tool outputs.'


async def test_a_dropped_submit_leaves_the_run_waiting(
    client: httpx.AsyncClient, platform: AssistantsSimulator
) -> None:
    path, outputs = await waiting_run(client)
    platform.faults.preset("dropped", on="submit_tool_outputs")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await client.post(f"{path}/submit_tool_outputs", json=outputs)
    assert (await client.get(path)).json()["status"] == "requires_action"


async def test_a_platform_can_be_gone_for_good(
    client: httpx.AsyncClient, platform: AssistantsSimulator
) -> None:
    platform.faults.preset("gone")
    for path in ("/assistants", "/threads/t", "/assistants/a"):
        response = await client.get(path)
        assert (response.status_code, response.json()["error"]["message"]) == (404, "Invalid URL")
