"""A loopback HTTP server that says exactly what a test wrote, and remembers what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as it came over the socket."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def json(self) -> object:
        return json.loads(self.body)


@dataclass
class Wire:
    """Replies are given in order; the last one is repeated. `None` trickles bytes and never ends."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    got_one: asyncio.Event = field(default_factory=asyncio.Event)
    _replies: list[bytes | None] = field(default_factory=list)

    def forget(self) -> None:
        """Neither asked nor told anything yet."""
        self.asked.clear()
        self.got_one.clear()
        self._replies.clear()

    def says(self, body: object, status: int = 200, **headers: str) -> None:
        """Add a reply: `body` is sent as JSON, bytes as they are. Header names are written with `_`."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = {"content_type": "application/json", **headers, "connection": "close"}
        head["content_length"] = str(len(payload))
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in head.items()]
        self.says_bytes("\r\n".join([f"HTTP/1.1 {status} X", *lines, "\r\n"]).encode() + payload)

    def says_bytes(self, reply: bytes) -> None:
        """Add a reply that need not be HTTP; empty: the connection is closed without a word."""
        self._replies.append(reply)

    def never_ends(self) -> None:
        self._replies.append(None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await _read(reader))
        self.got_one.set()
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if reply is None:
            await _trickle(writer)
        else:
            writer.write(reply)
            await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = head[0].split(" ")
    pairs = (line.split(": ", 1) for line in head[1:] if line)
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, target, headers, body)


async def _trickle(writer: asyncio.StreamWriter) -> None:
    """An answer whose every byte comes in time and whose end never does."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def listening() -> AsyncIterator[Wire]:
    """A `Wire` on a free loopback port."""
    wire = Wire()
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        # The other side may hang up, and the end of the test cancels (below).
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await wire._serve(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
