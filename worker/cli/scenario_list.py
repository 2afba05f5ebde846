"""`rehearse --list`: the scenarios, without what plays them (the SDK, a server, the loop)."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from worker.catalog import Catalog
from worker.cli.output import cells, table
from worker.rehearsal.scenarios import choose, load
from worker.rehearsal.words import expectation
from worker.settings import Settings


async def show_list(
    settings: Settings, console: Console, file: Path | None, names: Sequence[str], assistants: Sequence[str]
) -> None:
    """Print the scenarios that would be played; no names mean all. Raises `ConfigError`."""
    rows = table("Cenário", "Assistente", "Esperado", "Fonte")
    for each in choose(load(file, Catalog.configured(settings)), names, assistants):
        rows.add_row(*cells(each.name, each.assistant, expectation(each.expected), each.source))
    console.print(rows)
