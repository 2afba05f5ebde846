"""The floor: the helper's work and rhythm on bare sockets, without SDK, checks or durability.

`python -m bench.floor PLATFORM_PORT CRM_PORT SLOTS`
"""

import asyncio
import json
import sys
from typing import Any

from bench.platform import cpf, run_id, thread_id
from bench.serving import wait_for_go
from bench.sockets import Sockets

_POLL_S = 1.0
"""As the SDK's helper does when the platform gives no hint."""


async def _serve(slot: int, platform: Sockets, crm: Sockets) -> None:
    turn = 0
    while True:
        await _one(slot, f"/v1/threads/{thread_id(slot)}/runs/{run_id(slot, turn)}", platform, crm)
        turn += 1


async def _one(slot: int, path: str, platform: Sockets, crm: Sockets) -> None:
    while True:
        run = await platform.ask("GET", path)
        if run["status"] == "completed":
            return
        if run["status"] == "requires_action":
            outputs = await asyncio.gather(*(_ticket(slot, call, crm) for call in _calls(run)))
            await platform.ask("POST", f"{path}/submit_tool_outputs", {"tool_outputs": outputs})
        else:
            await asyncio.sleep(_POLL_S)


def _calls(run: dict[str, Any]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    return calls


async def _ticket(slot: int, call: dict[str, Any], crm: Sockets) -> dict[str, str]:
    ticket = {"documento": cpf(slot), "finalizar": "N", **json.loads(call["function"]["arguments"])}
    answer = await crm.ask("POST", "/webhook/abrir_ticket", ticket)
    output = {"success": True, "protocolo": answer[0]["data"][0]["resposta"][0]["protocolo"]}
    return {"tool_call_id": call["id"], "output": json.dumps(output)}


async def main(platform_port: int, crm_port: int, slots: int) -> None:
    """Until the process is ended."""
    platform, crm = Sockets(platform_port), Sockets(crm_port)
    await wait_for_go()
    await asyncio.gather(*(_serve(slot, platform, crm) for slot in range(slots)))


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:4])))
