"""How a database is opened, locked, migrated and written to."""

import asyncio
import gc
import os
import stat
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cryptography.fernet import Fernet
from sqlalchemy import Connection, inspect, make_url, text

from tests.databases import KEY
from tests.store.harness import DONE, HANDOFF, TICKET, Rig, postgresql
from worker.errors import ConfigError, StoreError, StoreUnavailable
from worker.personal import Personal
from worker.privacy import Vault
from worker.settings import Settings
from worker.store import migrations
from worker.store.patience import patient
from worker.store.sql import database as database_module
from worker.store.sql.database import Database
from worker.store.sql.refusals import Refusal, may_pass, outage_of, why_no_connection
from worker.store.store import Store

MakeSettings = Callable[..., Settings]

sqlite = pytest.mark.parametrize("shared_database", ["sqlite"], indirect=True)


async def _open(settings: Settings, *, owner: bool = True) -> Store:
    return await Store.open(settings, "assistants", owner=owner)


async def _refusal(settings: Settings, *, owner: bool = True) -> str:
    """The sentence an operator reads when this database is not opened."""
    with pytest.raises(ConfigError) as refused:
        await _open(settings, owner=owner)
    (sentence,) = refused.value.problems
    return sentence


async def _raw(store: Store, statement: str) -> None:
    async with store.database.write() as connection:
        await connection.exec_driver_sql(statement)


def _names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _file_of(settings: Settings) -> Path:
    return Path(settings.DATABASE_URL.removeprefix("sqlite:///"))


# ------------------------------------------------------------------------------------------ who may open it


async def test_a_second_daemon_on_the_same_file_is_told_who_holds_it(make_settings: MakeSettings) -> None:
    first = await _open(make_settings())
    sentence = await _refusal(make_settings())
    assert f"pid {os.getpid()}" in sentence
    assert "worker.db" in sentence
    await first.close()
    await (await _open(make_settings())).close()


@pytest.mark.parametrize("where", ["file", "folder"])
async def test_a_second_daemon_by_another_path_to_the_same_file_is_told_as_well(
    make_settings: MakeSettings, tmp_path: Path, where: str
) -> None:
    first = await _open(make_settings())
    path = _file_of(make_settings())
    other = tmp_path / "other"
    if where == "file":
        other.symlink_to(path)
    else:
        other.symlink_to(path.parent)
        other = other / path.name
    sentence = await _refusal(make_settings(DATABASE_URL=f"sqlite:///{other}"))
    assert f"pid {os.getpid()}" in sentence
    await first.close()


async def test_a_command_opens_the_file_beside_the_daemon(make_settings: MakeSettings) -> None:
    daemon = await _open(make_settings())
    await Rig(daemon).conversation()
    beside = await _open(make_settings(), owner=False)
    assert (await beside.records.conversation("c1", reader="test")).thread_id == "thread_c1"
    await beside.close()
    await daemon.close()


async def test_a_command_without_a_daemon_before_it_creates_nothing_and_says_what_to_do(
    unmade_database_url: str, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(DATABASE_URL=unmade_database_url)
    assert "ticket-worker run" in await _refusal(settings, owner=False)
    assert _names_in(tmp_path) == []
    await (await _open(settings)).close()


async def test_a_command_migrates_nothing(database_url: str, make_settings: MakeSettings) -> None:
    settings = make_settings(DATABASE_URL=database_url)
    store = await _open(settings)
    await _raw(store, "delete from alembic_version")
    assert "ticket-worker run" in await _refusal(settings, owner=False)
    await store.close()


async def test_the_lock_file_of_a_daemon_that_died_locks_nobody_out(make_settings: MakeSettings) -> None:
    lock = _file_of(make_settings()).with_name("worker.db.lock")
    lock.write_text("pid 1 em outra-maquina, que nunca se despediu de ninguém")
    store = await _open(make_settings())
    assert lock.read_text().startswith(f"pid {os.getpid()} em ")
    assert "despediu" not in lock.read_text()
    await store.close()


@pytest.mark.parametrize("owner", [True, False], ids=["run", "a command"])
async def test_a_file_with_a_second_name_is_not_opened_by_either(
    owner: bool, make_settings: MakeSettings
) -> None:
    await (await _open(make_settings())).close()
    path = _file_of(make_settings())
    other = path.with_name("outro.db")
    other.hardlink_to(path)
    for name in (path, other):
        sentence = await _refusal(make_settings(DATABASE_URL=f"sqlite:///{name}"), owner=owner)
        assert f"{name} tem outro nome" in sentence
    other.unlink()
    await (await _open(make_settings(), owner=owner)).close()


@postgresql
async def test_several_daemons_share_a_postgresql_database(
    database_url: str, make_settings: MakeSettings
) -> None:
    settings = make_settings(DATABASE_URL=database_url)
    first = await _open(settings)
    await Rig(first).conversation()
    run = await Rig(first).run()
    second = await _open(settings)
    assert await second.runs.claim("second", 10) == []
    assert (await Rig(second).row("runs")).lease_epoch == run.epoch
    await second.close()
    await first.close()


async def test_a_restart_on_sqlite_takes_back_at_once_what_a_crash_left_claimed(
    make_settings: MakeSettings,
) -> None:
    crashed = await _open(make_settings())
    await Rig(crashed).conversation()
    await Rig(crashed).run()
    await crashed.close()
    beside = await _open(make_settings(), owner=False)
    assert await beside.runs.claim("beside", 10) == []
    await beside.close()
    restarted = await _open(make_settings())
    (run,) = await restarted.runs.claim("next", 10)
    assert run.epoch == 2
    await restarted.close()


# ---------------------------------------------------------------------------------------- what is no database


@pytest.mark.parametrize("content", [b"isto nao e um banco\n" * 100, b"SQLite format 3\x00" + b"\xff" * 4000])
async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(
    make_settings: MakeSettings, content: bytes
) -> None:
    _file_of(make_settings()).write_bytes(content)
    sentence = await _refusal(make_settings())
    assert "não é um banco SQLite íntegro" in sentence
    assert "restaure a última cópia" in sentence
    assert _file_of(make_settings()).read_bytes() == content


async def test_a_database_cut_short_is_refused_and_opens_again_once_restored(
    make_settings: MakeSettings,
) -> None:
    await (await _open(make_settings())).close()
    path = _file_of(make_settings())
    whole = path.read_bytes()
    path.write_bytes(whole[:6000])
    assert "restaure a última cópia" in await _refusal(make_settings())
    path.write_bytes(whole)
    await (await _open(make_settings())).close()


async def test_a_place_that_cannot_be_written_is_named_with_what_to_check(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for place in (f"{tmp_path}/folder", f"{tmp_path}/file/worker.db", "/sys/worker.db"):
        sentence = await _refusal(make_settings(DATABASE_URL=f"sqlite:///{place}"))
        assert place in sentence
        assert "pode gravar" in sentence


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///:memory:",
        "sqlite:///worker.db?mode=memory",
        "postgresql://ana:segredo@servidor:porta/banco",
        "postgresql://ana:segredo@[servidor/banco",
        "postgresql://ana:Top@segredo@127.0.0.1:1/banco",
        "postgresql://ana:Top@@segredo@127.0.0.1:1/banco",
        "postgresql://ana:Top@segredo/1@127.0.0.1/banco",
        "postgresql://ana@127.0.0.1/segredo@banco",
        "postgresql://127.0.0.1/banco?pass@segredo=1",
    ],
)
async def test_a_url_that_names_no_database_is_refused_without_showing_it(
    make_settings: MakeSettings, url: str
) -> None:
    sentence = await _refusal(make_settings(DATABASE_URL=url))
    assert "DATABASE_URL" in sentence
    assert "segredo" not in sentence


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
async def test_a_server_that_does_not_answer_is_named_without_the_password(
    make_settings: MakeSettings, scheme: str
) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        await _open(make_settings(DATABASE_URL=f"{scheme}://ana:segredo@127.0.0.1:1/banco"))
    assert str(refused.value) == (
        "O PostgreSQL (127.0.0.1, porta 1) não pôde ser aberto: ninguém atende nesta porta"
    )


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ana:segredo@nao.existe.invalid/x", "(nao.existe.invalid, porta 5432) não pôde ser aberto: o nome"),
        ("ana:segredo@127.0.0.1:1,127.0.0.1:2/x", "(127.0.0.1, porta 1; 127.0.0.1, porta 2) não pôde"),
        ("ana:segredo@/x?host=127.0.0.1,127.0.0.1&port=1,2", "(127.0.0.1, porta 1; 127.0.0.1, porta 2)"),
        ("ana:segredo@/x?host=127.0.0.1:1", "(127.0.0.1, porta 1) não pôde"),
        ("/x?host=/nao/existe", "(local, porta 5432) não pôde ser aberto: ninguém atende"),
    ],
)
async def test_a_server_that_may_come_back_is_named_with_its_port_and_what_is_wrong(
    make_settings: MakeSettings, address: str, sentence: str
) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        await _open(make_settings(DATABASE_URL=f"postgresql://{address}"))
    assert sentence in str(refused.value)
    assert "segredo" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"database": "nenhum"}, "o banco de DATABASE_URL não existe neste servidor"),
        ({"username": "ninguem"}, "o usuário de DATABASE_URL não existe neste servidor"),
    ],
)
async def test_what_an_operator_must_change_is_a_problem_of_the_configuration(
    make_settings: MakeSettings, postgres: str, changes: dict[str, str], sentence: str
) -> None:
    url = make_url(postgres).set(**changes).render_as_string(hide_password=False)
    assert sentence in await _refusal(make_settings(DATABASE_URL=url))


@pytest.mark.parametrize(
    ("text", "code", "passes"),
    [
        ('FATAL:  password authentication failed for user "ana"', "senha_recusada", False),
        ('FATAL:  autenticação do tipo senha falhou para o usuário "ana"', "senha_recusada", False),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "acesso_negado", False),
        ("FATAL:  sorry, too many clients already", "conexoes_esgotadas", True),
        ("FATAL:  remaining connection slots are reserved", "conexoes_esgotadas", True),
        ("FATAL:  the database system is starting up", "iniciando", True),
        ("connection timeout expired", "tempo_esgotado", True),
        ("session is read-only", "somente_leitura", True),
        ("server closed the connection unexpectedly", "conexao_perdida", True),
        (
            'Multiple connection attempts failed. - host: a: role "ana" does not exist - host: b: Connection '
            "refused",
            "recusada",
            True,
        ),
    ],
)
def test_what_a_server_says_is_told_in_words_and_only_some_of_it_passes(
    text: str, code: str, passes: bool
) -> None:
    refusal = why_no_connection(psycopg.OperationalError(text))
    assert (refusal.code, refusal.passes) == (code, passes)
    assert "ana" not in refusal.sentence


def test_an_error_of_a_statement_says_nothing_about_the_server() -> None:
    assert outage_of(psycopg.errors.UniqueViolation("x")) is None
    assert not may_pass(psycopg.errors.UniqueViolation("x"))
    assert may_pass(psycopg.errors.DeadlockDetected("x"))
    for lost in (psycopg.errors.AdminShutdown, psycopg.errors.TooManyConnections):
        assert outage_of(lost("x")) is not None


def test_a_connection_that_nobody_accepts_is_an_outage_for_want_of_an_answer() -> None:
    for silent in (psycopg.errors.ConnectionTimeout("connection timeout expired"), TimeoutError("timed out")):
        refusal = outage_of(silent)
        assert refusal is not None
        assert (refusal.code, refusal.passes) == ("tempo_esgotado", True)


@postgresql
@pytest.mark.parametrize("brief", [True, False, None], ids=["brief read", "read", "write"])
async def test_a_transaction_that_is_not_answered_in_time_is_an_outage_that_the_next_one_ends(
    brief: bool | None, database_url: str, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await _open(make_settings(DATABASE_URL=database_url))
    database, limit = store.database, "ANSWER_S" if brief else "_TRANSACTION_S"
    monkeypatch.setattr(database_module, limit, 0.1)
    with pytest.raises(StoreUnavailable):
        async with database.write() if brief is None else database.read(brief=brief) as connection:
            await connection.exec_driver_sql("select pg_sleep(600)")
    assert database.availability.refusal is not None
    assert database.availability.refusal.code == "tempo_esgotado"
    monkeypatch.undo()
    assert await store.records.ready()
    assert database.availability.refusal is None
    await store.close()


@postgresql
async def test_a_connection_that_was_ended_is_an_outage_that_the_next_transaction_ends(
    database_url: str, make_settings: MakeSettings
) -> None:
    store = await _open(make_settings(DATABASE_URL=database_url))
    with pytest.raises(StoreUnavailable):
        await _raw(store, "select pg_terminate_backend(pg_backend_pid())")
    assert store.database.availability.refusal is not None
    assert await patient(store.records, store.database.availability).ready()
    assert store.database.availability.refusal is None
    await store.close()


@postgresql
async def test_a_patient_verb_waits_for_the_probe_while_others_are_refused_at_once(
    database_url: str, make_settings: MakeSettings
) -> None:
    store = await _open(make_settings(DATABASE_URL=database_url))
    availability, probed = store.database.availability, asyncio.Event()

    async def probe() -> None:
        if not probed.is_set():
            raise StoreUnavailable

    probing = asyncio.create_task(availability.keep_probing(probe, 60))
    await asyncio.sleep(0)
    availability.failed(Refusal("recusada", "ninguém atende nesta porta"))
    waiting = asyncio.create_task(patient(store.records, availability).ready())
    with pytest.raises(StoreUnavailable):
        await store.records.ready()
    await asyncio.sleep(0.6)
    assert not waiting.done()
    probed.set()
    assert await waiting
    availability.failed(Refusal("recusada", "ninguém atende nesta porta"))
    probed.clear()
    waiting = asyncio.create_task(patient(store.records, availability).ready())
    await asyncio.sleep(0)
    availability.lose_patience()
    with pytest.raises(StoreUnavailable):
        await waiting
    probing.cancel()
    await store.close()


# ------------------------------------------------------------------------------------------------- the keys


async def test_keys_of_another_database_open_nothing_and_write_nothing(
    database_url: str, make_settings: MakeSettings
) -> None:
    settings = make_settings(DATABASE_URL=database_url)
    store = await _open(settings)
    await Rig(store).conversation()
    before = await _everything(store)
    await store.close()
    strangers = make_settings(DATABASE_URL=database_url, DATA_KEYS=Fernet.generate_key().decode())
    assert "DATA_KEYS" in await _refusal(strangers)
    store = await _open(settings)
    assert await _everything(store) == before
    await store.close()


async def test_after_a_rotation_the_old_values_open_and_their_hashes_are_the_same(
    database_url: str, make_settings: MakeSettings
) -> None:
    store = await _open(make_settings(DATABASE_URL=database_url))
    await Rig(store).conversation()
    digest = store.database.hasher.digest("document", "52998224725")
    await store.close()
    rotated = f"{Fernet.generate_key().decode()},{KEY}"
    store = await _open(make_settings(DATABASE_URL=database_url, DATA_KEYS=rotated))
    assert (await store.records.conversation("c1", reader="test")).document == Personal("52998224725")
    assert store.database.hasher.digest("document", "52998224725") == digest
    await store.close()


@pytest.mark.parametrize("unmade_database_url", ["postgresql"], indirect=True)
async def test_daemons_that_open_an_empty_database_at_once_agree_on_its_key(
    unmade_database_url: str, make_settings: MakeSettings
) -> None:
    settings = make_settings(DATABASE_URL=unmade_database_url)
    opened = await asyncio.gather(*(_open(settings) for _ in range(4)), return_exceptions=True)
    digests = set()
    for store in opened:
        if isinstance(store, Store):
            digests.add(store.database.hasher.digest("any", "thing"))
            await store.close()
    assert [error for error in opened if isinstance(error, BaseException)] == []
    assert len(digests) == 1


async def test_a_database_that_is_not_open_hashes_nothing(make_settings: MakeSettings) -> None:
    database = Database(make_settings().DATABASE_URL, Vault([KEY]))
    with pytest.raises(StoreError):
        database.hasher.digest("any", "thing")
    await database.close()


# ------------------------------------------------------------------------------------------------ the schema


async def test_the_migrations_make_exactly_the_schema_the_queries_expect(rig: Rig) -> None:
    def differences(connection: Connection) -> object:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, rig.store.database.tables.metadata)

    async with rig.store.database.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_database_of_a_newer_version_is_refused_with_both_revisions(
    database_url: str, make_settings: MakeSettings
) -> None:
    settings = make_settings(DATABASE_URL=database_url)
    store = await _open(settings)
    await _raw(store, "update alembic_version set version_num = '0999'")
    await store.close()
    sentence = await _refusal(settings)
    assert "0999" in sentence
    assert migrations._history()[0] in sentence


async def test_an_opening_that_fails_halfway_leaves_an_empty_database(
    unmade_database_url: str, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(DATABASE_URL=unmade_database_url)
    with monkeypatch.context() as halfway:
        halfway.setattr(database_module, "new_index_key", lambda: b"too short")
        with pytest.raises(ValueError, match="32 bytes"):
            await _open(settings)
    store = await _open(settings)
    assert await store.records.ready()
    await store.close()


# -------------------------------------------------------------------------------------------- what is at rest


async def _everything(store: Store) -> list[object]:
    """Every value of every table, as the driver sees it."""
    async with store.database.read() as connection:
        names = await connection.run_sync(lambda sync: sorted(inspect(sync).get_table_names()))
        rows = [await connection.execute(text(f"select * from {name}")) for name in names]
        return [value for table in rows for row in table for value in row]


MARKS = ("11144477735", "5524911112222", "comprovante-marcado", "Marcada da Silva", "quer-falar-marcada")


def _files_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("worker.db*"))


async def test_no_personal_value_is_legible_at_rest(
    database_url: str, make_settings: MakeSettings, tmp_path: Path
) -> None:
    document, contact, receipt, resumo, motivo = MARKS
    store = await _open(make_settings(DATABASE_URL=database_url))
    rig = Rig(store)
    await rig.conversation(
        client_document=Personal(document),
        contact=Personal(contact),
        attachment_url=Personal(f"https://arquivos.example/{receipt}.jpg"),
    )
    run = await rig.run()
    ticket = await rig.admit(run, 1, replace(TICKET, body=Personal(resumo), equal_on=(resumo, document)))
    await rig.settled(await rig.attempted(ticket), DONE, Personal(f"{resumo} {document}"))
    await rig.admit(run, 2, replace(HANDOFF, body=Personal(motivo)))
    stored = b"\n".join(v if isinstance(v, bytes) else str(v).encode() for v in await _everything(store))
    if store.database.sqlite:
        stored += _files_in(tmp_path)
    assert b"thread_c1" in stored
    assert [mark for mark in MARKS if mark.encode() in stored] == []
    await store.close()


async def test_the_files_belong_to_their_owner_alone(make_settings: MakeSettings, tmp_path: Path) -> None:
    store = await _open(make_settings(DATABASE_URL=f"sqlite:///{tmp_path}/new/worker.db"))
    await Rig(store).conversation()
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert files == dict.fromkeys(("worker.db", "worker.db-wal", "worker.db-shm", "worker.db.lock"), 0o600)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    await store.close()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1)],
)
@sqlite
async def test_what_is_committed_is_on_disk_and_what_is_deleted_is_gone(
    store: Store, pragma: str, value: object
) -> None:
    async with store.database.read() as one, store.database.read() as another:
        for connection in (one, another):
            assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar() == value


# ------------------------------------------------------------------------------------------------- failures


async def test_an_error_of_the_driver_names_classes_and_no_values(rig: Rig) -> None:
    marked = "-".join(("valor", "marcado"))  # not as one word, for a traceback shows the lines of this test
    await rig.conversation(marked)
    with pytest.raises(StoreError) as raised:
        await rig.change("conversations", {"conversation_id": marked}, conversation_id="c1")
    assert "IntegrityError" in str(raised.value)
    assert marked not in "".join(traceback.format_exception(raised.value))


@sqlite
async def test_a_full_disk_is_told_with_the_file_and_the_reason_and_no_task_is_left_to_complain(
    database_url: str, make_settings: MakeSettings
) -> None:
    store = await _open(make_settings(DATABASE_URL=database_url))
    loop, complaints = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, about: complaints.append(about))
    await _raw(store, "pragma max_page_count = 1")  # no fewer than there are
    fill = "insert into access_log (at, reader, subject) values (1, hex(zeroblob(1000000)), 'x')"
    with pytest.raises(StoreError, match=r"worker\.db: o disco está cheio; OperationalError"):
        await _raw(store, fill)
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert complaints == []
    await store.close()


async def test_a_table_that_is_gone_is_an_error_of_the_store(rig: Rig) -> None:
    await _raw(rig.store, "drop table access_log")
    with pytest.raises(StoreError):
        await rig.rows("access_log")


async def test_what_fails_within_a_write_is_undone_and_the_next_write_goes_on(rig: Rig) -> None:
    async def fail_within() -> None:
        async with rig.store.database.write() as connection:
            await connection.exec_driver_sql("delete from conversations")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_within()
    await rig.conversation("c2")
    assert len(await rig.rows("conversations")) == 2


async def test_a_write_that_is_cancelled_is_undone_and_the_next_write_goes_on(rig: Rig) -> None:
    begun = asyncio.Event()

    async def never_ending() -> None:
        async with rig.store.database.write() as connection:
            await connection.exec_driver_sql("delete from conversations")
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(never_ending())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await rig.conversation("c2")
    assert len(await rig.rows("conversations")) == 2


async def test_readers_do_not_wait_for_a_writer_and_see_nothing_of_it_yet(rig: Rig) -> None:
    async with rig.store.database.write() as connection:
        await connection.exec_driver_sql("delete from conversations")
        async with asyncio.timeout(20):
            assert len(await rig.rows("conversations")) == 1
    assert await rig.rows("conversations") == []


def test_the_newest_revision_is_known_from_the_scripts_names_alone() -> None:
    """Commands ask for it without Alembic, whose import takes longer than their query."""
    assert migrations.newest() == migrations._history()[0]
