"""`GET /v1/kpis` and `GET /metrics` (contract §7)."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.asgi import EPOCH, api_at_epoch, api_over, calling
from worker.kpis import Durations, Kpis
from worker.store.store import Store

FIGURES = Kpis(
    tickets_opened=96,
    valid_requests=100,
    pairs_given=200,
    pairs_inexact=10,
    pairs_invalid=1,
    crm_ms=Durations(120.0, 100.0, 400.0, 900.0),
    handoffs={"financeiro": 2},
    by_setor={"FINANCEIRO": 96},
    by_motivo={"PAGAMENTO": 96},
)


@pytest.fixture
def periods(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float | None]]:
    """The periods that were measured; each had the same figures."""
    measured: list[tuple[float, float | None]] = []

    async def kpis(since: float, until: float | None) -> Kpis:
        measured.append((since, until))
        return FIGURES

    monkeypatch.setattr(sqlite_store.records, "kpis", kpis)
    return measured


@pytest.fixture
async def api(
    sqlite_store: Store, periods: list[tuple[float, float | None]]
) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(api_at_epoch(sqlite_store)) as client:
        yield client


async def test_the_figures_are_shown_as_contract_7_names_them(api: httpx.AsyncClient) -> None:
    answer = await api.get("/v1/kpis")
    assert answer.status_code == 200
    assert answer.json() == {
        "since": "2025-10-26T15:34:00.250000-03:00",
        "until": "2025-10-27T15:34:00.250000-03:00",
        "tickets_opened": 96,
        "valid_requests": 100,
        "success_rate": 0.96,
        "crm_ms": {"mean": 120.0, "p50": 100.0, "p95": 400.0, "p99": 900.0},
        "end_to_end_ms": {"mean": None, "p50": None, "p95": None, "p99": None},
        "invalid_rate_raw": 0.05,
        "invalid_rate": 0.005,
        "without_protocol": 0,
        "unknown": 0,
        "duplicates_avoided": 0,
        "retries": 0,
        "replies_checked": 0,
        "replies_suspect": 0,
        "suspect_rate": None,
        "by_code": {},
        "handoffs": {"financeiro": 2},
        "by_setor": {"FINANCEIRO": 96},
        "by_motivo": {"PAGAMENTO": 96},
    }


async def test_a_period_may_be_given_in_each_of_the_forms(
    api: httpx.AsyncClient, periods: list[tuple[float, float | None]]
) -> None:
    shown = (await api.get("/v1/kpis", params={"since": "7d", "until": "24h"})).json()
    assert periods[-1] == (EPOCH - 7 * 86400, EPOCH - 86400)
    assert shown["until"] == "2025-10-26T15:34:00.250000-03:00"
    await api.get("/v1/kpis", params={"since": "hoje"})
    assert periods[-1] == (EPOCH - 15.5 * 3600 - 240.25, None)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "ontem"}, "since"),
        ({"until": "ontem"}, "until"),
        ({"since": "24h", "until": "7d"}, "since"),
        ({"since": "2099-01-01"}, "since"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"until": "9999-12-31T23:59:59-14:00"}, "until"),
    ],
)
async def test_a_period_that_is_none_is_refused_by_its_field(
    api: httpx.AsyncClient, query: dict[str, str], field: str
) -> None:
    answer = await api.get("/v1/kpis", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "dados_invalidos")
    assert answer.json()["errors"][0]["field"] == field


async def test_the_figures_need_the_token_and_the_metrics_do_not(sqlite_store: Store) -> None:
    async with calling(api_over(sqlite_store, token="s")) as api:
        assert (await api.get("/v1/kpis")).status_code == 401
        metrics = await api.get("/metrics")
    assert metrics.status_code == 200
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = [line.split()[2] for line in metrics.text.splitlines() if line.startswith("# TYPE")]
    assert names
    assert all(name.startswith("ticket_worker_") for name in names)


async def test_metrics_are_read_and_nothing_else(api: httpx.AsyncClient) -> None:
    answer = await api.post("/metrics")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
