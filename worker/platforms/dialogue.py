"""What the adapters' dialogues share: the objects they create on the platform, and deleting them.

A dialogue is a conversation that the worker itself holds with an assistant, for a rehearsal. Every object it
creates is marked, so that an operator can find those whose id was lost with a response.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx2

from worker.errors import PlatformError, PlatformUnavailable, RunGone
from worker.model import Image, Utterance
from worker.platforms import payloads
from worker.platforms.connection import Connection

Json = dict[str, Any]

MARK = {"ticket_worker": "ensaio"}
"""Metadata of the threads, sessions and conversations that a rehearsal creates."""

_RETRY_DELAYS_S = (0.5, 1.0, 2.0, 4.0)
"""Delays before deleting again after a passing failure."""


class CreatedObjects:
    """The objects that one dialogue has created: a readable name and a path for each."""

    def __init__(
        self, connection: Connection, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._connection = connection
        self._sleep = sleep
        self._paths: dict[str, str] = {}

    def add(self, name: str, path: str) -> None:
        """Record an object. `name`: its kind and id."""
        self._paths[name] = path

    async def delete(self) -> Sequence[str]:
        """Delete everything, newest first. Returns the names of what is left; raises no `PlatformError`."""
        for wait_s in (*_RETRY_DELAYS_S, None):
            results = [await self._delete_one(name) for name in reversed(list(self._paths))]
            if wait_s is None or None not in results:
                break
            await self._sleep(wait_s)
        return tuple(self._paths)

    async def _delete_one(self, name: str) -> bool | None:
        """True if the object is gone, False if it cannot be deleted, None if a retry may help."""
        request = self._connection.client.delete(self._paths[name], cast_to=httpx2.Response)
        try:
            await self._connection.send(request)
        except RunGone:
            pass
        except PlatformError as failure:
            return None if isinstance(failure, PlatformUnavailable) else False
        del self._paths[name]
        return True


async def post(connection: Connection, path: str, body: Json | None = None) -> Json:
    """One POST, read as a JSON object. Raises `PlatformError`s."""
    return (await connection.ask(connection.client.post(path, cast_to=httpx2.Response, body=body))).body


def id_of(body: Json) -> str:
    """The id of an object that was just created. Raises `PlatformUnavailable`."""
    identifier = body.get("id")
    if payloads.is_id(identifier) and payloads.addressable(identifier):
        return identifier
    raise PlatformUnavailable(200)


def input_parts(utterance: Utterance) -> list[Json]:
    """A message for the Agents and Responses APIs: an image travels inside it as a data URL."""
    text = [{"type": "input_text", "text": utterance.text}] if utterance.text else []
    if utterance.image is None:
        return text
    return [{"type": "input_image", "image_url": data_url(utterance.image)}, *text]


def data_url(image: Image) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.content).decode()}"


def assistant_text(items: Sequence[Json]) -> str | None:
    """The assistant's text in these items, in their order; None without any."""
    texts = [
        part["text"]
        for item in items
        if item.get("type") == "message" and item.get("role") == "assistant"
        for part in parts(item)
        if isinstance(part.get("text"), str)
    ]
    return "\n".join(texts) or None


def parts(message: Json) -> list[Json]:
    """The parts of a message's content. Some servers write a message of one text as that text."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
