"""Bare sockets: the least that a request can cost in asyncio. The floor speaks through it, and so do we."""

import asyncio
import contextlib
import json
from typing import Any

_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Sockets:
    """Kept-alive connections to one loopback server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Stream] = []

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request and its answer, both JSON. Raises `RuntimeError` for anything but 2xx."""
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        stream = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = stream
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\ncontent-length: {len(content)}\r\n"
        )
        writer.write(f"{head}content-type: application/json\r\n\r\n".encode() + content)
        answered = await reader.readuntil(b"\r\n\r\n")
        lower = answered.lower()
        length = int(lower[lower.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        answer = await reader.readexactly(length)
        self._idle.append(stream)
        if not answered.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(answered.split(b"\r\n", 1)[0].decode())
        return json.loads(answer)

    async def aclose(self) -> None:
        """Close what is idle."""
        for _, writer in self._idle:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        self._idle.clear()
