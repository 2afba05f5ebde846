"""What is kept of a SQLite file before a newer version changes its schema: migrations only go forward."""

import contextlib
import sqlite3
from pathlib import Path

from worker.errors import ConfigError

SUFFIX = ".before-upgrade"


def copy_database(path: Path, copy: Path) -> None:
    """Copy a database that may be in use, whole or not at all. Raises `sqlite3.Error` and `OSError`."""
    unfinished = copy.with_name(copy.name + ".part")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(unfinished)) as target,
    ):
        source.backup(target)
    unfinished.replace(copy)


def keep_copy(path: Path) -> None:
    """A copy of the database beside it, for its owner alone; only the latest one is kept.

    By SQLite's own backup: what a crash left in the WAL is in it, and the caller may be in a transaction.
    Raises `ConfigError` when it cannot be made; an earlier copy is still there then.
    """
    from worker import logs  # noqa: PLC0415  # only the daemon gets here; commands do without the log

    try:
        copy_database(path, path.with_name(path.name + SUFFIX))
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(
            f"O banco {path} não pôde ser copiado antes da atualização ({type(error).__name__}); "
            "confira o espaço livre e a permissão na pasta dele. Nada foi alterado"
        ) from None
    logs.event("→ banco copiado antes da atualização: ao lado dele, com o final .before-upgrade")
