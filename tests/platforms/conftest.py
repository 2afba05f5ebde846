"""What the tests of single adapters ask for: a server that answers as it is told."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.raw_server import Wire, listening


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Wire]:
    async with listening() as wire:
        yield wire


@pytest.fixture
def wire(server: Wire) -> Wire:
    """The server of this file's tests, as nobody had asked it anything yet."""
    server.forget()
    return server
