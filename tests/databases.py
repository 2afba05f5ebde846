"""Databases that tests use one after the other: making one, and opening it, takes longer than most tests."""

from typing import Any

from cryptography.fernet import Fernet
from sqlalchemy import Connection, MetaData, create_engine, inspect, make_url, select, text

from worker.privacy import Vault, new_index_key
from worker.settings import Settings
from worker.store import migrations
from worker.store.store import Store

_KEPT = ("alembic_version", "index_key", "upkeep")
"""What a daemon that has just started leaves: the schema's revision, the wrapped key, the planned tasks."""

_END_TRANSACTIONS = text(
    "select pg_terminate_backend(pid) from pg_stat_activity "
    "where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'"
)
_RESTART_SEQUENCES = text(
    "select setval(oid::regclass, 1, false) from pg_class "
    "where relkind = 'S' and relnamespace = 'public'::regnamespace"
)

KEY = Fernet.generate_key().decode()


def migrate(connection: Connection, wrapped: bytes) -> None:
    """What a daemon does to an empty database, its index key being this one."""
    migrations.upgrade(connection)
    connection.execute(text("insert into index_key (id, wrapped) values (1, :wrapped)"), {"wrapped": wrapped})


def index_key(data_key: str) -> bytes:
    """A new index key, wrapped."""
    return Vault([data_key]).seal_bytes(new_index_key())


class SharedDatabase:
    """One database, and one process's open store on it."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._wrapped = index_key(key)
        postgresql = make_url(url).get_backend_name() == "postgresql"
        self._engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg" if postgresql else "sqlite")
        )
        self._postgresql = postgresql
        self._store: Store | None = None
        with self._engine.begin() as connection:
            self._make(connection)

    async def store(self, settings: Settings) -> Store:
        """Opened once, beside the owner that some test may be."""
        if self._store is None:
            self._store = await Store.open(settings, "assistants", owner=False)
        return self._store

    async def close(self) -> None:
        if self._store is not None:
            await self._store.close()
        self._engine.dispose()

    def empty(self) -> None:
        """Undo whatever a test did; what it left open on PostgreSQL is ended first."""
        with self._engine.begin() as connection:
            if self._postgresql:
                connection.execute(_END_TRANSACTIONS)
            if set(inspect(connection).get_table_names()) == set(self._tables.tables):
                self._delete_rows(connection)
            else:
                self._unmake(connection)
                self._make(connection)

    def _make(self, connection: Connection) -> None:
        migrate(connection, self._wrapped)  # always the one: the open store has read it
        self._tables = MetaData()
        self._tables.reflect(connection)
        kept = ((name, connection.execute(select(self._tables.tables[name])).one()) for name in _KEPT)
        self._kept: dict[str, dict[str, Any]] = {name: dict(row._mapping) for name, row in kept}

    def _unmake(self, connection: Connection) -> None:
        left = MetaData()
        left.reflect(connection)
        left.drop_all(connection)

    def _delete_rows(self, connection: Connection) -> None:
        for table in reversed(self._tables.sorted_tables):
            connection.execute(table.delete())
        if self._postgresql:
            connection.execute(_RESTART_SEQUENCES)
        for name, row in self._kept.items():
            connection.execute(self._tables.tables[name].insert().values(row))
