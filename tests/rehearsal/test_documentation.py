"""docs/rehearsal.pt-BR.md says what the command does."""

import re
from pathlib import Path

import typer

from tests.docs.pages import block, read
from worker.catalog import Catalog
from worker.cli.exit_codes import Exit
from worker.cli.main import cli
from worker.rehearsal.results import Measure
from worker.rehearsal.scenarios import SHIPPED, CrmState, load
from worker.rehearsal.words import MEASURES

PAGE = "docs/rehearsal.pt-BR.md"


def test_the_documented_scenarios_are_valid(tmp_path: Path) -> None:
    path = tmp_path / "meus-cenarios.yaml"
    path.write_text(block(PAGE, "yaml", "- nome:"), encoding="utf-8")
    first, second = load(path, Catalog.load())
    assert len(first.turns) == 2
    assert second.crm is CrmState.DOWN


def test_every_option_is_documented_and_no_other() -> None:
    command = typer.main.get_group(cli).commands["rehearse"]
    options = {name for parameter in command.params for name in parameter.opts} - {"--help"}
    cells = re.findall(r"^\| (`--.+?) \| ", read(PAGE), re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"--[a-z-]+", cell)} == options


def test_every_exit_code_is_documented() -> None:
    listed = {
        int(code)
        for row in re.findall(r"^\| (\d[\d, ]*) \| ", read(PAGE), re.MULTILINE)
        for code in row.split(", ")
    }
    assert listed == {Exit.DONE, Exit.REFUSED, Exit.MISCONFIGURED, Exit.NOT_PASSED, 130, 143}


def test_every_line_of_the_summary_is_explained() -> None:
    assert MEASURES.keys() == set(Measure)
    assert [title for title in MEASURES.values() if f"| {title} |" not in read(PAGE)] == []


def test_the_shipped_scenarios_are_where_the_page_says() -> None:
    assert f"`{SHIPPED.relative_to(Path(__file__).parents[2])}`" in read(PAGE)
