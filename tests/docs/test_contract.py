"""docs/contract.md has what the code offers to other programs, under the number that it is cited by."""

import re

import pytest

from tests.asgi import api_over
from tests.docs.pages import ROOT, anchors, read
from tests.test_errors import EXAMPLES
from worker import kpis
from worker.model import CallState, RunState
from worker.store.store import Store
from worker.web.problems import PROBLEMS

CONTRACT = read("docs/contract.md")


def section(number: int) -> str:
    _, _, rest = CONTRACT.partition(f"\n## {number}. ")
    assert rest, f"there is no section {number}"
    return rest.partition("\n## ")[0]


def nameless(path: str) -> str:
    """A path without the names of its variables."""
    return re.sub(r"\{\w+\}", "{}", path)


def sources() -> str:
    files = [*ROOT.glob("worker/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("bench/**/*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_every_section_that_the_code_cites_exists() -> None:
    cited = {int(number) for number in re.findall(r"[Cc]ontract §(\d+)", sources())}
    numbers = [int(number) for number in re.findall(r"^## (\d+)\. ", CONTRACT, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert cited <= set(numbers)


def test_every_route_of_the_api_is_in_the_contract(sqlite_store: Store) -> None:
    paths = api_over(sqlite_store).openapi()["paths"]
    assert "/v1/runs" in paths
    named = nameless(" ".join(CONTRACT.split()))
    assert [path for path in paths if not re.search(rf"{re.escape(nameless(path))}(?![\w/])", named)] == []


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_problem_is_listed_with_its_status(code: str) -> None:
    rows = dict(re.findall(r"^\| (\d{3}) \| (.+) \|$", section(3), re.MULTILINE))
    assert f"`{code}`" in rows[str(PROBLEMS[code].status)]


@pytest.mark.parametrize("state", [*CallState, *RunState])
def test_every_state_of_calls_and_runs_is_named(state: str) -> None:
    assert f"`{state}`" in section(3)


@pytest.mark.parametrize("code", EXAMPLES)
def test_every_answer_that_is_no_success_is_listed_with_its_sentence(code: str) -> None:
    (row,) = re.findall(rf"^\| `{code}` \| (.+)$", section(6), re.MULTILINE)
    beginning = row[1:].partition("`")[0].partition('"')[0].strip()
    assert EXAMPLES[code][1].startswith(beginning)
    assert len(beginning) >= len("Setor")


@pytest.mark.parametrize("kpi", [kpi.name for kpi in kpis.KPIS])
def test_every_kpi_is_named(kpi: str) -> None:
    assert re.search(rf"\b{kpi.partition('.')[0]}\b", section(7) + section(10) + section(12))


def test_every_event_is_listed() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("worker/store/**/*.py"))
    sent = set(re.findall(r"\"((?:ticket|handoff|run|reply)\.[a-z_]+)\"", code))
    assert {"ticket.opened", "handoff.requested"} <= sent
    assert {event for event in sent if f"`{event}`" not in section(5)} == set()


def test_the_headings_are_where_the_documents_link_to() -> None:
    assert {"3-http-api", "4-crm", "5-towards-the-bot", "6-answers-to-the-model"} <= anchors(CONTRACT)
