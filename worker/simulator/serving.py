"""`simulate`: the platform and the CRM on their own, for bot developers."""

from collections.abc import Iterator

from rich.console import Console

from worker.simulator.assistants import AssistantsSimulator
from worker.simulator.crm import CrmSimulator
from worker.simulator.server import interrupts, serve


async def simulate(port: int, crm_port: int, console: Console | None = None) -> None:
    """Serve both until Ctrl-C. Raises `OSError` when a port is taken."""
    console = console or Console(highlight=False, soft_wrap=True)
    platform, crm = AssistantsSimulator(), CrmSimulator(latency_s=0.05)
    with interrupts() as interrupted:
        async with serve(platform.app, port=port) as platform_url, serve(crm.app, port=crm_port) as crm_url:
            for line in _lines(platform, platform_url, crm_url):
                console.print(line, markup=False)
            await interrupted.wait()


def _lines(platform: AssistantsSimulator, platform_url: str, crm_url: str) -> Iterator[str]:
    yield f"Plataforma: OPENAI_BASE_URL={platform_url}/v1   (por dentro: {platform_url}/_sim/state)"
    for assistant in platform.registry.assistants.values():
        yield f"  {assistant['name']}: {assistant['id']}"
    yield f"CRM: CRM_WEBHOOK_URL={crm_url}{CrmSimulator.webhook}   (por dentro: {crm_url}/_sim/tickets)"
    faults = """'{"faults": [{"preset": "down", "times": 2}]}'"""
    yield f"Defeito no CRM: curl -X PUT {crm_url}/_sim/faults -d {faults}"
    yield "Ctrl-C encerra. O que dizer aos assistentes: ticket-worker simulate --help"
