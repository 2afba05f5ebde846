"""One database, SQLite or PostgreSQL: how it is opened, locked, migrated and written to."""

import asyncio
import contextlib
import errno
import fcntl
import os
import secrets
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, Table, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import ConfigError, NotMigrated, StoreError, StoreUnavailable
from worker.ports import LEASE_S
from worker.privacy import Hasher, Vault, new_index_key
from worker.store import migrations
from worker.store.sql.availability import Availability
from worker.store.sql.backup import keep_copy
from worker.store.sql.connections import (
    ANSWER_S,
    CONNECTIONS,
    answered_within,
    connect_arguments,
    driver_of,
    in_place,
    parse,
    pooled,
    reading,
)
from worker.store.sql.group_commit import GroupCommit
from worker.store.sql.refusals import Refusal, may_pass, outage_of, place_of
from worker.store.sql.tables import Tables

_TRANSACTION_S = 2 * LEASE_S
"""Longest transaction on PostgreSQL. It may wait for a lock that a frozen process keeps for `LEASE_S`."""

_CHECKPOINTS = 10
_CHECKPOINT_AGAIN_S = 0.5
_CHANNEL = "ticket_worker"
_LISTEN_AGAIN_S = 5.0
_MIGRATION_LOCK = 0x7469636B6574  # "ticket"; any number that nobody else uses


class Database:
    """An open database: tables bound to its keys, its keyed hash, and two ways in: `read` and `write`.

    Every failure of the driver leaves as `StoreError`, reduced to class names (statements carry values).
    """

    def __init__(self, url: str, vault: Vault) -> None:
        self.url = parse(url)
        self.tables = Tables(vault, self.url.get_backend_name())
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._vault = vault
        self._hasher: Hasher | None = None
        self._engine = pooled(self.url)
        # SQLite has one writer: take turns here rather than spin on SQLITE_BUSY.
        self._in_place = in_place(self.url) if self.sqlite else self._engine
        self._group_commit = GroupCommit(self._in_place) if self.sqlite else None
        # Wait here, in order and without a limit, not in the pool, which gives up after 30 s: a burst of
        # calls is no failure of the database.
        self._free_connections = asyncio.Semaphore(CONNECTIONS - 1)
        self._lock: int | None = None
        self.availability = Availability()
        self._name = secrets.token_hex(8)

    @property
    def file(self) -> Path | None:
        """The database's file; None for PostgreSQL, whose files are its server's."""
        return _file(self.url) if self.sqlite else None

    @property
    def hasher(self) -> Hasher:
        """Keyed hashes under this database's index key, which never changes."""
        if self._hasher is None:
            raise StoreError("the database is not open")
        return self._hasher

    async def open(self, *, owner: bool) -> Self:
        """Check the schema and the keys, load the index key.

        The owner also creates, migrates, and on SQLite takes the lock (contract §1); a command beside it
        changes none of these. Raises `ConfigError`: the file is no database, another owner holds it, its keys
        are others', it belongs to a newer version, or a command finds none of this version's. Nothing has
        been written then.
        """
        try:
            if owner:
                await self._prepare()
            else:
                await self._load_existing()
        except (SQLAlchemyError, OSError) as error:
            await self.close()
            raise self._cannot_open(error) from None
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Close the connections and give the lock back."""
        try:
            if self._group_commit is not None:
                await self._group_commit.aclose()
            await self._in_place.dispose()
            await self._engine.dispose()
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    @contextlib.asynccontextmanager
    async def read(self, *, brief: bool = False) -> AsyncIterator[AsyncConnection]:
        """A connection for reading: one snapshot on SQLite, one for each statement on PostgreSQL.

        `brief`: a few rows by key. On SQLite they are read in the caller's thread, which costs less.
        """
        engine = self._in_place if brief else self._engine
        limit_s = ANSWER_S if brief else _TRANSACTION_S
        with self._reduced_errors():
            async with self._free_connections, engine.connect() as plain, self._limited(plain, limit_s):
                connection = await plain.execution_options(**reading(self.url))
                await connection.begin()  # otherwise it begins with a statement of SQLAlchemy's own
                yield connection

    @contextlib.asynccontextmanager
    async def write(self, *, urgent: bool = False) -> AsyncIterator[AsyncConnection]:
        """One transaction, durable when the block has ended.

        `urgent` (heartbeats) does not queue for a connection: one is kept free for it.
        """
        with self._reduced_errors():
            if self._group_commit is not None:
                async with self._group_commit.write() as connection:
                    yield connection
                return
            async with (
                contextlib.nullcontext() if urgent else self._free_connections,
                self._engine.connect() as connection,
                self._limited(connection, _TRANSACTION_S),
                connection.begin(),
            ):
                yield connection

    @contextlib.asynccontextmanager
    async def _limited(self, connection: AsyncConnection, seconds: float) -> AsyncIterator[None]:
        """PostgreSQL: what `answered_within` does, on this connection."""
        if self.sqlite:
            yield
            return
        try:
            with answered_within(driver_of(connection), seconds):
                yield
        except TimeoutError:
            await connection.invalidate()  # or the rollback on its way out fails, and hides this error
            raise

    @contextlib.contextmanager
    def _reduced_errors(self, *, probing: bool = False) -> Iterator[None]:
        """Raise the driver's errors as `StoreError`. During an outage only a probe reaches the server."""
        if self.availability.refusal is not None and self.availability.probed and not probing:
            raise StoreUnavailable(self.availability.refusal.sentence)
        with _driver_errors(self._engine.dialect.loaded_dbapi.Error, reduced=self._reduced):
            yield
        if self.availability.refusal is not None and not self.availability.probed:
            self.availability.recovered()

    def _reduced(self, error: BaseException) -> StoreError:
        if self.sqlite:
            return StoreError(_why_not_written(_file(self.url), error))
        if (refusal := outage_of(error)) is not None:
            self.availability.failed(refusal)
            return StoreUnavailable(refusal.sentence)
        return StoreUnavailable(_class_names(error)) if may_pass(error) else StoreError(_class_names(error))

    async def probe(self) -> None:
        """Check that the server accepts writes. Raises `StoreUnavailable` when it does not."""
        with self._reduced_errors(probing=True):
            async with self._engine.connect() as connection, self._limited(connection, ANSWER_S):
                standby = (await connection.execute(text("select pg_is_in_recovery()"))).scalar_one()
            if standby:
                await self._engine.dispose()  # the next connections may be made to another server
                raise OSError("read-only")

    async def keep_probing(self, grace_s: float) -> None:
        """See `Availability.keep_probing`; SQLite is not probed."""
        if self.sqlite:
            await asyncio.Event().wait()
        await self.availability.keep_probing(self.probe, grace_s)

    def _cannot_open(self, error: BaseException) -> ConfigError | StoreError:
        """`ConfigError` where the operator must act, `StoreUnavailable` where waiting may help."""
        if self.sqlite:
            return ConfigError(_cannot_open_file(self.url, error))
        refusal = outage_of(error)
        if refusal is None:
            refusal = Refusal(
                "erro", f"o servidor recusou o que foi pedido ({_class_names(error)})", passes=False
            )
        where = place_of(connect_arguments(self.url))
        sentence = f"O PostgreSQL ({where}) não pôde ser aberto: {refusal.sentence}"
        return StoreUnavailable(sentence) if refusal.passes else ConfigError(sentence)

    async def notify(self, connection: AsyncConnection, run_id: str) -> None:
        """Notify the other processes, when this transaction commits, that a run should be polled.

        PostgreSQL only. The caller wakes its own process itself.
        """
        if not self.sqlite:
            payload = f"{self._name} {run_id}"
            await connection.execute(text("select pg_notify(:c, :t)"), {"c": _CHANNEL, "t": payload})

    async def listen(self, wake: Callable[[str], None]) -> None:
        """Call `wake` for the notifications of other processes, for ever.

        Where LISTEN is unavailable, the heartbeats read the wake-ups instead.
        """
        if self.sqlite:
            await asyncio.Event().wait()
        import psycopg  # noqa: PLC0415  # nothing for those who start with SQLite

        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                connecting = psycopg.AsyncConnection.connect(**connect_arguments(self.url), autocommit=True)
                async with await connecting as connection:
                    await connection.execute(f"listen {_CHANNEL}")
                    async for notification in connection.notifies():
                        sender, _, run_id = notification.payload.partition(" ")
                        if sender != self._name:
                            wake(run_id)
            await asyncio.sleep(_LISTEN_AGAIN_S)

    async def serialise(self, connection: AsyncConnection, *subjects: str | None) -> None:
        """Let one transaction at a time decide about each subject (SQLite: every write already is alone).

        Call it once in a transaction, before the first statement: the order of the locks prevents deadlocks,
        and later reads see what the previous holder has committed.
        """
        if not self.sqlite:
            digests = (self.hasher.digest("lock", subject) for subject in subjects if subject is not None)
            numbers = sorted({int(digest[:15], 16) for digest in digests})
            driver = driver_of(connection)
            async with driver.pipeline():  # together with the BEGIN
                for number in numbers:
                    await driver.execute("select pg_advisory_xact_lock(%s::bigint)", (number,))

    def insert(self, table: Table) -> Any:
        """An INSERT that can have ON CONFLICT, which SQLAlchemy has for each kind of database apart."""
        # Only the dialect in use is imported.
        if self.sqlite:
            from sqlalchemy.dialects import sqlite  # noqa: PLC0415

            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415

        return postgresql.insert(table)

    async def checkpoint(self) -> bool:
        """SQLite: remove deleted data from the write-ahead log as well. True if it is removed.

        Readers of an older snapshot prevent it: it is retried for a few seconds, then left to the next call.
        """
        if self._group_commit is not None:
            for _ in range(_CHECKPOINTS):
                async with self._group_commit.exclusive():
                    if await asyncio.to_thread(_truncate_log, _file(self.url)):
                        return True
                await asyncio.sleep(_CHECKPOINT_AGAIN_S)
        return not self.sqlite

    # ------------------------------------------------------------------------------------------- opening

    def _prepare_file(self) -> None:
        path = _file(self.url)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            path.touch(mode=0o600)
        _refuse_second_name(path)

    def _take_lock(self) -> None:
        path = _file(self.url).resolve()  # one file may have several paths: the lock is the file's
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 200).decode(errors="replace").strip() or "outro processo"
            raise ConfigError(
                f"O banco {path} já tem um ticket-worker em execução ({holder}); encerre-o primeiro"
            ) from None
        os.truncate(self._lock, 0)
        os.pwrite(self._lock, f"pid {os.getpid()} em {socket.gethostname()}".encode(), 0)

    async def _prepare(self) -> None:
        """Prepare schema and index key in one transaction, which wrong keys roll back."""
        if self.sqlite:
            self._prepare_file()
            self._take_lock()
        table = self.tables.index_key
        async with self._engine.begin() as connection:
            if not self.sqlite:
                await connection.execute(text("select pg_advisory_xact_lock(:n)"), {"n": _MIGRATION_LOCK})
            if self.sqlite and await connection.run_sync(migrations.outdated):
                keep_copy(_file(self.url))
            await connection.run_sync(migrations.upgrade)
            wrapped = (await connection.execute(select(table.c.wrapped))).scalar()
            if wrapped is None:
                wrapped = self._vault.seal_bytes(new_index_key())
                await connection.execute(table.insert().values(id=1, wrapped=wrapped))
            self._hasher = Hasher(self._vault.open_bytes(bytes(wrapped)))

    async def _load_existing(self) -> None:
        """Check the schema and load the index key. A missing file is refused: connecting would create it."""
        if self.sqlite and not _file(self.url).exists():
            raise NotMigrated(
                f"O banco {_file(self.url)} não existe: confira DATABASE_URL e a pasta em que o comando é "
                "dado, ou inicie o worker (ticket-worker run) uma vez"
            )
        if self.sqlite:
            _refuse_second_name(_file(self.url))
        async with self._engine.connect() as plain:
            connection = await plain.execution_options(**reading(self.url))
            await connection.run_sync(migrations.check)
            wrapped = (await connection.execute(select(self.tables.index_key.c.wrapped))).scalar_one()
            self._hasher = Hasher(self._vault.open_bytes(bytes(wrapped)))


def _refuse_second_name(path: Path) -> None:
    """Refuse a file with a hard link: each name has its own lock and its own write-ahead log."""
    if path.is_file() and path.stat().st_nlink > 1:
        raise ConfigError(
            f"O banco {path} tem outro nome (hard link), e o que fosse gravado por um nome faltaria no "
            "outro: apague o outro nome; para ter uma cópia, use ticket-worker backup"
        )


def _truncate_log(path: Path) -> bool:
    """Write the log back into the file and empty it. It waits at most half a second for the lock."""
    with _driver_errors(), contextlib.closing(sqlite3.connect(path, timeout=0.5)) as connection:
        (blocked, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not blocked


@contextlib.contextmanager
def _driver_errors(
    kind: type[BaseException] = sqlite3.Error, reduced: Callable[[BaseException], StoreError] | None = None
) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, kind, OSError) as error:
        raise (StoreError(_class_names(error)) if reduced is None else reduced(error)) from None


def _class_names(error: BaseException) -> str:
    name, cause = type(error).__name__, getattr(error, "orig", None)
    return name if cause is None or type(cause).__name__ == name else f"{name} ({type(cause).__name__})"


_SQLITE_REASONS = {
    "SQLITE_FULL": "o disco está cheio",
    "SQLITE_READONLY": "o arquivo ou a pasta é só de leitura",
    "SQLITE_IOERR": "o disco devolveu um erro",
    "SQLITE_CANTOPEN": "o arquivo não pode ser aberto",
    "SQLITE_CORRUPT": "o arquivo está corrompido",
    "SQLITE_BUSY": "outro programa o mantém bloqueado",
}


def _why_not_written(path: Path, error: BaseException) -> str:
    """The classes of an error; with the file and the reason where the file is the reason."""
    cause = getattr(error, "orig", None) or error
    name = str(getattr(cause, "sqlite_errorname", ""))
    reason = next((text for code, text in _SQLITE_REASONS.items() if name.startswith(code)), None)
    if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
        reason = _SQLITE_REASONS["SQLITE_FULL"]
    return _class_names(error) if reason is None else f"{path}: {reason}; {_class_names(error)}"


def _file(url: URL) -> Path:
    return Path(url.database or "").absolute()


def _cannot_open_file(url: URL, error: BaseException) -> str:
    if isinstance(error, OSError) or isinstance(getattr(error, "orig", None), sqlite3.OperationalError):
        return (
            f"O banco {_file(url)} não pôde ser aberto ({_class_names(error)}); confira se o caminho é o do "
            "arquivo do worker e se este usuário pode gravar nele e na pasta"
        )
    return (
        f"O arquivo {_file(url)} não é um banco SQLite íntegro ({_class_names(error)}); guarde-o à parte, "
        "restaure a última cópia e inicie de novo"
    )
