"""What people do with hand-offs over HTTP (contract §3)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime

import httpx
import pytest

from tests.asgi import api_over, calling
from tests.store.harness import HANDOFF, Rig
from worker.model import Attendance


@dataclass(frozen=True)
class Queue:
    """The API over one hand-off that waits."""

    rig: Rig
    api: httpx.AsyncClient
    #: The hand-off's address.
    path: str

    async def post(self, *verbs: str) -> httpx.Response:
        """The answer to the last of these changes."""
        for verb in verbs:
            answer = await self.api.post(f"{self.path}/{verb}")
        return answer


@pytest.fixture
async def queue(sqlite_rig: Rig) -> AsyncIterator[Queue]:
    await sqlite_rig.admit(await sqlite_rig.run(), 1, HANDOFF)
    handoff_id = (await sqlite_rig.row("handoffs")).handoff_id
    async with calling(api_over(sqlite_rig.store)) as api:
        yield Queue(sqlite_rig, api, f"/v1/handoffs/{handoff_id}")


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(
    ("verbs", "state"),
    [(["accept"], "accepted"), (["close"], "closed"), (["accept", "return"], "returned")],
)
async def test_a_change_shows_the_handoff_without_its_motivo(
    queue: Queue, verbs: list[str], state: str
) -> None:
    answer = await queue.post(*verbs)
    assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert [answer.json()] == (await queue.api.get("/v1/handoffs")).json()["items"]
    assert "motivo" not in answer.json()
    assert await queue.rig.rows("access_log") == []


@pytest.mark.parametrize(
    "verbs", [["accept", "accept"], ["close", "accept"], ["accept", "return", "close"], ["return"]]
)
async def test_what_cannot_be_done_says_why(queue: Queue, verbs: list[str]) -> None:
    assert code(await queue.post(*verbs)) == (409, "estado_incompativel")
    assert code(await queue.api.post(f"/v1/handoffs/ho_9/{verbs[-1]}")) == (404, "nao_encontrado")
    assert code(await queue.api.post(f"/v1/handoffs/a.b/{verbs[-1]}")) == (422, "identificador_invalido")


@pytest.mark.parametrize("verb", ["accept", "close", "return"])
async def test_only_a_post_from_our_own_pages_changes_a_handoff(queue: Queue, verb: str) -> None:
    path = f"{queue.path}/{verb}"
    answer = await queue.api.get(path)
    assert code(answer) == (405, "metodo_nao_permitido")
    assert answer.headers["allow"] == "POST"
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert code(await queue.api.post(path, headers=foreign)) == (403, "origem_recusada")
    assert (await queue.rig.row("handoffs")).state == "requested"


async def test_a_handoff_is_accepted_once_and_closed_as_often_as_one_likes(rig: Rig) -> None:
    await rig.admit(await rig.run(), 1, HANDOFF)
    path = f"/v1/handoffs/{(await rig.row('handoffs')).handoff_id}"
    app = api_over(rig.store)
    async with calling(app) as api:
        accepted = await api.post(f"{path}/accept")
        assert (accepted.status_code, accepted.json()["state"]) == (200, "accepted")
        assert code(await api.post(f"{path}/accept")) == (409, "estado_incompativel")
        closed = await api.post(f"{path}/close")
        assert (closed.status_code, closed.json()["state"]) == (200, "closed")
        assert (await api.post(f"{path}/close")).json() == closed.json()
        assert code(await api.post(f"{path}/accept")) == (409, "estado_incompativel")


async def test_a_conversation_is_returned_to_the_bot_by_whom_it_is_attended_to(rig: Rig) -> None:
    time = await rig.time()
    attendance = Attendance(time, time + 3600.0, time + 4500.0)
    await rig.admit(await rig.run(), 1, replace(HANDOFF, attendance=attendance))
    path = f"/v1/handoffs/{(await rig.row('handoffs')).handoff_id}"
    async with calling(api_over(rig.store)) as api:
        assert code(await api.post(f"{path}/return")) == (409, "estado_incompativel")
        waiting = (await api.get(path)).json()
        assert (waiting["overdue"], waiting["returned_at"]) == (False, None)
        opens, due = (datetime.fromisoformat(waiting[name]).timestamp() for name in ("opens_at", "due_at"))
        assert (opens, due) == pytest.approx((time + 3600.0, time + 4500.0), abs=0.001)
        await api.post(f"{path}/accept")
        returned = await api.post(f"{path}/return")
        assert (returned.status_code, returned.json()["state"]) == (200, "returned")
        assert returned.json()["returned_at"] is not None
        for verb in ("return", "accept", "close"):
            assert code(await api.post(f"{path}/{verb}")) == (409, "estado_incompativel")
        listed = (await api.get("/v1/handoffs", params={"state": "returned"})).json()["items"]
        assert listed == [returned.json()]
