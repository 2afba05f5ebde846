"""Events for the bot: written with the change they report, delivered in order per conversation."""

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
        """Write an event in the transaction of the change it reports. `data` holds no personal value."""
        if not self._enabled:
            return
        content = {"type": kind, "timestamp": datetime.now(UTC).isoformat(), "data": data}
        event = {"event_id": f"msg_{secrets.token_hex(12)}", "body": json.dumps(content, ensure_ascii=False)}
        await _insert_event(connection, self._db.tables, conversation_id=conversation_id, **event)

    async def claim(self, owner: str, limit: int, lease_s: float) -> Sequence[Event]:
        """Claim the oldest pending event of each conversation, if it is due and has no owner."""
        lease = {"owner": owner, "lease_s": lease_s}
        rows = await leases.take(self._db, _any_due, _claim, room=limit, **lease)
        return [Event(row.event_id, row.body, row.tries, row.owner) for row in rows]

    async def delivered(self, event: Event, result: str) -> None:
        """Record that the bot received the event, even if another process has claimed it meanwhile."""
        values = {"state": EventState.DELIVERED, "delivered_at": now(), "result": result}
        await self._update(self._t.c.event_id == event.event_id, **values)

    async def retry(self, event: Event, result: str, wait_s: float) -> None:
        """Schedule another delivery after `wait_s` seconds. The conversation's later events wait for it."""
        values = {"due": now() + wait_s, "tries": self._t.c.tries + 1, "result": result}
        await self._update(self._claim_is_current(event), **values)

    async def give_up(self, event: Event, result: str) -> None:
        """Mark the event as stuck: it needs a person. The conversation's next event is delivered."""
        await self._update(self._claim_is_current(event), state=EventState.STUCK, result=result)

    def _claim_is_current(self, event: Event) -> ColumnElement[bool]:
        """True while this process's claim is valid. An expired claim may belong to another process."""
        return and_(self._t.c.event_id == event.event_id, self._t.c.owner == event.owner)

    async def _update(self, which: ColumnElement[bool], **values: Any) -> None:
        """Change the events and give them back. A delivered event stays delivered."""
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
def _claim(tables: Tables) -> ReturningUpdate[Any]:
    t = tables.outbox
    return leases.taking(t.c.seq, _due(tables)).values(**leases.HELD).returning(*t.c)


@prepared
def _insert_event(tables: Tables) -> Insert:
    return tables.outbox.insert().values(
        event_id=bindparam("event_id"),
        conversation_id=bindparam("conversation_id"),
        body=bindparam("body"),
        state=EventState.PENDING,
        created_at=now(),
        due=now(),
    )
