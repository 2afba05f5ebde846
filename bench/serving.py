"""A HTTP/1.1 server of a page, so that what is measured is the client: a read costs it some 30 µs."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

Send = Callable[[int, bytes], None]
Answer = Callable[[str, str, bytes, Send], None]
"""Method, path and body of a request, and what takes its status and answer, now or later."""


class _Connection(asyncio.Protocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport if isinstance(transport, asyncio.WriteTransport) else None

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            length = _content_length(head)
            if len(self._received) < end + 4 + length:
                return
            body = self._received[end + 4 : end + 4 + length]
            self._received = self._received[end + 4 + length :]
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self._answer(method, path.partition("?")[0], body, self._send)

    def _send(self, status: int, body: bytes) -> None:
        head = (
            f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head.encode() + body)


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    return int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def serve(answer: Answer) -> None:
    """Answer on a free port, printed as the only line, until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(lambda: _Connection(answer), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201  # read by whoever started us
    await ended.wait()
    server.close()


async def wait_for_go() -> None:
    """Say on stdout that this process is ready, and wait for a line on stdin."""
    print("ready", flush=True)  # noqa: T201  # as above
    await asyncio.to_thread(sys.stdin.readline)


def as_json(value: Any) -> bytes:
    """The bytes of an answer."""
    return json.dumps(value, ensure_ascii=False).encode()
