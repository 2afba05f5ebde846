"""The ways a run arrives: the bot announces it, a webhook names it, or discovery finds it (contract §3)."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Float, Insert, Select, Update, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from worker.errors import RequestRefused
from worker.log_fields import hidden_run_id
from worker.model import RunRef, RunState, ThreadRule
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.statements import prepared
from worker.store.sql.tables import WATCHING, Tables, now


class Arrivals:
    """Writes rows of `runs` for one platform, whose runs relate to threads by `rule`."""

    def __init__(self, database: Database, platform: str, rule: ThreadRule) -> None:
        self._db = database
        self._platform = platform
        self._rule = rule
        self._runs = database.tables.runs
        self._conversations = database.tables.conversations

    async def register(
        self, connection: AsyncConnection, conversation_id: str, run_id: str, thread_id: str | None
    ) -> bool:
        """Watch a run that the bot announces. True if it was not watched before.

        Must come first in its transaction; see `Records.register_run`.
        """
        if self._rule is ThreadRule.IS_THE_RUN:
            if thread_id not in (None, run_id):
                raise RequestRefused("thread_diferente")
            thread_id = run_id
        await self._db.serialise(connection, conversation_id, run_id, thread_id)
        thread = await self._thread_of(connection, conversation_id, thread_id)
        return await self._watch(connection, conversation_id, RunRef(run_id, thread))

    async def watch_discovered(self, conversation_id: str, ref: RunRef) -> bool:
        """Watch a run that discovery found, unless it is recorded already. True if it is now newly watched.

        A recorded run is watched again if it was lost as `nao_encontrada`, or if the run is the thread and
        has ended. A run whose thread no longer belongs to the conversation is left alone: the thread's next
        conversation may be about to announce it.
        """
        async with self._db.write() as connection:
            await self._db.serialise(connection, conversation_id, ref.run_id)
            thread = await _thread(connection, self._db.tables, conversation_id=conversation_id)
            if thread.scalar() != ref.thread_id:
                return False
            row = await self._row_of(connection, ref.run_id)
            if row is not None and (
                row.conversation_id != conversation_id
                or not (self._rule is ThreadRule.IS_THE_RUN or _is_lost_by_404(row))
            ):
                return False
            return await self._watch(connection, conversation_id, ref)

    async def adopt_threads(self, names: Sequence[tuple[str, str]]) -> None:
        """Give each conversation without a thread the first thread that names it."""
        c = self._conversations
        without_thread = select(c.c.conversation_id).where(
            c.c.conversation_id.in_({each for each, _ in names})
        )
        async with self._db.read() as connection:
            rows = await connection.execute(without_thread.where(c.c.thread_id.is_(None)))
        waiting = set(rows.scalars())
        for conversation_id, thread_id in names:
            if conversation_id in waiting and await self._try_to_bind(conversation_id, thread_id):
                waiting.remove(conversation_id)

    async def claim_conversations(
        self, limit: int, interval_s: float, window_s: float
    ) -> Sequence[tuple[str, str]]:
        """Claim conversations for discovery, each for one interval. Returns (conversation, thread) pairs.

        Only conversations that were active within the window and have no watched run.
        """
        rows = await leases.take(
            self._db,
            _any_due_for_discovery,
            _claim_for_discovery,
            window_s,
            room=limit,
            interval_s=interval_s,
        )
        return [(row.conversation_id, row.thread_id) for row in rows]

    async def any_without_thread(self, window_s: float) -> bool:
        """Whether a conversation active within the window has no thread."""
        c = self._conversations
        without_thread = select(c.c.conversation_id).where(
            c.c.active_at > now() - window_s, c.c.thread_id.is_(None)
        )
        async with self._db.read() as connection:
            return (await connection.execute(without_thread.limit(1))).first() is not None

    async def _try_to_bind(self, conversation_id: str, thread_id: str) -> bool:
        async with self._db.write() as connection:
            await self._db.serialise(connection, conversation_id, thread_id)
            try:
                await self._thread_of(connection, conversation_id, thread_id)
            except RequestRefused:  # another conversation has it, or the bot has set a thread meanwhile
                return False
        return True

    async def wake_or_watch(self, connection: AsyncConnection, run_id: str, thread_id: str | None) -> bool:
        """Wake or watch a run that a webhook names. False when no conversation is known for it.

        An unknown run is watched if a conversation has `thread_id`. Where the run is the thread, an ended run
        is watched again. Runs inside a transaction that has serialised both ids.
        """
        t, c = self._runs, self._conversations
        session = self._rule is ThreadRule.IS_THE_RUN
        row = (await connection.execute(select(t).where(t.c.run_id == run_id))).first()
        if row is not None and not (session and row.state != RunState.WATCHING):
            if row.state == RunState.WATCHING or _is_lost_by_404(row):
                await self._watch(connection, row.conversation_id, RunRef(run_id, row.thread_id))
            return True
        thread = run_id if session else thread_id
        if thread is None:  # compared with NULL, it would be that of every conversation without one
            return False
        owner_of_thread = await connection.execute(select(c.c.conversation_id).where(c.c.thread_id == thread))
        conversation_id = owner_of_thread.scalar()
        if conversation_id is None or (row is not None and row.conversation_id != conversation_id):
            return False
        await self._watch(connection, conversation_id, RunRef(run_id, thread))
        return True

    async def _thread_of(
        self, connection: AsyncConnection, conversation_id: str, thread_id: str | None
    ) -> str | None:
        """The thread of a new run. A conversation without a thread takes the announced one."""
        c = self._conversations
        row = (await _thread(connection, self._db.tables, conversation_id=conversation_id)).first()
        if row is None:
            raise RequestRefused("conversa_desconhecida")
        if row.thread_id is not None:
            if thread_id not in (None, row.thread_id):
                raise RequestRefused("thread_diferente")
            return str(row.thread_id)
        if thread_id is None:
            if self._rule is ThreadRule.REQUIRED:
                raise RequestRefused("thread_ausente")
            return None
        taken = await connection.execute(select(c.c.conversation_id).where(c.c.thread_id == thread_id))
        if taken.first() is not None:
            raise RequestRefused("thread_em_uso")
        await connection.execute(
            update(c).where(c.c.conversation_id == conversation_id).values(thread_id=thread_id)
        )
        return thread_id

    async def _watch(self, connection: AsyncConnection, conversation_id: str, ref: RunRef) -> bool:
        tables = self._db.tables
        row = await self._row_of(connection, ref.run_id)
        if row is None:
            await insert_watched_run(connection, self._db, self._platform, conversation_id, ref)
        elif row.conversation_id != conversation_id:
            raise RequestRefused("execucao_de_outra_conversa")
        elif row.thread_id != ref.thread_id:
            raise RequestRefused("thread_diferente")
        else:
            row = await self._latest_continuation(connection, row)
            mark = _wake if row.state == RunState.WATCHING else _watch_again
            await mark(connection, tables, run_id=row.run_id)
        await _mark_active(connection, tables, conversation_id=conversation_id)
        await self._db.notify(connection, row.run_id if row else ref.run_id)
        return row is None or row.state != RunState.WATCHING

    async def _row_of(self, connection: AsyncConnection, run_id: str) -> Any:
        return (await _lock_run(connection, self._db.tables, run_id=run_id)).first()

    async def _latest_continuation(self, connection: AsyncConnection, run: Any) -> Any:
        """The run that continues this one: submitting this run's answers a second time would fork it.

        A continuation that failed or was cancelled does not count: the conversation still needs the answers.
        """
        while run.continues_as is not None:
            successor = await self._row_of(connection, run.continues_as)
            if (
                successor is None
                or successor.conversation_id != run.conversation_id
                or successor.reason in _UNSUCCESSFUL
            ):
                break
            run = successor
        return run


async def insert_watched_run(
    connection: AsyncConnection, database: Database, platform: str, conversation_id: str, ref: RunRef
) -> None:
    """Insert a watched run."""
    log_id = hidden_run_id(database.hasher, ref.run_id)
    names = {"run_id": ref.run_id, "thread_id": ref.thread_id, "conversation_id": conversation_id}
    await _insert_run(connection, database.tables, **names, platform=platform, log_id=log_id)


@prepared
def _insert_run(tables: Tables) -> Insert:
    return tables.runs.insert().values(
        run_id=bindparam("run_id"),
        platform=bindparam("platform"),
        conversation_id=bindparam("conversation_id"),
        thread_id=bindparam("thread_id"),
        log_id=bindparam("log_id"),
        state=RunState.WATCHING,
        registered_at=now(),
        due=now(),
    )


def _is_lost_by_404(run: Any) -> bool:
    """True for a run lost by 404s alone, perhaps a proxy's: if it reappears, it is watched again."""
    return bool(run.state == RunState.LOST and run.reason == "nao_encontrada")


_UNSUCCESSFUL = {"falhou", "cancelada"}


@prepared
def _lock_run(tables: Tables) -> Select[Any]:
    t = tables.runs
    return select(t).where(t.c.run_id == bindparam("run_id")).with_for_update()


@prepared
def _thread(tables: Tables) -> Select[Any]:
    c = tables.conversations
    return select(c.c.thread_id).where(c.c.conversation_id == bindparam("conversation_id"))


@prepared
def _mark_active(tables: Tables) -> Update:
    c = tables.conversations
    return update(c).where(c.c.conversation_id == bindparam("conversation_id")).values(active_at=now())


@prepared
def _wake(tables: Tables) -> Update:
    """A new announcement of a watched run: its owner counts the time from now."""
    return _announced(tables)


@prepared
def _watch_again(tables: Tables) -> Update:
    """A new announcement of an ended or lost run: it starts over, but keeps its record of a begun submit."""
    dismissal = "dismissed_reason", "dismissed_by", "dismissed_at"
    emptied = dict.fromkeys(("reason", "closed_at", "continues_as", *dismissal))
    return _announced(tables).values(state=RunState.WATCHING, rounds=0, **emptied)


def _announced(tables: Tables) -> Update:
    t = tables.runs
    this = update(t).where(t.c.run_id == bindparam("run_id"))
    return this.values(wake=t.c.wake + 1, registered_at=now(), due=now())


def _due_for_discovery(tables: Tables, window_s: float) -> Select[Any]:
    c, t = tables.conversations, tables.runs
    watched = select(t.c.run_id).where(t.c.conversation_id == c.c.conversation_id, t.c.state == WATCHING)
    active = select(c.c.conversation_id).where(c.c.active_at > now() - window_s, c.c.thread_id.is_not(None))
    return active.where(c.c.discover_due <= now(), ~watched.exists()).order_by(c.c.discover_due)


_any_due_for_discovery = leases.any_of(_due_for_discovery)


@prepared
def _claim_for_discovery(tables: Tables, window_s: float) -> ReturningUpdate[Any]:
    c = tables.conversations
    taken = leases.taking(c.c.conversation_id, _due_for_discovery(tables, window_s))
    next_time = now() + bindparam("interval_s", type_=Float)
    return taken.values(discover_due=next_time).returning(c.c.conversation_id, c.c.thread_id)
