"""CONTRIBUTING's promise: a platform is a module and a line. This made-up one is used end to end."""

import contextlib
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from tests.asgi import api_over, calling
from tests.fakes import COMPLETED, FakePlatform, asks, call
from worker import catalog, platforms, wiring
from worker.cli import rehearse
from worker.cli.rehearse import Options
from worker.engine.lease import Lease
from worker.model import ToolCall
from worker.personal import Personal
from worker.platforms.definitions import Envelope
from worker.platforms.spec import PlatformSpec
from worker.settings import Settings, load
from worker.settings import platforms as registry
from worker.store.store import Store
from worker.times import SystemClock

HANDOFF = '{"departamento": "financeiro", "motivo": "segunda via"}'


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> FakePlatform:
    """The module, and the line in `worker/settings/platforms.py`."""
    platform, module = FakePlatform(), ModuleType("worker.platforms.invented")
    spec = PlatformSpec(
        connect=lambda settings: platform,
        envelope=Envelope(nested=False, strict=False),
        clock_path="/models",
        wake_event="run.waits",
    )
    monkeypatch.setattr(platform, "name", "invented")
    monkeypatch.setattr(module, "SPEC", spec, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    line = registry.RegisteredPlatform(module.__name__, id_prefix="inv_")
    monkeypatch.setitem(registry.PLATFORMS, "invented", line)
    return platform


async def test_a_fourth_platform_is_configured_watched_and_answered(
    invented: FakePlatform, database_file: str, make_settings: Callable[..., Settings]
) -> None:
    loaded, _ = load({"PLATFORM": "invented"})
    assert loaded.PLATFORM == "invented"
    settings = make_settings(PLATFORM="invented", DATABASE_URL=database_file)
    platform, clock = platforms.connect(settings), SystemClock()
    invented.script("inv_1", asks(ToolCall("call_1", "transferir_para_humano", Personal(HANDOFF))), COMPLETED)
    store = await Store.open(settings, platform.name, owner=True, thread=platform.traits.thread)
    try:
        await _announced(store, "inv_1")
        async with contextlib.AsyncExitStack() as stack:
            built = wiring.build_tools(settings, catalog.Catalog.load(), clock, stack)
            worker = wiring.build_worker(settings, platform, store, built, lease=Lease(), clock=clock)
            await worker.run_until_idle()
        assert [output["success"] for output in invented.outputs("inv_1")] == [True]
        assert wiring.platforms.spec(settings).wake_event == "run.waits"
    finally:
        await store.close()


async def test_a_fourth_platform_is_rehearsed(
    invented: FakePlatform, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    arguments = {"resumo": "Maria pagou", "setor": "FINANCEIRO", "motivo": "PAGAMENTO"}
    invented.script("inv_1", asks(call(1, "abrir_ticket_crm", arguments)), COMPLETED)
    request, shown = tmp_path / "request.json", StringIO()
    request.write_text('{"model": "inventado"}')
    options = Options(scenarios=["financeiro-comprovante-imagem"], request=request, yes=True)
    code = await rehearse.play(make_settings(PLATFORM="invented"), options, Console(file=shown))
    assert (code, "✓ 1 de 1 cenários passaram" in shown.getvalue()) == (0, True)
    assert [dialogue.deleted for dialogue in invented.dialogues] == [True]


async def _announced(store: Store, run_id: str) -> None:
    """The bot announces a run over HTTP; a run id of this platform is refused on any other."""
    async with calling(api_over(store, platform="invented")) as api:
        put = await api.put("/v1/conversations/c1", json={"thread_id": "thread_c1"})
        assert put.status_code == 201
        run = {"conversation_id": "c1", "run_id": run_id}
        assert (await api.post("/v1/runs", json=run)).status_code == 202
    async with calling(api_over(store, platform="agents")) as api:
        assert (await api.post("/v1/runs", json=run)).json()["code"] == "id_de_outra_plataforma"
