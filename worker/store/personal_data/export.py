"""Everything held about a document, for the person it belongs to (LGPD, art. 18)."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import RequestRefused
from worker.personal import Personal
from worker.store.personal_data.access_log import enter
from worker.store.sql.database import Database

_MACHINERY = {
    *("owner", "lease_until", "lease_epoch", "wake", "due", "checks", "retry_from", "retrying", "rounds"),
    *("submit_begun_at", "discover_due", "send_deadline", "seq", "id"),
}
"""Columns that only coordinate the processes: they describe no person."""

Rows = Sequence[Mapping[str, Any]]


class Export:
    """Reads everything held about one person. Every export is recorded in the access log."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._t = database.tables

    async def of_document(self, document: Personal, *, reader: str) -> Mapping[str, Rows]:
        """The rows of each table, payload as `Personal`. Raises `nao_encontrado`.

        A conversation that has this document is included whole. Of one that had it, the calls made then are.
        """
        digest = self._db.hasher.digest("document", document.reveal())
        async with self._db.write() as connection:
            held = await self._held(connection, digest)
            if not held["conversations"] and not held["calls"]:
                raise RequestRefused("nao_encontrado")
            await enter(connection, self._t, reader, f"document:{digest}")
            read = {f"document:{digest}", *_each(held, "conversation_id"), *_each(held, "handoff_id")}
            accesses = self._t.access_log.c.subject.in_(read)
            return held | {"access_log": await _rows(connection, self._t.access_log, accesses)}

    async def _held(self, connection: AsyncConnection, digest: str) -> dict[str, Rows]:
        t = self._t
        conversations = await _rows(connection, t.conversations, t.conversations.c.document_hash == digest)
        theirs = [row["conversation_id"] for row in conversations] + await self._erased_conversations(
            connection, digest
        )
        about = or_(t.calls.c.document_hash == digest, t.calls.c.conversation_id.in_(theirs))
        calls = await _rows(connection, t.calls, about)
        of_calls = [row["call_id"] for row in calls]
        runs = or_(t.runs.c.conversation_id.in_(theirs), t.runs.c.run_id.in_([r["run_id"] for r in calls]))
        erasures = or_(t.erasures.c.document_hash == digest, t.erasures.c.conversation_id.in_(theirs))
        return {
            "conversations": conversations,
            "runs": await _rows(connection, t.runs, runs),
            "calls": calls,
            "attempts": await _rows(connection, t.attempts, t.attempts.c.call_id.in_(of_calls)),
            "handoffs": await _rows(connection, t.handoffs, t.handoffs.c.call_id.in_(of_calls)),
            "events": await _rows(connection, t.outbox, t.outbox.c.conversation_id.in_(theirs)),
            "erasures": await _rows(connection, t.erasures, erasures),
            "replies": await _rows(connection, t.reply_checks, t.reply_checks.c.conversation_id.in_(theirs)),
        }

    async def _erased_conversations(self, connection: AsyncConnection, digest: str) -> list[str]:
        """Erased conversations that had calls with this document."""
        c, t = self._t.conversations, self._t.calls
        still_exists = exists().where(c.c.conversation_id == t.c.conversation_id)
        query = select(t.c.conversation_id).where(t.c.document_hash == digest, ~still_exists).distinct()
        return list((await connection.execute(query)).scalars())


async def _rows(connection: AsyncConnection, table: Table, which: ColumnElement[bool]) -> Rows:
    columns = [column for column in table.c if column.name not in _MACHINERY]
    result = await connection.execute(select(*columns).where(which).order_by(*table.primary_key))
    return [dict(row) for row in result.mappings()]


def _each(held: Mapping[str, Rows], column: str) -> set[str]:
    return {row[column] for rows in held.values() for row in rows if row.get(column)}
