"""Serves an ASGI app on a real socket, beside the other tasks of the running loop."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_LOG = logging.getLogger("worker.simulator")


def _worth_logging(record: logging.LogRecord) -> bool:
    """False for a request that `shutdown` cancelled: uvicorn reports it as a crash of the app."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


_LOG.addFilter(_worth_logging)


class _Protocol(H11Protocol):
    """Gives each request access to its connection, so that a fault can close it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows asyncio's own signature
        self.app_state = {**self.app_state, "transport": transport}
        self.logger = _LOG


class _Server(uvicorn.Server):
    """The server behind `serve`: no signals, no ticks, and a shutdown that waits for no keep-alive."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.lifespan.shutdown()


@contextlib.asynccontextmanager
async def serve(app: Any, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve `app` until the block ends; yields its base URL. Raises `OSError` when the port is taken.

    Answers carry only the headers the app sets (no `Date`: the simulators have their own clock).
    """
    config = uvicorn.Config(
        app,
        interface="asgi3",
        http=_Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        date_header=False,
        server_header=False,
    )
    with socket.create_server((host, port), backlog=config.backlog) as listening:
        config.load()
        server = _Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listening])
        try:
            yield f"http://{host}:{listening.getsockname()[1]}"
        finally:
            await server.shutdown()


@contextlib.contextmanager
def interrupts() -> Iterator[asyncio.Event]:
    """Within the block SIGINT and SIGTERM only set the event: what was started is ended in order."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, interrupted.set)
    try:
        yield interrupted
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
