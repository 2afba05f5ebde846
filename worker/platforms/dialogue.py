"""What the adapters' dialogues have in common: what they made on the platform, and how it is deleted.

A dialogue is a conversation that the worker itself holds with an assistant, for a rehearsal. Everything that
one makes is marked, so that an operator can find what a lost answer left behind.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx2

from worker.errors import PlatformError, PlatformUnavailable, RunGone
from worker.model import Image, Utterance
from worker.platforms import wire

Json = dict[str, Any]

MARK = {"ticket_worker": "ensaio"}
"""Metadata of threads, sessions and conversations that a rehearsal makes."""

_AGAIN_AFTER_S = (0.5, 1.0, 2.0, 4.0)
"""Waits before what could not be deleted for a passing reason is tried again."""


class Belongings:
    """What one dialogue has made, by its name for people and its path."""

    def __init__(
        self, connection: wire.Connection, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._connection = connection
        self._sleep = sleep
        self._paths: dict[str, str] = {}

    def add(self, name: str, path: str) -> None:
        """`name`: what it is, with its id."""
        self._paths[name] = path

    async def delete(self) -> Sequence[str]:
        """Delete everything, the newest first. What is left, by name. Never raises a `PlatformError`."""
        for wait_s in (*_AGAIN_AFTER_S, None):
            ends = [await self._deleted(name) for name in reversed(list(self._paths))]
            if wait_s is None or None not in ends:
                break
            await self._sleep(wait_s)
        return tuple(self._paths)

    async def _deleted(self, name: str) -> bool | None:
        """Whether it is gone; None when another try may help."""
        request = self._connection.client.delete(self._paths[name], cast_to=httpx2.Response)
        try:
            await self._connection.send(request)
        except RunGone:
            pass
        except PlatformError as failure:
            return None if isinstance(failure, PlatformUnavailable) else False
        del self._paths[name]
        return True


async def post(connection: wire.Connection, path: str, body: Json | None = None) -> Json:
    """One POST, read as a JSON object. Raises `PlatformError`s."""
    return (await connection.ask(connection.client.post(path, cast_to=httpx2.Response, body=body))).body


async def get(connection: wire.Connection, path: str) -> Json:
    """One GET, read as a JSON object. Raises `PlatformError`s."""
    return (await connection.ask(connection.client.get(path, cast_to=httpx2.Response))).body


def made_id(body: Json) -> str:
    """The id of what was just made. Raises `PlatformUnavailable`."""
    identifier = body.get("id")
    if wire.is_id(identifier) and wire.addressable(identifier):
        return identifier
    raise PlatformUnavailable(200)


def input_parts(utterance: Utterance) -> list[Json]:
    """A message as the Agents and Responses APIs take it: an image travels inside, as a data URL."""
    text = [{"type": "input_text", "text": utterance.text}] if utterance.text else []
    if utterance.image is None:
        return text
    return [{"type": "input_image", "image_url": data_url(utterance.image)}, *text]


def data_url(image: Image) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.content).decode()}"


def spoken(items: Sequence[Json]) -> str | None:
    """The assistant's words among these items, in their order; None: it said nothing."""
    texts = [
        part["text"]
        for item in items
        if item.get("type") == "message" and item.get("role") == "assistant"
        for part in item.get("content") or ()
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]
    return "\n".join(texts) or None
