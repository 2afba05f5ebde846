"""`sync-schema`: compares the definitions, prints the differences, writes them and returns the exit code."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from worker import platforms, schema_sync
from worker.catalog import Catalog, Spellings
from worker.cli.exit_codes import Exit
from worker.errors import ConfigError, PlatformError, PlatformGone, RunGone
from worker.platforms.definitions import Envelope, Stored
from worker.schema_sync import BrokenMarkers, Json, NotApplied, NotComplete, NotSaved, Plan, Target
from worker.settings import NAMED_ASSISTANTS, Settings
from worker.settings.platforms import platform_names
from worker.store.queries.inspection import Inspection
from worker.tools import schema_names

_ID = "_ASSISTANT_ID"


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    dry_run: bool = False
    check: bool = False
    #: Names; none means all configured assistants.
    assistants: Sequence[str] = ()
    out: Path | None = None
    sessions: bool = False
    instructions: bool = False


async def sync_schema(settings: Settings, options: Options, console: Console) -> int:
    """Run the command; returns the exit code. Raises `ConfigError` and `PlatformGone`."""
    functions = schema_sync.load(schema_names(), catalog=Catalog.configured(settings))
    _check_options(settings, options)
    stored = platforms.stored_assistants(settings)
    if stored is None:
        return _export(functions, options.out or Path(), options, console, platforms.spec(settings).envelope)
    chosen = _chosen(settings, options.assistants)
    sessions = await _known_sessions(settings) if options.sessions else []
    async with aclosing(stored):
        job = _Job(stored, functions, options, console)
        rules = schema_sync.RULES if options.instructions else {}
        ends = [await job.settle(name, each, rules.get(name)) for name, each in chosen.items()]
        if stored.sessions is not None:
            job = _Job(stored.sessions, functions, options, console, agents=chosen.values())
            ends += [await job.settle("sessão", each) for each in sessions]
        if options.sessions:
            _print(console, f"✓ sessões das conversas conhecidas: {len(sessions)} examinadas", "green")
    return next((end for end in (Exit.REFUSED, Exit.DRIFT) if end in ends), Exit.DONE)


def _check_options(settings: Settings, options: Options) -> None:
    problems = []
    if settings.PLATFORM is None:
        problems.append(f"PLATFORM não está definida: use {platform_names()}")
    elif platforms.spec(settings).stored is None:
        if options.out is None:
            problems.append(
                f"A plataforma {settings.PLATFORM} não guarda assistentes: use --out ARQUIVO para gravar as "
                "ferramentas que o bot envia em cada resposta"
            )
        if options.assistants or options.sessions or options.instructions:
            problems.append(
                f"--assistant, --sessions e --instructions não existem na plataforma {settings.PLATFORM}"
            )
    else:
        problems += _check_stored(settings, options)
    if problems:
        raise ConfigError(*problems)


def _check_stored(settings: Settings, options: Options) -> list[str]:
    problems = []
    if settings.OPENAI_API_KEY is None and settings.OPENAI_AUTH == "key":
        problems.append("OPENAI_API_KEY não está definida: a chave da plataforma")
    if options.out is not None:
        problems.append(
            "--out é só de plataformas que não guardam assistentes: aqui as ferramentas ficam no assistente"
        )
    if options.sessions and not platforms.spec(settings).has_sessions:
        problems.append("--sessions é só da plataforma agents")
    return problems


def _chosen(settings: Settings, names: Sequence[str]) -> Mapping[str, str]:
    """The assistants to keep in step, by name. Raises `ConfigError`."""
    configured = settings.assistant_ids
    existing = Spellings(dict.fromkeys((*NAMED_ASSISTANTS, *configured)))
    target = [existing.match(name) for name in names]
    problems = [
        f"--assistant {name} não existe; use {', '.join(existing.names)}"
        for name, match in zip(names, target, strict=True)
        if match is None
    ]
    problems += [f"{name}{_ID} não está definida" for name in target if name and name not in configured]
    if not target and not configured:
        problems.append(
            "Nenhum assistente está configurado: defina FINANCEIRO_ASSISTANT_ID, SUPORTE_ASSISTANT_ID "
            "ou ASSISTANT_IDS"
        )
    if problems:
        raise ConfigError(*problems)
    return {name: identifier for name, identifier in configured.items() if not target or name in target}


async def _known_sessions(settings: Settings) -> Sequence[str]:
    async with Inspection.open(settings) as database:
        return await database.threads()


# ------------------------------------------------------------------------------------ one definition each


class _Job:
    """Compares and writes one kind of definitions.

    `agents`: only sessions of these are written; others belong to another bot. A deleted session is skipped.
    """

    def __init__(
        self,
        stored: Stored,
        functions: Sequence[Json],
        options: Options,
        console: Console,
        agents: Collection[str] | None = None,
    ) -> None:
        self._stored = stored
        self._functions = functions
        self._options = options
        self._console = console
        self._agents = agents

    async def settle(self, title: str, identifier: str, rules: str | None = None) -> Exit:
        """Compare, print, and write unless `--dry-run` or `--check` is set. Raises `PlatformGone`."""
        title = schema_sync.printable(f"{title} ({identifier})")
        try:
            return await self._settle(title, identifier, Target(self._functions, rules))
        except PlatformGone:
            raise
        except (PlatformError, BrokenMarkers, NotSaved, NotComplete, NotApplied) as failure:
            if isinstance(failure, RunGone) and self._agents is not None:
                return Exit.DONE
            _print(self._console, f"✗ {title}: {schema_sync.sentence(failure)}", "red")
            return Exit.REFUSED

    async def _settle(self, title: str, identifier: str, target: Target) -> Exit:
        difference = await schema_sync.compare(self._stored, identifier, target)
        if self._agents is not None and not (
            difference.changes and difference.before.get("id") in self._agents
        ):
            return Exit.DONE
        end = _show(title, difference, self._options, self._console)
        if end is not None:
            return end
        strict = await schema_sync.apply(self._stored, identifier, difference, target)
        plain = "" if strict else "; a plataforma recusou strict: ficou sem ele"
        _print(self._console, f"✓ {title}: gravado e conferido{plain}", "green")
        return Exit.DONE


def _export(
    functions: Sequence[Json], path: Path, options: Options, console: Console, envelope: Envelope
) -> Exit:
    """Write the tools that a bot sends with each response to a file, and keep its other tools."""
    difference = schema_sync.plan({"tools": _tools_in(path)}, Target(functions), envelope)
    title = schema_sync.printable(str(path))
    end = _show(title, difference, options, console)
    if end is not None:
        return end
    try:
        path.write_text(
            json.dumps(difference.changes["tools"], ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
        )
    except (OSError, UnicodeEncodeError) as error:
        raise ConfigError(f"{title} não pôde ser gravado ({type(error).__name__})") from None
    _print(console, f"✓ {title}: gravado", "green")
    return Exit.DONE


def _tools_in(path: Path) -> Sequence[Json]:
    if not path.exists():
        return []
    try:
        tools = json.loads(path.read_bytes())
    except (OSError, ValueError):
        tools = None
    if isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools):
        return tools
    raise ConfigError(f"{path} existe e não é uma lista JSON de ferramentas; indique outro arquivo em --out")


# ------------------------------------------------------------------------------------------- what is said


def _show(title: str, difference: Plan, options: Options, console: Console) -> Exit | None:
    """Print the differences; the exit code, or None if they are to be written."""
    line = f"{title}: {schema_sync.summary(difference)}"
    if not difference.changes:
        _print(console, f"✓ {line}", "green")
        return Exit.DONE
    _print(console, f"! {line}", "yellow")
    for each in schema_sync.diff(difference):
        _print(console, f"    {each}", {"+": "green", "-": "red"}.get(each[0]))
    if options.check:
        return Exit.DRIFT
    return Exit.DONE if options.dry_run else None


def _print(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, soft_wrap=True)
