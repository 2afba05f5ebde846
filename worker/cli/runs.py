"""`runs`: lets an operator read the runs and dismiss a lost one (contract §14).

Every verb returns its exit code and raises `ConfigError`, `RequestRefused` and `StoreError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from worker.cli.database import beside, moment_option, reader
from worker.cli.exit_codes import Exit
from worker.cli.output import (
    dismissal_words,
    facts,
    listed_state,
    listing,
    print_dismissed,
    print_json,
    print_page,
    reason_words,
    state_words,
)
from worker.model import RunState
from worker.settings import Settings
from worker.views import DismissReason, RunFilter
from worker.web.pagination import cursor_text
from worker.web.responses import ListedRun, Run, RunPage


@dataclass(frozen=True, slots=True)
class Selection:
    """The options that select runs, as typed. `times.parse_since` reads `since` and `until`."""

    state: RunState | None = None
    reason: str | None = None
    since: str | None = None
    until: str | None = None
    conversation: str | None = None


async def list_runs(
    settings: Settings, console: Console, selection: Selection, *, limit: int, as_json: bool
) -> Exit:
    """The newest runs; as JSON, a page of `GET /v1/runs`."""
    zone = ZoneInfo(settings.TIMEZONE)
    which = RunFilter(
        state=selection.state,
        reason=selection.reason,
        since=moment_option(selection.since, zone),
        until=moment_option(selection.until, zone, "--until"),
        conversation_id=selection.conversation,
    )
    async with beside(settings) as store:
        views, cursor = await store.records.runs(which, limit=limit)
    page = RunPage(items=[ListedRun.of(view, zone) for view in views], next_cursor=cursor_text(cursor))
    print_page(page, _rows(console, page.items), console, as_json=as_json)
    return Exit.DONE


async def show_run(settings: Settings, console: Console, run_id: str, *, as_json: bool) -> Exit:
    """One run with its calls; as JSON, `GET /v1/runs/{run_id}`."""
    zone = ZoneInfo(settings.TIMEZONE)
    async with beside(settings) as store:
        run = Run.of(await store.records.run(run_id), zone)
        summary = ListedRun.of(await store.records.run_summary(run_id), zone)
    if as_json:
        print_json(run, console)
    else:
        words = {"reason": reason_words(run.reason), "dismissed": dismissal_words(summary.dismissed)}
        console.print(facts(summary.model_dump() | words))
        for call in run.calls:
            result = call.protocolo or call.error or "-"
            line = f"  {call.call_id}  {state_words(call.state)}  {result}"
            console.print(line, markup=False, soft_wrap=True)
    return Exit.DONE


async def dismiss_run(
    settings: Settings, console: Console, run_id: str, reason: DismissReason | None
) -> Exit:
    """Put on record that a lost run needs no person; without a reason, take that back."""
    async with beside(settings) as store:
        if reason is None:
            await store.operators.restore_run(run_id)
        else:
            await store.operators.dismiss_run(run_id, reason, by=reader())
    print_dismissed(console, f"Execução {run_id}", reason)
    return Exit.DONE


def _rows(console: Console, runs: Sequence[ListedRun]) -> Table:
    names = ("execução", "conversa", "anunciada", "estado", "por quê", "na plataforma")
    rows = (
        (
            *(each.run_id, each.conversation_id, each.registered_at),
            listed_state(each.state, each.dismissed),
            *(reason_words(each.reason), each.platform_status),
        )
        for each in runs
    )
    return listing(console, names, rows)
