"""`rehearse`: plays scenarios with assistants, prints the report and returns the exit code."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worker import logs, platforms, schema_sync
from worker.catalog import Catalog, fold
from worker.cli.exit_codes import Exit
from worker.errors import ConfigError, PlatformError, PlatformGone
from worker.rehearsal import comparison, junit, results
from worker.rehearsal.playing import Assistants, Order, Rehearsal, rehearse
from worker.rehearsal.report import print_report
from worker.rehearsal.results import Results
from worker.rehearsal.scenarios import Scenario, choose, load
from worker.settings import Settings
from worker.settings.platforms import platform_names
from worker.tools import schema_names

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    #: Names; none means all.
    assistants: Sequence[str] = ()
    scenarios: Sequence[str] = ()
    file: Path | None = None
    repeat: int = 1
    at_once: int = 4
    minimum: float = 1.0
    #: What the bot sends with each response, where the platform stores no assistants.
    request: Path | None = None
    before: Path | None = None
    junit: Path | None = None
    as_json: bool = False
    show: bool = False
    #: Do not ask before runs are started.
    yes: bool = False


async def play(settings: Settings, options: Options, console: Console) -> int:
    """Run the command; returns the exit code. Raises `ConfigError` and `PlatformGone`."""
    catalog = Catalog.configured(settings)
    scenarios = _chosen(options, catalog)
    before = results.read(options.before) if options.before else None
    _check(settings, options)
    scenarios, assistants = _with_assistants(settings, options, scenarios, catalog)
    order = Order(scenarios, assistants, options.repeat, options.at_once, options.minimum, options.show)
    progress = Console(stderr=True, highlight=False)
    async with _only_errors_logged(catalog), aclosing(platforms.connect(settings)) as platform:
        for warning in await platform.probe():
            progress.print("!", warning, markup=False, soft_wrap=True)
        if not _agreed(options, order, platform.name, progress):
            return Exit.REFUSED
        now = datetime.now(ZoneInfo(settings.TIMEZONE))
        rehearsal = Rehearsal(order, platform.name, started_at=now)
        with _bar(order, progress) as on_played:
            end = await _ended(
                rehearse(settings, platform, catalog, rehearsal, on_played=on_played), progress
            )
    if end:
        _show_unfinished(rehearsal, options, console, progress)
        return end
    return _show(rehearsal.results(), before, options, console)


@contextlib.asynccontextmanager
async def _only_errors_logged(catalog: Catalog) -> AsyncIterator[None]:
    """The worker's lines about single calls would tear the progress bar; the log file is the daemon's."""
    logs.setup(level="ERROR", words=catalog.words())
    try:
        yield
    finally:
        logs.shutdown()


# ------------------------------------------------------------------------------------- what is to be played


def _chosen(options: Options, catalog: Catalog) -> tuple[Scenario, ...]:
    return choose(load(options.file, catalog), options.scenarios, options.assistants)


def _check(settings: Settings, options: Options) -> None:
    problems = []
    if settings.PLATFORM is None:
        problems.append(f"PLATFORM não está definida: use {platform_names()}")
    elif platforms.spec(settings).stored is None:
        if options.request is None:
            problems.append(
                f"A plataforma {settings.PLATFORM} não guarda assistentes: use --request ARQUIVO, um JSON "
                "com o que o bot envia em cada resposta (model, instructions, …)"
            )
    elif options.request is not None:
        problems.append("--request é só de plataformas que não guardam assistentes")
    if settings.OPENAI_API_KEY is None and settings.OPENAI_AUTH == "key":
        problems.append("OPENAI_API_KEY não está definida: a chave da plataforma")
    if problems:
        raise ConfigError(*problems)


def _with_assistants(
    settings: Settings, options: Options, scenarios: Sequence[Scenario], catalog: Catalog
) -> tuple[tuple[Scenario, ...], Assistants]:
    """The scenarios that a configured assistant can play, with their assistants. Raises `ConfigError`."""
    if options.request is not None:
        request = _request(settings, options.request, catalog)
        return tuple(scenarios), {fold(each.assistant): request for each in scenarios}
    configured = {fold(name): identifier for name, identifier in settings.assistant_ids.items()}
    missing = {each.assistant for each in scenarios if fold(each.assistant) not in configured}
    playable = tuple(each for each in scenarios if each.assistant not in missing)
    if not playable or (options.assistants and missing):
        raise ConfigError(*(f"O assistente {name} não está configurado" for name in sorted(missing)))
    for name in sorted(missing):
        skipped = sum(each.assistant == name for each in scenarios)
        sentence = f"! {skipped} cenários de {name} ficam de fora: o assistente não está configurado"
        Console(stderr=True, highlight=False).print(sentence, markup=False, soft_wrap=True)
    return playable, dict(configured)


def _request(settings: Settings, path: Path, catalog: Catalog) -> Mapping[str, object]:
    """The bot's request, with the worker's functions among its tools. Raises `ConfigError`."""
    try:
        request = json.loads(path.read_bytes())
    except (OSError, ValueError):
        request = None
    tools = request.get("tools", []) if isinstance(request, dict) else None
    if not (isinstance(request, dict) and isinstance(request.get("model"), str) and isinstance(tools, list)):
        raise ConfigError(f"{path} não é um objeto JSON com ao menos model")
    functions = schema_sync.Target(schema_sync.load(schema_names(), catalog=catalog))
    changes = schema_sync.plan({"tools": tools}, functions, platforms.spec(settings).envelope).changes
    return {**request, "tools": changes.get("tools", tools)}


def _agreed(options: Options, order: Order, platform: str, console: Console) -> bool:
    """Ask the operator on a terminal before runs are started, because they cost money."""
    if options.yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    console.print(
        f"Serão iniciadas ao menos {order.runs} execuções em {platform} "
        f"({len(order.scenarios)} cenários, {order.repeat} vez(es) cada um); a plataforma cobra por elas.",
        markup=False,
        soft_wrap=True,
    )
    return _yes("Continuar? [s/N]")


def _yes(question: str) -> bool:
    """Ask a question; Ctrl-C and Ctrl-D mean no. While asyncio has the signal, Ctrl-C would be lost."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        answer = typer.prompt(question, default="n", show_default=False, err=True)
    except typer.Abort:
        return False
    finally:
        signal.signal(signal.SIGINT, previous)
    return fold(answer) in {"s", "sim", "y", "yes"}


# ---------------------------------------------------------------------------------------------- while it runs


@contextlib.contextmanager
def _bar(order: Order, console: Console) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal; yields what advances it."""
    columns = (TextColumn("Ensaiando"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=order.repeat * len(order.scenarios))
        yield lambda: progress.advance(task)


async def _ended(work: Coroutine[Any, Any, None], console: Console) -> int:
    """Play to the end: 0. The code to exit with when the platform or the operator ended it."""
    task = asyncio.ensure_future(work)
    with _interruptible(task, console) as received:
        try:
            await task
        except asyncio.CancelledError:
            if not received:
                raise
            return 128 + received[0]
        except PlatformGone:
            raise
        except PlatformError as failure:
            console.print(f"✗ O ensaio parou: {schema_sync.sentence(failure)}", markup=False, soft_wrap=True)
            return Exit.REFUSED
    return Exit.DONE


@contextlib.contextmanager
def _interruptible(task: "asyncio.Future[None]", console: Console) -> Iterator[list[int]]:
    """The first SIGINT or SIGTERM ends the task in order, and is in the list; the second one ends us."""
    loop, handled = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    received: list[int] = []

    def stop(number: int) -> None:
        console.print("■ encerrando: apagando na plataforma o que foi criado", markup=False)
        received.append(number)
        restore()
        task.cancel()

    def restore() -> None:
        for number in handled:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in handled:
        loop.add_signal_handler(number, stop, number)
    try:
        yield received
    finally:
        restore()


# ---------------------------------------------------------------------------------------------- the output


def _show_unfinished(rehearsal: Rehearsal, options: Options, console: Console, progress: Console) -> None:
    """Print the scenarios played before the end, for people only: a program gets no partial result."""
    if rehearsal.attempts and not options.as_json:
        console.print("Resultado parcial: o ensaio não chegou ao fim.")
        print_report(rehearsal.results(), console)
    else:
        _print_remains(rehearsal, progress)


def _print_remains(rehearsal: Rehearsal, console: Console) -> None:
    """Print what could not be deleted, where no report lists it."""
    if rehearsal.not_deleted:
        console.print("Não pôde ser apagado na plataforma; apague à mão:")
        for name in rehearsal.not_deleted:
            console.print(f"  • {schema_sync.printable(name)}", markup=False, soft_wrap=True)


def _show(outcome: Results, before: Results | None, options: Options, console: Console) -> int:
    """Print the report in the chosen form; returns the exit code."""
    compared = comparison.compare(before, outcome) if before is not None else None
    if options.junit is not None:
        junit.write(outcome, options.junit)
    if options.as_json:
        document = (
            outcome.stored() if compared is None else {**outcome.stored(), "comparison": compared.stored()}
        )
        console.out(json.dumps(document, ensure_ascii=False, indent=2), highlight=False)
    else:
        print_report(outcome, console)
        if compared is not None:
            comparison.print_comparison(compared, console)
    return Exit.NOT_PASSED if outcome.failed else Exit.DONE
