"""Rows of older versions get the hash that the log writes for their id (contract §14)."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from tests.fakes import call
from tests.store.harness import Rig, seeing
from worker.background import log_ids
from worker.log_fields import hidden_call_id, hidden_id, hidden_run_id
from worker.store.sql.tables import now
from worker.times import SystemClock
from worker.views import CallFilter

PHONES = [f"whatsapp-55249000000{number:02}" for number in range(5)]
"""Conversations; each has a run of that name with `run_` before it."""


@pytest.fixture
async def upgraded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A store with rows whose hashes an older version did not record."""
    monkeypatch.setattr("worker.store.log_ids._BATCH", 2)
    for phone in PHONES:
        await rig.conversation(phone)
        run = await rig.run(f"run_{phone}", phone)
        await rig.decided(run, replace(call(1), platform_call_id=f"call_{phone}"), seeing([]))
    await rig.decided(await rig.run("run_1"), call(1), seeing([]))
    for table in ("conversations", "runs", "calls"):
        await rig.change(table, {"log_id": None})
    return rig


class _NoPauses(SystemClock):
    async def sleep(self, _seconds: float) -> None:
        return


async def stored(rig: Rig) -> dict[str, str | None]:
    """The hashes of all rows by what they are the hashes of."""
    return {
        **{row.conversation_id: row.log_id for row in await rig.rows("conversations")},
        **{row.run_id: row.log_id for row in await rig.rows("runs")},
        **{row.platform_call_id: row.log_id for row in await rig.rows("calls")},
    }


async def fill(rig: Rig) -> None:
    await log_ids.fill(rig.store.log_ids, _NoPauses())


async def test_rows_of_an_older_version_get_the_hash_that_the_log_writes(upgraded: Rig) -> None:
    await fill(upgraded)
    hasher = upgraded.store.database.hasher
    hashes: dict[str, str | None] = {"c1": None, "run_1": None, "call_1": None}
    for phone in PHONES:
        hashes |= {
            phone: hidden_id(hasher, phone),
            f"run_{phone}": hidden_run_id(hasher, f"run_{phone}"),
            f"call_{phone}": hidden_call_id(hasher, f"call_{phone}"),
        }
    assert await stored(upgraded) == hashes
    assert list(hashes.values()).count(None) == 3
    hidden = hashes[f"call_{PHONES[0]}"]
    (found,), _ = await upgraded.store.records.calls(CallFilter(platform_call_id=hidden))
    assert found.platform_call_id == f"call_{PHONES[0]}"


async def test_the_walk_is_repeated_at_a_start_until_no_older_daemon_can_add_rows(upgraded: Rig) -> None:
    await fill(upgraded)
    assert await upgraded.store.log_ids.pending()
    await upgraded.change("runs", {"log_id": None}, run_id=f"run_{PHONES[3]}")
    await fill(upgraded)
    assert (await upgraded.row("runs", run_id=f"run_{PHONES[3]}")).log_id is not None
    await upgraded.ago(1.0, "upkeep", "due", task="log_ids")
    await fill(upgraded)
    assert not await upgraded.store.log_ids.pending()
    await upgraded.change("runs", {"log_id": None})
    await fill(upgraded)
    assert {row.log_id for row in await upgraded.rows("runs")} == {None}  # nothing was walked


async def test_two_daemons_fill_the_same_rows_side_by_side(upgraded: Rig, neighbour: Rig) -> None:
    ours, theirs = upgraded.store.log_ids, neighbour.store.log_ids
    await ours.fill("runs", after="")
    last: str | None = ""
    while last is not None:
        last = await theirs.fill("runs", after=last)
        await ours.fill("runs", after="")
    assert None not in [log_id for name, log_id in (await stored(upgraded)).items() if "run_what" in name]


@pytest.mark.parametrize("shared_database", ["postgresql"], indirect=True)
async def test_a_row_that_is_being_changed_is_not_waited_for_and_not_left_out(
    upgraded: Rig, neighbour: Rig
) -> None:
    runs = upgraded.store.database.tables.runs
    busy = f"run_{PHONES[1]}"
    async with neighbour.store.database.write() as connection:
        change = update(runs).where(runs.c.run_id == busy).values(due=now())
        await connection.execute(change)
        first = f"run_{PHONES[0]}"
        assert await upgraded.store.log_ids.fill("runs", after="") == first
        assert await upgraded.store.log_ids.fill("runs", after=first) == first
    assert await upgraded.store.log_ids.fill("runs", after=first) == f"run_{PHONES[3]}"
    assert (await upgraded.row("runs", run_id=busy)).log_id is not None


async def test_a_new_database_asks_for_one_walk_and_has_nothing_to_fill(rig: Rig) -> None:
    assert await rig.store.log_ids.pending()
    await fill(rig)
    assert await rig.store.log_ids.fill("runs", after="") is None
