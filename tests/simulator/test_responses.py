"""The simulated Responses API over HTTP, on a clock the tests own, its answers judged by the SDK's types."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from openai import OpenAI
from openai.types.conversations import Conversation, ConversationItemList
from openai.types.responses import Response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from worker.simulator.assistants.runs import Timings
from worker.simulator.clock import Clock
from worker.simulator.responses.app import ResponsesSimulator
from worker.simulator.script import (
    AnsweredCall,
    Call,
    CustomerMessage,
    Failure,
    FunctionCalls,
    Move,
    Reply,
    Rounds,
)
from worker.simulator.server import serve

NOW = 1_795_000_000
TICKET, HANDOFF = Call("abrir_ticket_crm", '{"a": 1}'), Call("transferir_para_humano", "{}")
START = {"model": "gpt-4o", "input": "Oi", "background": True}
SECRET = "whsec_" + b64encode(b"segredo").decode()


class Model:
    """The scripted model: what it says next, and all it was shown."""

    def __init__(self) -> None:
        self.first: Move = FunctionCalls((TICKET, HANDOFF))
        self.told: list[CustomerMessage] = []
        self.rounds: list[tuple[AnsweredCall, ...]] = []

    def __call__(self, told: Any, rounds: Rounds) -> Move:
        self.told, self.rounds = list(told), [tuple(heard) for heard in rounds]
        return Reply("Pronto") if rounds else self.first


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def simulator(model: Model) -> ResponsesSimulator:
    return ResponsesSimulator(
        script=model, timings=Timings(queued_s=1, thinking_s=1), clock=Clock(lambda: float(NOW))
    )


class Bot:
    """Speaks to the platform; what it refuses is returned as (status, error)."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = await self._client.request(method, path, json=body)
        if answer.status_code == 200:
            return answer.json()
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return answer.status_code, error

    async def get(self, path: str) -> Any:
        return await self.ask("GET", path)

    async def create(self, **changes: object) -> Any:
        return await self.ask("POST", "/responses", {**START, **changes})

    async def conversation(self, *items: object) -> str:
        made = await self.ask("POST", "/conversations", {"items": list(items)} if items else {})
        Conversation.model_validate(made, strict=True)
        return str(made["id"])

    async def items(self, conversation_id: str, query: str = "?order=asc") -> list[Any]:
        page = await self.get(f"/conversations/{conversation_id}/items{query}")
        ConversationItemList.model_validate(page)
        return list(page["data"])


@pytest_asyncio.fixture
async def bot(simulator: ResponsesSimulator) -> AsyncIterator[Bot]:
    transport = httpx.ASGITransport(simulator.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:
        yield Bot(client)


def outputs(response: Any, text: str = "{}") -> list[dict[str, str]]:
    """The answers to every call of a response."""
    return [
        {"type": "function_call_output", "call_id": item["call_id"], "output": text}
        for item in response["output"]
        if item["type"] == "function_call"
    ]


async def waiting(bot: Bot, simulator: ResponsesSimulator, **changes: object) -> Any:
    """A response that has ended with calls."""
    made = await bot.create(**changes)
    simulator.clock.skip(2)
    return await bot.get(f"/responses/{made['id']}")


# ------------------------------------------------------------------------------------------ in the background


async def test_a_background_response_is_queued_then_in_progress_then_completed_with_the_calls(
    bot: Bot, simulator: ResponsesSimulator
) -> None:
    made = await bot.create()
    assert (made["status"], made["output"], made["usage"]) == ("queued", [], None)
    simulator.clock.skip(1)
    assert (await bot.get(f"/responses/{made['id']}"))["status"] == "in_progress"
    simulator.clock.skip(30)
    ended = await bot.get(f"/responses/{made['id']}")
    assert (ended["status"], ended["completed_at"]) == ("completed", NOW + 2)
    assert [(item["name"], item["arguments"], item["status"]) for item in ended["output"]] == [
        (TICKET.name, TICKET.arguments, "completed"),
        (HANDOFF.name, HANDOFF.arguments, "completed"),
    ]
    for answer in (made, ended):
        Response.model_validate(answer)


@pytest.mark.parametrize("status", ["failed", "incomplete"])
async def test_a_response_may_break(
    bot: Bot, simulator: ResponsesSimulator, model: Model, status: str
) -> None:
    model.first = Failure(status)
    ended = await waiting(bot, simulator)
    Response.model_validate(ended)
    assert (ended["status"], bool(ended["error"])) == (status, status == "failed")
    assert bool(ended["incomplete_details"]) == (status == "incomplete")


async def test_in_the_foreground_the_answer_is_the_end(bot: Bot, model: Model) -> None:
    model.first = Reply("Olá")
    made = await bot.create(background=False)
    assert (made["status"], made["output"][0]["content"][0]["text"]) == ("completed", "Olá")


async def test_only_what_is_made_in_the_background_is_cancelled_once_and_for_all(
    bot: Bot, simulator: ResponsesSimulator
) -> None:
    made = await bot.create()
    cancel = f"/responses/{made['id']}/cancel"
    for _ in range(2):
        assert (await bot.ask("POST", cancel))["status"] == "cancelled"
    simulator.clock.skip(5)
    assert (await bot.get(f"/responses/{made['id']}"))["status"] == "cancelled"
    ended = await waiting(bot, simulator)
    status, error = await bot.ask("POST", f"/responses/{ended['id']}/cancel")
    assert (status, error["message"]) == (400, "Cannot cancel a completed response.")
    front = await bot.create(background=False)
    status, error = await bot.ask("POST", f"/responses/{front['id']}/cancel")
    assert (status, "background=true" in error["message"]) == (400, True)


async def test_a_deleted_response_is_not_found(bot: Bot) -> None:
    made = await bot.create()
    path = f"/responses/{made['id']}"
    assert await bot.ask("DELETE", path) == {"id": made["id"], "object": "response", "deleted": True}
    status, error = await bot.get(path)
    assert (status, error["message"]) == (404, f"Response with id '{made['id']}' not found.")


async def test_what_is_not_stored_is_readable_for_a_while_in_the_background_and_leads_nowhere(
    bot: Bot, simulator: ResponsesSimulator
) -> None:
    front = await bot.create(background=False, store=False)
    assert (await bot.get(f"/responses/{front['id']}"))[0] == 404
    ended = await waiting(bot, simulator, store=False)
    assert (ended["status"], ended["store"]) == ("completed", False)
    status, error = await bot.create(previous_response_id=ended["id"], input=outputs(ended))
    assert (status, error["code"]) == (400, "previous_response_not_found")
    simulator.clock.skip(600)
    assert (await bot.get(f"/responses/{ended['id']}"))[0] == 404


# -------------------------------------------------------------------------------------------------- a chain


async def test_a_chain_goes_on_with_all_outputs_and_the_model_hears_them(
    bot: Bot, simulator: ResponsesSimulator, model: Model
) -> None:
    first = await waiting(bot, simulator)
    second = await waiting(bot, simulator, previous_response_id=first["id"], input=outputs(first, "ok"))
    assert (second["previous_response_id"], second["output"][0]["type"]) == (first["id"], "message")
    assert model.rounds == [(AnsweredCall(TICKET, "ok"), AnsweredCall(HANDOFF, "ok"))]
    assert [said.text for said in model.told] == ["Oi"]
    items = await bot.get(f"/responses/{second['id']}/input_items?order=asc")
    assert [item["type"] for item in items["data"]] == ["function_call_output"] * 2


async def test_two_creates_on_a_chain_are_two_siblings(bot: Bot, simulator: ResponsesSimulator) -> None:
    first = await waiting(bot, simulator)
    body = {"previous_response_id": first["id"], "input": outputs(first)}
    siblings = {(await bot.create(**body))["id"] for _ in range(2)}
    assert len(siblings) == 2


async def test_a_new_message_starts_the_rounds_again(
    bot: Bot, simulator: ResponsesSimulator, model: Model
) -> None:
    first = await waiting(bot, simulator)
    picture = {"type": "input_image", "image_url": "https://x.example/a.jpg"}
    message = {"role": "user", "content": [{"type": "input_text", "text": "Paguei"}, picture]}
    model.first = Reply("Obrigado")
    await waiting(bot, simulator, previous_response_id=first["id"], input=[*outputs(first), message])
    assert (model.told, model.rounds) == ([CustomerMessage("Oi"), CustomerMessage("Paguei", image=True)], [])


async def test_rounds_are_told_one_by_one_and_outputs_may_be_lists_of_texts(
    bot: Bot, simulator: ResponsesSimulator, model: Model
) -> None:
    first = await waiting(bot, simulator, input=[{"role": "assistant", "content": "Olá"}])
    asks_again: Callable[[Any, Rounds], Move] = lambda told, rounds: FunctionCalls((TICKET,))  # noqa: E731
    simulator.responses.script = asks_again
    second = await waiting(bot, simulator, previous_response_id=first["id"], input=outputs(first, "um"))
    simulator.responses.script = model
    listed = [{**outputs(second)[0], "output": [{"type": "input_text", "text": "dois"}]}]
    await waiting(bot, simulator, previous_response_id=second["id"], input=listed)
    assert model.rounds == [
        (AnsweredCall(TICKET, "um"), AnsweredCall(HANDOFF, "um")),
        (AnsweredCall(TICKET, "dois"),),
    ]


# -------------------------------------------------------------------------------------------- a conversation


async def test_items_are_added_to_the_conversation_when_the_response_completes(
    bot: Bot, simulator: ResponsesSimulator
) -> None:
    conversation = await bot.conversation()
    made = await bot.create(conversation=conversation)
    assert (made["conversation"], await bot.items(conversation)) == ({"id": conversation}, [])
    simulator.clock.skip(2)
    types = ["message", "function_call", "function_call"]
    assert [item["type"] for item in await bot.items(conversation)] == types
    ended = await bot.get(f"/responses/{made['id']}")
    await waiting(bot, simulator, conversation={"id": conversation}, input=outputs(ended))
    types = [*types, "function_call_output", "function_call_output", "message"]
    assert [item["type"] for item in await bot.items(conversation)] == types
    assert [item["type"] for item in await bot.items(conversation, "?limit=2")] == types[:-3:-1]


async def test_a_conversation_is_locked_while_a_response_is_made_in_it(
    bot: Bot, simulator: ResponsesSimulator
) -> None:
    conversation = await bot.conversation({"role": "user", "content": "Oi"})
    await bot.create(conversation=conversation)
    items = {"items": [{"role": "user", "content": "Mais"}]}
    for refused in (
        await bot.create(conversation=conversation),
        await bot.ask("POST", f"/conversations/{conversation}/items", items),
    ):
        assert refused[0] == 400
        assert (refused[1]["code"], refused[1]["param"]) == ("conversation_locked", "conversation")
    simulator.clock.skip(2)
    assert (await bot.ask("POST", f"/conversations/{conversation}/items", items))["object"] == "list"


async def test_an_unanswered_call_blocks_the_conversation_until_it_is_answered(
    bot: Bot, simulator: ResponsesSimulator
) -> None:
    conversation = await bot.conversation()
    first = await waiting(bot, simulator, conversation=conversation)
    call_id = first["output"][0]["call_id"]
    status, error = await bot.create(conversation=conversation)
    assert (status, error["message"]) == (400, f"No tool output found for function call {call_id}.")
    assert error["param"] == "input"
    status, error = await bot.create(conversation=conversation, input=outputs(first)[1:])
    assert call_id in error["message"]
    second = await waiting(bot, simulator, conversation=conversation, input=outputs(first))
    status, error = await bot.create(conversation=conversation, input=outputs(first))
    assert (status, error["message"]) == (
        400,
        f"No tool call found for function call output with call_id {call_id}.",
    )
    assert second["status"] == "completed"


async def test_an_async_call_blocks_nothing(bot: Bot, simulator: ResponsesSimulator, model: Model) -> None:
    model.first = FunctionCalls((TICKET,))
    tool = {"type": "function", "name": TICKET.name, "parameters": {}, "async": True}
    first = await waiting(bot, simulator, tools=[tool])
    assert first["output"][0]["async"] is True
    assert (await bot.create(previous_response_id=first["id"]))["status"] == "queued"


async def test_an_item_that_is_there_already_is_refused(bot: Bot, simulator: ResponsesSimulator) -> None:
    first = await waiting(bot, simulator)
    call = first["output"][0]
    again = {"previous_response_id": first["id"], "input": [call, *outputs(first)]}
    status, error = await bot.create(**again)
    assert (status, error["message"].split(".")[0]) == (400, f"Duplicate item found with id {call['id']}")
    own = {**call, "id": "fc_nossa", "call_id": "call_nossa"}
    mine = [own, {"type": "function_call_output", "call_id": "call_nossa", "output": "{}"}]
    assert (await bot.create(input=mine))["status"] == "queued"


async def test_conversations_and_their_items_can_be_changed_and_deleted(bot: Bot) -> None:
    conversation = await bot.conversation({"role": "user", "content": "Oi"})
    path = f"/conversations/{conversation}"
    changed = await bot.ask("POST", path, {"metadata": {"a": "b"}})
    assert (await bot.get(path)) == changed
    assert changed["metadata"] == {"a": "b"}
    (item,) = await bot.items(conversation)
    assert await bot.get(f"{path}/items/{item['id']}") == item
    assert (await bot.ask("DELETE", f"{path}/items/{item['id']}"))["id"] == conversation
    assert (await bot.get(f"{path}/items/{item['id']}"))[0] == 404
    assert (await bot.ask("DELETE", path))["deleted"] is True
    status, error = await bot.get(path)
    assert (status, error["message"]) == (404, f"Conversation with id '{conversation}' not found.")
    assert (await bot.create(conversation=conversation))[0] == 404


# ------------------------------------------------------------------------------- what it shows and refuses


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"conversation": "conv_1", "previous_response_id": "resp_1"}, "mutually_exclusive_parameters", None),
        ({"previous_response_id": "resp_1"}, "previous_response_not_found", "previous_response_id"),
        ({"service_tier": "scale"}, "invalid_type", None),
        ({"reasoning_effort": "low"}, "unknown_parameter", None),
        ({"input": None}, "invalid_type", None),
        (
            {"input": [{"type": "function_call_output", "output": ""}]},
            "missing_required_parameter",
            "input",
        ),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    bot: Bot, changes: dict[str, object], code: str, param: str | None
) -> None:
    status, error = await bot.create(**changes)
    assert (status, error["code"]) == (400, code)
    assert param in {None, error["param"]}


async def test_settings_are_shown_as_they_took_effect(bot: Bot) -> None:
    made = await bot.create(service_tier="fast", text={"verbosity": "low"}, top_p=0.5, tool_choice="required")
    assert (made["service_tier"], made["tool_choice"], made["top_p"]) == ("priority", "required", 0.5)
    assert made["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert (made["temperature"], made["truncation"], made["metadata"]) == (1.0, "disabled", {})


async def test_a_model_that_reasons_shows_a_top_p_that_it_would_refuse(bot: Bot) -> None:
    made = await bot.create(model="gpt-5.6-terra")
    assert (made["reasoning"]["effort"], made["top_p"]) == ("medium", 0.98)
    status, error = await bot.create(model="gpt-5.6-terra", top_p=0.98)
    assert (status, error["param"], error["code"]) == (400, "top_p", None)
    made = await bot.create(model="gpt-5.6-terra", top_p=0.5, reasoning={"effort": "none"})
    assert made["top_p"] == 0.5


async def test_credentials_of_an_mcp_server_are_not_given_back(bot: Bot) -> None:
    tool = {"type": "mcp", "server_label": "crm", "server_url": "https://crm.example/mcp?key=1"}
    connector = {"type": "mcp", "server_label": "d", "connector_id": "connector_dropbox"}
    secrets = {"authorization": "segredo", "headers": {"X-Api-Key": "segredo"}}
    made = await bot.create(tools=[{**tool, **secrets}, {**connector, **secrets}, {"type": "web_search"}])
    Response.model_validate(made)
    assert "segredo" not in json.dumps(made)
    assert made["tools"][0]["server_url"] == "https://crm.example/<redacted>"
    assert made["tools"][2] == {"type": "web_search"}


async def test_the_state_counts_and_time_can_be_set(bot: Bot, simulator: ResponsesSimulator) -> None:
    await bot.create(conversation=await bot.conversation())
    state = await bot.get("/_sim/state")
    assert (state["conversations"], state["responses"]) == (1, {"queued": 1})
    assert "locked" in state["presets"]
    await bot.ask("PUT", "/_sim/timings", {"queued_s": 0, "thinking_s": 0})
    assert (await bot.get(f"/responses/{(await bot.create())['id']}"))["status"] == "completed"
    assert (await bot.get("/models"))["data"][0]["object"] == "model"


# ------------------------------------------------------------------------------------------------- webhooks


class Receiver:
    """Somebody's webhook: keeps what comes; answers 500 as often as told."""

    def __init__(self, fails: int = 0) -> None:
        self.got: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
        self._fails = fails
        self.app = Starlette(routes=[Route("/", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> HttpResponse:
        self.got.put_nowait((dict(request.headers), await request.body()))
        self._fails -= 1
        return HttpResponse(status_code=500 if self._fails >= 0 else 204)

    async def next(self) -> tuple[dict[str, str], Any]:
        async with asyncio.timeout(30):
            headers, body = await self.got.get()
        with OpenAI(api_key="key") as client:
            client.webhooks.verify_signature(body, headers, secret=SECRET)
        return headers, json.loads(body)


async def at_once(_seconds: float) -> None:
    """Nobody waits between two deliveries."""


async def test_a_background_response_announces_its_end_without_being_read(model: Model) -> None:
    receiver = Receiver(fails=2)
    clock = Clock(lambda: float(NOW))
    async with serve(receiver.app) as url:
        simulator = ResponsesSimulator(
            script=model, clock=clock, webhook_url=f"{url}/", webhook_secret=SECRET, sleep=at_once
        )
        async with serve(simulator.app) as platform, httpx.AsyncClient(base_url=platform) as client:
            made = await Bot(client).create()
            await Bot(client).create(background=False)
            clock.skip(5)
            deliveries = [await receiver.next() for _ in range(3)]
    ids = {headers["webhook-id"] for headers, _ in deliveries}
    assert len(ids) == 1
    for _, event in deliveries:
        assert (event["type"], event["data"]) == ("response.completed", {"id": made["id"]})
    assert receiver.got.empty()


async def test_a_webhook_nobody_takes_is_given_up(simulator: ResponsesSimulator) -> None:
    receiver = Receiver(fails=100)
    webhooks = simulator.webhooks
    webhooks.send("response.completed", {})  # nobody to tell it to
    async with serve(receiver.app) as url:
        webhooks.url, webhooks.secret = url, SECRET
        webhooks._sleep = at_once
        webhooks.send("response.completed", {})
        await asyncio.gather(*webhooks._deliveries)
    tries = receiver.got.qsize()
    assert tries == 6
    webhooks.send("response.completed", {})  # and nobody listens any more
    await asyncio.gather(*webhooks._deliveries)
    assert receiver.got.qsize() == tries
