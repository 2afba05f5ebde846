"""What a process hears of its runs through others: at once on PostgreSQL, with its heartbeat everywhere."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.store.harness import REFUSED, Rig, postgresql
from worker.model import RunRef
from worker.store.sql import database as database_module


async def test_the_heartbeat_hears_how_often_a_run_was_woken(rig: Rig, neighbour: Rig) -> None:
    run = await rig.run()
    assert run.wake_count == 0
    for _ in range(2):
        await neighbour.announce("c1", "run_1", None)
    assert await rig.store.runs.renew("me", ["run_1"]) == {"run_1": 2}
    await rig.ago(1.0, "runs", "lease_until")
    assert (await neighbour.claimed()).wake_count == 2


async def test_a_watched_run_announced_again_is_new_to_the_process_that_takes_it_over(rig: Rig) -> None:
    await rig.run()
    await rig.ago(1000.0, "runs", "registered_at")
    await rig.announce("c1", "run_1", None)
    await rig.ago(1.0, "runs", "lease_until")
    assert (await rig.claimed()).known_s < 60


class _Wakes:
    """What a process hears of runs."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._news = asyncio.Event()

    def __call__(self, run_id: str) -> None:
        self.ids.append(run_id)
        self._news.set()

    async def until(self, run_id: str) -> None:
        async with asyncio.timeout(20):
            while run_id not in self.ids:
                self._news.clear()
                await self._news.wait()


async def _notify(rig: Rig, run_id: str) -> None:
    async with rig.store.database.write() as connection:
        await rig.store.database.notify(connection, run_id)


async def _notify_until_received(rig: Rig, wakes: _Wakes, run_id: str) -> None:
    """A listener that is not there yet hears nothing, and nobody tells when it is."""
    async with asyncio.timeout(20):
        while run_id not in wakes.ids:
            await _notify(rig, run_id)
            await asyncio.sleep(0.005)


@pytest.fixture
async def wakes(rig: Rig, neighbour: Rig) -> AsyncIterator[_Wakes]:
    """What `neighbour` hears, from when it surely listens."""
    received = _Wakes()
    listening = asyncio.create_task(neighbour.store.database.listen(received))
    await _notify_until_received(rig, received, "are you there?")
    yield received
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


@postgresql
async def test_a_process_learns_at_once_of_a_wake_up_that_another_received(rig: Rig, wakes: _Wakes) -> None:
    await rig.announce("c1", "run_1", None)
    await wakes.until("run_1")
    wakes.ids.clear()
    await rig.store.webhooks.record("wh_1", "run_1")
    await wakes.until("run_1")
    await rig.store.arrivals.watch_discovered("c1", RunRef("run_2", "thread_c1"))
    await wakes.until("run_2")
    record = await rig.settled(await rig.admit(await rig.run("run_3")), REFUSED)
    wakes.ids.clear()
    await rig.store.operators.retry(record.call_id)
    await wakes.until("run_3")


@postgresql
async def test_a_process_hears_nothing_of_what_was_undone(rig: Rig, wakes: _Wakes) -> None:
    async def undone() -> None:
        async with rig.store.database.write() as connection:
            await rig.store.database.notify(connection, "undone")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await undone()
    await rig.announce("c1", "run_1", None)
    await wakes.until("run_1")
    assert "undone" not in wakes.ids


@postgresql
async def test_a_process_whose_connection_broke_listens_again(
    rig: Rig, wakes: _Wakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_LISTEN_AGAIN_S", 0.0)
    async with rig.store.database.write() as connection:
        listeners = (
            "select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen ticket_worker'"
        )
        assert len((await connection.exec_driver_sql(listeners)).all()) == 1
    await _notify_until_received(rig, wakes, "again")


@postgresql
async def test_a_process_does_not_hear_itself(rig: Rig, neighbour: Rig, wakes: _Wakes) -> None:
    await neighbour.announce("c1", "run_1", None)
    await rig.announce("c1", "run_2", None)
    await wakes.until("run_2")
    assert "run_1" not in wakes.ids


@pytest.mark.parametrize("shared_database", ["sqlite"], indirect=True)
async def test_on_sqlite_nobody_else_could_tell_anything(rig: Rig) -> None:
    received = _Wakes()
    listening = asyncio.create_task(rig.store.database.listen(received))
    await rig.announce("c1", "run_1", None)
    assert not listening.done()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    assert received.ids == []
