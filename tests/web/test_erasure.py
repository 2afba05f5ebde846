"""`DELETE /v1/conversations/{id}` over HTTP (contract §3)."""

from tests.asgi import api_over, calling
from tests.store.harness import Rig


async def test_an_erasure_tells_what_went_and_what_stayed_and_why(rig: Rig) -> None:
    await rig.attempted(await rig.admit(await rig.run()))
    app = api_over(rig.store)
    async with calling(app) as api:
        answer = await api.delete("/v1/conversations/c1")
        again = await api.delete("/v1/conversations/c1")
    assert answer.status_code == 200
    report = answer.json()
    assert report["erased"] == {
        "documents": 1,
        "contacts": 0,
        "receipts": 0,
        "requests": 0,
        "answers": 0,
        "motivos": 0,
    }
    assert {(kept["what"], kept["count"]) for kept in report["kept"]} == {
        ("in_flight", 1),
        ("runs", 1),
        ("calls", 1),
    }
    assert all(kept["why"] for kept in report["kept"])
    assert (again.status_code, again.json()["code"]) == (404, "conversa_desconhecida")
    row = await rig.row("erasures")
    assert row.requested_by == "api@127.0.0.1"


async def test_only_our_own_pages_may_erase_and_only_a_possible_id(sqlite_rig: Rig) -> None:
    async with calling(api_over(sqlite_rig.store)) as api:
        foreign = await api.delete("/v1/conversations/c1", headers={"Sec-Fetch-Site": "cross-site"})
        assert (foreign.status_code, foreign.json()["code"]) == (403, "origem_recusada")
        bad = await api.delete("/v1/conversations/a%2Fb")
        assert (bad.status_code, bad.json()["code"]) == (422, "identificador_invalido")
        assert await sqlite_rig.rows("erasures") == []
        other = await api.post("/v1/conversations/c1", json={})
        assert other.headers["allow"] == "DELETE, GET, HEAD, PUT"
        assert (await api.delete("/v1/conversations/c1")).json()["erased"]["documents"] == 1


async def test_reading_a_contact_is_put_on_record_and_a_masked_document_is_not(rig: Rig) -> None:
    async with calling(api_over(rig.store)) as api:
        await api.get("/v1/conversations/c1")
        assert await rig.rows("access_log") == []
        await api.put("/v1/conversations/c1", json={"contact": "5524999990000"})
        await api.get("/v1/conversations/c1")
    (entry,) = await rig.rows("access_log")
    assert (entry.reader, entry.subject) == ("api@127.0.0.1", "c1")
