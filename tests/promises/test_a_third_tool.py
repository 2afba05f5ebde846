"""CONTRIBUTING's promise: a tool is a module, a schema and a line. This made-up one is used end to end."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from typer.testing import CliRunner

from tests.asgi import api_over, calling
from tests.databases import KEY
from tests.fakes import COMPLETED, FakePlatform, asks
from worker import catalog, metrics, tools, wiring
from worker.cli.main import cli
from worker.engine.lease import Lease
from worker.model import CallRecord, CallState, Conversation, Intent, Outcome, Rejection, ToolCall, ToolKind
from worker.personal import Personal
from worker.ports import Attempts
from worker.settings import Settings
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.server import serve
from worker.store.store import Store
from worker.times import SystemClock
from worker.tools.parts import ToolParts

NAME = "consultar_horario"
SCHEMA = {
    "name": NAME,
    "description": "Informa o horário de atendimento.",
    "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
}


class ConsultarHorario:
    """Says when the provider is open."""

    name = NAME
    schema: str | None = NAME
    kind = ToolKind.OTHER

    @classmethod
    def build(cls, parts: ToolParts) -> Self:
        return cls()

    def plan(self, arguments: Personal, conversation: Conversation | None) -> Intent | Rejection:
        return Intent(equal_on=(), body=arguments)

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        return Outcome(CallState.DONE)

    async def recheck(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        return None

    def success(self, call: CallRecord) -> Personal:
        return Personal.json({"success": True, "horario": "todos os dias"})


@pytest.fixture
def _added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The schema in `schemas/`, and the line in `worker/tools/__init__.py`."""
    folder = tmp_path / "schemas"
    shutil.copytree(catalog.schemas_dir(), folder)
    (folder / f"{NAME}.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    monkeypatch.setattr("worker.schema_sync.functions.schemas_dir", lambda: folder)
    monkeypatch.setattr(tools, "TOOLS", (*tools.TOOLS, ConsultarHorario))


@pytest.mark.usefixtures("_added")
async def test_a_third_tool_is_synced_dispatched_counted_and_shown(
    database_file: str,
    make_settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = make_settings(DATABASE_URL=database_file)
    before = _counted()
    store = await Store.open(settings, "assistants", owner=True)
    try:
        answer = await _dispatched(settings, store)
        page, listed = await _shown(store)
    finally:
        await store.close()
    assert answer == {"success": True, "horario": "todos os dias"}
    assert _counted() == before + 1
    assert [call["tool"] for call in listed["items"]] == [NAME]
    assert NAME in page
    assert NAME in await _command("calls", "list", DATABASE_URL=database_file)
    assert NAME in await _synced()


async def _dispatched(settings: Settings, store: Store) -> dict[str, Any]:
    """What the model is told by a worker whose tools `wiring` has built."""
    platform, clock, lease = FakePlatform(), SystemClock(), Lease()
    platform.script("run_1", asks(ToolCall("call_1", NAME, Personal("{}"))), COMPLETED)
    await store.records.put_conversation("c1", {"thread_id": "thread_c1"})
    await store.records.register_run("c1", "run_1", None)
    async with contextlib.AsyncExitStack() as stack:
        built = wiring.build_tools(settings, catalog.Catalog.load(), clock, stack)
        worker = wiring.build_worker(settings, platform, store, built, lease=lease, clock=clock)
        await worker.run_until_idle()
    (output,) = platform.outputs("run_1")
    return output


async def _shown(store: Store) -> tuple[str, Any]:
    async with calling(api_over(store)) as api:
        return (await api.get("/")).text, (await api.get("/v1/calls")).json()


async def _command(*words: str, **env: str) -> str:
    given = {"DATA_KEYS": KEY, "COLUMNS": "240", **env}
    done = await asyncio.to_thread(CliRunner().invoke, cli, [*words], env=given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


async def _synced() -> list[str]:
    """The functions of an assistant after `sync-schema`."""
    platform = AssistantsSimulator()
    async with serve(platform.app) as url:
        await _command(
            "sync-schema",
            PLATFORM="assistants",
            OPENAI_BASE_URL=url,
            OPENAI_API_KEY="key",
            FINANCEIRO_ASSISTANT_ID=ASSISTANTS["FINANCEIRO"],
        )
    shown = platform.registry.assistants[ASSISTANTS["FINANCEIRO"]]["tools"]
    return [tool["function"]["name"] for tool in shown]


def _counted() -> float:
    return metrics.calls.labels(NAME, CallState.DONE)._value.get()
