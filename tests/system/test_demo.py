"""The demo for real, the worker as a child process: whole on one platform, in short on the other two."""

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO

import httpx
import pytest
from rich.console import Console

from worker.simulator.demo.play import demo
from worker.simulator.lineup import LINEUP

_GREPS = 3


async def test_every_scenario_comes_out_as_told_on_assistants() -> None:
    shown = StringIO()
    playing = asyncio.create_task(demo(keep=True, console=Console(file=shown, width=160)))
    async with asyncio.timeout(120):
        while not playing.done() and "Ctrl-C encerra" not in shown.getvalue():  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
    assert not playing.done(), shown.getvalue()
    worker_url = re.findall(r"API do worker: (\S+)", shown.getvalue())[0]
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{worker_url}/livez")).status_code == 200
        os.kill(os.getpid(), signal.SIGINT)
        assert await playing, shown.getvalue()
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{worker_url}/livez")
    assert shown.getvalue().count("✓") == len(LINEUP["assistants"].scenarios) + _GREPS
    assert "✗" not in shown.getvalue()
    assert "Tickets abertos" in shown.getvalue()


@pytest.mark.parametrize(
    ("platform", "names"),
    [
        (
            "agents",
            (
                "Sem documento, informado em seguida",
                "Duas chamadas em paralelo",
                "CRM passa do prazo da chamada; o ticket vem depois",
            ),
        ),
        (
            "responses",
            (
                "Sem documento, informado em seguida",
                "Cenário 1: comprovante de pagamento (sem conversation)",
                "Sem documento, informado em seguida (sem conversation)",
                "Duas chamadas em paralelo",
            ),
        ),
    ],
)
async def test_what_a_platform_does_in_its_own_way_comes_out_as_told(
    platform: str, names: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    played = LINEUP[platform]
    chosen = tuple(each for each in played.scenarios if each.name in names)
    for proxied in ("HTTP_PROXY", "ALL_PROXY"):  # nothing on this machine goes by it
        monkeypatch.setenv(proxied, "http://127.0.0.1:1")
    monkeypatch.setitem(LINEUP, platform, replace(played, scenarios=chosen))  # type: ignore[arg-type]  # a dict
    shown = StringIO()
    assert await demo(console=Console(file=shown, width=160), platform=platform), shown.getvalue()
    assert shown.getvalue().count("✓") == len(names) + _GREPS
