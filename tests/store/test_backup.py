"""Before a newer version changes a SQLite file, a copy of it is kept; nothing is changed without one."""

import contextlib
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.store.harness import Rig
from worker.errors import ConfigError
from worker.settings import Settings
from worker.store import migrations
from worker.store.store import Store

MakeSettings = Callable[..., Settings]

NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "9999", "HEAD"


def upgrade() -> None:
    op.add_column("conversations", sa.Column("later", sa.String()))
"""


@pytest.fixture
def newer_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Call it, and this is the version after this one: its schema has a column more."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "next.py").write_text(NEXT.replace("HEAD", migrations._history()[0]))
    ours, config = Path(migrations.__file__).parent / "versions", migrations._config()
    config.set_main_option("version_locations", f"{ours}\n{tmp_path}/versions")
    config.set_main_option("path_separator", "newline")

    def install() -> None:
        monkeypatch.setattr(migrations, "_config", lambda: config)
        monkeypatch.setattr(migrations, "newest", lambda: "9999")
        migrations._history.cache_clear()

    yield install
    monkeypatch.undo()
    migrations._history.cache_clear()


async def start(make_settings: MakeSettings, folder: Path, conversation: str = "") -> None:
    """A daemon that starts, perhaps hears of a conversation, and stops."""
    settings = make_settings(DATABASE_URL=f"sqlite:///{folder}/data/worker.db")
    store = await Store.open(settings, "assistants", owner=True)
    if conversation:
        await Rig(store).conversation(conversation)
    await store.close()


def conversations(path: Path) -> list[tuple[object, ...]]:
    """Whole rows: how many columns they have tells the schema."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute("select * from conversations order by 1").fetchall()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_migration_leaves_a_copy_of_the_file_for_its_owner_alone(
    make_settings: MakeSettings, tmp_path: Path, newer_version: Callable[[], None]
) -> None:
    await start(make_settings, tmp_path, "c1")
    database = tmp_path / "data" / "worker.db"
    before = conversations(database)
    newer_version()
    await start(make_settings, tmp_path, "c2")
    copy = tmp_path / "data" / "worker.db.before-upgrade"
    assert conversations(copy) == before
    assert [len(row) - len(before[0]) for row in conversations(database)] == [1, 1]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert names_in(tmp_path / "data") == {"worker.db", "worker.db.lock", copy.name}


async def test_what_a_crash_left_in_the_wal_is_in_the_copy(
    make_settings: MakeSettings, tmp_path: Path, newer_version: Callable[[], None]
) -> None:
    await start(make_settings, tmp_path, "c1")
    database = tmp_path / "data" / "worker.db"
    with contextlib.closing(sqlite3.connect(database)) as holding:  # so that nobody empties the WAL
        holding.execute("select 1 from conversations").fetchone()
        holding.execute("update conversations set thread_id = 'only in the WAL'")
        holding.commit()
        assert b"only in the WAL" not in database.read_bytes()
        newer_version()
        await start(make_settings, tmp_path)
    assert "only in the WAL" in conversations(database.with_name("worker.db.before-upgrade"))[0]


async def test_nothing_is_copied_where_nothing_is_to_be_migrated(
    make_settings: MakeSettings, tmp_path: Path, newer_version: Callable[[], None]
) -> None:
    newer_version()
    for _ in range(2):  # an empty database, and one that is current
        await start(make_settings, tmp_path, "c1")
    assert names_in(tmp_path / "data") == {"worker.db", "worker.db.lock"}


async def test_without_a_copy_nothing_is_changed_and_the_last_copy_stays(
    make_settings: MakeSettings, tmp_path: Path, newer_version: Callable[[], None]
) -> None:
    await start(make_settings, tmp_path, "c1")
    database = tmp_path / "data" / "worker.db"
    database.with_name("worker.db.before-upgrade").write_text("the last one")
    database.with_name("worker.db.before-upgrade.part").mkdir()  # in the way
    before = conversations(database)
    newer_version()
    with pytest.raises(ConfigError, match="não pôde ser copiado antes da atualização"):
        await start(make_settings, tmp_path)
    assert conversations(database) == before
    assert database.with_name("worker.db.before-upgrade").read_text() == "the last one"
