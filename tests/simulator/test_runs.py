"""The Assistants protocol's state machine, over HTTP, on a clock that the tests own."""

import json
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.assistants.runs import Timings
from worker.simulator.clock import Clock
from worker.simulator.script import Call, FunctionCalls, Reply

NOW = 1_795_000_000
TWO_CALLS = (Call("abrir_ticket_crm", '{"a": 1}'), Call("transferir_para_humano", "{}"))
START = {"assistant_id": ASSISTANTS["FINANCEIRO"]}


@pytest.fixture
def platform() -> AssistantsSimulator:
    """One round of two calls, then the end; each state lasts a second."""
    return AssistantsSimulator(
        script=lambda _told, rounds: Reply("Pronto") if rounds else FunctionCalls(TWO_CALLS),
        timings=Timings(queued_s=1, thinking_s=1, cancelling_s=1),
        clock=Clock(lambda: float(NOW)),
    )


class Bot:
    """Speaks to the platform; what it refuses is returned as (status, message)."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str) -> Any:
        return (await self.client.get(path)).json()

    async def post(self, path: str, body: object = None) -> Any:
        response = await self.client.post(path, json={} if body is None else body)
        if response.status_code == 200:
            return response.json()
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return response.status_code, error["message"]

    async def run(self) -> str:
        """A new run's path."""
        run = await self.post("/threads/runs", {**START, "thread": {"messages": [USER]}})
        return f"/threads/{run['thread_id']}/runs/{run['id']}"

    async def status(self, run: str) -> str:
        status: str = (await self.get(run))["status"]
        return status

    async def pending(self, run: str) -> list[str]:
        action = (await self.get(run))["required_action"]
        return [call["id"] for call in action["submit_tool_outputs"]["tool_calls"]]

    async def submit(self, run: str, *call_ids: str) -> Any:
        outputs = [{"tool_call_id": call_id, "output": f"para {call_id}"} for call_id in call_ids]
        return await self.post(f"{run}/submit_tool_outputs", {"tool_outputs": outputs})


USER = {"role": "user", "content": "Oi"}


@pytest_asyncio.fixture
async def bot(platform: AssistantsSimulator) -> AsyncIterator[Bot]:
    transport = httpx.ASGITransport(platform.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:
        yield Bot(client)


async def test_a_run_asks_for_both_calls_and_completes_with_a_message(
    bot: Bot, platform: AssistantsSimulator
) -> None:
    run = await bot.run()
    assert await bot.status(run) == "queued"
    platform.clock.skip(1)
    assert await bot.status(run) == "in_progress"
    platform.clock.skip(1)
    waiting = await bot.get(run)
    calls = waiting["required_action"]["submit_tool_outputs"]["tool_calls"]
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        ("abrir_ticket_crm", '{"a": 1}'),
        ("transferir_para_humano", "{}"),
    ]
    taken = await bot.submit(run, *[call["id"] for call in calls])
    assert (taken["status"], taken["required_action"]) == ("queued", None)
    platform.clock.skip(2)
    ended = await bot.get(run)
    assert (ended["status"], ended["completed_at"], ended["expires_at"]) == ("completed", NOW + 4, None)
    thread = run.rsplit("/", 2)[0]
    newest = (await bot.get(f"{thread}/messages?limit=1"))["data"][0]
    assert (newest["role"], newest["content"][0]["text"]["value"]) == ("assistant", "Pronto")


async def test_states_that_nobody_looked_at_are_entered_at_their_own_time(
    bot: Bot, platform: AssistantsSimulator
) -> None:
    run = await bot.run()
    platform.clock.skip(30)
    step = (await bot.get(f"{run}/steps"))["data"][0]
    assert (step["created_at"], (await bot.get(run))["started_at"]) == (NOW + 2, NOW + 1)


async def test_the_outputs_are_taken_all_at_once_or_not_at_all(
    bot: Bot, platform: AssistantsSimulator
) -> None:
    run = await bot.run()
    platform.clock.skip(2)
    first, second = await bot.pending(run)
    for given in ([first], [first, "call_x"], [first, first], [first, second, "call_x"], []):
        expected = f"Expected tool outputs for call_ids ['{first}', '{second}'], got {given}"
        assert await bot.submit(run, *given) == (400, expected)
    steps = await bot.get(f"{run}/steps")
    assert [call["function"]["output"] for call in steps["data"][0]["step_details"]["tool_calls"]] == [
        None,
        None,
    ]
    assert (await bot.submit(run, second, first))["status"] == "queued"
    steps = await bot.get(f"{run}/steps")
    outputs = [call["function"]["output"] for call in steps["data"][0]["step_details"]["tool_calls"]]
    assert outputs == [f"para {first}", f"para {second}"]


@pytest.mark.parametrize(("skip_s", "status"), [(0, "queued"), (1, "in_progress"), (2, "completed")])
async def test_outputs_are_refused_in_any_other_state(
    bot: Bot, platform: AssistantsSimulator, skip_s: float, status: str
) -> None:
    run = await bot.run()
    platform.clock.skip(2)
    calls = await bot.pending(run)
    await bot.submit(run, *calls)
    platform.clock.skip(skip_s)
    refusal = f'Runs in status "{status}" do not accept tool outputs.'
    assert await bot.submit(run, *calls) == (400, refusal)


@pytest.mark.parametrize("lives_s", [0, 1, 2])
async def test_a_run_expires_ten_minutes_after_its_creation_whatever_it_was_doing(
    bot: Bot, platform: AssistantsSimulator, lives_s: float
) -> None:
    run = await bot.run()
    platform.clock.skip(lives_s)
    assert (await bot.get(run))["expires_at"] == NOW + 600
    if lives_s < 2:
        timings = platform.conversations.timings
        platform.conversations.run(run.rsplit("/", 1)[1]).timings = timings.model_copy(
            update={"queued_s": 900.0, "thinking_s": 900.0}
        )
    platform.clock.skip(600 - lives_s)
    expired = await bot.get(run)
    assert (expired["status"], expired["required_action"]) == ("expired", None)
    refusal = 'Runs in status "expired" do not accept tool outputs.'
    assert await bot.submit(run, "call_x") == (400, refusal)
    steps = await bot.get(f"{run}/steps")
    assert [step["status"] for step in steps["data"]] == (["expired"] if lives_s == 2 else [])


async def test_a_cancelled_run_passes_through_cancelling(bot: Bot, platform: AssistantsSimulator) -> None:
    run = await bot.run()
    platform.clock.skip(2)
    assert (await bot.post(f"{run}/cancel"))["status"] == "cancelling"
    refusal = "Cannot cancel run with status 'cancelling'."
    assert await bot.post(f"{run}/cancel") == (400, refusal)
    platform.clock.skip(1)
    assert await bot.status(run) == "cancelled"
    assert (await bot.get(f"{run}/steps"))["data"][0]["status"] == "cancelled"


async def test_an_active_run_locks_its_thread(bot: Bot, platform: AssistantsSimulator) -> None:
    run = await bot.run()
    _, _, thread_id, _, run_id = run.split("/")
    platform.clock.skip(2)
    locked = f"Can't add messages to {thread_id} while a run {run_id} is active."
    assert await bot.post(f"/threads/{thread_id}/messages", USER) == (400, locked)
    active = f"Thread {thread_id} already has an active run {run_id}."
    assert await bot.post(f"/threads/{thread_id}/runs", START) == (400, active)
    platform.clock.skip(600)
    assert (await bot.post(f"/threads/{thread_id}/messages", USER))["role"] == "user"
    assert (await bot.post(f"/threads/{thread_id}/runs", START))["status"] == "queued"


async def test_what_does_not_exist_is_a_404_with_its_name(bot: Bot) -> None:
    thread = (await bot.post("/threads"))["id"]
    for path, message in (
        ("/threads/thread_x", "No thread found with id 'thread_x'."),
        (f"/threads/{thread}/runs/run_x", "No run found with id 'run_x'."),
        ("/assistants/asst_x", "No assistant found with id 'asst_x'."),
        ("/engines", "Invalid URL (GET /engines)"),
    ):
        response = await bot.client.get(path)
        assert (response.status_code, response.json()["error"]["message"]) == (404, message)
    missing = (404, "No assistant found with id 'asst_x'.")
    assert await bot.post(f"/threads/{thread}/runs", {"assistant_id": "asst_x"}) == missing
    assert await bot.post("/threads/runs", {"assistant_id": "asst_x"}) == missing


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/threads/runs", {}, "Missing required parameter: 'assistant_id'."),
        ("/threads/runs", {**START, "dança": 1}, "Unknown parameter: 'dança'."),
        ("/threads/runs", {**START, "stream": True}, "Invalid value for 'stream'."),
        (
            "/threads",
            {"messages": [{"role": "system", "content": ""}]},
            "Invalid value for 'messages.0.role'.",
        ),
        ("/assistants", {"name": "sem modelo"}, "Missing required parameter: 'model'."),
    ],
)
async def test_a_body_that_is_not_described_is_refused(
    bot: Bot, path: str, body: object, message: str
) -> None:
    assert await bot.post(path, body) == (400, message)


async def test_a_body_that_is_no_json_is_refused(bot: Bot) -> None:
    response = await bot.client.post("/threads", content=b"{")
    assert response.json()["error"]["message"] == "We could not parse the JSON body of your request."


async def test_runs_are_listed_in_pages_in_both_directions(bot: Bot, platform: AssistantsSimulator) -> None:
    thread = (await bot.post("/threads"))["id"]
    runs = []
    for _ in range(5):
        runs.append((await bot.post(f"/threads/{thread}/runs", START))["id"])
        platform.clock.skip(600)
    path = f"/threads/{thread}/runs"

    async def listed(query: str) -> tuple[list[str], bool]:
        page = await bot.get(f"{path}?{query}")
        ids = [run["id"] for run in page["data"]]
        assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else ("", ""))
        return ids, page["has_more"]

    newest_first = runs[::-1]
    assert await listed("") == (newest_first, False)
    assert await listed("limit=1&order=desc") == (newest_first[:1], True)
    assert await listed(f"limit=2&after={newest_first[1]}") == (newest_first[2:4], True)
    assert await listed(f"limit=2&after={newest_first[2]}") == (newest_first[3:], False)
    assert await listed(f"before={newest_first[2]}") == (newest_first[:2], False)
    assert await listed(f"order=asc&limit=2&after={runs[0]}") == (runs[1:3], True)
    assert await listed(f"after={runs[0]}") == ([], False)
    for query in ("limit=0", "limit=101", "limit=x", "order=up", "after=run_x"):
        assert (await bot.client.get(f"{path}?{query}")).status_code == 400


async def test_threads_are_listed_as_foundry_does_and_openai_never_did(bot: Bot) -> None:
    made = [await bot.post("/threads", {"metadata": {"n": str(n)}}) for n in range(2)]
    assert (await bot.get("/threads"))["error"]["message"] == "Invalid URL (GET /threads)"
    assert (await bot.get("/threads?api-version=v1"))["data"] == made[::-1]


async def test_messages_can_be_listed_by_run(bot: Bot, platform: AssistantsSimulator) -> None:
    thread = (await bot.post("/threads"))["id"]
    body = {**START, "additional_messages": [USER]}
    run = await bot.post(f"/threads/{thread}/runs", body)
    platform.clock.skip(2)
    path = f"/threads/{thread}/runs/{run['id']}"
    await bot.submit(path, *await bot.pending(path))
    platform.clock.skip(2)
    assert len((await bot.get(f"/threads/{thread}/messages"))["data"]) == 2
    by_run = await bot.get(f"/threads/{thread}/messages?run_id={run['id']}")
    assert [message["role"] for message in by_run["data"]] == ["assistant"]


async def test_a_run_copies_the_assistant_as_it_is_when_the_run_begins(bot: Bot) -> None:
    path = f"/assistants/{START['assistant_id']}"
    tool = {"type": "function", "function": {"name": "consultar_fatura", "strange": [1]}}
    await bot.post(path, {"tools": [tool], "instructions": "Seja breve."})
    run = await bot.run()
    await bot.post(path, {"tools": []})
    shown = await bot.get(run)
    assert (shown["tools"], shown["instructions"]) == ([tool], "Seja breve.")
    assert (await bot.get(path))["tools"] == []
    assert (await bot.get(path))["instructions"] == "Seja breve."


async def test_a_look_at_an_active_run_tells_when_to_look_again(
    bot: Bot, platform: AssistantsSimulator
) -> None:
    run = await bot.run()
    assert (await bot.client.get(run)).headers["openai-poll-after-ms"] == "100"
    platform.clock.skip(600)
    assert "openai-poll-after-ms" not in (await bot.client.get(run)).headers


async def test_the_date_header_follows_the_platforms_own_clock(
    bot: Bot, platform: AssistantsSimulator
) -> None:
    platform.clock.skip(86_400)
    date = (await bot.client.get("/assistants")).headers["date"]
    assert parsedate_to_datetime(date).timestamp() == NOW + 86_400


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_the_protocol_is_served_with_and_without_v1_under_any_base(prefix: str) -> None:
    platform = AssistantsSimulator(base="/api/projects/demo/", require_api_version=True)
    transport = httpx.ASGITransport(platform.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:
        path = f"/api/projects/demo{prefix}/assistants?limit=1"
        assert (await client.get(path)).status_code == 400
        assert (await client.get(f"{path}&api-version=v1")).status_code == 200
        assert (await client.get(f"{prefix}/assistants?api-version=v1")).status_code == 404
        assert (await client.get("/_sim/state")).status_code == 200
    assert {request.path for request in platform.requests} == {"/assistants"}


async def test_ids_do_not_repeat_between_two_platforms(bot: Bot, platform: AssistantsSimulator) -> None:
    other = AssistantsSimulator(clock=platform.clock)
    transport = httpx.ASGITransport(other.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:
        assert await Bot(client).run() != await bot.run()


async def test_a_run_can_be_asked_for_by_its_id_alone(bot: Bot, platform: AssistantsSimulator) -> None:
    await bot.run()
    run = await bot.run()
    assert platform.conversations.run(run.rsplit("/", 1)[1]).thread.id in run
    with pytest.raises(KeyError):
        platform.conversations.run("run_x")


async def test_the_state_can_be_read_and_the_clock_moved_over_http(
    bot: Bot, platform: AssistantsSimulator
) -> None:
    await bot.run()
    skipped = (await bot.client.post("/_sim/clock", json={"skip_s": 600})).json()
    assert (skipped["runs"], skipped["threads"], skipped["skipped_s"]) == ({"expired": 1}, 1, 600)
    assert skipped["assistants"] == ASSISTANTS
    new = await bot.client.put("/_sim/timings", json={"lifetime_s": 5})
    assert new.json()["lifetime_s"] == 5
    assert (await bot.get(await bot.run()))["expires_at"] == NOW + 605
    for path, body in (("/_sim/timings", {"lifetime_s": 0}), ("/_sim/timings", {"x": 1})):
        assert (await bot.client.put(path, json=body)).status_code == 400
    assert (await bot.client.post("/_sim/clock", json={"skip_s": -1})).status_code == 400


async def test_every_request_is_recorded_as_it_came(bot: Bot, platform: AssistantsSimulator) -> None:
    await bot.client.post("/v1/threads", content=b'{"metadata": {"nome": "\xc3\x87"}}', headers={"x-a": "1"})
    [recorded] = platform.requests
    assert (recorded.operation, recorded.method, recorded.path) == ("create_thread", "POST", "/threads")
    assert json.loads(recorded.body) == {"metadata": {"nome": "Ç"}}
    assert recorded.headers["x-a"] == "1"
    [shown] = (await bot.client.get("/_sim/requests")).json()
    assert shown["body"] == '{"metadata": {"nome": "Ç"}}'
