"""What the loop relies on, whatever the platform: one suite, run over every adapter."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.platforms.harness import Harness, agents, assistants, responses
from tests.platforms.suite_table import does_not_apply, exceptions, table
from worker.errors import PlatformError, PlatformRefused, PlatformUnavailable, RunGone
from worker.model import Answer, Image, RunRef, RunSnapshot, RunStatus, Spoken, Utterance
from worker.personal import Personal
from worker.ports import Dialogue
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.script import Call, CustomerMessage, Failure, FunctionCalls, Reply

TICKET = Call("abrir_ticket_crm", '{"resumo": "Ação concluída", "setor": "SUPORTE"}')
HANDOFF = Call("transferir_para_humano", "{")
DONE = Reply("Pronto.")
NO_LISTS = "nothing can be listed there"
PLATFORMS = (assistants, agents, responses)


@pytest.fixture(params=PLATFORMS, ids=lambda factory: factory.__name__)
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    if reason := exceptions(request.function).get(request.param.__name__):
        pytest.skip(reason)
    async with request.param() as it:
        yield it


async def waiting(harness: Harness, *calls: Call) -> tuple[RunRef, RunSnapshot]:
    """A run that waits for the outputs of these calls, and will then finish."""
    ref = await harness.start(FunctionCalls(calls or (TICKET,)), DONE)
    harness.pass_time()
    return ref, await harness.platform.inspect(ref)


def answers(look: RunSnapshot, output: str = '{"success": true, "mensagem": "Olá"}') -> list[Answer]:
    return [Answer(call.platform_call_id, Personal(output), True, call.turn_id) for call in look.calls]


async def submit(harness: Harness, ref: RunRef, given: list[Answer]) -> RunRef:
    """Hand answers over; the run that goes on, which may be a new one."""
    return await harness.platform.submit(ref, given) or ref


# ---------------------------------------------------------------------------------------------- a run's life


async def test_a_run_works_requires_answers_works_and_ends(harness: Harness) -> None:
    ref = await harness.start(FunctionCalls((TICKET,)), DONE)
    assert (await harness.platform.inspect(ref)).status is RunStatus.WORKING
    harness.pass_time()
    look = await harness.platform.inspect(ref)
    assert look.status is RunStatus.REQUIRES_ACTION
    ref = await submit(harness, ref, answers(look))
    assert (await harness.platform.inspect(ref)).status is RunStatus.WORKING
    harness.pass_time()
    end = await harness.platform.inspect(ref)
    assert (end.status, end.reason) == harness.endings["completed"]


async def test_calls_are_read_as_the_model_made_them_and_keep_their_ids(harness: Harness) -> None:
    ref, look = await waiting(harness, TICKET, HANDOFF)
    assert [(call.tool, call.arguments.reveal()) for call in look.calls] == [
        (TICKET.name, TICKET.arguments),
        (HANDOFF.name, HANDOFF.arguments),
    ]
    assert (await harness.platform.inspect(ref)).calls == look.calls


async def test_each_answer_reaches_its_own_call_byte_for_byte(harness: Harness) -> None:
    ref, look = await waiting(harness, TICKET, HANDOFF)
    first, second = answers(look, '{"n": "Ç\\u00c3 \\" 📎\\n"}')[0], answers(look, '{"n": 2}')[1]
    await harness.platform.submit(ref, [second, first])
    (answered,) = harness.answered_rounds(ref)
    assert {item.call.name: item.output for item in answered} == {
        TICKET.name: first.output.reveal(),
        HANDOFF.name: second.output.reveal(),
    }


async def test_a_run_may_have_a_second_round_with_other_call_ids(harness: Harness) -> None:
    ref = await harness.start(FunctionCalls((TICKET,)), FunctionCalls((TICKET,)), DONE)
    harness.pass_time()
    first = await harness.platform.inspect(ref)
    ref = await submit(harness, ref, answers(first))
    harness.pass_time()
    second = await harness.platform.inspect(ref)
    assert second.status is RunStatus.REQUIRES_ACTION
    assert second.calls[0].platform_call_id != first.calls[0].platform_call_id


@pytest.mark.parametrize("status", ["failed", "incomplete"])
async def test_a_run_that_fails_has_ended_with_its_status(harness: Harness, status: str) -> None:
    ref = await harness.start(Failure(status))
    harness.pass_time()
    look = await harness.platform.inspect(ref)
    assert (look.status, look.reason) == harness.endings[status]


async def test_a_run_cancelled_while_it_works_ends(harness: Harness) -> None:
    ref = await harness.start(FunctionCalls((TICKET,)), DONE)
    await harness.cancel(ref)
    harness.pass_time()
    end = await harness.platform.inspect(ref)
    assert (end.status, end.reason) == harness.endings["cancelled"]


@does_not_apply(responses="what waits there is at its end already")
async def test_a_run_cancelled_while_it_waits_takes_no_answer(harness: Harness) -> None:
    ref, look = await waiting(harness)
    await harness.cancel(ref)
    assert (await harness.platform.inspect(ref)).status is RunStatus.WORKING
    harness.pass_time()
    with pytest.raises(PlatformError):
        await harness.platform.submit(ref, answers(look))
    end = await harness.platform.inspect(ref)
    assert (end.status, end.reason) == harness.endings["cancelled"]


@does_not_apply(agents="nothing expires there", responses="nothing expires there")
async def test_a_run_has_an_expiry_and_is_lost_after_it(harness: Harness) -> None:
    assert harness.lifetime_s is not None
    ref = await harness.start(FunctionCalls((TICKET,)), DONE)
    harness.pass_time(100)
    look = await harness.platform.inspect(ref)
    assert look.expires_in_s == harness.lifetime_s - 100
    harness.pass_time(harness.lifetime_s)
    with pytest.raises(PlatformError):
        await harness.platform.submit(ref, answers(look))
    end = await harness.platform.inspect(ref)
    assert (end.status, end.reason) == (RunStatus.LOST, "expirada")


async def test_the_platforms_hint_is_a_wait_in_seconds(harness: Harness) -> None:
    look = await harness.platform.inspect(await harness.start(DONE))
    assert look.poll_after_s == harness.hint_s


# ---------------------------------------------------------------------------------- what must not go through


async def test_a_second_submit_is_an_error_and_changes_nothing(harness: Harness) -> None:
    ref, look = await waiting(harness)
    await harness.platform.submit(ref, answers(look, "primeira"))
    with pytest.raises(PlatformUnavailable):
        await harness.platform.submit(ref, answers(look, "segunda"))
    assert [item.output for answered in harness.answered_rounds(ref) for item in answered] == ["primeira"]


@does_not_apply(agents="each answer is given by itself there")
async def test_half_the_answers_are_an_error_and_the_run_still_waits(harness: Harness) -> None:
    ref, look = await waiting(harness, TICKET, HANDOFF)
    with pytest.raises(PlatformError):
        await harness.platform.submit(ref, answers(look)[:1])
    assert await harness.platform.inspect(ref) == look


async def test_an_unknown_run_is_gone(harness: Harness) -> None:
    known, look = await waiting(harness)
    for ref in harness.strangers(known):
        with pytest.raises(RunGone):
            await harness.platform.inspect(ref)
        with pytest.raises(RunGone):
            await harness.platform.submit(ref, answers(look))


async def test_a_run_cannot_be_read_through_another_thread(harness: Harness) -> None:
    ref, _ = await waiting(harness)
    other, _ = await waiting(harness)
    try:
        look = await harness.platform.inspect(RunRef(ref.run_id, other.thread_id))
    except RunGone:
        return
    assert (look.status, look.reason) == (RunStatus.LOST, "isolamento")


# -------------------------------------------------------------------------------------------- bad weather


@pytest.mark.parametrize("fault", ["rate_limited", "error", "dropped", "garbage"])
async def test_an_outage_is_reported_as_unavailable_and_passes(harness: Harness, fault: str) -> None:
    ref, look = await waiting(harness)
    with harness.weather(fault):
        with pytest.raises(PlatformUnavailable):
            await harness.platform.inspect(ref)
        with pytest.raises(PlatformUnavailable):
            await harness.platform.submit(ref, answers(look))
    assert await harness.platform.inspect(ref) == look
    await harness.platform.submit(ref, answers(look))


async def test_a_rate_limit_carries_the_wait_it_demands(harness: Harness) -> None:
    ref = await harness.start(DONE)
    with harness.weather("rate_limited"), pytest.raises(PlatformUnavailable) as caught:
        await harness.platform.inspect(ref)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 1.0)


async def test_a_refused_key_is_reported_and_works_again_once_accepted(harness: Harness) -> None:
    ref = await harness.start(DONE)
    with harness.weather("unauthorized"), pytest.raises(PlatformRefused):
        await harness.platform.inspect(ref)
    assert (await harness.platform.inspect(ref)).status is RunStatus.WORKING


@pytest.mark.parametrize("fault", ["submit_dropped_after", "submit_error_after"])
async def test_answers_accepted_without_a_response_are_recognised(harness: Harness, fault: str) -> None:
    ref, look = await waiting(harness)
    with harness.weather(fault), pytest.raises(PlatformUnavailable):
        await harness.platform.submit(ref, answers(look))
    harness.pass_time()
    assert (await harness.platform.inspect(ref)).status is RunStatus.ENDED
    assert len(harness.answered_rounds(ref)) == 1


async def test_calls_made_after_an_unconfirmed_submit_are_answered(harness: Harness) -> None:
    ref = await harness.start(FunctionCalls((TICKET,)), FunctionCalls((HANDOFF,)), DONE)
    harness.pass_time()
    first = await harness.platform.inspect(ref)
    with harness.weather("submit_dropped_after"), pytest.raises(PlatformUnavailable):
        await harness.platform.submit(ref, answers(first))
    harness.pass_time()
    second = await harness.platform.inspect(ref)
    assert [call.tool for call in second.calls] == [HANDOFF.name]
    await harness.platform.submit(ref, answers(second))
    assert [[item.call.name for item in answered] for answered in harness.answered_rounds(ref)] == [
        [TICKET.name],
        [HANDOFF.name],
    ]


# ---------------------------------------------------------------------------------------- what was said in it


async def test_what_was_said_in_an_ended_run_is_read_by_the_runs_id(harness: Harness) -> None:
    ref = await harness.start(Reply("Abri seu chamado. 📎"))
    harness.pass_time()
    assert (await harness.platform.inspect(ref)).status is RunStatus.ENDED
    assert (await harness.platform.reply(ref)).text == "Abri seu chamado. 📎"


async def test_the_reply_of_a_run_with_calls_is_what_was_said_after_them(harness: Harness) -> None:
    ref, look = await waiting(harness)
    last = await submit(harness, ref, answers(look))
    harness.pass_time()
    assert (await harness.platform.inspect(last)).status is RunStatus.ENDED
    assert (await harness.platform.reply(last)).text == "Pronto."


async def test_a_run_that_failed_before_anything_was_said_has_no_reply(harness: Harness) -> None:
    ref = await harness.start(Failure("failed"))
    harness.pass_time()
    assert (await harness.platform.inspect(ref)).status is RunStatus.ENDED
    assert (await harness.platform.reply(ref)).text is None


@does_not_apply(assistants="messages are listed by thread, and an unknown run has none")
async def test_the_reply_of_an_unknown_run_is_an_error(harness: Harness) -> None:
    stranger = harness.strangers(await harness.start(DONE))[0]
    with pytest.raises(PlatformError):
        await harness.platform.reply(stranger)


@pytest.mark.parametrize("fault", ["error", "unauthorized", "dropped"])
async def test_a_reply_that_cannot_be_read_is_an_error_and_can_be_read_afterwards(
    harness: Harness, fault: str
) -> None:
    ref = await harness.start(DONE)
    harness.pass_time()
    with harness.weather(fault), pytest.raises(PlatformError):
        await harness.platform.reply(ref)
    assert (await harness.platform.reply(ref)).text == "Pronto."


# ------------------------------------------------------------------------------------------------ discovery


@does_not_apply(responses=NO_LISTS)
async def test_an_unannounced_run_is_discovered_while_it_works(harness: Harness) -> None:
    ref, look = await waiting(harness)
    assert ref.thread_id is not None
    assert await harness.platform.discover(ref.thread_id) == ref
    await harness.platform.submit(ref, answers(look))
    harness.pass_time()
    assert await harness.platform.discover(ref.thread_id) is None


@does_not_apply(responses=NO_LISTS)
async def test_a_run_of_another_assistant_is_not_discovered(harness: Harness) -> None:
    ref = await harness.start(FunctionCalls((TICKET,)), DONE, assistant_id=ASSISTANTS["SUPORTE"])
    assert ref.thread_id is not None
    assert await harness.platform.discover(ref.thread_id) is None


async def test_nothing_is_discovered_in_an_unknown_thread(harness: Harness) -> None:
    assert await harness.platform.discover("thread_desconhecida") is None


@does_not_apply(responses=NO_LISTS)
async def test_threads_that_name_their_conversation_are_listed_newest_first(harness: Harness) -> None:
    await harness.start(DONE)
    older, newer = [await harness.start(DONE, names="whatsapp-1") for _ in range(2)]
    named = [("whatsapp-1", ref.thread_id) for ref in (newer, older)]
    assert list(await harness.platform.listed()) == named


# ------------------------------------------------------------------------------------------------ the probe


async def test_the_probe_of_a_healthy_platform_gives_no_warning(harness: Harness) -> None:
    assert list(await harness.platform.probe()) == []


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("gone", "OPENAI_BASE_URL"),
        ("unauthorized", "OPENAI_API_KEY"),
        ("dropped", "resposta"),
        ("error", "o erro é dela, não da configuração"),
    ],
)
async def test_the_probe_of_a_failing_platform_gives_one_warning_and_no_error(
    harness: Harness, fault: str, word: str
) -> None:
    with harness.weather(fault):
        (warning,) = await harness.platform.probe()
    assert word in warning


# ----------------------------------------------------------------------------------- known by its id only


@does_not_apply(assistants="a run is found only through its thread")
async def test_the_thread_of_a_run_can_be_read_by_the_runs_id(harness: Harness) -> None:
    ref = await harness.start(DONE)
    assert await harness.platform.thread_of(ref.run_id) == ref.thread_id


@does_not_apply(assistants="a run is found only through its thread", agents="the run is the thread")
async def test_a_run_that_is_gone_has_no_thread(harness: Harness) -> None:
    with pytest.raises(RunGone):
        await harness.platform.thread_of("resp_desconhecida")


# ----------------------------------------------------------------------- a conversation of the worker's own


IMAGE = Image("foto.png", "image/png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)))


async def replied(harness: Harness, dialogue: Dialogue, text: str, image: Image | None = None) -> RunRef:
    """A message of our own and its run, which has ended."""
    ref = await dialogue.say(Utterance(text, image))
    harness.pass_time()
    assert (await harness.platform.inspect(ref)).status is RunStatus.ENDED
    return ref


async def test_a_conversation_of_our_own_is_begun_read_and_deleted(harness: Harness) -> None:
    dialogue = harness.platform.converse(harness.assistant)
    ref = await replied(harness, dialogue, harness.customer_text([Reply("Olá!")]))
    assert (await dialogue.reply(ref)) == Spoken("Olá!")
    assert harness.kept() > 0
    assert await dialogue.delete([ref.run_id]) == ()
    assert harness.kept() == 0


async def test_a_second_message_goes_on_where_the_first_ended(harness: Harness) -> None:
    dialogue = harness.platform.converse(harness.assistant)
    first, second = harness.customer_text([Reply("Um.")]), harness.customer_text([Reply("Dois.")])
    before = await replied(harness, dialogue, first)
    after = await replied(harness, dialogue, second)
    assert [spoken.text for spoken in harness.listening()] == [first, second]
    assert before.thread_id == after.thread_id
    assert (await dialogue.reply(after)) == Spoken("Dois.")


async def test_an_image_reaches_the_model_beside_its_text(harness: Harness) -> None:
    dialogue = harness.platform.converse(harness.assistant)
    text = harness.customer_text([Reply("Vi.")])
    ref = await replied(harness, dialogue, text, IMAGE)
    assert harness.listening() == [CustomerMessage(text, image=True)]
    assert await dialogue.delete([ref.run_id]) == ()
    assert harness.kept() == 0


async def test_what_is_said_after_a_call_was_answered_is_read(harness: Harness) -> None:
    dialogue = harness.platform.converse(harness.assistant)
    ref = await dialogue.say(Utterance(harness.customer_text([FunctionCalls((TICKET,)), DONE])))
    harness.pass_time()
    look = await harness.platform.inspect(ref)
    last = await submit(harness, ref, answers(look))
    harness.pass_time()
    assert (await harness.platform.inspect(last)).status is RunStatus.ENDED
    assert (await dialogue.reply(last)) == Spoken("Pronto.")
    assert await dialogue.delete([ref.run_id, last.run_id]) == ()
    assert harness.kept() == 0


async def test_a_conversation_still_at_work_is_ended_and_deleted(harness: Harness) -> None:
    dialogue = harness.platform.converse(harness.assistant)
    ref = await dialogue.say(Utterance(harness.customer_text([FunctionCalls((TICKET,)), DONE])))
    assert await dialogue.delete([ref.run_id]) == ()
    assert harness.kept() == 0


async def test_what_cannot_be_deleted_is_named(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.platforms.dialogue._RETRY_DELAYS_S", (0.0,))
    dialogue = harness.platform.converse(harness.assistant)
    ref = await replied(harness, dialogue, harness.customer_text([Reply("Olá!")]))
    with harness.weather("error"):
        left = await dialogue.delete([ref.run_id])
    assert len(left) == harness.kept()
    assert all((ref.thread_id or "") in name or ref.run_id in name for name in left)
    assert await dialogue.delete([ref.run_id]) == ()
    assert harness.kept() == 0


async def test_a_message_that_cannot_be_sent_is_an_error_and_leaves_nothing(harness: Harness) -> None:
    dialogue = harness.platform.converse(harness.assistant)
    with harness.weather("unauthorized"), pytest.raises(PlatformRefused):
        await dialogue.say(Utterance("oi"))
    assert await dialogue.delete() == ()
    assert harness.kept() == 0


async def test_the_tokens_of_an_ended_run_are_known(harness: Harness) -> None:
    dialogue = harness.platform.converse(harness.assistant)
    ref = await replied(harness, dialogue, harness.customer_text([Reply("Olá!")]))
    assert (await harness.platform.inspect(ref)).tokens == 0


# ------------------------------------------------------------------------------------------------ the table


def test_the_documented_table_is_this_suite() -> None:
    """`UPDATE_DOCS=1` writes the table of docs/architecture.md, which ends the page."""
    page = Path(__file__).parents[2] / "docs" / "architecture.md"
    head, _, _ = page.read_text("utf-8").partition("\n| case |")
    written = f"{head}\n{table(globals(), [each.__name__ for each in PLATFORMS])}"
    if os.environ.get("UPDATE_DOCS"):
        page.write_text(written, encoding="utf-8")
    assert page.read_text("utf-8") == written
