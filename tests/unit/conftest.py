"""What the store's tests ask for: one process at an open store, and another beside it."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.unit.store_harness import Desk, another
from worker.settings import Settings
from worker.store.store import Store


@pytest.fixture
async def desk(store: Store) -> Desk:
    """The store of each engine, with the conversation `c1` in it."""
    made = Desk(store)
    await made.conversation()
    return made


@pytest.fixture
async def neighbour(
    desk: Desk, database_url: str, make_settings: Callable[..., Settings]
) -> AsyncIterator[Desk]:
    """A second process on `desk`'s database."""
    async with another(make_settings(DATABASE_URL=database_url)) as made:
        yield made
