"""What a page of the API and the dashboard costs among 100 calls and among 100,000: `python -m bench.pages`.

Prints the least milliseconds of 100 readings of each page, by the store, for SQLite and PostgreSQL.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from cryptography.fernet import Fernet
from rich.console import Console
from rich.table import Table

from bench.growth import fill
from bench.world import postgres
from worker.model import CallState, RunState
from worker.settings import Settings
from worker.store.store import Store
from worker.views import CallFilter, RunFilter

FEW, MANY, READINGS = 100, 100_000, 100

Page = Callable[[Store], Awaitable[object]]


async def _from_the_middle(store: Store, rows: int) -> Callable[[], Awaitable[object]]:
    """The page of calls that begins in the middle of all."""
    (newest, *_), _ = await store.records.calls(limit=1)
    cursor = (newest.received_at - rows / 2, "~")
    return lambda: store.records.calls(cursor=cursor)


PAGES: Mapping[str, Page] = {
    "calls, newest": lambda store: store.records.calls(),
    "calls of a setor": lambda store: store.records.calls(CallFilter(setor="FINANCEIRO")),
    "calls that failed (none)": lambda store: store.records.calls(CallFilter(state=CallState.FAILED)),
    "calls of a conversation": lambda store: store.records.calls(CallFilter(conversation_id="c_7")),
    "calls by protocolo": lambda store: store.records.calls(CallFilter(protocolo="2510000007")),
    "calls by platform id": lambda store: store.records.calls(CallFilter(platform_call_id="call_7")),
    "runs, newest": lambda store: store.records.runs(),
    "runs that were lost (none)": lambda store: store.records.runs(RunFilter(state=RunState.LOST)),
    "a conversation's history": lambda store: store.histories.of("c_7"),
    "what needs a person": lambda store: store.board.backlog(20),
}


async def _least_ms(read: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(READINGS):
        began = time.perf_counter()
        await read()
        took.append(time.perf_counter() - began)
    return 1000 * min(took)


async def _measured(url: str, rows: int) -> dict[str, float]:
    key = Fernet.generate_key().decode()
    settings = Settings.model_validate({"PLATFORM": "assistants", "DATABASE_URL": url, "DATA_KEYS": key})
    store = await Store.open(settings, "assistants", owner=True)
    try:
        await fill(store, rows)
        times = {name: await _least_ms(partial(page, store)) for name, page in PAGES.items()}
        return times | {"calls, from the middle": await _least_ms(await _from_the_middle(store, rows))}
    finally:
        await store.close()


async def main() -> None:
    table = Table("page, ms", "SQLite, 100", "SQLite, 100,000", "PostgreSQL, 100", "PostgreSQL, 100,000")
    sizes = (FEW, MANY)
    with tempfile.TemporaryDirectory() as folder, postgres() as server:
        columns = [await _measured(f"sqlite:///{Path(folder) / str(rows)}.db", rows) for rows in sizes]
        columns += [await _measured(server.empty(), rows) for rows in sizes]
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:.1f}" for column in columns))
    Console(width=120).print(table)


if __name__ == "__main__":
    asyncio.run(main())
