"""SQLite's transactions share a commit, and nothing else."""

import asyncio
import sqlite3

import pytest

from tests.store.harness import Rig
from worker.errors import StoreError
from worker.store.sql.connections import InPlace
from worker.store.store import Store

pytestmark = pytest.mark.parametrize("shared_database", ["sqlite"], indirect=True)

_ADD = "insert into webhook_ids (webhook_id, received_at) values (?, 0)"


async def _write(store: Store, name: str, *, then: Exception | None = None) -> None:
    async with store.database.write() as connection:
        await connection.exec_driver_sql(_ADD, (name,))
        if then is not None:
            raise then


async def _names(rig: Rig) -> set[str]:
    return {row.webhook_id for row in await rig.rows("webhook_ids")}


def _commits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every COMMIT from now on."""
    commits: list[str] = []
    execute = InPlace._execute

    async def hear(self: InPlace, fn: object, *args: object, **kwargs: object) -> object:
        if args and args[0] == "COMMIT":
            commits.append("COMMIT")
        return await execute(self, fn, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(InPlace, "_execute", hear)
    return commits


async def test_transactions_that_wait_share_one_commit(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = _commits(monkeypatch)
    await asyncio.gather(*(_write(rig.store, f"w{n}") for n in range(20)))
    assert len(await _names(rig)) == 20
    assert len(commits) <= 2


async def test_one_that_fails_takes_none_of_its_group_with_it(rig: Rig) -> None:
    failing = {3, 7}
    results = await asyncio.gather(
        *(_write(rig.store, f"w{n}", then=ZeroDivisionError() if n in failing else None) for n in range(10)),
        return_exceptions=True,
    )
    assert [n for n, result in enumerate(results) if result is not None] == [3, 7]
    assert await _names(rig) == {f"w{n}" for n in range(10) if n not in failing}


async def test_one_that_breaks_a_constraint_takes_none_of_its_group_with_it(rig: Rig) -> None:
    names = ["a", "b", "a", "c"]
    results = await asyncio.gather(*(_write(rig.store, name) for name in names), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), type(None), StoreError, type(None)]
    assert await _names(rig) == {"a", "b", "c"}


async def test_nobody_goes_on_before_the_commit_is_seen_by_others(rig: Rig) -> None:
    async def write_and_look(name: str) -> bool:
        await _write(rig.store, name)
        with sqlite3.connect(rig.store.database.url.database or "") as other:
            seen = other.execute("select count(*) from webhook_ids where webhook_id = ?", (name,)).fetchone()
        other.close()
        return bool(seen[0])

    assert all(await asyncio.gather(*(write_and_look(f"w{n}") for n in range(10))))


async def test_whoever_began_a_group_may_be_cancelled_and_the_others_are_committed(rig: Rig) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with rig.store.database.write() as connection:
            await connection.exec_driver_sql(_ADD, ("cancelled",))
            inside.set()
            await leave.wait()

    began = asyncio.create_task(first())
    await inside.wait()
    others = [asyncio.create_task(_write(rig.store, f"w{n}")) for n in range(3)]
    await asyncio.sleep(0)
    began.cancel()
    await asyncio.gather(*others)
    with pytest.raises(asyncio.CancelledError):
        await began
    assert await _names(rig) == {"w0", "w1", "w2"}


async def test_whoever_is_cancelled_while_the_disk_is_awaited_has_written(rig: Rig) -> None:
    written = asyncio.Event()

    async def write() -> None:
        async with rig.store.database.write() as connection:
            await connection.exec_driver_sql(_ADD, ("w",))
            written.set()

    task = asyncio.create_task(write())
    await written.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _write(rig.store, "next")
    assert await _names(rig) == {"w", "next"}


async def test_one_cancelled_in_the_queue_has_written_nothing(rig: Rig) -> None:
    async with rig.store.database.write():
        waiting = asyncio.create_task(_write(rig.store, "w"))
        await asyncio.sleep(0)
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await _names(rig) == set()


async def test_where_sqlite_undid_the_whole_group_nobody_of_it_is_told_that_it_wrote(rig: Rig) -> None:
    async def undo_all() -> None:
        async with rig.store.database.write() as connection:
            await connection.exec_driver_sql("ROLLBACK")  # as SQLite does by itself when the disk is full
            raise OSError

    results = await asyncio.gather(
        _write(rig.store, "before"), undo_all(), _write(rig.store, "after"), return_exceptions=True
    )
    assert [type(result) for result in results] == [StoreError] * 3
    assert await _names(rig) == set()
    await _write(rig.store, "next")
    assert await _names(rig) == {"next"}


async def test_a_store_closed_right_after_a_write_that_failed_leaves_no_connection_open(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[InPlace] = []
    close = InPlace.close

    async def note(self: InPlace) -> None:
        closed.append(self)
        await close(self)

    monkeypatch.setattr(InPlace, "close", note)
    with pytest.raises(ZeroDivisionError):
        await _write(store, "w", then=ZeroDivisionError())
    await store.close()
    assert closed


async def test_while_another_process_holds_the_file_the_loop_goes_on(rig: Rig) -> None:
    other = sqlite3.connect(rig.store.database.url.database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(_write(rig.store, "w"))
    for _ in range(10):
        await asyncio.sleep(0.01)
    assert not waiting.done()
    other.execute("COMMIT")
    other.close()
    await waiting
    assert await _names(rig) == {"w"}


async def test_a_commit_that_fails_leaves_no_transaction_open(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = InPlace._execute

    async def fail(self: InPlace, fn: object, *args: object, **kwargs: object) -> object:
        if args and args[0] == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return await execute(self, fn, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(InPlace, "_execute", fail)
    with pytest.raises(StoreError):
        await _write(rig.store, "lost")
    monkeypatch.undo()
    await _write(rig.store, "next")
    assert await _names(rig) == {"next"}


async def test_a_group_that_cannot_begin_fails_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: InPlace) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(InPlace, "begin", fail)
    with pytest.raises(StoreError):
        await _write(rig.store, "lost")
    monkeypatch.undo()
    await _write(rig.store, "next")
    assert await _names(rig) == {"next"}
