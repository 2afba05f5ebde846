"""`replies`: lists the suspect replies for an operator (contract §10). Their texts are not stored."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from worker.cli.database import beside, since_option
from worker.cli.exit_codes import Exit
from worker.cli.output import coded, listing, print_page
from worker.model import ReplySource
from worker.settings import Settings
from worker.web.dashboard.words import REPLY_CODES
from worker.web.pagination import cursor_text
from worker.web.responses import SuspectReply, SuspectReplyPage

_SOURCES = {ReplySource.API: "antes do envio", ReplySource.RUN: "depois de dita ao cliente"}
"""When a reply was checked, for people."""


async def list_replies(
    settings: Settings, console: Console, *, since: str | None, limit: int, as_json: bool
) -> Exit:
    """The newest suspect replies. Raises `ConfigError` and `StoreError`."""
    zone = ZoneInfo(settings.TIMEZONE)
    begin = None if since is None else since_option(since, zone)
    async with beside(settings) as store:
        views, cursor = await store.replies.suspects(limit=limit, since=begin)
    items = [SuspectReply.of(view, zone) for view in views]
    page = SuspectReplyPage(items=items, next_cursor=cursor_text(cursor))
    print_page(page, _rows(console, items), console, as_json=as_json)
    return Exit.DONE


def _rows(console: Console, replies: Sequence[SuspectReply]) -> Table:
    names = ("conferida", "conversa", "execução", "quando", "o que diz")
    rows = (
        (
            *(each.checked_at, each.conversation_id, each.run_id, _SOURCES[each.source]),
            "; ".join(coded(REPLY_CODES.get(code), code) for code in each.codes),
        )
        for each in replies
    )
    return listing(console, names, rows)
