"""The facts of a conversation for checking a reply, and the record of the checks (contract §10).

Of a reply only conversation, run, codes and time are stored: none of its words or numbers.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, Select, bindparam, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import RequestRefused
from worker.model import CallState, ReplySource, ToolKind
from worker.replies import Code, Facts
from worker.store.ledger.outbox import Outbox
from worker.store.sql.database import Database
from worker.store.sql.rows import from_row
from worker.store.sql.statements import prepared
from worker.store.sql.tables import NO_CODES, Tables, now
from worker.views import Cursor, ReplyView

RECENT_S = 24 * 3600.0
"""How long a ticket or a hand-off supports a reply's claim (contract §10)."""


class Replies:
    """Facts for the reply check, and its findings. All times are the database's."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._db = database
        self._t = database.tables
        self._outbox = outbox

    async def facts(self, conversation_id: str, numbers: Collection[str]) -> Facts:
        """The facts of this conversation. `numbers`: the reply's numbers, to search in other conversations.

        Raises `conversa_desconhecida`.
        """
        t, h = self._t.calls, self._t.handoffs
        done = select(t.c.call_id).where(
            t.c.conversation_id == conversation_id, t.c.kind == ToolKind.TICKET, t.c.state == CallState.DONE
        )
        handed_off = exists().where(
            h.c.conversation_id == conversation_id, h.c.requested_at > now() - RECENT_S
        )
        opened = done.where(t.c.finished_at > now() - RECENT_S).exists()
        async with self._db.read(brief=True) as connection:
            await self._check_known(connection, conversation_id)
            recent = (await connection.execute(select(opened, handed_off))).one()
            return Facts(
                protocolos=await self._own(connection, conversation_id),
                foreign=await self._foreign(connection, conversation_id, numbers),
                ticket_opened=bool(recent[0]),
                handoff_requested=bool(recent[1]),
            )

    async def checked_by_bot(self, run_id: str) -> bool:
        async with self._db.read(brief=True) as connection:
            return bool((await _check_by_bot(connection, self._t, run_id=run_id)).rows)

    async def record(
        self, conversation_id: str, run_id: str | None, source: ReplySource, codes: Sequence[Code]
    ) -> None:
        row = {"conversation_id": conversation_id, "run_id": run_id, "source": source}
        async with self._db.write() as connection:
            inserted = self._t.reply_checks.insert().values(**row, codes=",".join(codes), checked_at=now())
            await connection.execute(inserted)
            if codes:
                event = {"run_id": run_id, "conversation_id": conversation_id, "source": source}
                await self._outbox.put(
                    connection, conversation_id, "reply.suspect", {**event, "codes": [*codes]}
                )

    async def suspects(
        self, *, limit: int = 50, since: float | None = None, cursor: Cursor | None = None
    ) -> tuple[Sequence[ReplyView], Cursor | None]:
        """Suspect replies, the newest first, and the cursor of the next page. Seconds since the epoch."""
        query = self._suspects(since, cursor).limit(limit + 1)
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
        views = [reply_view(row) for row in rows[:limit]]
        return views, (views[-1].checked_at, str(views[-1].check_id)) if len(rows) > limit else None

    # --------------------------------------------------------------------------------------------- within

    def _suspects(self, since: float | None, cursor: Cursor | None) -> Select[Any]:
        c = self._t.reply_checks
        query = select(c).where(c.c.codes != NO_CODES).order_by(c.c.checked_at.desc(), c.c.check_id.desc())
        if since is not None:
            query = query.where(c.c.checked_at >= since)
        if cursor is not None:
            query = query.where(c.c.checked_at <= cursor[0], c.c.check_id < int(cursor[1]))
        return query

    async def _check_known(self, connection: AsyncConnection, conversation_id: str) -> None:
        c = self._t.conversations
        query = select(c.c.conversation_id).where(c.c.conversation_id == conversation_id)
        if (await connection.execute(query)).first() is None:
            raise RequestRefused("conversa_desconhecida")

    async def _own(self, connection: AsyncConnection, conversation_id: str) -> frozenset[str]:
        t = self._t.calls
        query = select(t.c.protocolo, t.c.extra_protocolo).where(
            t.c.conversation_id == conversation_id, t.c.protocolo.is_not(None)
        )
        rows = (await connection.execute(query)).all()
        return frozenset(number for row in rows for number in row if number is not None)

    async def _foreign(
        self, connection: AsyncConnection, conversation_id: str, numbers: Collection[str]
    ) -> frozenset[str]:
        t = self._t.calls
        query = select(t.c.protocolo).where(
            t.c.protocolo.in_(numbers), t.c.conversation_id != conversation_id
        )
        return frozenset((await connection.execute(query)).scalars()) if numbers else frozenset()


@prepared
def _check_by_bot(tables: Tables) -> Select[Any]:
    c, r = tables.reply_checks, tables.runs
    since_announced = c.c.checked_at >= r.c.registered_at
    return (
        select(c.c.check_id)
        .join(r, r.c.run_id == c.c.run_id)
        .where(c.c.run_id == bindparam("run_id"), c.c.source == ReplySource.API, since_announced)
        .limit(1)
    )


def reply_view(row: Row[Any]) -> ReplyView:
    """A row of `reply_checks`."""
    return from_row(
        ReplyView,
        row,
        source=ReplySource(row.source),
        codes=tuple(row.codes.split(",")) if row.codes else (),
    )
