"""Runs with leases: the queue of the loop. A claim is one statement, and every time is the database's."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import RequestRefused
from worker.model import Run, RunRef, RunState
from worker.store.database import Database
from worker.store.schema import WATCHING, now

_BATCH = 5_000
"""Rows one statement names: below every driver's limit of parameters."""


class Runs:
    """Implements `ports.RunStore` for one platform: another platform's rows are left alone."""

    def __init__(self, database: Database, platform: str) -> None:
        self._db = database
        self.platform = platform
        self._t = database.tables.runs
        self._conversations = database.tables.conversations

    async def claim(self, owner: str, limit: int, lease_s: float) -> Sequence[Run]:
        """Take due runs that nobody holds, earliest due first; each claim raises the run's epoch."""
        t = self._t
        due = (
            select(t.c.run_id)
            .where(t.c.state == WATCHING, t.c.platform == self.platform, t.c.due <= now())
            .where(or_(t.c.owner.is_(None), t.c.lease_until < now()))
            .order_by(t.c.due)
            .limit(limit)
        )
        if not await self._any(due):
            return ()
        take = (
            update(t)
            .where(t.c.run_id.in_(select(_locked(due).cte("due").c.run_id)))
            .values(owner=owner, lease_until=now() + lease_s, lease_epoch=t.c.lease_epoch + 1)
            .returning(*self._run_columns())
        )
        async with self._db.write() as connection:
            rows = (await connection.execute(take)).all()
        return [_run(row) for row in sorted(rows, key=lambda row: row.due)]

    async def renew(self, owner: str, run_ids: Iterable[str], lease_s: float) -> set[str]:
        """Renew leases; returns the ids that are still this owner's."""
        t = self._t
        renewed: set[str] = set()
        for some in _batches(sorted(run_ids), _BATCH):
            renew = (
                update(t)
                .where(t.c.run_id.in_(some), t.c.owner == owner, t.c.state == RunState.WATCHING)
                .values(lease_until=now() + lease_s)
                .returning(t.c.run_id)
            )
            async with self._db.write() as connection:
                renewed.update((await connection.execute(renew)).scalars())
        return renewed

    async def release(self, owner: str) -> None:
        """Give all leases back, due at once."""
        t = self._t
        async with self._db.write() as connection:
            await connection.execute(
                update(t).where(t.c.owner == owner).values(owner=None, lease_until=0, due=now())
            )

    async def release_everyone(self) -> None:
        """After a crash on SQLite: the owner's lock proves that whoever held a lease is gone."""
        t = self._t
        async with self._db.write() as connection:
            await connection.execute(
                update(t).where(t.c.owner.is_not(None)).values(owner=None, lease_until=0)
            )

    async def close(self, run: Run, state: RunState, reason: str, platform_status: str | None) -> bool:
        """End a run that is still ours. An ended one took its answers: they count as submitted."""
        t, calls = self._t, self._db.tables.calls
        ending = {"state": state, "reason": reason, "platform_status": platform_status, "closed_at": now()}
        async with self._db.write() as connection:
            closed = await connection.execute(
                update(t).where(*self._still_ours(run)).values(**ending, owner=None, lease_until=0)
            )
            if closed.rowcount == 1 and state is RunState.ENDED:
                await self._mark_submitted(
                    connection, calls.c.run_id == run.ref.run_id, calls.c.answer.is_not(None)
                )
            return closed.rowcount == 1

    async def submitted(self, run: Run, call_ids: Sequence[str], platform_status: str) -> None:
        """The platform took these answers, whoever owns the run by now; one more round of ours is done."""
        t, calls = self._t, self._db.tables.calls
        async with self._db.write() as connection:
            # The run's row first, as in `close`: two processes that know of one end never wait crosswise.
            await connection.execute(select(t.c.run_id).where(t.c.run_id == run.ref.run_id).with_for_update())
            await connection.execute(
                update(t)
                .where(*self._still_ours(run))
                .values(rounds=t.c.rounds + 1, platform_status=platform_status)
            )
            await self._mark_submitted(connection, calls.c.call_id.in_(call_ids))

    async def _mark_submitted(self, connection: AsyncConnection, *which: ColumnElement[bool]) -> None:
        calls = self._db.tables.calls
        await connection.execute(
            update(calls).where(*which, calls.c.submitted_at.is_(None)).values(submitted_at=now())
        )

    # ------------------------------------------------------------------------------------------ arriving

    async def register(self, conversation_id: str, run_id: str, thread_id: str | None) -> bool:
        """Watch a run that the bot announces; see `ports.Records.register_run`."""
        async with self._db.write() as connection:
            await self._db.serialise(connection, conversation_id, run_id, thread_id)
            thread = await self._thread_of(connection, conversation_id, thread_id)
            return await self._watch(connection, conversation_id, RunRef(run_id, thread))

    async def found(self, conversation_id: str, ref: RunRef) -> bool:
        """Watch a run that discovery found, unless it is known already; whether it is new."""
        async with self._db.write() as connection:
            await self._db.serialise(connection, conversation_id, ref.run_id)
            known = await connection.execute(select(self._t.c.run_id).where(self._t.c.run_id == ref.run_id))
            if known.scalar() is not None:
                return False
            return await self._watch(connection, conversation_id, ref)

    async def discoverable(self, limit: int, interval_s: float, window_s: float) -> Sequence[tuple[str, str]]:
        """Claim conversations to look for unannounced runs in: (conversation, thread), each for an interval.

        Only those active within the window, and none whose run is watched.
        """
        c, t = self._conversations, self._t
        watched = select(t.c.run_id).where(t.c.conversation_id == c.c.conversation_id, t.c.state == WATCHING)
        due = (
            select(c.c.conversation_id)
            .where(c.c.discover_due <= now(), c.c.active_at > now() - window_s, c.c.thread_id.is_not(None))
            .where(~watched.exists())
            .order_by(c.c.discover_due)
            .limit(limit)
        )
        if not await self._any(due):
            return ()
        async with self._db.write() as connection:
            rows = await connection.execute(
                update(c)
                .where(c.c.conversation_id.in_(select(_locked(due).cte("due").c.conversation_id)))
                .values(discover_due=now() + interval_s)
                .returning(c.c.conversation_id, c.c.thread_id)
            )
            return [(row.conversation_id, row.thread_id) for row in rows]

    # ------------------------------------------------------------------------------------------- within

    async def _any(self, query: Select[tuple[str]]) -> bool:
        """Look before writing: an idle worker must not cost the database a write a second."""
        async with self._db.read() as connection:
            return (await connection.execute(query.limit(1))).first() is not None

    async def _thread_of(
        self, connection: AsyncConnection, conversation_id: str, thread_id: str | None
    ) -> str:
        """The thread a new run belongs to; a conversation without one takes the announced one."""
        c = self._conversations
        row = (
            await connection.execute(select(c.c.thread_id).where(c.c.conversation_id == conversation_id))
        ).first()
        if row is None:
            raise RequestRefused("conversa_desconhecida")
        if row.thread_id is not None:
            if thread_id not in (None, row.thread_id):
                raise RequestRefused("thread_diferente")
            return str(row.thread_id)
        if thread_id is None:
            raise RequestRefused("thread_ausente")
        taken = await connection.execute(select(c.c.conversation_id).where(c.c.thread_id == thread_id))
        if taken.first() is not None:
            raise RequestRefused("thread_em_uso")
        await connection.execute(
            update(c).where(c.c.conversation_id == conversation_id).values(thread_id=thread_id)
        )
        return thread_id

    async def _watch(self, connection: AsyncConnection, conversation_id: str, ref: RunRef) -> bool:
        t, c = self._t, self._conversations
        this = t.c.run_id == ref.run_id
        known = (await connection.execute(select(t).where(this).with_for_update())).first()
        if known is None:
            await connection.execute(t.insert().values(**self._new_row(conversation_id, ref)))
        elif known.conversation_id != conversation_id:
            raise RequestRefused("execucao_de_outra_conversa")
        elif known.thread_id != ref.thread_id:
            raise RequestRefused("thread_diferente")
        elif known.state == RunState.WATCHING:
            await connection.execute(update(t).where(this).values(wake=t.c.wake + 1, due=now()))
        else:
            await connection.execute(update(t).where(this).values(**_AGAIN))
        await connection.execute(
            update(c).where(c.c.conversation_id == conversation_id).values(active_at=now())
        )
        return known is None or known.state != RunState.WATCHING

    def _new_row(self, conversation_id: str, ref: RunRef) -> dict[str, object]:
        return {
            "run_id": ref.run_id,
            "platform": self.platform,
            "conversation_id": conversation_id,
            "thread_id": ref.thread_id,
            "state": RunState.WATCHING,
            "registered_at": now(),
            "due": now(),
        }

    def _still_ours(self, run: Run) -> list[ColumnElement[bool]]:
        t = self._t
        return [t.c.run_id == run.ref.run_id, t.c.lease_epoch == run.epoch, t.c.state == RunState.WATCHING]

    def _run_columns(self) -> list[ColumnElement[Any]]:
        t = self._t
        return [
            t.c.run_id,
            t.c.thread_id,
            t.c.conversation_id,
            t.c.lease_epoch,
            t.c.rounds,
            t.c.due,
            (now() - t.c.registered_at).label("known_s"),
        ]


_AGAIN = {
    "state": RunState.WATCHING,
    "reason": None,
    "closed_at": None,
    "registered_at": now(),
    "due": now(),
    "rounds": 0,
}
"""A run that had ended or was lost is watched again as if it were new."""


def _batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _locked(due: Select[tuple[str]]) -> Select[tuple[str]]:
    """Two workers that claim at once never see the same row, and never wait for each other."""
    return due.with_for_update(skip_locked=True)


def _run(row: Row[Any]) -> Run:
    return Run(
        ref=RunRef(row.run_id, row.thread_id),
        conversation_id=row.conversation_id,
        epoch=row.lease_epoch,
        rounds=row.rounds,
        known_s=row.known_s,
    )
