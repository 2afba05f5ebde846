"""Writes the dashboard's pages from their templates, with headers that allow only our own files."""

import functools
import re
from datetime import tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from worker import __version__
from worker.catalog.opening_hours import in_words
from worker.kpis import KPIS, Unit
from worker.model import ToolKind
from worker.views import COUNTED_UP_TO, DismissReason
from worker.web.dashboard import runbooks, timeline, words

LISTED = 20
"""Rows of a list on the first page; the list's own pages have all of them."""

GLANCE = 5
"""Rows of what waits for a person that are visible before “Mostrar mais” is opened."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}


def html(template: str, zone: tzinfo, now: float, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page. `root` leads from its address to the dashboard's: empty, or `../` for each folder below it."""
    context: dict[str, Any] = {"root": "", "now": now, "version": __version__}
    context |= {
        "clock": lambda at: words.clock(at, zone, now),
        "day": lambda at: words.day(at, zone),
        "in_words": lambda at: in_words(at, zone),
    }
    text = environment().get_template(template).render(**context | values)
    return HTMLResponse(text, status, headers=HEADERS)


def marked(text: str) -> Markup:
    """A runbook's sentence: `code` and *buttons*; links within the manual are only their words here."""
    safe = re.sub(r"\[([^\]]+)\]\(#[^)]*\)", r"\1", str(escape(text)))
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return Markup(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", safe))  # noqa: S704  # escaped above


def limited_count(count: int, one: str, many: str) -> str:
    """`1 chamada`, `2 chamadas`; above the number up to which the store counts, `1000 ou mais chamadas`."""
    return f"{COUNTED_UP_TO} ou mais {many}" if count >= COUNTED_UP_TO else words.plural(count, one, many)


@functools.cache
def environment() -> Environment:
    """The templates, with the words they use."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "lasting": words.lasting,
        "count": Unit.COUNT.written,
        "path": lambda text: quote(str(text), safe=""),
        "marked": marked,
    }
    templates.filters |= filters
    templates.globals |= {
        "safe_id": lambda value: words.safe("conversation_id", value),
        "safe_run": lambda value: words.safe("run_id", value),
        "safe_tool": lambda value: words.safe("tool", value),
        "steps": timeline.steps,
        "subject": timeline.subject,
        "limited_count": limited_count,
        "handoff_look": words.handoff_look,
        "STATES": words.STATES,
        "RUN_STATES": words.RUN_STATES,
        "HANDOFF_STATES": words.HANDOFF_STATES,
        "EVENT_STATES": words.EVENT_STATES,
        "REASONS": words.LOST_REASONS,
        "REPLY_CODES": words.REPLY_CODES,
        "DISMISSALS": words.DISMISSALS,
        "EVENT_KINDS": words.EVENT_KINDS,
        "VERDICTS": words.VERDICTS,
        "runbook_of": runbooks.runbook_of,
        "NEEDS_PERSON": runbooks.NEEDS_PERSON,
        "RUNBOOKS": runbooks.RUNBOOKS,
        "KPIS": KPIS,
        "LISTED": LISTED,
        "GLANCE": GLANCE,
        "TICKET": ToolKind.TICKET,
        "DismissReason": DismissReason,
    }
    return templates
