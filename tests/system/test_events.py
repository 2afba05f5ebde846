"""What the bot gets to hear, and what it answers: signed events in order, its own tools in the same run."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.system.daemon import QUICK, Daemon, Handed, House, house, until
from worker.simulator.assistants.runs import Timings
from worker.simulator.crm import CrmSimulator
from worker.simulator.faults import Fault
from worker.simulator.server import serve
from worker.web.events import EVENTS

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PAID, SECOND_COPY, PERSON = "Acabei de pagar", "Quero a segunda via do boleto", "Quero um atendente"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Bot:
    """Keeps what was signed for it; `refusals` are answered first, then 204."""

    events: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/events", self._hear, methods=["POST"]),
                Route("/tools", self._answer, methods=["POST"]),
            ]
        )

    async def _hear(self, request: Request) -> Response:
        event = await self._verified(request)
        self.ids.append(request.headers["webhook-id"])
        if self.refusals:
            return Response(status_code=self.refusals.pop())
        self.events.append(event)
        return Response(status_code=204)

    async def _answer(self, request: Request) -> Response:
        self.asked.append(await self._verified(request))
        self.keys.append(request.headers["idempotency-key"])
        return JSONResponse({"output": {"success": True, "boleto": "enviado"}})

    async def _verified(self, request: Request) -> dict[str, Any]:
        verified: dict[str, Any] = Webhook(SECRET).verify(await request.body(), dict(request.headers))
        return verified

    def of(self, run: Handed) -> list[dict[str, Any]]:
        """The events of this run's conversation, as they came."""
        return [event for event in self.events if event["data"]["conversation_id"] == run.conversation_id]

    async def heard(self, run: Handed, *kinds: str) -> Sequence[dict[str, Any]]:
        """The data of exactly these events of a conversation, in this order."""
        await until(lambda: len(self.of(run)) >= len(kinds))
        assert [event["type"] for event in self.of(run)] == list(kinds)
        for event in self.of(run):
            model, _ = EVENTS[event["type"]]
            assert model.model_validate(event["data"], strict=True).model_dump() == event["data"]
        return [event["data"] for event in self.of(run)]


@dataclass
class Scene:
    """A daemon that tells a bot, and a CRM that can be held up: `go` lets it answer."""

    home: House
    daemon: Daemon
    bot: Bot
    go: asyncio.Event


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    bot, go = Bot(), asyncio.Event()

    async def held(_seconds: float) -> None:
        await go.wait()

    async with (
        serve(bot.app) as bot_url,
        house(tmp_path_factory.mktemp("events"), crm=CrmSimulator(sleep=held)) as home,
        home.daemon(
            BOT_WEBHOOK_URL=f"{bot_url}/events",
            BOT_WEBHOOK_SECRET=SECRET,
            TOOL_FORWARD_URL=f"{bot_url}/tools",
            REPLY_CHECK="off",  # its event comes 5 s after a run, among those of another test
        ) as daemon,
    ):
        yield Scene(home, daemon, bot, go)


async def test_the_bot_is_told_of_the_ticket_and_then_of_the_end(scene: Scene) -> None:
    run = await scene.home.hand_over(scene.daemon, PAID)
    opened, ended = await scene.bot.heard(run, "ticket.opened", "run.ended")
    (told,) = scene.home.told(run.run_id)
    assert opened["protocolo"] == told["protocolo"]
    assert (opened["setor"], opened["motivo"]) == ("FINANCEIRO", "INFORMAR PAGAMENTO")
    assert (opened["run_id"], opened["late"], opened["error"]) == (run.run_id, False, None)
    assert (ended["run_id"], ended["platform_status"]) == (run.run_id, "completed")


async def test_the_bot_is_told_of_a_hand_off_without_the_motivo(scene: Scene) -> None:
    run = await scene.home.hand_over(scene.daemon, PERSON)
    requested, _ = await scene.bot.heard(run, "handoff.requested", "run.ended")
    assert requested["departamento"] == "financeiro"
    assert "motivo" not in requested
    assert "comprovante" not in json.dumps(scene.bot.of(run))


async def test_the_bot_receives_the_codes_of_a_suspect_reply_and_not_a_word_of_it(scene: Scene) -> None:
    run = await scene.home.hand_over(scene.daemon, "Boa tarde")
    await scene.bot.heard(run, "run.ended")
    text = "Prontinho, Marilene! Abri seu chamado, protocolo 99887766554433."
    reply = {"conversation_id": run.conversation_id, "run_id": run.run_id, "text": text}
    verdict = await scene.home.call("POST", f"{scene.daemon.url}/v1/replies", reply)
    codes = sorted(finding["code"] for finding in verdict["findings"])
    _, suspect = await scene.bot.heard(run, "run.ended", "reply.suspect")
    assert codes == ["protocolo_desconhecido", "ticket_nao_aberto"]
    assert suspect == {
        "run_id": run.run_id,
        "conversation_id": run.conversation_id,
        "codes": codes,
        "source": "api",
    }
    sent = json.dumps(scene.bot.of(run))
    assert not any(word in sent for word in ("Marilene", "99887766554433", "chamado"))


async def test_an_equal_call_tells_nothing(scene: Scene) -> None:
    first = await scene.home.hand_over(scene.daemon, PAID)
    await scene.bot.heard(first, "ticket.opened", "run.ended")
    again = await scene.home.hand_over(
        scene.daemon, PAID, first.conversation_id, client_document=_of(first, scene)
    )
    events = await scene.bot.heard(again, "ticket.opened", "run.ended", "run.ended")
    assert [event["run_id"] for event in events] == [first.run_id, first.run_id, again.run_id]


def _of(run: Handed, scene: Scene) -> str:
    return scene.home.document(run)


async def test_a_ticket_that_is_opened_after_the_deadline_is_told_as_late(scene: Scene) -> None:
    """The run's last 30 s are not ours: with 32 s of life, the model is answered within two."""
    scene.go.clear()
    scene.home.crm.faults.add(Fault(delay_s=1, commit_after_s=0))
    scene.home.platform.conversations.timings = Timings(queued_s=0, thinking_s=0, lifetime_s=32)
    run = await scene.home.hand_over(scene.daemon, PAID)
    scene.home.platform.conversations.timings = QUICK
    await scene.bot.heard(run, "run.ended")
    assert [told["error"] for told in scene.home.told(run.run_id)] == ["em_confirmacao"]
    scene.go.set()
    _, opened = await scene.bot.heard(run, "run.ended", "ticket.opened")
    assert opened["late"] is True
    assert opened["protocolo"] == scene.home.crm.tickets[-1].protocolo
    assert [told["error"] for told in scene.home.told(run.run_id)] == ["em_confirmacao"]


async def test_the_bots_own_tool_is_answered_in_the_same_run(scene: Scene) -> None:
    run = await scene.home.hand_over(scene.daemon, SECOND_COPY)
    await scene.bot.heard(run, "run.ended")
    (asked,) = scene.bot.asked
    assert (asked["type"], asked["data"]["tool"]) == ("tool.call", "gerar_segunda_via")
    assert asked["data"]["arguments"] == {"referencia": "10/2025"}
    assert (asked["data"]["run_id"], asked["data"]["conversation_id"]) == (run.run_id, run.conversation_id)
    assert scene.bot.keys[0].startswith("tw-")
    assert scene.home.told(run.run_id) == [{"success": True, "boleto": "enviado"}]
    assert "10/2025" not in scene.daemon.log


async def test_what_the_bot_did_not_take_comes_again_under_the_same_id_and_first(scene: Scene) -> None:
    """Last, because the next try is 5 s away."""
    scene.bot.refusals.append(500)
    known = len(scene.bot.ids)
    run = await scene.home.hand_over(scene.daemon, PAID)
    await scene.bot.heard(run, "ticket.opened", "run.ended")
    refused, again, _ = scene.bot.ids[known:]
    assert refused == again
