"""A worker that writes down what it did only after it did it: the suite must catch it.

`python -m tests.chaos.careless_worker run`. Everything is the real worker's but the ledger, which forgets
each new call until its outcome is known: no intent, no attempts, and so nothing to tell a next owner.
"""

from typing import Any

from sqlalchemy import delete

from worker.cli import main
from worker.model import CallRecord, CallState, Outcome, Run, Sent, ToolCall, ToolKind
from worker.personal import Personal
from worker.ports import Decide
from worker.store import store
from worker.store.ledger.calls import Calls


class CarelessCalls(Calls):
    """Implements `ports.Ledger`, badly."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._unwritten: dict[str, dict[str, Any]] = {}

    async def admit(
        self, run: Run, call: ToolCall, decide: Decide, *, kind: ToolKind, owner: str
    ) -> CallRecord:
        record = await super().admit(run, call, decide, kind=kind, owner=owner)
        if record.state is CallState.RECEIVED:
            forget = delete(self._t).where(self._t.c.call_id == record.call_id).returning(self._t)
            async with self._db.write() as connection:
                forgotten = (await connection.execute(forget)).one()
            self._unwritten[record.call_id] = dict(forgotten._mapping)
        return record

    async def begin_attempt(
        self, call: CallRecord, attempt: int, *, owner: str, send_window_s: float
    ) -> bool:
        return True

    async def end_attempt(self, call_id: str, attempt: int, *, certain: bool, detail: str) -> None:
        return

    async def sent(self, call_id: str) -> Sent:
        return Sent(0.0, 0.0)

    async def settle(self, call_id: str, outcome: Outcome, answer: Personal, **said: Any) -> CallRecord:
        await self._write(call_id)
        return await super().settle(call_id, outcome, answer, **said)

    async def answer_at_deadline(self, call_id: str, sent: Personal, unsent: Personal) -> CallRecord:
        await self._write(call_id)
        return await super().answer_at_deadline(call_id, sent, unsent)

    async def _write(self, call_id: str) -> None:
        if row := self._unwritten.pop(call_id, None):
            async with self._db.write() as connection:
                await connection.execute(self._t.insert().values(**row))


if __name__ == "__main__":
    store.Calls = CarelessCalls  # type: ignore[misc]
    main.main()
