"""`backup`: a consistent copy of the SQLite database, beside the daemon (contract §14)."""

import asyncio
import sqlite3
from pathlib import Path

from rich.console import Console

from worker.cli.exit_codes import Exit
from worker.cli.output import print_done
from worker.errors import ConfigError
from worker.settings import Settings
from worker.store.sql.backup import copy_database


async def backup(settings: Settings, console: Console, target: Path) -> Exit:
    """Copy the database into a file for its owner alone. Raises `ConfigError`."""
    if not settings.DATABASE_URL.startswith("sqlite"):
        raise ConfigError("backup copia um banco SQLite; para PostgreSQL, use pg_dump --format=custom")
    size = await asyncio.to_thread(_copy, Path(settings.DATABASE_URL.removeprefix("sqlite:///")), target)
    megabytes = f"{size / 1e6:.1f}".replace(".", ",")
    print_done(console, f"Banco copiado para {target} ({megabytes} MB). Guarde DATA_KEYS em outro lugar")
    return Exit.DONE


def _copy(source: Path, target: Path) -> int:
    """The size of the copy in bytes. Raises `ConfigError`."""
    if not source.exists():
        raise ConfigError(f"O banco {source} não existe")
    if target.exists():
        raise ConfigError(f"{target} já existe; dê outro nome à cópia")
    if not target.absolute().parent.is_dir():
        raise ConfigError(f"A pasta {target.absolute().parent} não existe; crie-a, ou dê outro nome à cópia")
    try:
        copy_database(source, target)
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(
            f"O banco não pôde ser copiado para {target} ({type(error).__name__}); "
            "confira o espaço livre e a permissão na pasta"
        ) from None
    return target.stat().st_size
