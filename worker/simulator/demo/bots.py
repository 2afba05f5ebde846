"""The bot's side of each platform: it posts the customer's messages and reads the assistant's reply.

The bots use only the platform's own HTTP API, as a bot developer would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from worker.simulator.agents.saved_agents import AGENTS
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.script import CustomerMessage

Json = dict[str, Any]

RECEIPT_URL = "https://arquivos.example/comprovante.jpg"


@dataclass(frozen=True, slots=True)
class JsonClient:
    """A client of one JSON server. Raises `httpx.HTTPError` unless the server answers with success."""

    http: httpx.AsyncClient
    url: str

    async def request(self, method: str, path: str, body: Json | None = None, **headers: str) -> Json:
        response = await self.http.request(method, f"{self.url}{path}", json=body, headers=headers)
        response.raise_for_status()
        answer: Json = response.json() if response.content else {}
        return answer


@dataclass(frozen=True, slots=True)
class StartedRun:
    """The run that a message started, as the bot announces it to the worker."""

    #: None where the platform keeps no conversation.
    thread_id: str | None
    run_id: str


class Bot(Protocol):
    """One customer's conversation."""

    async def send(self, message: CustomerMessage) -> StartedRun:
        """Post the customer's message and start a run."""

    async def answer(self, run_id: str) -> str:
        """The text that this run sent to the customer. It must be the last run of the message."""


MakeBot = Callable[[JsonClient], Bot]


class AssistantsBot:
    """Posts messages to a thread and starts a run for each."""

    def __init__(self, platform: JsonClient) -> None:
        self._platform = platform
        self._thread = ""

    async def send(self, message: CustomerMessage) -> StartedRun:
        if not self._thread:
            self._thread = (await self._platform.request("POST", "/threads", {}))["id"]
        body = {"role": "user", "content": _content(message)}
        await self._platform.request("POST", f"/threads/{self._thread}/messages", body)
        start = {"assistant_id": ASSISTANTS["FINANCEIRO"]}
        run = await self._platform.request("POST", f"/threads/{self._thread}/runs", start)
        return StartedRun(self._thread, run["id"])

    async def answer(self, run_id: str) -> str:
        page = await self._platform.request("GET", f"/threads/{self._thread}/messages?run_id={run_id}")
        return "\n".join(part["text"]["value"] for message in page["data"] for part in message["content"])


def _content(message: CustomerMessage) -> list[Json]:
    picture = [{"type": "image_url", "image_url": {"url": RECEIPT_URL}}] if message.image else []
    return [*picture, {"type": "text", "text": message.text}]


class AgentsBot:
    """Opens a session with the first message and sends the following ones as events."""

    def __init__(self, platform: JsonClient) -> None:
        self._platform = platform
        self._session = ""

    async def send(self, message: CustomerMessage) -> StartedRun:
        body = {"role": "user", "content": _input(message)}
        if self._session:
            event = {"type": "agent.session.input.message", "input": [body]}
            await self._request("POST", f"/{self._session}/events", {"events": [event]})
        else:
            start = {"agent_id": AGENTS["FINANCEIRO"], "environment": {"type": "none"}, "input": [body]}
            self._session = (await self._request("POST", "", start))["id"]
        return StartedRun(self._session, self._session)

    async def answer(self, run_id: str) -> str:
        newest = (await self._request("GET", f"/{run_id}/turns?limit=1"))["data"][0]["id"]
        return _assistant_text(
            (await self._request("GET", f"/{run_id}/turns/{newest}/items?order=asc"))["data"]
        )

    async def _request(self, method: str, path: str, body: Json | None = None) -> Json:
        beta = {"OpenAI-Beta": "agents=v1"}
        return await self._platform.request(method, f"/agents/sessions{path}", body, **beta)


class ResponsesBot:
    """Creates background responses in one conversation."""

    def __init__(self, platform: JsonClient) -> None:
        self._platform = platform
        self._conversation: str | None = None

    async def send(self, message: CustomerMessage) -> StartedRun:
        request = {
            "model": "gpt-6-astra",
            "instructions": "Você é o assistente FINANCEIRO.",
            "tools": _TOOLS,
            "input": [{"role": "user", "content": _input(message)}],
            "background": True,
            **await self._continuation(),
        }
        response = await self._platform.request("POST", "/responses", request)
        return StartedRun(self._conversation, response["id"])

    async def _continuation(self) -> Json:
        """The part of a request that names the conversation to continue."""
        if self._conversation is None:
            self._conversation = (await self._platform.request("POST", "/conversations", {}))["id"]
        return {"conversation": self._conversation}

    async def answer(self, run_id: str) -> str:
        return _assistant_text((await self._platform.request("GET", f"/responses/{run_id}"))["output"])


class ChainBot(ResponsesBot):
    """Chains background responses by `previous_response_id`, without a conversation."""

    _last: str | None = None

    async def _continuation(self) -> Json:
        return {"previous_response_id": self._last} if self._last else {}

    async def answer(self, run_id: str) -> str:
        self._last = run_id
        return await super().answer(run_id)


def _input(message: CustomerMessage) -> list[Json]:
    picture = [{"type": "input_image", "image_url": RECEIPT_URL}] if message.image else []
    return [*picture, {"type": "input_text", "text": message.text}]


def _assistant_text(items: Sequence[Json]) -> str:
    messages = [item for item in items if item["type"] == "message" and item["role"] == "assistant"]
    return "\n".join(part["text"] for item in messages for part in item["content"])


def _function(name: str, *parameters: str) -> Json:
    """A short form of the tool definition that `sync-schema --out` writes for the bot."""
    properties = {name: {"type": "string"} for name in parameters}
    shape = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "name": name, "parameters": {**shape, "additionalProperties": False}}


_TOOLS = [
    _function("abrir_ticket_crm", "resumo", "setor", "motivo"),
    _function("transferir_para_humano", "departamento", "motivo"),
]
