"""Stored definitions (assistants, agents, sessions) as raw JSON, for `sync-schema` and the doctor.

They are read by the SDK's generic calls, because its models would drop or add fields of other tools.
"""

import json
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx2

from worker.errors import PlatformRefused, PlatformUnavailable, RunGone
from worker.platforms import payloads
from worker.platforms.connection import Connection, Reply
from worker.platforms.credentials import api_key
from worker.settings import Settings

Json = dict[str, Any]

_TIMEOUT_S = 30.0


class Envelope(NamedTuple):
    """How a platform's tool holds a function: nested in a `function` or flat, with `strict` or without."""

    nested: bool
    strict: bool

    def wrap(self, function: Json, *, strict: bool) -> Json:
        """The tool that offers this function."""
        body = {**function, "strict": True} if strict else function
        return {"type": "function", "function": body} if self.nested else {"type": "function", **body}

    def unwrap(self, tool: Json) -> Json | None:
        """The function a tool offers, flat; None for a tool of another kind."""
        if tool.get("type") != "function":
            return None
        if not self.nested:
            return {name: value for name, value in tool.items() if name != "type"}
        function = tool.get("function")
        return function if isinstance(function, dict) else None


def connection(settings: Settings, *, beta: str | None = None) -> Connection:
    """A connection to the configured platform; `beta` is the `OpenAI-Beta` of its protocol."""
    return Connection(
        api_key=api_key(settings),
        base_url=settings.OPENAI_BASE_URL,
        api_version=settings.OPENAI_API_VERSION,
        beta=beta,
        timeout_s=_TIMEOUT_S,
    )


class Stored:
    """Implements `worker.schema_sync.Definitions` for one kind of object."""

    path: str
    envelope: Envelope
    #: The session copies of its definitions, over the same connection; None where there are none.
    sessions: "Stored | None" = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.host = connection.host

    async def read(self, identifier: str) -> Json:
        """The definition as the server sends it."""
        return self._definition((await self._get(self._path(identifier))).body)

    async def write(self, identifier: str, changes: Json) -> None:
        """Replace these top-level fields; `tools` is the whole list. The last writer wins."""
        await self._connection.ask(self._post(self._path(identifier), changes))

    def complete(self, definition: Json) -> bool:
        """True if the definition's tools contain everything that writing them back needs."""
        return True

    async def served(self) -> bool:
        """Whether this base URL serves the protocol at all. Raises `PlatformError`."""
        try:
            await self._get(f"{self.path}?limit=1")
        except RunGone:
            return False
        except PlatformRefused as refusal:
            if refusal.status != 405:
                raise
            return False
        return True

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connection.aclose()

    def _definition(self, body: Json) -> Json:
        match body:
            case {"tools": None}:
                return self._definition({**body, "tools": []})
            case {"tools": list(tools)} if all(isinstance(tool, dict) for tool in tools):
                if isinstance(body.get("instructions"), str | None):
                    return body
        raise PlatformUnavailable(200)  # writing it back would delete the fields that are not shown

    def _path(self, identifier: str) -> str:
        if not payloads.addressable(identifier):
            raise RunGone
        return f"{self.path}/{quote(identifier, safe='')}"

    async def _get(self, path: str) -> Reply:
        return await self._connection.get(path)

    async def _post(self, path: str, body: Json) -> httpx2.Response:
        # Escaped, so that a lone surrogate in another tool is sent back unchanged.
        content = json.dumps(body, allow_nan=False).encode()
        return await self._connection.client.post(path, cast_to=httpx2.Response, content=content)
