"""/docs in a real browser: it works from our own files and loads nothing from elsewhere."""

from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Browser

from tests.browser.site import TOKEN, Site, open_page

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.untraced]


async def test_the_docs_render_every_call_and_no_request_leaves_loopback(
    site: Site, browser: Browser
) -> None:
    opened = await open_page(browser, site, "/docs")
    page = opened.page
    await page.locator(".opblock").first.wait_for()
    paths = await page.locator(".opblock-summary-path").all_inner_texts()
    async with httpx.AsyncClient(auth=("ana", TOKEN)) as client:
        description = (await client.get(f"{site.url}/openapi.json")).json()
    operations = [*description["paths"].values(), *description["webhooks"].values()]
    assert len(paths) == sum(len(calls) for calls in operations)
    assert any("/v1/handoffs" in path for path in paths)
    assert any("ticket.opened" in path.replace("\u200b", "") for path in paths)

    await page.locator("#operations-saúde-livez .opblock-summary-control").click()
    await page.get_by_role("button", name="Try it out").click()
    await page.get_by_role("button", name="Execute").click()
    status = page.locator(".live-responses-table .response-col_status")
    await status.last.wait_for()
    assert "200" in await status.last.inner_text()

    assert {urlsplit(address).hostname for address in opened.requests} - {None} == {"127.0.0.1"}
    assert {urlsplit(address).scheme for address in opened.requests} <= {"http", "data", "blob"}
    assert opened.errors == []
