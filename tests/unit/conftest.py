"""What the store's tests ask for: one process at an open store, and others beside it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.unit.office import Office
from tests.unit.store_harness import Desk, OpenDesk
from worker.model import ThreadRule
from worker.settings import Settings
from worker.store.store import Store


@pytest.fixture
async def desk(store: Store) -> Desk:
    """The store of each engine, with the conversation `c1` in it."""
    made = Desk(store)
    await made.conversation()
    return made


@pytest.fixture
async def open_desk(database_url: str, make_settings: Callable[..., Settings]) -> AsyncIterator[OpenDesk]:
    """Opens a process at the database of this test, as it is; the first one with an `owner`."""
    async with AsyncExitStack() as stack:

        async def opened(
            name: str = "me",
            *,
            owner: bool = False,
            platform: str = "assistants",
            thread: ThreadRule = ThreadRule.REQUIRED,
            **changes: object,
        ) -> Desk:
            settings = make_settings(DATABASE_URL=database_url, **changes)
            store = await Store.open(settings, platform, owner=owner, thread=thread)
            stack.push_async_callback(store.close)
            return Desk(store, name)

        yield opened


@pytest.fixture
async def neighbour(desk: Desk, open_desk: OpenDesk) -> Desk:
    """A second process on `desk`'s database."""
    return await open_desk("other")


@pytest.fixture
def office(
    make_settings: Callable[..., Settings],
    database_file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Office:
    monkeypatch.chdir(tmp_path)
    return Office(make_settings, database_file)
