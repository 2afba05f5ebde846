"""What the ledger knows of a conversation when a reply is checked; the record of checks (contract §10)."""

import pytest

from tests.store.harness import DONE, HANDOFF, PROTOCOLO, REFUSED, OpenRig, Rig
from worker.errors import RequestRefused
from worker.model import ReplySource
from worker.replies import Code

DAY_S = 86_400.0


async def test_a_ticket_bears_a_reply_out_for_a_day_and_its_protocolo_always_does(rig: Rig) -> None:
    await rig.conversation()
    record = await rig.admit(await rig.run())
    assert not (await rig.store.replies.facts("c1", ())).ticket_opened
    await rig.settled(await rig.attempted(record), DONE)
    facts = await rig.store.replies.facts("c1", ())
    assert (facts.ticket_opened, facts.protocolos) == (True, {PROTOCOLO})
    await rig.ago(DAY_S + 60, "calls", "finished_at")
    facts = await rig.store.replies.facts("c1", ())
    assert (facts.ticket_opened, facts.protocolos) == (False, {PROTOCOLO})


async def test_a_ticket_that_failed_bears_nothing_out(rig: Rig) -> None:
    await rig.conversation()
    await rig.settled(await rig.attempted(await rig.admit(await rig.run())), REFUSED)
    facts = await rig.store.replies.facts("c1", ())
    assert (facts.ticket_opened, facts.protocolos) == (False, frozenset())


async def test_a_hand_off_bears_a_reply_out_for_a_day(rig: Rig) -> None:
    await rig.conversation()
    await rig.admit(await rig.run(), 1, HANDOFF)
    assert (await rig.store.replies.facts("c1", ())).handoff_requested
    await rig.ago(DAY_S + 60, "handoffs", "requested_at")
    assert not (await rig.store.replies.facts("c1", ())).handoff_requested


async def test_only_numbers_that_were_asked_for_are_found_in_other_conversations(rig: Rig) -> None:
    await rig.conversation()
    await rig.settled(await rig.attempted(await rig.admit(await rig.run())), DONE)
    await rig.conversation("c2")
    facts = await rig.store.replies.facts("c2", {PROTOCOLO, "123"})
    assert (facts.protocolos, facts.foreign, facts.ticket_opened) == (frozenset(), {PROTOCOLO}, False)
    assert (await rig.store.replies.facts("c2", ())).foreign == frozenset()


async def test_an_unknown_conversation_has_no_facts(rig: Rig) -> None:
    with pytest.raises(RequestRefused) as refused:
        await rig.store.replies.facts("nobody", ())
    assert refused.value.code == "conversa_desconhecida"


async def test_a_suspect_reply_is_told_to_the_bot_and_a_clean_one_is_only_counted(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, BOT_WEBHOOK_URL="http://127.0.0.1:9/eventos")
    await rig.conversation()
    await rig.store.replies.record("c1", "run_1", ReplySource.RUN, [])
    await rig.store.replies.record("c1", None, ReplySource.API, [Code.NO_TICKET, Code.PRINTED_CALL])
    told = {"run_id": None, "conversation_id": "c1", "source": "api"}
    assert await rig.events() == [
        ("reply.suspect", {**told, "codes": ["ticket_nao_aberto", "funcao_em_texto"]})
    ]
    kpis = await rig.store.records.kpis(0.0, None)
    assert (kpis.replies_checked, kpis.replies_suspect, kpis.suspect_rate) == (2, 1, 0.5)
    assert kpis.by_code == {"ticket_nao_aberto": 1, "funcao_em_texto": 1}


async def test_suspect_replies_are_listed_newest_first_page_by_page(rig: Rig) -> None:
    await rig.conversation()
    for number in range(5):
        codes = [Code.NO_HANDOFF] if number != 2 else []
        await rig.store.replies.record("c1", f"run_{number}", ReplySource.RUN, codes)
    page, cursor = await rig.store.replies.suspects(limit=3)
    assert [view.run_id for view in page] == ["run_4", "run_3", "run_1"]
    rest, end = await rig.store.replies.suspects(limit=3, cursor=cursor)
    assert ([view.run_id for view in rest], end) == (["run_0"], None)
    assert (await rig.store.replies.suspects(since=await rig.time() + 60))[0] == []


async def test_the_bots_own_check_counts_from_the_announcement_of_the_run(rig: Rig) -> None:
    await rig.conversation()
    await rig.run()
    assert not await rig.store.replies.checked_by_bot("run_1")
    await rig.store.replies.record("c1", "run_1", ReplySource.RUN, [])
    assert not await rig.store.replies.checked_by_bot("run_1")
    await rig.store.replies.record("c1", "run_1", ReplySource.API, [])
    assert await rig.store.replies.checked_by_bot("run_1")
    await rig.ago(-60.0, "runs", "registered_at")
    assert not await rig.store.replies.checked_by_bot("run_1")


async def test_checks_are_kept_as_long_as_the_record_and_counted_by_an_erasure(rig: Rig) -> None:
    await rig.conversation()
    await rig.settled(await rig.attempted(await rig.admit(await rig.run())), DONE)
    await rig.store.replies.record("c1", "run_1", ReplySource.RUN, [Code.NO_TICKET])
    erasure = await rig.store.erasures.erase_conversation("c1", by="test")
    assert erasure.replies == 1
    await rig.ago(731 * DAY_S, "reply_checks", "checked_at")
    assert (await rig.store.retention.sweep()).replies == 1
    assert await rig.rows("reply_checks") == []


async def test_the_dashboards_list_holds_the_suspect_replies_of_a_day(rig: Rig) -> None:
    await rig.conversation()
    await rig.store.replies.record("c1", "run_1", ReplySource.RUN, [Code.NO_TICKET])
    await rig.store.replies.record("c1", "run_2", ReplySource.RUN, [Code.NO_TICKET])
    await rig.ago(2 * DAY_S, "reply_checks", "checked_at", run_id="run_1")
    suspect = (await rig.store.board.backlog(20)).suspect
    assert ([view.run_id for view in suspect.items], suspect.count) == (["run_2"], 1)
