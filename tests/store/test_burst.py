"""A burst of calls waits its turn for a connection, and never keeps the heartbeat from its own."""

import asyncio
from contextlib import AsyncExitStack

from sqlalchemy import text

from tests.store.harness import Rig
from worker.store.sql.connections import CONNECTIONS


async def test_more_readers_than_connections_are_all_served(rig: Rig) -> None:
    views = [rig.store.records.conversation("c1", reader="test") for _ in range(10 * CONNECTIONS)]
    assert {view.conversation_id for view in await asyncio.gather(*views)} == {"c1"}


async def test_the_heartbeat_gets_through_while_every_other_connection_is_taken(rig: Rig) -> None:
    await rig.run()
    async with AsyncExitStack() as busy:
        for _ in range(CONNECTIONS - 1):
            connection = await busy.enter_async_context(rig.store.database.read())
            await connection.execute(text("select 1"))
        async with asyncio.timeout(20):
            assert set(await rig.store.runs.renew("me", ["run_1"])) == {"run_1"}


async def test_a_process_that_freezes_in_a_transaction_lets_go_of_its_rows(rig: Rig) -> None:
    """PostgreSQL ends the transaction of an idle client; SQLite has one owner, whose death frees the lock."""
    if rig.store.database.sqlite:
        return
    async with rig.store.database.read() as connection:
        limit = (await connection.execute(text("show idle_in_transaction_session_timeout"))).scalar()
    assert limit == "10s"
