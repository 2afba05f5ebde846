"""A loopback HTTP server of raw sockets: says what a test wrote, and misbehaves as CRMs have been seen to."""

import asyncio
import contextlib
import json
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlsplit

Act = Callable[["Exchange"], Awaitable[bool]]
"""What the server does with one request; returns whether the connection stays open."""


@dataclass
class Exchange:
    """One request, and the means to answer it badly."""

    head: str
    body: bytes
    connection: int
    writer: asyncio.StreamWriter

    @property
    def method(self) -> str:
        return self.head.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.head.split(" ", 2)[1]

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def json(self) -> object:
        return json.loads(self.body)

    @property
    def headers(self) -> dict[str, str]:
        lines = (line.split(": ", 1) for line in self.head.split("\r\n")[1:])
        return {name.lower(): value for name, value in lines}

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


class RawServer:
    """Answers each request with the next of `acts`, then with `default`."""

    path = "/abrir_ticket"

    def __init__(self, *acts: Act, default: Act | None = None) -> None:
        self.acts = list(acts)
        self.default = default or reply()
        self.requests: list[Exchange] = []
        self.connections = 0
        self.closed = asyncio.Semaphore(0)
        """Released once for each connection this side has closed."""
        self._handlers: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}{self.path}"
        try:
            yield self
        finally:
            server.close()
            for handler in self._handlers:
                handler.cancel()
            await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler
        self._handlers.add(handler)
        self.connections += 1
        number = self.connections
        try:
            while await self._exchange(reader, writer, number):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._handlers.discard(handler)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self.closed.release()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1]) if length else 0)
        exchange = Exchange(head, body, number, writer)
        self.requests.append(exchange)
        return await self._next()(exchange)

    def _next(self) -> Act:
        return self.acts.pop(0) if self.acts else self.default


class Wire(RawServer):
    """Says what it is told to, in that order, each on a connection of its own; the last is said again."""

    path = ""

    def __init__(self) -> None:
        super().__init__()
        self.got_one = asyncio.Event()

    def forget(self) -> None:
        """Forget all requests and replies."""
        self.requests.clear()
        self.got_one.clear()
        self.acts.clear()

    def says(self, body: object, status: int = 200, **headers: str) -> None:
        """Add a reply: `body` is sent as JSON, bytes as they are. Header names are written with `_`."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"content_type": "application/json", **headers, "connection": "close"}
        self.acts.append(reply(status, payload, close=True, **named))

    def says_bytes(self, data: bytes) -> None:
        """Add a reply that need not be HTTP; empty: the connection is closed without a word."""
        self.acts.append(say(data))

    def never_ends(self) -> None:
        """Add an answer whose every byte comes in time and whose end never does."""
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
        self.acts.append(trickle(head + b" " * 1_000_000, 0.01))

    def _next(self) -> Act:
        self.got_one.set()
        return self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Wire]:
    """A `Wire` on a free loopback port."""
    async with Wire().running() as wire:
        yield wire


def answer(status: int, body: bytes = b"[]", headers: dict[str, str] | None = None) -> bytes:
    """A whole HTTP/1.1 answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def reply(status: int = 200, body: bytes = b"[]", *, close: bool = False, **headers: str) -> Act:
    """Answer properly; header names are written with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def act(exchange: Exchange) -> bool:
        await exchange.write(answer(status, body, named))
        return not close

    return act


def say(data: bytes) -> Act:
    """Write these bytes, then end the connection."""

    async def act(exchange: Exchange) -> bool:
        await exchange.write(data)
        return False

    return act


def reset(after: bytes = b"") -> Act:
    """Write these bytes, then reset the connection instead of ending it."""

    async def act(exchange: Exchange) -> bool:
        await exchange.write(after)
        linger = struct.pack("ii", 1, 0)
        exchange.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        exchange.writer.transport.abort()
        return False

    return act


def trickle(data: bytes, pause_s: float) -> Act:
    """Write one byte at a time: no single read is slow, the whole is."""

    async def act(exchange: Exchange) -> bool:
        for byte in data:
            await exchange.write(bytes([byte]))
            await asyncio.sleep(pause_s)
        return False

    return act


class Gate:
    """Holds requests until `opened`; `reached` counts those that wait or waited."""

    def __init__(self, then: Act) -> None:
        self.opened = asyncio.Event()
        self.arrived = asyncio.Semaphore(0)
        self.reached = 0
        self._then = then

    async def __call__(self, exchange: Exchange) -> bool:
        self.reached += 1
        self.arrived.release()
        await self.opened.wait()
        return await self._then(exchange)


@contextlib.asynccontextmanager
async def tunnelling(port: int) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy whose tunnels all lead to this local port; yields its address and the heads it got."""
    heads: list[str] = []
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
        except OSError:
            pass  # one side left
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        tasks.update({asyncio.create_task(copy(reader, back)), asyncio.create_task(copy(there, writer))})

    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    async with server:
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
