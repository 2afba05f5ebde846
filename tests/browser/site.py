"""A dashboard that is served over a real ledger, and pages of a real browser on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page
from sqlalchemy import text

from tests.asgi import api_over
from tests.browser import ledger
from worker import logs
from worker.metrics import Vitals
from worker.settings import Settings
from worker.store.store import Store
from worker.web.dependencies import Setup
from worker.web.server import serve

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOKEN = "s3cret"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
REFRESH_MS = 6000
"""Longer than an open page waits until it refreshes."""
NEW_SETUP = Setup(platform_key=True, crm=True)
FULL_SETUP = Setup(
    platform_key=True,
    crm=True,
    lookup=True,
    bot=True,
    assistants=("FINANCEIRO", "SUPORTE", "RECEPCAO"),
    conversation_url="https://chat.example/c/{conversation_id}",
)


@dataclass
class Site:
    """A served dashboard, its ledger, and the state of the process as the test sets it."""

    store: Store
    vitals: Vitals = field(default_factory=Vitals)
    #: The run loop works.
    alive: bool = True
    url: str = ""
    #: Ends the server.
    stop: Callable[[], Any] = lambda: None

    async def add(self, day: ledger.Day) -> None:
        """Write the rows of `day` into the ledger."""
        await day.write(self.store)

    async def add_failed_call(self) -> str:
        """Add a call that failed a minute ago; returns its id."""
        day = ledger.Day()
        day.failed(day.now - 60, [("connect", 0.1)])
        await self.add(day)
        return str(day.rows["calls"][0]["call_id"])

    async def add_lost_run(self) -> str:
        """Add a run that was lost ten minutes ago; returns its id."""
        day = ledger.Day()
        day.lost(600, "expirada")
        await self.add(day)
        return str(day.rows["runs"][0]["run_id"])

    async def add_handoff(self, accepted_s: float | None = None) -> str:
        """Add a request of five minutes ago, accepted `accepted_s` seconds ago; returns its id."""
        day = ledger.Day()
        day.handoff(300, "financeiro", accepted_s=accepted_s)
        await self.add(day)
        return str(day.rows["handoffs"][0]["handoff_id"])

    async def add_undelivered_event(self) -> str:
        """Add an event that the bot has not accepted for 80 hours; returns its id."""
        day = ledger.Day()
        day.undelivered(80 * ledger.HOUR_S, "ticket.opened")
        await self.add(day)
        return str(day.rows["outbox"][0]["event_id"])

    async def execute(self, statement: str) -> None:
        """Change the database behind the worker's back."""
        async with self.store.database.write() as connection:
            await connection.execute(text(statement))

    async def change_call(self, call_id: str, **columns: object) -> None:
        """Change a call's row as the daemon would."""
        calls = self.store.database.tables.calls
        async with self.store.database.write() as connection:
            await connection.execute(calls.update().where(calls.c.call_id == call_id).values(**columns))


@contextlib.asynccontextmanager
async def serve_site(settings: Settings, setup: Setup) -> AsyncIterator[Site]:
    """A dashboard over an empty ledger, on a free port."""
    store = await Store.open(settings, "assistants", owner=True)
    logs.use_hasher(store.database.hasher)
    site = Site(store, Vitals(runs_watched=12, compared=3, platform_failing=False))
    api = api_over(store, token=TOKEN, vitals=lambda: site.vitals, alive=lambda: site.alive, setup=setup)
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(api, "127.0.0.1", 0, on_started=started.set_result))
    site.url, site.stop = await started, task.cancel
    try:
        yield site
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await store.close()
        logs.shutdown()


@dataclass
class OpenPage:
    """A page in the browser; records its requests and errors."""

    page: Page
    site: Site
    #: Addresses of everything that the page loaded.
    requests: list[str] = field(default_factory=list)
    #: Messages of the console and exceptions of the script.
    errors: list[str] = field(default_factory=list)

    async def go(self, path: str) -> None:
        await self.page.goto(self.site.url + path)

    async def overflow(self) -> int:
        """How many pixels of the page lie beyond its right edge."""
        pixels: int = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return pixels

    async def focused(self) -> str:
        """The id of the element that has the focus, or its tag's name."""
        name: str = await self.page.evaluate("document.activeElement.id || document.activeElement.tagName")
        return name

    async def refresh(self) -> None:
        """Let the time pass until the page refreshes, and wait until it has read the answer."""
        async with self.page.expect_event(
            "requestfinished", lambda request: request.resource_type == "fetch"
        ):
            await self.page.clock.fast_forward(REFRESH_MS)

    async def press(self, key: str, until: str, at_most: int = 60) -> None:
        """Press `key` until the element with the id `until` has the focus."""
        for _ in range(at_most):
            if await self.focused() == until:
                return
            await self.page.keyboard.press(key)
        raise AssertionError(f"{until} cannot be reached with {key}")


async def open_page(browser: Browser, site: Site, path: str = "/", **options: Any) -> OpenPage:
    """A page in a session of its own. `options`: of the browser's context."""
    context = await browser.new_context(
        http_credentials={"username": "ana", "password": TOKEN}, **{"viewport": DESKTOP, **options}
    )
    opened = OpenPage(await context.new_page(), site)
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("console", lambda message: opened.errors.append(message.text))
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    await opened.page.clock.install()
    await opened.go(path)
    return opened
