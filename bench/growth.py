"""What a database full of old rows costs: the plans of the loop's and the KPIs' queries, and their times."""

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

import aiosqlite
import psycopg
from cryptography.fernet import Fernet
from sqlalchemy import event, text
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.settings import Settings
from worker.store.store import Store

_RUNS = """
insert into runs (run_id, platform, conversation_id, thread_id, state, reason, registered_at, closed_at,
  due, rounds)
select 'old_' || n, 'assistants', 'c_' || (n % 10000), 't_' || (n % 10000), 'ended', 'concluida',
  {now} - 86400.0 - n, {now} - 86390.0 - n, {now} - 86400.0 - n, 1
from ({numbers}) as all_of_them
"""
_CALLS = """
insert into calls (call_key, call_id, platform_call_id, run_id, conversation_id, tool, state, protocolo,
  setor, motivo, exact, equal_key, idempotency_key, attempts, answered_success, received_at, answered_at,
  finished_at, submitted_at)
select 'old_' || n, 'tc_' || n, 'call_' || n, 'old_' || n, 'c_' || (n % 10000), 'abrir_ticket_crm', 'done',
  cast(2510000000 + n as varchar), 'FINANCEIRO', 'INFORMAR PAGAMENTO', true, 'e_' || n, 'tw_' || n, 1, true,
  {now} - 86400.0 - n, {now} - 86395.0 - n, {now} - 86395.0 - n, {now} - 86394.0 - n
from ({numbers}) as all_of_them
"""
_DUE = (
    "update runs set state = 'watching' where run_id in ('old_1', 'old_2', 'old_3')",
    "update calls set state = 'unknown', due = 0 where call_id in ('tc_1', 'tc_2', 'tc_3')",
)
_NOW = {
    True: "((julianday('now') - 2440587.5) * 86400.0)",
    False: "extract(epoch from statement_timestamp())::float8",
}
_NUMBERS = {
    True: "with recursive c(n) as (select 1 union all select n + 1 from c where n < {n}) select n from c",
    False: "select n from generate_series(1, {n}) as n",
}


@dataclass(frozen=True)
class Old:
    """Milliseconds of one look for work among so many old rows, and the plans of its statements."""

    database: str
    rows: int
    claim_runs_ms: float
    claim_calls_ms: float
    kpis_24h_ms: float
    plans: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def measure(url: str, rows: int) -> Old:
    """Fill an empty database with old runs and calls, and look for work in it."""
    settings = Settings.model_validate(
        {"PLATFORM": "assistants", "DATA_KEYS": Fernet.generate_key().decode(), "DATABASE_URL": url}
    )
    store = await Store.open(settings, "assistants", owner=True)
    try:
        await fill(store, rows)
        since = time.time() - 86400
        plans = await _plans(store)
        return Old(
            database="sqlite" if store.database.sqlite else "postgresql",
            rows=rows,
            claim_runs_ms=await _quickest(lambda: store.runs.claim("bench", 100)),
            claim_calls_ms=await _quickest(lambda: store.calls.claim("bench", 100)),
            kpis_24h_ms=await _quickest(lambda: store.records.kpis(since, None)),
            plans=plans,
        )
    finally:
        await store.close()


async def fill(store: Store, rows: int) -> None:
    """Old, finished runs and calls."""
    sqlite = store.database.sqlite
    numbers = _NUMBERS[sqlite].format(n=rows)
    for statement in (_RUNS, _CALLS):
        async with store.database.write() as connection:
            await connection.execute(text(statement.format(now=_NOW[sqlite], numbers=numbers)))
    if not sqlite:
        async with store.database.write() as connection:
            await connection.execute(text("analyze"))


async def _quickest(query: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        await query()
        took.append(time.perf_counter() - began)
    return round(1000 * min(took), 2)


async def _plans(store: Store) -> list[str]:
    """How the statements that look for work, and the KPIs', reach their rows."""
    async with store.database.write() as connection:
        for statement in _DUE:
            await connection.execute(text(statement))
    with _overheard(aiosqlite if store.database.sqlite else psycopg) as heard:
        await store.runs.claim("bench", 100)
        await store.calls.claim("bench", 100)
        await store.records.kpis(time.time() - 86400, None)
    async with store.database.read() as connection:
        return [await _plan(connection, *each, sqlite=store.database.sqlite) for each in heard]


@contextlib.contextmanager
def _overheard(driver: ModuleType) -> Iterator[list[tuple[str, Any]]]:
    """What is asked of the driver: by SQLAlchemy through its cursors, by prepared statements itself."""
    heard: list[tuple[str, Any]] = []
    connection = driver.Connection if driver is aiosqlite else driver.AsyncConnection
    execute = connection.execute

    def by_sqlalchemy(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        heard.append((statement, parameters))

    def prepared(self: Any, statement: str, parameters: Any = None, **kwargs: Any) -> Any:
        heard.append((statement, parameters))
        return execute(self, statement, parameters, **kwargs)

    event.listen(Engine, "before_cursor_execute", by_sqlalchemy)
    with patch.object(connection, "execute", prepared):
        yield heard
    event.remove(Engine, "before_cursor_execute", by_sqlalchemy)
    heard[:] = [each for each in heard if each[0].startswith(("SELECT", "WITH", "UPDATE"))]


async def _plan(connection: AsyncConnection, statement: str, parameters: Any, *, sqlite: bool) -> str:
    explain = "explain query plan " if sqlite else "explain "
    rows = await connection.exec_driver_sql(explain + statement, parameters)
    lines = [str(row[-1]).strip() for row in rows]
    scans = [line for line in lines if "SCAN" in line or "Scan" in line or "SEARCH" in line]
    return "; ".join(scans or lines)
