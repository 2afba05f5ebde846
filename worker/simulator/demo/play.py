"""`demo`: runs the real worker, a child process, against the simulators and checks every scenario."""

import asyncio
import contextlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from cryptography.fernet import Fernet
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from worker.simulator.crm import CrmSimulator
from worker.simulator.demo.bots import Json, JsonClient
from worker.simulator.demo.scenarios import Scenario, ScenarioResult
from worker.simulator.demo.stage import Stage
from worker.simulator.demo.worker_process import WorkerDied, worker_process
from worker.simulator.lineup import LINEUP
from worker.simulator.server import interrupts, serve

_ZONE = ZoneInfo("America/Sao_Paulo")
_WEEKDAYS = ("seg", "ter", "qua", "qui", "sex", "sáb", "dom")
_SHORT_WAITS = {
    "POLL_MIN_S": "0.05",
    "POLL_MAX_S": "0.25",
    "CRM_BACKOFF_BASE_S": "0.05",
    "CRM_BACKOFF_MAX_S": "0.2",
    "DISCOVER_INTERVAL_S": "0",
}
"""Short waits, so that the demo ends soon. All other settings keep their defaults."""


async def demo(keep: bool = False, console: Console | None = None, *, platform: str = "assistants") -> bool:
    """Play the mission's scenarios end to end. True only if every result is the expected one.

    `keep`: all servers stay up until Ctrl-C. An interrupted demo returns False.
    """
    console = console or Console(highlight=False)
    with interrupts() as interrupted, tempfile.TemporaryDirectory(prefix="ticket-worker-demo-") as folder:
        try:
            async with contextlib.AsyncExitStack() as stack:
                with console.status("Iniciando o worker…"):
                    environment = await stack.enter_async_context(_environment(Path(folder), platform))
                as_expected = await _until_interrupted(interrupted, _report(environment, console))
                if keep and not interrupted.is_set():
                    environment.print_urls(console)
                    await interrupted.wait()
                return as_expected
        except WorkerDied as error:
            console.print(f"✗ {error.reason}. O que ele disse:", style="red")
            console.print(error.stderr or "(nada)", markup=False, soft_wrap=True)
        except httpx.HTTPError as error:
            request = f"{error.request.method} {error.request.url.path}"
            console.print(
                f"✗ A demonstração parou em {request}: {_error_text(error)}", markup=False, soft_wrap=True
            )
    return False


def _error_text(error: httpx.HTTPError) -> str:
    """The server's answer, or the error itself where the server gave none."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.response.status_code} {error.response.text}"
    return str(error) or type(error).__name__


async def _until_interrupted(interrupted: asyncio.Event, work: Coroutine[Any, Any, bool]) -> bool:
    """The result of `work`; False as soon as it is interrupted."""
    task, interruption = asyncio.ensure_future(work), asyncio.ensure_future(interrupted.wait())
    try:
        await asyncio.wait({task, interruption}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        interruption.cancel()
        task.cancel()
    await asyncio.wait({task})
    return not task.cancelled() and task.result()


@dataclass(frozen=True)
class _Environment:
    """The running demo: stage, scenarios, the worker's log and the URLs to open."""

    stage: Stage
    scenarios: Sequence[Scenario]
    log: Path
    urls: Mapping[str, str]

    def print_urls(self, console: Console) -> None:
        for name, url in self.urls.items():
            console.print(f"{name}: {url}", markup=False, soft_wrap=True)
        console.print("Tudo segue no ar; Ctrl-C encerra.")


@contextlib.asynccontextmanager
async def _environment(folder: Path, platform: str) -> AsyncIterator[_Environment]:
    """Start platform, CRM, worker and a bot on loopback."""
    setup, crm = LINEUP[platform], CrmSimulator(latency_s=0.05)
    simulator, log = setup.fast_simulator(), folder / "logs" / "worker.log"
    async with (
        serve(simulator.app) as platform_url,
        serve(crm.app) as crm_url,
        worker_process(
            folder,
            {
                **_settings(folder, f"{platform_url}/v1", crm_url + crm.webhook),
                **setup.settings,
                "PLATFORM": platform,
            },
        ) as worker,
        httpx.AsyncClient(timeout=10, trust_env=False) as http,
    ):
        platform_client = JsonClient(http, f"{platform_url}/v1")
        urls = {
            "Painel": f"{worker.url}/",
            "API do worker": worker.url,
            "Documentação da API": f"{worker.url}/docs",
            "Plataforma simulada": platform_client.url,
            "CRM simulado": f"{crm_url}/_sim/tickets",
            "Log": str(log),
        }
        stage = Stage(platform_client, simulator.clock, setup.bot, crm, worker)
        yield _Environment(stage, setup.scenarios, log, urls)


def _settings(folder: Path, platform_url: str, crm_url: str) -> dict[str, str]:
    return {
        **_SHORT_WAITS,
        "OPENAI_BASE_URL": platform_url,
        "OPENAI_API_KEY": "demo",
        "CRM_WEBHOOK_URL": crm_url,
        "DATABASE_URL": f"sqlite:///{folder / 'worker.db'}",
        "DATA_KEYS": Fernet.generate_key().decode(),
        "CATALOG_FILE": str(_catalogue(folder)),
        "TIMEZONE": _ZONE.key,
    }


def _catalogue(folder: Path) -> Path:
    """Write the shipped catalogue with one departamento that is closed on the day of the demo."""
    package = Path(__file__).parents[2]
    shipped = package / "schemas" if (package / "schemas").is_dir() else package.parent / "schemas"
    catalogue = json.loads((shipped / "catalogo.json").read_text(encoding="utf-8"))
    opens_on = _WEEKDAYS[(datetime.now(_ZONE).weekday() + 2) % 7]
    catalogue["atendimento"] = {"técnico": [f"{opens_on} 08:00-18:00"]}
    path = folder / "catalogo.json"
    path.write_text(json.dumps(catalogue, ensure_ascii=False), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------- the report


async def _report(environment: _Environment, console: Console) -> bool:
    """Print scenarios, KPIs and log counts. True if all are as expected."""
    as_expected = await _scenarios(environment.stage, environment.scenarios, console)
    console.print(_kpis(await environment.stage.kpis()))
    return _greps(environment.log, environment.scenarios, console) and as_expected


async def _scenarios(stage: Stage, scenarios: Sequence[Scenario], console: Console) -> bool:
    as_expected = True
    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed}/{task.total} {task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(scenarios))
        for position, scenario in enumerate(scenarios, 1):
            progress.update(task, description=scenario.name)
            actual = await stage.play(scenario, f"demo-{position}")
            as_expected &= actual == scenario.expected
            console.print(_line(scenario.name, scenario.expected, actual), markup=False, soft_wrap=True)
            progress.advance(task)
    return as_expected


def _line(name: str, expected: ScenarioResult, actual: ScenarioResult) -> str:
    mark = "✓" if actual == expected else "✗"
    return f"{mark} {name} | esperado: {expected} | aconteceu: {actual}"


def _kpis(figures: Json) -> Table:
    """The mission's KPIs, as the worker counts them."""
    mean_ms = figures["crm_ms"]["mean"]
    table = Table("Indicador", "Valor", "Meta", title="KPIs (com as falhas encenadas)")
    table.add_row("Tickets abertos", str(figures["tickets_opened"]), "")
    table.add_row("Taxa de sucesso", _percent(figures["success_rate"]), "> 95%")
    table.add_row("Tempo médio do CRM", "-" if mean_ms is None else f"{mean_ms:.0f} ms", "< 500 ms")
    table.add_row("Combinação inválida", _percent(figures["invalid_rate"]), "< 1%")
    table.add_row("Sem protocolo", str(figures["without_protocol"]), "0")
    return table


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.0f}%"


def _greps(log: Path, scenarios: Sequence[Scenario], console: Console) -> bool:
    """Run the mission's three greps on the worker's log and compare their line counts."""
    lines = log.read_text(encoding="utf-8").splitlines()
    counts_right = True
    for pattern, expected in _counts(scenarios):
        count = sum(bool(re.search(pattern, line)) for line in lines)
        counts_right &= count == expected
        mark = "✓" if count == expected else "✗"
        counted = f"esperado: {expected} | aconteceu: {count}"
        console.print(f'{mark} grep "{pattern}" | {counted}', markup=False, soft_wrap=True)
    return counts_right


def _counts(scenarios: Sequence[Scenario]) -> Iterator[tuple[str, int]]:
    """Each pattern with its expected line count. A late ticket logs an error first and a success later."""
    calls = Counter(call for scenario in scenarios for call in scenario.expected.calls)
    done, failed, rejected = (calls[f"ticket {state}"] for state in ("done", "failed", "rejected"))
    late = sum("em confirmação" in scenario.expected.reply for scenario in scenarios)
    yield r"🎫 \[AI Tool Handler\] Ticket aberto com sucesso", done
    yield r"❌ \[AI Tool Handler\] Erro ao abrir ticket", failed + rejected + late
    yield r"Chamando abrirTicketCRM", done + failed
