"""Statements that the driver runs itself bring and keep what SQLAlchemy would."""

from typing import Any

import pytest
from sqlalchemy import Insert, Select, Update, bindparam, select, update

from tests.store.harness import DOCUMENT, Rig, postgresql
from worker.model import CallState
from worker.personal import Personal
from worker.store.sql import connections
from worker.store.sql.statements import prepared
from worker.store.sql.tables import Tables, now


@prepared
def _documents(tables: Tables, *names: str) -> Select[Any]:
    c = tables.conversations
    return select(c.c.conversation_id, c.c.document).where(c.c.conversation_id.in_(names))


@prepared
def _told(tables: Tables) -> Update:
    c = tables.conversations
    this = update(c).where(c.c.conversation_id == bindparam("this"), c.c.assistant.is_(None))
    return this.values(document=bindparam("said"), assistant="SUPORTE")


@prepared
def _decided(tables: Tables) -> Insert:
    given = ("call_key", "call_id", "platform_call_id", "run_id", "conversation_id", "tool", "exact")
    values = {name: bindparam(name) for name in given}
    return tables.calls.insert().values(**values, state=CallState.REJECTED, received_at=now())


@prepared
def _exact(tables: Tables) -> Select[Any]:
    t = tables.calls
    return select(t.c.exact, t.c.state).where(t.c.state.in_([CallState.REJECTED, CallState.DONE]))


async def test_what_is_sealed_is_opened_on_its_way_out_and_sealed_on_its_way_in(rig: Rig) -> None:
    async with rig.store.database.write() as connection:
        tables = rig.store.database.tables
        first = (await _documents(connection, tables, "c1")).first()
        assert (first.conversation_id, first.document) == ("c1", Personal(DOCUMENT))
        told = await _told(connection, tables, this="c1", said=Personal("11144477735"))
        assert (told.rows, told.rowcount) == ((), 1)
        assert (await _told(connection, tables, this="c1", said=None)).rowcount == 0
    row = await rig.row("conversations")
    assert (row.document, row.assistant) == (Personal("11144477735"), "SUPORTE")


async def test_nothing_found_is_no_row_and_no_value(rig: Rig) -> None:
    async with rig.store.database.read() as connection:
        found = await _documents(connection, rig.store.database.tables, "nobody")
    assert (found.rows, found.first(), found.scalar()) == ([], None, None)


async def test_each_variant_is_a_statement_of_its_own(rig: Rig) -> None:
    await rig.conversation("c2")
    async with rig.store.database.read(brief=True) as connection:
        tables = rig.store.database.tables
        counts = [
            len((await _documents(connection, tables, *names)).rows) for names in (["c1"], ["c1", "c2"])
        ]
    assert counts == [1, 2]


@pytest.mark.parametrize("exact", [True, False, None])
async def test_truth_values_are_truth_values_on_both_databases(rig: Rig, exact: bool | None) -> None:
    names = dict.fromkeys(
        ("call_key", "call_id", "platform_call_id", "run_id", "conversation_id", "tool"), "x"
    )
    async with rig.store.database.write() as connection:
        await _decided(connection, rig.store.database.tables, **names, exact=exact)
        (row,) = (await _exact(connection, rig.store.database.tables)).rows
    assert row.exact is exact
    assert row.state == CallState.REJECTED


async def test_constants_stand_in_the_statement_and_only_what_is_given_is_bound(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, run = rig.store.database.tables, []
    async with rig.store.database.write() as connection:
        driver = connections.driver_of(connection)
        execute = driver.execute
        monkeypatch.setattr(driver, "execute", lambda *said: run.append(said) or execute(*said))
        await _exact(connection, tables)
        await _told(connection, tables, this="c1", said=None)
    (asked, nothing), (told, given), *_ = run  # and a COMMIT
    assert not nothing
    assert len(given) == 2
    assert "IN ('rejected', 'done')" in asked
    assert "'SUPORTE'" in told


async def test_a_value_that_is_not_given_is_no_null(rig: Rig) -> None:
    with pytest.raises(KeyError):
        async with rig.store.database.write() as connection:
            await _told(connection, rig.store.database.tables, this="c1")


@postgresql
async def test_a_connection_that_died_in_a_pause_is_replaced_unseen(
    rig: Rig, neighbour: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig.store.database.read() as connection:
        mine = (await connection.exec_driver_sql("select pg_backend_pid()")).scalar_one()
    async with neighbour.store.database.write() as connection:
        ended = await connection.exec_driver_sql(f"select pg_terminate_backend({mine}, 5000)")
        assert ended.scalar_one() is True
    monkeypatch.setattr(connections, "_IDLE_S", -1.0)
    async with rig.store.database.read() as connection:
        assert (await connection.exec_driver_sql("select pg_backend_pid()")).scalar_one() != mine
