"""What a person may change of a call or a lost run (contract §3, §14): retry, resolve, dismiss."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Table, and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import RequestRefused
from worker.model import CallRecord, CallState, Outcome, RunState
from worker.privacy import holds_personal, readable
from worker.store.ledger.calls import held_by_another
from worker.store.ledger.outcomes import Outcomes
from worker.store.ledger.rows import find, record, select_calls
from worker.store.log_ids import run_id_of
from worker.store.queries.lists import calls_where
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.tables import now
from worker.views import CallFilter, DismissReason

NOT_DISMISSED: dict[str, None] = {"dismissed_reason": None, "dismissed_by": None, "dismissed_at": None}
"""What a person decided holds until the call or run is at work again."""

_RESOLVABLE = {CallState.FAILED, CallState.UNKNOWN, CallState.NO_PROTOCOL}


class Operators:
    """Changes calls on a person's behalf. `may_repeat`: sending once more cannot duplicate a ticket."""

    def __init__(self, database: Database, outcomes: Outcomes, *, may_repeat: bool) -> None:
        self._db = database
        self._t = database.tables.calls
        self._runs = database.tables.runs
        self._outcomes = outcomes
        self._may_repeat = may_repeat

    async def retryable(self, call_id: str) -> CallRecord:
        """The call as it would be sent again.

        Raises `nao_encontrado`, `estado_incompativel`, `payload_expirado`.
        """
        async with self._db.read() as connection:
            return await self._retryable(connection, call_id)

    async def retry(self, call_id: str) -> None:
        """Have the daemon send the same ticket again: its key, its bytes. Raises as `retryable` does."""
        async with self._db.write() as connection:
            await self._alone(connection, call_id)
            call = await self._retryable(connection, call_id, lock=True)
            await connection.execute(
                update(self._t)
                .where(self._t.c.call_id == call_id)
                .values(
                    state=CallState.RECEIVED,
                    error=None,
                    finished_at=None,
                    retrying=True,
                    retry_from=call.attempts,
                    due=now(),
                    **NOT_DISMISSED,
                    **leases.GIVEN_BACK,
                )
            )
            await self._db.notify(connection, call.run_id)

    async def retry_many(self, which: CallFilter) -> tuple[Mapping[str, str], Sequence[tuple[str, str]]]:
        """Retry all calls of a filter, the oldest first, but none that a person has dismissed.

        Returns the run of each requested call, and the refused calls with the code of each refusal.
        """
        c = self._t.c
        query = select(c.call_id, c.run_id).where(*calls_where(self._t, replace(which, dismissed=False)))
        async with self._db.read() as connection:
            found = (await connection.execute(query.order_by(c.received_at, c.call_id))).all()
        runs: dict[str, str] = {}
        refused: list[tuple[str, str]] = []
        for call_id, run_id in found:
            try:
                await self.retry(call_id)
                runs[call_id] = run_id
            except RequestRefused as refusal:
                refused.append((call_id, refusal.code))
        return runs, refused

    async def dismiss(self, call_id: str, reason: DismissReason, *, by: str) -> None:
        """Put on record that a call needs no person; its state stays.

        Raises `nao_encontrado`; `estado_incompativel` when it came to something, or is dismissed already.
        """
        async with self._db.write() as connection:
            await self._known(connection, call_id, lock=True)
            this = self._t.c.call_id == call_id
            await _dismiss(connection, self._t, [this, self._t.c.state.in_(_RESOLVABLE)], reason, by)

    async def restore(self, call_id: str) -> None:
        """Take a dismissal back. Raises `nao_encontrado`; `estado_incompativel` unless it is dismissed."""
        async with self._db.write() as connection:
            await self._known(connection, call_id, lock=True)
            await _restore(connection, self._t, self._t.c.call_id == call_id)

    async def dismiss_run(self, written: str, reason: DismissReason, *, by: str) -> None:
        """As `dismiss`, for a lost run, by its id or by what the log writes for it."""
        async with self._db.write() as connection:
            run_id = await self._known_run(connection, written)
            lost = [self._runs.c.run_id == run_id, self._runs.c.state == RunState.LOST]
            await _dismiss(connection, self._runs, lost, reason, by)

    async def restore_run(self, written: str) -> None:
        """As `restore`, for a lost run."""
        async with self._db.write() as connection:
            run_id = await self._known_run(connection, written)
            await _restore(connection, self._runs, self._runs.c.run_id == run_id)

    async def resolve(self, call_id: str, protocolo: str) -> None:
        """Complete a ticket with the protocolo a person found; the bot is told (late).

        The ticket is that of all calls with its key: those that were not sent will not be, and
        those that waited share the outcome. Raises `nao_encontrado`; `estado_incompativel`, naming the call
        that sends this ticket or has another protocolo; `dados_invalidos` when another ticket has this
        protocolo, and when it is the customer's document or contact.
        """
        async with self._db.write() as connection:
            await self._alone(connection, call_id, protocolo)
            call = await self._known(connection, call_id, lock=True)
            if call.state not in _RESOLVABLE or call.setor is None or call.idempotency_key is None:
                raise RequestRefused("estado_incompativel")
            others = await self._others_of_ticket(connection, call)
            for other in others:
                if other.state is CallState.RUNNING or other.protocolo not in (None, protocolo):
                    raise RequestRefused("estado_incompativel", other.call_id)
            if await held_by_another(connection, self._t, call, protocolo):
                raise RequestRefused("dados_invalidos")
            if await self._is_personal(connection, call, protocolo):
                raise RequestRefused("dados_invalidos")
            done = Outcome(CallState.DONE, protocolo=protocolo, certain=False)
            for each in (call, *(other for other in others if other.state is not CallState.DONE)):
                await self._outcomes.finish(connection, each, done)

    async def _others_of_ticket(self, connection: AsyncConnection, call: CallRecord) -> Sequence[CallRecord]:
        """The other calls with this one's key, locked: none begins an attempt until we have decided."""
        t = self._t
        ticket = and_(t.c.idempotency_key == call.idempotency_key, t.c.call_id != call.call_id)
        # Apart from reading: a statement that waited for the lock sees other tables as they were before.
        await connection.execute(select(t.c.call_id).where(ticket).order_by(t.c.call_id).with_for_update())
        rows = await connection.execute(select_calls(self._db.tables).where(ticket).order_by(t.c.call_id))
        return [record(row) for row in rows]

    async def _is_personal(self, connection: AsyncConnection, call: CallRecord, protocolo: str) -> bool:
        """Whether a number is the document or contact of the call's conversation, now or when it came."""
        c = self._db.tables.conversations
        conversation = select(c.c.document, c.c.contact).where(c.c.conversation_id == call.conversation_id)
        now = (await connection.execute(conversation)).first()
        then = select(self._t.c.document_hash).where(self._t.c.call_id == call.call_id)
        bare = "".join(filter(str.isalnum, protocolo)).upper()
        if self._db.hasher.digest("document", bare) == (await connection.execute(then)).scalar():
            return True
        return holds_personal(protocolo, [each for each in map(readable, now or ()) if each is not None])

    async def _alone(self, connection: AsyncConnection, call_id: str, *subjects: str) -> None:
        """No equal call is admitted, and no other person decides about the same ticket, until we have."""
        call = await self._known(connection, call_id)
        await self._db.serialise(connection, call.conversation_id, *subjects)

    async def _known(self, connection: AsyncConnection, call_id: str, *, lock: bool = False) -> CallRecord:
        call = await find(connection, self._db.tables, self._t.c.call_id == call_id, lock=lock)
        if call is None:
            raise RequestRefused("nao_encontrado")
        return call

    async def _known_run(self, connection: AsyncConnection, written: str) -> str:
        """The id of a recorded run. Raises `nao_encontrado`."""
        run_id = await run_id_of(connection, self._db.tables, written)
        query = select(self._runs.c.run_id).where(self._runs.c.run_id == run_id)
        if (await connection.execute(query)).first() is None:
            raise RequestRefused("nao_encontrado")
        return run_id

    async def _retryable(
        self, connection: AsyncConnection, call_id: str, *, lock: bool = False
    ) -> CallRecord:
        call = await self._known(connection, call_id, lock=lock)
        allowed = {CallState.FAILED, CallState.UNKNOWN} if self._may_repeat else {CallState.FAILED}
        if call.state not in allowed or call.idempotency_key is None:
            raise RequestRefused("estado_incompativel")
        if other := await self._carried_on(connection, call):
            raise RequestRefused("estado_incompativel", other)
        if call.body is None:
            raise RequestRefused("payload_expirado")
        return call

    async def _carried_on(self, connection: AsyncConnection, call: CallRecord) -> str | None:
        """Another call that makes, or made, the same ticket: it is the one to be tried again."""
        t = self._t
        other = select(t.c.call_id).where(
            t.c.idempotency_key == call.idempotency_key,
            t.c.call_id != call.call_id,
            t.c.state != CallState.FAILED,
        )
        return (await connection.execute(other.limit(1))).scalar()


async def _dismiss(
    connection: AsyncConnection,
    table: Table,
    which: Sequence[ColumnElement[bool]],
    reason: DismissReason,
    by: str,
) -> None:
    dismissed = {"dismissed_reason": reason, "dismissed_by": by, "dismissed_at": now()}
    change = update(table).where(*which, table.c.dismissed_at.is_(None)).values(**dismissed)
    if not (await connection.execute(change)).rowcount:
        raise RequestRefused("estado_incompativel")


async def _restore(connection: AsyncConnection, table: Table, row: ColumnElement[bool]) -> None:
    change = update(table).where(row, table.c.dismissed_at.is_not(None)).values(**NOT_DISMISSED)
    if not (await connection.execute(change)).rowcount:
        raise RequestRefused("estado_incompativel")
