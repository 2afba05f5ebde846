"""What one would write by hand: a task a run on the SDK's own `poll` helper, without any durability.

`python -m bench.helper TRANSPORT PLATFORM_PORT CRM_PORT SLOTS INTERVAL_MS`
"""

import asyncio
import contextlib
import json
import sys
import warnings

import httpx
from openai import AsyncOpenAI, DefaultAioHttpClient, Omit, OpenAIError, omit
from openai.types.beta.threads.run import Run
from openai.types.beta.threads.run_submit_tool_outputs_params import ToolOutput

from bench.platform import cpf, run_id, thread_id
from bench.serving import wait_for_go

warnings.filterwarnings("ignore", "The Assistants API is deprecated", DeprecationWarning)


class Helper:
    """Serves every slot of the platform, one run after the other."""

    def __init__(self, client: AsyncOpenAI, crm: httpx.AsyncClient, interval_ms: int) -> None:
        self._runs = client.beta.threads.runs
        self._crm = crm
        self._interval: int | Omit = interval_ms or omit

    async def serve(self, slot: int) -> None:
        """One run after the other, for ever."""
        turn = 0
        while True:
            # A core that is overrun lets connections time out; somebody would catch that, and go on.
            with contextlib.suppress(OpenAIError, httpx.HTTPError):
                await self._one(slot, thread_id(slot), run_id(slot, turn))
                turn += 1

    async def _one(self, slot: int, thread: str, run: str) -> None:
        seen = await self._runs.poll(run, thread_id=thread, poll_interval_ms=self._interval)
        while seen.status == "requires_action":
            outputs = await self._answers(slot, seen)
            seen = await self._runs.submit_tool_outputs_and_poll(
                tool_outputs=outputs, run_id=run, thread_id=thread, poll_interval_ms=self._interval
            )

    async def _answers(self, slot: int, run: Run) -> list[ToolOutput]:
        if run.required_action is None:
            return []
        calls = run.required_action.submit_tool_outputs.tool_calls
        given = await asyncio.gather(*(self._ticket(slot, call.function.arguments) for call in calls))
        return [
            {"tool_call_id": call.id, "output": output} for call, output in zip(calls, given, strict=True)
        ]

    async def _ticket(self, slot: int, arguments: str) -> str:
        asked = json.loads(arguments)
        ticket = {"documento": cpf(slot), "finalizar": "N", **asked}
        answer = (await self._crm.post("/webhook/abrir_ticket", json=ticket)).raise_for_status().json()
        protocolo = answer[0]["data"][0]["resposta"][0]["protocolo"]
        return json.dumps({"success": True, "protocolo": protocolo}, ensure_ascii=False)


async def main(transport: str, platform_port: int, crm_port: int, slots: int, interval_ms: int) -> None:
    """Until the process is ended."""
    client = AsyncOpenAI(
        api_key="bench",
        base_url=f"http://127.0.0.1:{platform_port}/v1",
        http_client=DefaultAioHttpClient() if transport == "aiohttp" else None,
    )
    async with client, httpx.AsyncClient(base_url=f"http://127.0.0.1:{crm_port}") as crm:
        helper = Helper(client, crm, interval_ms)
        await wait_for_go()
        await asyncio.gather(*map(helper.serve, range(slots)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:6])))
