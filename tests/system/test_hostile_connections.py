"""Callers that take connections and give nothing: tickets are opened beside them, and the log stays small."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.system.daemon import Daemon, House, house

pytestmark = pytest.mark.untraced

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.contextmanager
def callers(port: int, count: int, sends: bytes) -> Iterator[None]:
    """So many connections that send this and stay; the server may hang up on any of them."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            with contextlib.suppress(OSError):
                caller = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                caller.sendall(sends)
        yield


@pytest.mark.parametrize(
    "sends", [b"", HEAD, b"GET / HTTP/1.1\r\nX: "], ids=["nothing", "a request", "half a head"]
)
async def test_connections_that_stay_keep_no_ticket_from_being_opened(tmp_path: Path, sends: bytes) -> None:
    async with house(tmp_path) as home, home.daemon(module="tests.system.few_descriptors") as daemon:
        with callers(daemon.port, 270, sends):
            await _serves(home, daemon)


async def _serves(home: House, daemon: Daemon) -> None:
    async with httpx.AsyncClient(base_url=daemon.url, timeout=5) as api:
        assert (await api.get("/livez")).status_code == 200
    handed = await home.hand_over(daemon, "Minha internet voltou! Obrigado")
    (call,) = (await home.run_ended(daemon, handed.run_id))["calls"]
    assert call["state"] == "done"
    assert len(daemon.log) < 5_000
    assert "Too many open files" not in daemon.stderr
