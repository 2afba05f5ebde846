"""One browser for each module: it takes longer to start than most of the tests take."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.site import CHROMIUM, CHROMIUM_OPTIONS, FULL_SETUP, NEW_SETUP, Site, serve_site
from worker.metrics import Vitals
from worker.settings import Settings


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"BROWSER TESTS SKIPPED: {CHROMIUM} is not installed")
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_OPTIONS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """The module's browser, without open pages before and after the test."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def site(make_settings: Callable[..., Settings]) -> AsyncIterator[Site]:
    """A dashboard of a worker in use."""
    async with serve_site(make_settings(), FULL_SETUP) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="module")
async def new_site(make_settings: Callable[..., Settings]) -> AsyncIterator[Site]:
    """A dashboard in the first minute of a new worker: only what it needs to start is configured."""
    async with serve_site(make_settings(), NEW_SETUP) as site:
        site.vitals = Vitals()
        yield site
