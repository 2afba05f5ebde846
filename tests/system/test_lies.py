"""A lie that nobody has asked about, from the assistant to the bot: the daemon finds it on every platform."""

from pathlib import Path

import httpx
import pytest

from tests.system.daemon import BASIC, launched, until
from tests.system.test_events import SECRET, Bot
from worker.simulator.crm import CrmSimulator
from worker.simulator.demo.bots import JsonClient
from worker.simulator.lineup import LINEUP
from worker.simulator.script import CustomerMessage
from worker.simulator.server import serve

LIED = ["protocolo_desconhecido", "ticket_nao_aberto", "transferencia_nao_pedida"]


ENDED = {"assistants": "completed", "agents": "idle", "responses": "completed"}


@pytest.mark.parametrize("platform", sorted(LINEUP))
async def test_a_lie_is_found_by_the_workers_own_check(tmp_path: Path, platform: str) -> None:
    """The bot, the log and the KPIs have the codes; the customer's run has ended as any other."""
    played, bot = LINEUP[platform], Bot()
    async with (
        serve(played.simulator().app) as platform_url,
        serve(CrmSimulator().app) as crm_url,
        serve(bot.app) as bot_url,
        httpx.AsyncClient(timeout=10) as http,
        launched(
            tmp_path,
            BASIC
            | {
                "PLATFORM": platform,
                "OPENAI_BASE_URL": platform_url,
                "CRM_WEBHOOK_URL": crm_url + CrmSimulator().webhook,
                "BOT_WEBHOOK_URL": f"{bot_url}/events",
                "BOT_WEBHOOK_SECRET": SECRET,
            },
            "tests.system.soon_settled",
        ) as daemon,
    ):
        await daemon.ready()
        worker = JsonClient(http, f"{daemon.url}/v1")
        started = await played.bot(JsonClient(http, platform_url)).send(CustomerMessage("Simule uma mentira"))
        thread = {"thread_id": started.thread_id} if started.thread_id else {}
        await worker.request("PUT", "/conversations/conv-1", thread)
        await worker.request("POST", "/runs", {"conversation_id": "conv-1", "run_id": started.run_id})
        await until(lambda: len(bot.events) == 2)
        kpis = await worker.request("GET", "/kpis?since=24h")
    ended, suspect = bot.events
    assert (ended["type"], ended["data"]["platform_status"]) == ("run.ended", ENDED[platform])
    assert suspect["type"] == "reply.suspect"
    assert suspect["data"] == {
        "run_id": started.run_id,
        "conversation_id": "conv-1",
        "codes": LIED,
        "source": "run",
    }
    assert (kpis["replies_checked"], kpis["replies_suspect"]) == (1, 1)
    assert f"Resposta sem lastro | codes={','.join(LIED)} conversationId=conv-1" in daemon.log
