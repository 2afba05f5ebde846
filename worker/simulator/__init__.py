"""The bundled platform and CRM: real HTTP, no keys, an independent oracle for tests, `simulate` and `demo`.

Nothing here imports the worker's core: what the simulator believes about the protocols it learned from their
descriptions, not from the code it is there to judge.
"""

from worker.simulator.script import EXAMPLES

_SAYINGS = "\n".join(f"• “{said}”: {does}" for said, does in EXAMPLES)

GUIDE = f"""O que se pode dizer aos assistentes simulados (mensagem com role=user):

{_SAYINGS}

No bot: OPENAI_BASE_URL=http://127.0.0.1:8100/v1 e qualquer OPENAI_API_KEY.
No worker, também: CRM_WEBHOOK_URL=http://127.0.0.1:8101/webhook/abrir_ticket

Por dentro de cada simulador:
• GET /_sim/state e GET /_sim/requests; no CRM também GET /_sim/tickets
• PUT /_sim/faults liga defeitos (os que têm nome estão em /_sim/state)
• POST /_sim/clock com {{"skip_s": 600}}, na plataforma, faz uma execução expirar já
• PUT /_sim/timings muda os tempos das execuções novas
"""
"""How a bot developer uses `simulate`: shown under its `--help`. No square brackets: Rich would take them."""
