"""Commands and exit codes (contract §1). The only module that turns errors into exit codes.

0 done, 1 refused, not found or crash, 2 usage or configuration, 3 `--check` found drift, 4 accepted but no
daemon runs.
"""

import asyncio
import io
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from cryptography.fernet import Fernet
from rich.console import Console

from worker import __version__, logs, settings
from worker.clock import SystemClock
from worker.errors import ConfigError, PlatformGone, RequestRefused, StoreError
from worker.kpis import DEFAULT_SINCE
from worker.model import CallState, HandoffState
from worker.simulator import GUIDE

CRASH, MISCONFIGURED = 1, 2

cli = typer.Typer(
    name="ticket-worker",
    help="Atende as chamadas de função dos assistentes de IA e abre cada ticket no CRM uma única vez.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
calls = typer.Typer(
    help="O registro das chamadas: consultar, tentar de novo, concluir.", no_args_is_help=True
)
handoffs = typer.Typer(help="A fila de pedidos de atendimento humano.", no_args_is_help=True)
cli.add_typer(calls, name="calls")
cli.add_typer(handoffs, name="handoffs")

_stderr = Console(stderr=True, highlight=False)
_PIPED_WIDTH = 240
"""Columns of a table that goes to a file or another program: nothing is folded there."""

_REFUSALS = {
    "nao_encontrado": "Não há chamada com este identificador",
    "estado_incompativel": "A chamada não está num estado que permita isto, ou outra já abre o mesmo ticket",
    "payload_expirado": "O conteúdo desta chamada já foi apagado: ela não pode mais ser enviada",
    "dados_invalidos": "Este protocolo já é de outro ticket",
}

_Call = Annotated[str, typer.Argument(metavar="CALL", help="O identificador da chamada (tc_…).")]
_AsJson = Annotated[bool, typer.Option("--json", help="Em JSON, como na API HTTP.")]
_Limit = Annotated[int, typer.Option(help="Quantas mostrar, da mais nova à mais antiga.", min=1, max=200)]

_SimulatedPlatform = Annotated[
    Literal["assistants", "agents", "responses"], typer.Option("--platform", help="Plataforma simulada.")
]


def main() -> None:
    """The console script. A terminal without our letters gets `?`, not a crash."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
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
    platform: _SimulatedPlatform = "assistants",
    keep: Annotated[bool, typer.Option("--keep", help="Ao final, mantém tudo no ar até Ctrl-C.")] = False,
) -> None:
    """Executa os cenários do documento de ponta a ponta contra os simuladores incluídos."""
    from worker.simulator.demo import demo as play  # noqa: PLC0415  # as in `run`

    if not asyncio.run(play(keep=keep, platform=platform)):
        raise typer.Exit(CRASH)


@cli.command(epilog=GUIDE)
def simulate(
    platform: _SimulatedPlatform = "assistants",
    port: Annotated[int, typer.Option(help="Porta da plataforma simulada.", min=0, max=65535)] = 8100,
    crm_port: Annotated[int, typer.Option(help="Porta do CRM simulado.", min=0, max=65535)] = 8101,
) -> None:
    """Sobe a plataforma e o CRM simulados, para desenvolver um bot sem chaves."""
    from worker.simulator import serving  # noqa: PLC0415  # as in `run`

    try:
        asyncio.run(serving.simulate(port, crm_port, platform=platform))
    except serving.PortTaken as taken:
        sentence = f"A porta {taken.port} está em uso, ou não é permitida: escolha outra com {taken.option}"
        raise _misconfigured(ConfigError(sentence)) from None


@cli.command("sync-schema")
def sync_schema(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Mostra as diferenças e não grava nada.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Como --dry-run, e sai com 3 se algo difere.")
    ] = False,
    assistant: Annotated[
        list[str] | None, typer.Option(help="Só este assistente (repita para vários).", metavar="NOME")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="responses: o arquivo com as ferramentas que o bot envia.")
    ] = None,
    sessions: Annotated[
        bool, typer.Option("--sessions", help="agents: também as sessões das conversas conhecidas.")
    ] = False,
    instructions: Annotated[
        bool,
        typer.Option("--instructions", help="Também as regras de uso, num bloco marcado das instruções."),
    ] = False,
) -> None:
    """Deixa as funções dos assistentes iguais às desta versão, sem tocar nas ferramentas dos outros."""
    from worker.commands import schema as verbs  # noqa: PLC0415  # as in `run`

    configured, _ = _configured()
    options = verbs.Options(dry_run, check, assistant or (), out, sessions, instructions)
    _carry_out(verbs.sync_schema(configured, options, _stdout()))


@cli.command()
def check(as_json: Annotated[bool, typer.Option("--json", help="Em JSON.")] = False) -> None:
    """Examina tudo de que o worker depende: configuração, banco, plataforma, funções, CRM, relógio, UTF-8."""
    from worker import doctor  # noqa: PLC0415  # as in `run`

    _carry_out(doctor.check(_stdout(), as_json=as_json))


@cli.command()
def kpis(
    since: Annotated[str, typer.Option(help="24h, 7d, hoje, ou data e hora.")] = DEFAULT_SINCE,
    form: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="Tabela, ou para outro programa.")
    ] = "table",
) -> None:
    """Mostra os indicadores e as metas: sucesso, tempo do CRM, combinações inválidas, sem protocolo."""
    from worker.commands import kpis as verbs  # noqa: PLC0415  # as in `run`

    _carry_out(verbs.show_kpis(_configured()[0], _stdout(), since, form))


@cli.command()
def keygen() -> None:
    """Cria uma chave para DATA_KEYS."""
    typer.echo(Fernet.generate_key().decode())


@calls.command("list")
def list_calls(
    state: Annotated[CallState | None, typer.Option(help="Só as que estão neste estado.")] = None,
    since: Annotated[str | None, typer.Option(help="24h, 7d, hoje, ou data e hora.")] = None,
    conversation: Annotated[str | None, typer.Option(help="Só as desta conversa.")] = None,
    limit: _Limit = 50,
    as_json: _AsJson = False,
) -> None:
    """Lista as chamadas, da mais nova à mais antiga."""
    from worker.commands import calls as verbs  # noqa: PLC0415  # as in `run`

    asked = verbs.Asked(state, since, conversation, limit)
    _carry_out(verbs.list_calls(_configured()[0], _stdout(), asked, as_json=as_json))


@calls.command("show")
def show_call(call_id: _Call, as_json: _AsJson = False) -> None:
    """Mostra uma chamada e o que lhe aconteceu."""
    from worker.commands import calls as verbs  # noqa: PLC0415  # as in `run`

    _carry_out(verbs.show_call(_configured()[0], _stdout(), call_id, as_json=as_json))


@calls.command("retry")
def retry_call(
    call_id: _Call,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Só mostra o que seria enviado.")] = False,
) -> None:
    """Pede ao daemon que envie o mesmo ticket de novo, com a mesma chave."""
    from worker.commands import calls as verbs  # noqa: PLC0415  # as in `run`

    if dry_run:
        _carry_out(verbs.preview_retry(_configured()[0], _stdout(), call_id))
    else:
        _carry_out(verbs.retry_call(_configured()[0], _stdout(), call_id, SystemClock()))


@calls.command("resolve")
def resolve_call(
    call_id: _Call, protocolo: Annotated[str, typer.Option(help="O protocolo encontrado no CRM.")]
) -> None:
    """Conclui uma chamada com o protocolo que alguém encontrou no CRM."""
    from worker.commands import calls as verbs  # noqa: PLC0415  # as in `run`

    _carry_out(verbs.resolve_call(_configured()[0], _stdout(), call_id, protocolo))


@handoffs.command("list")
def list_handoffs(
    state: Annotated[HandoffState | None, typer.Option(help="Só os que estão neste estado.")] = None,
    limit: _Limit = 50,
    as_json: _AsJson = False,
) -> None:
    """Lista os pedidos de atendimento humano, do mais novo ao mais antigo."""
    from worker.commands import calls as verbs  # noqa: PLC0415  # as in `run`

    work = verbs.list_handoffs(_configured()[0], _stdout(), state=state, limit=limit, as_json=as_json)
    _carry_out(work)


def _stdout() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)


def _configured(*, for_run: bool = False) -> tuple[settings.Settings, list[str]]:
    try:
        return settings.load(for_run=for_run)
    except ConfigError as error:
        raise _misconfigured(error) from None


def _misconfigured(error: ConfigError) -> typer.Exit:
    for problem in error.problems:
        _stderr.print("✗", problem, soft_wrap=True, markup=False)
    return typer.Exit(MISCONFIGURED)


def _carry_out(work: Coroutine[Any, Any, int | None]) -> None:
    """Run to the end, and exit as it says; what went wrong is told in one sentence, by who can fix it."""
    try:
        code = asyncio.run(work)
    except Exception as error:  # noqa: BLE001  # the last stop: reduced to what may be shown
        cause = _first(error)
        if isinstance(cause, ConfigError):
            raise _misconfigured(cause) from None
        if isinstance(cause, PlatformGone):
            raise _misconfigured(ConfigError(PlatformGone.sentence)) from None
        if isinstance(cause, RequestRefused):
            _stderr.print(f"✗ {_REFUSALS[cause.code]} ({cause.code})", markup=False, soft_wrap=True)
        elif isinstance(cause, StoreError):
            _stderr.print(
                f"✗ O banco deixou de gravar ({cause}); nada mais será feito sem registro",
                markup=False,
                soft_wrap=True,
            )
        else:
            logs.failure("erro inesperado", error)
        raise typer.Exit(CRASH) from None
    if code:
        raise typer.Exit(code)


def _first(error: BaseException) -> BaseException:
    """The error that a group of side tasks died of: one an operator can mend before any other."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_first(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, (ConfigError, StoreError))), leaves[0])
