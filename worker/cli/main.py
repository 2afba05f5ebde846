"""Declares the commands (contract §1). The other modules of `worker.cli` and `worker.daemon` do the work."""

import gc
import io
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from worker import __version__
from worker.cli.exit_codes import Exit, configured, misconfigured, run_async, run_command, stdout
from worker.cli.portuguese import App
from worker.errors import ConfigError
from worker.kpis import DEFAULT_SINCE
from worker.model import CallState, RunState
from worker.simulator import GUIDE
from worker.views import DismissReason, HandoffState

cli = App(
    name="ticket-worker",
    help="Atende as chamadas de função dos assistentes de IA e abre cada ticket no CRM uma única vez.",
)
calls = App(help="O registro das chamadas: consultar, tentar de novo, concluir, dispensar.")
runs = App(help="As execuções: consultar, dispensar as perdidas.")
events = App(help="Os avisos ao bot: consultar, entregar de novo, descartar.")
handoffs = App(help="A fila de atendimento humano: consultar, assumir, devolver ao bot, encerrar.")
replies = App(help="As respostas do assistente que dizem o que não aconteceu: consultar.")
cli.add_typer(calls, name="calls")
cli.add_typer(runs, name="runs")
cli.add_typer(handoffs, name="handoffs")
cli.add_typer(events, name="events")
cli.add_typer(replies, name="replies")

_Call = Annotated[str, typer.Argument(metavar="CALL", help="O identificador da chamada (tc_…).")]
_Handoff = Annotated[str, typer.Argument(metavar="HANDOFF", help="O identificador do pedido (ho_…).")]
_STATES = " ou ".join(", ".join(CallState).rsplit(", ", 1))
_AsJson = Annotated[bool, typer.Option("--json", help="Em JSON, como na API HTTP.")]
_Limit = Annotated[int, typer.Option(metavar="N", help="Quantos mostrar no máximo.", min=1, max=200)]
_Since = typer.Option(metavar="QUANDO", help="Desde 24h, 7d, hoje, ou data e hora.")
_SinceOrNone = Annotated[str | None, _Since]
_UntilOrNone = Annotated[str | None, typer.Option(metavar="QUANDO", help="Antes de, como --since.")]
_Setor = Annotated[str | None, typer.Option(metavar="SETOR", help="Só deste setor, na grafia do catálogo.")]
_OfConversation = Annotated[str | None, typer.Option(metavar="ID", help="Só desta conversa.")]
_Run = Annotated[
    str, typer.Argument(metavar="RUN", help="O identificador da execução na plataforma, como está no log.")
]
_Event = Annotated[str, typer.Argument(metavar="ID", help="O identificador do aviso (msg_…).")]
_RUN_STATES = " ou ".join(", ".join(RunState).rsplit(", ", 1))
_REASONS = " ou ".join(", ".join(DismissReason).rsplit(", ", 1))
_Reason = Annotated[DismissReason, typer.Option(metavar="MOTIVO", help=f"Por quê: {_REASONS}.")]
_Undo = Annotated[bool, typer.Option("--undo", help="Desfaz a dispensa.")]

_NO_CALL = {"nao_encontrado": "Não há chamada com este identificador; veja-as com: ticket-worker calls list"}
_NO_RUN = {"nao_encontrado": "Não há execução com este identificador; veja-as com: ticket-worker runs list"}
_NO_EVENT = {"nao_encontrado": "Não há aviso com este identificador; veja-os com: ticket-worker events list"}
_NO_HANDOFF = {
    "nao_encontrado": "Não há pedido com este identificador; veja-os com: ticket-worker handoffs list"
}
_NOT_DISMISSIBLE = (
    "Só pode ser dispensada, e só uma vez, uma chamada que falhou, ficou sem confirmação ou sem protocolo"
)
_NOT_DISMISSED = "Esta chamada não está dispensada"
_NOT_RESOLVABLE = (
    "Só pode ser concluída uma chamada que falhou, ficou sem confirmação ou sem protocolo, e cujo ticket não "
    "está sendo enviado nem tem outro protocolo"
)

_OfDocument = Annotated[
    bool, typer.Option("--document", help="O CPF ou CNPJ, lido da entrada padrão, nunca da linha de comando.")
]

_NO_DOCUMENT = "Não há nada com este documento"

_SimulatedPlatform = Annotated[
    Literal["assistants", "agents", "responses"],
    typer.Option("--platform", metavar="NOME", help="assistants, agents ou responses."),
]


def main() -> None:
    """The console script. A terminal without our letters gets `?`, not a crash."""
    gc.disable()  # while modules are imported: what they make stays; searching it was an eighth of a start
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
    """Inicia o worker: acompanha as execuções, responde às chamadas e serve a API HTTP."""
    # Not at the top: `--help` and `keygen` should not wait for SQLAlchemy, FastAPI and the SDK.
    from worker import daemon  # noqa: PLC0415

    settings, warnings = configured(for_run=True)
    run_command(daemon.run(settings, warnings))


@cli.command()
def demo(
    platform: _SimulatedPlatform = "assistants",
    keep: Annotated[bool, typer.Option("--keep", help="Ao final, mantém tudo no ar até Ctrl-C.")] = False,
) -> None:
    """Executa os cenários do documento de ponta a ponta contra os simuladores incluídos."""
    from worker.simulator.demo.play import demo as play  # noqa: PLC0415  # as in `run`

    if not run_async(play(keep=keep, platform=platform)):
        raise typer.Exit(Exit.REFUSED)


@cli.command(epilog=GUIDE)
def simulate(
    platform: _SimulatedPlatform = "assistants",
    port: Annotated[int, typer.Option(metavar="PORTA", help="A da plataforma.", min=0, max=65535)] = 8100,
    crm_port: Annotated[int, typer.Option(metavar="PORTA", help="A do CRM.", min=0, max=65535)] = 8101,
) -> None:
    """Sobe a plataforma e o CRM simulados, para desenvolver um bot sem chaves."""
    from worker.simulator import serving  # noqa: PLC0415  # as in `run`

    try:
        run_async(serving.simulate(port, crm_port, platform=platform))
    except serving.PortTaken as taken:
        sentence = f"A porta {taken.port} está em uso, ou não é permitida: escolha outra com {taken.option}"
        raise misconfigured(ConfigError(sentence)) from None


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
        Path | None,
        typer.Option(metavar="ARQUIVO", help="responses: o arquivo com as ferramentas que o bot envia."),
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
    from worker.cli import sync_schema as verbs  # noqa: PLC0415  # as in `run`

    options = verbs.Options(dry_run, check, assistant or (), out, sessions, instructions)
    run_command(verbs.sync_schema(configured()[0], options, stdout()))


_OfAssistants = Annotated[
    list[str] | None, typer.Option(help="Só os cenários deste assistente (repita).", metavar="NOME")
]
_Scenarios = Annotated[
    list[str] | None, typer.Option(help="Só este cenário (repita para vários).", metavar="NOME")
]
_OwnScenarios = Annotated[
    Path | None, typer.Option(metavar="ARQUIVO", help="Os seus cenários (YAML), em vez dos incluídos.")
]
_Repeat = Annotated[int, typer.Option(metavar="N", help="Quantas vezes cada cenário.", min=1, max=1000)]
_AtOnce = Annotated[int, typer.Option(metavar="N", help="Conversas ao mesmo tempo.", min=1, max=100)]
_Minimum = Annotated[
    float,
    typer.Option("--min", metavar="TAXA", help="Parte das repetições que precisa passar.", min=0, max=1),
]
_Request = Annotated[
    Path | None,
    typer.Option(metavar="ARQUIVO", help="responses: o que o bot envia (JSON: model, instructions…)."),
]
_Compare = Annotated[Path | None, typer.Option(metavar="ARQUIVO", help="Compara com um resultado de --json.")]
_JUnit = Annotated[
    Path | None, typer.Option(metavar="ARQUIVO", help="Grava também JUnit XML, um caso por cenário.")
]
_Show = Annotated[bool, typer.Option("--show", help="Mostra também o que o assistente escreveu.")]
_ListOnly = Annotated[bool, typer.Option("--list", help="Só lista os cenários; não inicia nada.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Não pergunta antes de iniciar.")]


@cli.command()
def rehearse(
    *,
    assistant: _OfAssistants = None,
    scenario: _Scenarios = None,
    scenarios: _OwnScenarios = None,
    repeat: _Repeat = 1,
    at_once: _AtOnce = 4,
    minimum: _Minimum = 1.0,
    request: _Request = None,
    compare: _Compare = None,
    junit: _JUnit = None,
    as_json: Annotated[bool, typer.Option("--json", help="O resultado em JSON.")] = False,
    show: _Show = False,
    listed: _ListOnly = False,
    yes: _Yes = False,
) -> None:
    """Ensaia conversas com os assistentes de verdade e as compara com as regras, sem abrir tickets."""
    if listed:
        from worker.cli.scenario_list import show_list  # noqa: PLC0415  # as in `run`

        run_command(show_list(configured()[0], stdout(), scenarios, scenario or (), assistant or ()))
        return
    from worker.cli import rehearse as verbs  # noqa: PLC0415

    options = verbs.Options(
        assistants=assistant or (),
        scenarios=scenario or (),
        file=scenarios,
        repeat=repeat,
        at_once=at_once,
        minimum=minimum,
        request=request,
        before=compare,
        junit=junit,
        as_json=as_json,
        show=show,
        yes=yes,
    )
    run_command(verbs.play(configured()[0], options, stdout()))


@cli.command()
def check(as_json: Annotated[bool, typer.Option("--json", help="Em JSON.")] = False) -> None:
    """Examina tudo de que o worker depende: configuração, banco, plataforma, funções, CRM, relógio, UTF-8."""
    from worker.cli import check as verbs  # noqa: PLC0415  # as in `run`

    run_command(verbs.check(stdout(), as_json=as_json))


@cli.command()
def kpis(
    since: Annotated[str, _Since] = DEFAULT_SINCE,
    form: Annotated[
        Literal["table", "json", "csv"],
        typer.Option("--format", metavar="FORMATO", help="table; ou json, csv para outro programa."),
    ] = "table",
) -> None:
    """Mostra os indicadores e as metas: sucesso, tempo do CRM, combinações inválidas, sem protocolo."""
    from worker.cli import kpis as verbs  # noqa: PLC0415  # as in `run`

    run_command(verbs.show_kpis(configured()[0], stdout(), since, form))


@cli.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="O arquivo da cópia, que não pode existir.")],
) -> None:
    """Copia o banco SQLite, inteiro e consistente, com o worker no ar."""
    from worker.cli import backup as verbs  # noqa: PLC0415  # as in `run`

    run_command(verbs.backup(configured()[0], stdout(), target))


@cli.command()
def keygen() -> None:
    """Cria uma chave para DATA_KEYS."""
    from cryptography.fernet import Fernet  # noqa: PLC0415  # as in `run`

    typer.echo(Fernet.generate_key().decode())


@cli.command()
def erase(
    *,
    conversation: Annotated[str | None, typer.Option(help="O id da conversa no bot.", metavar="ID")] = None,
    document: _OfDocument = False,
    as_json: _AsJson = False,
) -> None:
    """Pede ao worker que apague os dados de uma conversa ou de um documento, e mostra o que ficou."""
    from worker.cli import personal_data as verbs  # noqa: PLC0415  # as in `run`
    from worker.times import SystemClock  # noqa: PLC0415

    if (conversation is None) is not document:
        raise typer.BadParameter("Informe ou --conversation ID ou --document.")
    work = verbs.erase(configured()[0], stdout(), conversation, SystemClock(), as_json=as_json)
    run_command(work, nao_encontrado=_NO_DOCUMENT)


@cli.command()
def export(*, document: _OfDocument = False) -> None:
    """Mostra, em JSON, tudo o que está guardado sobre um documento. A leitura fica registrada."""
    from worker.cli import personal_data as verbs  # noqa: PLC0415  # as in `run`

    if not document:
        raise typer.BadParameter("Informe --document, e o documento pela entrada padrão.")
    run_command(verbs.export(configured()[0], stdout()), nao_encontrado=_NO_DOCUMENT)


@cli.command()
def rekey() -> None:
    """Cifra de novo, com a primeira chave de DATA_KEYS, tudo o que está cifrado com as outras."""
    from worker.cli import personal_data as verbs  # noqa: PLC0415  # as in `run`

    run_command(verbs.rekey(configured()[0], stdout()))


_CallState = Annotated[CallState | None, typer.Option(metavar="ESTADO", help=f"Só {_STATES}.")]
_Protocolo = Annotated[str | None, typer.Option(metavar="N", help="Só com este protocolo.")]
_OfRun = Annotated[str | None, typer.Option(metavar="ID", help="Só desta execução.")]
_PlatformCall = Annotated[
    str | None, typer.Option(metavar="ID", help="Só com este id na plataforma, como está no log.")
]
_Tool = Annotated[str | None, typer.Option(metavar="NOME", help="Só desta função.")]
_Motivo = Annotated[str | None, typer.Option(metavar="MOTIVO", help="Só deste motivo.")]
_Form = Annotated[
    Literal["table", "json", "csv"],
    typer.Option("--format", metavar="FORMATO", help="table; json; ou csv, com todas, sem limite."),
]


@calls.command("list")
def list_calls(
    *,
    state: _CallState = None,
    since: _SinceOrNone = None,
    until: _UntilOrNone = None,
    conversation: _OfConversation = None,
    protocolo: _Protocolo = None,
    run: _OfRun = None,
    platform_call: _PlatformCall = None,
    tool: _Tool = None,
    setor: _Setor = None,
    motivo: _Motivo = None,
    limit: _Limit = 50,
    form: _Form = "table",
    as_json: _AsJson = False,
) -> None:
    """Lista as chamadas, da mais nova à mais antiga."""
    from worker.cli import calls as verbs  # noqa: PLC0415  # as in `run`

    selection = verbs.Selection(
        *(state, since, until, conversation, protocolo, run, platform_call, tool, setor, motivo)
    )
    if form == "csv":
        run_command(verbs.export_calls(configured()[0], stdout(), selection))
    else:
        as_json = as_json or form == "json"
        run_command(verbs.list_calls(configured()[0], stdout(), selection, limit=limit, as_json=as_json))


@calls.command("show")
def show_call(
    call_id: _Call,
    *,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="O conteúdo pessoal; a leitura fica registrada.")
    ] = False,
    as_json: _AsJson = False,
) -> None:
    """Mostra uma chamada e o que lhe aconteceu."""
    from worker.cli import calls as verbs  # noqa: PLC0415  # as in `run`

    show = verbs.reveal_call if reveal else verbs.show_call
    run_command(show(configured()[0], stdout(), call_id, as_json=as_json), **_NO_CALL)


_RetryState = Annotated[
    Literal["failed", "unknown"] | None,
    typer.Option(metavar="ESTADO", help="Todas as deste estado: failed ou unknown."),
]


@calls.command("retry")
def retry_call(
    call_id: Annotated[str | None, typer.Argument(metavar="CALL", help="Uma chamada (tc_…).")] = None,
    *,
    state: _RetryState = None,
    since: _SinceOrNone = None,
    until: _UntilOrNone = None,
    setor: _Setor = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Só mostra o que seria enviado.")] = False,
) -> None:
    """Pede ao worker que envie o mesmo ticket de novo, com a mesma chave: um, ou todos de um período."""
    from worker.cli import calls as verbs  # noqa: PLC0415  # as in `run`
    from worker.times import SystemClock  # noqa: PLC0415

    one, several = call_id is not None, state is not None and since is not None
    if one is several or (one and (state or since or until or setor)):
        raise typer.BadParameter("Informe ou uma chamada ou --state e --since.")
    settings, console = configured()[0], stdout()
    if call_id is not None and dry_run:
        run_command(verbs.preview_retry(settings, console, call_id), **_NO_CALL)
    elif call_id is not None:
        run_command(verbs.retry_call(settings, console, call_id, SystemClock()), **_NO_CALL)
    else:
        which = verbs.Selection(state and CallState(state), since, until, setor=setor)
        preview = verbs.preview_retries(settings, console, which) if dry_run else None
        run_command(preview or verbs.retry_calls(settings, console, which, SystemClock()))


@calls.command("dismiss")
def dismiss_call(call_id: _Call, reason: _Reason = DismissReason.OUTRO, undo: _Undo = False) -> None:
    """Registra que uma chamada não precisa mais de uma pessoa."""
    from worker.cli import calls as verbs  # noqa: PLC0415  # as in `run`

    work = verbs.dismiss_call(configured()[0], stdout(), call_id, None if undo else reason)
    run_command(work, **_NO_CALL, estado_incompativel=_NOT_DISMISSED if undo else _NOT_DISMISSIBLE)


@runs.command("list")
def list_runs(  # as above
    *,
    state: Annotated[RunState | None, typer.Option(metavar="ESTADO", help=f"Só {_RUN_STATES}.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="CÓDIGO", help="Só por este motivo.")] = None,
    since: _SinceOrNone = None,
    until: _UntilOrNone = None,
    conversation: _OfConversation = None,
    limit: _Limit = 50,
    as_json: _AsJson = False,
) -> None:
    """Lista as execuções, da mais nova à mais antiga."""
    from worker.cli import runs as verbs  # noqa: PLC0415  # as in `run`

    selection = verbs.Selection(state, reason, since, until, conversation)
    run_command(verbs.list_runs(configured()[0], stdout(), selection, limit=limit, as_json=as_json))


@runs.command("show")
def show_run(run_id: _Run, as_json: _AsJson = False) -> None:
    """Mostra uma execução e as chamadas que ela fez."""
    from worker.cli import runs as verbs  # noqa: PLC0415  # as in `run`

    run_command(verbs.show_run(configured()[0], stdout(), run_id, as_json=as_json), **_NO_RUN)


@runs.command("dismiss")
def dismiss_run(run_id: _Run, reason: _Reason = DismissReason.OUTRO, undo: _Undo = False) -> None:
    """Registra que uma execução perdida não precisa mais de uma pessoa."""
    from worker.cli import runs as verbs  # noqa: PLC0415  # as in `run`

    refused = "Só uma execução perdida pode ser dispensada, e só uma vez"
    work = verbs.dismiss_run(configured()[0], stdout(), run_id, None if undo else reason)
    run_command(work, **_NO_RUN, estado_incompativel="Esta execução não está dispensada" if undo else refused)


@events.command("list")
def list_events(
    *,
    stuck: Annotated[bool, typer.Option("--stuck", help="Só os que o bot não aceitou em 72 horas.")] = False,
    limit: _Limit = 50,
    as_json: _AsJson = False,
) -> None:
    """Lista os avisos ao bot, do mais novo ao mais antigo."""
    from worker.cli import events as verbs  # noqa: PLC0415  # as in `run`

    run_command(verbs.list_events(configured()[0], stdout(), stuck=stuck, limit=limit, as_json=as_json))


_NOT_STUCK = (
    "Este aviso não está parado: só o que o bot não aceitou em 72 horas espera por uma pessoa. "
    "Os que ainda serão tentados vão na hora com events retry --all"
)


@events.command("retry")
def retry_event(
    event_id: Annotated[str | None, typer.Argument(metavar="ID", help="Um aviso (msg_…).")] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Todos os que pararam ou esperam pela próxima tentativa.")
    ] = False,
) -> None:
    """Entrega de novo um aviso que o bot não aceitou em 72 horas, ou todos."""
    from worker.cli import events as verbs  # noqa: PLC0415  # as in `run`

    if (event_id is None) is not everything:
        raise typer.BadParameter("Informe ou um aviso ou --all.")
    if event_id is None:
        run_command(verbs.retry_events(configured()[0], stdout()))
    else:
        work = verbs.retry_event(configured()[0], stdout(), event_id)
        run_command(work, **_NO_EVENT, estado_incompativel=_NOT_STUCK)


@events.command("discard")
def discard_event(event_id: _Event) -> None:
    """Desiste de um aviso que o bot não aceitou em 72 horas."""
    from worker.cli import events as verbs  # noqa: PLC0415  # as in `run`

    work = verbs.discard_event(configured()[0], stdout(), event_id)
    run_command(work, **_NO_EVENT, estado_incompativel=_NOT_STUCK)


@calls.command("resolve")
def resolve_call(
    call_id: _Call,
    protocolo: Annotated[str, typer.Option(metavar="N", help="O protocolo encontrado no CRM.")],
) -> None:
    """Conclui uma chamada com o protocolo que alguém encontrou no CRM."""
    from worker.cli import calls as verbs  # noqa: PLC0415  # as in `run`

    work = verbs.resolve_call(configured()[0], stdout(), call_id, protocolo)
    run_command(work, **_NO_CALL, estado_incompativel=_NOT_RESOLVABLE)


@handoffs.command("list")
def list_handoffs(
    state: Annotated[
        HandoffState | None,
        typer.Option(metavar="ESTADO", help="Só requested, accepted, closed ou returned."),
    ] = None,
    limit: _Limit = 50,
    as_json: _AsJson = False,
) -> None:
    """Lista os pedidos de atendimento humano, do mais novo ao mais antigo."""
    from worker.cli import handoffs as verbs  # noqa: PLC0415  # as in `run`

    run_command(verbs.list_handoffs(configured()[0], stdout(), state=state, limit=limit, as_json=as_json))


@handoffs.command("show")
def show_handoff(handoff_id: _Handoff, as_json: _AsJson = False) -> None:
    """Mostra um pedido com o motivo; quem o leu fica registrado."""
    from worker.cli import handoffs as verbs  # noqa: PLC0415  # as in `run`

    run_command(verbs.show_handoff(configured()[0], stdout(), handoff_id, as_json=as_json), **_NO_HANDOFF)


@handoffs.command("accept")
def accept_handoff(handoff_id: _Handoff) -> None:
    """Assume um pedido: o cliente deixa de esperar, e o bot é avisado."""
    from worker.cli import handoffs as verbs  # noqa: PLC0415  # as in `run`

    taken = "Este pedido já foi assumido ou encerrado"
    work = verbs.accept_handoff(configured()[0], stdout(), handoff_id)
    run_command(work, **_NO_HANDOFF, estado_incompativel=taken)


@handoffs.command("return")
def return_handoff(handoff_id: _Handoff) -> None:
    """Devolve ao bot uma conversa que alguém assumiu; o bot é avisado."""
    from worker.cli import handoffs as verbs  # noqa: PLC0415  # as in `run`

    waiting = "Só se devolve ao bot um pedido que alguém assumiu e ainda não encerrou nem devolveu"
    work = verbs.return_handoff(configured()[0], stdout(), handoff_id)
    run_command(work, **_NO_HANDOFF, estado_incompativel=waiting)


@handoffs.command("close")
def close_handoff(handoff_id: _Handoff) -> None:
    """Encerra um pedido, assumido ou não; o bot é avisado."""
    from worker.cli import handoffs as verbs  # noqa: PLC0415  # as in `run`

    returned = "Este pedido já foi devolvido ao bot"
    work = verbs.close_handoff(configured()[0], stdout(), handoff_id)
    run_command(work, **_NO_HANDOFF, estado_incompativel=returned)


@replies.command("list")
def list_replies(
    since: Annotated[str | None, _Since] = None,
    limit: _Limit = 50,
    as_json: _AsJson = False,
) -> None:
    """Lista as respostas sem lastro, da mais nova à mais antiga: códigos e horários, nunca o texto."""
    from worker.cli import replies as verbs  # noqa: PLC0415  # as in `run`

    run_command(verbs.list_replies(configured()[0], stdout(), since=since, limit=limit, as_json=as_json))
