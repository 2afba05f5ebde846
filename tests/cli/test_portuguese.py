"""What a person reads of the command line itself is Portuguese: every help, every complaint."""

import re
from collections.abc import Iterator

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner, Result

from worker.cli.main import cli
from worker.cli.output import LABELS
from worker.web.responses import Call, HandoffDetail

ENGLISH = re.compile(
    r"\b(usage|options|arguments|commands|show this message|default|required|completion for|bool|invalid|"
    r"missing|error|no such|try)\b",
    re.IGNORECASE,
)


def _run(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(cli, words, prog_name="ticket-worker")


def _commands() -> Iterator[tuple[str, ...]]:
    yield ()
    for name, command in typer.main.get_group(cli).commands.items():
        yield (name,)
        for verb in getattr(command, "commands", ()):
            yield (name, verb)


@pytest.mark.parametrize("words", list(_commands()), ids=" ".join)
def test_every_help_is_portuguese_and_fits_a_terminal(words: tuple[str, ...]) -> None:
    shown = _run(*words, "--help")
    assert shown.exit_code == 0
    assert "Uso: ticket-worker" in shown.stdout
    assert "Mostra esta ajuda." in shown.stdout
    assert not ENGLISH.findall(re.sub(r"--[\w-]+", "", shown.stdout))
    assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nada"], "Este comando não existe"),
        (["calls", "lst"], "Este comando não existe"),
        (["calls", "show"], "Falta 'CALL'."),
        (["calls", "resolve", "tc_1"], "Falta '--protocolo'."),
        (
            ["calls", "list", "--state", "feito"],
            "'--state' tem um valor inválido; use received, running, done, ",
        ),
        (["calls", "list", "--limit", "0"], "'--limit' tem um valor inválido; use de 1 a 200."),
        (["calls", "list", "--limit", "201"], "'--limit' tem um valor inválido; use de 1 a 200."),
        (["calls", "list", "--limit", "dez"], "'--limit' tem um valor inválido; use de 1 a 200."),
        (["calls", "list", "--limt", "9"], "A opção --limt não existe; talvez --limit."),
        (["calls", "list", "--xyz"], "A opção --xyz não existe."),
        (["calls", "list", "sobra"], "Este comando não existe, ou tem palavras demais."),
        (["calls", "list", "--state"], "O valor de --state falta, ou sobra."),
        (["check", "--json=sim"], "O valor de --json falta, ou sobra."),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_wrong_use_is_explained_in_portuguese_and_exits_2(words: list[str], told: str) -> None:
    wrong = _run(*words)
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith(f"✗ {told}")
    assert not ENGLISH.findall(wrong.stderr)


def test_without_a_command_the_help_is_shown_once() -> None:
    shown = _run()
    assert shown.exit_code == 2
    assert shown.stdout.count("Comandos") + shown.stderr.count("Comandos") == 1
    assert not shown.stderr


@pytest.mark.parametrize("shown", [Call, HandoffDetail])
def test_every_fact_of_a_call_or_a_hand_off_has_a_portuguese_name(shown: type[BaseModel]) -> None:
    ours = {"protocolo", "setor", "motivo", "departamento"}
    assert shown.model_fields.keys() - {"timeline"} <= LABELS.keys() | ours
