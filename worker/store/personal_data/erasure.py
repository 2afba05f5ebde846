"""Erasure of a customer's payload on request (LGPD): at once, but for what is in flight.

The conversation is forgotten: from then on it is unknown, and one that is put again is a new beginning. Its
calls are marked `erased` and lose what nobody needs; the rest goes with the outcome and with the run's end.
"""

import dataclasses
import json
import secrets
from typing import Any

from sqlalchemy import (
    ColumnElement,
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
    """Empty what of these calls is erased and no longer needed.

    A request is needed while it is in flight (one that was not sent by then never is), an answer while its
    run is watched: the platform may ask for it again.
    """
    await connection.execute(_wiping(tables, *which))


@prepared
def wipe_run(tables: Tables) -> Update:
    """The same, of all calls of a run that has ended."""
    return _wiping(tables, tables.calls.c.run_id == bindparam("run"))


def _wiping(tables: Tables, *which: ColumnElement[bool]) -> Update:
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
    """Erases payload on request: one transaction each, kept on record with its figures (contract §1, §3)."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._t = database.tables

    async def erase_conversation(self, conversation_id: str, *, by: str) -> Erasure:
        """Erase at once; `by` is who asked. Raises `conversa_desconhecida`."""
        c = self._t.conversations
        async with self._db.write() as connection:
            await self._db.serialise(connection, conversation_id)
            await self._check_known(connection, c.c.conversation_id == conversation_id)
            erasure = await self._erase(connection, c.c.conversation_id == conversation_id)
            row = _asked(by) | {"conversation_id": conversation_id, "done_at": now()}
            await connection.execute(self._t.erasures.insert().values(**row, report=_written(erasure)))
        await self._db.checkpoint()
        return erasure

    async def request_conversation(self, conversation_id: str, *, by: str) -> str:
        """Ask the daemon to erase a conversation; the request's id. Raises `conversa_desconhecida`."""
        c = self._t.conversations
        async with self._db.write() as connection:
            await self._check_known(connection, c.c.conversation_id == conversation_id)
            return await self._request(connection, _asked(by) | {"conversation_id": conversation_id})

    async def request_document(self, document: Personal, *, by: str) -> str:
        """Ask the daemon to erase all that is held about a document. Raises `nao_encontrado`."""
        digest = self._db.hasher.digest("document", document.reveal())
        async with self._db.write() as connection:
            if not await self._subjects(connection, digest):
                raise RequestRefused("nao_encontrado")
            return await self._request(connection, _asked(by) | {"document_hash": digest})

    async def outcome(self, erasure_id: str) -> Erasure | None:
        """What a request came to; None while it is not carried out."""
        e = self._t.erasures
        async with self._db.read() as connection:
            report = await connection.execute(select(e.c.report).where(e.c.erasure_id == erasure_id))
            written = report.scalar_one()
        return None if written is None else Erasure(**json.loads(written))

    async def process_next(self) -> bool:
        """Carry the oldest request out, if there is one; whether there was. For the daemon."""
        e = self._t.erasures
        oldest = select(e).where(e.c.done_at.is_(None)).order_by(e.c.requested_at).limit(1)
        async with self._db.read() as connection:
            asked = (await connection.execute(oldest)).first()
            if asked is None:
                return False
            digest = asked.document_hash
            ids = await self._subjects(connection, digest) if digest else [asked.conversation_id]
        async with self._db.write() as connection:
            await self._db.serialise(connection, *ids)
            ours = update(e).where(e.c.erasure_id == asked.erasure_id, e.c.done_at.is_(None))
            if (await connection.execute(ours.values(done_at=now()))).rowcount == 1:
                erasure = await self._erase(connection, *self._whose(ids, digest))
                done = update(e).where(e.c.erasure_id == asked.erasure_id)
                await connection.execute(done.values(report=_written(erasure)))
        await self._db.checkpoint()
        return True

    # --------------------------------------------------------------------------------------------- within

    async def _request(self, connection: AsyncConnection, row: dict[str, Any]) -> str:
        await connection.execute(self._t.erasures.insert().values(**row))
        return str(row["erasure_id"])

    async def _check_known(self, connection: AsyncConnection, which: ColumnElement[bool]) -> None:
        known = await connection.execute(select(self._t.conversations.c.conversation_id).where(which))
        if known.first() is None:
            raise RequestRefused("conversa_desconhecida")

    async def _subjects(self, connection: AsyncConnection, digest: str) -> list[str]:
        """Every conversation that is, or was at one of its calls, about a document."""
        c, t = self._t.conversations, self._t.calls
        is_about = select(c.c.conversation_id).where(c.c.document_hash == digest)
        was_about = select(t.c.conversation_id).where(t.c.document_hash == digest)
        return list((await connection.execute(is_about.union(was_about))).scalars())

    def _whose(self, ids: list[str], digest: str | None) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        """The conversations to forget, and calls of others: made while these had this document."""
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
        theirs = t.c.conversation_id.in_(select(c.c.conversation_id).where(conversations))
        found = select(t.c.call_id).where(or_(theirs, false() if others is None else others))
        ids = list((await connection.execute(found)).scalars())
        which = t.c.call_id.in_(ids)
        before = await self._held(connection, which)
        told = await self._told(connection, conversations)
        marking = leases.locked(t.c.call_id, select(t.c.call_id).where(which), wait=True)
        await connection.execute(update(t).where(marking).values(erased=True))
        await wipe(connection, self._t, which)
        after = await self._held(connection, which)
        handed_off = update(h).where(h.c.call_id.in_(ids)).values(motivo=None)
        await connection.execute(handed_off)
        await connection.execute(delete(c).where(conversations))
        return dataclasses.replace(
            after,
            **told,
            requests=before.in_flight - after.in_flight,
            answers=before.replayable - after.replayable,
            motivos=before.motivos,
        )

    async def _held(self, connection: AsyncConnection, which: ColumnElement[bool]) -> Erasure:
        """What is held of these calls now; all requests and answers count as still needed."""
        t, h, o = self._t.calls, self._t.handoffs, self._t.outbox
        of_calls = (
            func.count(),
            func.count(t.c.body),
            func.count(t.c.answer),
            func.count(t.c.run_id.distinct()),
        )
        calls, requests, answers, runs = (await connection.execute(select(*of_calls).where(which))).one()
        of_handoffs = select(func.count(), func.count(h.c.motivo)).join(t, t.c.call_id == h.c.call_id)
        handoffs, motivos = (await connection.execute(of_handoffs.where(which))).one()
        told = select(func.count()).where(o.c.conversation_id.in_(select(t.c.conversation_id).where(which)))
        c = self._t.reply_checks
        theirs = select(t.c.conversation_id).where(which)
        checked = select(func.count()).where(c.c.conversation_id.in_(theirs))
        return Erasure(
            in_flight=requests,
            replayable=answers,
            motivos=motivos,
            runs=runs,
            calls=calls,
            handoffs=handoffs,
            events=(await connection.execute(told)).scalar_one(),
            replies=(await connection.execute(checked)).scalar_one(),
        )

    async def _told(self, connection: AsyncConnection, which: ColumnElement[bool]) -> dict[str, int]:
        """What the bot had told of the conversations that are forgotten."""
        c = self._t.conversations
        counts = func.count(c.c.document), func.count(c.c.contact), func.count(c.c.attachment_url)
        told = (await connection.execute(select(*counts).where(which))).one()
        return dict(zip(("documents", "contacts", "receipts"), told, strict=True))


def _asked(by: str) -> dict[str, Any]:
    return {"erasure_id": f"er_{secrets.token_hex(12)}", "requested_by": by, "requested_at": now()}


def _written(erasure: Erasure) -> str:
    return json.dumps(dataclasses.asdict(erasure))
