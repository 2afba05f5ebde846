"""Results as they are counted, stored and read again."""

import json
from pathlib import Path

import pytest

from tests.rehearsal.makers import attempt, results, scenario
from worker.errors import ConfigError
from worker.rehearsal.results import Checks, Code, Mistake, Rate, read

WRONG = Mistake(code=Code.WRONG_PAIR, function="abrir_ticket_crm", detail="abrir_ticket_crm A / B")


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # Wilson (1927), as the usual tables and statsmodels' proportion_confint(method="wilson") have it.
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0)],
)
def test_the_interval_is_wilsons(hits: int, of: int, low: float, high: float) -> None:
    interval = Rate(hits, of).interval
    assert interval is not None
    assert interval == pytest.approx((low, high), abs=1e-4)


def test_nothing_of_nothing_has_neither_share_nor_interval() -> None:
    assert (Rate(0, 0).share, Rate(0, 0).interval) == (None, None)


def test_a_scenario_fails_below_the_minimum_and_not_at_it() -> None:
    half = scenario("metade", attempt(), attempt(WRONG))
    assert results(half, minimum=0.5).failed == ()
    assert results(half, minimum=0.51).failed == (half,)
    assert results(scenario("nunca")).failed[0].name == "nunca"


def test_the_rates_are_added_up_over_all_conversations() -> None:
    first = attempt(checks=Checks(due=1, called=1, pairs=1, right=1), replies=1)
    second = attempt(
        checks=Checks(due=1, forbidden=2, kept=1), replies=1, findings=("ticket_nao_aberto",), end="falhou"
    )
    rates = results(scenario("a", first), scenario("b", second)).rates()
    assert list(rates.values()) == [Rate(1, 2), Rate(1, 2), Rate(1, 1), Rate(1, 2), Rate(1, 2)]


def test_what_is_stored_is_read_again(tmp_path: Path) -> None:
    stored = results(scenario("a", attempt(), attempt(WRONG)), scenario("b", attempt()))
    path = tmp_path / "before.json"
    path.write_text(json.dumps({**stored.stored(), "comparison": {}}), encoding="utf-8")
    assert stored.stored()["scenarios"][0]["passed"] == 1
    assert stored.stored()["passed"] is False
    assert read(path) == stored


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"scenarios": 1}', '{"scenarios": [1]}', '"a"'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="não é um resultado"):
        read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="não pôde ser lido"):
        read(tmp_path / "none.json")
