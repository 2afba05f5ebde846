"""Bounds on the connections of the HTTP API: how many there are, and how long each may take for what.

uvicorn bounds neither: a client that connects and sends nothing would hold a descriptor for ever, and without
descriptors no ticket is opened.
"""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from worker import logs

HEAD_S = 10.0
"""From the connection, or the first byte of a further request, to the end of its head."""

BODY_S = 30.0
"""From a request's head to the end of its body."""

IDLE_S = 30.0
"""From an answer to the next request; what the caller has not read of the answer is given up then, too."""

WRITE_S = 30.0
"""How long a caller may read nothing of an answer that is being sent."""

MOST = 1000
"""Connections at once, where descriptors do not allow fewer."""


def most_connections(descriptors: int) -> int:
    """How many connections may be open: a quarter of the process's descriptors at most."""
    return max(1, min(MOST, descriptors // 4))


class Connections:
    """The open connections of one server. When it is full, one that waits for a request makes room."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: set[BoundedConnection] = set()
        self._waiting: dict[BoundedConnection, None] = {}  # those without a request, the oldest first

    def add(self, connection: "BoundedConnection") -> None:
        """Take a new connection in, or refuse it when a request is at work on every other one."""
        if len(self._open) >= self.limit:
            logs.event("! limite de conexões da API atingido", level="WARNING", throttled=True)
            crowded_out = next(iter(self._waiting), connection)
            self.discard(crowded_out)
            crowded_out.transport.abort()
            if crowded_out is connection:
                return
        self._open.add(connection)
        self.wait(connection)

    def wait(self, connection: "BoundedConnection") -> None:
        """Nothing is at work for this connection."""
        if connection in self._open:
            self._waiting.pop(connection, None)
            self._waiting[connection] = None

    def work(self, connection: "BoundedConnection") -> None:
        """A request of this connection is at work."""
        self._waiting.pop(connection, None)

    def discard(self, connection: "BoundedConnection") -> None:
        """The connection has ended."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)


class BoundedConnection(H11Protocol):
    """uvicorn's HTTP/1.1 connection with a time limit on each thing that its caller has to do."""

    registry: Connections

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._served: ASGIApp = self.app
        self.app = self._answer
        self._limit: asyncio.TimerHandle | None = None
        self._write_limit: asyncio.TimerHandle | None = None
        self._idle = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        super().connection_made(transport)
        self._allow(HEAD_S)
        self.registry.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._allow(None)
        self.resume_writing()
        self.registry.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._idle:
            self._idle = False
            self._allow(HEAD_S)
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_limit = self.loop.call_later(WRITE_S, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_limit is not None:
            self._write_limit.cancel()
            self._write_limit = None
        super().resume_writing()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: its body has a time limit, the work on it has none here."""
        self.registry.work(self)
        self._idle = False
        self._allow(BODY_S)

        async def timed() -> Message:
            message = await receive()
            if not message.get("more_body", False):
                self._allow(None)
            return message

        try:
            await self._served(scope, timed, send)
        finally:
            self._idle = True
            self._allow(IDLE_S)
            self.registry.wait(self)

    def _allow(self, seconds: float | None) -> None:
        """Limit how long the caller may take for its next step; None while the server itself is working."""
        if self._limit is not None:
            self._limit.cancel()
        gone = self.transport is None or self.transport.is_closing()
        self._limit = None if seconds is None or gone else self.loop.call_later(seconds, self.transport.abort)


def bounded(limit: int) -> type[BoundedConnection]:
    """The class of one server's connections, of which there are at most `limit`."""

    class Connection(BoundedConnection):
        registry = Connections(limit)

    return Connection
