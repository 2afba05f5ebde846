"""The bot's side of each platform: how the customer's words get there, and how the answer is read.

Nothing but the platform's own HTTP API, as a bot developer would use it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from worker.simulator.agents.saved_agents import AGENTS
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.script import Said

Json = dict[str, Any]

RECEIPT_URL = "https://arquivos.example/comprovante.jpg"


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that is spoken to in JSON. Raises `httpx.HTTPError` for everything but a success."""

    http: httpx.AsyncClient
    url: str

    async def ask(self, method: str, path: str, body: Json | None = None, **headers: str) -> Json:
        response = await self.http.request(method, f"{self.url}{path}", json=body, headers=headers)
        response.raise_for_status()
        answer: Json = response.json() if response.content else {}
        return answer


@dataclass(frozen=True, slots=True)
class Started:
    """What a bot announces to the worker; `thread_id` is None where the platform keeps no conversation."""

    thread_id: str | None
    run_id: str


class Bot(Protocol):
    """One customer's conversation."""

    async def send(self, said: Said) -> Started:
        """Hand over what the customer said."""

    async def answer(self, run_id: str) -> str:
        """What the customer was told: by this run, the last one that came of the message."""


MakeBot = Callable[[Peer], Bot]


class AssistantsBot:
    """Thread, message, run."""

    def __init__(self, platform: Peer) -> None:
        self._platform = platform
        self._thread = ""

    async def send(self, said: Said) -> Started:
        if not self._thread:
            self._thread = (await self._platform.ask("POST", "/threads", {}))["id"]
        message = {"role": "user", "content": _content(said)}
        await self._platform.ask("POST", f"/threads/{self._thread}/messages", message)
        start = {"assistant_id": ASSISTANTS["FINANCEIRO"]}
        run = await self._platform.ask("POST", f"/threads/{self._thread}/runs", start)
        return Started(self._thread, run["id"])

    async def answer(self, run_id: str) -> str:
        page = await self._platform.ask("GET", f"/threads/{self._thread}/messages?run_id={run_id}")
        return "\n".join(part["text"]["value"] for message in page["data"] for part in message["content"])


def _content(said: Said) -> list[Json]:
    picture = [{"type": "image_url", "image_url": {"url": RECEIPT_URL}}] if said.image else []
    return [*picture, {"type": "text", "text": said.text}]


class AgentsBot:
    """A session, opened with the first message; what follows are events."""

    def __init__(self, platform: Peer) -> None:
        self._platform = platform
        self._session = ""

    async def send(self, said: Said) -> Started:
        message = {"role": "user", "content": _input(said)}
        if self._session:
            event = {"type": "agent.session.input.message", "input": [message]}
            await self._ask("POST", f"/{self._session}/events", {"events": [event]})
        else:
            start = {"agent_id": AGENTS["FINANCEIRO"], "environment": {"type": "none"}, "input": [message]}
            self._session = (await self._ask("POST", "", start))["id"]
        return Started(self._session, self._session)

    async def answer(self, run_id: str) -> str:
        newest = (await self._ask("GET", f"/{run_id}/turns?limit=1"))["data"][0]["id"]
        return _spoken((await self._ask("GET", f"/{run_id}/turns/{newest}/items?order=asc"))["data"])

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        beta = {"OpenAI-Beta": "agents=v1"}
        return await self._platform.ask(method, f"/agents/sessions{path}", body, **beta)


class ResponsesBot:
    """Background responses in a conversation."""

    def __init__(self, platform: Peer) -> None:
        self._platform = platform
        self._conversation: str | None = None

    async def send(self, said: Said) -> Started:
        request = {
            "model": "gpt-6-astra",
            "instructions": "Você é o assistente FINANCEIRO.",
            "tools": _TOOLS,
            "input": [{"role": "user", "content": _input(said)}],
            "background": True,
            **await self._goes_on(),
        }
        response = await self._platform.ask("POST", "/responses", request)
        return Started(self._conversation, response["id"])

    async def _goes_on(self) -> Json:
        """What names the conversation in a request."""
        if self._conversation is None:
            self._conversation = (await self._platform.ask("POST", "/conversations", {}))["id"]
        return {"conversation": self._conversation}

    async def answer(self, run_id: str) -> str:
        return _spoken((await self._platform.ask("GET", f"/responses/{run_id}"))["output"])


class ChainBot(ResponsesBot):
    """Background responses one after the other, without a conversation."""

    _last: str | None = None

    async def _goes_on(self) -> Json:
        return {"previous_response_id": self._last} if self._last else {}

    async def answer(self, run_id: str) -> str:
        self._last = run_id
        return await super().answer(run_id)


def _input(said: Said) -> list[Json]:
    picture = [{"type": "input_image", "image_url": RECEIPT_URL}] if said.image else []
    return [*picture, {"type": "input_text", "text": said.text}]


def _spoken(items: Sequence[Json]) -> str:
    spoken = [item for item in items if item["type"] == "message" and item["role"] == "assistant"]
    return "\n".join(part["text"] for item in spoken for part in item["content"])


def _function(name: str, *parameters: str) -> Json:
    """As `sync-schema --out` writes it for a bot to send, in short."""
    properties = {each: {"type": "string"} for each in parameters}
    shape = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "name": name, "parameters": {**shape, "additionalProperties": False}}


_TOOLS = [
    _function("abrir_ticket_crm", "resumo", "setor", "motivo"),
    _function("transferir_para_humano", "departamento", "motivo"),
]
