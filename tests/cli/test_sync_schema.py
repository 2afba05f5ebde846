"""`sync-schema` as an operator types it, against the simulated platforms over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from dotenv import dotenv_values
from typer.testing import CliRunner, Result

from tests.databases import KEY
from worker import platforms, schema_sync
from worker.cli.main import cli
from worker.platforms.definitions import Stored
from worker.settings import Settings
from worker.simulator.agents.app import AgentsSimulator
from worker.simulator.agents.saved_agents import AGENTS
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.faults import Fault
from worker.simulator.server import serve
from worker.store.store import Store
from worker.tools import schema_names

Json = dict[str, Any]

FUNCTIONS = schema_sync.load(schema_names())
FOREIGN: list[Json] = [
    {"type": "file_search"},
    {"type": "function", "function": {"name": "consultar_fatura"}},
]
CONFIGURED = ("FINANCEIRO", "SUPORTE")


class Shell:
    """A shell in an empty folder, configured for one platform."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.env = env

    async def sync(self, *words: str, **env: str | None) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, cli, ["sync-schema", *words], env={**self.env, **env}, catch_exceptions=False
        )

    @property
    def backups(self) -> list[Path]:
        return [*(self.folder / "data" / "schema-backups").glob("*")]


@pytest.fixture
def platform() -> AssistantsSimulator:
    return AssistantsSimulator()


@pytest.fixture
async def shell(
    platform: AssistantsSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shell]:
    monkeypatch.chdir(tmp_path)
    ids = {f"{name}_ASSISTANT_ID": ASSISTANTS[name] for name in CONFIGURED}
    async with serve(platform.app) as url:
        yield Shell(tmp_path, PLATFORM="assistants", OPENAI_BASE_URL=url, OPENAI_API_KEY="key", **ids)


def tools(platform: AssistantsSimulator, name: str) -> list[Json]:
    found: list[Json] = platform.registry.assistants[ASSISTANTS[name]]["tools"]
    return found


def writes(platform: AssistantsSimulator) -> int:
    return sum(each.method == "POST" for each in platform.requests)


# --------------------------------------------------------------------------------------------- assistants


async def test_the_configured_assistants_get_the_functions_and_a_second_run_has_nothing_to_do(
    shell: Shell, platform: AssistantsSimulator
) -> None:
    tools(platform, "FINANCEIRO")[:] = FOREIGN
    first = await shell.sync()
    assert first.exit_code == 0
    assert first.stdout.count("gravado e conferido") == 2
    ours = [{"type": "function", "function": {**each, "strict": True}} for each in FUNCTIONS]
    assert tools(platform, "FINANCEIRO") == [*FOREIGN, *ours]
    assert tools(platform, "SUPORTE") == ours
    assert tools(platform, "RECEPÇÃO") == []
    assert (writes(platform), len(shell.backups)) == (2, 2)
    second = await shell.sync()
    assert second.exit_code == 0
    assert second.stdout.splitlines() == [
        f"✓ FINANCEIRO ({ASSISTANTS['FINANCEIRO']}): nada a fazer "
        "(ficam como estão: file_search, function consultar_fatura)",
        f"✓ SUPORTE ({ASSISTANTS['SUPORTE']}): nada a fazer",
    ]
    assert (writes(platform), len(shell.backups)) == (2, 2)


async def test_check_exits_3_after_a_hand_edit_and_writes_nothing(
    shell: Shell, platform: AssistantsSimulator
) -> None:
    await shell.sync()
    assert (await shell.sync("--check")).exit_code == 0
    tools(platform, "SUPORTE")[0]["function"]["description"] = "Abre um ticket."
    checked = await shell.sync("--check")
    assert checked.exit_code == 3
    assert f"! SUPORTE ({ASSISTANTS['SUPORTE']}): abrir_ticket_crm: difere" in checked.stdout
    assert "    -Abre um ticket." in checked.stdout
    assert (writes(platform), len(shell.backups)) == (2, 2)
    assert (await shell.sync("--check", "--dry-run")).exit_code == 3


async def test_a_dry_run_shows_what_it_would_do_and_exits_0(
    shell: Shell, platform: AssistantsSimulator
) -> None:
    shown = await shell.sync("--dry-run", "--instructions")
    assert shown.exit_code == 0
    assert "transferir_para_humano: falta; regras de uso: diferem" in shown.stdout
    assert "    +SEMPRE use `abrir_ticket_crm` quando:" in shown.stdout
    assert (writes(platform), shell.backups) == (0, [])


@pytest.mark.parametrize("name", ["SUPORTE", "suporte"])
async def test_one_assistant_can_be_chosen(shell: Shell, platform: AssistantsSimulator, name: str) -> None:
    assert (await shell.sync("--assistant", name)).exit_code == 0
    assert not tools(platform, "FINANCEIRO")
    assert tools(platform, "SUPORTE")


async def test_the_reception_can_be_chosen_with_its_accents(
    shell: Shell, platform: AssistantsSimulator
) -> None:
    chosen = await shell.sync(
        "--assistant",
        "RECEPÇÃO",
        "--assistant",
        "FINANCEIRO",
        "--instructions",
        RECEPCAO_ASSISTANT_ID=ASSISTANTS["RECEPÇÃO"],
    )
    assert chosen.exit_code == 0
    assert len(tools(platform, "RECEPÇÃO")) == len(tools(platform, "FINANCEIRO")) == 2
    assert not tools(platform, "SUPORTE")
    assert platform.registry.assistants[ASSISTANTS["RECEPÇÃO"]]["instructions"] is None


async def test_the_usage_rules_are_written_only_when_asked_for(
    shell: Shell, platform: AssistantsSimulator
) -> None:
    kept = platform.registry.assistants[ASSISTANTS["SUPORTE"]]
    kept["instructions"] = "Seja gentil."
    await shell.sync()
    assert kept["instructions"] == "Seja gentil."
    await shell.sync("--instructions")
    assert kept["instructions"].startswith("Seja gentil.\n\n<!-- ticket-worker")
    assert (await shell.sync("--instructions", "--check")).exit_code == 0


async def test_a_platform_without_strict_gets_the_functions_without_it_and_the_command_says_so(
    shell: Shell, platform: AssistantsSimulator
) -> None:
    platform.faults.add(Fault(on="update_assistant", times=1, status=400))
    done = await shell.sync("--assistant", "SUPORTE")
    assert done.exit_code == 0
    assert "a plataforma recusou strict: ficou sem ele" in done.stdout
    assert ["strict" in tool["function"] for tool in tools(platform, "SUPORTE")] == [False, False]
    assert (await shell.sync("--check", "--assistant", "SUPORTE")).exit_code == 0


async def test_an_assistant_that_cannot_be_served_does_not_keep_the_others_from_it(
    shell: Shell, platform: AssistantsSimulator
) -> None:
    done = await shell.sync(FINANCEIRO_ASSISTANT_ID="asst_apagado")
    assert done.exit_code == 1
    assert "✗ FINANCEIRO (asst_apagado): a plataforma não conhece este id" in done.stdout
    assert tools(platform, "SUPORTE")
    tools(platform, "SUPORTE").clear()
    assert (await shell.sync("--check", FINANCEIRO_ASSISTANT_ID="asst_apagado")).exit_code == 1


async def test_openai_itself_no_longer_serves_assistants(
    shell: Shell, platform: AssistantsSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = platforms.stored_assistants

    def connect_to_openai(settings: Settings) -> Stored | None:
        stored = connect(settings)
        assert stored is not None
        stored._connection.at_openai = True
        return stored

    monkeypatch.setattr(platforms, "stored_assistants", connect_to_openai)
    platform.faults.preset("gone")
    done = await shell.sync()
    assert done.exit_code == 2
    assert "não atende mais o protocolo Assistants" in done.stderr


@pytest.mark.parametrize(
    ("words", "env", "says"),
    [
        (["--assistant", "VENDAS"], {}, "--assistant VENDAS não existe"),
        (["--assistant", "RECEPCAO"], {}, "RECEPCAO_ASSISTANT_ID não está definida"),
        ([], {"FINANCEIRO_ASSISTANT_ID": "", "SUPORTE_ASSISTANT_ID": ""}, "Nenhum assistente"),
        ([], {"PLATFORM": ""}, "PLATFORM não está definida"),
        ([], {"OPENAI_API_KEY": ""}, "OPENAI_API_KEY não está definida"),
        (["--sessions"], {}, "--sessions é só da plataforma agents"),
        (["--out", "f.json"], {}, "--out é só de plataformas que não guardam assistentes"),
        ([], {"PLATFORM": "responses"}, "--out ARQUIVO"),
        (["--out", "f.json", "--instructions"], {"PLATFORM": "responses"}, "não existem na plataforma"),
    ],
)
async def test_what_cannot_be_meant_is_a_usage_error(
    shell: Shell, platform: AssistantsSimulator, words: list[str], env: dict[str, str], says: str
) -> None:
    done = await shell.sync(*words, **env)
    assert done.exit_code == 2
    assert says in done.stderr
    assert not platform.requests


def test_the_example_configuration_names_the_assistants_of_the_mission() -> None:
    example = dotenv_values(Path(__file__).parents[2] / ".env.example")
    assert {name: example[f"{name}_ASSISTANT_ID"] for name in CONFIGURED} == {
        "FINANCEIRO": "asst_pRXVhoy1o4YxNxVmaRiNOTMX",
        "SUPORTE": "asst_aF7OvhbUuSfM8qUdR2JEFBhM",
    }


# -------------------------------------------------------------------------------- wherever they are stored


@pytest.mark.parametrize("name", ["assistants", "agents"])
async def test_with_the_rules_a_second_run_has_nothing_to_do_and_every_hand_edit_is_drift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    kept, simulator, ids = _shelf(name)
    kept[ids["FINANCEIRO"]]["instructions"] = "Seja gentil."
    async with serve(simulator.app) as url:
        configured = {f"{each}_ASSISTANT_ID": ids[each] for each in CONFIGURED}
        shell = Shell(tmp_path, PLATFORM=name, OPENAI_BASE_URL=url, OPENAI_API_KEY="key", **configured)
        assert (await shell.sync("--instructions")).stdout.count("gravado e conferido") == 2
        before = json.dumps(kept)
        again = await shell.sync("--instructions")
        assert (again.exit_code, again.stdout.count(": nada a fazer")) == (0, 2)
        assert (json.dumps(kept), len(shell.backups)) == (before, 2)
        rules = kept[ids["FINANCEIRO"]]["instructions"]
        kept[ids["FINANCEIRO"]]["instructions"] = rules.replace("comprovante", "foto")
        assert (await shell.sync("--check")).exit_code == 0
        assert (await shell.sync("--check", "--instructions")).exit_code == 3
        assert (await shell.sync("--instructions")).exit_code == 0
        assert kept[ids["FINANCEIRO"]]["instructions"] == rules
        del kept[ids["SUPORTE"]]["tools"][1]
        assert (await shell.sync("--check")).exit_code == 3


def _shelf(name: str) -> tuple[dict[str, Json], AssistantsSimulator | AgentsSimulator, dict[str, str]]:
    """What a simulated platform keeps, by id; the platform; and the ids by name."""
    if name == "assistants":
        assistants = AssistantsSimulator()
        return assistants.registry.assistants, assistants, dict(ASSISTANTS)
    agents = AgentsSimulator()
    return agents.agents.agents, agents, dict(AGENTS)


# ------------------------------------------------------------------------------------- agents and sessions


async def test_agents_and_with_sessions_the_live_sessions_of_known_conversations(
    make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    agents = AgentsSimulator()
    async with serve(agents.app) as url:
        known = [await _session(url, AGENTS[name]) for name in ("FINANCEIRO", "RECEPÇÃO")]
        unknown = await _session(url, AGENTS["FINANCEIRO"])
        await _remember(make_settings(), [*known, "sess_apagada"])
        shell = Shell(
            tmp_path,
            PLATFORM="agents",
            OPENAI_BASE_URL=url,
            OPENAI_API_KEY="key",
            FINANCEIRO_ASSISTANT_ID=AGENTS["FINANCEIRO"],
            DATABASE_URL=make_settings().DATABASE_URL,
            DATA_KEYS=KEY,
        )
        assert (await shell.sync()).exit_code == 0
        assert [len(each.agent["tools"]) for each in agents.sessions.sessions.values()] == [0, 0, 0]
        assert (await shell.sync("--sessions", "--check")).exit_code == 3
        done = await shell.sync("--sessions")
        assert done.exit_code == 0
        assert f"sessão ({known[0]}): gravado e conferido" in done.stdout
        assert "3 examinadas" in done.stdout
        has = {each.id: len(each.agent["tools"]) for each in agents.sessions.sessions.values()}
        assert has == {known[0]: 2, known[1]: 0, unknown: 0}
        again = await shell.sync("--sessions", "--check")
        assert (again.exit_code, again.stdout.count("sessão (")) == (0, 0)
        agents.faults.preset("unauthorized", on="retrieve_session", times=1)
        assert (await shell.sync("--sessions")).exit_code == 1


async def _session(url: str, agent_id: str) -> str:
    body = {"agent_id": agent_id, "environment": {"type": "none"}, "input": "Oi"}
    async with httpx.AsyncClient(headers={"openai-beta": "agents=v1"}) as bot:
        created: str = (await bot.post(f"{url}/agents/sessions", json=body)).json()["id"]
    return created


async def _remember(settings: Settings, sessions: list[str]) -> None:
    store = await Store.open(settings, "agents", owner=True)
    for number, thread_id in enumerate([*sessions, None]):
        await store.records.put_conversation(f"c{number}", {"thread_id": thread_id})
    await store.close()


# ---------------------------------------------------------------------------------------------- responses


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, PLATFORM="responses")


async def test_the_tools_are_written_for_the_bot_to_send(export: Shell, tmp_path: Path) -> None:
    assert (await export.sync("--out", "tools.json")).exit_code == 0
    text = (tmp_path / "tools.json").read_text("utf-8")
    assert json.loads(text) == [{"type": "function", **each, "strict": True} for each in FUNCTIONS]
    assert "VOCÊ" in text.upper()
    assert "\\u" not in text
    again = await export.sync("--out", "tools.json")
    assert again.stdout == "✓ tools.json: nada a fazer\n"
    assert not export.backups


async def test_other_tools_in_the_file_stay_and_check_exits_3_on_drift(export: Shell, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text('[{"type": "web_search"}]')
    assert (await export.sync("--out", "tools.json", "--check")).exit_code == 3
    assert (await export.sync("--out", "tools.json", "--dry-run")).exit_code == 0
    assert (tmp_path / "tools.json").read_text() == '[{"type": "web_search"}]'
    assert (await export.sync("--out", "tools.json")).exit_code == 0
    assert json.loads((tmp_path / "tools.json").read_text("utf-8"))[0] == {"type": "web_search"}
    assert (await export.sync("--out", "tools.json", "--check")).exit_code == 0
    edited = (tmp_path / "tools.json").read_text("utf-8").replace("LOCAÇÃO", "LOCACAO")
    (tmp_path / "tools.json").write_text(edited, encoding="utf-8")
    assert (await export.sync("--out", "tools.json", "--check")).exit_code == 3
    assert (tmp_path / "tools.json").read_text("utf-8") == edited


@pytest.mark.parametrize("content", ["não é JSON", "{}", "[1]"])
async def test_a_file_of_something_else_is_not_overwritten(
    export: Shell, tmp_path: Path, content: str
) -> None:
    (tmp_path / "tools.json").write_text(content, encoding="utf-8")
    assert (await export.sync("--out", "tools.json")).exit_code == 2
    assert (tmp_path / "tools.json").read_text(encoding="utf-8") == content


async def test_a_file_that_cannot_be_written_is_a_configuration_error(export: Shell) -> None:
    refused = await export.sync("--out", "nenhuma/pasta.json")
    assert refused.exit_code == 2
    assert "não pôde ser gravado" in refused.stderr


async def test_a_catalogue_and_an_assistant_of_ones_own_are_kept_current(
    shell: Shell, platform: AssistantsSimulator, tmp_path: Path
) -> None:
    catalogue = {"setores": {"OBRAS": ["PODA"]}, "departamentos": ["obras"]}
    path = tmp_path / "nosso.json"
    path.write_text(json.dumps(catalogue), "utf-8")
    only = {"FINANCEIRO_ASSISTANT_ID": "", "SUPORTE_ASSISTANT_ID": "", "CATALOG_FILE": str(path)}
    env = only | {"ASSISTANT_IDS": f"COMERCIAL={ASSISTANTS['SUPORTE']}"}
    done = await shell.sync("--assistant", "comercial", **env)
    assert (done.exit_code, "✓ COMERCIAL" in done.stdout) == (0, True)
    ticket, handoff = (tool["function"]["parameters"]["properties"] for tool in tools(platform, "SUPORTE"))
    assert (ticket["setor"]["enum"], handoff["departamento"]["enum"]) == (["OBRAS"], ["obras"])
    assert (await shell.sync("--check", **env)).exit_code == 0
    assert (await shell.sync("--check", **env | {"CATALOG_FILE": ""})).exit_code == 3
    other = await shell.sync("--assistant", "VENDAS", **env)
    assert "use FINANCEIRO, SUPORTE, RECEPCAO, COMERCIAL" in other.stderr


async def test_a_catalogue_that_cannot_be_used_exits_2_with_every_problem(
    shell: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "nosso.json"
    path.write_text('{"setores": {"OBRAS": []}, "departamentos": ["obras", "OBRAS"]}', "utf-8")
    done = await shell.sync(CATALOG_FILE=str(path))
    assert done.exit_code == 2
    assert "setores, OBRAS: precisa ser uma lista" in done.stderr
    assert 'a grafia "OBRAS"' in done.stderr
