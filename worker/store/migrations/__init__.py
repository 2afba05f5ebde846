"""The schema's history (Alembic). Additive within a minor version; forward only (docs/decisions.md)."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from worker.errors import ConfigError, NotMigrated

# Alembic is imported where it is used: a command that finds the schema as it should be does without.
if TYPE_CHECKING:
    from alembic.config import Config

_FOLDER = Path(__file__).parent


def upgrade(connection: Connection) -> None:
    """Bring the database to this version's schema, inside the caller's transaction.

    Raises `ConfigError` when a newer version has already been here.
    """
    if _behind(connection):
        from alembic import command  # noqa: PLC0415  # see above

        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def outdated(connection: Connection) -> bool:
    """Whether `upgrade` would change what an older version has made. Raises as `upgrade` does."""
    return _behind(connection) and _revision(connection) is not None


def check(connection: Connection) -> None:
    """Raises `NotMigrated` unless the database is at this version's schema, `ConfigError` at a newer one."""
    if _behind(connection):
        raise NotMigrated(
            "O banco ainda não foi atualizado por esta versão: inicie o worker (ticket-worker run) uma vez"
        )


def _behind(connection: Connection) -> bool:
    if current(connection):
        return False
    found, known = _revision(connection), _history()
    if found is not None and found not in known:
        raise ConfigError(
            f"O banco está na revisão {found}, mais nova que a desta versão ({known[0]}); "
            "instale a versão que o criou"
        )
    return found != known[0]


def current(connection: Connection) -> bool:
    """Whether the database is at this version's schema."""
    return _revision(connection) == newest()


@cache
def newest() -> str:
    """This version's newest revision: the number that the name of its script begins with."""
    return max(script.name.partition("_")[0] for script in (_FOLDER / "versions").glob("[0-9]*_*.py"))


def _revision(connection: Connection) -> str | None:
    """The database's revision; None for a database without a schema."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


@cache
def _history() -> tuple[str, ...]:
    """This version's revisions, newest first. Kept: Alembic reads every script."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415  # see above

    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415  # see above

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config
