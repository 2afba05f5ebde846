"""Commands and exit codes (contract §1). The only module that turns errors into exit codes.

0 done, 1 refused, not found or crash, 2 usage or configuration.
"""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any

import typer
from cryptography.fernet import Fernet
from rich.console import Console

from worker import __version__, logs, settings
from worker.errors import ConfigError, PlatformGone, StoreError
from worker.simulator import GUIDE

CRASH, MISCONFIGURED = 1, 2

cli = typer.Typer(
    name="ticket-worker",
    help="Atende as chamadas de função dos assistentes de IA e abre cada ticket no CRM uma única vez.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_stderr = Console(stderr=True, highlight=False)


def main() -> None:
    """The console script."""
    cli()


@cli.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Mostra a versão.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"ticket-worker {__version__}")
        raise typer.Exit


@cli.command()
def run() -> None:
    """Inicia o daemon: acompanha as execuções, responde às chamadas e serve a API HTTP."""
    # Not at the top: `--help` and `keygen` should not wait for SQLAlchemy, FastAPI and the SDK.
    from worker import app  # noqa: PLC0415

    configured, warnings = _configured(for_run=True)
    _carry_out(app.run(configured, warnings))


@cli.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Ao final, mantém tudo no ar até Ctrl-C.")] = False,
) -> None:
    """Executa os cenários do documento de ponta a ponta contra os simuladores incluídos."""
    from worker.simulator.demo import demo as play  # noqa: PLC0415  # as in `run`

    if not asyncio.run(play(keep=keep)):
        raise typer.Exit(CRASH)


@cli.command(epilog=GUIDE)
def simulate(
    port: Annotated[int, typer.Option(help="Porta da plataforma simulada.", min=0, max=65535)] = 8100,
    crm_port: Annotated[int, typer.Option(help="Porta do CRM simulado.", min=0, max=65535)] = 8101,
) -> None:
    """Sobe a plataforma e o CRM simulados, para desenvolver um bot sem chaves."""
    from worker.simulator.serving import simulate as play  # noqa: PLC0415  # as in `run`

    asyncio.run(play(port, crm_port))


@cli.command()
def keygen() -> None:
    """Cria uma chave para DATA_KEYS."""
    typer.echo(Fernet.generate_key().decode())


def _configured(*, for_run: bool = False) -> tuple[settings.Settings, list[str]]:
    try:
        return settings.load(for_run=for_run)
    except ConfigError as error:
        raise _misconfigured(error) from None


def _misconfigured(error: ConfigError) -> typer.Exit:
    for problem in error.problems:
        _stderr.print("✗", problem, soft_wrap=True, markup=False)
    return typer.Exit(MISCONFIGURED)


def _carry_out(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end; what went wrong is told in one sentence, by who can fix it."""
    try:
        asyncio.run(work)
    except Exception as error:  # noqa: BLE001  # the last stop: reduced to what may be shown
        cause = _first(error)
        if isinstance(cause, ConfigError):
            raise _misconfigured(cause) from None
        if isinstance(cause, PlatformGone):
            raise _misconfigured(ConfigError(PlatformGone.sentence)) from None
        if isinstance(cause, StoreError):
            _stderr.print(
                f"✗ O banco deixou de gravar ({cause}); nada mais será feito sem registro", markup=False
            )
        else:
            logs.failure("erro inesperado", error)
        raise typer.Exit(CRASH) from None


def _first(error: BaseException) -> BaseException:
    """The error that a group of side tasks died of: one an operator can mend before any other."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_first(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, (ConfigError, StoreError))), leaves[0])
