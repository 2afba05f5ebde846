"""What the indexes that only people's queries need cost the ledger's writes: `python -m bench.indexes`.

Two databases of each engine, one as the worker makes it and one without those indexes, each with 50,000 old
calls, take the writes of whole calls by turns: announced, admitted, attempted, settled, submitted, ended.
Prints the CPU of one call, in the worker and in PostgreSQL, and the time it took.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from cryptography.fernet import Fernet
from rich.console import Console
from sqlalchemy import make_url, text

from bench.growth import fill
from bench.machine import Gauge
from bench.world import postgres
from worker.model import CallState, Intent, Outcome, RunState, ToolCall, ToolKind
from worker.personal import Personal
from worker.settings import Settings
from worker.store.store import Store

OLD, ROUNDS, CALLS = 50_000, 25, 50
FOR_PEOPLE = (
    *("ix_calls_setor", "ix_calls_motivo", "ix_calls_tool", "ix_calls_open", "ix_calls_rejected"),
    *("ix_calls_needs_person", "ix_calls_dead", "ix_calls_log_id", "ix_calls_platform_call_id"),
    *("ix_runs_registered_at", "ix_runs_reason", "ix_runs_lost", "ix_runs_watching", "ix_runs_log_id"),
    *("ix_outbox_waiting", "ix_outbox_discarded", "ix_outbox_stuck", "ix_outbox_conversation"),
)
"""Indexes that lists, filters, search and the overview read, and neither the loop nor the KPIs."""

OWNER = "bench"
ANSWER = Personal('{"success": true}')


@dataclass
class Side:
    """One database, and what each round of calls cost it, in milliseconds a call."""

    store: Store
    #: PostgreSQL's processes.
    server: Gauge | None
    calls: int = 0
    worker_ms: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)

    async def round(self) -> None:
        cpu, server, began = time.process_time(), self._server_s(), time.perf_counter()
        for _ in range(CALLS):
            self.calls += 1
            await _whole_call(self.store, self.calls)
        for costs, spent_s in (
            (self.worker_ms, time.process_time() - cpu),
            (self.server_ms, self._server_s() - server),
            (self.took_ms, time.perf_counter() - began),
        ):
            costs.append(1000 * spent_s / CALLS)

    def _server_s(self) -> float:
        return 0.0 if self.server is None else self.server.cpu_s()


async def _whole_call(store: Store, number: int) -> None:
    """Every write of one ticket, from the announcement to the end of its run."""
    conversation_id, run_id, call_id = f"bench_{number}", f"run_{number:024x}", f"call_{number:024x}"
    await store.records.put_conversation(conversation_id, {"thread_id": f"thread_{number}"})
    await store.records.register_run(conversation_id, run_id, None)
    (run,) = await store.runs.claim(OWNER, 1)
    intent = Intent(
        equal_on=(str(number),),
        body=Personal('{"resumo": "' + "x" * 300 + '"}'),
        setor="FINANCEIRO",
        motivo="INFORMAR PAGAMENTO",
        exact=True,
    )
    call = ToolCall(call_id, "abrir_ticket_crm", Personal("{}"))
    record = await store.calls.admit(run, call, lambda _: intent, kind=ToolKind.TICKET, owner=OWNER)
    await store.calls.begin_attempt(record, 1, owner=OWNER, send_window_s=30.0)
    done = Outcome(CallState.DONE, protocolo=f"99{number:012}", certain=False)
    await store.calls.settle(record.call_id, done, ANSWER, success=True)
    await store.runs.submitted(run, [record.call_id], "requires_action")
    await store.runs.close(run, RunState.ENDED, "concluida", "completed")


async def _side(url: str, server: Gauge | None, dropped: Sequence[str]) -> Side:
    settings = Settings.model_validate(
        {
            "PLATFORM": "assistants",
            "DATABASE_URL": url,
            "DATA_KEYS": Fernet.generate_key().decode(),
            "BOT_WEBHOOK_URL": "http://127.0.0.1:9/",
            "BOT_WEBHOOK_SECRET": "whsec_c2VncmVkbw==",
        }
    )
    store = await Store.open(settings, "assistants", owner=True)
    async with store.database.write() as connection:
        for name in dropped:
            await connection.execute(text(f"drop index {name}"))
    await fill(store, OLD)
    return Side(store, server)


async def _compare(engine: str, urls: Sequence[str], server: Gauge | None, dropped: Sequence[str]) -> None:
    sides = [await _side(urls[0], server, ()), await _side(urls[1], server, dropped)]
    for each in sides:
        await each.round()  # warm
    for each in sides:
        each.worker_ms, each.server_ms, each.took_ms = [], [], []
    for number in range(ROUNDS):
        for each in sides if number % 2 else reversed(sides):
            await each.round()
    for name, each in zip(("all indexes", "without"), sides, strict=True):
        # The least of many rounds: what others do on the machine only adds.
        worker, in_server, took = map(min, (each.worker_ms, each.server_ms, each.took_ms))
        Console().print(
            f"{engine:10} {name:12} {worker:6.2f} ms CPU, {in_server:6.2f} in the server, {took:6.2f} ms"
        )
        await each.store.close()


async def main(dropped: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = [f"sqlite:///{Path(folder) / name}.db" for name in ("all", "without")]
        await _compare("sqlite", files, None, dropped)
    with postgres() as server:
        url = server.empty()
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("create database without")
        other = make_url(url).set(database="without").render_as_string(hide_password=False)
        await _compare("postgresql", [url, other], server.load, dropped)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("dropped", nargs="*", default=FOR_PEOPLE, help="indexes that one side lacks")
    asyncio.run(main(options.parse_args().dropped))
