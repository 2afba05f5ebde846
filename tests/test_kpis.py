"""The definitions of the KPIs (contract §7) and their targets."""

import pytest

from worker import metrics
from worker.kpis import BY_NAME, KPIS, Durations, Kpis

FIGURES = Kpis(
    tickets_opened=96,
    valid_requests=100,
    pairs_given=200,
    pairs_inexact=10,
    pairs_invalid=1,
    crm_ms=Durations(mean=120.0, p50=100.0, p95=400.0, p99=900.0),
)


def test_rates_are_parts_of_what_they_are_parts_of() -> None:
    assert (FIGURES.success_rate, FIGURES.invalid_rate_raw, FIGURES.invalid_rate) == (0.96, 0.05, 0.005)


def test_each_kpi_is_read_by_the_path_it_is_named_after() -> None:
    for kpi in KPIS:
        value: object = FIGURES
        for part in kpi.name.split("."):
            value = getattr(value, part)
        assert kpi.value(FIGURES) == value, kpi.name
    assert len(BY_NAME) == len(KPIS)


@pytest.mark.parametrize(
    ("name", "met", "missed"),
    [
        (
            "success_rate",
            {"tickets_opened": 951, "valid_requests": 1000},
            {"tickets_opened": 95, "valid_requests": 100},
        ),
        ("crm_ms.mean", {"crm_ms": Durations(mean=499.9)}, {"crm_ms": Durations(mean=500.0)}),
        ("invalid_rate", {"pairs_invalid": 9, "pairs_given": 1000}, {"pairs_invalid": 1, "pairs_given": 100}),
        (
            "without_protocol",
            {"valid_requests": 1, "without_protocol": 0},
            {"valid_requests": 1, "without_protocol": 1},
        ),
    ],
)
def test_the_missions_targets_are_judged_at_their_bounds(
    name: str, met: dict[str, object], missed: dict[str, object]
) -> None:
    assert BY_NAME[name].met(Kpis(**met)) is True  # type: ignore[arg-type]  # each case its own fields
    assert BY_NAME[name].met(Kpis(**missed)) is False  # type: ignore[arg-type]


def test_without_a_value_or_a_target_there_is_no_verdict() -> None:
    assert BY_NAME["success_rate"].met(Kpis()) is BY_NAME["without_protocol"].met(Kpis()) is None
    assert BY_NAME["retries"].met(FIGURES) is None
    assert {kpi.name for kpi in KPIS if kpi.target} == {
        "success_rate",
        "crm_ms.mean",
        "invalid_rate",
        "without_protocol",
        "suspect_rate",
    }


def test_the_targets_are_exported_to_prometheus() -> None:
    told = metrics.exposition().decode()
    assert 'ticket_worker_kpi_target{kpi="success_rate"} 0.95' in told
    assert 'ticket_worker_kpi_target{kpi="crm_ms.mean"} 500.0' in told
