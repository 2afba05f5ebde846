"""The daemon as an operator starts it, the simulators around it, and a bot that hands runs over."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from tests.forked import Forked, forked
from worker import logs
from worker.cli.main import cli
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.assistants.runs import Timings
from worker.simulator.crm import CrmSimulator
from worker.simulator.server import serve

ROOT = Path(__file__).parents[2]
INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
QUICK = Timings(queued_s=0, thinking_s=0)
HELD_S = 600.0
"""A fault that answers this late never answers: the test is over long before."""

BASIC = {
    "PLATFORM": "assistants",
    "OPENAI_API_KEY": "test",
    "DATA_KEYS": Fernet.generate_key().decode(),
    "POLL_MIN_S": "0.05",
    "POLL_MAX_S": "0.2",
    "DISCOVER_INTERVAL_S": "0",
    "CRM_BACKOFF_BASE_S": "0.02",
    "CRM_BACKOFF_MAX_S": "0.1",
    "SHUTDOWN_GRACE_S": "10",
}


def cpf(number: int) -> str:
    """A CPF with right check digits."""
    digits = [int(digit) for digit in f"{number:09}"]
    for _ in range(2):
        weighted = sum(digit * weight for digit, weight in zip(reversed(digits), range(2, 12), strict=False))
        digits.append(-weighted % 11 % 10)
    return "".join(map(str, digits))


async def until(happened: Callable[[], object]) -> None:
    """Wait for what is bound to happen; 20 s are the judge of what is not."""
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110  # files and other processes tell nobody
            await asyncio.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on (now)."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass
class Daemon:
    """One child process. `folder` holds `logs/`, `stdout.txt`, `stderr.txt` and, by default, `worker.db`."""

    process: asyncio.subprocess.Process | Forked
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr.txt").read_text(encoding="utf-8")

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout.txt").read_text(encoding="utf-8")

    @property
    def log(self) -> str:
        return (self.folder / "logs" / "worker.log").read_text(encoding="utf-8")

    async def ready(self) -> None:
        """Wait until it serves."""
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while not await self._is_ready(client):
                assert self.process.returncode is None, self.stderr
                await asyncio.sleep(0.02)

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await client.get(f"{self.url}/readyz")).status_code == 200
        return False

    async def ended(self) -> int:
        """Its exit code, once it has left by itself; negative: the signal that ended it."""
        async with asyncio.timeout(30):
            return await self.process.wait()

    async def signalled(self, number: signal.Signals) -> int:
        """Send a signal, and wait for the exit code."""
        self.process.send_signal(number)
        return await self.ended()


def environ(settings: Mapping[str, str]) -> dict[str, str]:
    """These settings, and of our own environment nothing that configures a worker."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or name.startswith(("LC_", "PYTHON", "COVERAGE"))
    }
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, **settings}


@contextlib.asynccontextmanager
async def launched(
    folder: Path,
    settings: Mapping[str, str],
    module: str = "worker",
    command: str = "run",
    *,
    anew: bool = False,
) -> AsyncIterator[Daemon]:
    """`python -m worker run` in `folder`; what is left of it when the block ends is killed.

    `anew`: not forked, because this test is about what happens while Python starts it, too.
    """
    port = int(settings.get("HTTP_PORT", free_port()))
    own = {"HTTP_PORT": str(port), "LOG_DIR": "logs", "DATABASE_URL": "sqlite:///worker.db"}
    with (folder / "stdout.txt").open("ab") as out, (folder / "stderr.txt").open("ab") as err:
        where: dict[str, Any] = {
            "cwd": folder,
            "env": environ({**own, **settings}),
            "stdout": out,
            "stderr": err,
        }
        process = await _anew(module, command, **where) if anew else forked(module, command, **where)
    try:
        yield Daemon(process, folder, port)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _anew(*words: str, **where: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", *words, stdin=asyncio.subprocess.DEVNULL, start_new_session=True, **where
    )


async def refused(folder: Path, settings: Mapping[str, str]) -> tuple[int, str]:
    """The exit code of a `run` in `folder` that should not start, and what it said on stderr.

    In this process, because starting another takes longer than all the refusing.
    """
    own = {"HTTP_PORT": "0", "LOG_DIR": "logs", "DATABASE_URL": "sqlite:///worker.db"}
    with pytest.MonkeyPatch.context() as process:
        process.chdir(folder)
        for name in os.environ:
            process.delenv(name)
        for name, value in environ({**own, **settings}).items():
            process.setenv(name, value)
        try:
            ended = await asyncio.to_thread(CliRunner().invoke, cli, ["run"])
        finally:
            logs.shutdown()
    return ended.exit_code, ended.stderr


async def refused_in_its_own_process(folder: Path, settings: Mapping[str, str]) -> tuple[int, str]:
    """As `refused`, for one that gets as far as listening to signals."""
    async with launched(folder, settings) as daemon:
        return await daemon.ended(), daemon.stderr


@dataclass(frozen=True)
class Handed:
    """A run that the bot has started and announced."""

    conversation_id: str
    thread_id: str
    run_id: str


@dataclass
class House:
    """A platform and a CRM, and the settings of a daemon between them."""

    folder: Path
    platform: AssistantsSimulator
    crm: CrmSimulator
    platform_url: str
    crm_url: str
    http: httpx.AsyncClient
    said: int = field(default=0)

    @property
    def settings(self) -> dict[str, str]:
        where = {"OPENAI_BASE_URL": self.platform_url, "CRM_WEBHOOK_URL": self.crm_url + self.crm.webhook}
        return BASIC | where

    @contextlib.asynccontextmanager
    async def daemon(
        self, module: str = "worker", *, anew: bool = False, **changes: str
    ) -> AsyncIterator[Daemon]:
        """A daemon that serves."""
        async with launched(self.folder, self.settings | changes, module, anew=anew) as daemon:
            if daemon.port:
                await daemon.ready()
            yield daemon

    async def call(self, method: str, url: str, body: object = None) -> Any:
        """The JSON that a good request brings."""
        response = await self.http.request(method, url, json=body)
        assert response.is_success, response.text
        return response.json()

    async def hand_over(self, daemon: Daemon, says: str, conversation: str = "", **known: str) -> Handed:
        """A customer writes, a run is started, and the worker is told."""
        self.said += 1
        name = conversation or f"conv-{self.said}"
        begun = await self.begin(says)
        about = {"thread_id": begun["thread_id"], "client_document": cpf(100_000_000 + self.said), **known}
        await self.call("PUT", f"{daemon.url}/v1/conversations/{name}", about)
        await self.call("POST", f"{daemon.url}/v1/runs", {"conversation_id": name, "run_id": begun["id"]})
        return Handed(name, begun["thread_id"], begun["id"])

    async def begin(self, says: str) -> Any:
        """A thread with the customer's message, and a run on it."""
        thread = {"messages": [{"role": "user", "content": says}]}
        body = {"assistant_id": ASSISTANTS["FINANCEIRO"], "thread": thread}
        return await self.call("POST", f"{self.platform_url}/threads/runs", body)

    async def run(self, daemon: Daemon, run_id: str) -> Any:
        """The run as the worker shows it."""
        return await self.call("GET", f"{daemon.url}/v1/runs/{run_id}")

    async def run_ended(self, daemon: Daemon, run_id: str) -> Any:
        """The run as the worker shows it once it is no longer watched."""
        for _ in range(400):
            if (run := await self.run(daemon, run_id))["state"] != "watching":
                return run
            await asyncio.sleep(0.05)
        raise AssertionError(f"still watched: {run}")

    def told(self, run_id: str) -> list[dict[str, Any]]:
        """What the model of this run was told, call by call."""
        return [
            json.loads(output)
            for step in self.platform.conversations.run(run_id).steps
            for output in (step.outputs or {}).values()
        ]

    def asked(self, operation: str) -> int:
        """How often the platform was asked for this."""
        return sum(request.operation == operation for request in self.platform.requests)

    def opened_for(self, run: Handed) -> int:
        """How many tickets the CRM holds for the document of this conversation."""
        return sum(ticket.documento == self.document(run) for ticket in self.crm.tickets)

    def posts_for(self, run: Handed) -> list[bytes]:
        """The bodies that the CRM was sent for it, with their key."""
        document = self.document(run).encode()
        return [
            request.headers["idempotency-key"].encode() + request.body
            for request in self.crm.requests
            if request.operation == "abrir_ticket" and document in request.body
        ]

    def document(self, run: Handed) -> str:
        return cpf(100_000_000 + int(run.conversation_id.removeprefix("conv-")))

    def stored(self, query: str) -> list[tuple[Any, ...]]:
        """What the database says, read beside the daemon."""
        with contextlib.closing(sqlite3.connect(self.folder / "worker.db")) as database:
            return database.execute(query).fetchall()


@contextlib.asynccontextmanager
async def house(
    folder: Path, platform: AssistantsSimulator | None = None, crm: CrmSimulator | None = None
) -> AsyncIterator[House]:
    """The simulators, served; a daemon is for the test to start."""
    platform = platform or AssistantsSimulator(timings=QUICK)
    crm = crm or CrmSimulator()
    async with (
        serve(platform.app) as platform_url,
        serve(crm.app) as crm_url,
        httpx.AsyncClient(timeout=10) as http,
    ):
        yield House(folder, platform, crm, platform_url, crm_url, http)
