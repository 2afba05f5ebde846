"""What is held about a person, as that person may have it; and who has read it."""

import re
from pathlib import Path

import pytest

from tests.store.harness import DOCUMENT, DONE, HANDOFF, TICKET, OpenRig, Rig
from worker.errors import RequestRefused
from worker.model import RunState
from worker.personal import Personal

MARIA, PHONE, OTHER = Personal(DOCUMENT), Personal("5524997135826"), Personal("11144477735")


@pytest.fixture
async def full(open_rig: OpenRig) -> Rig:
    """Maria's conversation c1, with a ticket and a hand-off; somebody else's c2, with a ticket."""
    rig = await open_rig(owner=True, BOT_WEBHOOK_URL="http://127.0.0.1:9/eventos")
    await rig.conversation("c1", contact=PHONE)
    await rig.conversation("c2", client_document=OTHER)
    run = await rig.run()
    await rig.settled(await rig.attempted(await rig.admit(run)), DONE)
    await rig.admit(run, 2, HANDOFF)
    await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    await rig.admit(await rig.run("run_2", "c2"), 9)
    return rig


async def test_an_export_holds_everything_about_a_document_and_nothing_of_others(full: Rig) -> None:
    held = await full.store.export.of_document(MARIA, reader="ana@cli")
    (conversation,) = held["conversations"]
    assert (conversation["document"], conversation["contact"]) == (MARIA, PHONE)
    assert {row["body"] for row in held["calls"]} == {TICKET.body, HANDOFF.body}
    assert [row["motivo"] for row in held["handoffs"]] == [HANDOFF.body]
    assert [row["run_id"] for row in held["runs"]] == ["run_1"]
    assert len(held["attempts"]) == 1
    assert {row["conversation_id"] for row in held["events"]} == {"c1"}
    assert [row["reader"] for row in held["access_log"]] == ["ana@cli"]


async def test_an_export_shows_who_has_read_before_and_what_was_erased(full: Rig) -> None:
    await full.store.records.conversation("c1", reader="bot@127.0.0.1")
    (handoff,) = await full.rows("handoffs")
    await full.store.records.handoff(handoff.handoff_id, reader="joao@10.0.0.7")
    held = await full.store.export.of_document(MARIA, reader="ana@cli")
    assert [row["reader"] for row in held["access_log"]] == ["bot@127.0.0.1", "joao@10.0.0.7", "ana@cli"]
    await full.store.erasures.erase_conversation("c1", by="ana@cli")
    after = await full.store.export.of_document(MARIA, reader="ana@cli")
    assert after["conversations"] == []
    assert {row["document_hash"] is not None for row in after["calls"]} == {True}
    assert [row["requested_by"] for row in after["erasures"]] == ["ana@cli"]


async def test_of_a_document_that_is_not_held_nothing_is_exported_nor_entered(full: Rig) -> None:
    with pytest.raises(RequestRefused, match="nao_encontrado"):
        await full.store.export.of_document(Personal("39053344705"), reader="ana@cli")
    assert await full.store.accesses.entries() == []


async def test_the_access_log_tells_the_newest_first(full: Rig) -> None:
    for reader in ("a", "b"):
        await full.store.records.conversation("c1", reader=reader)
    await full.store.records.conversation("c2", reader="c")  # masked: nothing was read
    entries = await full.store.accesses.entries()
    assert [(entry.reader, entry.subject) for entry in entries] == [("b", "c1"), ("a", "c1")]


def test_nothing_but_retention_can_take_an_entry_out_of_the_access_log() -> None:
    """Every module that knows the table, by what it does with it: it adds, it reads, or it is retention."""
    store = Path(__file__).parents[2] / "worker" / "store"
    modules = [path for path in store.rglob("*.py") if "migrations" not in path.parts]
    sources = {path.name: path.read_text(encoding="utf-8") for path in modules}
    names_table = re.compile(r"^(?!from ).*access_log", re.MULTILINE)
    knows = {name for name, source in sources.items() if names_table.search(source)}
    assert knows == {"tables.py", "access_log.py", "export.py", "retention.py"}
    for module in ("access_log.py", "export.py"):
        assert "delete" not in sources[module]
        assert "update" not in sources[module]
