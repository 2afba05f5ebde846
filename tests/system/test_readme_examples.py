"""The READMEs' examples, as printed: with a worker process and the simulators, on loopback."""

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.system.daemon import launched
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.crm import CrmSimulator
from worker.simulator.server import serve

ROOT = Path(__file__).parents[2]
ENGLISH, READMES = "README.md", ("README.md", "README.pt-BR.md")
WORKER, PLATFORM, CRM = 8080, 8100, 8101
"""The ports that the READMEs print."""


def block(readme: str, language: str, holding: str = "") -> str:
    """The one code block in this language that holds this text."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = (code for code in blocks if holding in code)
    return found


async def said(script: str, folder: Path, ports: Mapping[int, int], **environ: str) -> str:
    """What a script prints when it is run with the ports of this test; every command must succeed."""
    script = re.sub(r"127\.0\.0\.1:(\d+)", lambda printed: f"127.0.0.1:{ports[int(printed[1])]}", script)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-ec", script),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return output.decode()


async def settings_exported(folder: Path, ports: Mapping[int, int]) -> dict[str, str]:
    """The settings that the READMEs export before `make run`, our interpreter standing in for `.venv`."""
    command = folder / ".venv/bin/ticket-worker"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\nPYTHONPATH='{ROOT}' exec '{sys.executable}' -m worker \"$@\"\n")
    command.chmod(0o700)
    exports, english = (block(readme, "bash", "export PLATFORM=") for readme in READMES)
    assert exports == english
    environ = await said(exports.replace("make run", "env -0"), folder, ports)
    values = dict(entry.split("=", 1) for entry in environ.split("\0") if entry)
    return {name: values[name] for name in re.findall(r"\b([A-Z_]+)=", exports)}


@dataclass(frozen=True)
class House:
    """A worker with its platform and its CRM, and terminals beside it."""

    crm: CrmSimulator
    folder: Path
    ports: Mapping[int, int]
    token: str

    async def terminal(self, script: str) -> str:
        """What a script prints here."""
        environ = {"API_TOKEN": self.token} if self.token else {}
        return await said(script, self.folder, self.ports, **environ)

    async def answered_call(self, conversation: str) -> dict[str, Any]:
        """The conversation's newest call, once its answer was handed over."""
        url = f"http://127.0.0.1:{self.ports[WORKER]}/v1/calls"
        async with asyncio.timeout(30), httpx.AsyncClient() as http:
            while True:
                calls = (await http.get(url, params={"conversation": conversation})).json()["items"]
                if calls and calls[0]["submitted_at"]:
                    return dict(calls[0])
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def house(folder: Path, token: str = "") -> AsyncIterator[House]:
    """Everything that the READMEs start in terminals 1 and 2; with a token, the API asks for it."""
    crm = CrmSimulator()
    async with serve(AssistantsSimulator().app) as platform_url, serve(crm.app) as crm_url:
        ports = {PLATFORM: port_of(platform_url), CRM: port_of(crm_url)}
        settings = await settings_exported(folder, ports)
        async with launched(folder, {**settings, "API_TOKEN": token}) as worker:
            await worker.ready()
            yield House(crm, folder, {**ports, WORKER: port_of(worker.url)}, token)


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def needs(program: str) -> None:
    """What a machine with only Python and make may lack."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed: this example was NOT run")


def customer(readme: str) -> str:
    """Terminal 3: the customer writes, a run is started."""
    return block(readme, "bash", "/threads/runs")


@pytest.mark.parametrize("readme", READMES)
async def test_curl_hands_a_run_over_and_the_log_greps_count_its_ticket(tmp_path: Path, readme: str) -> None:
    needs("curl")
    async with house(tmp_path) as home:
        await home.terminal(customer(readme) + block(readme, "bash", "/v1/conversations/"))
        call = await home.answered_call("whatsapp-1")
        greps = block(readme, "bash", 'grep "🎫').replace("grep ", "grep -c ")
        counts = await home.terminal(f"set +e\n{greps}true")  # a count of 0 is a failure to grep
    assert [ticket.protocolo for ticket in home.crm.tickets] == [call["protocolo"]]
    assert counts.split() == ["1", "0", "1", "0"]


async def test_python_is_a_whole_bot_and_run_twice_it_opens_one_ticket(tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(block(ENGLISH, "python"), encoding="utf-8")
    exports = customer(ENGLISH).splitlines()[0]
    async with house(tmp_path, token="s3gr3do") as home:
        bot = f"{exports}\n'{sys.executable}' bot.py"
        first, second = await home.terminal(bot), await home.terminal(bot)
    (ticket,) = home.crm.tickets
    assert first == second == f"abrir_ticket_crm done {ticket.protocolo}\n"


async def test_typescript_hands_a_run_over_and_reads_its_protocolo(tmp_path: Path) -> None:
    needs("curl")
    needs("node")
    example = re.sub(r"\??: (?:string|object|any)\b", "", block(ENGLISH, "ts"))
    (tmp_path / "bot.mjs").write_text(example, encoding="utf-8")
    async with house(tmp_path, token="s3gr3do") as home:
        printed = await home.terminal(customer(ENGLISH) + "\nnode bot.mjs")
    (ticket,) = home.crm.tickets
    assert printed == f"abrir_ticket_crm done {ticket.protocolo}\n"


async def test_what_an_operator_asks_the_api_is_answered(tmp_path: Path) -> None:
    needs("curl")
    async with house(tmp_path) as home:
        answers = await home.terminal(block("README.pt-BR.md", "bash", "/v1/calls?state="))
    assert answers == 5 * '{"items":[],"next_cursor":null}'
