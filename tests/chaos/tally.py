"""What came of it: counted at the CRM, at the platform and in the ledger, and compared."""

import json
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from sqlalchemy import Row, select

from tests.chaos.world import CRM_SETTLE_S, CRM_TIMEOUT_S, World
from worker.model import CallState, RunState
from worker.store.store import Store


@dataclass(frozen=True, slots=True)
class Tally:
    """`wanted`: calls the model made. `duplicates`: tickets beyond the first of a call.

    `lost`: runs that the platform still waits for, or that the worker gave up. `missing`: calls that were
    answered and that the ledger does not know. `hidden`: said to have `failed`, and opened. `untrue`: the
    model, or the ledger, has a protocolo that is not this call's. `late`: tickets opened later than
    `CRM_SETTLE_S` allows.
    """

    runs: int
    wanted: int
    tickets: int
    duplicates: int
    lost: int
    missing: int
    hidden: int
    untrue: int
    late: int
    states: Counter[str]

    @property
    def unknown(self) -> int:
        return self.states[CallState.UNKNOWN]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One call of the model; `told`: the protocolo it was given as a success."""

    mark: str
    platform_call_id: str
    told: str | None
    answered: bool


async def count(world: World, store: Store) -> Tally:
    """Compare what everyone has."""
    calls, runs = store.database.tables.calls, store.database.tables.runs
    async with store.database.read() as connection:
        ledger = {row.platform_call_id: row for row in await connection.execute(select(calls))}
        states = {row.run_id: row.state for row in await connection.execute(select(runs))}
    opened: dict[str, list[str]] = defaultdict(list)
    for ticket in world.crm.tickets:
        opened[_mark(ticket.resumo)].append(ticket.protocolo)
    wanted, completed = list(_wanted(world)), _completed(world)
    return Tally(
        runs=len(completed),
        wanted=len(wanted),
        tickets=len(world.crm.tickets),
        duplicates=sum(len(of_one) - 1 for of_one in opened.values()),
        lost=sum(not done or states.get(run_id) != RunState.ENDED for run_id, done in completed.items()),
        missing=sum(each.answered and each.platform_call_id not in ledger for each in wanted),
        hidden=sum(_hidden(ledger.get(each.platform_call_id), opened[each.mark]) for each in wanted),
        untrue=sum(_untrue(each, ledger.get(each.platform_call_id), opened[each.mark]) for each in wanted),
        late=sum(lag > CRM_TIMEOUT_S + CRM_SETTLE_S for lag in world.crm.opened_after_s),
        states=Counter(str(row.state) for row in ledger.values()),
    )


def _wanted(world: World) -> Iterator[_Wanted]:
    for thread in world.platform.conversations.threads.values():
        for step in (step for run in thread.runs for step in run.steps):
            for call_id, call in step.calls.items():
                output = (step.outputs or {}).get(call_id)
                told = json.loads(output).get("protocolo") if output else None
                yield _Wanted(_mark(call.arguments), call_id, told, answered=output is not None)


def _completed(world: World) -> dict[str, bool]:
    threads = world.platform.conversations.threads.values()
    return {run.id: run.status == "completed" for thread in threads for run in thread.runs}


def _hidden(row: Row[tuple[object, ...]] | None, opened: Sequence[str]) -> bool:
    return row is not None and row.state == CallState.FAILED and bool(opened)


def _untrue(wanted: _Wanted, row: Row[tuple[object, ...]] | None, opened: Sequence[str]) -> bool:
    shown = {wanted.told, row.protocolo if row is not None else None} - {None}
    done_without = row is not None and row.state == CallState.DONE and not opened
    return done_without or not shown <= set(opened)


def _mark(text: str) -> str:
    found = re.search(r"#[\d-]+#", text)
    assert found, "every resumo of this suite carries its mark"
    return found.group()


# ------------------------------------------------------------------------------------------------- to be read


@dataclass(frozen=True, slots=True)
class Report:
    """One row of the table. `took_over`: how long runs of killed processes waited for their next owner.

    `resumed`: seconds from each promotion of a standby to the next attempt.
    `…_beside`: where another process was at work all along; the others first had to start, to be continued,
    or to get their database back.
    """

    where: str
    processes: int
    mode: str
    kills: int
    stops: int
    restarts: int
    resumed: Sequence[float]
    seconds: float
    took_over: Sequence[float]
    took_over_beside: Sequence[float]
    tally: Tally


_COLUMNS = (
    *("banco", "proc.", "CRM", "SIGKILL", "SIGSTOP", "quedas", "trocas", "execuções", "chamadas", "tickets"),
    *("duplicados", "perdidas", "sumidas", "ocultos", "falsos", "tardios", "unknown", "failed"),
    *("tomada de posse", "ao lado de um vivo", "retomada", "tempo"),
)


def table(reports: Sequence[Report], seed: str) -> Table:
    """The suite's result, a row a cell."""
    shown = Table(
        title=f"Caos (CHAOS_SEED={seed}): tomada de posse (p50 / p95 / máx.) em segundos",
        title_justify="left",
    )
    for column in _COLUMNS:
        shown.add_column(column, justify="left" if column in {"banco", "CRM"} else "right")
    for report in reports:
        shown.add_row(*(str(cell) for cell in _cells(report)))
    return shown


def _cells(report: Report) -> Iterator[object]:
    tally = report.tally
    yield from (report.where, report.processes, report.mode, report.kills, report.stops, report.restarts)
    yield len(report.resumed)
    yield from (tally.runs, tally.wanted, tally.tickets, tally.duplicates, tally.lost, tally.missing)
    yield from (tally.hidden, tally.untrue, tally.late, tally.unknown, tally.states[CallState.FAILED])
    yield from (_spread(times) for times in (report.took_over, report.took_over_beside, report.resumed))
    yield f"{report.seconds:.0f} s"


def _spread(times: Sequence[float]) -> str:
    return " / ".join(f"{each:.1f}" for each in _percentiles(times)) if times else "-"


def _percentiles(times: Sequence[float]) -> tuple[float, float, float]:
    if len(times) < 2:
        return (times[0], times[0], times[0])
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return cuts[9], cuts[18], max(times)
