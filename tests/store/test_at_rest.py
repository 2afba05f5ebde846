"""Personal values at rest: encrypted in every column, re-encrypted under a new key, and gone once erased."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text, update

from tests.databases import KEY
from tests.store.harness import DONE, HANDOFF, REFUSED, REJECTION, TICKET, OpenRig, Rig
from tests.system.personal_values import CNPJ, MASKED, PERSONAL, PHONE, URL
from worker.errors import ConfigError
from worker.model import Intent, Rejection, Run, RunState
from worker.personal import Personal
from worker.privacy import Vault, parse_document
from worker.store.personal_data.rekey import RekeyCounts
from worker.store.sql.tables import Sealed, Tables
from worker.store.store import Store

sqlite = pytest.mark.parametrize("unmade_database_url", ["sqlite"], indirect=True)

PERSONAL_JSON = Personal(f'{{"resumo": "{PERSONAL}"}}')
NEW_KEY = Fernet.generate_key().decode()

RECORD = {
    "index_key": "id wrapped",  # wrapped is encrypted, too
    "conversations": "conversation_id thread_id assistant document_hash attachment_at attachment_taken_by "
    "created_at updated_at active_at discover_due log_id",
    "runs": "run_id platform conversation_id thread_id state reason platform_status continues_as "
    "registered_at closed_at due owner lease_until lease_epoch wake submit_begun_at rounds log_id "
    "dismissed_reason dismissed_by dismissed_at",
    "calls": "call_key call_id platform_call_id run_id conversation_id tool kind state error protocolo "
    "extra_protocolo setor motivo departamento exact document_hash equal_key equal_to idempotency_key owner "
    "lease_until due checks retry_from retrying answered_success attempts maybe_sent erased received_at "
    "answered_at finished_at submitted_at log_id dismissed_reason dismissed_by dismissed_at",
    "attempts": "call_id attempt begun_at send_deadline ended_at result certain",
    "handoffs": "handoff_id call_id conversation_id departamento state requested_at accepted_at closed_at "
    "returned_at opens_at due_at overdue_at",
    "outbox": "seq event_id conversation_id body state created_at due tries result delivered_at owner "
    "lease_until",
    "reply_checks": "check_id conversation_id run_id source codes checked_at",
    "webhook_ids": "webhook_id received_at",
    "access_log": "id at reader subject",
    "erasures": "erasure_id conversation_id document_hash requested_by requested_at done_at report",
    "daemons": "owner started_at seen_at report",  # of DATA_KEYS only keyed hashes
    "upkeep": "task due",
}
"""The columns that are no payload, each judged: ids, codes, times, catalogue words, keyed hashes, figures."""


def test_every_column_is_encrypted_or_has_been_judged_to_be_record() -> None:
    clear = {
        table.name: {column.name for column in table.c if not isinstance(column.type, Sealed)}
        for table in Tables(Vault([KEY]), "sqlite").metadata.tables.values()
    }
    assert clear == {table: set(columns.split()) for table, columns in RECORD.items()}


# ------------------------------------------------------------------------------------- a database to search


@pytest.fixture
def database_url(unmade_database_url: str) -> str:
    """Of this test's own: what others have left in a file, or its key, is not asked here."""
    return unmade_database_url


@pytest.fixture
async def rig(open_rig: OpenRig) -> Rig:
    opened = await open_rig(owner=True)
    await opened.conversation()
    return opened


@pytest.fixture
async def full(open_rig: OpenRig) -> Rig:
    """A database in which every payload column holds something."""
    rig = await open_rig(owner=True, BOT_WEBHOOK_URL="http://127.0.0.1:9/eventos")
    await fill(rig)
    return rig


async def fill(rig: Rig) -> Run:
    """The run that is still watched."""
    known = {"client_document": parse_document(MASKED), "contact": Personal(PHONE)}
    await rig.conversation("c1", attachment_url=Personal(URL), **known)
    await rig.conversation("c2", client_document=Personal(CNPJ))
    run = await rig.run()
    for number, decision in enumerate((personal(TICKET), personal(HANDOFF), personal(REJECTION))):
        record = await rig.admit(run, number, decision)
        if not record.answered:
            await rig.settled(await rig.attempted(record), DONE, PERSONAL_JSON)
    await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    other = await rig.run("run_2", "c2")
    await rig.settled(
        await rig.attempted(await rig.admit(other, 9, personal(TICKET))), REFUSED, PERSONAL_JSON
    )
    return other


def personal(decision: Intent | Rejection) -> Intent | Rejection:
    if isinstance(decision, Rejection):
        return replace(decision, answer=PERSONAL_JSON)
    return replace(decision, body=PERSONAL_JSON, answer=decision.answer and PERSONAL_JSON)


async def sealed(rig: Rig) -> dict[str, list[bytes]]:
    """The ciphertexts, by column."""
    found: dict[str, list[bytes]] = {}
    async with rig.store.database.read() as connection:
        for table in rig.store.database.tables.metadata.tables.values():
            for column in (column for column in table.c if isinstance(column.type, Sealed)):
                there = text(f"select {column.name} from {table.name} where {column.name} is not null")
                tokens = [bytes(token) for token in (await connection.execute(there)).scalars()]
                found[f"{table.name}.{column.name}"] = tokens
    return found


# ------------------------------------------------------------------------------------------- gone from disk


@sqlite
async def test_what_is_erased_is_gone_from_the_disk_ciphertext_and_all(rig: Rig, tmp_path: Path) -> None:
    full, watched = rig, await fill(rig)
    before = [token for tokens in (await sealed(full)).values() for token in tokens]
    assert left_on_disk(before, tmp_path)
    for name in ("c1", "c2"):
        await full.store.erasures.erase_conversation(name, by="test")
    assert (await sealed(full))["calls.answer"] != []  # the second run's, which may ask again
    await full.lost(watched)
    assert not any((await sealed(full)).values())
    await full.store.database.checkpoint()
    assert not left_on_disk(before, tmp_path)


def left_on_disk(tokens: list[bytes], folder: Path) -> set[str]:
    """Files in which the beginning of a ciphertext is found, or of its second half: pages part long ones."""
    files = {path.name: path.read_bytes() for path in folder.glob("worker.db*")}
    parts = [part for token in tokens for part in (token[10:60], token[len(token) // 2 :][:50])]
    return {name for name, data in files.items() if any(part in data for part in parts)}


@sqlite
async def test_what_retention_took_is_gone_from_the_disk(full: Rig, tmp_path: Path) -> None:
    before = [token for tokens in (await sealed(full)).values() for token in tokens]
    await full.change("runs", {"state": "ended"})
    await full.ago(31 * 86_400.0, "calls", "finished_at")
    await full.ago(31 * 86_400.0, "conversations", "active_at")
    await full.store.retention.sweep()
    assert not any((await sealed(full)).values())
    assert not left_on_disk(before, tmp_path)


@sqlite
async def test_somebody_who_reads_an_older_view_only_delays_the_checkpoint(
    full: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.store.sql.database._CHECKPOINTS", 1)
    async with full.store.database.read() as connection:
        await connection.execute(text("select count(*) from calls"))
        await full.store.erasures.erase_conversation("c1", by="test")
        assert not await full.store.database.checkpoint()
    assert await full.store.database.checkpoint()


# --------------------------------------------------------------------------------------------------- rekey


async def _walked(store: Store) -> RekeyCounts:
    done = RekeyCounts()
    async for _ in store.rekey.walk(done):
        pass
    return done


async def test_after_a_rekey_the_first_key_alone_opens_everything(full: Rig, open_rig: OpenRig) -> None:
    values = sum(len(tokens) for tokens in (await sealed(full)).values())
    beside = await open_rig(DATA_KEYS=f"{NEW_KEY},{KEY}")
    assert await _walked(beside.store) == RekeyCounts(changed=values + 1)  # and the index key
    assert await _walked(beside.store) == RekeyCounts()
    alone = await open_rig(DATA_KEYS=NEW_KEY)
    conversation = await alone.store.records.conversation("c1", reader="test")
    assert conversation.contact == Personal(PHONE)
    assert {row.body for row in await alone.rows("calls")} == {PERSONAL_JSON, None}
    assert alone.store.database.hasher.digest("x", "y") == full.store.database.hasher.digest("x", "y")
    with pytest.raises(ConfigError):
        await open_rig(DATA_KEYS=KEY)


async def test_a_rekey_that_was_broken_off_goes_on_where_it_is_needed(
    full: Rig, open_rig: OpenRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.store.personal_data.rekey._BATCH", 1)
    values = sum(len(tokens) for tokens in (await sealed(full)).values())
    beside = await open_rig(DATA_KEYS=f"{NEW_KEY},{KEY}")
    first = RekeyCounts()
    async for _ in beside.store.rekey.walk(first):
        if first.changed > 4:
            break
    second = await _walked(beside.store)
    assert first.changed + second.changed == values + 1
    assert second.changed < values


async def test_what_the_daemon_writes_meanwhile_is_not_overwritten(full: Rig, open_rig: OpenRig) -> None:
    daemon = await open_rig(DATA_KEYS=f"{KEY},{NEW_KEY}")  # not started again with the new key in front
    beside = await open_rig(DATA_KEYS=f"{NEW_KEY},{KEY}")
    done, contact = RekeyCounts(), Personal("5524911112222")
    async for _ in beside.store.rekey.walk(done):  # between reading a batch and writing it
        await daemon.conversation("c1", contact=contact)
    assert done.overtaken >= 1
    assert (await daemon.store.records.conversation("c1", reader="test")).contact == contact
    assert (await _walked(beside.store)).changed >= 1


async def test_a_rekey_waits_crosswise_with_nobody(full: Rig, open_rig: OpenRig) -> None:
    if full.store.database.sqlite:
        pytest.skip("SQLite locks no rows")
    beside = await open_rig(DATA_KEYS=f"{NEW_KEY},{KEY}")
    calls = full.store.database.tables.calls
    first, *_, last = [row.call_key for row in await full.rows("calls")]
    async with full.store.database.write() as daemon:
        await daemon.execute(update(calls).where(calls.c.call_key == last).values(error="last"))
        assert (await _walked(beside.store)).overtaken >= 1
        await daemon.execute(update(calls).where(calls.c.call_key == first).values(error="first"))
    assert (await _walked(beside.store)).changed >= 1
    assert await _walked(beside.store) == RekeyCounts()


async def test_a_value_that_no_key_opens_is_counted_and_left(full: Rig, open_rig: OpenRig) -> None:
    async with full.store.database.write() as connection:
        spoilt = text("update handoffs set motivo = :m")
        await connection.execute(spoilt, {"m": b"gAAAAA"})
    beside = await open_rig(DATA_KEYS=f"{NEW_KEY},{KEY}")
    assert (await _walked(beside.store)).unreadable == 1
    assert (await _walked(beside.store)) == RekeyCounts(unreadable=1)
