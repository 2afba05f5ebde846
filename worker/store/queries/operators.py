"""What a person may change of a call (contract §3): another try, or the protocolo found at the CRM."""

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import RequestRefused
from worker.model import CallRecord, CallState, Outcome
from worker.store.ledger.calls import held_by_another
from worker.store.ledger.outcomes import Outcomes
from worker.store.ledger.rows import find
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.tables import now

_RESOLVABLE = {CallState.FAILED, CallState.UNKNOWN, CallState.NO_PROTOCOL}


class Operators:
    """Changes calls on a person's behalf. `may_repeat`: sending once more cannot duplicate a ticket."""

    def __init__(self, database: Database, outcomes: Outcomes, *, may_repeat: bool) -> None:
        self._db = database
        self._t = database.tables.calls
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
                    **leases.GIVEN_BACK,
                )
            )
            await self._db.notify(connection, call.run_id)

    async def resolve(self, call_id: str, protocolo: str) -> None:
        """Complete a ticket with the protocolo a person found; the bot is told (late).

        A call that waited for an equal one shares what becomes of that one. Raises `nao_encontrado`,
        `estado_incompativel`; `dados_invalidos` when another ticket has this protocolo.
        """
        async with self._db.write() as connection:
            await self._alone(connection, call_id, protocolo)
            call = await self._known(connection, call_id, lock=True)
            if call.state not in _RESOLVABLE or call.setor is None or call.idempotency_key is None:
                raise RequestRefused("estado_incompativel")
            if await held_by_another(connection, self._t, call, protocolo):
                raise RequestRefused("dados_invalidos")
            done = Outcome(CallState.DONE, protocolo=protocolo, certain=False)
            await self._outcomes.finish(connection, call, done)

    async def _alone(self, connection: AsyncConnection, call_id: str, *subjects: str) -> None:
        """No equal call is admitted, and no other person decides about the same ticket, until we have."""
        call = await self._known(connection, call_id)
        await self._db.serialise(connection, call.conversation_id, *subjects)

    async def _known(self, connection: AsyncConnection, call_id: str, *, lock: bool = False) -> CallRecord:
        call = await find(connection, self._db.tables, self._t.c.call_id == call_id, lock=lock)
        if call is None:
            raise RequestRefused("nao_encontrado")
        return call

    async def _retryable(
        self, connection: AsyncConnection, call_id: str, *, lock: bool = False
    ) -> CallRecord:
        call = await self._known(connection, call_id, lock=lock)
        allowed = {CallState.FAILED, CallState.UNKNOWN} if self._may_repeat else {CallState.FAILED}
        if call.state not in allowed or call.idempotency_key is None:
            raise RequestRefused("estado_incompativel")
        if await self._carried_on(connection, call):
            raise RequestRefused("estado_incompativel")
        if call.body is None:
            raise RequestRefused("payload_expirado")
        return call

    async def _carried_on(self, connection: AsyncConnection, call: CallRecord) -> bool:
        """Another call makes, or made, the same ticket: it is the one to be tried again."""
        t = self._t
        other = exists().where(
            t.c.idempotency_key == call.idempotency_key,
            t.c.call_id != call.call_id,
            t.c.state != CallState.FAILED,
        )
        return bool((await connection.execute(select(other))).scalar())
