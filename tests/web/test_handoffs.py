"""What people do with hand-offs over HTTP (contract §3)."""

from dataclasses import replace
from datetime import datetime

import httpx
import pytest

from tests.asgi import api_over, calling
from tests.store.harness import HANDOFF, Rig
from tests.web.fake_records import FakeHandoffs, FakeRecords, a_handoff, an_api
from worker.model import Attendance


@pytest.fixture
def records() -> FakeRecords:
    return FakeRecords(all_handoffs=[a_handoff()])


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(
    ("verb", "state"), [("accept", "accepted"), ("close", "closed"), ("return", "returned")]
)
async def test_a_change_shows_the_handoff_without_its_motivo(
    records: FakeRecords, verb: str, state: str
) -> None:
    async with calling(an_api(records)) as api:
        answer = await api.post(f"/v1/handoffs/ho_1/{verb}")
        assert (answer.status_code, answer.json()["state"]) == (200, state)
        assert [answer.json()] == (await api.get("/v1/handoffs")).json()["items"]
    assert "motivo" not in answer.json()
    assert records.readers == []


@pytest.mark.parametrize("verb", ["accept", "close", "return"])
async def test_what_cannot_be_done_says_why(records: FakeRecords, verb: str) -> None:
    refusing = FakeHandoffs(records, refusal="estado_incompativel")
    async with calling(an_api(records, handoffs=refusing)) as api:
        assert code(await api.post(f"/v1/handoffs/ho_1/{verb}")) == (409, "estado_incompativel")
        assert code(await api.post(f"/v1/handoffs/ho_9/{verb}")) == (404, "nao_encontrado")
        assert code(await api.post(f"/v1/handoffs/a.b/{verb}")) == (422, "identificador_invalido")


@pytest.mark.parametrize("verb", ["accept", "close", "return"])
async def test_only_a_post_from_our_own_pages_changes_a_handoff(records: FakeRecords, verb: str) -> None:
    async with calling(an_api(records)) as api:
        path = f"/v1/handoffs/ho_1/{verb}"
        answer = await api.get(path)
        assert code(answer) == (405, "metodo_nao_permitido")
        assert answer.headers["allow"] == "POST"
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert code(await api.post(path, headers=foreign)) == (403, "origem_recusada")


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
