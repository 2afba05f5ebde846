"""The schema's history (Alembic). Additive within a minor version; forward only (docs/decisions.md)."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from worker.errors import ConfigError

NOT_CURRENT = (
    "O banco ainda não foi criado ou atualizado por esta versão: inicie o daemon (ticket-worker run) uma vez"
)
"""What a command beside the daemon says; only the daemon migrates."""


def upgrade(connection: Connection) -> None:
    """Bring the database to this version's schema, inside the caller's transaction.

    Raises `ConfigError` when a newer version has already been here.
    """
    if _behind(connection):
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def outdated(connection: Connection) -> bool:
    """Whether `upgrade` would change what an older version has made. Raises as `upgrade` does."""
    return _behind(connection) and _revision(connection) is not None


def check(connection: Connection) -> None:
    """Raises `ConfigError` unless the database is at this version's schema."""
    if _behind(connection):
        raise ConfigError(NOT_CURRENT)


def _behind(connection: Connection) -> bool:
    found, known = _revision(connection), _history()
    if found is not None and found not in known:
        raise ConfigError(
            f"O banco está na revisão {found}, mais nova que a desta versão ({known[0]}); "
            "instale a versão que o criou"
        )
    return found != known[0]


def current(connection: Connection) -> bool:
    """Whether the database is at this version's schema."""
    return _revision(connection) == _history()[0]


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@cache
def _history() -> tuple[str, ...]:
    """This version's revisions, newest first. Kept: readiness asks often, and Alembic reads every script."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
