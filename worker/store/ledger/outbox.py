"""Events for the bot: written with what they tell of, delivered in order per conversation (contract §5)."""

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Insert, Select, and_, bindparam, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from worker.model import Event, EventState
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.statements import prepared
from worker.store.sql.tables import PENDING, Tables, now


class Outbox:
    """Events on their way to the bot, in order per conversation. `enabled`: BOT_WEBHOOK_URL is set."""

    def __init__(self, database: Database, *, enabled: bool) -> None:
        self._db = database
        self._t = database.tables.outbox
        self._enabled = enabled

    async def put(
        self, connection: AsyncConnection, conversation_id: str, kind: str, data: dict[str, Any]
    ) -> None:
        """Write an event in the transaction of what it tells of. `data` holds no personal value."""
        if not self._enabled:
            return
        said = {"type": kind, "timestamp": datetime.now(UTC).isoformat(), "data": data}
        event = {"event": f"msg_{secrets.token_hex(12)}", "said": json.dumps(said, ensure_ascii=False)}
        await _written(connection, self._db.tables, conversation=conversation_id, **event)

    async def claim(self, owner: str, limit: int, lease_s: float) -> Sequence[Event]:
        """The oldest pending event of each conversation that is due, each for one process at a time."""
        held = {"by": owner, "lease_s": lease_s}
        rows = await leases.take(self._db, _any_due, _claimed, room=limit, **held)
        return [Event(row.event_id, row.body, row.tries, row.owner) for row in rows]

    async def delivered(self, event: Event, result: str) -> None:
        """The bot has it, whoever has claimed it meanwhile."""
        has_it = {"state": EventState.DELIVERED, "delivered_at": now(), "result": result}
        await self._leave(self._t.c.event_id == event.event_id, **has_it)

    async def retry(self, event: Event, result: str, wait_s: float) -> None:
        """Not delivered: again after `wait_s` seconds, and those behind it wait too."""
        again = {"due": now() + wait_s, "tries": self._t.c.tries + 1, "result": result}
        await self._leave(self._still_ours(event), **again)

    async def give_up(self, event: Event, result: str) -> None:
        """A person is needed; the next one goes."""
        await self._leave(self._still_ours(event), state=EventState.STUCK, result=result)

    def _still_ours(self, event: Event) -> ColumnElement[bool]:
        """A process that was too slow has no say: the event is being tried by another by now."""
        return and_(self._t.c.event_id == event.event_id, self._t.c.owner == event.owner)

    async def _leave(self, which: ColumnElement[bool], **values: Any) -> None:
        """What is delivered stays so."""
        async with self._db.write() as connection:
            await connection.execute(
                update(self._t)
                .where(which, self._t.c.state != EventState.DELIVERED)
                .values(**leases.GIVEN_BACK, **values)
            )


def _due(tables: Tables) -> Select[Any]:
    t, earlier = tables.outbox, tables.outbox.alias("earlier")
    not_first = exists().where(
        earlier.c.conversation_id == t.c.conversation_id,
        earlier.c.seq < t.c.seq,
        earlier.c.state == PENDING,
    )
    pending = select(t.c.seq).where(t.c.state == PENDING, t.c.due <= now(), ~not_first)
    return pending.where(leases.unheld(t)).order_by(t.c.due)


_any_due = leases.any_of(_due)


@prepared
def _claimed(tables: Tables) -> ReturningUpdate[Any]:
    t = tables.outbox
    return leases.taking(t.c.seq, _due(tables)).values(**leases.HELD).returning(*t.c)


@prepared
def _written(tables: Tables) -> Insert:
    return tables.outbox.insert().values(
        event_id=bindparam("event"),
        conversation_id=bindparam("conversation"),
        body=bindparam("said"),
        state=EventState.PENDING,
        created_at=now(),
        due=now(),
    )
