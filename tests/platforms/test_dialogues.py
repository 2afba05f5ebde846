"""Conversations of the worker's own, where one platform differs from the others."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.platforms.openai_spec import request_problems
from worker.errors import PlatformRefused, PlatformUnavailable
from worker.model import Image, RunRef, RunStatus, Spoken, Utterance
from worker.platforms.agents import AgentsPlatform
from worker.platforms.assistants import AssistantsPlatform
from worker.platforms.dialogue import CreatedObjects
from worker.platforms.responses import ResponsesPlatform
from worker.simulator.agents.app import AgentsSimulator
from worker.simulator.agents.saved_agents import AGENTS
from worker.simulator.agents.sessions import SessionTimings
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.assistants.runs import Timings
from worker.simulator.faults import Fault
from worker.simulator.responses.app import ResponsesSimulator
from worker.simulator.script import Failure, Reply
from worker.simulator.server import serve

AT_ONCE = Timings(queued_s=0, thinking_s=0)
IMAGE = Image("foto.png", "image/png", b"\x89PNG")
FINANCEIRO = ASSISTANTS["FINANCEIRO"]


@asynccontextmanager
async def assistants(simulator: AssistantsSimulator) -> AsyncIterator[AssistantsPlatform]:
    async with serve(simulator.app) as url:
        platform = AssistantsPlatform(api_key="key", base_url=url)
        yield platform
        await platform.aclose()


@asynccontextmanager
async def agents(
    simulator: AgentsSimulator, on_wait: Callable[[float], None] = lambda _: None
) -> AsyncIterator[AgentsPlatform]:
    async def wait(seconds: float) -> None:
        on_wait(seconds)
        simulator.clock.skip(seconds)

    async with serve(simulator.app) as url:
        platform = AgentsPlatform(api_key="key", base_url=url, sleep=wait)
        yield platform
        await platform.aclose()


async def test_an_image_has_the_purpose_vision_else_the_one_foundrys_samples_use() -> None:
    simulator = AssistantsSimulator(timings=AT_ONCE)
    async with assistants(simulator) as platform:
        dialogue = platform.converse(FINANCEIRO)
        await dialogue.say(Utterance("segue", IMAGE))
        simulator.faults.add(Fault(on="create_file", status=400))
        await platform.converse(FINANCEIRO).say(Utterance("segue", IMAGE))
    assert [file["purpose"] for file in simulator.files.files.values()] == ["vision", "assistants"]
    assert {file["filename"] for file in simulator.files.files.values()} == {"foto.png"}


async def test_an_image_that_is_refused_otherwise_is_refused() -> None:
    simulator = AssistantsSimulator(timings=AT_ONCE)
    simulator.faults.add(Fault(on="create_file", status=403, times=None))
    async with assistants(simulator) as platform:
        with pytest.raises(PlatformRefused):
            await platform.converse(FINANCEIRO).say(Utterance("segue", IMAGE))
    assert sum(request.path == "/files" for request in simulator.requests) == 1


async def test_an_answer_without_an_id_is_no_answer() -> None:
    simulator = AssistantsSimulator(timings=AT_ONCE)
    simulator.faults.add(Fault(on="create_thread", body="{}", content_type="application/json"))
    async with assistants(simulator) as platform:
        dialogue = platform.converse(FINANCEIRO)
        with pytest.raises(PlatformUnavailable):
            await dialogue.say(Utterance("oi"))
        assert await dialogue.delete() == ()


async def test_the_requests_of_a_conversation_are_as_openai_describes_them() -> None:
    simulator = AssistantsSimulator(timings=AT_ONCE)
    async with assistants(simulator) as platform:
        dialogue = platform.converse(FINANCEIRO)
        ref = await dialogue.say(Utterance("segue", IMAGE))
        await dialogue.reply(ref)
        assert await dialogue.delete([ref.run_id]) == ()
    described = [request for request in simulator.requests if not request.path.startswith("/files")]
    assert len(described) == len(simulator.requests) - 2
    assert request_problems(described) == []


async def test_a_session_whose_turn_does_not_begin_is_waited_for_in_vain_and_deleted() -> None:
    simulator, waits = AgentsSimulator(), []
    simulator.faults.add(
        Fault(on="list_turns", body='{"data": []}', content_type="application/json", times=None)
    )
    async with agents(simulator, waits.append) as platform:
        dialogue = platform.converse(AGENTS["FINANCEIRO"])
        with pytest.raises(PlatformUnavailable):
            await dialogue.say(Utterance("oi"))
        assert 5 < sum(waits) < 10
        assert len(simulator.sessions.sessions) == 1
        assert await dialogue.delete() == ()
    assert simulator.sessions.sessions == {}


async def test_a_turn_that_is_shown_late_is_waited_for() -> None:
    simulator = AgentsSimulator()
    simulator.faults.add(
        Fault(on="list_turns", body='{"data": []}', content_type="application/json", times=2)
    )
    async with agents(simulator) as platform:
        ref = await platform.converse(AGENTS["FINANCEIRO"]).say(Utterance("oi"))
    assert ref.run_id in simulator.sessions.sessions


async def test_a_session_that_is_shown_idle_beside_a_turn_at_work_is_waited_for() -> None:
    simulator, waits = AgentsSimulator(), []
    async with agents(simulator, waits.append) as platform:
        dialogue = platform.converse(AGENTS["FINANCEIRO"])
        idle = '{"id": "sess_1", "status": "idle"}'
        simulator.faults.add(
            Fault(on="retrieve_session", body=idle, content_type="application/json", times=2)
        )
        ref = await dialogue.say(Utterance("Acabei de pagar"))
        look = await platform.inspect(ref)
    assert waits == [0.1, 0.2]
    assert look.status is not RunStatus.ENDED


@pytest.mark.parametrize(
    ("status", "failure"), [("failed", None), ("incomplete", "falhou")], ids=["session", "turn"]
)
async def test_a_turn_that_failed_says_so_where_its_session_does_not(
    status: str, failure: str | None
) -> None:
    timings = SessionTimings(queued_s=0, thinking_s=0)
    simulator = AgentsSimulator(timings=timings, script=lambda said, rounds: Failure(status))
    async with agents(simulator) as platform:
        dialogue = platform.converse(AGENTS["FINANCEIRO"])
        ref = await dialogue.say(Utterance("oi"))
        look = await platform.inspect(ref)
        spoken = await dialogue.reply(ref)
    assert look.status is RunStatus.ENDED
    if failure is not None:
        assert (look.reason, spoken) == ("ociosa", Spoken(None, failure))
    else:
        assert look.reason == "falhou"


async def test_only_the_words_of_the_newest_turn_are_its_reply() -> None:
    timings = SessionTimings(queued_s=0, thinking_s=0)
    simulator = AgentsSimulator(timings=timings, script=lambda said, rounds: Reply(f"{len(said)}"))
    async with agents(simulator) as platform:
        dialogue = platform.converse(AGENTS["FINANCEIRO"])
        await dialogue.say(Utterance("oi"))
        ref = await dialogue.say(Utterance("de novo"))
        assert await dialogue.reply(ref) == Spoken("2")


async def test_what_a_recorded_request_says_of_itself_is_left_out() -> None:
    simulator = ResponsesSimulator(timings=AT_ONCE)
    recorded = {
        "model": "gpt-4o",
        "temperature": 0.5,
        "input": "outra coisa",
        "previous_response_id": "resp_1",
        "conversation": "conv_1",
        "stream": True,
    }
    async with serve(simulator.app) as url:
        platform = ResponsesPlatform(api_key="key", base_url=url)
        dialogue = platform.converse(recorded)
        ref = await dialogue.say(Utterance("oi", IMAGE))
        (response,) = simulator.responses.by_id.values()
        await platform.aclose()
    assert ref == RunRef(response.id, response.conversation.id if response.conversation else None)
    assert response.settings["temperature"] == 0.5
    content = response.input[0]["content"]
    assert content == [
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw=="},
        {"type": "input_text", "text": "oi"},
    ]


async def test_a_model_that_is_not_there_is_the_operators() -> None:
    simulator = ResponsesSimulator(timings=AT_ONCE)
    missing = '{"error": {"message": "The model does not exist", "code": "model_not_found"}}'
    simulator.faults.add(
        Fault(on="create_response", status=404, body=missing, content_type="application/json")
    )
    async with serve(simulator.app) as url:
        platform = ResponsesPlatform(api_key="key", base_url=url)
        with pytest.raises(PlatformRefused):
            await platform.converse({"model": "gpt-0"}).say(Utterance("oi"))
        await platform.aclose()


@pytest.mark.parametrize(
    ("status", "times", "waits", "left"),
    [
        (500, None, [0.5, 1.0, 2.0, 4.0], ("thread t1",)),
        (409, 2, [0.5, 1.0], ()),
        (403, None, [], ("thread t1",)),
    ],
)
async def test_what_may_be_deleted_later_is_tried_again_in_rounds(
    status: int, times: int | None, waits: list[float], left: tuple[str, ...]
) -> None:
    simulator, waited = AssistantsSimulator(), []
    simulator.faults.add(Fault(on="delete_thread", status=status, times=times))

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    async with assistants(simulator) as platform:
        created_objects = CreatedObjects(platform._connection, wait)
        created_objects.add("file f1", "/files/f1")
        created_objects.add("thread t1", "/threads/t1")
        assert await created_objects.delete() == left
    assert waited == waits
    paths = [request.path for request in simulator.requests]
    assert paths.count("/files/f1") == 1  # gone already
    assert paths[0] == "/threads/t1"  # the newest first
