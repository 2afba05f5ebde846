"""PostgreSQL goes away and comes back: the daemon stays, and does nothing that cannot be recorded."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.chaos.replicas import Server, alone
from tests.system.daemon import House, house, launched, until
from worker.simulator.faults import Fault

pytestmark = [pytest.mark.untraced, pytest.mark.usefixtures("postgres")]  # which makes PostgreSQL's user

ASKS = "Minha internet voltou! Obrigado"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as built:
        yield built


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server of this test's own, running."""
    async with alone() as running:
        yield running


async def answer(client: httpx.AsyncClient, method: str, path: str) -> tuple[int, str | None]:
    response = await client.request(method, path, json={} if method == "PUT" else None)
    return response.status_code, response.headers.get("retry-after")


async def test_the_daemon_stays_while_postgresql_restarts_and_resumes_within_five_seconds(
    home: House, server: Server
) -> None:
    async with home.daemon(DATABASE_URL=server.url) as daemon, httpx.AsyncClient(base_url=daemon.url) as api:
        server.kill()
        await until(lambda: "o banco de dados não atende" in daemon.log or _poke(daemon.url))
        assert await answer(api, "PUT", "/v1/conversations/conv-1") == (503, "1")
        assert await answer(api, "GET", "/v1/calls") == (503, "1")
        assert await answer(api, "GET", "/readyz") == (503, "1")
        assert await answer(api, "GET", "/livez") == (200, None)
        assert "ticket_worker_database_up 0.0" in (await api.get("/metrics")).text
        page = await api.get("/")
        assert page.status_code == 503
        assert "O banco de dados não atende desde " in page.text
        assert 'href="help#banco-fora-do-ar"' in page.text
        assert (await api.get("/help")).status_code == 200
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(5):
            await daemon.ready()
            while await answer(api, "PUT", "/v1/conversations/conv-1") != (201, None):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        handed = await home.hand_over(daemon, ASKS)
        assert (await home.run_ended(daemon, handed.run_id))["state"] == "ended"
        assert daemon.log.count("o banco de dados não atende") == 1
        assert daemon.log.count("o banco de dados voltou a atender") == 1
        assert "ticket_worker_database_up 1.0" in (await api.get("/metrics")).text
        assert daemon.process.returncode is None


def _poke(url: str) -> bool:
    """An idle daemon asks its database once a second; a request notices sooner."""
    with contextlib.suppress(httpx.TransportError):
        httpx.get(f"{url}/v1/calls")
    return False


async def test_a_ticket_opened_while_the_database_was_away_is_recorded_when_it_is_back(
    home: House, server: Server
) -> None:
    home.crm.faults.add(Fault(on="abrir_ticket", delay_s=1.5, times=1))
    settings = {"DATABASE_URL": server.url, "CRM_TIMEOUT_S": "5"}
    async with home.daemon(**settings) as daemon:
        handed = await home.hand_over(daemon, ASKS)
        await until(lambda: not home.crm.faults.active())
        server.kill()
        await until(lambda: len(home.crm.tickets) == 1)
        await asyncio.to_thread(server.start)
        await daemon.ready()
        (call,) = (await home.run_ended(daemon, handed.run_id))["calls"]
        assert (call["state"], call["protocolo"]) == ("done", home.crm.tickets[0].protocolo)
    assert len(home.crm.tickets) == 1


async def test_a_database_that_freezes_is_away_until_it_goes_on_and_no_ticket_is_opened_twice(
    home: House, server: Server
) -> None:
    home.crm.faults.add(Fault(on="abrir_ticket", delay_s=1.5, times=1))
    settings = {"DATABASE_URL": server.url, "CRM_TIMEOUT_S": "5"}
    async with home.daemon(**settings) as daemon, httpx.AsyncClient(base_url=daemon.url) as api:
        first = await home.hand_over(daemon, ASKS)
        await until(lambda: not home.crm.faults.active())
        with server.frozen():
            await until(lambda: "o banco de dados não atende; nada é enviado" in daemon.log)
            assert "code=tempo_esgotado" in daemon.log
            assert await answer(api, "GET", "/readyz") == (503, "1")
            assert await answer(api, "GET", "/v1/calls") == (503, "1")
            assert await answer(api, "GET", "/livez") == (200, None)
            assert len(home.crm.tickets) == 1
            assert home.told(first.run_id) == []
        async with asyncio.timeout(5):
            await daemon.ready()
        second = await home.hand_over(daemon, ASKS)
        for run in (first, second):
            (call,) = (await home.run_ended(daemon, run.run_id))["calls"]
            assert (call["state"], call["attempts"], home.opened_for(run)) == ("done", 1, 1)


async def test_run_waits_for_a_database_that_does_not_answer_yet(home: House, server: Server) -> None:
    server.kill()
    async with launched(home.folder, home.settings | {"DATABASE_URL": server.url}) as daemon:
        await until(lambda: "aguardando o banco de dados para iniciar" in daemon.stderr)
        await asyncio.to_thread(server.start)
        await daemon.ready()


@pytest.mark.parametrize("at_start", [True, False], ids=["at start", "later"])
async def test_a_database_away_for_longer_than_the_grace_ends_the_daemon_with_one(
    at_start: bool, home: House, server: Server
) -> None:
    settings = home.settings | {"DATABASE_URL": server.url, "DATABASE_GRACE_S": "1"}
    if at_start:
        server.kill()
    async with launched(home.folder, settings) as daemon:
        if not at_start:
            await daemon.ready()
            server.kill()
        assert await daemon.ended() == 1
        assert "Traceback" not in daemon.stderr


async def test_a_daemon_that_waits_for_its_database_ends_in_order(home: House, server: Server) -> None:
    async with home.daemon(DATABASE_URL=server.url, SHUTDOWN_GRACE_S="0.5") as daemon:
        server.kill()
        await until(lambda: "o banco de dados não atende" in daemon.log or _poke(daemon.url))
        assert await daemon.signalled(signal.SIGTERM) == 0


async def test_several_servers_may_be_named_as_libpq_names_them(
    home: House, server: Server, tmp_path: Path
) -> None:
    nobody = tmp_path / "ninguem"
    nobody.mkdir()
    url = f"postgresql://postgres@/postgres?host={nobody},{server.folder}&port=1,{server.port}"
    async with home.daemon(DATABASE_URL=f"{url}&target_session_attrs=read-write") as daemon:
        handed = await home.hand_over(daemon, ASKS)
        assert (await home.run_ended(daemon, handed.run_id))["state"] == "ended"
