"""Runs uvicorn in the caller's task, without its signal handlers and logs; cancelling stops it cleanly."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from worker.errors import ConfigError
from worker.process import descriptor_limit
from worker.web.connections import bounded, most_connections

_KEEP_ALIVE_S = 25  # an idle connection is closed in order, before `connections.IDLE_S` ends it
_GRACE_S = 5  # how long open requests may take once we stop


class _Server(uvicorn.Server):
    """Install no signal handlers: the daemon owns the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: ASGIApp, host: str, port: int, *, on_started: Callable[[str], None]) -> None:
    """Serve until cancelled; open requests then have 5 s to finish. `on_started` is given the URL.

    Port 0 takes a free one. Raises `ConfigError` when the address cannot be had.
    """
    with _listen(host, port) as listener:
        server = _Server(_config(app, most_connections(descriptor_limit())))
        on_started(_url(listener))  # what connects from now on waits in the backlog
        try:
            await server.serve(sockets=[listener])
        except asyncio.CancelledError:
            if server.started:
                await server.shutdown(sockets=[listener])
            else:  # asyncio may watch the socket already: the next one with its number would be taken for it
                asyncio.get_running_loop().remove_reader(listener)
            raise


def _config(app: ASGIApp, connections: int) -> uvicorn.Config:
    """`X-Forwarded-For` is judged by `ForwardedClient`; uvicorn would take any text for an address."""
    return uvicorn.Config(
        app,
        http=bounded(connections),
        backlog=connections,  # asyncio accepts as many at once, before any of them is counted
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )


def _listen(host: str, port: int) -> socket.socket:
    """One listening socket, on IPv4 where the name has both."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
        return socket.create_server(address, family=family, backlog=2048)
    except (OSError, UnicodeError):  # a name no resolver can encode
        raise ConfigError(
            f"HTTP_HOST e HTTP_PORT: não foi possível escutar em {host}, porta {port}; "
            "outro programa a ocupa, ou o endereço não é desta máquina"
        ) from None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
