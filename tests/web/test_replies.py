"""The bot has replies checked over HTTP (contract §10)."""

from typing import Any

import pytest

from tests.asgi import api_over, calling
from tests.store.harness import DONE, PROTOCOLO, Rig

LIE = "Prontinho! Abri seu chamado, o protocolo é 2510279999999999."


async def post(rig: Rig, **body: object) -> tuple[int, dict[str, Any]]:
    async with calling(api_over(rig.store)) as api:
        answer = await api.post("/v1/replies", json={"conversation_id": "c1", "text": "Olá!", **body})
    return answer.status_code, answer.json()


async def test_a_lie_is_found_where_it_stands_with_what_to_do_about_it(rig: Rig) -> None:
    await rig.conversation()
    status, verdict = await post(rig, text=LIE, run_id="run_1")
    assert (status, verdict["ok"]) == (200, False)
    shown = [(each["code"], LIE[each["start"] : each["end"]]) for each in verdict["findings"]]
    sentence = "Abri seu chamado, o protocolo é 2510279999999999."
    assert shown == [("ticket_nao_aberto", sentence), ("protocolo_desconhecido", "2510279999999999")]
    assert "abrir_ticket_crm" in verdict["instrucao"]
    row = await rig.row("reply_checks")
    assert (row.run_id, row.source, row.codes) == ("run_1", "api", "protocolo_desconhecido,ticket_nao_aberto")


async def test_what_the_ledger_holds_is_no_lie(rig: Rig) -> None:
    await rig.conversation()
    await rig.settled(await rig.attempted(await rig.admit(await rig.run())), DONE)
    text = f"Abri seu chamado, o protocolo é {PROTOCOLO}."
    assert await post(rig, text=text) == (200, {"ok": True, "findings": [], "instrucao": None})


async def test_numbers_the_bot_vouches_for_are_no_lie(rig: Rig) -> None:
    await rig.conversation()
    text = "O protocolo do seu pedido anterior é 99887766."
    assert (await post(rig, text=text))[1]["findings"][0]["code"] == "protocolo_desconhecido"
    assert (await post(rig, text=text, known_numbers=["99887766"]))[1]["ok"] is True


async def test_of_another_conversations_protocolo_the_bot_learns_the_code_alone(rig: Rig) -> None:
    await rig.conversation()
    await rig.settled(await rig.attempted(await rig.admit(await rig.run())), DONE)
    async with calling(api_over(rig.store)) as api:
        await api.put("/v1/conversations/c2", json={})
        body = {"conversation_id": "c2", "text": f"Seu protocolo é {PROTOCOLO}"}
        answer = await api.post("/v1/replies", json=body)
    assert [each["code"] for each in answer.json()["findings"]] == ["protocolo_de_outra_conversa"]
    assert "c1" not in answer.text
    assert PROTOCOLO not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"text": ""}, 422, "dados_invalidos"),
        ({"text": "a" * 20_001}, 422, "dados_invalidos"),
        ({"text": 5}, 422, "dados_invalidos"),
        ({"conversation_id": "c9"}, 404, "conversa_desconhecida"),
        ({"conversation_id": "a b"}, 422, "identificador_invalido"),
        ({"run_id": ""}, 422, "identificador_invalido"),
        ({"known_numbers": ["1"] * 101}, 422, "dados_invalidos"),
        ({"unknown": 1}, 422, "dados_invalidos"),
    ],
)
async def test_what_cannot_be_checked_says_why(
    rig: Rig, body: dict[str, object], status: int, code: str
) -> None:
    await rig.conversation()
    answered, problem = await post(rig, **body)
    assert (answered, problem["code"]) == (status, code)
    assert await rig.rows("reply_checks") == []


async def test_the_longest_text_is_checked(rig: Rig) -> None:
    await rig.conversation()
    text = "Olá. " * 3_990 + "Seu chamado foi aberto."
    _, verdict = await post(rig, text=text)
    assert [(each["code"], each["end"]) for each in verdict["findings"]] == [("ticket_nao_aberto", len(text))]
