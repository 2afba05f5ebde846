"""Serving on a socket: it starts before it is asked, ends without waiting, and says when it cannot."""

import asyncio
import logging
import os
import signal
import socket
from io import StringIO

import httpx
import pytest
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.fakes import until
from worker.simulator.server import interrupts, serve
from worker.simulator.serving import simulate


async def hello(_request: Request) -> Response:
    return PlainTextResponse("oi")


async def test_the_end_does_not_wait_for_a_kept_alive_connection() -> None:
    async with httpx.AsyncClient() as client:
        async with serve(Starlette(routes=[Route("/", hello)])) as url:
            assert (await client.get(url)).text == "oi"
        with pytest.raises(httpx.ConnectError):
            await client.get(url)


async def test_the_end_breaks_off_what_is_being_answered_and_calls_it_no_crash(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = asyncio.Event()

    async def never(_request: Request) -> Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with httpx.AsyncClient() as client:
        with caplog.at_level(logging.WARNING):
            async with serve(Starlette(routes=[Route("/", never)])) as url:
                answer = asyncio.create_task(client.get(url))
                await asked.wait()
            with pytest.raises(httpx.TransportError):
                await answer
    assert caplog.records == []


async def test_a_crash_of_the_app_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def crash(_request: Request) -> Response:
        raise ValueError("quebrou")

    async with serve(Starlette(routes=[Route("/", crash)])) as url, httpx.AsyncClient() as client:
        assert (await client.get(url)).status_code == 500
    assert "quebrou" in caplog.text


async def test_a_taken_port_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        async with serve(Starlette(), port=taken.getsockname()[1]):
            raise AssertionError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_simulate_shows_where_everything_is_until_it_is_interrupted(number: signal.Signals) -> None:
    shown = StringIO()
    serving = asyncio.create_task(simulate(0, 0, Console(file=shown, width=200)))
    await until(lambda: "Ctrl-C" in shown.getvalue())
    lines = shown.getvalue().splitlines()
    platform = lines[0].split("OPENAI_BASE_URL=")[1].split()[0]
    async with httpx.AsyncClient() as client:
        listed = (await client.get(f"{platform}/assistants")).json()
    assert all(f"  {item['name']}: {item['id']}" in lines for item in listed["data"])
    assert any("CRM_WEBHOOK_URL=http://127.0.0.1:" in line for line in lines)
    os.kill(os.getpid(), number)
    await serving


async def test_after_the_block_signals_are_not_the_loops_any_more() -> None:
    with interrupts() as interrupted:
        os.kill(os.getpid(), signal.SIGTERM)
        await interrupted.wait()
    assert not asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
