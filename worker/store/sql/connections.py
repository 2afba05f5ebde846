"""How each database is connected to: SQLAlchemy's engines, and what a connection is told when it is made."""

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import aiosqlite
from sqlalchemy import URL, Dialect, event, make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from worker.errors import ConfigError, StoreError
from worker.ports import LEASE_S

_PSYCOPG: Any = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy's
_CONNECTION_LIMITS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server that is gone without a word is noticed within ten seconds. libpq's names; the last in ms."""

_UNREADABLE = (
    "DATABASE_URL não pôde ser lida; use sqlite:///pasta/worker.db ou "
    "postgresql://usuario:senha@servidor/banco. Na senha, troque caracteres especiais por %XX: "
    "%40 no lugar de @, %2F de /, %3A de :"
)
_BUSY_S = 30.0
CONNECTIONS = 16
_FETCHED = 64  # what aiosqlite.connect would say
_IDLE_S = 1.0
"""A connection that was used so short a time ago is not asked whether it still is one."""


def parse(text: str) -> URL:
    """The URL with our drivers. Raises `ConfigError`; the text itself may hold a password."""
    try:
        url = make_url(_with_host_list(text))
    except (SQLAlchemyError, ValueError):
        raise ConfigError(_UNREADABLE) from None
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and (url.query or url.database in (None, "", ":memory:")):
        raise ConfigError("DATABASE_URL precisa ser o caminho de um arquivo, como sqlite:///data/worker.db")
    if not sqlite and _is_cut_wrongly(url):
        raise ConfigError(_UNREADABLE)
    return url.set(drivername="sqlite+aiosqlite" if sqlite else "postgresql+psycopg")


def _is_cut_wrongly(url: URL) -> bool:
    """Whether a part holds what belongs to a password with `@`, `/` or `:` in it: no part may be shown."""
    return any(set("@/[]") & set(part) for part in (url.host or "", url.database or "", *url.query))


def _with_host_list(text: str) -> str:
    """libpq's `@a:5432,b:5433/` as SQLAlchemy takes several servers: in the query."""
    found = re.fullmatch(r"(postgres(?:ql)?://(?:[^@/]*@)?)([^@/?]+,[^@/?]+)(/[^?]*)?(?:\?(.*))?", text)
    if found is None:
        return text
    head, servers, path, query = found.groups()
    named = [server.partition(":") for server in servers.split(",")]
    hosts, ports = ",".join(each[0] for each in named), ",".join(each[2] or "5432" for each in named)
    return f"{head}{path or '/'}?host={hosts}&port={ports}{'&' + query if query else ''}"


def connect_arguments(url: URL) -> dict[str, Any]:
    """What psycopg is given to connect with: the URL's, and limits where the URL has none."""
    arguments: dict[str, Any] = _PSYCOPG.create_connect_args(url)[1]
    if not str(arguments.get("port", "0")).strip(","):  # SQLAlchemy makes `,` of hosts without ports
        del arguments["port"]
    return {**_CONNECTION_LIMITS, **arguments}


_POOL: dict[str, Any] = {
    "hide_parameters": True,
    "pool_size": CONNECTIONS,
    "max_overflow": 0,
    "pool_use_lifo": True,  # few, which know their statements and have their pages in memory
}


def pooled(url: URL) -> AsyncEngine:
    """As many connections as there is work for; on SQLite each in a thread of its own."""
    if url.get_backend_name() != "sqlite":
        limits = {name: value for name, value in _CONNECTION_LIMITS.items() if name not in url.query}
        engine = create_async_engine(url, **_POOL, connect_args=limits)
        event.listen(engine.sync_engine, "do_connect", _on_postgres_do_connect)
        event.listen(engine.sync_engine, "connect", _on_postgres_connect)
        event.listen(engine.sync_engine, "checkin", _on_postgres_checkin)
        event.listen(engine.sync_engine, "checkout", partial(_on_postgres_checkout, engine.dialect))
        return engine
    engine = create_async_engine(url, **_POOL, connect_args={"timeout": _BUSY_S})
    event.listen(engine.sync_engine, "connect", _on_sqlite_connect)
    event.listen(engine.sync_engine, "begin", _on_sqlite_begin)
    return engine


def in_place(url: URL) -> AsyncEngine:
    """Two connections: one to write, one for brief reads beside it."""

    async def connect() -> aiosqlite.Connection:
        file = InPlace(partial(sqlite3.connect, url.database, _BUSY_S, check_same_thread=False), _FETCHED)
        return await file

    engine = create_async_engine(
        url, hide_parameters=True, async_creator=connect, pool_size=2, max_overflow=0
    )
    event.listen(engine.sync_engine, "connect", _on_sqlite_connect)
    event.listen(engine.sync_engine, "begin", _on_sqlite_begin)
    return engine


def _on_postgres_do_connect(
    _dialect: object, _record: object, _args: object, arguments: dict[str, Any]
) -> None:
    if not str(arguments.get("port", "0")).strip(","):  # as in `connect_arguments`
        del arguments["port"]


def _on_postgres_connect(connection: Any, _record: object) -> None:
    # A machine that freezes or drops off the network in a transaction keeps its locks, and nobody could take
    # its runs over. Not by `options=`: poolers refuse it.
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = {round(LEASE_S * 1000)}")
    cursor.close()
    connection.commit()  # or the pool's rollback takes it back


def _on_postgres_checkin(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _on_postgres_checkout(
    dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object
) -> None:
    """What SQLAlchemy's `pool_pre_ping` does, which would ask before every transaction."""
    used_at = record.info.get("used_at")  # a new one has none
    if used_at is not None and time.monotonic() - used_at > _IDLE_S:
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error:
            raise DisconnectionError from None  # the pool takes another


def _on_sqlite_connect(connection: Any, _record: object) -> None:
    # The driver's own BEGIN comes too late and is never IMMEDIATE: take it away, and begin by hand below.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_sqlite_begin(connection: Any) -> None:
    options = connection.get_execution_options()
    if not options.get("grouped"):  # its group has begun
        connection.exec_driver_sql("BEGIN" if options.get("read_only") else "BEGIN IMMEDIATE")


class InPlace(aiosqlite.Connection):
    """Statements run in the caller's thread; only what waits for a lock or the disk has one of its own."""

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._waits(fn, args):
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]  # aiosqlite's
        return fn(*args, **kwargs)

    def _waits(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
        if function.__name__ == "execute":
            return bool(arguments[0].startswith(("BEGIN IMMEDIATE", "COMMIT", "PRAGMA")))
        return function == self._conn.close

    def run_now(self, statement: str) -> None:
        """Run a statement that waits for nothing."""
        self._conn.execute(statement)

    def begin(self) -> asyncio.Task[None] | None:
        """Begin to write: now, which is None, or once another process has let go of the file."""
        try:
            self.run_now("PRAGMA busy_timeout = 0")
            self.run_now("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return asyncio.create_task(self._begin_later())
            raise
        return None

    async def _begin_later(self) -> None:
        self.run_now(f"PRAGMA busy_timeout = {round(1000 * _BUSY_S)}")
        await self.execute("BEGIN IMMEDIATE")


def reading(url: URL) -> dict[str, Any]:
    """The options of a connection that only reads: no lock on SQLite, on PostgreSQL no transaction."""
    return {"read_only": True} if url.get_backend_name() == "sqlite" else {"isolation_level": "AUTOCOMMIT"}


def driver_of(connection: AsyncConnection) -> Any:
    """aiosqlite's or psycopg's connection: both run a statement by `await execute(sql, parameters)`."""
    raw = connection.sync_connection
    if raw is None:
        raise StoreError("the connection is not open")
    return raw.connection.driver_connection
