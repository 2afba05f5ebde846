"""The demo tells the truth: right when all is right, else not; and it leaves no worker behind."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner

from worker.cli.main import cli
from worker.simulator.agents.saved_agents import AGENTS
from worker.simulator.crm import CrmSimulator, Ticket
from worker.simulator.demo import play as demo_module
from worker.simulator.demo import stage as stage_module
from worker.simulator.demo import worker_process
from worker.simulator.demo.bots import ChainBot, JsonClient
from worker.simulator.demo.play import demo
from worker.simulator.demo.scenarios import AGENTS_SCENARIOS, ASSISTANTS_SCENARIOS, ScenarioResult
from worker.simulator.demo.stage import Stage
from worker.simulator.demo.worker_process import WorkerDied, WorkerProcess
from worker.simulator.lineup import LINEUP
from worker.simulator.server import serve
from worker.simulator.serving import simulate

SCENARIO = ASSISTANTS_SCENARIOS[0]


class Screen:
    """A console that can be read."""

    def __init__(self) -> None:
        self._file = StringIO()
        self.console = Console(file=self._file, width=160)

    @property
    def text(self) -> str:
        return self._file.getvalue()


@pytest.fixture
def screen() -> Screen:
    return Screen()


async def test_a_worker_that_does_not_start_is_quoted(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = "import sys; sys.exit('✗ DATA_KEYS não está definida')"
    monkeypatch.setattr(worker_process, "_COMMAND", (sys.executable, "-X", "utf8", "-c", refusal))
    assert not await demo(console=screen.console)
    assert (
        screen.text
        == "✗ O worker terminou sozinho (saída 1). O que ele disse:\n✗ DATA_KEYS não está definida\n\n"
    )


async def test_a_worker_that_is_never_ready_is_quoted_and_not_called_dead(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = "import sys, time; print('! aguardando', file=sys.stderr, flush=True); time.sleep(60)"
    monkeypatch.setattr(worker_process, "_COMMAND", (sys.executable, "-X", "utf8", "-c", waits))
    monkeypatch.setattr(worker_process, "_START_S", 1.0)
    assert not await demo(console=screen.console)
    assert screen.text == "✗ O worker não ficou pronto em 1 s. O que ele disse:\n! aguardando\n\n"


async def test_an_interrupt_ends_the_demo_in_order(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    @asynccontextmanager
    async def house(_folder: Path, _platform: str) -> AsyncIterator[None]:
        yield
        ended.append(True)

    async def for_ever(*_: object) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(demo_module, "_environment", house)
    monkeypatch.setattr(demo_module, "_report", for_ever)
    assert not await demo(keep=True, console=screen.console)
    assert ended == [True]


async def test_a_worker_that_refuses_the_bot_ends_the_demo_in_one_sentence(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def house(_folder: Path, _platform: str) -> AsyncIterator[None]:
        request = httpx.Request("PUT", "http://127.0.0.1:9/v1/conversations/demo-1")
        raise httpx.HTTPStatusError(
            "422", request=request, response=httpx.Response(422, request=request, text="não")
        )
        yield

    monkeypatch.setattr(demo_module, "_environment", house)
    assert not await demo(console=screen.console)
    assert screen.text == "✗ A demonstração parou em PUT /v1/conversations/demo-1: 422 não\n"


# ------------------------------------------------------------------------------------ with a worker that errs


def call(tool: str, state: str, protocolo: str | None = None, **more: object) -> dict[str, Any]:
    call_id = f"tc_{next(COUNT)}"
    return {
        "call_id": call_id,
        "tool": tool,
        "state": state,
        "protocolo": protocolo,
        "error": None,
        "timeline": [],
    } | more


COUNT = count()


def run(*calls: dict[str, Any], state: str = "ended") -> dict[str, Any]:
    return {"state": state, "calls": list(calls), "continues_as": None}


class ErringWorker:
    """A worker that only pretends: it answers the API and does nothing."""

    def __init__(self, shown: dict[str, Any]) -> None:
        self.shown = shown
        self.announced: list[Any] = []
        self.on_announced: Callable[[Request], object] = lambda request: None
        self.app = Starlette(
            routes=[
                Route("/v1/conversations/{id}", self._take, methods=["PUT"]),
                Route("/v1/runs", self._take, methods=["POST"]),
                Route("/v1/runs/{id}", self._show),
                Route("/v1/calls", self._calls),
            ]
        )

    async def _take(self, request: Request) -> Response:
        self.announced.append(await request.json())
        self.on_announced(request)
        return JSONResponse({})

    async def _show(self, request: Request) -> Response:
        return JSONResponse({**self.shown, "run_id": request.path_params["id"]})

    async def _calls(self, _request: Request) -> Response:
        return JSONResponse({"items": self.shown["calls"], "next_cursor": None})


class StageWith:
    """A stage whose worker is a fake; `process` stands for its child process."""

    def __init__(self, shown: dict[str, Any], platform: str = "assistants") -> None:
        self.worker = ErringWorker(shown)
        self.setup = LINEUP[platform]
        self.crm = CrmSimulator()

    @asynccontextmanager
    async def up(self, folder: Path, process: Any = None) -> AsyncIterator[Stage]:
        simulator = self.setup.fast_simulator()
        async with (
            serve(simulator.app) as platform_url,
            serve(self.worker.app) as worker_url,
            httpx.AsyncClient() as http,
        ):
            worker = WorkerProcess(process, worker_url, folder)
            yield Stage(JsonClient(http, platform_url), simulator.clock, self.setup.bot, self.crm, worker)


async def test_a_worker_that_does_nothing_is_seen_through(screen: Screen, tmp_path: Path) -> None:
    async with StageWith(run()).up(tmp_path) as stage:
        assert await stage.play(SCENARIO, "c") == ScenarioResult((), reply="nada")


@pytest.mark.parametrize(
    ("platform", "thread", "run_id"),
    [("assistants", "thread_", "run_"), ("agents", "sess_", "sess_"), ("responses", "conv_", "resp_")],
)
async def test_the_bot_announces_conversation_and_run_as_a_bot_does(
    tmp_path: Path, platform: str, thread: str, run_id: str
) -> None:
    house = StageWith(run(), platform)
    async with house.up(tmp_path) as stage:
        await stage.play(SCENARIO, "c-1")
    conversation, announcement = house.worker.announced
    assert conversation["thread_id"].startswith(thread)
    assert conversation["client_document"] == "52998224725"
    assert conversation["attachment_url"].startswith("https://")
    assert announcement == {"conversation_id": "c-1", "run_id": announcement["run_id"]}
    assert announcement["run_id"].startswith(run_id)


async def test_a_chain_of_responses_is_announced_without_a_thread(tmp_path: Path) -> None:
    house = StageWith(run(), "responses")
    async with house.up(tmp_path) as stage:
        await stage.play(replace(SCENARIO, bot=ChainBot), "c-1")
    assert "thread_id" not in house.worker.announced[0]


async def test_a_run_that_never_ends_is_reported_as_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_module, "_ENDS_WITHIN_S", 0.1)
    async with StageWith(run(state="watching")).up(tmp_path) as stage:
        assert (await stage.play(SCENARIO, "c")).run == "watching"
        expiring = next(each for each in ASSISTANTS_SCENARIOS if each.expires)
        assert (await stage.play(expiring, "d")).tickets == ()


async def test_a_customer_whose_run_is_lost_says_nothing_more(tmp_path: Path) -> None:
    [asked_for_document] = [each for each in ASSISTANTS_SCENARIOS if each.second_message]
    house = StageWith(run(state="lost"))
    async with house.up(tmp_path) as stage:
        assert await stage.play(asked_for_document, "c") == ScenarioResult((), reply="nada", run="lost")
    assert len(house.worker.announced) == 2


async def test_one_scenario_that_comes_out_otherwise_makes_the_demo_false(
    screen: Screen, tmp_path: Path
) -> None:
    right = replace(SCENARIO, expected=ScenarioResult((), reply="nada"))
    async with StageWith(run()).up(tmp_path) as stage:
        assert not await demo_module._scenarios(stage, (SCENARIO, right), screen.console)
    wrong_line, right_line = screen.text.splitlines()
    assert wrong_line.startswith("✗ Cenário 1")
    assert f"esperado: {SCENARIO.expected} | aconteceu: nenhum ticket" in wrong_line
    assert right_line.startswith("✓")


async def test_a_worker_that_dies_in_a_scenario_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "stderr.txt").write_text("quebrou\n")

    class Process:
        returncode: int | None = None

    process, house = Process(), StageWith(run())

    def die(request: Request) -> None:
        process.returncode = 1
        request.state.transport.abort()

    house.worker.on_announced = die
    async with house.up(tmp_path, process) as stage:
        with pytest.raises(WorkerDied) as died:
            await stage.play(SCENARIO, "c")
    assert died.value.stderr == "quebrou\n"


TICKETS = [
    Ticket("2510271534789012", "52998224725", "…", "FINANCEIRO", "PAGAMENTO", "tw-1", 0.0),
    Ticket("2510271534789013", "52998224725", "…", "SUPORTE", "SEM INTERNET", "tw-2", 0.0),
]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Protocolos: 2510271534789012 e 2510271534789013", "protocolo"),
        ("Protocolo: 2510271534789012", "um número que não é o do CRM"),
        ("Para abrir um ticket, preciso do seu CPF ou CNPJ", "pedido de CPF ou CNPJ"),
        ("Seu registro está sendo confirmado.", "registro em confirmação"),
        ("Vou transferir você", "transferência"),
        ("Olá!", "outra coisa"),
        ("", "nada"),
    ],
)
def test_replies_to_the_customer_are_classified(said: str, told: str) -> None:
    assert stage_module.reply_summary(said, TICKETS) == told


def test_a_ticket_that_the_worker_does_not_know_is_reported() -> None:
    shown = run(call("abrir_ticket_crm", "done", TICKETS[0].protocolo))
    seen = stage_module.result_of([shown], TICKETS, [], [""])
    assert seen.tickets == ("FINANCEIRO / PAGAMENTO", "SUPORTE / SEM INTERNET SEM REGISTRO NO WORKER")


def test_a_call_that_two_runs_show_is_one_and_the_last_run_counts() -> None:
    first = call("abrir_ticket_crm", "rejected")
    runs = [run(first, state="lost"), run(first, call("abrir_ticket_crm", "done"))]
    seen = stage_module.result_of(runs, [], [], ["pedido de CPF ou CNPJ", "protocolo"])
    assert seen.calls == ("ticket done", "ticket rejected")
    assert (seen.run, seen.reply) == ("ended", "pedido de CPF ou CNPJ → protocolo")


def test_two_that_differ_read_differently() -> None:
    seen = ScenarioResult(("ticket done",), ("A / B",), sends=1, keys=1)
    others = [
        replace(seen, calls=("ticket failed",)),
        replace(seen, calls=()),
        replace(seen, tickets=()),
        replace(seen, sends=2),
        replace(seen, keys=2),
        replace(seen, reply="nada"),
        replace(seen, run="lost"),
    ]
    assert len({str(each) for each in [seen, *others]}) == 8


FIGURES = {
    "tickets_opened": 1,
    "success_rate": 0.5,
    "crm_ms": {"mean": 250.4},
    "invalid_rate": 0.25,
    "without_protocol": 1,
}


def test_the_kpis_are_those_of_the_document(screen: Screen) -> None:
    screen.console.print(demo_module._kpis(FIGURES))
    cells = re.findall(r"│ (.+?) +│ (.+?) +│ (.*?) +│", screen.text)
    assert cells == [
        ("Tickets abertos", "1", ""),
        ("Taxa de sucesso", "50%", "> 95%"),
        ("Tempo médio do CRM", "250 ms", "< 500 ms"),
        ("Combinação inválida", "25%", "< 1%"),
        ("Sem protocolo", "1", "0"),
    ]


def test_without_calls_there_is_nothing_to_divide_by(screen: Screen) -> None:
    nothing = {"success_rate": None, "crm_ms": {"mean": None}}
    screen.console.print(demo_module._kpis(FIGURES | nothing))
    assert re.search(r"Taxa de sucesso +│ - ", screen.text)


def test_a_log_that_does_not_count_right_makes_the_demo_false(screen: Screen, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("🎫 [AI Tool Handler] Chamando abrirTicketCRM... setor=-\n", encoding="utf-8")
    assert not demo_module._greps(log, ASSISTANTS_SCENARIOS, screen.console)
    assert '✗ grep "Chamando abrirTicketCRM" | esperado: 9 | aconteceu: 1' in screen.text


def test_a_late_ticket_is_an_error_first_and_a_success_then() -> None:
    [late] = [each for each in AGENTS_SCENARIOS if each not in ASSISTANTS_SCENARIOS]
    assert [expected for _, expected in demo_module._counts([late])] == [1, 1, 1]


# ----------------------------------------------------------------------------------------------- simulate


@pytest.mark.parametrize(("platform", "named"), [("agents", AGENTS), ("responses", {})])
async def test_simulate_serves_the_platform_it_is_asked_for(
    screen: Screen, platform: str, named: dict[str, str]
) -> None:
    serving = asyncio.create_task(simulate(0, 0, screen.console, platform=platform))
    while "Ctrl-C" not in screen.text:  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0.01)
    lines = screen.text.splitlines()
    assert f"No worker, também: PLATFORM={platform}" in lines
    assert [line for line in lines if line.startswith("  ")] == [f"  {n}: {i}" for n, i in named.items()]
    async with httpx.AsyncClient() as client:
        state = (await client.get(re.findall(r"por dentro: (\S+/state)", screen.text)[0])).json()
    assert {"agents": "sessions", "responses": "conversations"}[platform] in state
    os.kill(os.getpid(), signal.SIGINT)
    await serving


@pytest.mark.parametrize(("option", "other"), [("--port", "--crm-port"), ("--crm-port", "--port")])
def test_a_port_in_use_is_reported_in_one_sentence(option: str, other: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli, ["simulate", option, str(port), other, "0"])
    assert result.exit_code == 2
    assert result.stderr == f"✗ A porta {port} está em uso, ou não é permitida: escolha outra com {option}\n"


@pytest.mark.parametrize("command", ["demo", "simulate"])
def test_a_platform_that_does_not_exist_is_a_usage_error(command: str) -> None:
    assert CliRunner().invoke(cli, [command, "--platform", "threads"]).exit_code == 2


# ---------------------------------------------------------------------------------------- the child process


async def test_a_child_that_is_never_ready_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_START_S", 0.2)
    monkeypatch.setattr(worker_process, "_COMMAND", (sys.executable, "-c", "import time; time.sleep(60)"))
    with pytest.raises(WorkerDied):
        async with worker_process.worker_process(tmp_path, {}):
            raise AssertionError


async def test_a_child_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "_STOP_S", 0.1)
    ignores = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    stubborn = f"import signal, sys; {ignores}; print(1, flush=True); sys.stdin.read()"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", stubborn, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    await process.stdout.readline()
    await WorkerProcess(process, "http://127.0.0.1:9", tmp_path).stop()
    assert process.returncode == -signal.SIGKILL


def test_the_child_inherits_nothing_that_configures_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_WEBHOOK_URL", "https://webhook.example/abrir_ticket")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    monkeypatch.setenv("LC_ALL", "C")
    inherited = worker_process._inherited()
    assert {"CRM_WEBHOOK_URL", "OPENAI_API_KEY"}.isdisjoint(inherited)
    assert inherited["LC_ALL"] == "C"
