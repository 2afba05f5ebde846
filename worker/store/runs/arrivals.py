"""How a run becomes known: announced by the bot, told by a webhook, or found by discovery (contract §3)."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Float, Insert, Select, Update, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from worker.errors import RequestRefused
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
        """Watch a run that the bot announces; whether it was not watched before.

        As the first of a transaction; see `Records.register_run`.
        """
        if self._rule is ThreadRule.IS_THE_RUN:
            if thread_id not in (None, run_id):
                raise RequestRefused("thread_diferente")
            thread_id = run_id
        await self._db.serialise(connection, conversation_id, run_id, thread_id)
        thread = await self._thread_of(connection, conversation_id, thread_id)
        return await self._watch(connection, conversation_id, RunRef(run_id, thread))

    async def watch_discovered(self, conversation_id: str, ref: RunRef) -> bool:
        """Watch a run that discovery found, unless it is known already; whether it is watched anew.

        Where the run is the thread, a known one that has ended is found at work again, and so is any that was
        lost as `nao_encontrada`. Not if the thread is the conversation's no more: its next owner may be about
        to announce this run.
        """
        async with self._db.write() as connection:
            await self._db.serialise(connection, conversation_id, ref.run_id)
            thread = await _thread(connection, self._db.tables, conversation=conversation_id)
            if thread.scalar() != ref.thread_id:
                return False
            known = await self._known(connection, ref.run_id)
            if known is not None and (
                known.conversation_id != conversation_id
                or not (self._rule is ThreadRule.IS_THE_RUN or _lost_sight_of(known))
            ):
                return False
            return await self._watch(connection, conversation_id, ref)

    async def adopt_threads(self, named: Sequence[tuple[str, str]]) -> None:
        """Give conversations without a thread the first one that names them."""
        c = self._conversations
        bare = select(c.c.conversation_id).where(c.c.conversation_id.in_({each for each, _ in named}))
        async with self._db.read() as connection:
            rows = await connection.execute(bare.where(c.c.thread_id.is_(None)))
        waiting = set(rows.scalars())
        for conversation_id, thread_id in named:
            if conversation_id in waiting and await self._bind(conversation_id, thread_id):
                waiting.remove(conversation_id)

    async def claim_conversations(
        self, limit: int, interval_s: float, window_s: float
    ) -> Sequence[tuple[str, str]]:
        """Take conversations to look for unannounced runs in: (conversation, thread), each for an interval.

        Only those active within the window, and none whose run is watched.
        """
        rows = await leases.take(self._db, _any_quiet, _discovered, window_s, room=limit, again_s=interval_s)
        return [(row.conversation_id, row.thread_id) for row in rows]

    async def any_without_thread(self, window_s: float) -> bool:
        """Whether a conversation active within the window has no thread."""
        c = self._conversations
        bare = select(c.c.conversation_id).where(c.c.active_at > now() - window_s, c.c.thread_id.is_(None))
        async with self._db.read() as connection:
            return (await connection.execute(bare.limit(1))).first() is not None

    async def _bind(self, conversation_id: str, thread_id: str) -> bool:
        async with self._db.write() as connection:
            await self._db.serialise(connection, conversation_id, thread_id)
            try:
                await self._thread_of(connection, conversation_id, thread_id)
            except RequestRefused:  # it is another's, or the bot has told of a thread meanwhile
                return False
        return True

    async def told(self, connection: AsyncConnection, run_id: str, thread_id: str | None) -> bool:
        """Wake a run that a webhook names; whether it is one of ours, and needs no more looking into.

        An unknown one is watched when `thread_id` is a known conversation's. Where the run is the thread, one
        that has ended is at work again. Inside a transaction that has serialised both ids.
        """
        t, c = self._runs, self._conversations
        session = self._rule is ThreadRule.IS_THE_RUN
        known = (await connection.execute(select(t).where(t.c.run_id == run_id))).first()
        if known is not None and not (session and known.state != RunState.WATCHING):
            if known.state == RunState.WATCHING or _lost_sight_of(known):
                await self._watch(connection, known.conversation_id, RunRef(run_id, known.thread_id))
            return True
        thread = run_id if session else thread_id
        if thread is None:  # compared with NULL, it would be that of every conversation without one
            return False
        found = await connection.execute(select(c.c.conversation_id).where(c.c.thread_id == thread))
        conversation_id = found.scalar()
        if conversation_id is None or (known is not None and known.conversation_id != conversation_id):
            return False
        await self._watch(connection, conversation_id, RunRef(run_id, thread))
        return True

    async def _thread_of(
        self, connection: AsyncConnection, conversation_id: str, thread_id: str | None
    ) -> str | None:
        """The thread a new run belongs to; a conversation without one takes the announced one."""
        c = self._conversations
        row = (await _thread(connection, self._db.tables, conversation=conversation_id)).first()
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
        known = await self._known(connection, ref.run_id)
        if known is None:
            await watch_anew(connection, tables, self._platform, conversation_id, ref)
        elif known.conversation_id != conversation_id:
            raise RequestRefused("execucao_de_outra_conversa")
        elif known.thread_id != ref.thread_id:
            raise RequestRefused("thread_diferente")
        else:
            known = await self._newest(connection, known)
            woken = _woken if known.state == RunState.WATCHING else _watched_again
            await woken(connection, tables, run=known.run_id)
        await _active(connection, tables, conversation=conversation_id)
        await self._db.notify(connection, known.run_id if known else ref.run_id)
        return known is None or known.state != RunState.WATCHING

    async def _known(self, connection: AsyncConnection, run_id: str) -> Any:
        return (await _known(connection, self._db.tables, run=run_id)).first()

    async def _newest(self, connection: AsyncConnection, run: Any) -> Any:
        """The run under whose id this one goes on by now: its own answers, given twice, would fork it.

        Unless nothing came of that: then the conversation still waits for these answers.
        """
        while run.continues_as is not None:
            heir = await self._known(connection, run.continues_as)
            if heir is None or heir.conversation_id != run.conversation_id or heir.reason in _CAME_TO_NOTHING:
                break
            run = heir
        return run


async def watch_anew(
    connection: AsyncConnection, tables: Tables, platform: str, conversation_id: str, ref: RunRef
) -> None:
    """Write a run that is watched from now on."""
    named = {"run": ref.run_id, "thread": ref.thread_id, "conversation": conversation_id}
    await _watched(connection, tables, **named, platform=platform)


@prepared
def _watched(tables: Tables) -> Insert:
    return tables.runs.insert().values(
        run_id=bindparam("run"),
        platform=bindparam("platform"),
        conversation_id=bindparam("conversation"),
        thread_id=bindparam("thread"),
        state=RunState.WATCHING,
        registered_at=now(),
        due=now(),
    )


def _lost_sight_of(run: Any) -> bool:
    """Lost by 404s alone, which may have been a proxy's: a run that is seen again goes on."""
    return bool(run.state == RunState.LOST and run.reason == "nao_encontrada")


_CAME_TO_NOTHING = {"falhou", "cancelada"}


@prepared
def _known(tables: Tables) -> Select[Any]:
    t = tables.runs
    return select(t).where(t.c.run_id == bindparam("run")).with_for_update()


@prepared
def _thread(tables: Tables) -> Select[Any]:
    c = tables.conversations
    return select(c.c.thread_id).where(c.c.conversation_id == bindparam("conversation"))


@prepared
def _active(tables: Tables) -> Update:
    c = tables.conversations
    return update(c).where(c.c.conversation_id == bindparam("conversation")).values(active_at=now())


@prepared
def _woken(tables: Tables) -> Update:
    """A watched run is announced anew: whoever holds it, or takes it over, has only just heard of it."""
    return _announced(tables)


@prepared
def _watched_again(tables: Tables) -> Update:
    """A run that had ended or was lost is as if new, but for what may have been submitted."""
    dismissal = "dismissed_reason", "dismissed_by", "dismissed_at"
    nothing = dict.fromkeys(("reason", "closed_at", "continues_as", *dismissal))
    return _announced(tables).values(state=RunState.WATCHING, rounds=0, **nothing)


def _announced(tables: Tables) -> Update:
    t = tables.runs
    this = update(t).where(t.c.run_id == bindparam("run"))
    return this.values(wake=t.c.wake + 1, registered_at=now(), due=now())


def _quiet(tables: Tables, window_s: float) -> Select[Any]:
    c, t = tables.conversations, tables.runs
    watched = select(t.c.run_id).where(t.c.conversation_id == c.c.conversation_id, t.c.state == WATCHING)
    active = select(c.c.conversation_id).where(c.c.active_at > now() - window_s, c.c.thread_id.is_not(None))
    return active.where(c.c.discover_due <= now(), ~watched.exists()).order_by(c.c.discover_due)


_any_quiet = leases.any_of(_quiet)


@prepared
def _discovered(tables: Tables, window_s: float) -> ReturningUpdate[Any]:
    c = tables.conversations
    taken = leases.taking(c.c.conversation_id, _quiet(tables, window_s))
    next_time = now() + bindparam("again_s", type_=Float)
    return taken.values(discover_due=next_time).returning(c.c.conversation_id, c.c.thread_id)
