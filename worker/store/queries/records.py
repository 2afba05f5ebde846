"""What the HTTP API and the commands read and change: conversations, and views of runs, calls, hand-offs."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Row, Select, Table, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import RequestRefused
from worker.kpis import Kpis
from worker.log_fields import hidden_id
from worker.model import CallState, RunState
from worker.personal import Personal
from worker.privacy import readable
from worker.store import migrations
from worker.store.log_ids import conversation_id_of, run_id_of, with_own_ids
from worker.store.personal_data.access_log import enter
from worker.store.queries.handoffs import handoff_columns, handoff_view
from worker.store.queries.kpis import measure
from worker.store.queries.lists import calls_where, newest_first, next_cursor, runs_where
from worker.store.queries.waiting import measure_waiting
from worker.store.runs.arrivals import Arrivals
from worker.store.sql.database import Database
from worker.store.sql.rows import from_row
from worker.store.sql.statements import prepared
from worker.store.sql.tables import Tables, now
from worker.views import (
    AttemptView,
    CallFilter,
    CallPayload,
    CallView,
    ConversationView,
    Cursor,
    Dismissal,
    DismissReason,
    HandoffState,
    HandoffView,
    RunFilter,
    RunSummary,
    RunView,
    Waiting,
)

_EVERY_CALL, _EVERY_RUN = CallFilter(), RunFilter()
_EXPORTED_AT_ONCE = 500
"""Calls that one statement of an export reads: it holds no connection between two of them."""


class Records:
    """What the HTTP API and the commands ask of the store. Raises `RequestRefused` (contract §3)."""

    def __init__(self, database: Database, arrivals: Arrivals) -> None:
        self._db = database
        self._arrivals = arrivals
        self._t = database.tables

    # -------------------------------------------------------------------------------------- conversations

    async def put_conversation(
        self, conversation_id: str, changes: Mapping[str, object]
    ) -> tuple[ConversationView, bool]:
        """Create or change; only the keys given change, None clears. Returns it and whether it is new.

        Keys: thread_id, assistant (str), client_document, contact, attachment_url (Personal), attachment_at
        (seconds since the epoch; ignored without attachment_url, now when absent). Raises `thread_em_uso`.
        """
        c = self._t.conversations
        async with self._db.write() as connection:
            thread_id = cast("str | None", changes.get("thread_id"))
            await self._db.serialise(connection, conversation_id, thread_id)
            await self._check_thread(connection, conversation_id, thread_id)
            known = await self._attachment(connection, conversation_id)
            values = self._columns(changes) | _attachment_columns(changes, *known)
            values["log_id"] = hidden_id(self._db.hasher, conversation_id)
            changed = await connection.execute(
                update(c).where(c.c.conversation_id == conversation_id).values(**values)
            )
            if new := changed.rowcount == 0:
                born = {"conversation_id": conversation_id, "created_at": now(), "discover_due": now()}
                await connection.execute(c.insert().values(**born, **values))
            return await self._conversation(connection, conversation_id), new

    async def conversation(self, written: str, *, reader: str) -> ConversationView:
        """A conversation by its id, or by what the log writes for it.

        Reading contact or receipt enters the access log. Raises `conversa_desconhecida`.
        """
        async with self._db.read(brief=True) as connection:
            conversation_id = await conversation_id_of(connection, self._t, written)
            view = await self._conversation(connection, conversation_id)
        if view.contact is not None or view.attachment_url is not None:  # a document is shown masked
            async with self._db.write() as connection:
                await enter(connection, self._t, reader, conversation_id)
        return view

    async def conversation_id(self, written: str) -> str:
        """The id of a conversation from what the log writes for it: the id itself, or its hash.

        Raises `conversa_desconhecida`.
        """
        c = self._t.conversations.c
        async with self._db.read(brief=True) as connection:
            conversation_id = await conversation_id_of(connection, self._t, written)
            query = select(c.conversation_id).where(c.conversation_id == conversation_id)
            if (await connection.execute(query)).first() is None:
                raise RequestRefused("conversa_desconhecida")
        return conversation_id

    async def _check_thread(
        self, connection: AsyncConnection, conversation_id: str, thread_id: object
    ) -> None:
        c = self._t.conversations
        if thread_id is not None:
            owner = await connection.execute(select(c.c.conversation_id).where(c.c.thread_id == thread_id))
            if owner.scalar() not in (None, conversation_id):
                raise RequestRefused("thread_em_uso")

    def _columns(self, changes: Mapping[str, object]) -> dict[str, object]:
        values: dict[str, object] = {"updated_at": now(), "active_at": now()}
        values |= {name: changes[name] for name in ("thread_id", "assistant", "contact") if name in changes}
        if "client_document" in changes:
            document = changes["client_document"]
            values["document"] = document
            values["document_hash"] = (
                self._db.hasher.digest("document", document.reveal())
                if isinstance(document, Personal)
                else None
            )
        return values

    async def _attachment(
        self, connection: AsyncConnection, conversation_id: str
    ) -> tuple[Personal | None, float | None]:
        """The receipt that is on file, and when it came."""
        c = self._t.conversations
        query = select(c.c.attachment_url, c.c.attachment_at).where(c.c.conversation_id == conversation_id)
        row = (await connection.execute(query)).first()
        return (None, None) if row is None else (readable(row.attachment_url), row.attachment_at)

    async def _conversation(self, connection: AsyncConnection, conversation_id: str) -> ConversationView:
        c = self._t.conversations
        row = (await connection.execute(select(c).where(c.c.conversation_id == conversation_id))).first()
        if row is None:
            raise RequestRefused("conversa_desconhecida")
        return from_row(
            ConversationView,
            row,
            document=readable(row.document),
            contact=readable(row.contact),
            attachment_url=readable(row.attachment_url),
        )

    # ----------------------------------------------------------------------------------------------- runs

    async def register_run(
        self, conversation_id: str, run_id: str, thread_id: str | None
    ) -> tuple[RunView, bool]:
        """Watch a run. Returns it, and True when it was not watched before (202), False when it was (200).

        If the run continues under another id, the newest run of the line is watched.

        Raises `conversa_desconhecida`, `execucao_de_outra_conversa`, `thread_diferente`, `thread_ausente`.
        """
        async with self._db.write() as connection:
            new = await self._arrivals.register(connection, conversation_id, run_id, thread_id)
            return await self._run(connection, run_id), new

    async def run(self, run_id: str) -> RunView:
        """A run by its id, or by what the log writes for it. Raises `nao_encontrado`."""
        async with self._db.read(brief=True) as connection:
            return await self._run(connection, await run_id_of(connection, self._t, run_id))

    async def _run(self, connection: AsyncConnection, run_id: str) -> RunView:
        row = (await _run(connection, self._t, run=run_id)).first()
        if row is None:
            raise RequestRefused("nao_encontrado")
        calls = await call_views(connection, self._t, (await _calls_of(connection, self._t, run=run_id)).rows)
        return from_row(RunView, row, state=RunState(row.state), calls=tuple(calls))

    async def runs(
        self, which: RunFilter = _EVERY_RUN, *, limit: int = 50, cursor: Cursor | None = None
    ) -> tuple[Sequence[RunSummary], Cursor | None]:
        """The newest first, without their calls. A filter's conversation may be written as the log does."""
        r = self._t.runs
        async with self._db.read() as connection:
            which = await with_own_ids(connection, self._t, which)
            query = select(r).where(*runs_where(r, which))
            query = newest_first(query, r.c.registered_at, r.c.run_id, limit, cursor)
            found = [run_summary(row) for row in await connection.execute(query)]
        return found[:limit], next_cursor(found, limit, lambda run: (run.registered_at, run.run_id))

    async def run_summary(self, run_id: str) -> RunSummary:
        """A run without its calls, by its id or by what the log writes for it. Raises `nao_encontrado`."""
        async with self._db.read(brief=True) as connection:
            row = (await _run(connection, self._t, run=await run_id_of(connection, self._t, run_id))).first()
        if row is None:
            raise RequestRefused("nao_encontrado")
        return run_summary(row)

    # ---------------------------------------------------------------------------------------------- calls

    async def calls(
        self, which: CallFilter = _EVERY_CALL, *, limit: int = 50, cursor: Cursor | None = None
    ) -> tuple[Sequence[CallView], Cursor | None]:
        """The newest first. A filter's ids may be written as the log writes them."""
        c = self._t.calls
        async with self._db.read() as connection:
            which = await with_own_ids(connection, self._t, which)
            query = call_rows(c).where(*calls_where(c, which))
            query = newest_first(query, c.c.received_at, c.c.call_id, limit, cursor)
            found = await call_views(connection, self._t, (await connection.execute(query)).all())
        return found[:limit], next_cursor(found, limit, lambda call: (call.received_at, call.call_id))

    async def every_call(self, which: CallFilter) -> AsyncIterator[Sequence[CallView]]:
        """All calls of a filter, the newest first, in portions."""
        cursor: Cursor | None = None
        while True:
            found, cursor = await self.calls(which, limit=_EXPORTED_AT_ONCE, cursor=cursor)
            yield found
            if cursor is None:
                return

    async def payload(self, call_id: str, *, reader: str) -> CallPayload:
        """What a call holds about its customer; the reading enters the access log.

        Raises `nao_encontrado`; `payload_expirado` when retention or an erasure took it.
        """
        c, conversations = self._t.calls, self._t.conversations
        query = (
            select(c.c.body, c.c.setor, conversations.c.document, conversations.c.contact)
            .add_columns(conversations.c.attachment_url)
            .outerjoin(conversations, conversations.c.conversation_id == c.c.conversation_id)
            .where(c.c.call_id == call_id)
        )
        async with self._db.write() as connection:
            row = (await connection.execute(query)).first()
            if row is None:
                raise RequestRefused("nao_encontrado")
            if row.body is None:
                raise RequestRefused("payload_expirado")
            await enter(connection, self._t, reader, call_id)
            return _payload(row)

    async def call(self, call_id: str) -> CallView:
        c = self._t.calls
        async with self._db.read(brief=True) as connection:
            rows = await connection.execute(call_rows(c).where(c.c.call_id == call_id))
            found = await call_views(connection, self._t, rows.all())
        if not found:
            raise RequestRefused("nao_encontrado")
        return found[0]

    # ------------------------------------------------------------------------------------------ hand-offs

    async def handoffs(
        self, *, state: HandoffState | None = None, limit: int = 50, cursor: Cursor | None = None
    ) -> tuple[Sequence[HandoffView], Cursor | None]:
        h = self._t.handoffs
        query = select(*handoff_columns(self._t))
        if state is not None:
            query = query.where(h.c.state == state)
        query = newest_first(query, h.c.requested_at, h.c.handoff_id, limit, cursor)
        async with self._db.read() as connection:
            found = [handoff_view(row) for row in await connection.execute(query)]
        return found[:limit], next_cursor(found, limit, lambda view: (view.requested_at, view.handoff_id))

    async def handoff(self, handoff_id: str, *, reader: str) -> HandoffView:
        h = self._t.handoffs
        query: Select[Any] = select(*handoff_columns(self._t), h.c.motivo).where(h.c.handoff_id == handoff_id)
        async with self._db.write() as connection:
            row = (await connection.execute(query)).first()
            if row is None:
                raise RequestRefused("nao_encontrado")
            await enter(connection, self._t, reader, handoff_id)
            return handoff_view(row, readable(row.motivo))

    # ------------------------------------------------------------------------------- figures and readiness

    async def kpis(self, since: float, until: float | None) -> Kpis:
        """Of calls received from `since` to before `until` (None: to now), in seconds since the epoch."""
        async with self._db.read() as connection:
            return await measure(connection, self._t, since, until)

    async def waiting(self) -> Waiting:
        async with self._db.read() as connection:
            return await measure_waiting(connection, self._t)

    async def ready(self) -> bool:
        """The database can be written, and its schema is this version's."""
        async with self._db.write() as connection:
            await connection.execute(update(self._t.index_key).values(id=self._t.index_key.c.id))
            return await connection.run_sync(migrations.current)


def _attachment_columns(
    changes: Mapping[str, object], stored: Personal | None, stored_at: float | None
) -> dict[str, object]:
    """What changes of the receipt: the same one, sent again, is not a second receipt.

    A time alone is that of the receipt on file.
    """
    at = changes.get("attachment_at")
    if "attachment_url" not in changes:
        return {"attachment_at": at} if at is not None and stored is not None else {}
    url = changes["attachment_url"]
    if url is not None and url == stored and (at is None or at == stored_at):
        return {}
    arrived_at = None if url is None else now() if at is None else at
    return {"attachment_url": url, "attachment_taken_by": None, "attachment_at": arrived_at}


@prepared
def _run(tables: Tables) -> Select[Any]:
    return select(tables.runs).where(tables.runs.c.run_id == bindparam("run"))


@prepared
def _calls_of(tables: Tables) -> Select[Any]:
    c = tables.calls
    return call_rows(c).where(c.c.run_id == bindparam("run")).order_by(c.c.received_at, c.c.call_id)


def call_rows(table: Table) -> Select[Any]:
    """Calls without their payload: nothing is decrypted only to be thrown away."""
    return select(*(column for column in table.c if column not in {table.c.body, table.c.answer}))


def _payload(row: Row[Any]) -> CallPayload:
    """A ticket's document and resumo as they were sent; without a ticket, the conversation's document."""
    sent = json.loads(row.body.reveal()) if row.setor is not None else {}
    return CallPayload(
        document=Personal(sent["documento"]) if "documento" in sent else row.document,
        contact=row.contact,
        resumo=Personal(sent["resumo"]) if "resumo" in sent else None,
        receipt=row.attachment_url,
    )


def dismissal(row: Any) -> Dismissal | None:
    """Who decided that this call or run needs no person; None where nobody did."""
    if row.dismissed_at is None:
        return None
    return Dismissal(DismissReason(row.dismissed_reason), row.dismissed_by, row.dismissed_at)


def run_summary(row: Any) -> RunSummary:
    """A row of `runs`."""
    return from_row(RunSummary, row, state=RunState(row.state), dismissal=dismissal(row))


async def call_views(connection: AsyncConnection, tables: Tables, rows: Sequence[Any]) -> list[CallView]:
    """Rows of `call_rows`, each with its attempts."""
    a = tables.attempts
    if not rows:
        return []
    ids = [row.call_id for row in rows]
    attempts: dict[str, list[AttemptView]] = {call_id: [] for call_id in ids}
    for row in await connection.execute(
        select(a).where(a.c.call_id.in_(ids)).order_by(a.c.call_id, a.c.attempt)
    ):
        attempts[row.call_id].append(from_row(AttemptView, row))
    return [_call_view(row, attempts[row.call_id]) for row in rows]


def _call_view(row: Any, attempts: Sequence[AttemptView]) -> CallView:
    return from_row(
        CallView, row, state=CallState(row.state), attempts=tuple(attempts), dismissal=dismissal(row)
    )
