"""`rehearse` for real: the worker's own loop against the simulated platforms over HTTP."""

import asyncio
import functools
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from tests.databases import KEY
from worker.catalog import Catalog
from worker.cli import rehearse as verbs
from worker.cli.exit_codes import Exit
from worker.cli.main import cli
from worker.cli.rehearse import Options
from worker.errors import ConfigError
from worker.rehearsal.scenarios import Scenario, load
from worker.settings import Settings
from worker.simulator.faults import Fault
from worker.simulator.lineup import LINEUP
from worker.simulator.script import CustomerMessage, FunctionCalls, Move, Reply, Rounds, call, decide
from worker.simulator.server import serve

MakeSettings = Callable[..., Settings]

REQUEST = {"model": "gpt-6-astra", "instructions": "Atenda.", "tools": [{"type": "file_search"}]}
QUICK = {"POLL_MIN_S": 0.05, "CRM_BACKOFF_BASE_S": 0.01, "CRM_BACKOFF_MAX_S": 0.02}
PAID, HANDED_OVER = "financeiro-comprovante-imagem", "financeiro-opcao-b"


@dataclass
class Rig:
    """An operator beside one simulated platform."""

    settings: Settings
    simulator: Any
    folder: Path
    request: Path | None

    async def rehearse(self, *scenarios: str, **options: Any) -> tuple[int, str]:
        """The exit code and what was printed."""
        shown = StringIO()
        given = Options(scenarios=scenarios, request=self.request, yes=True, **options)
        code = await verbs.play(self.settings, given, Console(file=shown, width=200))
        return code, shown.getvalue()

    def play(self, script: Callable[[Sequence[CustomerMessage], Rounds], Move]) -> None:
        """Let the simulated assistants do this from now on."""
        simulator = self.simulator
        part = next(
            getattr(simulator, name)
            for name in ("sessions", "responses", "conversations")
            if hasattr(getattr(simulator, name, None), "script")
        )
        part.script = script

    def kept(self) -> int:
        """What the platform keeps: threads, files, sessions, conversations, responses."""
        simulator = self.simulator
        kept: list[Mapping[str, Any]] = [
            getattr(getattr(simulator, part, None), name, {})
            for part, name in (
                ("conversations", "threads"),
                ("files", "files"),
                ("sessions", "sessions"),
                ("conversations", "by_id"),
                ("responses", "by_id"),
            )
        ]
        return sum(map(len, kept))


@asynccontextmanager
async def rig_on(name: str, make_settings: MakeSettings, folder: Path) -> AsyncIterator[Rig]:
    played = LINEUP[name]
    simulator, request = played.fast_simulator(), folder / "request.json"
    request.write_text(json.dumps(REQUEST))
    ids = {f"{each}_ASSISTANT_ID": identifier for each, identifier in _ids(played.assistants).items()}
    async with serve(simulator.app) as url:
        settings = make_settings(PLATFORM=name, OPENAI_BASE_URL=f"{url}/v1", **ids, **QUICK)
        yield Rig(settings, simulator, folder, None if ids else request)


def _ids(assistants: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("ÇÃ", "CA"): each for name, each in assistants.items() if name != "MENTIROSO"}


@pytest.fixture(autouse=True)
def _prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped scenarios are read once; one key for all databases lets statements be compiled once."""
    monkeypatch.setattr(verbs, "load", lambda path, catalog: load(path, catalog) if path else shipped())
    monkeypatch.setattr("worker.rehearsal.stage.Fernet.generate_key", KEY.encode)


@functools.cache
def shipped() -> Sequence[Scenario]:
    return load(None, Catalog.load())


@pytest.fixture
async def rig(make_settings: MakeSettings, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_on("assistants", make_settings, tmp_path) as rig:
        yield rig


# ------------------------------------------------------------------------------------ what passes and fails


@pytest.mark.untraced
@pytest.mark.parametrize("platform", list(LINEUP))
async def test_the_simulated_assistants_pass_all_shipped_scenarios(
    platform: str, make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with rig_on(platform, make_settings, tmp_path) as rig:
        code, shown = await rig.rehearse(as_json=True, at_once=20)
        found = json.loads(shown)
        wrong = [each for each in found["scenarios"] if each["passed"] != each["of"]]
        assert (code, wrong, found["not_deleted"]) == (Exit.DONE, [], [])
        assert len(found["scenarios"]) == len(load(None, Catalog.load()))
        assert rig.kept() == 0
    assert not (tmp_path / "worker.db").exists()  # DATABASE_URL: the live ledger


LIARS = {"assistants": "asst_mentiroso", "agents": "agent_mentiroso"}


@pytest.mark.untraced
@pytest.mark.parametrize("platform", list(LINEUP))
async def test_the_simulated_liar_fails_the_shipped_scenarios_as_it_should(
    platform: str, make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with rig_on(platform, make_settings, tmp_path) as rig:
        if rig.request is not None:
            rig.request.write_text('{"model": "mentiroso"}')
        rig.settings = rig.settings.model_copy(update={"FINANCEIRO_ASSISTANT_ID": LIARS.get(platform)})
        code, shown = await rig.rehearse(assistants=["FINANCEIRO"], as_json=True, at_once=20)
    found = json.loads(shown)
    assert code == Exit.NOT_PASSED
    assert [each["name"] for each in found["scenarios"] if each["passed"]] == []
    findings = {code for each in found["scenarios"] for code in each["attempts"][0]["findings"]}
    assert findings == {"protocolo_desconhecido", "ticket_nao_aberto", "transferencia_nao_pedida"}
    assert found["summary"]["called_when_due"]["hits"] == 0
    assert found["summary"]["not_called_when_forbidden"]["hits"] > 0


def lie(said: Sequence[CustomerMessage], rounds: Rounds) -> Move:
    return Reply("Prontinho, abri o seu ticket! Protocolo: 9988776655443322")


async def test_an_assistant_that_lies_fails_and_the_table_says_how(rig: Rig) -> None:
    rig.play(lie)
    code, shown = await rig.rehearse(PAID, "financeiro-so-consulta-valor")
    assert code == Exit.NOT_PASSED
    assert "não chamou abrir_ticket_crm" in shown
    assert "resposta suspeita: um protocolo que não existe" in shown
    assert "resposta suspeita: um ticket que não foi aberto" in shown
    assert "9988776655443322" not in shown
    assert "Em 2 de 2 conversas o assistente disse ao cliente algo que não aconteceu" in shown
    assert "O que mudar:" in shown


async def test_the_models_words_are_shown_only_when_asked_for(rig: Rig) -> None:
    rig.play(lie)
    _, shown = await rig.rehearse(PAID, show=True)
    assert "» Prontinho, abri o seu ticket! Protocolo: 9988776655443322" in shown


async def test_a_scenario_passes_from_the_minimum_on(rig: Rig) -> None:
    turns = iter([decide, lie] * 4)
    scripts: dict[int, Callable[[Sequence[CustomerMessage], Rounds], Move]] = {}

    def every_other(said: Sequence[CustomerMessage], rounds: Rounds) -> Move:
        if not rounds:
            scripts[0] = next(turns)
        return scripts[0](said, rounds)

    rig.play(every_other)
    half, shown = await rig.rehearse(PAID, repeat=4, at_once=1, minimum=0.5)
    assert half == Exit.DONE
    assert "2 de 4 (15 a 85 %)" in shown
    rig.play(every_other)
    assert (await rig.rehearse(PAID, repeat=4, at_once=1, minimum=0.51))[0] == Exit.NOT_PASSED


async def test_a_wrong_pair_and_a_call_too_many_are_named(rig: Rig) -> None:
    def overdo(said: Sequence[CustomerMessage], rounds: Rounds) -> Move:
        wrong = call("abrir_ticket_crm", resumo="Maria pagou", setor="SUPORTE", motivo="LENTIDÃO")
        handoff = call("transferir_para_humano", departamento="comercial", motivo="Pagou")
        return Reply("Estou verificando.") if rounds else FunctionCalls((wrong, handoff))

    rig.play(overdo)
    code, shown = await rig.rehearse(PAID)
    assert code == Exit.NOT_PASSED
    assert "chamou abrir_ticket_crm SUPORTE / LENTIDÃO" in shown
    assert "chamou transferir_para_humano comercial sem que devesse" in shown
    assert "não informou o protocolo" in shown


async def test_a_run_that_fails_is_no_verdict_on_the_rules(rig: Rig) -> None:
    rig.play(lambda said, rounds: decide([CustomerMessage("simule uma falha")], rounds))
    code, shown = await rig.rehearse(PAID)
    assert code == Exit.NOT_PASSED
    assert "a execução terminou: falhou" in shown
    assert "nenhuma regra foi testada ali" in shown


@pytest.mark.parametrize("platform", ["agents"])
async def test_a_turn_that_failed_in_an_idle_session_did_not_end_as_it_should(
    platform: str, make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with rig_on(platform, make_settings, tmp_path) as rig:
        rig.play(lambda said, rounds: decide([CustomerMessage("simule um corte")], rounds))
        code, shown = await rig.rehearse(PAID)
    assert code == Exit.NOT_PASSED
    assert "a execução terminou: falhou" in shown


# --------------------------------------------------------------------------------------------- own scenarios

OWN = """\
- nome: meu-cenario
  assistente: FINANCEIRO
  fonte: "nossa regra"
  documento: 529.982.247-25
  cliente:
    - texto: Enviei o comprovante
      imagem: foto.png
  espera:
    chamadas:
      - {funcao: abrir_ticket_crm, setor: FINANCEIRO, motivo: INFORMAR PAGAMENTO}
    resposta: {protocolo: true, contem: comprovante}
"""


async def test_an_own_file_with_an_own_image_is_played(rig: Rig) -> None:
    (rig.folder / "meus.yaml").write_text(OWN, encoding="utf-8")
    (rig.folder / "foto.png").write_bytes(b"\x89PNG")
    code, shown = await rig.rehearse(file=rig.folder / "meus.yaml")
    assert code == Exit.DONE
    assert "meu-cenario" in shown
    assert "✓ 1 de 1 cenários passaram" in shown


async def test_scenarios_of_an_assistant_that_is_not_configured_are_left_out(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.settings = rig.settings.model_copy(update={"RECEPCAO_ASSISTANT_ID": None})
    code, shown = await rig.rehearse(PAID, "recepcao-so-consulta")
    assert code == Exit.DONE
    assert "recepcao-so-consulta" not in shown
    assert "! 1 cenários de RECEPÇÃO ficam de fora" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ what is written


async def test_json_is_compared_with_the_next_rehearsal(rig: Rig) -> None:
    before = rig.folder / "before.json"
    before.write_text((await rig.rehearse(PAID, HANDED_OVER, as_json=True))[1], encoding="utf-8")
    rig.play(lie)
    code, shown = await rig.rehearse(PAID, HANDED_OVER, before=before)
    assert code == Exit.NOT_PASSED
    worse = [line for line in shown.splitlines() if "▼ pior" in line]
    assert any(PAID in line and "1 de 1" in line and "0 de 1" in line for line in worse)
    assert any("conversas com resposta suspeita" in line for line in worse)
    _, shown = await rig.rehearse(PAID, as_json=True, before=before)
    assert json.loads(shown)["comparison"]["gone"] == [HANDED_OVER]


async def test_junit_is_written_beside_the_report(rig: Rig) -> None:
    rig.play(lie)
    path = rig.folder / "junit.xml"
    assert (await rig.rehearse(PAID, junit=path))[0] == Exit.NOT_PASSED
    assert ElementTree.parse(path).getroot().get("failures") == "1"


async def test_runs_and_reads_are_counted(rig: Rig) -> None:
    _, shown = await rig.rehearse("suporte-resolvido-pela-ia", as_json=True)
    (attempt,) = json.loads(shown)["scenarios"][0]["attempts"]
    assert attempt["runs"] == 2
    assert attempt["reads"] >= 3
    assert attempt["tokens"] == 0


# ---------------------------------------------------------------------------- when it does not go to its end


async def test_a_platform_that_refuses_ends_it_and_nothing_is_left(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.simulator.faults.add(Fault(on="create_run", status=403, times=None))
    code, shown = await rig.rehearse(PAID, HANDED_OVER)
    assert (code, shown) == (Exit.REFUSED, "")
    assert "✗ O ensaio parou: a plataforma recusou o acesso (HTTP 403)" in capsys.readouterr().err
    assert rig.kept() == 0


async def test_a_platform_that_is_busy_for_a_moment_is_spoken_to_again(rig: Rig) -> None:
    rig.simulator.faults.add(Fault(on="create_run", status=429, headers={"retry-after": "0"}, times=2))
    assert (await rig.rehearse(PAID))[0] == Exit.DONE
    assert rig.kept() == 0


async def test_ctrl_c_deletes_what_was_made_and_says_so(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    third = asyncio.Event()
    conversations = 0

    def interrupted(said: Sequence[CustomerMessage], rounds: Rounds) -> Move:
        nonlocal conversations
        conversations += not rounds
        if conversations == 3:
            third.set()
        return decide(said, rounds)

    rig.play(interrupted)
    rehearsing = asyncio.create_task(rig.rehearse(PAID, HANDED_OVER, repeat=50, at_once=1))
    await third.wait()
    assert rig.kept() > 0
    os.kill(os.getpid(), signal.SIGINT)
    code, shown = await rehearsing
    assert code == 130
    assert "Resultado parcial: o ensaio não chegou ao fim." in shown
    assert "1 de 1" in shown
    assert "■ encerrando: apagando na plataforma o que foi criado" in capsys.readouterr().err
    assert rig.kept() == 0


async def test_ctrl_c_in_the_middle_of_a_deletion_lets_it_end(rig: Rig) -> None:
    rig.simulator.faults.add(Fault(on="delete_file", delay_s=0.3, times=None))
    rehearsing = asyncio.create_task(rig.rehearse(PAID, repeat=2, at_once=1))
    while not any(request.method == "DELETE" for request in rig.simulator.requests):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    assert (await rehearsing)[0] == 130
    assert rig.kept() == 0


async def test_a_platform_that_crashes_leaves_a_list_of_what_is_left(
    rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.platforms.dialogue._RETRY_DELAYS_S", (0.0,))
    monkeypatch.setattr("worker.rehearsal.playing._AGAIN_AFTER_S", 0.0)
    rig.simulator.faults.add(Fault(on="list_messages", status=500, times=None))
    rig.simulator.faults.add(Fault(on="delete_thread", drop=True, times=None))
    rig.simulator.faults.add(Fault(on="delete_file", drop=True, times=None))
    code, _ = await rig.rehearse(PAID)
    told = capsys.readouterr().err
    assert code == Exit.REFUSED
    assert "✗ O ensaio parou: a plataforma não deu resposta legível (HTTP 500)" in told
    assert "Não pôde ser apagado na plataforma; apague à mão:" in told
    assert told.count("• thread thread_") == len(rig.simulator.conversations.threads) > 0
    assert told.count("• file file_") == len(rig.simulator.files.files) > 0


async def test_what_could_not_be_deleted_is_in_the_report_of_a_whole_rehearsal(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.platforms.dialogue._RETRY_DELAYS_S", ())
    rig.simulator.faults.add(Fault(on="delete_thread", status=500, times=None))
    code, shown = await rig.rehearse("financeiro-so-consulta-valor")
    assert code == Exit.DONE
    assert "Não pôde ser apagado" in shown
    assert f"• thread {next(iter(rig.simulator.conversations.threads))}" in shown


# ------------------------------------------------------------------------------------------ before it starts


async def test_what_is_missing_is_all_said_at_once(make_settings: MakeSettings) -> None:
    console = Console(file=StringIO())
    with pytest.raises(ConfigError) as refused:
        await verbs.play(make_settings(PLATFORM=None, OPENAI_API_KEY=None), Options(), console)
    assert [problem.split(" ", 1)[0] for problem in refused.value.problems] == ["PLATFORM", "OPENAI_API_KEY"]
    with pytest.raises(ConfigError, match="use --request ARQUIVO"):
        await verbs.play(make_settings(PLATFORM="responses"), Options(), console)
    with pytest.raises(ConfigError, match="--request é só de plataformas"):
        await verbs.play(make_settings(), Options(request=Path("a.json")), console)
    with pytest.raises(ConfigError) as refused:
        await verbs.play(make_settings(), Options(), console)
    assert refused.value.problems[0] == "O assistente FINANCEIRO não está configurado"


async def test_an_assistant_named_on_the_command_line_must_be_configured(make_settings: MakeSettings) -> None:
    settings = make_settings(FINANCEIRO_ASSISTANT_ID="asst_1")
    with pytest.raises(ConfigError, match="SUPORTE não está configurado"):
        await verbs.play(settings, Options(assistants=["FINANCEIRO", "suporte"]), Console(file=StringIO()))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 1}', '{"model": "a", "tools": {}}'])
async def test_a_request_that_is_none_is_refused(
    make_settings: MakeSettings, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "request.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="não é um objeto JSON com ao menos model"):
        await verbs.play(make_settings(PLATFORM="responses"), Options(request=path), Console(file=StringIO()))


async def test_the_request_keeps_its_own_tools_and_gets_ours(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with rig_on("responses", make_settings, tmp_path) as rig:
        sent: list[list[Any]] = []
        create = rig.simulator.responses.script

        def watch(said: Sequence[CustomerMessage], rounds: Rounds) -> Move:
            (response,) = rig.simulator.responses.by_id.values()
            sent.append(response.settings["tools"])
            move: Move = create(said, rounds)
            return move

        rig.play(watch)
        await rig.rehearse("financeiro-so-consulta-valor")
    assert [each.get("name", each["type"]) for each in sent[0]] == [
        "file_search",
        "abrir_ticket_crm",
        "transferir_para_humano",
    ]


@pytest.mark.parametrize("answer", ["", "n", "não sei", None], ids=str)
async def test_on_a_terminal_nothing_starts_without_a_yes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str | None
) -> None:
    with terminal(monkeypatch, answer):
        code = await verbs.play(
            rig.settings, Options(scenarios=["suporte-resolvido-pela-ia"], repeat=3), Console(file=StringIO())
        )
    assert code == Exit.REFUSED
    told = capsys.readouterr().err
    assert "Serão iniciadas ao menos 6 execuções em assistants" in told
    assert [each.method for each in rig.simulator.requests if each.method != "GET"] == []


async def test_on_a_terminal_a_yes_starts_it_and_yes_does_not_ask(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(scenarios=[PAID])
    with terminal(monkeypatch, "Sim"):
        assert await verbs.play(rig.settings, options, Console(file=StringIO())) == Exit.DONE
    with terminal(monkeypatch, "n"):
        yes = replace(options, yes=True)
        assert await verbs.play(rig.settings, yes, Console(file=StringIO())) == Exit.DONE


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, answer: str | None) -> Iterator[None]:
    """An operator at a terminal who types this when asked; None: Ctrl-C."""

    def typed(_question: str, **_: object) -> str:
        if answer is None:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            raise typer.Abort
        return answer

    with monkeypatch.context() as patch:
        patch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        patch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        patch.setattr("typer.prompt", typed)
        yield


def test_the_list_names_every_scenario_with_its_rule_and_starts_nothing() -> None:
    shown = CliRunner().invoke(cli, ["rehearse", "--list"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    for each in load(None, Catalog.load()):
        assert each.name in shown.stdout


def test_a_file_with_problems_ends_with_2() -> None:
    shown = CliRunner().invoke(cli, ["rehearse", "--list", "--scenarios", "nenhum.yaml"])
    assert shown.exit_code == Exit.MISCONFIGURED
    assert "nenhum.yaml não pôde ser lido" in shown.stderr
