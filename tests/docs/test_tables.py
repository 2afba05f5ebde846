"""The tables of the documents agree with the code: settings, commands, exit codes, make targets, packages."""

import json
import re
from pathlib import Path

import pytest
import typer

from tests.docs.pages import PAGES, READMES, ROOT, blocks, code_of, read
from worker import settings
from worker.cli.exit_codes import Exit
from worker.cli.main import cli
from worker.errors import ConfigError
from worker.settings import Settings
from worker.simulator.lineup import LINEUP

SETTINGS = ("docs/settings.md", "docs/settings.pt-BR.md")
COMMANDS = ("docs/commands.md", "docs/commands.pt-BR.md")
UNSET = "–"
SIGNALS = {130, 143}
"""What the shell reports of a process that a signal ended."""

_SETTING = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE))


def commands_in(table: str) -> set[str]:
    """The first cells of a table that lists commands of ticket-worker, without their arguments."""
    rows = re.search(r"^\| `\.venv/bin/ticket-worker …`.*\n\|[-|]+\n((?:\|.*\n)+)", table, re.MULTILINE)
    return set(re.findall(r"^\| `([a-z-]+(?: [a-z-]+)?)", rows[1], re.MULTILINE)) if rows else set()


def all_commands() -> set[str]:
    """Every command as it is typed: `run`, `calls list`."""
    commands = typer.main.get_group(cli).commands
    return {
        f"{name} {verb}".strip()
        for name, command in commands.items()
        for verb in getattr(command, "commands", {"": command})
    }


# ----------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize("page", SETTINGS)
def test_the_settings_table_names_every_setting_once_and_no_other(page: str) -> None:
    named = [name for name, _, _ in _SETTING.findall(read(page))]
    assert named == list(Settings.model_fields)


@pytest.mark.parametrize("page", SETTINGS)
def test_every_default_in_the_table_is_the_settings_own(page: str) -> None:
    listed = {name: default for name, default, _ in _SETTING.findall(read(page)) if default != UNSET}
    assert all(re.fullmatch("`.+`", default) for default in listed.values())
    read_back = Settings.model_validate({name: default.strip("`") for name, default in listed.items()})
    assert read_back == Settings()
    assert listed.keys() == {name for name, value in Settings() if value is not None}


@pytest.mark.parametrize("page", SETTINGS)
def test_what_the_table_calls_required_is_what_run_asks_for(page: str) -> None:
    required = {
        name for name, _, meaning in _SETTING.findall(read(page)) if re.match(r"\*\*\w+\*\*", meaning)
    }
    with pytest.raises(ConfigError) as refused:
        settings.load({}, Path("/nonexistent/.env"), for_run=True)
    assert required == {problem.split()[0] for problem in refused.value.problems}


@pytest.mark.parametrize("readme", READMES)
def test_the_readmes_six_settings_exist_and_hold_all_that_are_required(readme: str) -> None:
    rows = set(re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \| ", read(readme), re.MULTILINE)) - {"PLATFORM"}
    assert len(rows) == 5
    assert rows <= Settings.model_fields.keys()
    with pytest.raises(ConfigError) as refused:
        settings.load({}, Path("/nonexistent/.env"), for_run=True)
    assert {problem.split()[0] for problem in refused.value.problems} <= rows | {"PLATFORM"}


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_document_sets_exists(page: str) -> None:
    named = re.findall(
        r"`([A-Z]+(?:_[A-Z]+)*_(?:S|URL|KEY|KEYS|ID|SECRET|DAYS|RATE|RUNS|ROUNDS))`", read(page)
    )
    of_tests = {"CHAOS_SEED"}
    # The contract names settings before their code lands; the settings tables above never do.
    assert page == "docs/contract.md" or set(named) - of_tests <= Settings.model_fields.keys()


# ----------------------------------------------------------------------------------- commands, exit codes


@pytest.mark.parametrize("page", COMMANDS)
def test_the_commands_listed_are_those_there_are(page: str) -> None:
    assert commands_in(read(page)) == all_commands()


@pytest.mark.parametrize("page", COMMANDS)
def test_every_exit_code_is_listed(page: str) -> None:
    rows = re.findall(r"^\| (\d[\d, ]*) \| ", read(page), re.MULTILINE)
    listed = {int(code) for row in rows for code in row.split(", ")}
    assert listed == set(Exit) | SIGNALS


@pytest.mark.parametrize("readme", READMES)
def test_what_the_readme_prints_of_the_demo_is_what_the_demo_prints(readme: str) -> None:
    (printed,) = blocks(readme, "text")
    scenarios = re.findall(r"^✓ (.+?) \| esperado: ([^…|]+)", printed, re.MULTILINE)
    expected = {scenario.name: str(scenario.expected) for scenario in LINEUP["assistants"].scenarios}
    assert len(scenarios) >= 4
    assert [name for name, text in scenarios if not expected[name].startswith(text.strip("; "))] == []
    rows = re.findall(r"^│ (.+?) +│ .+? +│ .*│$", printed, re.MULTILINE)
    assert len(rows) >= 4
    assert [label for label in rows if f'"{label}"' not in read("worker/simulator/demo/play.py")] == []


# ------------------------------------------------------------------------------------------- make targets


@pytest.mark.parametrize("readme", READMES)
def test_a_readmes_first_block_is_the_two_commands(readme: str) -> None:
    assert re.findall(r"^make \w+", blocks(readme)[0], re.MULTILINE) == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_document_names_exists(page: str) -> None:
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)(?=[`\s])", code_of(page))) <= make_targets()


def test_the_commands_page_lists_every_make_target() -> None:
    assert set(re.findall(r"^\| `make ([a-z-]+)`", read("docs/commands.md"), re.MULTILINE)) == make_targets()


# ---------------------------------------------------------------------------------------------- the packages


def test_the_architecture_lists_every_part_of_the_worker_once() -> None:
    table = re.search(
        r"^\| in `worker/` .*\n\|[-|]+\n((?:\|.*\n)+)", read("docs/architecture.md"), re.MULTILINE
    )
    assert table
    listed = [name for row in table[1].splitlines() for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    modules = [path.name for path in ROOT.glob("worker/[!_]*.py")]
    packages = [path.parent.name for path in ROOT.glob("worker/*/__init__.py")]
    assert sorted(listed) == sorted(modules + packages)


# ---------------------------------------------------------------------------------------------- performance


def test_the_tables_of_the_performance_page_are_those_of_the_measured_figures() -> None:
    from bench import tables

    page = read("docs/performance.md")
    assert set(re.findall(r"<!-- bench: (\w+) -->", page)) == tables.TABLES.keys()
    assert tables.written(page, json.loads(read("docs/img/bench.json"))) == page
