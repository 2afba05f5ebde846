"""Short words for the store's tests: conversations, runs and calls in a given state, and time gone by."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import Row, Table, select, text, update

from tests.fakes import call
from worker.errors import RequestRefused
from worker.model import (
    CallRecord,
    CallState,
    Conversation,
    Intent,
    Outcome,
    Rejection,
    Run,
    RunState,
    ToolCall,
    ToolKind,
)
from worker.personal import Personal
from worker.ports import Decide
from worker.store.sql.tables import now
from worker.store.store import Store

DOCUMENT = "52998224725"
PROTOCOLO = "2510271534789012"
LEASE_S = 10.0
SEND_WINDOW_S = 30.0

ANSWER = Personal('{"success": true}')
LATE = Personal('{"success": false, "error": "em_confirmacao"}')
UNSENT = Personal('{"success": false, "error": "crm_indisponivel"}')

DONE = Outcome(CallState.DONE, protocolo=PROTOCOLO, certain=False)
REFUSED = Outcome(CallState.FAILED, "crm_recusou")
AMBIGUOUS = Outcome(CallState.FAILED, "crm_indisponivel", certain=False)
UNKNOWN = Outcome(CallState.UNKNOWN, "em_confirmacao", certain=False)
NO_PROTOCOL = Outcome(CallState.NO_PROTOCOL, "sem_protocolo", certain=False)

TICKET = Intent(
    equal_on=("FINANCEIRO", "PAGAMENTO", "maria pagou", DOCUMENT),
    body=Personal('{"resumo": "Maria pagou"}'),
    setor="FINANCEIRO",
    motivo="PAGAMENTO",
    exact=True,
)
OTHER_RESUMO = replace(
    TICKET,
    equal_on=("FINANCEIRO", "PAGAMENTO", "a maria pagou ontem", DOCUMENT),
    body=Personal('{"resumo": "A Maria pagou ontem"}'),
)
HANDOFF = Intent(
    equal_on=("financeiro",), body=Personal("Maria quer falar"), departamento="financeiro", answer=ANSWER
)
REJECTION = Rejection("motivo_incompativel", Personal('{"success": false}'), setor="FINANCEIRO", exact=False)

Decision = Intent | Rejection

BOT = {"BOT_WEBHOOK_URL": "http://127.0.0.1:9/eventos"}
"""Settings of a bot that wants events, for a store that writes them."""

postgresql = pytest.mark.parametrize("shared_database", ["postgresql"], indirect=True)
"""For what only row locks can get wrong."""


async def refusal_code(refused: Awaitable[object]) -> str:
    """The code of the refusal that this operation ends with."""
    with pytest.raises(RequestRefused) as caught:
        await refused
    return caught.value.code


@dataclass
class Rig:
    """One open store, as a process of its own uses it."""

    store: Store
    name: str = "me"

    async def conversation(self, name: str = "c1", **changes: object) -> str:
        known = {"thread_id": f"thread_{name}", "client_document": Personal(DOCUMENT)}
        await self.store.records.put_conversation(name, known | changes)
        return name

    async def run(self, run_id: str = "run_1", conversation: str = "c1") -> Run:
        """An announced run that this rig has claimed."""
        await self.announce(conversation, run_id, None)
        return await self.claimed(run_id)

    async def announce(self, conversation: str, run_id: str, thread: str | None) -> bool:
        """Whether it was not watched before."""
        _, new = await self.store.records.register_run(conversation, run_id, thread)
        return new

    async def claimed(self, run_id: str = "run_1") -> Run:
        runs = {run.ref.run_id: run for run in await self.store.runs.claim(self.name, 100)}
        return runs[run_id]

    async def admit(self, run: Run, number: int = 1, decision: Decision = TICKET) -> CallRecord:
        """Call number `number` of a run, decided as said whatever the conversation."""
        return await self.decided(run, call(number), lambda _: decision, kind_of(decision))

    async def decided(
        self, run: Run, tool_call: ToolCall, decide: Decide, kind: ToolKind = ToolKind.TICKET
    ) -> CallRecord:
        return await self.store.calls.admit(run, tool_call, decide, kind=kind, owner=self.name)

    async def attempted(self, record: CallRecord, *, certain: bool | None = None) -> CallRecord:
        """One more attempt: left open, or ended surely or not."""
        attempt = record.attempts + 1
        assert await self.begins(record, attempt)
        if certain is not None:
            detail = "connect" if certain else "timeout"
            await self.store.calls.end_attempt(record.call_id, attempt, certain=certain, detail=detail)
        return await self.store.calls.get(record.call_id)

    async def begins(self, record: CallRecord, attempt: int = 1) -> bool:
        return await self.store.calls.begin_attempt(
            record, attempt, owner=self.name, send_window_s=SEND_WINDOW_S
        )

    async def settled(self, record: CallRecord, outcome: Outcome, answer: Personal = ANSWER) -> CallRecord:
        success = outcome.state is CallState.DONE
        return await self.store.calls.settle(record.call_id, outcome, answer, success=success)

    async def lost(self, run: Run) -> None:
        assert await self.store.runs.close(run, RunState.LOST, "cancelada", "cancelled")

    async def claims(self, limit: int = 100) -> list[str]:
        """The calls this rig takes up, in order."""
        return [record.call_id for record in await self.store.calls.claim(self.name, limit)]

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        """What the bot is told, in order: the type and the data of each event."""
        told = [json.loads(row.body) for row in await self.rows("outbox")]
        return [(each["type"], each["data"]) for each in told]

    # ----------------------------------------------------------------------------- behind the store's back

    async def time(self) -> float:
        """Seconds since the epoch, by the database's clock."""
        async with self.store.database.read() as connection:
            return float((await connection.execute(select(now()))).scalar_one())

    async def died(self, record: CallRecord) -> None:
        """As if the process that worked on this call had not been heard of for long enough."""
        await self.ago(1.0, "calls", "lease_until", call_id=record.call_id)

    async def row(self, table: str, **where: object) -> Row[Any]:
        (row,) = await self.rows(table, **where)
        return row

    async def rows(self, table: str, **where: object) -> list[Row[Any]]:
        t = self._table(table)
        query = select(t).where(*(t.c[name] == value for name, value in where.items()))
        query = query.order_by(*t.primary_key)
        async with self.store.database.read() as connection:
            return list(await connection.execute(query))

    async def change(self, table: str, values: dict[str, object], **where: object) -> None:
        t = self._table(table)
        query = update(t).where(*(t.c[name] == value for name, value in where.items())).values(**values)
        async with self.store.database.write() as connection:
            await connection.execute(query)

    async def ago(self, seconds: float, table: str, column: str, **where: object) -> None:
        """As if what this column tells the time of had happened so long ago by the database's clock."""
        await self.change(table, {column: now() - seconds}, **where)

    def _table(self, name: str) -> Table:
        table: Table = getattr(self.store.database.tables, name)
        return table


OpenRig = Callable[..., Awaitable[Rig]]
"""See the fixture `open_rig`."""


def seeing(seen: list[Conversation | None], decision: Decision = TICKET) -> Callable[..., Decision]:
    """A decision that tells which conversation it was shown."""

    def decide(conversation: Conversation | None) -> Decision:
        seen.append(conversation)
        return decision

    return decide


async def until_one_waits(rig: Rig, *, how_many: int = 1) -> None:
    """Until that many statements on this PostgreSQL database wait for locks; the limit judges never."""
    waiting = text(
        "select count(*) from pg_stat_activity "
        "where wait_event_type = 'Lock' and datname = current_database()"
    )
    async with asyncio.timeout(20):
        while True:
            async with rig.store.database.read() as connection:
                if (await connection.execute(waiting)).scalar_one() >= how_many:
                    return
            await asyncio.sleep(0.005)


def kind_of(decision: Decision) -> ToolKind:
    """The kind of tool that decides so: an intent without setor and departamento is another tool's."""
    if isinstance(decision, Rejection) or decision.setor is not None:
        return ToolKind.TICKET
    return ToolKind.OTHER if decision.departamento is None else ToolKind.HANDOFF


async def many_rows(rig: Rig) -> None:
    """5,000 rows of each kind and their statistics, on PostgreSQL: it judges by the data."""
    one = "select i, 1700000000 + i as at from generate_series(1, 5000) as i"
    state = "(array['done','done','done','failed','rejected'])[1 + mod(i, 5)]"
    await rig.admit(await rig.run("run_0"), 1)
    async with rig.store.database.write() as connection:
        for statement in (
            "insert into calls (call_key, call_id, platform_call_id, run_id, conversation_id, tool, state,"
            " protocolo, setor, motivo, received_at)"
            " select 'k'||i, 't'||i, 'p'||i, 'run_'||i, 'c'||mod(i, 900),"
            f" 'abrir_ticket_crm', {state}, 'n'||i, 'S'||mod(i, 9), 'M'||mod(i, 60), at from ({one}) as one",
            "insert into runs (run_id, platform, conversation_id, state, reason, registered_at, due)"
            " select 'run_'||i, 'assistants', 'c'||mod(i, 900), 'ended', 'concluida', at, at"
            f" from ({one}) as one",
            "insert into outbox (event_id, conversation_id, body, state, created_at, due)"
            " select 'msg_'||i, 'c'||mod(i, 900), '{\"type\": \"run.ended\"}', 'delivered', at, at"
            f" from ({one}) as one",
            "analyze",
        ):
            await connection.exec_driver_sql(statement)
