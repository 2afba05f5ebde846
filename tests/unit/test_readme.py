"""The READMEs say what is so: settings and their defaults, commands, targets, files, links."""

import re
from pathlib import Path

import pytest
import typer

from worker import settings
from worker.cli.main import cli
from worker.errors import ConfigError
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.pt-BR.md")
DOCS = sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))
UNSET = "–"
NOT_USED = ("not used yet: ", "ainda sem efeito: ")

_BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SETTING = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


@pytest.fixture(params=READMES)
def readme(request: pytest.FixtureRequest) -> str:
    return read(request.param)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


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


def test_the_settings_table_names_every_setting_once_and_no_other(readme: str) -> None:
    named = [name for name, _, _ in _SETTING.findall(readme)]
    assert named == list(Settings.model_fields)


def test_every_default_in_the_table_is_the_settings_own(readme: str) -> None:
    told = {name: default for name, default, _ in _SETTING.findall(readme) if default != UNSET}
    assert all(re.fullmatch("`.+`", default) for default in told.values())
    read_back = Settings.model_validate({name: default.strip("`") for name, default in told.items()})
    assert read_back == Settings()
    assert told.keys() == {name for name, value in Settings() if value is not None}


def test_what_the_table_calls_required_is_what_run_asks_for(readme: str) -> None:
    told = {name for name, _, meaning in _SETTING.findall(readme) if re.match(r"\*\*\w+\*\*", meaning)}
    with pytest.raises(ConfigError) as refused:
        settings.load({}, Path("/nonexistent/.env"), for_run=True)
    assert told == {problem.split()[0] for problem in refused.value.problems}


def test_what_the_table_calls_not_used_yet_is_read_by_no_module(readme: str) -> None:
    told = {name for name, _, meaning in _SETTING.findall(readme) if meaning.startswith(NOT_USED)}
    code = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("worker/**/*.py"))
    unread = {name for name in Settings.model_fields if not re.search(rf"\.{name}\b", code)}
    assert told == unread


# --------------------------------------------------------------------------------- commands, files, links


def test_the_first_block_is_the_two_commands(readme: str) -> None:
    first = _BLOCK.findall(readme)[0]
    assert re.findall(r"^make \w+", first, re.MULTILINE) == ["make demo", "make test"]


def test_every_make_target_named_exists(readme: str) -> None:
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)(?=[`\s])", code_of(readme))) <= make_targets()


def code_of(readme: str) -> str:
    """Blocks, and what stands between backticks: elsewhere "make" is a word."""
    inline = re.findall(r"`[^`\n]+`", _BLOCK.sub("", readme))
    return "\n".join([*_BLOCK.findall(readme), *inline])


def test_the_english_readme_lists_every_make_target() -> None:
    assert set(re.findall(r"^\| `make ([a-z-]+)`", read("README.md"), re.MULTILINE)) == make_targets()


def test_the_commands_listed_are_those_there_are(readme: str) -> None:
    assert commands_in(readme) == all_commands()


def test_every_place_on_the_map_exists_and_every_part_of_the_worker_is_on_it() -> None:
    tree = read("README.md").partition("```text\n")[2].partition("```")[0]
    places = [line.split()[0] for line in tree.splitlines()]
    assert not [place for place in places if not any(ROOT.glob(place))]
    parts = [*ROOT.glob("worker/[!_]*.py"), *(each.parent for each in ROOT.glob("worker/*/__init__.py"))]
    assert not [part for part in parts if not any(part.match(place) for place in places)]


@pytest.mark.parametrize("document", [*READMES, *DOCS])
def test_every_relative_link_leads_somewhere(document: str) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", read(document))
    for path, anchor in links:
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), anchor


@pytest.mark.parametrize("document", [*READMES, *DOCS])
def test_every_file_and_every_test_that_a_document_names_exists(document: str) -> None:
    text = read(document)
    files = re.findall(r"`((?:worker|tests|bench|schemas)/[\w/.-]+)`", text)
    assert [name for name in files if not (ROOT / name).exists()] == []
    tests = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))
    named = re.findall(r"`(test_\w+)`", text)
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_the_english_readme_leads_to_every_document() -> None:
    assert [name for name in DOCS if f"({name})" not in read("README.md")] == []


def anchors(markdown: str) -> set[str]:
    """The anchors a Markdown viewer gives headings."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_readme_leads_to_the_other() -> None:
    assert "(README.pt-BR.md)" in read("README.md")
    assert "(README.md)" in read("README.pt-BR.md")
