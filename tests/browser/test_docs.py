"""/docs in a real browser: it works from our own files, and asks nobody else for anything."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.asgi import api_over
from worker.store.store import Store
from worker.web.server import serve

CHROMIUM = Path("/usr/bin/chromium")
if not CHROMIUM.exists():
    pytest.skip("BROWSER TESTS SKIPPED: /usr/bin/chromium is not installed", allow_module_level=True)
playwright = pytest.importorskip(
    "playwright.async_api", reason="BROWSER TESTS SKIPPED: playwright is not installed"
)

TOKEN = "s3cret"
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def url(sqlite_store: Store) -> AsyncIterator[str]:
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    api = api_over(sqlite_store, token=TOKEN)
    task = asyncio.create_task(serve(api, "127.0.0.1", 0, on_started=started.set_result))
    yield await started
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def page() -> AsyncIterator["playwright.Page"]:
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        context = await browser.new_context(http_credentials={"username": "ana", "password": TOKEN})
        yield await context.new_page()
        await browser.close()


async def test_the_docs_render_every_call_and_no_request_leaves_loopback(
    url: str, page: "playwright.Page"
) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    await page.goto(f"{url}/docs")
    await page.locator(".opblock").first.wait_for()
    shown = await page.locator(".opblock-summary-path").all_inner_texts()
    async with httpx.AsyncClient(auth=("ana", TOKEN)) as client:
        description = (await client.get(f"{url}/openapi.json")).json()
    described = [*description["paths"].values(), *description["webhooks"].values()]
    assert len(shown) == sum(len(calls) for calls in described)
    assert any("/v1/handoffs" in path for path in shown)
    assert any("ticket.opened" in path.replace("\u200b", "") for path in shown)

    await page.locator("#operations-saúde-livez .opblock-summary-control").click()
    await page.get_by_role("button", name="Try it out").click()
    await page.get_by_role("button", name="Execute").click()
    answer = page.locator(".live-responses-table .response-col_status")
    await answer.last.wait_for()
    assert "200" in await answer.last.inner_text()

    assert {urlsplit(address).hostname for address in asked} - {None} == {"127.0.0.1"}
    assert {urlsplit(address).scheme for address in asked} <= {"http", "data", "blob"}
    assert complaints == []
