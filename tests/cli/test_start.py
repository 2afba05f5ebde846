"""Commands start quickly because they import only what they need: modules are counted, not seconds."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import KEY
from worker.model import ThreadRule
from worker.settings import Settings
from worker.store.store import Store

ROOT = Path(__file__).parents[2]

SERVER = {"fastapi", "starlette", "uvicorn", "jinja2"}
PLATFORM = {"openai", "aiohttp", "httpx2"}
CRM = {"httpx", "httpcore", "backoff", "aiobreaker"}
DATABASE = {"sqlalchemy", "aiosqlite"}
LOG = {"loguru", "prometheus_client"}
HELP = {"typer.rich_utils", "rich.markdown", "pygments"}
RARE = {
    *("alembic", "holidays", "yaml", "worker.replies.rules", "worker.simulator.server"),
    *("psycopg", "sqlalchemy.dialects.postgresql"),  # the database of these tests is SQLite
}

_LISTED = """
import atexit, sys
atexit.register(lambda: sys.stderr.write("\\nIMPORTED " + " ".join(sys.modules)))
sys.argv[0] = "ticket-worker"
from worker.cli.main import main
main()
"""


def imported(arguments: str, **environ: str) -> set[str]:
    """The modules that a command has imported when it ends."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    done = subprocess.run(
        [sys.executable, "-c", _LISTED, *arguments.split()],
        capture_output=True,
        text=True,
        env={**kept, "PYTHONPATH": str(ROOT), **environ},
        timeout=60,
        check=False,
    )
    _, _, names = done.stderr.rpartition("IMPORTED ")
    assert "worker.cli.main" in names.split(), done.stderr
    return set(names.split())


@pytest.mark.parametrize("arguments", ["--help", "--version", "keygen", "run --help", "calls list --help"])
def test_what_needs_no_database_imports_none(arguments: str) -> None:
    modules = imported(arguments)
    assert not modules & (SERVER | PLATFORM | CRM | DATABASE | LOG | RARE | {"asyncio", "worker.settings"})
    assert len(modules) < 480


@pytest.mark.parametrize("arguments", ["--version", "keygen"])
def test_what_prints_no_help_does_not_import_what_formats_it(arguments: str) -> None:
    modules = imported(arguments)
    assert not modules & {*HELP, "rich"}
    assert len(modules) < 350


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A database that the daemon has made: its schema is current."""
    url = f"sqlite:///{tmp_path_factory.mktemp('start')}/worker.db"
    environ = {"DATABASE_URL": url, "DATA_KEYS": KEY}

    async def made() -> None:
        loaded = Settings.model_validate(environ)
        store = await Store.open(loaded, "assistants", owner=True, thread=ThreadRule.REQUIRED)
        await store.close()

    asyncio.run(made())
    return environ


@pytest.mark.parametrize(
    "arguments", ["calls list", "calls show tc_1", "handoffs list", "kpis", "runs list", "events list"]
)
def test_what_reads_the_database_imports_neither_server_nor_platform(
    arguments: str, database: dict[str, str]
) -> None:
    modules = imported(arguments, **database)
    assert modules >= DATABASE
    assert not modules & (SERVER | PLATFORM | CRM | LOG | HELP | RARE)
    assert len(modules) < 720


@pytest.mark.parametrize("arguments", ["check", "sync-schema --check"])
def test_what_calls_the_platform_imports_no_server(arguments: str) -> None:
    assert not imported(arguments, PLATFORM="assistants") & (SERVER | RARE)


def test_what_lists_scenarios_imports_nothing_that_plays_them() -> None:
    unneeded = SERVER | PLATFORM | DATABASE | {"worker.wiring", "worker.simulator.server"}
    modules = imported("rehearse --list")
    assert "worker.rehearsal.scenarios" in modules
    assert not modules & unneeded
