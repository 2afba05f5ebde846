"""What the service manager hears."""

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.background import systemd


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager that listens. In a short folder: a socket's path has 108 bytes at most."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        path = Path(folder) / "notify"
        heard.bind(str(path))
        heard.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield heard


class Periods:
    """A clock that ends it all after so many waits."""

    def __init__(self, periods: int) -> None:
        self.left = periods
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.left -= 1
        if not self.left:
            raise asyncio.CancelledError


def said(manager: socket.socket) -> list[bytes]:
    heard = []
    try:
        while True:
            heard.append(manager.recv(100))
    except BlockingIOError:
        return heard


def test_systemd_is_notified_of_ready_and_stopping(manager: socket.socket) -> None:
    systemd.notify(systemd.READY)
    systemd.notify(systemd.STOPPING)
    assert said(manager) == [b"READY=1", b"STOPPING=1"]


def test_an_abstract_socket_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0ticket-worker-test")
        heard.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", "@ticket-worker-test")
        systemd.notify(systemd.READY)
        assert said(heard) == [b"READY=1"]


@pytest.mark.parametrize("address", ["", "/nonexistent/notify"])
def test_where_nobody_listens_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify(systemd.READY)


async def test_the_watchdog_hears_of_a_living_loop_twice_a_period(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    clock = Periods(3)
    with pytest.raises(asyncio.CancelledError):
        await systemd.keep_watchdog(lambda: clock.left != 2, clock)
    assert said(manager) == [b"WATCHDOG=1"] * 2
    assert clock.waits == [30.0] * 3


async def test_without_a_watchdog_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    await systemd.keep_watchdog(lambda: True, Periods(1))
