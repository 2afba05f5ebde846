"""Erasure of a customer's payload on request (LGPD): at once, except for requests and answers still in use.

The conversation is deleted; one with the same id afterwards is a new one. Its calls are marked `erased` and
lose the payload that is no longer needed. The rest is erased with the outcome and with the run's end.
"""

import dataclasses
import json
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Table,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import RequestRefused
from worker.model import CallState
from worker.personal import Personal
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.statements import prepared
from worker.store.sql.tables import OPEN, WATCHING, Tables, now
from worker.views import Erasure


async def wipe(connection: AsyncConnection, tables: Tables, *which: ColumnElement[bool]) -> None:
    """Empty the payload that these calls no longer need, if they are marked `erased`.

    A request is needed only while it is in flight: one that was not sent yet is never sent. An answer is
    needed while its run is watched, because the platform may ask for it again.
    """
    await connection.execute(_wipe(tables, *which))


@prepared
def wipe_run(tables: Tables) -> Update:
    """The same for all calls of a run that has ended."""
    return _wipe(tables, tables.calls.c.run_id == bindparam("run_id"))


def _wipe(tables: Tables, *which: ColumnElement[bool]) -> Update:
    t, r = tables.calls, tables.runs
    watched = exists().where(r.c.run_id == t.c.run_id, r.c.state == WATCHING)
    erased = select(t.c.call_id).where(*which, t.c.erased)
    open_ = t.c.state.in_(OPEN)
    return (
        update(t)
        .where(leases.locked(t.c.call_id, erased, wait=True))
        .values(
            body=case((t.c.state == CallState.RUNNING, t.c.body)),
            answer=case((watched, t.c.answer)),
            due=case((open_, t.c.due)),  # without its payload nothing can be looked up
        )
    )


class Erasures:
    """Erases payload on request, in one transaction each, and records what was erased (contract §1, §3)."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._t = database.tables

    async def erase_conversation(self, conversation_id: str, *, by: str) -> Erasure:
        """Erase at once. `by`: who requested it. Raises `conversa_desconhecida`."""
        c = self._t.conversations
        async with self._db.write() as connection:
            await self._db.serialise(connection, conversation_id)
            await self._check_known(connection, c.c.conversation_id == conversation_id)
            erasure = await self._erase(connection, c.c.conversation_id == conversation_id)
            row = _request_columns(by) | {"conversation_id": conversation_id, "done_at": now()}
            await connection.execute(self._t.erasures.insert().values(**row, report=_to_json(erasure)))
        await self._db.checkpoint()
        return erasure

    async def request_conversation(self, conversation_id: str, *, by: str) -> str:
        """Request that the daemon erase a conversation. Returns the request's id.

        Raises `conversa_desconhecida`.
        """
        c = self._t.conversations
        async with self._db.write() as connection:
            await self._check_known(connection, c.c.conversation_id == conversation_id)
            return await self._request(
                connection, _request_columns(by) | {"conversation_id": conversation_id}
            )

    async def request_document(self, document: Personal, *, by: str) -> str:
        """Request that the daemon erase everything held about a document. Raises `nao_encontrado`."""
        digest = self._db.hasher.digest("document", document.reveal())
        async with self._db.write() as connection:
            if not await self._subjects(connection, digest):
                raise RequestRefused("nao_encontrado")
            return await self._request(connection, _request_columns(by) | {"document_hash": digest})

    async def outcome(self, erasure_id: str) -> Erasure | None:
        """The result of a request; None until the daemon has processed it."""
        e = self._t.erasures
        async with self._db.read() as connection:
            report = await connection.execute(select(e.c.report).where(e.c.erasure_id == erasure_id))
            report_text = report.scalar_one()
        return None if report_text is None else Erasure(**json.loads(report_text))

    async def process_next(self) -> bool:
        """Process the oldest request. False when there was none. For the daemon."""
        e = self._t.erasures
        oldest = select(e).where(e.c.done_at.is_(None)).order_by(e.c.requested_at).limit(1)
        async with self._db.read() as connection:
            request = (await connection.execute(oldest)).first()
            if request is None:
                return False
            digest = request.document_hash
            ids = await self._subjects(connection, digest) if digest else [request.conversation_id]
        async with self._db.write() as connection:
            await self._db.serialise(connection, *ids)
            open_request = update(e).where(e.c.erasure_id == request.erasure_id, e.c.done_at.is_(None))
            if (await connection.execute(open_request.values(done_at=now()))).rowcount == 1:
                erasure = await self._erase(connection, *self._scope(ids, digest))
                done = update(e).where(e.c.erasure_id == request.erasure_id)
                await connection.execute(done.values(report=_to_json(erasure)))
        await self._db.checkpoint()
        return True

    # --------------------------------------------------------------------------------------------- within

    async def _request(self, connection: AsyncConnection, row: dict[str, Any]) -> str:
        await connection.execute(self._t.erasures.insert().values(**row))
        return str(row["erasure_id"])

    async def _check_known(self, connection: AsyncConnection, which: ColumnElement[bool]) -> None:
        row = await connection.execute(select(self._t.conversations.c.conversation_id).where(which))
        if row.first() is None:
            raise RequestRefused("conversa_desconhecida")

    async def _subjects(self, connection: AsyncConnection, digest: str) -> list[str]:
        """Every conversation that has this document, or had it at one of its calls."""
        c, t = self._t.conversations, self._t.calls
        is_about = select(c.c.conversation_id).where(c.c.document_hash == digest)
        was_about = select(t.c.conversation_id).where(t.c.document_hash == digest)
        return list((await connection.execute(is_about.union(was_about))).scalars())

    def _scope(self, ids: list[str], digest: str | None) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        """The conversations to delete, and calls of other conversations made with this document."""
        c, t = self._t.conversations, self._t.calls
        if digest is None:
            return c.c.conversation_id.in_(ids), false()
        return (
            and_(c.c.conversation_id.in_(ids), c.c.document_hash == digest),
            and_(t.c.conversation_id.in_(ids), t.c.document_hash == digest),
        )

    async def _erase(
        self,
        connection: AsyncConnection,
        conversations: ColumnElement[bool],
        others: ColumnElement[bool] | None = None,
    ) -> Erasure:
        c, t, h = self._t.conversations, self._t.calls, self._t.handoffs
        deleted = list((await connection.execute(select(c.c.conversation_id).where(conversations))).scalars())
        theirs = t.c.conversation_id.in_(deleted)
        affected = select(t.c.call_id).where(or_(theirs, false() if others is None else others))
        ids = list((await connection.execute(affected)).scalars())
        which = t.c.call_id.in_(ids)
        before = await self._count_held(connection, which, deleted)
        counts = await self._count_details(connection, conversations)
        marking = leases.locked(t.c.call_id, select(t.c.call_id).where(which), wait=True)
        await connection.execute(update(t).where(marking).values(erased=True))
        await wipe(connection, self._t, which)
        after = await self._count_held(connection, which, deleted)
        handed_off = update(h).where(h.c.call_id.in_(ids)).values(motivo=None)
        await connection.execute(handed_off)
        await connection.execute(delete(c).where(conversations))
        return dataclasses.replace(
            after,
            **counts,
            requests=before.in_flight - after.in_flight,
            answers=before.replayable - after.replayable,
            motivos=before.motivos,
        )

    async def _count_held(
        self, connection: AsyncConnection, which: ColumnElement[bool], deleted: Sequence[str]
    ) -> Erasure:
        """What is held now of these calls and of the deleted conversations, which need not have calls.

        All requests and answers count as still needed.
        """
        t, h = self._t.calls, self._t.handoffs
        of_calls = func.count(), func.count(t.c.body), func.count(t.c.answer)
        calls, requests, answers = (await connection.execute(select(*of_calls).where(which))).one()
        of_handoffs = select(func.count(), func.count(h.c.motivo)).join(t, t.c.call_id == h.c.call_id)
        handoffs, motivos = (await connection.execute(of_handoffs.where(which))).one()

        async def count(table: Table, column: Column[str]) -> int:
            of_call = table.c[column.name].in_(select(column).where(which))
            concerned = or_(table.c.conversation_id.in_(deleted), of_call)
            return (await connection.execute(select(func.count()).where(concerned))).scalar_one()

        return Erasure(
            in_flight=requests,
            replayable=answers,
            motivos=motivos,
            runs=await count(self._t.runs, t.c.run_id),
            calls=calls,
            handoffs=handoffs,
            events=await count(self._t.outbox, t.c.conversation_id),
            replies=await count(self._t.reply_checks, t.c.conversation_id),
        )

    async def _count_details(self, connection: AsyncConnection, which: ColumnElement[bool]) -> dict[str, int]:
        """Counts of the personal details that the bot had sent for the deleted conversations."""
        c = self._t.conversations
        columns = func.count(c.c.document), func.count(c.c.contact), func.count(c.c.attachment_url)
        counts = (await connection.execute(select(*columns).where(which))).one()
        return dict(zip(("documents", "contacts", "receipts"), counts, strict=True))


def _request_columns(by: str) -> dict[str, Any]:
    return {"erasure_id": f"er_{secrets.token_hex(12)}", "requested_by": by, "requested_at": now()}


def _to_json(erasure: Erasure) -> str:
    return json.dumps(dataclasses.asdict(erasure))
