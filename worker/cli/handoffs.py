"""`handoffs`: lets an attendant read and work the hand-off queue (contract §1).

Every verb returns its exit code and raises `ConfigError`, `RequestRefused` and `StoreError`.
"""

from collections.abc import Awaitable, Callable, Sequence
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from worker.cli.database import beside, reader
from worker.cli.exit_codes import Exit
from worker.cli.output import facts, listing, print_done, print_json, print_page, span, state_words
from worker.settings import Settings
from worker.store.queries.handoffs import Handoffs
from worker.views import HandoffState, HandoffView
from worker.web.pagination import cursor_text
from worker.web.responses import Handoff, HandoffDetail, HandoffPage


async def list_handoffs(
    settings: Settings, console: Console, *, state: HandoffState | None, limit: int, as_json: bool
) -> Exit:
    """The newest hand-offs, without `motivo`; as JSON, a page of `GET /v1/handoffs`."""
    zone = ZoneInfo(settings.TIMEZONE)
    async with beside(settings) as store:
        views, cursor = await store.records.handoffs(state=state, limit=limit)
    page = HandoffPage(items=[Handoff.of(view, zone) for view in views], next_cursor=cursor_text(cursor))
    print_page(page, _rows(console, page.items), console, as_json=as_json)
    return Exit.DONE


async def show_handoff(settings: Settings, console: Console, handoff_id: str, *, as_json: bool) -> Exit:
    """One hand-off with its `motivo`, entered in the access log; as JSON, `GET /v1/handoffs/{id}`."""
    async with beside(settings) as store:
        view = await store.records.handoff(handoff_id, reader=reader())
    detail = HandoffDetail.of(view, ZoneInfo(settings.TIMEZONE))
    if as_json:
        print_json(detail, console)
    else:
        words = {"waiting_s": span(view.waiting_s), "overdue": "sim" if view.overdue else "não"}
        console.print(facts(detail.model_dump() | words))
    return Exit.DONE


async def accept_handoff(settings: Settings, console: Console, handoff_id: str) -> Exit:
    """Take a hand-off."""
    return await _change(settings, console, "assumido", lambda handoffs: handoffs.accept(handoff_id))


async def close_handoff(settings: Settings, console: Console, handoff_id: str) -> Exit:
    """Finish a hand-off, accepted or not."""
    return await _change(settings, console, "encerrado", lambda handoffs: handoffs.close(handoff_id))


async def return_handoff(settings: Settings, console: Console, handoff_id: str) -> Exit:
    """Give the conversation back to the bot."""
    return await _change(
        settings, console, "devolvido ao bot", lambda handoffs: handoffs.give_back(handoff_id)
    )


async def _change(
    settings: Settings, console: Console, done: str, change: Callable[[Handoffs], Awaitable[HandoffView]]
) -> Exit:
    async with beside(settings) as store:
        view = await change(store.handoffs)
    print_done(console, f"Pedido {view.handoff_id} {done}; o cliente esperou {span(view.waiting_s)}")
    return Exit.DONE


def _rows(console: Console, handoffs: Sequence[Handoff]) -> Table:
    names = ("pedido", "conversa", "solicitado", "espera", "departamento", "estado")
    rows = (
        (
            *(each.handoff_id, each.conversation_id, each.requested_at, span(each.waiting_s)),
            *(each.departamento, f"{state_words(each.state)}, atrasado" if each.overdue else each.state),
        )
        for each in handoffs
    )
    return listing(console, names, rows)
