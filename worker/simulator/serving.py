"""`simulate`: serves the platform and the CRM without a worker, for bot developers."""

import contextlib
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from worker.simulator.crm import CrmSimulator
from worker.simulator.lineup import LINEUP
from worker.simulator.server import interrupts, serve


class PortTaken(Exception):
    """This port is taken. `option` is the command-line option that chooses another."""

    def __init__(self, port: int, option: str) -> None:
        super().__init__(port)
        self.port = port
        self.option = option


async def simulate(
    port: int, crm_port: int, console: Console | None = None, *, platform: str = "assistants"
) -> None:
    """Serve both until Ctrl-C. Raises `PortTaken`."""
    console = console or Console(highlight=False, soft_wrap=True)
    crm = CrmSimulator(latency_s=0.05)
    with interrupts() as interrupted:
        async with contextlib.AsyncExitStack() as stack:
            platform_url = await _served(stack, LINEUP[platform].simulator().app, port, "--port")
            crm_url = await _served(stack, crm.app, crm_port, "--crm-port")
            for line in _lines(platform, platform_url, crm_url):
                console.print(line, markup=False)
            await interrupted.wait()


async def _served(stack: contextlib.AsyncExitStack, app: Any, port: int, option: str) -> str:
    try:
        return await stack.enter_async_context(serve(app, port=port))
    except OSError:
        raise PortTaken(port, option) from None


def _lines(platform: str, platform_url: str, crm_url: str) -> Iterator[str]:
    yield f"Plataforma: OPENAI_BASE_URL={platform_url}/v1   (por dentro: {platform_url}/_sim/state)"
    yield f"No worker, também: PLATFORM={platform}"
    for name, assistant_id in LINEUP[platform].assistants.items():
        yield f"  {name}: {assistant_id}"
    yield f"CRM: CRM_WEBHOOK_URL={crm_url}{CrmSimulator.webhook}   (por dentro: {crm_url}/_sim/tickets)"
    faults = """'{"faults": [{"preset": "down", "times": 2}]}'"""
    yield f"Defeito no CRM: curl -X PUT {crm_url}/_sim/faults -d {faults}"
    yield "Ctrl-C encerra. O que dizer aos assistentes: ticket-worker simulate --help"
