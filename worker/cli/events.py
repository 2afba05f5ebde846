"""`events`: lets an operator read the events for the bot and decide about stuck ones (contract §14).

Every verb returns its exit code and raises `ConfigError`, `RequestRefused` and `StoreError`.
"""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from worker.cli.database import NO_DAEMON, beside, daemon_lives
from worker.cli.exit_codes import Exit
from worker.cli.output import coded, listing, plural, print_done, print_page
from worker.model import EventState
from worker.settings import Settings
from worker.store.store import Store
from worker.web.dashboard.words import EVENT_KINDS
from worker.web.pagination import cursor_text
from worker.web.responses import Event, EventPage


async def list_events(
    settings: Settings, console: Console, *, stuck: bool, limit: int, as_json: bool
) -> Exit:
    """The newest events; as JSON, a page of `GET /v1/events`."""
    zone = ZoneInfo(settings.TIMEZONE)
    async with beside(settings) as store:
        views, cursor = await store.events.list(state=EventState.STUCK if stuck else None, limit=limit)
    page = EventPage(items=[Event.of(view, zone) for view in views], next_cursor=cursor_text(cursor))
    print_page(page, _rows(console, page.items), console, as_json=as_json)
    return Exit.DONE


async def retry_event(settings: Settings, console: Console, event_id: str) -> Exit:
    """Ask the daemon to deliver one stuck event again."""
    async with beside(settings) as store:
        await store.events.retry(event_id)
        return await _requested(store, console, 1)


async def retry_events(settings: Settings, console: Console) -> Exit:
    """Ask the daemon to deliver all stuck events again."""
    async with beside(settings) as store:
        return await _requested(store, console, await store.events.retry_all())


async def discard_event(settings: Settings, console: Console, event_id: str) -> Exit:
    """Discard one stuck event."""
    async with beside(settings) as store:
        await store.events.discard(event_id)
    print_done(console, f"Aviso {event_id} descartado: o bot não o recebe")
    return Exit.DONE


async def _requested(store: Store, console: Console, count: int) -> Exit:
    if not count:
        console.print("Nenhum aviso está parado: nada a entregar de novo.")
        return Exit.DONE
    print_done(console, f"{plural(count, 'aviso será entregue', 'avisos serão entregues')} de novo")
    if not await daemon_lives(store):
        console.print(NO_DAEMON, soft_wrap=True)
        return Exit.ACCEPTED
    return Exit.DONE


def _rows(console: Console, events: Sequence[Event]) -> Table:
    names = ("aviso", "conversa", "criado", "estado", "tipo", "última entrega")
    rows = (
        (
            *(each.event_id, each.conversation_id, each.created_at, each.state),
            *(coded(EVENT_KINDS.get(each.type), each.type), each.result),
        )
        for each in events
    )
    return listing(console, names, rows)
