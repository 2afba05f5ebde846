"""Connections to each database: SQLAlchemy's engines, and the settings of a new connection."""

import asyncio
import contextlib
import os
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import aiosqlite
from sqlalchemy import URL, Dialect, event, make_url
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from worker.errors import ConfigError, StoreError
from worker.ports import LEASE_S

_CONNECTION_LIMITS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server that disappears silently is noticed within ten seconds. libpq's names; the last is in ms."""

_UNREADABLE = (
    "DATABASE_URL não pôde ser lida; use sqlite:///pasta/worker.db ou "
    "postgresql://usuario:senha@servidor/banco. Na senha, troque caracteres especiais por %XX: "
    "%40 no lugar de @, %2F de /, %3A de :"
)
ANSWER_S = 5.0
"""A statement that waits for no lock takes less, or the server does not answer."""

_BUSY_S = 30.0
CONNECTIONS = 16
_FETCH_SIZE = 64  # the default of aiosqlite.connect
_IDLE_S = 1.0
"""A connection that was used this recently is not checked before its next use."""


def parse(text: str) -> URL:
    """The URL with this project's drivers. `ConfigError` never repeats `text`: it may hold a password."""
    try:
        url = make_url(_with_host_list(text))
    except (SQLAlchemyError, ValueError):
        raise ConfigError(_UNREADABLE) from None
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and (url.query or url.database in (None, "", ":memory:")):
        raise ConfigError("DATABASE_URL precisa ser o caminho de um arquivo, como sqlite:///data/worker.db")
    if not sqlite and _splits_a_password(url):
        raise ConfigError(_UNREADABLE)
    return url.set(drivername="sqlite+aiosqlite" if sqlite else "postgresql+psycopg")


def _splits_a_password(url: URL) -> bool:
    """True when a password with `@`, `/` or `:` was split into other parts. Then no part may be printed."""
    return any(set("@/[]") & set(part) for part in (url.host or "", url.database or "", *url.query))


def _with_host_list(text: str) -> str:
    """Move libpq's `@a:5432,b:5433/` to the query, where SQLAlchemy expects several servers."""
    match = re.fullmatch(r"(postgres(?:ql)?://(?:[^@/]*@)?)([^@/?]+,[^@/?]+)(/[^?]*)?(?:\?(.*))?", text)
    if match is None:
        return text
    head, servers, path, query = match.groups()
    addresses = [server.partition(":") for server in servers.split(",")]
    hosts, ports = (
        ",".join(address[0] for address in addresses),
        ",".join(address[2] or "5432" for address in addresses),
    )
    return f"{head}{path or '/'}?host={hosts}&port={ports}{'&' + query if query else ''}"


def connect_arguments(url: URL) -> dict[str, Any]:
    """psycopg's connection arguments: those of the URL, with default limits where it has none."""
    arguments: dict[str, Any] = {**url.get_dialect()().create_connect_args(url)[1]}
    if not str(arguments.get("port", "0")).strip(","):  # SQLAlchemy makes `,` of hosts without ports
        del arguments["port"]
    return {**_CONNECTION_LIMITS, **arguments}


_POOL: dict[str, Any] = {
    "hide_parameters": True,
    "pool_size": CONNECTIONS,
    "max_overflow": 0,
    "pool_use_lifo": True,  # few connections, whose statements are prepared and whose pages are in memory
}


def pooled(url: URL) -> AsyncEngine:
    """An engine with up to `CONNECTIONS` connections; on SQLite each has its own thread."""
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
    """An engine with two SQLite connections in the caller's thread: one to write, one for brief reads."""

    async def connect() -> aiosqlite.Connection:
        file = InPlace(partial(sqlite3.connect, url.database, _BUSY_S, check_same_thread=False), _FETCH_SIZE)
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
    # A machine that freezes or leaves the network in a transaction keeps its locks, and no other process
    # could take its runs over. Not by `options=`: poolers refuse it.
    with answered_within(connection.driver_connection, ANSWER_S):
        cursor = connection.cursor()
        cursor.execute(f"SET idle_in_transaction_session_timeout = {round(LEASE_S * 1000)}")
        cursor.close()
        connection.commit()  # or the pool's rollback takes it back


def _on_postgres_checkin(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _on_postgres_checkout(
    dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object
) -> None:
    """Ping an idle connection. SQLAlchemy's `pool_pre_ping` would ping before every transaction."""
    used_at = record.info.get("used_at")  # a new one has none
    if used_at is not None and time.monotonic() - used_at > _IDLE_S:
        try:
            with answered_within(connection.driver_connection, ANSWER_S):
                dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error:
            raise DisconnectionError from None  # the pool takes another


@contextlib.contextmanager
def answered_within(driver: Any, seconds: float) -> Iterator[None]:
    """Break a psycopg connection off if the block takes longer. Raises `TimeoutError` then.

    A frozen server keeps its connections open and applies no timeout of its own. Not `asyncio.timeout`: when
    psycopg is cancelled it asks the server to cancel the statement, and waits for that.
    """
    expired = False

    def break_off() -> None:
        nonlocal expired
        expired = True
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(driver.fileno())) as connection:
            connection.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(seconds, break_off)
    try:
        yield
    except Exception:
        if expired:
            raise TimeoutError("timed out") from None
        raise
    finally:
        timer.cancel()


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
    """Runs statements in the caller's thread, and those that wait for a lock or the disk in another one."""

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._may_block(fn, args):
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]  # aiosqlite's
        return fn(*args, **kwargs)

    def _may_block(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
        if function.__name__ == "execute":
            return bool(arguments[0].startswith(("BEGIN IMMEDIATE", "COMMIT", "PRAGMA")))
        return function == self._conn.close

    def run_now(self, statement: str) -> None:
        """Run a statement that does not wait for a lock or the disk."""
        self._conn.execute(statement)

    def begin(self) -> asyncio.Task[None] | None:
        """Begin a write transaction. Returns None when it has begun, or a task while the file is locked."""
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
    """Options of a connection that only reads: no lock on SQLite, no transaction on PostgreSQL."""
    return {"read_only": True} if url.get_backend_name() == "sqlite" else {"isolation_level": "AUTOCOMMIT"}


def driver_of(connection: AsyncConnection) -> Any:
    """aiosqlite's or psycopg's connection: both run a statement by `await execute(sql, parameters)`."""
    raw = connection.sync_connection
    if raw is None:
        raise StoreError("the connection is not open")
    return raw.connection.driver_connection
