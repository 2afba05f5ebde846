"""The crash table of the design, row by row: SIGKILL at the exact point, a restart, and the tickets counted.

One daemon holds a run at each point at once; one kill hits them all. Three kinds of CRM differ in what may be
done about what was sent and never answered.
"""

import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.system.daemon import HELD_S, Daemon, Handed, House, house, until
from worker.simulator.crm import CrmSimulator
from worker.simulator.faults import Fault

PAID = "Acabei de pagar"
KINDS = ("idempotent", "lookup", "neither")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Killed:
    """A house whose daemon was killed and started again, and its runs by the point they had come to."""

    kind: str
    home: House
    daemon: Daemon
    runs: dict[str, Handed]

    async def end(self, point: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The run's call as the restarted daemon shows it, and what the model was told."""
        run = await self.home.run_ended(self.daemon, self.runs[point].run_id)
        (call,), (told,) = run["calls"], self.home.told(self.runs[point].run_id)
        assert run["state"] == "ended"
        return call, told

    def tickets(self, point: str) -> int:
        return self.home.opened_for(self.runs[point])

    def posts(self, point: str) -> list[bytes]:
        return self.home.posts_for(self.runs[point])


def settings(kind: str, home: House) -> dict[str, str]:
    """A CRM_TIMEOUT_S that outlasts the setting up, and no longer: only a lookup waits for its end."""
    lookup = {"CRM_LOOKUP_URL": home.crm_url + home.crm.lookup} if kind == "lookup" else {}
    idempotent = {"CRM_IDEMPOTENT": str(kind == "idempotent").lower()}
    return idempotent | lookup | {"CRM_CONCURRENCY": "2", "CRM_TIMEOUT_S": "6", "CRM_SETTLE_S": "0"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def killed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Killed]:
    kind: str = request.param
    crm = CrmSimulator(idempotent=kind == "idempotent")
    async with house(tmp_path_factory.mktemp(kind), crm=crm) as home:
        configured = settings(kind, home)
        async with home.daemon(**configured) as daemon:
            runs = await brought_to_their_points(home, daemon)
            assert await daemon.signalled(signal.SIGKILL) == -signal.SIGKILL
        home.platform.faults.clear()
        home.crm.faults.clear()
        async with home.daemon(**configured) as daemon:
            yield Killed(kind, home, daemon, runs)


async def brought_to_their_points(home: House, daemon: Daemon) -> dict[str, Handed]:
    """A run at every point of the table. The two whom the CRM holds take its slots, so the next one waits."""
    runs: dict[str, Handed] = {}
    never_taken = Fault(delay_s=HELD_S, status=500, on="submit_tool_outputs")
    taken = never_taken.model_copy(update={"commit_after_s": 0})
    for point, fault in (("recorded", never_taken), ("submitted", taken)):
        home.platform.faults.add(fault)
        before = home.asked("submit_tool_outputs")
        runs[point] = await home.hand_over(daemon, PAID)
        await until(lambda before=before: home.asked("submit_tool_outputs") > before)
    never_opened = Fault(delay_s=HELD_S, status=500)
    opened = Fault(delay_s=HELD_S, commit_after_s=0)
    for point, fault in (("sent", never_opened), ("opened", opened)):
        home.crm.faults.add(fault)
        runs[point] = await home.hand_over(daemon, PAID)
        await until(lambda run=runs[point]: home.posts_for(run))
    await until(lambda: home.opened_for(runs["opened"]))
    runs["intent"] = await home.hand_over(daemon, PAID)
    await until(lambda: home.stored("select 1 from calls where state = 'received' and body is not null"))
    home.platform.faults.add(Fault(delay_s=HELD_S, on="retrieve_run"))
    before = home.asked("retrieve_run")
    runs["inspect"] = await home.hand_over(daemon, PAID)
    await until(lambda: home.asked("retrieve_run") > before)
    return runs


@pytest.mark.parametrize("point", ["inspect", "intent"])
async def test_where_nothing_was_sent_the_next_owner_sends_once(killed: Killed, point: str) -> None:
    call, told = await killed.end(point)
    assert (call["state"], told["success"]) == ("done", True)
    assert (killed.tickets(point), len(killed.posts(point))) == (1, 1)


async def test_killed_with_the_ticket_opened_and_not_recorded(killed: Killed) -> None:
    call, told = await killed.end("opened")
    assert killed.tickets("opened") == 1
    posts = killed.posts("opened")
    if killed.kind == "idempotent":
        assert (len(posts), len(set(posts))) == (2, 1)
    else:
        assert len(posts) == 1
    if killed.kind == "neither":
        assert (call["state"], call["protocolo"], told["error"]) == ("unknown", None, "em_confirmacao")
    else:
        assert call["state"] == "done"
        assert call["protocolo"] == told["protocolo"] == protocolo_of(killed, "opened")


async def test_killed_while_the_crm_had_the_request_and_did_nothing(killed: Killed) -> None:
    call, told = await killed.end("sent")
    if killed.kind == "neither":
        assert (killed.tickets("sent"), len(killed.posts("sent"))) == (0, 1)
        assert (call["state"], told["error"]) == ("unknown", "em_confirmacao")
    else:
        posts = killed.posts("sent")
        assert (killed.tickets("sent"), len(posts), len(set(posts))) == (1, 2, 1)
        assert (call["state"], told["success"]) == ("done", True)


async def test_a_recorded_outcome_is_replayed_and_submitted(killed: Killed) -> None:
    call, told = await killed.end("recorded")
    assert (killed.tickets("recorded"), len(killed.posts("recorded"))) == (1, 1)
    assert call["protocolo"] == told["protocolo"] == protocolo_of(killed, "recorded")
    assert call["submitted_at"]
    assert f"Ticket reaproveitado | protocolo={call['protocolo']}" in killed.daemon.log


async def test_what_was_submitted_and_not_recorded_is_closed_without_another_submit(killed: Killed) -> None:
    call, told = await killed.end("submitted")
    assert (killed.tickets("submitted"), len(killed.posts("submitted"))) == (1, 1)
    assert call["protocolo"] == told["protocolo"] == protocolo_of(killed, "submitted")
    assert call["submitted_at"]
    submits = [
        request
        for request in killed.home.platform.requests
        if request.operation == "submit_tool_outputs" and killed.runs["submitted"].run_id in request.path
    ]
    assert len(submits) == 1


def protocolo_of(killed: Killed, point: str) -> str:
    """The one ticket at the CRM for this run's document."""
    document = killed.home.document(killed.runs[point])
    (ticket,) = [ticket for ticket in killed.home.crm.tickets if ticket.documento == document]
    return ticket.protocolo


async def test_killed_before_a_byte_was_written_it_is_sent_with_the_same_key(tmp_path: Path) -> None:
    """The attempt is committed, and the CRM's host does not even take the connection."""
    async with house(tmp_path) as home:
        with nobody_accepts() as url:
            async with home.daemon(CRM_WEBHOOK_URL=url) as daemon:
                run = await home.hand_over(daemon, PAID)
                await until(lambda: home.stored("select 1 from attempts"))
                ((key,),) = home.stored("select idempotency_key from calls")
                assert await daemon.signalled(signal.SIGKILL) == -signal.SIGKILL
        async with home.daemon() as daemon:
            ended = await home.run_ended(daemon, run.run_id)
    assert [call["state"] for call in ended["calls"]] == ["done"]
    assert [ticket.idempotency_key for ticket in home.crm.tickets] == [key]


@contextlib.contextmanager
def nobody_accepts() -> Iterator[str]:
    """An address whose queue of connections is full: the next one hangs before it is made."""
    with contextlib.ExitStack() as sockets:
        address = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0)).getsockname()
        for _ in range(3):
            client = sockets.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}/webhook/abrir_ticket"
